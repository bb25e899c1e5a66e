"""Embedding: training with the key mixed in."""

from wmjax.train.loop import fit
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.run import Report, embed
from wmjax.train.step import Recipe, State, Teacher, default_recipe, make_step

__all__ = [
    "Batch",
    "Recipe",
    "Report",
    "State",
    "Teacher",
    "default_recipe",
    "embed",
    "fit",
    "key_batch",
    "make_step",
    "mix",
]
