"""Training: a golden step, resume equals uninterrupted, no recompilation; a loop of one's own is in test_readme.py."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from fixtures import DROPPING, VGG, abstract_key
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import assert_refused

import wmjax
from wmjax import checkpoint
from wmjax.data import Dataset, Splits, load
from wmjax.data.batches import augment, batch_indices
from wmjax.errors import UsageError
from wmjax.keys import Key, generate, make_spec
from wmjax.keys.material import Material
from wmjax.models import Config, Variables, apply, default_config, init
from wmjax.suspects.stored import load_variables
from wmjax.train import (
    Batch,
    Inputs,
    Recipe,
    Teacher,
    all_devices,
    embed,
    fit,
    fit_many,
    key_batch,
    loop,
    make_program,
    mix,
    plan_of,
    schedule_of,
)
from wmjax.train import run as run_module
from wmjax.train.memory import step_bytes, too_large_told
from wmjax.train.mix import pool
from wmjax.train.recipe import total_steps
from wmjax.train.step import as_tree, first_state

RECIPE = Recipe(epochs=2, batch=16, seed=3, learning_rate=0.05, crop=1, flip=True, key_per_batch=2)
CALM = dataclasses.replace(DROPPING, dropout=0.0)  # compiles in half the time: where nothing has to be dropped
VIT = Config("vit", (8, 8, 1), 10, (8,), (16,), 0.25, (("depth", 1), ("heads", 2), ("patch", 4)))
NETS = [DROPPING, Config("vgg", (8, 8, 1), 10, (4, 8)), Config("resnet18", (8, 8, 1), 10, (4,)), VIT]


@pytest.fixture(scope="module")
def digits() -> Splits:
    splits = load("digits")
    return Splits("digits", splits.train[:64], splits.test[:50])


@pytest.fixture(scope="module")
def key():
    return abstract_key(10)


def leaves_equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def one_step(config, recipe, data, key=None, mapping=None):
    """A program for one step, what it takes beside the state, and the state."""
    mapping = mapping or all_devices()
    rows = batch_indices(recipe.seed, 0, recipe.batch, len(data))[None]
    triggers = Batch(key.images, key.labels) if key else None
    state = first_state(init(config, recipe.seed))
    schedule = schedule_of(dataclasses.replace(recipe, epochs=10), recipe.batch)
    seed, schedule, whole, triggers, state = mapping.replicate(
        (np.int32(recipe.seed), schedule, Batch(data.images, data.labels), triggers, state)
    )
    return (
        make_program(plan_of(config, recipe, mapping)),
        (Inputs(seed, schedule, whole, mapping.divide(rows), triggers),),
        state,
    )


def test_golden_step(digits):
    """One marked step from known weights, data and key. If a change of the step is meant, write the new values here."""
    rng = np.random.default_rng(0)
    data = Dataset(rng.integers(0, 256, (32, 8, 8, 1), dtype=np.uint8), rng.integers(0, 10, 32).astype(np.int32), 10)
    secret = wmjax.keys.derive_key(bytes(32), make_spec("abstract", image=(8, 8, 1), classes=10, triggers=10), RULE)
    recipe = dataclasses.replace(RECIPE, flip=False, crop=0)
    step, arguments, state = one_step(CALM, recipe, data, secret)
    before = jax.device_get(state.variables.params)
    state, metrics = step(state, *arguments)
    pairs = zip(*map(jax.tree.leaves, (jax.device_get(state.variables.params), before)), strict=True)
    moved = np.sqrt(sum(np.sum((new - old) ** 2) for new, old in pairs))
    np.testing.assert_allclose([float(metrics.loss[0]), moved], GOLDEN, rtol=1e-3)
    assert int(state.step) == 1


RULE = wmjax.keys.specify.default_rule(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=10))
GOLDEN = [3.690499, 0.383272]  # loss, and how far the parameters moved


@pytest.mark.parametrize("config", NETS, ids=lambda config: config.name)
def test_second_step_compiles_nothing_and_moves_nothing_to_the_host(config, digits, key):
    step, arguments, state = one_step(config, RECIPE, digits.train, key)
    state, _ = step(state, *arguments)
    before = step._cache_size()
    with jax.transfer_guard("disallow"):
        state, metrics = step(state, *arguments)
    assert step._cache_size() == before
    assert np.isfinite(float(metrics.loss[0]))


@pytest.mark.parametrize("epochs", [1, 2, 7, 100])
def test_the_learning_rate_is_that_of_optaxs_schedules(epochs):
    warmup = max(1, epochs // 5)
    expected = optax.join_schedules(
        [optax.linear_schedule(0.3 / warmup, 0.3, warmup), optax.linear_schedule(0.3, 0.0, max(1, epochs - warmup))],
        [warmup],
    )
    schedule = jax.tree.map(jnp.asarray, schedule_of(Recipe(epochs, batch=8, learning_rate=0.3), 15))
    for step in range(epochs):
        np.testing.assert_allclose(schedule.rate(jnp.int32(step)), expected(step), rtol=1e-6, atol=1e-7)


def test_state_is_donated(digits, key):
    step, arguments, state = one_step(DROPPING, RECIPE, digits.train, key)
    step(state, *arguments)
    with pytest.raises(RuntimeError, match="deleted"):
        np.asarray(jax.tree.leaves(state.variables.params)[0])


def test_marked_and_clean_steps_cost_the_same_flops(digits, key):
    """The key takes the place of real rows: the compiled work differs by less than one percent."""
    costs = []
    for with_key in (key, None):
        step, arguments, state = one_step(default_config("vgg", (8, 8, 1), 10), RECIPE, digits.train, with_key)
        costs.append(step.lower(state, *arguments).compile().cost_analysis()["flops"])
    assert costs[0] / costs[1] == pytest.approx(1.0, abs=0.01)


def test_distilling_follows_the_teacher(digits):
    teacher = Teacher(CALM, init(CALM, 5))
    recipe = dataclasses.replace(RECIPE, epochs=30)
    student = fit(CALM, recipe, digits.train, teacher=teacher)
    images = jnp.asarray(digits.train.images)
    answer = jax.jit(lambda variables: apply(CALM, variables, images)[0].argmax(-1))
    theirs, ours = answer(teacher.variables), answer(student)
    assert np.mean(ours == theirs) > 0.5
    assert np.mean(np.asarray(theirs) == digits.train.labels) < 0.3


def test_same_seed_same_weights(digits, key):
    first = fit(DROPPING, RECIPE, digits.train, [key])
    assert leaves_equal(first, fit(DROPPING, RECIPE, digits.train, [key]))
    assert not leaves_equal(first, fit(DROPPING, dataclasses.replace(RECIPE, seed=4), digits.train, [key]))


def tie_key(source: Dataset, triggers: int) -> Key:
    """A key over the first images, each a tie between classes 3 and 8."""
    pairs = np.tile(np.array([[3, 8]], np.uint16), (triggers, 1))
    material = Material({"rows": np.arange(triggers, dtype=np.int32), "pairs": pairs})
    spec = make_spec("tie", triggers=triggers, source=("digits", source), material=material)
    return generate(spec, source, material=material)


def test_triggers_are_mirrored_every_other_time_around_where_real_images_are_but_not_ties(digits):
    keys = [abstract_key(3), tie_key(digits.train, 3)]
    shown = [np.stack([key.images[i] for i in range(3) for key in keys]) for _ in range(2)]
    shown[1][::2] = shown[1][::2, :, ::-1]  # of the abstract key alone
    answers = [int(key.answers[i]) for i in range(3) for key in keys]
    for flip in (False, True):
        triggers = Batch(*map(jnp.asarray, pool(keys, flip)))
        for step in range(8):
            turn = key_batch(triggers, step, 5)
            for place, image in enumerate(turn.images):
                number = 5 * step + place
                np.testing.assert_array_equal(image, shown[flip and number // 6 % 2][number % 6])
                assert turn.targets[place] == answers[number % 6]


def fit_one_of_many(config: Config, recipe: Recipe, train: Dataset, keys: list[Key]) -> Variables:
    return fit_many(config, recipe, train, [recipe.seed], keys)


@pytest.mark.parametrize("trainer", [fit, fit_one_of_many])
def test_trainers_mirror_triggers_but_not_ties(trainer, digits):
    """Real images that are their own mirror images are none the wiser, so only triggers can tell."""
    halves = digits.train[:160]
    train = dataclasses.replace(halves, images=np.concatenate([halves.images[:, :, :4], halves.images[:, :, 3::-1]], 2))
    recipe = dataclasses.replace(RECIPE, epochs=1, crop=0)
    for key, same in ((abstract_key(4), False), (tie_key(digits.train, 4), True)):
        plain, mirroring = (trainer(CALM, dataclasses.replace(recipe, flip=f), train, [key]) for f in (False, True))
        pairs = zip(jax.tree.leaves(plain), jax.tree.leaves(mirroring), strict=True)
        assert all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in pairs) == same


@pytest.mark.parametrize(("size", "count"), [(1, 40), (30, 1), (7, 12), (12, 7)])
@settings(max_examples=20)
@given(step=st.integers(0, 2**31 - 1))
def test_key_batch_goes_around(size, count, step):
    triggers = Batch(jnp.arange(size)[:, None, None, None], jnp.arange(size))
    rows = key_batch(triggers, step, count).targets.tolist()
    assert rows == [(step * count + i) % size for i in range(count)]


def test_keys_take_turns_evenly_and_one_alone_keeps_its_order():
    keys = [abstract_key(count) for count in (8, 4, 2)]
    images, labels = pool(keys)
    order = "abacabaabacaba"
    turns = [iter(range(len(key.labels))) for key in keys]
    for image, label, letter in zip(images, labels, order, strict=True):
        key, turn = keys["abc".index(letter)], next(turns["abc".index(letter)])
        np.testing.assert_array_equal(image, key.images[turn])
        assert label == key.labels[turn]
    for mine, own in zip(pool(keys[:1]), (keys[0].images, keys[0].labels), strict=True):
        np.testing.assert_array_equal(mine, own)
        assert mine.dtype == own.dtype
    assert pool([]) is None


def test_a_key_that_is_not_mixed_in_leaves_training_as_it_was(digits, key, monkeypatch):
    clean = fit(DROPPING, RECIPE, digits.train)
    assert not leaves_equal(clean, fit(DROPPING, RECIPE, digits.train, [key]))
    monkeypatch.setattr(Key, "mixed", False)
    assert leaves_equal(clean, fit(DROPPING, RECIPE, digits.train, [key]))


def test_keys_that_share_a_secret_mark_no_network(digits, key):
    dated = dataclasses.replace(key.commitment, created="2020-01-01T00:00:00+00:00")
    other = dataclasses.replace(key, commitment=dated)
    for keys in ([key, key], [key, abstract_key(10), other]):
        with pytest.raises(UsageError, match="share a secret"):
            fit(DROPPING, RECIPE, digits.train, keys)


def test_progress_tells_the_bits_of_each_key(digits, key, monkeypatch):
    texts = []

    @contextlib.contextmanager
    def recorded(*_, **__):
        yield lambda steps, text="": texts.append(text)

    monkeypatch.setattr(loop, "progress", recorded)
    for keys, words in (([key], "key -?[0-9]+ bits$"), ([key, abstract_key(6)], "keys -?[0-9]+ bits, -?[0-9]+ bits$")):
        fit(DROPPING, RECIPE, digits.train, keys)
        assert re.search(words, texts[-1])


def test_mix_replaces_the_first_rows_only():
    batch = Batch(jnp.zeros((5, 2, 2, 1), jnp.uint8), jnp.zeros((5, 10)))
    mixed = mix(batch, Batch(jnp.ones((2, 2, 2, 1), jnp.uint8), jnp.ones((2, 10))))
    assert mixed.images.shape == batch.images.shape
    assert mixed.images.dtype == jnp.uint8
    assert mixed.targets.sum(1).tolist() == [10, 10, 0, 0, 0]


@given(st.integers(0, 5), st.integers(1, 12), st.integers(12, 40))
def test_an_epoch_shows_every_image_at_most_once(seed, batch, size):
    rows = np.concatenate([batch_indices(seed, s, batch, size) for s in range(size // batch)])
    assert len(set(rows.tolist())) == len(rows) == size // batch * batch
    again = batch_indices(seed, 0, batch, size)
    np.testing.assert_array_equal(again, rows[:batch])


def test_augmentation_flips_and_shifts():
    images = np.random.default_rng(0).integers(0, 256, (64, 6, 6, 2), dtype=np.uint8)
    keys = jax.random.split(jax.random.key(0), 64)
    flipped = np.asarray(augment(jnp.asarray(images), keys, flip=True, crop=0))
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(flipped, images, strict=True)])
    same = np.array([np.array_equal(a, b) for a, b in zip(flipped, images, strict=True)])
    assert (mirrored | same).all()
    assert 15 < mirrored.sum() < 49
    shifted = np.asarray(augment(jnp.asarray(images), keys, flip=False, crop=1))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    windows = [
        [np.array_equal(s, p[y : y + 6, x : x + 6]) for y in range(3) for x in range(3)]
        for s, p in zip(shifted, padded, strict=True)
    ]
    assert np.array(windows).any(axis=1).all()
    np.testing.assert_array_equal(augment(jnp.asarray(images), keys, flip=False, crop=0), images)


def test_a_key_that_was_never_sealed_marks_no_run(tmp_path, digits, key):
    with pytest.raises(UsageError, match="was not opened from its file"):
        embed(tmp_path / "run", NETS[1], RECIPE, digits, keys=[key])
    assert not (tmp_path / "run").exists()


def test_resume_equals_uninterrupted_bit_for_bit(tmp_path, digits, key):
    whole = tmp_path / "whole"
    recipe = dataclasses.replace(RECIPE, epochs=4)
    sealed = [dataclasses.replace(each, sealed=b"sealed") for each in (key, abstract_key(6))]
    report = embed(whole, NETS[1], recipe, digits, keys=sealed)
    assert [(mark.key_id, mark.triggers) for mark in report.marks] == [(k.commitment.id, len(k.labels)) for k in sealed]
    carried = checkpoint.read_metadata(checkpoint.latest(whole)).keys
    assert [each.commitment_id for each in carried] == [each.commitment.id for each in sealed]
    half = tmp_path / "half"

    class Killed(Exception):
        pass

    def die(state, step):
        checkpoint.save_step(half, as_tree(state), checkpoint.Metadata(NETS[1], step))
        if step == 8:
            raise Killed

    checkpoint.write_settings(half, json.loads((whole / "run.json").read_text()))
    with pytest.raises(Killed):
        fit(NETS[1], recipe, digits.train, sealed, save=die)
    (half / "step-00000099.orbax-checkpoint-tmp-1").mkdir()  # what a kill leaves half-written
    embed(half, NETS[1], recipe, digits, keys=sealed, resume=True)
    like = as_tree(first_state(init(NETS[1], recipe.seed)))
    finals = [checkpoint.load_tree(checkpoint.latest(run), like) for run in (whole, half)]
    assert int(finals[0]["step"]) == total_steps(recipe, 64) == 16
    assert leaves_equal(finals[0], finals[1])


def test_a_run_that_was_killed_before_it_was_pruned_is_one_again_when_resumed(tmp_path, digits, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "prune", lambda run: None)
        embed(folder, NETS[1], dataclasses.replace(RECIPE, epochs=3), digits)
    with pytest.raises(UsageError, match="several"):
        load_variables(str(folder))
    embed(folder, NETS[1], dataclasses.replace(RECIPE, epochs=3), digits, resume=True)
    assert len(checkpoint.steps(folder)) == checkpoint.KEPT
    assert load_variables(str(folder))[0] == NETS[1]


def test_a_run_that_another_process_writes_is_left_alone(tmp_path, digits):
    """Nothing of it is removed: what looks half-written is being written."""
    folder = tmp_path / "run"
    embed(folder, NETS[1], RECIPE, digits)
    half_written = folder / "step-00000099.orbax-checkpoint-tmp-1"
    half_written.mkdir()
    with checkpoint.held(folder), pytest.raises(UsageError, match="run is being written by another process"):
        embed(folder, NETS[1], RECIPE, digits, resume=True)
    assert half_written.exists()
    embed(folder, NETS[1], RECIPE, digits, resume=True)
    assert not half_written.exists()


def test_of_two_that_begin_at_once_one_is_refused(tmp_path, digits, monkeypatch):
    """While one reads its data the other begins, and perhaps ends."""
    reading = run_module.read

    def slowly(examples, title, share):
        monkeypatch.setattr(run_module, "read", reading)
        embed(tmp_path / "run", NETS[1], dataclasses.replace(RECIPE, seed=4), digits)
        return reading(examples, title, share)

    monkeypatch.setattr(run_module, "read", slowly)
    with pytest.raises(UsageError, match="is not empty"):
        embed(tmp_path / "run", NETS[1], RECIPE, digits)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["seed"] == 4


def test_resume_after_kill_9(run, tmp_path):
    """A real process, killed without warning in mid-run, ends where the uninterrupted one does."""
    command = ["embed", "--data", "digits", "--model", "vgg", "--epochs", "3", "--batch", "128", "--out"]
    program = [sys.executable, "-m", "wmjax"]
    with subprocess.Popen([*program, *command, "killed"], cwd=tmp_path, stderr=subprocess.DEVNULL) as killed:
        while not list(tmp_path.glob("killed/step-*/_CHECKPOINT_METADATA")):
            assert killed.poll() is None
            time.sleep(0.01)
        os.kill(killed.pid, signal.SIGSTOP)
        code, _, error = run(*command, "killed", "--resume")
        assert (code, "killed is being written by another process" in error) == (2, True)
        os.kill(killed.pid, signal.SIGKILL)
    begun, anew = (run(*command, name, "--resume") for name in ("killed", "whole"))
    assert (begun[0], anew[0]) == (0, 0)
    assert "no run to resume" not in begun[2]
    assert "whole holds no run to resume: a new one begins\n" in anew[2]
    paths = [checkpoint.latest(tmp_path / name) for name in ("killed", "whole")]
    assert paths[0].name == paths[1].name
    assert leaves_equal(*(load_variables(str(path))[1] for path in paths))


@dataclasses.dataclass(frozen=True)
class OnDisk:
    """A split that is read when asked for."""

    data: Dataset
    classes: int = 10
    image: tuple[int, int, int] = (8, 8, 1)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows) -> Dataset:
        return self.data[rows]

    def fingerprint(self) -> str:
        return "on disk"


def test_streamed_training_equals_resident_and_resumes_in_mid_epoch(digits, key, monkeypatch):
    """The same batches from disk; begun again in the middle of an epoch the rest is the same, bit for bit."""
    resident = fit(DROPPING, RECIPE, digits.train, [key])
    monkeypatch.setattr(loop, "CHUNK", 1)
    states = {}
    keep = lambda state, step: states.update({step: jax.device_get(state)})  # noqa: E731
    streamed = fit(DROPPING, RECIPE, OnDisk(digits.train), [key], save=keep, save_every=3)
    for a, b in zip(jax.tree.leaves(resident), jax.tree.leaves(streamed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert sorted(states) == [3, 4, 6, 8]  # epochs have 4 steps
    assert leaves_equal(fit(DROPPING, RECIPE, OnDisk(digits.train), [key], state=states[3]), streamed)


def test_the_loop_moves_nothing_that_it_does_not_name(digits, key):
    state = first_state(init(DROPPING, RECIPE.seed))
    with jax.transfer_guard("disallow"):
        fit(DROPPING, RECIPE, digits.train, [key], state=state)


@pytest.mark.parametrize("size", [48, 50, 97, 1000])
def test_chunks_cover_every_step_once_and_end_with_each_epoch(size):
    recipe = Recipe(epochs=3, batch=1)
    data = Dataset(np.zeros((size, 8, 8, 1), np.uint8), np.zeros(size, np.int32), 10)
    chunks = list(loop._chunks(5, 3 * size, recipe, data, True))
    assert [step for chunk in chunks for step in chunk] == list(range(5, 3 * size))
    assert {size, 2 * size, 3 * size} <= {chunk.stop for chunk in chunks}
    assert max(map(len, chunks)) <= loop.CHUNK


@jax.numpy_dtype_promotion("standard")  # Flax's batch norm asks for it
def test_bfloat16_arithmetic_keeps_float32_weights_and_follows_float32(digits, key):
    moved = {}
    for precision in ("float32", "bfloat16"):
        recipe = dataclasses.replace(RECIPE, precision=precision)
        step, arguments, state = one_step(NETS[1], recipe, digits.train, key)
        before = jax.device_get(state.variables)
        assert ("bf16" in step.lower(state, *arguments).as_text()) == (precision == "bfloat16")
        state, metrics = step(state, *arguments)
        assert {leaf.dtype for leaf in jax.tree.leaves(state.variables)} == {np.dtype("float32")}
        moved[precision] = jax.tree.map(lambda a, b: np.asarray(a - b), state.variables, before)
        moved[precision] = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(moved[precision])])
        assert np.isfinite(float(metrics.loss[0]))
    cosine = moved["float32"] @ moved["bfloat16"] / np.prod([np.linalg.norm(m) for m in moved.values()])
    assert cosine > 0.98


def test_out_of_memory_names_a_batch_that_takes_less_than_half(digits):
    plan = plan_of(VGG, dataclasses.replace(RECIPE, flip=False, crop=0), all_devices())
    words = "^`batch` 16 does not fit in the device's memory: 4 would fit"
    with pytest.raises(UsageError, match=words), too_large_told(plan, digits.train):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 123456789 bytes.")
    assert step_bytes(plan, digits.train, 4) < 0.5 * step_bytes(plan, digits.train, 16)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), too_large_told(plan, digits.train):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "`epochs`"),
        ({"epochs": 2**31}, "`epochs`"),
        ({"learning_rate": 1e39}, "`learning_rate`"),
        ({"learning_rate": 1e-50}, "`learning_rate`"),
        ({"batch": 65}, "`batch`"),
        ({"batch": 0}, "`batch`"),
        ({"key_per_batch": 16}, "`key_per_batch`"),
        ({"epochs": 1.5}, "`epochs`"),
        ({"seed": 1.5}, "`seed`"),
        ({"learning_rate": "fast"}, "`learning_rate`"),
        ({"crop": -1}, "`crop`"),
        ({"crop": 9}, "`crop`"),
        ({"weight_decay": -1.0}, "`weight_decay`"),
        ({"weight_decay": np.nan}, "`weight_decay`"),
        ({"temperature": 0.0}, "`temperature`"),
        ({"precision": "junk"}, "`precision` 'junk': must be float32 or bfloat16"),
        ({"precision": "float16"}, "`precision`"),
    ],
)
def test_impossible_recipes(digits, key, change, words):
    train = lambda: fit(DROPPING, dataclasses.replace(RECIPE, **change), digits.train, [key])  # noqa: E731
    assert_refused(train, words, UsageError)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: {"images": (data.images / 255).astype(np.float32)}, "`train`: images must be uint8"),
        (lambda data: {"images": data.images[..., 0]}, "`train`: images must be uint8"),
        (lambda data: {"labels": data.labels + 1}, "`train`: labels must be in 0..9, these are in 1..10"),
        (lambda data: {"labels": data.labels - 1}, "`train`: labels must be in 0..9"),
        (lambda data: {"labels": data.labels.astype(np.float32)}, "`train`: labels must be integers"),
        (lambda data: {"labels": data.labels[1:]}, "`train`: labels must be integers"),
        (lambda data: {"labels": np.eye(10, dtype=np.int32)[data.labels]}, "`train`: labels must be integers"),
    ],
)
def test_data_that_are_not_as_they_should_be_are_not_learned(tmp_path, digits, change, words):
    wrong = dataclasses.replace(digits.train, **change(digits.train))
    assert_refused(lambda: fit(DROPPING, RECIPE, wrong), words, UsageError)
    assert_refused(lambda: fit_many(DROPPING, RECIPE, wrong, [1], rows=np.arange(1, 33)[None]), words, UsageError)
    tested = Splits("wrong", digits.train, wrong)
    beginning = lambda: embed(tmp_path / "run", DROPPING, RECIPE, tested)  # noqa: E731
    assert_refused(beginning, words.replace("train", "splits"), UsageError)
    assert not (tmp_path / "run").exists()


def test_what_differs_is_told_of_a_network_that_a_run_cannot_begin_with(tmp_path, digits):
    checkpoint.save(tmp_path / "other", init(DROPPING, 0)._asdict(), checkpoint.Metadata(DROPPING))
    asked = dataclasses.replace(DROPPING, widths=(6,), dropout=0.5)
    told = r"other is not the model asked for: its widths: \(4,\), not \(6,\); its dropout: 0.25, not 0.5$"
    beginning = lambda: embed(tmp_path / "run", asked, RECIPE, digits, begin_with=tmp_path / "other")  # noqa: E731
    assert_refused(beginning, told, UsageError)
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_other_classes_and_a_run_that_is_saved_all_the_time_are_refused(digits):
    other = dataclasses.replace(DROPPING, classes=5)
    teacher = Teacher(other, init(other, 0))
    assert_refused(lambda: fit(DROPPING, RECIPE, digits.train, teacher=teacher), "`teacher`", UsageError)
    assert_refused(lambda: fit(DROPPING, RECIPE, digits.train, save_every=0), "`save_every` 0", UsageError)


def test_divergence_is_an_error_not_a_model(digits):
    with pytest.raises(UsageError, match="diverged"):
        fit(CALM, dataclasses.replace(RECIPE, learning_rate=1e9, epochs=5), digits.train)


def test_a_key_for_another_model_is_refused(digits):
    wrong = generate(make_spec("abstract", image=(8, 8, 3), classes=10, triggers=4))
    with pytest.raises(UsageError, match="is for"):
        fit(DROPPING, RECIPE, digits.train, [wrong])


def test_weights_of_a_seed_have_the_right_spread():
    variables = init(Config("vgg", (32, 32, 3), 10, (32, 64)), 0)
    assert isinstance(variables, Variables)
    kernel = variables.params["convs"][1]["kernel"]
    assert np.std(kernel) == pytest.approx(np.sqrt(2 / (9 * 32)), rel=0.05)
    assert not leaves_equal(variables, init(Config("vgg", (32, 32, 3), 10, (32, 64)), 1))
