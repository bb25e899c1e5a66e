"""Training from the first step to the last: the loop around the program.

The host only feeds and listens: it sends whole chunks of steps to the devices and looks at a chunk's metrics while the
next one runs.
"""

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from wmjax import hosts, stats
from wmjax.data.batches import batch_indices
from wmjax.data.dataset import Dataset, Examples
from wmjax.data.stream import stream
from wmjax.errors import UsageError
from wmjax.keys.keyset import Key
from wmjax.models import Config, Variables, init, predict
from wmjax.models.predict import collect, dispatch
from wmjax.progress import progress
from wmjax.train.check import check, check_saving, check_teacher
from wmjax.train.mapping import DeviceMapping, all_devices
from wmjax.train.memory import too_large_told
from wmjax.train.mix import Batch, pool
from wmjax.train.recipe import Recipe, schedule_of, total_steps
from wmjax.train.relabel import agreed
from wmjax.train.shift import Shift
from wmjax.train.step import Inputs, Metrics, State, Teacher, first_state, make_program, plan_of

CHUNK = 50  # steps a program runs at most: long enough to hide the host, short enough for a live progress bar
CHUNK_BYTES = 64 << 20  # of streamed examples in a chunk
TOLD = 300  # triggers of a key that the progress bar rests on


def fit(
    config: Config,
    recipe: Recipe,
    train: Examples,
    keys: Sequence[Key] = (),
    *,
    state: State | None = None,
    teacher: Teacher | None = None,
    shift: Shift | None = None,
    mapping: DeviceMapping | None = None,
    save: Callable[[State, int], None] = lambda state, step: None,
    save_every: int | None = None,
    streamed: bool = False,
    title: str = "training",
) -> Variables:
    """Trains a network; with keys, the network is marked.

    Example:

        data = wmjax.load("digits").train
        config = wmjax.default_config("cnn", data.image, data.classes)
        variables = wmjax.fit(config, wmjax.default_recipe(config), data, [key])

    Args:
      config: the network.
      recipe: how to train; it sets every random choice.
      train: the training split; a `Dataset` stays on the devices, whole; others are streamed, in the same order.
      keys: their triggers take turns in `recipe.key_per_batch` rows of every batch, each shown as often as any other;
        without keys the model is clean. Images of the split that a key asks about as they are have its answer too.
      state: where to begin, as from `first_state` or a checkpoint. Default: from scratch.
      teacher: distil this network instead of learning the labels.
      shift: of `spread` keys, as from `shift_of`: half of what is learned are its base's answers, moved.
      mapping: the devices; all of them by default.
      save: called with the state and the steps taken after each epoch.
      save_every: steps after which to save as well, within an epoch; rounded up to the end of a chunk.
      streamed: stream a `Dataset` as well.
      title: of the progress bar.

    Returns:
      The trained variables, on the devices.

    Raises:
      UsageError: network, recipe, data and keys do not go together, two keys share a secret, the batch does not fit in
        memory, or the training diverged.
    """
    mapping = mapping or all_devices()
    check(config, recipe, train, keys, mapping)
    check_saving(save_every)
    if teacher:
        check_teacher(teacher.config, config, keys)
    if teacher and shift:
        raise UsageError("`teacher` and `shift` both say what real images are answered with: choose one")
    if shift is None and any(key.answers is None for key in keys):
        raise UsageError("`shift`: without it a network learns nothing of a spread key; wmjax.shift_of makes it")
    train = agreed(train, keys)
    state = first_state(init(config, recipe.seed)) if state is None else state
    steps, schedule = total_steps(recipe, len(train)), schedule_of(recipe, len(train))
    plan = plan_of(config, recipe, mapping, teacher.config if teacher else None)
    resident = train if isinstance(train, Dataset) and not streamed else None
    chunks = list(_chunks(int(state.step), steps, recipe, train, resident is not None))
    with (
        too_large_told(plan, train, shift),
        progress(title, steps, shown=hosts.is_first()) as advance,
        contextlib.closing(_feed(train, recipe, mapping, chunks, resident is not None)) as feed,
    ):
        advance(int(state.step))
        data = None if resident is None else Batch(*mapping.replicate((resident.images, resident.labels)))
        mixed = pool(keys, recipe.flip)
        triggers = Batch(*mapping.replicate(mixed)) if mixed else None
        taught = mapping.replicate(teacher.variables) if teacher else None
        moved = mapping.replicate(shift) if shift else None
        state, seed, schedule = mapping.replicate((state, np.int32(recipe.seed), schedule))
        program, asked, running = make_program(plan), max(1, len(chunks) // 20), None
        for number, (chunk, picks) in enumerate(zip(chunks, feed, strict=True)):
            state, metrics = program(state, Inputs(seed, schedule, data, picks, triggers, taught, shift=moved))
            told = keys if number % asked == 0 else ()
            answers = [dispatch(config, state.variables, key.images[:TOLD]) for key in told]
            if running:
                advance(*running.outcome(keys))
            running = _Running(chunk, metrics, answers)
            if _is_saved(chunk, len(train) // recipe.batch, save_every):
                advance(*running.outcome(keys))
                running = None
                save(state, chunk.stop)
    return state.variables


def _is_saved(chunk: range, per_epoch: int, save_every: int | None) -> bool:
    """Whether a chunk ends an epoch or passes a multiple of `save_every`."""
    passed = save_every is not None and chunk.stop // save_every > chunk.start // save_every
    return passed or chunk.stop % per_epoch == 0


def _chunks(begin: int, steps: int, recipe: Recipe, train: Examples, resident: bool) -> Iterator[range]:
    """The steps left, cut where an epoch ends and after every so many steps of it."""
    per_epoch = len(train) // recipe.batch
    length = _chunk_length(train, recipe, per_epoch, resident)
    while begin < steps:
        end = min(begin + length, (begin // per_epoch + 1) * per_epoch)
        yield range(begin, end)
        begin = end


def _chunk_length(train: Examples, recipe: Recipe, per_epoch: int, resident: bool) -> int:
    """Steps in a chunk: an epoch's divisor, so that all chunks share one program, unless all of them are small."""
    most = CHUNK
    if not resident:
        most = min(CHUNK, max(1, CHUNK_BYTES // (recipe.batch * int(np.prod(train.image)))))
    divisors = [n for n in range(most // 2 + 1, most + 1) if per_epoch % n == 0]
    return divisors[-1] if divisors else most


def _feed(
    train: Examples, recipe: Recipe, mapping: DeviceMapping, chunks: list[range], resident: bool
) -> Generator[Any, None, None]:
    """For each chunk what its steps see: rows of resident data, or the examples; of each batch only this process's."""
    share = mapping.share(recipe.batch)

    def rows_at(step: int) -> np.ndarray:
        return batch_indices(recipe.seed, step, recipe.batch, len(train))[share]

    if resident or not chunks:
        yield from (mapping.divide(np.stack([rows_at(step) for step in chunk])) for chunk in chunks)
        return
    with contextlib.closing(stream(train, rows_at, chunks[0].start, chunks[-1].stop)) as batches:
        for chunk in chunks:
            parts = list(itertools.islice(batches, len(chunk)))
            images, labels = np.stack([part.images for part in parts]), np.stack([part.labels for part in parts])
            yield Batch(*mapping.divide((images, labels)))


@dataclasses.dataclass(frozen=True)
class _Running:
    """A chunk that the devices may still be at; its numbers are fetched while the next one runs."""

    chunk: range
    metrics: Metrics
    answers: list[list[jax.Array]]  # about each key; empty where it is not asked

    def outcome(self, keys: Sequence[Key]) -> tuple[int, str]:
        """Steps and text for the progress bar; raises `UsageError` where the loss is not a number."""
        loss, accuracy = jax.device_get([value.addressable_data(0) for value in self.metrics])
        if not np.isfinite(loss).all():
            step = self.chunk.start + int(np.argmin(np.isfinite(loss)))
            raise UsageError(f"training diverged by step {step}: lower `learning_rate`")
        text = f"loss {loss.mean():.3f}  accuracy {accuracy.mean():.3f}"
        if self.answers:
            asked = zip(keys, self.answers, strict=True)
            marks = [_mark(key, collect(answers, min(TOLD, len(key.images)))) for key, answers in asked]
            text += f"  key{'s' if len(keys) > 1 else ''} {', '.join(marks)}"
        return len(self.chunk), text


def _mark(key: Key, probabilities: np.ndarray) -> str:
    answers = stats.read_answers(probabilities, len(probabilities), key.spec.classes, "the model")
    path = stats.play(key.commitment.rule, answers, key.truth(slice(0, len(answers))))
    if key.spec.policy.exact:
        return f"{path.evidence[-1]:.0f} bits"
    return f"{path.matches[-1]} of {len(answers)}"  # no exact evidence exists


def evidence_bits(key: Key, answers: stats.Answers) -> float:
    """Evidence from answers to the whole key."""
    return float(stats.play(key.commitment.rule, answers, key.truth(slice(None))).evidence[-1])


def key_answers(config: Config, variables: Variables, key: Key) -> stats.Answers:
    """What a network of ours answers on the whole key."""
    return stats.read_answers(predict(config, variables, key.images), len(key.images), config.classes, config.name)
