"""Networks of wmjax's own and of users' modules, and weights that say nothing of theirs."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from hypothesis import given
from hypothesis import strategies as st
from layouts import IMAGE, SMALL, flat, read
from orbax.checkpoint import v1 as ocp

from wmjax.errors import InvalidFile, UsageError
from wmjax.models import Config, Variables, apply, init, read_config
from wmjax.suspects import network
from wmjax.suspects.contract import Wanted
from wmjax.suspects.pixels import PIXELS
from wmjax.zoo.discover import discover

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


def wrong():
    return 5


def raises():
    raise SystemExit("two\\nlines")
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The module `strangers`, importable from the working folder as a user's own is."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "strangers.py").write_text(MODULES)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        import strangers  # type: ignore[import-not-found]

        yield strangers


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
    assert found["pure"].network.readings == tuple(PIXELS)  # the first is 0..1
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


@given(st.permutations(["model", "params", "state"]), st.integers(0, 3), st.sampled_from("./"), st.booleans())
def test_names_are_matched_whatever_surrounds_them(wrappers, count, join, value):
    made = network.from_config(SMALL)
    stored = {}
    for name, leaf in made.shapes.items():
        parts = [*wrappers[:count], *name.split("/")[1:], *(["value"] if value else [])]
        stored[join.join(parts)] = (leaf.shape, "bfloat16")
    names = network.fitting(made, stored)
    assert names.keys() == made.shapes.keys()
    assert sorted(names.values()) == sorted(stored)
    broken = dict(stored)
    broken[next(iter(broken))] = ((1, 2, 3), "float32")
    with pytest.raises(InvalidFile, match="is not there"):
        network.fitting(made, broken)
