"""Networks of wmjax's own and of users' modules, and weights that say nothing of theirs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fixtures import importable
from flax import nnx
from flax.training.train_state import TrainState
from layouts import IMAGE, SMALL, flat, read
from orbax.checkpoint import v1 as ocp
from safetensors.numpy import save_file

from wmjax.errors import InvalidFile, UsageError
from wmjax.models import Config, Variables, apply, init, read_config
from wmjax.suspects import network
from wmjax.suspects.contract import Wanted
from wmjax.suspects.modules import module_networks
from wmjax.suspects.pixels import ways
from wmjax.zoo.discover import discover
from wmjax.zoo.pack import write_packs

MODULES = """
import jax.numpy as jnp
from flax import linen, nnx


class Net(nnx.Module):
    def __init__(self, rngs):
        self.convs = nnx.List([nnx.Conv(1, 4, (3, 3), rngs=rngs)])
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(self.drop(nnx.relu(self.norm(self.convs[0](x))).mean((1, 2))))


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x, train: bool = False):
        x = linen.Dropout(0.5, deterministic=not train)(linen.Conv(4, (3, 3))(x))
        x = linen.BatchNorm(use_running_average=not train)(x)
        return linen.Dense(10)(linen.relu(x).mean((1, 2)))


def net(rngs):
    print("a stranger's words")
    return Net(rngs)


def lin():
    return Linen(), lambda images: images.astype(jnp.float32) - 1.0


class Several(linen.Module):
    kind: str

    @linen.compact
    def __call__(self, x, train: bool = False):
        x = linen.Conv(4, (3, 3))(x).mean((1, 2))
        y = linen.Dense(10, name="head")(x)
        return {
            "pair": lambda: (y, {"pre_logits": x, "logits": y, "step": jnp.zeros((), jnp.int32)}),
            "dictionary": lambda: {"features": x, "logits": y},
            "cells": lambda: y[:, None, None],
            "twins": lambda: {"aux": linen.Dense(10, name="aux")(x), "main": y},
            "tasks": lambda: [y, linen.Dense(20, name="other")(x)],
        }[self.kind]()


def pair():
    return Several("pair")


def dictionary():
    return Several("dictionary")


def cells():
    return Several("cells")


def twins():
    return Several("twins")


def tasks():
    return Several("tasks")


def wrong():
    return 5


def raises():
    raise SystemExit("two\\nlines")
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module `strangers`, importable from the working folder as a user's own is."""
    with importable(tmp_path_factory.mktemp("modules"), "strangers", MODULES) as module:
        yield module


def filled(leaf: jax.ShapeDtypeStruct) -> Any:
    """Numbers for an abstract tensor: drawing them by NumPy compiles nothing."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.key(0)
    return jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype))


def test_modules_of_the_user(modules, tmp_path, capsys):
    """NNX as a pure dictionary and as a State, Linen as variables and as a TrainState, answer as they do."""
    graph, state = nnx.split(nnx.eval_shape(lambda: modules.Net(nnx.Rngs(0))))
    model = nnx.merge(graph, jax.tree.map(filled, state))
    ocp.save(tmp_path / "zoo" / "pure", nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState))))
    ocp.save(tmp_path / "zoo" / "state", {"model": nnx.state(model)})
    linen = modules.Linen()
    empty = jax.eval_shape(lambda: linen.init(jax.random.key(0), jnp.zeros((1, *IMAGE))))
    variables = jax.tree.map(filled, empty)
    ocp.save(tmp_path / "zoo" / "linen", variables)

    class WithStats(TrainState):
        batch_stats: Any

    import optax

    state = WithStats.create(apply_fn=linen.apply, tx=optax.sgd(0.1, momentum=0.9), **variables)
    ocp.save(tmp_path / "zoo" / "train", state)
    zoo = discover(tmp_path / "zoo", Wanted(("strangers:lin", "strangers:net"), (IMAGE,)))
    assert zoo.unreadable == []
    found = {entry.name: entry for entry in zoo.entries}
    images = np.random.default_rng(0).integers(0, 256, (3, *IMAGE), np.uint8)
    model.eval()
    pure = jax.jit(lambda x: model(x))(images.astype(np.float32) / np.float32(255))
    expected = {"pure": pure, "linen": jax.jit(linen.apply)(variables, images.astype(np.float32) - np.float32(1))}
    for name, like in {"pure": "pure", "state": "pure", "linen": "linen", "train": "linen"}.items():
        logits = jax.jit(found[name].network.logits)(read(found[name]), jnp.asarray(images))
        assert logits.dtype == jnp.float32
        np.testing.assert_allclose(logits, expected[like], rtol=1e-5, atol=1e-6)
    assert found["pure"].network is found["state"].network
    assert found["pure"].network.readings == ways(channels=IMAGE[2])  # the first is 0..1
    assert (found["linen"].network.readings, found["linen"].network.note) == (("",), "pixels-own")
    assert "stranger" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["strangers:wrong", "strangers:raises", "strangers:nothing", "nowhere:f", "vgg19", "x y:z"]
)
def test_models_that_are_none(modules, tmp_path, name):
    with pytest.raises(UsageError, match=r"^`models` .*") as caught:
        discover(tmp_path, Wanted((name,), (IMAGE,)))
    assert "\n" not in str(caught.value)


def test_networks_answer_as_their_models():
    made = network.from_config(SMALL)
    assert made is network.from_config(read_config(SMALL.to_json()))
    assert list(made.shapes) == sorted(made.shapes)
    assert (made.classes, made.description) == (10, {"config": SMALL.to_json()})
    assert made.fingerprint != network.from_config(Config("vgg", IMAGE, 10, (4, 9))).fingerprint
    variables, images = init(SMALL, 0), jnp.asarray(np.arange(128, dtype=np.uint8).reshape(2, 8, 8, 1))
    weights = {name: jnp.asarray(leaf) for name, leaf in flat(variables._asdict()).items()}
    expected = jax.jit(lambda variables: apply(SMALL, Variables(*variables), images)[0])(variables)
    assert np.array_equal(jax.jit(made.logits)(weights, images), expected)


def test_a_head_of_a_million_classes_allocates_nothing():
    made = network.from_config(Config("cnn", IMAGE, 1 << 20, (4,), (64,)))
    assert made.classes == 1 << 20
    with pytest.raises(InvalidFile, match="no network"):
        network.from_config(Config("cnn", IMAGE, 10, (1 << 20, 1 << 20), (1 << 20,)))


@pytest.mark.parametrize(
    ("name", "classes", "readings"),
    [
        ("pair", (10,), 10),  # the same scores twice, and features
        ("dictionary", (10,), 10),
        ("cells", (), 10),  # [n, 1, 1, classes], as a convolution leaves it
        ("twins", (10,), 20),
        ("tasks", (10, 20), 10),
        ("tasks", (20,), 10),
    ],
)
def test_modules_that_return_several_things(modules, name, classes, readings):
    networks = module_networks(f"strangers:{name}", IMAGE, "", classes)
    expected = (20, 10) if classes == (20,) else classes or (10,)
    assert [made.classes for made in networks] == list(expected)
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (3, *IMAGE), np.uint8))
    for made in networks:
        assert len(made.readings) == readings
        rng = np.random.default_rng(0)
        weights = {name: rng.uniform(-1, 1, leaf.shape).astype(leaf.dtype) for name, leaf in made.shapes.items()}
        scores = jax.jit(made.logits)(weights, images, jnp.int32(made.readings.index(made.readings[-1])))
        assert (scores.shape, scores.dtype) == ((3, made.classes), jnp.float32)
    if name == "twins":
        assert networks[0].readings[:2] == ("0..1, output aux", "0..1, output main")
        first, second = (jax.jit(networks[0].logits)(weights, images, way) for way in range(2))
        assert not np.allclose(first, second)


def test_outputs_of_other_tasks_are_networks_of_their_own(modules, tmp_path):
    """What a key may be for is asked, however many classes another output has; a pack remembers which it was.

    It is not believed alone: each of two packs of one network is asked by both.
    """
    made, other = module_networks("strangers:tasks", IMAGE, "0..1", ())
    assert made.fingerprint != other.fingerprint
    weights = {name: np.asarray(filled(leaf)) for name, leaf in made.shapes.items()}
    save_file(weights, tmp_path / "tasks.safetensors")
    for classes, names in {
        (7,): ["tasks.safetensors"],
        (10,): [f"tasks.safetensors:{n}-classes" for n in (10, 20)],
    }.items():
        wanted = Wanted(("strangers:tasks",), (IMAGE,), classes, "0..1")
        zoo = discover(tmp_path / "tasks.safetensors", wanted)
        assert sorted(entry.name for entry in zoo.entries) == names
    write_packs(zoo, tmp_path / "packs")
    packed = discover(tmp_path / "packs", wanted)
    assert [entry.network.classes for entry in packed.entries if entry.name.endswith(":described")] == [10, 20]
    assert [entry.network.classes for entry in packed.entries] == [10, 10, 20, 20]
    assert packed.unreadable == []
