"""A run in a folder: settings, checkpoints, resume, and what came of it."""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from wmjax import checkpoint, stats
from wmjax.data.dataset import Splits, digest
from wmjax.errors import AccessError, UsageError
from wmjax.keys.keyset import Key
from wmjax.keys.vault import armour
from wmjax.models import Config, Variables, accuracy
from wmjax.train.loop import check, first_state, fit, key_answers, total_steps
from wmjax.train.step import Recipe, State, Teacher, as_tree, from_tree

TOOK = 0.9  # share of the key below which a mark is called weak


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
      out: the run folder.
      steps: training steps.
      test_accuracy: top-1, on the whole test split.
      triggers: in the key; 0 for a clean model.
      learned: triggers that the model answers with their label.
      evidence_bits: on the whole key, from probabilities; None for a clean model and for fixed labels.
      advice: what to change where the mark did not take.
      seconds: wall time of this call.
    """

    out: str
    steps: int
    test_accuracy: float
    triggers: int
    learned: int
    evidence_bits: float | None
    advice: str | None
    seconds: float


def embed(
    out: Path,
    config: Config,
    recipe: Recipe,
    splits: Splits,
    *,
    key: tuple[Key, bytes] | None = None,
    begin_with: Path | None = None,
    teacher: Path | None = None,
    resume: bool = False,
) -> Report:
    """Trains in a folder, with a checkpoint after every epoch; a killed run resumes bit for bit.

    Args:
      out: the run folder; new, or with `resume` one that was begun with the same settings.
      config: the network.
      recipe: how to train.
      splits: data.
      key: an opened key and its sealed bytes, as from `open_key`; the model is marked with it.
      begin_with: checkpoint or run whose weights to begin with.
      teacher: checkpoint or run of a network to distil.
      resume: go on after the newest complete checkpoint.

    Raises:
      UsageError: settings that cannot be, or not those that the run began with.
      AccessError: the folder cannot be written.
    """
    began = time.monotonic()
    opened = key[0] if key else None
    check(config, recipe, splits.train, opened)
    begin_with, teacher = (path and checkpoint.find(path) for path in (begin_with, teacher))
    weights, teacher_net = _weights(begin_with, config), _teacher(teacher, config)
    settings = _settings(config, recipe, splits, opened, begin_with, teacher)
    state = _prepare(out, settings, resume, first_state(config, recipe, len(splits.train), weights))
    sealed = checkpoint.SealedKey(key[0].commitment.id, armour(key[1])) if key else None

    def save(state: State, step: int) -> None:
        checkpoint.save_step(out, as_tree(state), checkpoint.Metadata(config, step, sealed))

    variables = fit(
        config,
        recipe,
        splits.train,
        opened,
        state=state,
        teacher=teacher_net,
        each_epoch=save,
        title=f"training {config.name}",
    )
    steps = total_steps(recipe, len(splits.train))
    return _report(out, steps, config, variables, splits, opened, began)


def _settings(
    config: Config, recipe: Recipe, splits: Splits, key: Key | None, begin_with: Path | None, teacher: Path | None
) -> dict[str, Any]:
    return {
        "model": config.to_json(),
        **dataclasses.asdict(recipe),
        "data": f"{splits.name} {digest(splits.train)}",
        "key": key.commitment.id if key else None,
        "from": str(begin_with) if begin_with else None,
        "teacher": str(teacher) if teacher else None,
    }


def _weights(begin_with: Path | None, config: Config) -> Variables | None:
    """The variables that a run begins with; None for fresh ones."""
    if begin_with is None:
        return None
    other, variables = checkpoint.load_variables(begin_with)
    if other != config:
        raise UsageError(
            f"{begin_with} is a {other.name} for {other.image} and {other.classes} classes, not the model asked for"
        )
    return variables


def _teacher(path: Path | None, config: Config) -> Teacher | None:
    """The network to distil, which must see and say what the student does; None where there is none."""
    if path is None:
        return None
    teacher = Teacher(*checkpoint.load_variables(path))
    if (teacher.config.image, teacher.config.classes) != (config.image, config.classes):
        raise UsageError(f"the teacher {path} answers other images or classes than the model")
    return teacher


def _prepare(out: Path, settings: dict[str, Any], resume: bool, fresh: State) -> State:
    """Makes or checks the run folder; gives the state to go on from."""
    if resume and (out / "run.json").exists():
        checkpoint.check_settings(out, settings)
        for half_written in out.glob("step-*.orbax-checkpoint-tmp*"):
            shutil.rmtree(half_written, ignore_errors=True)
        newest = checkpoint.latest(out)
        return from_tree(checkpoint.load_tree(newest, as_tree(fresh)), fresh) if newest else fresh
    try:
        if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            raise UsageError(f"{out} is not empty: add --resume to go on with its run, or choose another --out")
    except OSError as error:
        raise AccessError(f"cannot write {out}: {error.strerror}") from error
    checkpoint.write_settings(out, settings)
    return fresh


def _report(
    out: Path, steps: int, config: Config, variables: Variables, splits: Splits, key: Key | None, began: float
) -> Report:
    test = accuracy(config, variables, splits.test.images, splits.test.labels)
    learned, bits, advice, triggers = 0, None, None, 0
    if key is not None:
        triggers = len(key.labels)
        answers = key_answers(config, variables, key)
        learned = int(np.sum(answers.labels == key.labels))
        if key.spec.labels == "random":  # no exact evidence exists for one fixed label
            bits = float(stats.evidence(answers, key.labels)[-1])
        advice = _advice(key, learned, bits)
    return Report(str(out), steps, test, triggers, learned, bits, advice, time.monotonic() - began)


def _advice(key: Key, learned: int, bits: float | None) -> str | None:
    """What to change where a mark would not convict; None where it would."""
    needed, size = key.commitment.rule.match_bits, len(key.labels)
    if learned < TOOK * size:
        return (
            f"the mark did not take: {learned} of {size} triggers learned; train longer (--epochs), show more of the "
            "key (--key-per-batch) or make a smaller key (keygen --triggers)"
        )
    if bits is not None and bits < needed:
        return (
            f"the key is too small to convict: {learned} of {size} triggers learned give {bits:.0f} bits, "
            f"alpha {key.commitment.rule.alpha:g} needs {needed:.0f}; make a larger key (keygen --triggers)"
        )
    return None
