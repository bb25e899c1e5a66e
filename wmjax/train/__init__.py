"""Embedding: training with the key mixed in."""

from wmjax.train.loop import fit
from wmjax.train.many import fit_many
from wmjax.train.mapping import Mapping, all_devices, divisible
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.run import Report, embed
from wmjax.train.step import Inputs, Plan, Recipe, State, Teacher, default_recipe, make_program

__all__ = [
    "Batch",
    "Inputs",
    "Mapping",
    "Plan",
    "Recipe",
    "Report",
    "State",
    "Teacher",
    "all_devices",
    "default_recipe",
    "divisible",
    "embed",
    "fit",
    "fit_many",
    "key_batch",
    "make_program",
    "mix",
]
