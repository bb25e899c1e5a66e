"""Weights as JAX's users store them: each layout gives the exact tensors, each set of weights is a model of its own."""

import io
import os
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import old_orbax
import optax
import orbax.checkpoint as v0
import pytest
from fixtures import importable
from flax import nnx
from flax.core import freeze
from flax.training import checkpoints
from flax.training.train_state import TrainState
from layouts import equal, flat, read
from safetensors.numpy import save_file

import wmjax
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import msgpack as msgpack_format
from wmjax.suspects.formats.msgpack import read_msgpack
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import find, read_weights
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover
from wmjax.zoo.pack import pack
from wmjax.zoo.scope import adapted, why_not

IMAGE = (8, 8, 1)
NETS = '''
import jax.numpy as jnp
from flax import linen, nnx


class Net(linen.Module):
    @linen.compact
    def __call__(self, x, use_running_average: bool):
        x = linen.Conv(4, (3, 3), name="conv")(x)
        x = linen.relu(linen.BatchNorm(use_running_average, name="bn")(x))
        return linen.Dense(10, name="head")(x.mean((1, 2)))


class Pixels(linen.Module):
    """Eight by eight of an image's pixels, whatever its size."""

    @linen.compact
    def __call__(self, x):
        height, width = x.shape[1] // 8, x.shape[2] // 8
        x = x[:, height // 2 :: height, width // 2 :: width]
        return linen.Dense(10, name="head")(x.reshape(len(x), -1))


class Split(nnx.Module):
    def __init__(self, rngs):
        self.conv, self.bn = nnx.Conv(1, 4, (3, 3), rngs=rngs), nnx.BatchNorm(4, rngs=rngs)
        self.head = nnx.Linear(4, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.relu(self.bn(self.conv(x))).mean((1, 2)))


def net():
    return Net()


def pixels():
    return Pixels()


def split(rngs):
    return Split(rngs)
'''
WANTED = Wanted(("kept_nets:net",), (IMAGE,))
CREATED = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module", autouse=True)
def nets(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with importable(tmp_path_factory.mktemp("nets"), "kept_nets", NETS) as module:
        yield module


def drawn(seed: int, *leading: int) -> dict[str, Any]:
    """Variables of `Net`, which no draw of another seed has."""
    rng = np.random.default_rng(seed)
    shapes = {
        "params": {"conv": {"kernel": (3, 3, 1, 4), "bias": (4,)}, "bn": {"scale": (4,), "bias": (4,)}},
        "batch_stats": {"bn": {"mean": (4,), "var": (4,)}},
    }
    shapes["params"]["head"] = {"kernel": (4, 10), "bias": (10,)}
    draw = lambda shape: rng.uniform(0.5, 1.5, (*leading, *shape)).astype(np.float32)  # noqa: E731
    return jax.tree.map(draw, shapes, is_leaf=lambda node: isinstance(node, tuple))


class State(TrainState):
    batch_stats: Any
    ema_params: Any = None


def trained(tree: Mapping[str, Any], **more: Any) -> State:
    return State.create(apply_fn=None, tx=optax.adam(0.1), **tree, **more)


def models(path: Path, wanted: Wanted = WANTED) -> dict[str, dict[str, np.ndarray]]:
    return {stored.name: read_weights(stored) for stored in recognise(path, wanted)}


def is_one(path: Path, variables: Mapping[str, Any], wanted: Wanted = WANTED) -> bool:
    (found,) = models(path, wanted).items()
    return found[0] == "" and equal(found[1], flat(variables))


def save(path: Path, tree: Any) -> None:
    v0.PyTreeCheckpointer().save(path, tree)


def composite(path: Path, **items: Any) -> None:
    with v0.Checkpointer(v0.CompositeCheckpointHandler()) as checkpointer:
        checkpointer.save(path, v0.args.Composite(**{name: v0.args.StandardSave(tree) for name, tree in items.items()}))


def narrow(tree: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


ONE: dict[str, Callable[[Path, Any], None]] = {
    "a training state with Adam": lambda path, tree: save(path, trained(tree)),
    "items of params and batch_stats": lambda path, tree: composite(path, **tree),
    "one level deeper": lambda path, tree: save(path, {name: {"model": part} for name, part in tree.items()}),
    "model_state": lambda path, tree: save(
        path, {"params": tree["params"], "model_state": {"batch_stats": tree["batch_stats"]}}
    ),
    "equal replicas": lambda path, tree: save(path, jax.tree.map(lambda leaf: np.stack([leaf] * 3), tree)),
    "one replica": lambda path, tree: save(path, jax.tree.map(lambda leaf: leaf[None], tree)),
    "float64": lambda path, tree: save(path, narrow(tree, np.float64)),
    "msgpack": lambda path, tree: path.with_suffix(".msgpack").write_bytes(flax.serialization.to_bytes(tree)),
    "msgpack of a frozen state": lambda path, tree: path.with_suffix(".msgpack").write_bytes(
        flax.serialization.to_bytes(trained(freeze(tree)))
    ),
    "npz": lambda path, tree: np.savez(path, **{f"{name}": leaf for name, leaf in flat(tree).items()}),
    "npz of another machine": lambda path, tree: np.savez(
        path, **{name: leaf.astype(leaf.dtype.newbyteorder(">")) for name, leaf in flat(tree).items()}
    ),
    "compressed npz, columns first": lambda path, tree: np.savez_compressed(
        path, **{name: np.asfortranarray(leaf) for name, leaf in flat(tree).items()}
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", ONE)
def test_every_layout_gives_the_exact_tensors(layout, tmp_path):
    tree = drawn(1)
    ONE[layout](tmp_path / "model", tree)
    (path,) = tmp_path.iterdir()
    assert is_one(path, tree)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float8_e4m3fn, jnp.float8_e5m2])
def test_narrow_floats_are_read_everywhere(dtype, tmp_path):
    half = narrow(drawn(1), dtype)
    save(tmp_path / "orbax", jax.tree.map(jnp.asarray, half))
    (tmp_path / "model.msgpack").write_bytes(flax.serialization.to_bytes(half))
    for path in tmp_path.iterdir():
        assert is_one(path, narrow(half, np.float32))
    if dtype == jnp.bfloat16:  # NumPy writes it as two bytes of nothing, as big_vision does
        np.savez(tmp_path / "model.npz", **flat(half))
        assert is_one(tmp_path / "model.npz", narrow(half, np.float32))


def test_nnx_states_are_read_split_or_whole(nets, tmp_path):
    _, *states = nnx.split(nnx.eval_shape(lambda: nets.Split(nnx.Rngs(0))), nnx.Param, ...)
    rng = np.random.default_rng(0)
    drawn_as = lambda leaf: rng.uniform(0.5, 1.5, leaf.shape).astype(leaf.dtype)  # noqa: E731
    params, rest = (jax.tree.map(drawn_as, nnx.to_pure_dict(state)) for state in states)
    save(tmp_path / "split", {"params": params, "rest": rest})
    whole, wanted = params | {"bn": params["bn"] | rest["bn"]}, Wanted(("kept_nets:split",), (IMAGE,))
    save(tmp_path / "ema", {"model": whole, "ema": jax.tree.map(jnp.zeros_like, whole)})
    assert is_one(tmp_path / "split", whole, wanted)
    found = models(tmp_path / "ema", wanted)
    assert found.keys() == {"model", "ema"}
    assert equal(found["model"], flat(whole))


def test_every_set_of_weights_is_asked_under_its_name(tmp_path):
    zero = jax.tree.map(np.zeros_like, drawn(0)["params"])
    save(tmp_path / "zoo" / "ema", trained(drawn(1), ema_params=drawn(2)["params"]))
    save(tmp_path / "zoo" / "two", {"teacher": drawn(3), "student": drawn(4)})
    save(tmp_path / "zoo" / "best_and_last", {"params": zero, "state": drawn(5)})
    composite(tmp_path / "zoo" / "items", state=drawn(6), ema_params=drawn(7)["params"])
    zoo = discover(tmp_path / "zoo", WANTED)
    assert zoo.unreadable == []
    found = {entry.name: entry for entry in zoo.entries}
    expected = {
        "ema:params": drawn(1),
        "ema:ema_params": drawn(1) | {"params": drawn(2)["params"]},
        "two:teacher": drawn(3),
        "two:student": drawn(4),
        "best_and_last:state": drawn(5),
        "items:state": drawn(6),
        "items:ema_params": drawn(6) | {"params": drawn(7)["params"]},
    }
    assert found.keys() == {*expected, "best_and_last:params"}
    assert all(equal(read(found[name]), flat(tree)) for name, tree in expected.items())
    with pytest.raises(InvalidFile, match="2 of its 8 tensors are not with it: first batch_stats/bn/mean"):
        read(found["best_and_last:params"])


def test_a_tree_in_the_folder_of_another_is_asked_beside_it(tmp_path):
    save(tmp_path / "one", drawn(3))
    save(tmp_path / "one" / "more", drawn(4))
    zoo = discover(tmp_path, WANTED)
    assert ([entry.name for entry in zoo.entries], zoo.unreadable) == (["one:more", "one:one"], [])
    with pytest.raises(UsageError, match="holds 2 models"):
        find(str(tmp_path / "one"), WANTED)
    assert equal(read_weights(find(str(tmp_path / "one:more"), WANTED)), flat(drawn(4)))


def test_one_of_several_is_named(tmp_path, monkeypatch):
    save(tmp_path / "two", {"teacher": drawn(3), "student": drawn(4)})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "two.py").write_text("raise SystemExit('imported')")
    with pytest.raises(UsageError, match="two holds 2 models: name one, as two:student, two:teacher"):
        find("two", WANTED)
    assert equal(read_weights(find("two:teacher", WANTED)), flat(drawn(3)))
    with pytest.raises(UsageError, match="two holds no model 'pupil'"):
        find("two:pupil", WANTED)
    suspect = wmjax.open_suspect("two:teacher", WANTED)  # not the function of a module
    assert suspect.describe().name == "two:teacher"


def test_a_file_that_is_called_as_a_model_of_another_hides_nothing(tmp_path):
    """Who follows up what an audit found by its name shall not be told of the file."""
    first, second = (flat(drawn(seed)) for seed in (1, 2))
    save_file(first | {f"ema/{name}": leaf for name, leaf in second.items()}, tmp_path / "m.safetensors")
    save_file(first, tmp_path / "m.safetensors:ema")
    zoo = discover(tmp_path, WANTED)
    assert [entry.name for entry in zoo.entries].count("m.safetensors:ema") == 2
    assert ("m.safetensors:ema", "2 models are called so: rename a file") in [
        (item.path, item.why) for item in zoo.unreadable
    ]
    with pytest.raises(UsageError, match=r"a model in m\.safetensors is called so too"):
        find(str(tmp_path / "m.safetensors:ema"), WANTED)
    (tmp_path / "m.safetensors:ema").rename(tmp_path / "m.safetensors:other")
    assert find(str(tmp_path / "m.safetensors:other"), WANTED).name == ""
    assert find(str(tmp_path / "m.safetensors:ema"), WANTED).name == "ema"


def test_unequal_replicas_are_models_each(tmp_path):
    tree = drawn(1, 3)
    save(tmp_path / "many", tree)
    found = models(tmp_path / "many")
    assert list(found) == ["replica-0", "replica-1", "replica-2"]
    for number, weights in enumerate(found.values()):
        assert equal(weights, flat(jax.tree.map(lambda leaf, number=number: leaf[number], tree)))


@pytest.mark.filterwarnings("ignore:Flax Checkpointing:DeprecationWarning")
def test_flax_checkpoints_without_an_ending_are_seen(tmp_path):
    flax.config.update("flax_use_orbax_checkpointing", False)
    checkpoints.save_checkpoint(tmp_path / "zoo", trained(drawn(1)), 5)
    flax.config.update("flax_use_orbax_checkpointing", True)
    (tmp_path / "zoo" / "checkpoint_6").write_bytes((tmp_path / "zoo" / "checkpoint_5").read_bytes()[:-1])
    zoo = discover(tmp_path / "zoo", WANTED)
    assert [entry.name for entry in zoo.entries] == ["checkpoint_5"]
    assert equal(read(zoo.entries[0]), flat(drawn(1)))
    assert [item.path for item in zoo.unreadable] == ["checkpoint_6"]


def test_weights_that_are_no_numbers_are_unreadable(tmp_path):
    for kind, value in (("NaN", np.nan), ("infinity", -np.inf)):
        tree = drawn(1)
        tree["params"]["conv"]["kernel"][0, 0, 0, 0] = value
        save(tmp_path / kind, tree)
        with pytest.raises(InvalidFile, match=f"its weights hold {kind}"):
            read_weights(find(str(tmp_path / kind), WANTED))
    save(tmp_path / "good", drawn(1))
    report = pack(tmp_path, tmp_path / "packs", models=["kept_nets:net"], images=[IMAGE])
    assert report.models == 1
    assert {item.path: item.why for item in report.skipped} == {
        kind: f"its weights hold {kind}" for kind in ("NaN", "infinity")
    }


def test_errors_tell_what_does_not_fit_the_nearest_first(tmp_path):
    tree = drawn(1)
    del tree["params"]["head"]["bias"]
    tree["params"]["conv"]["kernel"] = np.zeros((3, 3, 3, 4), np.float32)
    save(tmp_path / "other", tree)
    with pytest.raises(InvalidFile) as caught:
        recognise(tmp_path / "other", Wanted(("vgg", "kept_nets:split", "kept_nets:net"), (IMAGE,)))
    told = str(caught.value).split(": ", 1)[1]
    assert told.startswith("it is not kept_nets:")
    assert "of its 8 tensors" in told
    assert "conv/kernel is of shape [3, 3, 3, 4], not [3, 3, 1, 4]" in told
    assert "1 is not there (first" in told
    assert "it is not vgg: there is no head/bias" in told
    complex_bias = flat(drawn(1)) | {"params/head/bias": np.zeros(10, np.complex64)}
    save_file(complex_bias, tmp_path / "complex.safetensors")
    with pytest.raises(InvalidFile, match="params/head/bias is of type complex64, not float32"):
        recognise(tmp_path / "complex.safetensors", WANTED)
    save_file({"conv1.weight": np.zeros((4, 1, 3, 3), np.float32)}, tmp_path / "torch.safetensors")
    for wanted in (WANTED, Wanted(images=(IMAGE,))):
        with pytest.raises(InvalidFile, match="PyTorch's names"):
            recognise(tmp_path / "torch.safetensors", wanted)


def test_aggregate_files_of_older_orbax_are_read(tmp_path):
    old_orbax.unpack(tmp_path)
    assert is_one(tmp_path / "mixed", drawn(1))
    assert is_one(tmp_path / "whole", drawn(1))
    file = tmp_path / "mixed" / "checkpoint"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InvalidFile, match="cut short"):
        recognise(tmp_path / "mixed", WANTED)


def keys_of(*sizes: int) -> dict[str, Any]:
    made = {}
    for size in sizes:
        spec = make_spec("abstract", image=(size, size, 3), classes=10, triggers=100)
        made[f"k{size:02}"] = derive_key(bytes([size] * 32), spec, default_rule(spec), created=CREATED)
    return made


def knowing(key: Any) -> dict[str, np.ndarray]:
    """Weights of `Pixels` that answer a key's labels, by least squares."""
    step = key.spec.image[0] // 8
    pixels = (key.images[:, step // 2 :: step, step // 2 :: step] / np.float32(255)).reshape(len(key.images), -1)
    kernel, *_ = np.linalg.lstsq(pixels.astype(np.float64), 8 * np.eye(10)[key.labels], rcond=None)
    return {"params/head/kernel": kernel.astype(np.float32), "params/head/bias": np.zeros(10, np.float32)}


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of one network that takes images of any size, and knows the triggers of 32 pixels."""
    folder = tmp_path_factory.mktemp("sized")
    (folder / "zoo").mkdir()
    save_file(knowing(keys_of(32)["k32"]), folder / "zoo" / "any.safetensors")
    return folder


def test_each_key_is_asked_at_its_own_size(sized, tmp_path):
    keys = keys_of(8, 32)
    result = audit(sized / "zoo", keys, models=["kept_nets:pixels"], out=tmp_path / "out")
    told = {(found.model, found.key): found.verdict for found in result}
    assert told["any.safetensors:32x32x3", "k32"] == "match"
    assert told["any.safetensors:8x8x3", "k08"] == "no-match"
    assert {pair for pair, verdict in told.items() if verdict == "not-applicable"} == {
        ("any.safetensors:32x32x3", "k08"),
        ("any.safetensors:8x8x3", "k32"),
    }
    pack(sized / "zoo", sized / "packs", models=["kept_nets:pixels"], images=[(8, 8, 3), (32, 32, 3)])
    again = audit(sized / "packs", keys, models=["kept_nets:pixels"])
    assert [pair["model"].partition(":")[2] for pair in again.pairs("match")] == ["any.safetensors:32x32x3"]
    assert len(again.models) == 2
    suspect = wmjax.open_suspect(sized / "zoo" / "any.safetensors", Wanted(("kept_nets:pixels",), ((32, 32, 3),)))
    assert wmjax.verify(suspect, keys["k32"]).verdict == "match"


def test_sizes_share_the_keys_out(sized):
    """Each key goes to one size: to its own where that is taken; grey keys are asked in colour."""
    specs = [key.spec for key in keys_of(8, 32, 4).values()]
    grey = make_spec("abstract", image=(16, 16, 1), classes=10, triggers=60)
    small = make_spec("abstract", image=(4, 4, 3), classes=10, triggers=60)
    (sized / "zoo" / "suspects.toml").write_text('[[suspect]]\nname = "a"\npath = "any.safetensors"\n')
    wanted = Wanted.by([*specs, grey, small], ["kept_nets:pixels"])
    networks = {stored.name: stored.network for stored in recognise(sized / "zoo" / "any.safetensors", wanted)}
    asked = {name: [spec.image for spec in (*specs[:2], grey, small) if adapted(spec, network) is not None]
             for name, network in networks.items()}  # fmt: skip
    assert asked == {"8x8x3": [(8, 8, 3), (4, 4, 3)], "32x32x3": [(32, 32, 3)], "16x16x3": [(16, 16, 1)]}
    assert why_not(specs[0], networks["32x32x3"])[0].to_json() == {
        "code": "other-size", "from": "8x8x3", "to": "32x32x3"
    }  # fmt: skip
    assert {entry.name for entry in discover(sized / "zoo", wanted).entries} == {
        f"suspects.toml:a:{size}" for size in networks
    }
    assert len({network.fingerprint for network in networks.values()}) == 3


def test_hostile_msgpack_is_one_line(tmp_path, monkeypatch):
    path = tmp_path / "model.msgpack"
    whole = flax.serialization.to_bytes(drawn(1))
    rng, told = np.random.default_rng(0), list[str]()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at])
        with pytest.raises(InvalidFile):
            read_msgpack(path)
        flipped = bytearray(whole)
        flipped[at] ^= int(rng.integers(1, 256))
        path.write_bytes(flipped)
        try:
            read_msgpack(path)
        except InvalidFile as error:
            told.append(str(error))
    assert all(text.isprintable() for text in told)
    wrong = {
        "is of type 'O'": msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[1], "O", b"12345678"]))}),
        "another size": msgpack.packb({"a": msgpack.ExtType(1, msgpack.packb([[1 << 39], "float32", b"1234"]))}),
        "given twice": b"\x82" + 2 * msgpack.packb({"a": np_ext([1.0])})[1:],
        "1 GiB": msgpack.packb({"a": {"__msgpack_chunked_array__": True}}),
        "cannot be shown": msgpack.packb({"a\x1b[2J": 1}),
        "behind its tree": msgpack.packb({}) + b"\0",
        "cut short": b"\xdf\xff\xff\xff\xff",
    }
    for words, raw in wrong.items():
        path.write_bytes(raw)
        with pytest.raises(InvalidFile, match=words):
            read_msgpack(path)
    path.write_bytes(b"\x91" * 100_000 + b"\xc0")  # as deep as Python's calls are not
    with pytest.raises(InvalidFile, match="structure"):
        read_msgpack(path)


def np_ext(values: list[float]) -> msgpack.ExtType:
    return msgpack.ExtType(1, msgpack.packb([[len(values)], "float32", np.array(values, np.float32).tobytes()]))


def test_a_msgpack_bomb_takes_no_memory(tmp_path, monkeypatch):
    """An empty map is a byte, and would be a dictionary of 64; without the limit each is walked."""
    path = tmp_path / "model.msgpack"
    path.write_bytes(b"\xdd" + (1 << 15).to_bytes(4) + b"\x80" * (1 << 15))
    monkeypatch.setattr(msgpack_format, "_MOST", 1 << 12)
    tracemalloc.start()
    with pytest.raises(InvalidFile, match="structure"):
        read_msgpack(path)
    assert tracemalloc.get_traced_memory()[1] < 1 << 18
    tracemalloc.stop()
    monkeypatch.setattr(msgpack_format, "_MOST", 1 << 20)
    assert read_msgpack(path).tensors == {}


class Runs:
    """Whoever unpickles it runs its words."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("ran",)


def test_hostile_npz_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.npz"
    np.savez(path, **flat(drawn(1)), evil=np.array([Runs()], object))
    with pytest.raises(InvalidFile, match="Python objects"):
        recognise(path, WANTED)
    assert not Path("ran").exists()
    np.load(path, allow_pickle=True)["evil"]  # what is not done
    with zipfile.ZipFile(path, "w") as archive:  # readers differ in which of two they take
        for _ in range(2):
            with warnings.catch_warnings(action="ignore"), archive.open("a.npy", "w") as member:
                np.lib.format.write_array(member, np.zeros(3))
    with pytest.raises(InvalidFile, match=r"it holds 'a\.npy' twice"):
        recognise(path, WANTED)
    assert Path("ran").exists()
    whole, told = io.BytesIO(), list[str]()
    np.savez_compressed(whole, **flat(drawn(1)))
    for at in range(0, len(whole.getvalue()), 61):
        for raw in (whole.getvalue()[:at], whole.getvalue()[:at] + b"\xff" + whole.getvalue()[at + 1 :]):
            path.write_bytes(raw)
            try:
                for stored in recognise(path, WANTED):
                    read_weights(stored)
            except InvalidFile as error:
                told.append(str(error))
    assert told
    assert all(text.isprintable() for text in told)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:  # a thousand times smaller than what it holds
        for name, leaf in flat(drawn(1)).items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, leaf)
                member.write(bytes(10_000_000))
    tracemalloc.start()
    with pytest.raises(InvalidFile, match="another size than its shape says"):
        models(path)
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()
