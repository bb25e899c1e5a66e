"""Embedding: training with the key mixed in."""

from wmjax.train.loop import fit
from wmjax.train.many import fit_many
from wmjax.train.mapping import DeviceMapping, all_devices, divisible
from wmjax.train.mix import Batch, key_batch, mix
from wmjax.train.recipe import Recipe, default_recipe, schedule_of
from wmjax.train.run import Report, embed
from wmjax.train.shift import Shift, shifted_targets
from wmjax.train.spread import shift_of, spread_key, tuning
from wmjax.train.step import Inputs, State, Teacher, first_state, make_program, plan_of

__all__ = [
    "Batch",
    "DeviceMapping",
    "Inputs",
    "Recipe",
    "Report",
    "Shift",
    "State",
    "Teacher",
    "all_devices",
    "default_recipe",
    "divisible",
    "embed",
    "first_state",
    "fit",
    "fit_many",
    "key_batch",
    "make_program",
    "mix",
    "plan_of",
    "schedule_of",
    "shift_of",
    "shifted_targets",
    "spread_key",
    "tuning",
]
