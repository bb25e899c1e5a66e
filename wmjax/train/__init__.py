"""Embedding: training with the key mixed in."""

from wmjax.train.loop import fit
from wmjax.train.many import fit_many
from wmjax.train.mapping import Mapping, all_devices, divisible
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.run import Report, embed
from wmjax.train.shift import Shift, shifted_targets
from wmjax.train.spread import shift_of, spread_key, tuning
from wmjax.train.step import Inputs, Plan, Recipe, State, Teacher, default_recipe, make_program

__all__ = [
    "Batch",
    "Inputs",
    "Mapping",
    "Plan",
    "Recipe",
    "Report",
    "Shift",
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
    "shift_of",
    "shifted_targets",
    "spread_key",
    "tuning",
]
