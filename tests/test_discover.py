"""Zoos: every layout gives the exact tensors, and nothing hostile stops the walk."""

import dataclasses
import gzip
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as v0
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layouts import (
    CONFIG,
    IMAGE,
    SMALL,
    TREE,
    equal,
    flat,
    read,
    save_manager,
    save_pytree,
    save_standard,
    save_training,
    the_one,
)
from orbax.checkpoint import v1 as ocp
from safetensors.numpy import save_file

from wmjax import checkpoint, orbax
from wmjax.checkpoint import Metadata
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.models import Config, default_config, init
from wmjax.suspects import described, network
from wmjax.suspects.contract import Wanted
from wmjax.suspects.grounds import AskedGround
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import find, load_variables, read_weights
from wmjax.zoo.discover import _Walk, discover, shown
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Zoo

LAYOUTS = {
    "v1": lambda path, tree: ocp.save(path, tree),
    "v1 NumPy": lambda path, tree: ocp.save(path, jax.tree.map(np.asarray, tree)),
    "v1 named": lambda path, tree: ocp.save_checkpointables(path, {"zebra": tree, "another": {"x": jnp.ones(3)}}),
    "v1 training": save_training,
    "v0 standard": save_standard,
    "v0 pytree": save_pytree,
    "v0 no OCDBT": lambda path, tree: save_pytree(path, tree, use_ocdbt=False),
    "v0 Zarr 3": lambda path, tree: save_pytree(path, tree, use_zarr3=True),
    "v0 Zarr 3, no OCDBT": lambda path, tree: save_pytree(path, tree, use_ocdbt=False, use_zarr3=True),
    "manager": lambda path, tree: save_manager(path, v0.args.StandardSave(tree)),
    "manager, composite": lambda path, tree: save_manager(
        path, v0.args.Composite(state=v0.args.StandardSave(tree), notes=v0.args.JsonSave({"a": 1}))
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_exact_tensors(layout, tmp_path):
    LAYOUTS[layout](tmp_path / "model", jax.tree.map(jnp.asarray, TREE))
    assert "`models`" in discover(tmp_path, Wanted(images=(IMAGE,))).unreadable[0].why
    entry = the_one(discover(tmp_path, Wanted(("cnn", "vgg"), ((28, 28, 1), IMAGE))))
    assert entry.name.startswith("model")
    assert entry.network is network.from_config(CONFIG)
    assert equal(read(entry), flat(TREE))


def test_written_on_eight_devices(tmp_path):
    script = """
import jax, numpy as np, pickle, sys
import orbax.checkpoint as v0
from pathlib import Path
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from orbax.checkpoint import v1 as ocp
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
tree = dict(np.load("tree.npz"))
put = lambda a: NamedSharding(mesh, PartitionSpec(*(["data"] if a.shape[0] % 8 == 0 else [])))
tree = {name: jax.device_put(a, put(a)) for name, a in tree.items()}
ocp.save(Path("eight/v1").absolute(), tree)
for zarr3 in (False, True):
    v0.Checkpointer(v0.PyTreeCheckpointHandler(use_zarr3=zarr3)).save(Path(f"eight/v0-{zarr3}").absolute(), tree)
"""
    np.savez(tmp_path / "tree.npz", **{name.replace("/", "."): leaf for name, leaf in flat(TREE).items()})
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "XLA_FLAGS": ""}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    zoo = discover(tmp_path / "eight", Wanted(("vgg",), (IMAGE,)))
    assert [entry.name for entry in zoo.entries] == ["v0-False", "v0-True", "v1"]
    assert all(equal(read(entry), flat(TREE)) for entry in zoo.entries)


def test_half_precision_is_converted(tmp_path):
    for dtype in (jnp.bfloat16, jnp.float16):
        half = jax.tree.map(lambda leaf, dtype=dtype: jnp.asarray(leaf, dtype), TREE)
        ocp.save(tmp_path / np.dtype(dtype).name, half)
        entry = the_one(discover(tmp_path / np.dtype(dtype).name, Wanted(("vgg",), (IMAGE,))))
        assert equal(read(entry), flat(jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), half)))


def test_safetensors_say_or_are_told_what_they_are(tmp_path):
    tensors = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
    config = json.dumps(CONFIG.to_json())
    save_file(tensors, tmp_path / "within.safetensors", {"config": config})
    save_file(tensors, tmp_path / "beside.safetensors")
    (tmp_path / "beside.json").write_text(config)
    save_file(tensors, tmp_path / "bare.safetensors")
    (tmp_path / "folder").mkdir()
    save_file(tensors, tmp_path / "folder" / "model.safetensors")
    (tmp_path / "folder" / "config.json").write_text(config)
    zoo = discover(tmp_path, Wanted(images=(IMAGE,)))
    assert [e.name for e in zoo.entries] == ["beside.safetensors", "folder/model.safetensors", "within.safetensors"]
    assert [item.path for item in zoo.unreadable] == ["bare.safetensors"]
    zoo = discover(tmp_path, Wanted(("vgg",), (IMAGE,)))
    assert len(zoo.entries) == 4
    assert all(equal(read(entry), flat(TREE)) for entry in zoo.entries)


def test_nothing_hides_within_a_checkpoints_own_folders(saved, tmp_path):
    save_pytree(tmp_path / "zarr", TREE, use_ocdbt=False)
    save_pytree(tmp_path / "ocdbt", TREE)
    shutil.copytree(saved, tmp_path / "ours")
    shutil.copytree(saved, tmp_path / "run" / "step-00000001")
    wanted = Wanted(("vgg",), (IMAGE,))
    clean = discover(tmp_path, wanted)
    assert sorted(entry.name for entry in clean.entries) == ["ocdbt", "ours", "run", "zarr"]
    assert (clean.unreadable, clean.others) == ([], {})
    tensor = next((tmp_path / "zarr").rglob(".zarray")).parent
    places = [tensor, tmp_path / "ocdbt/d", tmp_path / "ocdbt/ocdbt.process_0/d", tmp_path / "ours/state/d"]
    places.append(tmp_path / "run/step-00000001/state")
    for number, place in enumerate(places):
        changed = {name.replace("/", "."): leaf + np.float32(number + 1) for name, leaf in flat(TREE).items()}
        save_file(changed, place / "0.9", {"config": json.dumps(CONFIG.to_json())})
        (place / "1.9").write_bytes(b"\x80\x02}q\x00.")
    called = ("ocdbt/d/" + "0d" * 16, "ours/state/_sharding")  # as pieces and documents are, and larger than those
    for path in called:
        shutil.copyfile(places[0] / "0.9", tmp_path / path)
    save_pytree(tmp_path / "ocdbt/d/deep/more", TREE)
    zoo = discover(tmp_path, wanted)
    hidden = [str(place.relative_to(tmp_path)) for place in places]
    expected = ["ocdbt", "ours", "run", "zarr", "ocdbt/d/deep/more", *(f"{place}/0.9" for place in hidden), *called]
    assert sorted(entry.name for entry in zoo.entries) == sorted(expected)
    assert [item.path for item in zoo.unreadable] == sorted(f"{place}/1.9" for place in hidden)


def test_what_is_passed_over_as_an_optimisers_is_counted(tmp_path):
    tensors = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
    momenta = {
        f"{place}.{name}": leaf for name, leaf in tensors.items() for place in ("mu", "nu") if ".mean" not in name
    }
    save_file(tensors | momenta, tmp_path / "model.safetensors", {"config": json.dumps(CONFIG.to_json())})
    zoo = discover(tmp_path, Wanted())
    assert [entry.name for entry in zoo.entries] == ["model.safetensors"]
    assert (zoo.unreadable, zoo.others) == ([], {"of an optimiser's, with weights' shapes": 2})


def test_what_is_called_as_an_optimisers_can_be_asked_by_its_name(tmp_path):
    """A training state whose momentum is a copy's weights: passed over, which an audit says, but for its name."""
    config = default_config("cnn", IMAGE, 10)
    mine, hidden = (init(config, seed)._asdict()["params"] for seed in (0, 1))
    tree = {"params": mine, "opt_state": {"0": {"mu": hidden}}}
    save_standard(tmp_path / "state", tree)
    tensors = {name.replace("/", "."): leaf for name, leaf in flat(tree).items()}
    save_file(tensors, tmp_path / "m.safetensors", {"config": json.dumps(config.to_json())})
    wanted = Wanted(("cnn",), (IMAGE,), (10,))
    for file in ("state", "m.safetensors"):
        (stored,) = recognise(tmp_path / file, wanted)
        assert stored.passed == 1
        found = find(f"{tmp_path / file}:opt_state/0/mu", wanted)
        assert equal(read_weights(found), flat({"params": hidden}))
        with pytest.raises(UsageError, match="holds one model"):
            find(f"{tmp_path / file}:opt_state/0/nu", wanted)


def test_what_lies_beside_a_model_and_may_be_another_is_told(tmp_path):
    """An average that is kept as a list has no names to be found by."""
    tensors = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
    shadow = {f"ema.shadow.{place}": leaf for place, leaf in enumerate(tensors.values())}
    config = {"config": json.dumps(CONFIG.to_json())}
    save_file(tensors | shadow, tmp_path / "average.safetensors", config)
    save_file(tensors | {"log": np.zeros(3, np.float32)}, tmp_path / "log.safetensors", config)
    save_file(
        tensors | {f"opt_state.{name[4:]}": leaf for name, leaf in shadow.items()},
        tmp_path / "state.safetensors",
        config,
    )
    zoo = discover(tmp_path, Wanted())
    notes = {entry.name: (entry.network.note, entry.network.description is None) for entry in zoo.entries}
    part = (AskedGround.IN_PART, True)  # nor is it packed, where this would be forgotten
    assert notes == {"average.safetensors": part, "log.safetensors": ("", False), "state.safetensors": ("", False)}
    with pytest.raises(UsageError, match="save the model that is meant alone"):
        load_variables(str(tmp_path / "average.safetensors"))
    ((path, why),) = [(item.path, item.why) for item in zoo.unreadable]
    assert path == "average.safetensors"
    assert why.startswith(f"{len(shadow)} tensors beside its models are of none of them: first ema.shadow.")
    save_file(tensors | {f"opt_state.{name}": leaf for name, leaf in shadow.items()}, tmp_path / path, config)
    assert [item.path for item in discover(tmp_path, Wanted()).unreadable] == [path]  # an average is no momentum


def test_adapters_and_wrong_configurations_are_told_as_what_they_are(tmp_path):
    low = {f"base_model.model.q.lora_{part}.weight": np.zeros((4, 4), np.float32) for part in "AB"}
    (tmp_path / "adapter").mkdir()
    save_file(low, tmp_path / "adapter" / "adapter_model.safetensors")
    small = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
    wrong = json.dumps(Config("vgg", IMAGE, 3, (4, 8)).to_json())
    save_file(small, tmp_path / "wrong.safetensors", {"config": wrong})
    for models in ((), ("cnn",)):
        told = {item.path: item.why for item in discover(tmp_path, Wanted(models, (IMAGE,), (10,))).unreadable}
        assert "merge_and_unload" in told["adapter/adapter_model.safetensors"]
        assert "1 is of another shape" in told["wrong.safetensors"] or "of another shape" in told["wrong.safetensors"]
    (entry,) = discover(tmp_path, Wanted(("vgg",), (IMAGE,), (10,))).entries
    assert equal(read(entry), flat(TREE))


def test_every_architecture_that_fits_is_asked(tmp_path, monkeypatch):
    """Two that compute otherwise with the same tensors: the first would clear a copy of the second."""
    code = """
import jax
from flax import linen

class Net(linen.Module):
    turn: object
    @linen.compact
    def __call__(self, x):
        x = self.turn(linen.Dense(7, name="hidden")(x.reshape(len(x), -1)))
        return linen.Dense(10, name="head")(x)

relu = lambda: Net(jax.nn.relu)
sine = lambda: Net(jax.numpy.sin)
"""
    (tmp_path / "two_nets.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    tensors = {"hidden.kernel": np.ones((64, 7), np.float32), "hidden.bias": np.ones(7, np.float32)}
    tensors |= {"head.kernel": np.ones((7, 10), np.float32), "head.bias": np.ones(10, np.float32)}
    save_file(tensors, tmp_path / "model.safetensors")
    wanted = Wanted(("two_nets:relu", "two_nets:sine"), ((8, 8, 1),), (10,))
    names = [f"model.safetensors:two_nets:{turn}" for turn in ("relu", "sine")]
    assert [entry.name for entry in discover(tmp_path, wanted).entries] == names
    one, other = (find(str(tmp_path / name), wanted) for name in names)
    assert one.network is not other.network
    with pytest.raises(UsageError, match=r"name one, as model\.safetensors:two_nets:relu"):
        find(str(tmp_path / "model.safetensors"), wanted)
    # a list that was found chooses none of them
    (tmp_path / "suspects.toml").write_text(
        '[[suspect]]\nname = "a"\npath = "model.safetensors"\nmodel = "two_nets:sine"\n'
    )
    zoo = discover(tmp_path, wanted)
    assert ([entry.name for entry in zoo.entries], [item.path for item in zoo.unreadable]) == (
        names,
        ["suspects.toml:a"],
    )


def test_a_description_does_not_decide_alone_where_the_user_names_a_network(tmp_path):
    """A transformer with other heads has the same tensors: described so, a copy would answer as a stranger."""
    config = default_config("vit", IMAGE, 10)
    wrong = dataclasses.replace(config, dropout=0.5, parameters=(("depth", 3), ("heads", 2), ("patch", 2)))
    tensors = {name.replace("/", "."): leaf for name, leaf in flat(init(config, 0)._asdict()).items()}
    for name, told in (("right", dataclasses.replace(config, dropout=0.5)), ("wrong", wrong)):
        save_file(tensors, tmp_path / f"{name}.safetensors", {"config": json.dumps(told.to_json())})
        checkpoint.save(tmp_path / name, init(config, 0)._asdict(), Metadata(told))
    wanted = Wanted(("cnn", "vit"), (IMAGE,), (10,))
    names = ["right", "right.safetensors", *(f"wrong{end}" for end in (":described", ":vit"))]
    names += [f"wrong.safetensors{end}" for end in (":described", ":vit")]
    assert sorted(entry.name for entry in discover(tmp_path, wanted).entries) == sorted(names)
    for name in ("wrong:vit", "wrong.safetensors:vit"):
        found = find(str(tmp_path / name), wanted)
        assert found.network.description == {"config": config.to_json()}
        assert equal(read_weights(found), flat(init(config, 0)._asdict()))
    with pytest.raises(UsageError, match="holds 2 models"):
        find(str(tmp_path / "wrong.safetensors"), wanted)


def test_a_packs_description_does_not_decide_alone_either(tmp_path, monkeypatch):
    """Each of its rows is asked as the user names it, too; without the rule as its writer says alone."""
    config = default_config("vit", IMAGE, 10)
    wrong = dataclasses.replace(config, parameters=(("depth", 3), ("heads", 2), ("patch", 2)))
    packs = []
    for told in (config, wrong):
        zoo = tmp_path / f"{len(packs)}"
        for seed in (0, 1):
            checkpoint.save(zoo / f"{seed}", init(config, seed)._asdict(), Metadata(told))
        packs += write_packs(discover(zoo, Wanted()), tmp_path / f"packed-{len(packs)}").files
    right, lying = packs
    wanted = Wanted(("cnn", "vit"), (IMAGE,), (10,))
    assert [stored.name for stored in recognise(right, wanted)] == ["0", "1"]
    assert [stored.name for stored in recognise(lying, wanted)] == ["0:described", "1:described", "0:vit", "1:vit"]
    found = find(f"{lying}:1:vit", wanted)
    assert found.network.description == {"config": config.to_json()}
    assert equal(read_weights(found), flat(init(config, 1)._asdict()))
    monkeypatch.setattr(described, "beside_named", lambda rows, *_: rows)
    assert [stored.name for stored in recognise(lying, wanted)] == ["0", "1"]


def test_too_many_heads_are_told(tmp_path):
    small = {name.replace("/", "."): leaf for name, leaf in flat(TREE).items()}
    heads = {f"more{n}.head.bias": np.zeros(n, np.float32) for n in range(11, 19)}
    save_file(small | heads, tmp_path / "model.safetensors")
    ((_, why),) = [(i.path, i.why) for i in discover(tmp_path, Wanted(("vgg",), (IMAGE,), (10,))).unreadable]
    assert "its heads have 9 numbers of classes: more than 8 are not tried" in why
    save_file(small | dict(list(heads.items())[1:]), tmp_path / "model.safetensors")
    assert len(discover(tmp_path, Wanted(("vgg",), (IMAGE,), (10,))).entries) == 1


def test_packs_are_opened_row_by_row(saved, tmp_path):
    for name in ("b", "a"):
        shutil.copytree(saved, tmp_path / "zoo" / name)
    loose = discover(tmp_path / "zoo", Wanted())
    write_packs(loose, tmp_path / "packs")
    zoo = discover(tmp_path / "packs", Wanted())
    assert zoo.unreadable == []
    assert [entry.name.partition(":")[2] for entry in zoo.entries] == ["a", "b"]
    assert [entry.row for entry in zoo.entries] == [0, 1]
    assert all(entry.network is loose.entries[0].network for entry in zoo.entries)
    assert all(equal(read(entry), read(loose.entries[0])) for entry in zoo.entries)


def test_onnx_without_its_package(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"\xff")
    monkeypatch.setitem(sys.modules, "onnx", None)
    (item,) = discover(tmp_path, Wanted()).unreadable
    assert "pip install 'wmjax[onnx]'" in item.why


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "model"
    checkpoint.save(path, init(SMALL, 0)._asdict(), Metadata(SMALL))
    return path


def test_runs_exports_and_order(saved, tmp_path):
    for step in (1, 2):
        shutil.copytree(saved, checkpoint.step_path(tmp_path / "b" / "run", step))
    checkpoint.write_settings(tmp_path / "b" / "run", {})
    (tmp_path / "b" / "run" / "step-00000009").mkdir()
    shutil.copytree(saved, tmp_path / "c")
    checkpoint.save(
        tmp_path / "z",
        init(Config("cnn", IMAGE, 10, (4,), (8,)), 0)._asdict(),
        Metadata(Config("cnn", IMAGE, 10, (4,), (8,))),
    )
    zoo = discover(tmp_path, Wanted())
    assert [entry.name for entry in zoo.entries] == ["z", "b/run", "c"]
    assert zoo.entries[1].network is zoo.entries[2].network
    assert zoo.entries[1].source.path == tmp_path / "b" / "run" / "step-00000002" / "state"
    assert equal(read(zoo.entries[1]), flat(init(SMALL, 0)._asdict()))
    assert the_one(discover(tmp_path / "c", Wanted())).name == "c"


def test_nothing_hostile_stops_the_walk(saved, tmp_path):
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    shutil.copytree(saved, zoo / "good\n")
    refused = ["a.pt", "b.H5", "c.msgpack", "d.safetensors", os.fsdecode(b"e\xff\x1b.pkl")]
    for name in refused:
        (zoo / name).write_bytes(b"\x80\x04")
    (zoo / "notes.txt").write_text("")
    (zoo / "loop").symlink_to(zoo)
    (zoo / "out").symlink_to("/etc")
    (zoo / "broken.onnx").symlink_to("nowhere")
    os.mkfifo(zoo / "pipe.safetensors")
    (zoo / "empty").mkdir()
    shutil.copytree(saved, zoo / "half.orbax-checkpoint-tmp-3")
    for name, missing in {"no-description": "_CHECKPOINT_METADATA", "no-tensors": "state"}.items():
        shutil.copytree(saved, zoo / name)
        gone = zoo / name / missing
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    for name, change in {
        "absurd": {"widths": [1 << 20] * 20},
        "evil": {"name": "../x"},
        "flat": {"image": [8, 0, 1]},
    }.items():
        shutil.copytree(saved, zoo / name)
        file = zoo / name / "_CHECKPOINT_METADATA"
        values = json.loads(file.read_text())
        values["custom_metadata"]["model"].update(change)
        file.write_text(json.dumps(values))
    shutil.copytree(saved, zoo / "nested")
    (zoo / "nested" / "_CHECKPOINT_METADATA").write_text("[" * 100_000)
    shutil.copytree(saved, zoo / os.fsdecode(b"bytes\xff"))
    found = discover(zoo, Wanted(images=(IMAGE,)))
    assert [entry.name for entry in found.entries] == ["good\\n"]
    reported = ["absurd", "broken.onnx", "bytes\\xff", "e\\xff\\x1b.pkl", "evil", "flat", "half.orbax-checkpoint-tmp-3"]
    reported += ["loop", "nested", "no-description", "no-tensors", "out", "pipe.safetensors", *refused[:-1]]
    assert [item.path for item in found.unreadable] == sorted(reported)
    assert all(item.why.isprintable() and len(item.why) < 500 for item in found.unreadable)
    assert "pickle can run code" in next(item.why for item in found.unreadable if item.path == "a.pt")


def test_many_files_beside_many_parts_are_counted_at_once(tmp_path):
    """The parts are put together once, not for each file: that would take minutes for tens of thousands."""
    unions = []

    class Parts(set[Path]):
        def __or__(self, other: set[Path]) -> set[Path]:
            unions.append(len(self))
            return super().__or__(other)

    walk = _Walk(tmp_path, Wanted())
    walk.plain = [tmp_path / f"{i}.txt" for i in range(100)]
    walk.parts = Parts(walk.plain[:40])
    assert (walk.zoo().others, unions) == ({".txt": 60}, [40])


def test_a_deep_chain_of_folders_and_unreadable_ones(saved, tmp_path):
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        for _ in range(850):  # with a path longer than the system takes
            os.mkdir("deep")
            os.chdir("deep")
    finally:
        os.chdir(here)
    shutil.copytree(saved, tmp_path / "last")
    zoo = discover(tmp_path, Wanted(images=(IMAGE,)))
    assert [entry.name for entry in zoo.entries] == ["last"]
    (item,) = zoo.unreadable
    assert item.path.startswith("deep/deep")
    assert "File name too long" in item.why
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)  # rmtree calls itself


def test_there_is_no_zoo(tmp_path):
    assert discover(tmp_path, Wanted(("cnn",), ((1, 1, 1),))) == Zoo([], [])
    with pytest.raises(AccessError, match="does not exist"):
        discover(tmp_path / "nothing", Wanted())


def damage_documents(item: Path, **change: Any) -> None:
    for document in item.rglob("zarr.json"):
        document.write_text(json.dumps(json.loads(document.read_text()) | change))


@pytest.mark.parametrize(
    "damage",
    [
        lambda item: [os.truncate(file, file.stat().st_size // 2) for file in item.rglob("d/*")],
        lambda item: [file.write_bytes(bytes(len(file.read_bytes()))) for file in item.rglob("d/*")],
        lambda item: shutil.rmtree(item / "ocdbt.process_0"),
        lambda item: (item / "manifest.ocdbt").write_bytes(b"x"),
        lambda item: (item / "manifest.ocdbt").unlink(),
        lambda item: (item / "link").symlink_to("/dev/zero"),
        lambda item: os.mkfifo(item / "pipe"),
        lambda item: os.truncate(next(item.rglob("d/*")), 1 << 40),
        lambda item: shutil.rmtree(item),
    ],
)
def test_damaged_tensors_are_one_line(saved, tmp_path, damage, caplog, capfd):
    path = Path(shutil.copytree(saved, tmp_path / "model"))
    entry = the_one(discover(path, Wanted()))
    damage(path / "state")
    with caplog.at_level(logging.DEBUG), pytest.raises((InvalidFile, AccessError)) as caught:
        read(entry)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    assert not caplog.records
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1 << 62, 1 << 62]},
        {"shape": [-1]},
        {"shape": 5},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1 << 40]}}},
        {"data_type": "string"},
        {"codecs": []},
        {"codecs": [{"name": "evil"}]},
    ],
)
def test_documents_that_lie(change, tmp_path):
    save_pytree(tmp_path / "model", {"a": jnp.ones(3)}, use_ocdbt=False, use_zarr3=True)
    damage_documents(tmp_path / "model", **change)
    source = orbax.Folder(tmp_path / "model", {"a": "a"})
    with pytest.raises(InvalidFile) as caught:
        source.read(0, 1, {"a": np.zeros((1, 3), np.float32)})
    assert "\n" not in str(caught.value)


def test_chunks_that_lie(tmp_path):
    save_pytree(tmp_path / "model", {"a": jnp.ones(3)}, use_ocdbt=False, use_zarr3=True)
    source, chunk = orbax.Folder(tmp_path / "model", {"a": "a"}), tmp_path / "model" / "a" / "c" / "0"
    whole = chunk.read_bytes()
    for damaged in (b"", whole[:-1], whole[:10], whole[::-1], whole + whole[:7]):
        chunk.write_bytes(damaged)
        with pytest.raises(InvalidFile):
            source.read(0, 1, {"a": np.zeros((1, 3), np.float32)})


@given(st.text(st.characters(codec=None)))
def test_shown_names_are_printable_and_distinct(name):
    assert shown(name).isprintable()
    assert shown(name + "\n") != shown(name + "\\n")


def test_nothing_is_hidden_by_a_name_or_an_empty_file(tmp_path: Path) -> None:
    """A run's folder, a folder that pretends to be a checkpoint, and archives: what lies there is found or listed."""
    config = Config("cnn", (8, 8, 1), 10, (4,), (8,))
    variables = init(config, 0)._asdict()
    checkpoint.save(tmp_path / "run" / "step-00000002", variables, checkpoint.Metadata(config, 2))
    checkpoint.save(tmp_path / "run" / "step-00000001", variables, checkpoint.Metadata(config, 1))
    checkpoint.write_settings(tmp_path / "run", {})
    checkpoint.save(tmp_path / "run" / "step-by-step" / "model", variables, checkpoint.Metadata(config))
    checkpoint.save(tmp_path / "team" / "model", variables, checkpoint.Metadata(config))
    (tmp_path / "team" / "_METADATA").write_bytes(b"")
    for name, content in {"model.pth.tar": b"\x80\x04", "m.pt.gz": gzip.compress(b"x"), "weights.zip": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    zoo = discover(tmp_path, Wanted())
    assert [entry.name for entry in zoo.entries] == ["run", "run/step-by-step/model", "team/model"]
    why = {item.path: item.why for item in zoo.unreadable}
    assert why.keys() == {"model.pth.tar", "weights.zip", "m.pt.gz", "team"}
    assert "pickle" in why["model.pth.tar"]
    assert "unpack" in why["m.pt.gz"]
    assert why["weights.zip"] == "text, not weights"
    assert len({entry.stamp for entry in zoo.entries} - {""}) > 1
