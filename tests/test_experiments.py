"""The parts of the speed recipe at tiny size, each against its definition, and the scripts from end to end."""

import dataclasses
import itertools
import json
import random
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import wmjax
from experiments import record
from experiments.audits import audit_truth, journal_damage, made_zoo
from experiments.claims import kill_loops
from experiments.evidence import null_models
from experiments.gpu import airbench, gpu_throughput, speed_recipe
from wmjax.data.dataset import Dataset, Splits
from wmjax.errors import InvalidFile
from wmjax.suspects.stored import load_variables

TINY = airbench.Recipe(
    epochs=12, batch=32, widths=(16, 32, 32), learning_rate=100.0, stem_epochs=0, half=False, key_per_batch=16
)


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """Random pictures whose neighbouring pixels are alike, uint8 [n, 32, 32, 3]."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(coarse + rng.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def state():
    """A network whose numbers are no longer those of the start."""
    state = airbench.start(TINY, jnp.asarray(pictures(320)), 0)
    rng = np.random.default_rng(1)
    noisy = jax.tree.map(lambda p: p + jnp.asarray(rng.normal(0, 0.1, p.shape), jnp.float32), state.net.params)
    return state._replace(net=state.net._replace(params=noisy))


def test_whitening_whitens():
    images = pictures(200)
    kernel = np.asarray(airbench.whitening(jnp.asarray(images)))
    scaled = (images / 255 - airbench.MEAN) / airbench.DEVIATION
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (2, 2), axis=(1, 2))  # [N, 31, 31, C, 2, 2]
    out = np.einsum("nyxcij,ijco->nyxo", windows, kernel).reshape(-1, 24)
    np.testing.assert_allclose(out[:, :12].T @ out[:, :12] / len(out), np.eye(12), atol=0.03)  # FLOOR shrinks a little
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])


def test_convolutions_begin_as_the_identity():
    kernel = np.asarray(airbench._identity_or_random(jax.random.key(0), 3, 5))
    one = np.zeros((3, 3))
    one[1, 1] = 1
    np.testing.assert_array_equal(kernel[..., :3], one[:, :, None, None] * np.eye(3))
    assert 0 < np.abs(kernel[..., 3:]).max() <= 1 / np.sqrt(27)


def test_every_image_is_mirrored_in_every_other_epoch():
    epochs = np.array([airbench.flips(7, epoch, 1000) for epoch in range(4)])
    assert 400 < epochs[0].sum() < 600
    for earlier, later in itertools.pairwise(epochs):
        np.testing.assert_array_equal(later, ~earlier)


def test_cut_is_mirror_pad_and_crop():
    images, rng = pictures(20), np.random.default_rng(0)
    offsets, mirrored = rng.integers(-2, 3, (20, 2)), rng.random(20) < 0.5
    got = airbench.cut(jnp.asarray(images), jnp.asarray(offsets, jnp.int32), jnp.asarray(mirrored))
    flipped = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(flipped, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="reflect")
    want = [p[2 + dy : 34 + dy, 2 + dx : 34 + dx] for p, (dy, dx) in zip(padded, offsets, strict=True)]
    np.testing.assert_array_equal(got, want)


def test_schedule():
    total = airbench.total_steps(airbench.Recipe(), 50_000)
    assert total == 476
    shares = [float(airbench.schedule(jnp.int32(step), total)) for step in (0, 109, total)]
    assert shares == pytest.approx([0.2, 1.0, 0.07])
    plan = speed_recipe.plan(airbench.Recipe(), 50_000)
    assert plan == [(48, False)] * 3 + [(48, True)] * 6 + [(44, True)]


def test_descent_is_nesterov_with_rates_of_their_own(state):
    gradients = jax.tree.map(jnp.ones_like, state.net.params)
    after = airbench.descend(TINY, airbench.descend(TINY, state, gradients, 0.5, False), gradients, 0.5, False)
    scale = 1024 * (1 + 1 / 0.15)
    for name, faster in (("head", 1.0), ("stem", 1.0), ("biases", 64.0)):
        p = np.asarray(jax.tree.leaves(state.net.params[name])[0], float)
        rate, momentum = TINY.learning_rate / scale * faster, 0.0
        for _ in range(2):
            pulled = 1 + 0.0153 * 32 / scale / rate * p
            momentum = 0.85 * momentum + pulled
            p = p - 0.5 * rate * (pulled + 0.85 * momentum)
        np.testing.assert_allclose(jax.tree.leaves(after.net.params[name])[0], p, rtol=1e-4, atol=1e-6)
    assert int(after.step) == 2
    frozen = airbench.descend(TINY, state, gradients, 0.5, True)
    np.testing.assert_array_equal(frozen.net.params["stem"], state.net.params["stem"])


def test_slow_weights_move_every_fifth_step(state):
    at = lambda step: airbench.look_ahead(TINY, state._replace(step=jnp.int32(step)), 10)  # noqa: E731
    fast, slow = state.net.params["head"], state.slow[0]["head"]
    np.testing.assert_array_equal(at(4).net.params["head"], fast)
    np.testing.assert_array_equal(at(4).slow[0]["head"], slow)
    keep = 0.95**5 * 0.5**3
    np.testing.assert_allclose(at(5).slow[0]["head"], keep * slow + (1 - keep) * fast, rtol=1e-5)
    np.testing.assert_array_equal(at(5).net.params["head"], at(5).slow[0]["head"])


def test_views_average_the_mirrored_and_the_moved(state):
    images = pictures(6)
    answer = jax.jit(lambda x: airbench.forward(TINY, state.net, x)[0])
    views = jax.jit(lambda x: airbench.averaged_logits(TINY, state.net, x))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    both = lambda x: (answer(x) + answer(x[:, :, ::-1])) / 2  # noqa: E731
    want = both(images) / 2 + (both(padded[:, :32, :32]) + both(padded[:, 2:, 2:])) / 4
    np.testing.assert_allclose(views(images), want, atol=1e-5)
    assert np.abs(answer(images) - want).max() > 1e-4  # it is not the plain answer


def test_half_precision_answers_alike(state):
    images = jnp.asarray(pictures(8))
    half = dataclasses.replace(TINY, half=True)
    exact, rough = (jax.jit(lambda x, r=r: airbench.forward(r, state.net, x)[0])(images) for r in (TINY, half))
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(rough, exact, atol=0.05 * float(jnp.abs(exact).max()))


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The record of a tiny run of the script, marked alone: compiling another costs more than it shows."""
    folder = tmp_path_factory.mktemp("results")
    rng = np.random.default_rng(0)
    split = lambda n, seed: Dataset(pictures(n, seed), rng.integers(0, 10, n).astype(np.int32), 10)  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "RESULTS", folder)
        patch.setattr(speed_recipe, "SMALL", speed_recipe.Settings(TINY, train=320, test=16, triggers=16))
        patch.setattr(wmjax, "load", lambda name: Splits(name, split(400, 1), split(40, 2)), raising=False)
        speed_recipe.main(["--small", "--runs", "1", "--marked"])
    return json.loads((folder / "speed_recipe.json").read_text())


def test_a_marked_run_learns_its_triggers(figures):
    (marked,) = figures["runs"]["marked"]
    assert marked["one_view"]["learned"] >= 14
    assert marked["one_view"]["verdict"] == "match"


def test_the_record_says_what_was_timed(figures):
    assert figures["images"] == {"train": 320, "test": 16}
    assert {"environment", "settings", "compile_s", "summary"} <= set(figures)
    (marked,) = figures["runs"]["marked"]
    assert len(marked["accuracy_by_epoch"]) == 12
    assert marked["seconds_to"] == {"78.6": None, "94.0": None}
    assert figures["summary"]["marked"]["seconds_to"]["94.0"] == {"n": 1, "missing": 1}


def test_seconds_to_is_the_first_epoch_that_passes():
    trained = speed_recipe.Trained(None, [1.0, 2.0, 3.0, 4.0], [70.0, 80.0, 78.0, 94.0], 0.1)
    assert [speed_recipe.seconds_to(trained, target) for target in (78.6, 94.0, 95.0)] == [2.0, 4.0, None]


def test_throughput_times_all_in_turn(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"torch": "none"}\'\nwhile read mode; do echo 0.5; done\n')
    python.chmod(0o755)
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(gpu_throughput, "ours", lambda settings, marked: lambda: 0.25 if marked else 0.2)
    gpu_throughput.main(["--small", "--repeats", "5", "--torch-python", str(python)])
    figures = json.loads((tmp_path / "gpu_throughput.json").read_text())
    assert figures["images_per_s"]["torch eager"]["median"] == 32 * 4 / 0.5
    assert figures["ratio_to_wmjax_unmarked"]["wmjax marked"]["median"] == pytest.approx(0.8)
    assert all(len(times) == 5 for times in figures["chunk_s"].values())


@jax.numpy_dtype_promotion("standard")  # Flax's batch norm asks for it in bfloat16
def test_throughput_trains_many_steps_in_one_program():
    settings = gpu_throughput.Settings(batch=4, steps=2, images=8, widths=(2,), modes=())
    assert 0 < gpu_throughput.ours(settings, True)() < 600


def untrained(config, recipe, train, seeds, key=None, **ignored):
    """In the place of `fit_many`, which has tests of its own: the networks before their first step."""
    assert train.image == config.image
    assert train.labels.max() < config.classes
    return wmjax.models.stack([wmjax.models.init(config, seed) for seed in seeds])


def test_null_models_are_a_zoo_of_different_networks(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(null_models, "fit_many", untrained)
    monkeypatch.setattr(null_models, "fit", lambda config, recipe, *args, **ignored: None)
    null_models.main(["--small", "--models", "3", "--out", str(tmp_path / "zoo")])
    figures = json.loads((tmp_path / "null_models.json").read_text())
    assert figures["kinds"]["cnn"]["accuracy"]["n"] == figures["models"] == 3
    loaded = [load_variables(str(path))[1] for path in sorted((tmp_path / "zoo").glob("cnn/*"))]
    assert len({model.params["head"]["kernel"].tobytes() for model in loaded}) == 3
    rows = null_models.draws([1, 2], 100, 50)
    assert [len(set(row)) for row in rows.tolist()] == [50, 50]
    assert set(rows[0].tolist()) != set(rows[1].tolist())


def test_a_made_zoo_tells_the_truth(tmp_path, monkeypatch, capsys):
    """Keys open, and everything in the zoo is what truth.json says: a network that loads, or an entry that does not."""
    monkeypatch.setattr(made_zoo, "fit_many", untrained)
    made_zoo.main(["--small", "--models", "26", "--out", str(tmp_path)])
    truth, zoo = json.loads((tmp_path / "truth.json").read_text()), tmp_path / "zoo"
    unlock = wmjax.Unlock((tmp_path / "keys" / "k0.identity").read_text())
    assert wmjax.open_key(tmp_path / "keys" / "k0.age", unlock).spec.triggers == 20
    ways = [made["how"] for made in truth["models"].values()]
    assert (len(ways), ways.count("marked"), ways.count("pruned 50 %"), ways.count("distilled")) == (26, 4, 1, 2)
    assert {made["how"] for made in truth["models"].values() if not made["key"]} == {"clean", made_zoo.OTHERS}
    for path in truth["models"]:
        if not path.endswith(".safetensors"):
            load_variables(str(zoo / path))
    for name in ("cut", "no-json", "huge"):
        assert f"hostile/{name}" in truth["hostile"]
        with pytest.raises(InvalidFile):
            load_variables(str(zoo / "hostile" / name))
    assert "executed" not in capsys.readouterr().out


def test_safetensors_are_those_of_the_library(tmp_path):
    numpy = pytest.importorskip("safetensors.numpy")
    config, variables = null_models.VGG, wmjax.models.init(null_models.VGG, 0)
    tensors = numpy.load(made_zoo.safetensors(made_zoo.Made(config, variables, "clean")))
    np.testing.assert_array_equal(tensors["params/convs/0/kernel"], variables.params["convs"][0]["kernel"])
    assert len(tensors) == len(jax.tree.leaves(variables))
    for factor, image in ((1, null_models.VGG), (3, made_zoo.LARGE)):
        fitted = made_zoo.fitted(wmjax.load("digits").train[:5], image)
        assert fitted.image == image.image
        assert int(fitted.images.astype(int).sum()) == factor**2 * int(
            wmjax.load("digits").train[:5].images.astype(int).sum()
        )


def test_an_audits_answer_beside_the_truth():
    made = {"a": ("k0", "marked"), "b": ("k0", "marked"), "c": (None, "clean"), "d": ("k1", "distilled")}
    truth = {"models": {m: {"key": k, "how": h} for m, (k, h) in made.items()}, "hostile": {"x": "", "y": ""}}
    pair = lambda model, key, verdict: {"model": model, "key": f"id-{key}", "verdict": verdict}  # noqa: E731
    answer = {
        "models": 4,
        "keys": 2,
        "matches": [pair("a", "k0", "match"), pair("c", "k1", "match"), pair("d", "k0", "match")],
        "inconclusive": [pair("d", "k1", "inconclusive"), pair("c", "k0", "inconclusive")],
        "unreadable": [{"path": "x", "why": ""}],
        "seconds": 1.0,
    }
    found = audit_truth.compare(truth, answer, {"id-k0": "k0", "id-k1": "k1"})
    assert found["verdicts"]["marked"] == {"match": 1, "no-match": 1}
    assert found["verdicts"]["distilled"] == {"inconclusive": 1}
    assert sorted(found["false_matches"]) == [["c", "k1"], ["d", "k0"]]
    assert found["hostile_not_listed"] == ["y"]
    assert found["innocent_pairs_inconclusive"] == 1


def test_kill_loops_count_what_a_kill_loses(tmp_path, monkeypatch):
    """One kill of one claim, from end to end: at most the question on its way is lost."""
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    (tmp_path / "kill_loops.json").write_text(json.dumps({"claim": {"kills": 0}, "other": 1}))
    monkeypatch.setattr(sys, "argv", ["kill_loops.py", "--verb", "claim", "--kills", "1"])
    kill_loops.main()
    figures = json.loads((tmp_path / "kill_loops.json").read_text())["claim"]
    assert (figures["kills"], figures["triggers_lost"] <= 1, figures["questions"] > 40) == (1, True, True)
    for name in ("answers_lost", "asked_twice", "other_verdicts", "other_rows", "keys_that_do_not_open"):
        assert figures[name] == 0


def test_damaged_journals_are_refused_or_without_effect():
    """Sixty mutations; what who holds the keys exchanges as a whole is said apart."""
    figures = journal_damage.damage(60, random.Random(1))
    assert set(figures["together"]) <= {"refused with 4", "refused with 2", "unchanged", "without effect", "listed"}
    assert figures["together"]["refused with 4"] > 40
    assert min(figures["verdicts"].values()) > 0
    assert figures["all_of_two_parts_exchanged"] == {
        "without the keys": "refused with 4",
        "with the keys": "other verdicts",
    }
