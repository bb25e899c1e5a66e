"""Rehearsals: what any student of an unmarked network answers, so that a verdict looks only at what the mark adds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, one, predict, stack
from wmjax.train.many import fit_many
from wmjax.train.recipe import Recipe
from wmjax.train.shift import NO_NUMBERS
from wmjax.train.step import Teacher


def reference_answers(
    config: Config, base: Variables, recipe: Recipe, train: Dataset, probes: np.ndarray, seeds: Sequence[int]
) -> np.ndarray:
    """What the base answers to the probes, and students of its labels and of its probabilities in the mean.

    Args:
      config: of base and students.
      base: the unmarked network.
      recipe: how the students are trained; its seed and temperature are not looked at.
      train: the owner's training split.
      probes: uint8 [N, H, W, C].
      seeds: one for each pair of students; without any the base alone answers.

    Returns:
      uint16 [3, N, C], or [1, N, C] without students: probabilities in units of 1/65535.

    Raises:
      UsageError: the base answers with what is not a number, or a student's training diverges.
    """
    answers = [predict(config, base, probes)]
    if not np.isfinite(answers[0]).all():
        raise UsageError(NO_NUMBERS)
    if seeds:
        labels = predict(config, base, train.images).argmax(axis=1).astype(np.int32)
        answered = dataclasses.replace(train, labels=labels)
        hard = fit_many(config, recipe, answered, seeds, title="rehearsing with labels")
        teacher = Teacher(config, stack([base] * len(seeds)))
        softly = dataclasses.replace(recipe, temperature=1.0)
        soft = fit_many(config, softly, train, seeds, teacher=teacher, title="rehearsing with probabilities")
        answers += [_mean_answers(config, students, probes, len(seeds)) for students in (hard, soft)]
    return np.rint(np.stack(answers).astype(np.float64) * 65535).astype(np.uint16)


def _mean_answers(config: Config, students: Variables, probes: np.ndarray, count: int) -> np.ndarray:
    return np.mean([predict(config, one(students, number), probes) for number in range(count)], axis=0)
