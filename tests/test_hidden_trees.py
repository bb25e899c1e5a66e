"""A copy in a tree of Flax's or Orbax's that their own libraries restore, where a decoy was all that was looked at."""

import errno
import math
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import msgpack
import numpy as np
import orbax.checkpoint as v0
import pytest
import tensorstore
from flax import serialization
from marked import CONFIG, make_key, marked

import wmjax
from wmjax import checkpoint, ocdbt, orbax, zarr
from wmjax.errors import UsageError
from wmjax.models import Variables, init
from wmjax.suspects import left_over, recognise
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import msgpack as msgpack_format
from wmjax.suspects.formats.orbax_items import Items
from wmjax.zoo.audit import audit

KEY = make_key(120)
COPY, DECOY = marked(KEY), init(CONFIG, 7)


def audited(folder: Path) -> list[str]:
    return [str(found.verdict) for found in audit(folder, {"k": KEY}, models=["cnn"], pixels="0..1")]


def refused(folder: Path) -> str:
    (unreadable,) = audit(folder, {"k": KEY}, models=["cnn"], pixels="0..1").unreadable
    return unreadable.why


def packed(tree: Any, code: int) -> Any:
    """A tree for `msgpack.packb`, with its arrays as extensions of a type."""
    if isinstance(tree, dict):
        return {name: packed(part, code) for name, part in tree.items()}
    array = np.asarray(tree)
    return msgpack.ExtType(code, msgpack.packb((array.shape, array.dtype.name, array.tobytes())))


def states(*trees: Variables) -> list[Any]:
    return [serialization.to_state_dict(jax.tree.map(np.asarray, tree.params)) for tree in trees]


def test_scalars_of_flax_are_arrays_of_their_shape(tmp_path, monkeypatch):
    """Flax restores as `params` what was written as scalars, whatever its shape."""
    copy, decoy = states(COPY, DECOY)
    raw = msgpack.packb({"params": packed(copy, 3), "old": packed(decoy, 1)}, strict_types=True)
    restored = serialization.msgpack_restore(raw)["params"]
    assert jax.tree.all(jax.tree.map(np.array_equal, restored, copy))
    (tmp_path / "m.msgpack").write_bytes(raw)
    assert sorted(audited(tmp_path)) == ["match", "no-match"]
    monkeypatch.setattr(msgpack_format, "_ARRAYS", (1,))
    monkeypatch.setattr(msgpack_format, "_SMALL", 1 << 40)
    assert audited(tmp_path) == ["no-match"]


def test_a_file_within_a_file_is_told(tmp_path, monkeypatch):
    """`flax.serialization.from_bytes` of what the decoy's file holds under a name of its own."""
    copy, decoy = states(COPY, DECOY)
    raw = msgpack.packb({"params": packed(decoy, 1), "model": serialization.to_bytes(copy)}, strict_types=True)
    (tmp_path / "m.msgpack").write_bytes(raw)
    assert audited(tmp_path) == ["inconclusive"]
    assert refused(tmp_path) == "1 tensor beside its models is of none of them: first model"
    monkeypatch.setattr(msgpack_format, "_SMALL", 1 << 40)
    assert audited(tmp_path) == ["no-match"]


def save(path: Path, tree: Any, **how: Any) -> None:
    with v0.Checkpointer(v0.PyTreeCheckpointHandler(**how)) as checkpointer:
        checkpointer.save(path.absolute(), tree)


def arrays(*trees: Variables) -> list[Any]:
    return [{"params": jax.tree.map(jnp.asarray, tree.params)} for tree in trees]


def restored(path: Path) -> Any:
    with v0.Checkpointer(v0.PyTreeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(path.absolute())


def test_an_item_within_one_of_its_name_is_told(tmp_path, monkeypatch):
    copy, decoy = arrays(COPY, DECOY)
    save(tmp_path / "model", decoy)
    save(tmp_path / "model" / "model", copy)
    assert refused(tmp_path).startswith("two of its tensors are called model/params.convs.0.bias")

    def first(self: Items, place: Path, before: str, tensors: orbax.Tensors) -> None:
        for name, described in tensors.items():
            if self.tensors.setdefault(before + name, described) is described:
                self._places.setdefault(before + name, (place, name))

    monkeypatch.setattr(Items, "_note", first)
    assert audited(tmp_path) == ["no-match"]


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
def test_a_tensor_that_is_described_twice_is_refused(tmp_path, monkeypatch):
    """Orbax reads the Zarr of its own metadata, version 2; a decoy of version 3 lay below the same names."""
    copy, decoy = arrays(COPY, DECOY)
    save(tmp_path / "model", copy, use_zarr3=False)
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{tmp_path}/model/"}}
    for way, leaf in jax.tree_util.tree_leaves_with_path(decoy):
        name = ".".join(str(getattr(part, "key", getattr(part, "idx", ""))) for part in way)
        spec = {"driver": "zarr3", "kvstore": {**store, "path": f"{name}/"}, "store_data_equal_to_fill_value": True}
        tensorstore.open(spec, create=True, dtype="float32", shape=leaf.shape).result().write(leaf).result()
    assert jax.tree.all(jax.tree.map(np.array_equal, restored(tmp_path / "model")["params"], states(COPY)[0]))
    assert refused(tmp_path).endswith("a tensor of it is described twice: readers take the one or the other")
    monkeypatch.setattr(orbax, "_document", lambda found: next((key for key in orbax.DOCUMENTS if key in found), b""))
    assert audited(tmp_path) == ["no-match"]


def test_tensors_in_folders_beside_a_database_are_told(tmp_path, monkeypatch):
    copy, decoy = arrays(COPY, DECOY)
    save(tmp_path / "zoo" / "model", decoy)
    save(tmp_path / "copy", copy, use_ocdbt=False)
    for folder in (tmp_path / "copy").glob("params*"):
        folder.rename(tmp_path / "zoo" / "model" / folder.name)
    assert refused(tmp_path / "zoo").startswith("holds tensors in folders beside its database")
    monkeypatch.setattr(orbax, "_OF_FOLDER", re.compile("(?!)"))
    assert audited(tmp_path / "zoo") == ["no-match"]


def test_names_with_slashes_are_read(tmp_path, monkeypatch):
    """As Haiku calls its layers: such tensors were passed over, with the copy."""
    copy, decoy = arrays(COPY, DECOY)
    for use_ocdbt in (True, False):
        save(tmp_path / f"{use_ocdbt}" / "model", {"mlp/~/net": copy, "old": decoy}, use_ocdbt=use_ocdbt)
        assert sorted(audited(tmp_path / f"{use_ocdbt}")) == ["match", "no-match"]
    monkeypatch.setattr(ocdbt, "_split", lambda key, deep: key.partition(b"/")[::2])
    assert [audited(tmp_path / f"{use_ocdbt}") for use_ocdbt in (True, False)] == [["no-match"]] * 2


def test_an_item_whose_description_was_taken_away_is_a_model_all_the_same(tmp_path, monkeypatch):
    copy, decoy = arrays(COPY, DECOY)
    for name, tree in (("params", decoy), ("ema", copy)):
        save(tmp_path / name, tree)
    (tmp_path / "ema" / orbax.ITEM).unlink()
    known = Wanted.by([KEY.spec], ["cnn"], "0..1")
    with pytest.raises(UsageError, match="holds 2 models: name one"):
        wmjax.from_checkpoint(tmp_path, known)
    assert wmjax.verify(wmjax.from_checkpoint(f"{tmp_path}:ema", known), KEY).verdict == "match"
    monkeypatch.setattr(orbax, "_is_item", lambda folder: (folder / orbax.ITEM).is_file())
    monkeypatch.setattr(recognise, "beside", lambda *_: iter(()))  # or it is found as another checkpoint
    assert wmjax.verify(wmjax.from_checkpoint(tmp_path, known), KEY).verdict == "no-match"


@pytest.mark.parametrize("wide", [np.complex128, np.complex64, np.int64, np.float64])
def test_weights_by_their_bytes_in_wider_numbers_are_told(tmp_path, monkeypatch, wide):
    """Of 16 bits each, several in one: they were counted as an eighth of the weights."""
    copy, decoy = states(COPY, DECOY)
    flat = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(copy)]).astype(np.float16)
    filled = np.concatenate([flat, np.zeros(-len(flat) % 8, np.float16)])
    (tmp_path / "m.msgpack").write_bytes(serialization.msgpack_serialize({"params": decoy, "x": filled.view(wide)}))
    assert audited(tmp_path) == ["inconclusive"]
    monkeypatch.setattr(left_over, "_held", lambda shape, dtype: math.prod(shape))
    assert audited(tmp_path) == ["no-match"]


@pytest.mark.parametrize("place", ["copy.zip", "d/copy.bin", "array_metadatas/copy"])
def test_an_archive_within_a_checkpoint_is_told(tmp_path, place):
    """What Orbax packs of a tensor has a name that says so; an archive of a model was taken for such a piece."""
    copy, decoy = arrays(COPY, DECOY)
    save(tmp_path / "zoo" / "model", decoy)
    archive = tmp_path / "zoo" / "model" / place
    archive.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("model.msgpack", serialization.to_bytes(copy))
    assert "an archive is not opened" in refused(tmp_path / "zoo")
    with pytest.raises(UsageError, match="what may be other models beside its checkpoint"):
        recognise.recognise(tmp_path / "zoo" / "model", Wanted(("cnn",), (CONFIG.image,)))


def test_an_aggregate_file_in_a_checkpoint_of_wmjax_is_told(tmp_path):
    """Orbax restores the copy from there; nothing of ours is in such a file."""
    checkpoint.save(tmp_path / "model", DECOY._asdict(), checkpoint.Metadata(CONFIG))
    hidden = tmp_path / "model" / checkpoint.STATE / "checkpoint"
    hidden.write_bytes(serialization.to_bytes(states(COPY)[0]))
    assert sorted(audited(tmp_path)) == ["match", "no-match"]
    hidden.write_bytes(b"\x08" + bytes(2000))
    assert "is not a file of flax.serialization" in refused(tmp_path)


def test_a_folder_within_a_checkpoint_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    checkpoint.save(tmp_path / "model", DECOY._asdict(), checkpoint.Metadata(CONFIG))
    closed = tmp_path / "model" / "d" / "closed"
    closed.mkdir(parents=True)
    scandir = os.scandir

    def scanned(folder: Any) -> Any:
        if Path(folder) == closed:  # whoever runs the tests may read everything
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", scanned)
    assert refused(tmp_path) == "cannot be read: Permission denied"
    with pytest.raises(UsageError, match="name one, as model/d/closed"):
        recognise.recognise(tmp_path / "model", Wanted(("cnn",), (CONFIG.image,)))


def half_fetched(path: Path, *, zarr3: bool) -> list[Path]:
    """A copy in a folder of chunks, of which those that are returned were lost."""
    tree = arrays(COPY)[0]
    save_args = jax.tree.map(lambda _: v0.SaveArgs(chunk_byte_size=1 << 14), tree)
    with v0.Checkpointer(v0.PyTreeCheckpointHandler(use_ocdbt=False, use_zarr3=zarr3)) as checkpointer:
        checkpointer.save(path.absolute(), args=v0.args.PyTreeSave(tree, save_args=save_args))
    assert audited(path) == ["match"]
    files = [file for file in (path / "params.dense.0.kernel").rglob("*") if file.is_file()]
    lost = sorted(file for file in files if file.name not in (".zarray", "zarr.json"))[::2]
    for chunk in lost:
        chunk.unlink()
    return lost


def leaves_out_zeros(path: Path) -> None:
    """Says of an item that it is as older Orbax wrote them."""
    description = path / orbax.ITEM
    description.write_bytes(description.read_bytes().replace(b'fill_value": true', b'fill_value": false'))


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("zarr3", [False, True])
def test_a_chunk_that_was_lost_is_not_taken_for_zeros(tmp_path, monkeypatch, zarr3):
    """Half of a download: Orbax refuses it, and a copy that was asked with zeros there was cleared."""
    half_fetched(tmp_path / "model", zarr3=zarr3)
    with pytest.raises(Exception, match="Encountered error while reading array"):
        restored(tmp_path / "model")
    why = "1 of its tensors lack chunks: of zeros, or lost; first params.dense.0.kernel"
    told = [item.why for item in audit(tmp_path, {"k": KEY}, models=["cnn"]).unreadable]
    assert (told[0], told[1].endswith("cannot be read: a file is missing"), len(told)) == (why, True, 2)
    leaves_out_zeros(tmp_path / "model")  # where they are read as such
    assert audited(tmp_path) == ["inconclusive"]
    assert refused(tmp_path) == why
    monkeypatch.setattr("wmjax.suspects.described._holes", lambda *_: "")
    assert audited(tmp_path) == ["no-match"]


@pytest.mark.filterwarnings("ignore:Sharding info not provided")
@pytest.mark.parametrize("zarr3", [False, True])
@pytest.mark.parametrize("called", ["{}.tmp", ".{}.Xa1b2C", "{}.part", "0{}", "9{}"])
def test_no_other_file_stands_for_a_chunk_that_was_lost(tmp_path, monkeypatch, called, zarr3):
    """What programs that fetch leave beside a chunk, and chunks that are of no place: they were counted."""
    lost = half_fetched(tmp_path / "model", zarr3=zarr3)
    for chunk in lost:
        chunk.with_name(called.format(chunk.name)).touch()
    leaves_out_zeros(tmp_path / "model")
    assert audited(tmp_path) == ["inconclusive"]
    why = "1 of its tensors lack chunks: of zeros, or lost; first params.dense.0.kernel"
    assert why in [item.why for item in audit(tmp_path, {"k": KEY}, models=["cnn"]).unreadable]
    monkeypatch.setattr(zarr.Layout, "lacks", lambda layout, keys: len(keys) - 1 < math.prod(layout.grid))
    assert audited(tmp_path) == ["no-match"]


_ENCODINGS: list[tuple[str, dict[str, Any]]] = [
    ("zarr", {}),
    ("zarr", {"dimension_separator": "/"}),
    ("zarr3", {}),
    ("zarr3", {"chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}}}),
    ("zarr3", {"chunk_key_encoding": {"name": "v2"}}),
    ("zarr3", {"chunk_key_encoding": {"name": "v2", "configuration": {"separator": "/"}}}),
]


@pytest.mark.parametrize("ocdbt", [True, False])
@pytest.mark.parametrize(("driver", "encoding"), _ENCODINGS)
@pytest.mark.parametrize("shape", [(), (3,), (5, 3)])
def test_each_chunk_goes_by_the_key_that_its_layout_gives_it(tmp_path, ocdbt, driver, encoding, shape):
    """Scalars, too; TensorStore writes them, each chunk is taken away, and others' keys stand in its place."""
    folder = {"driver": "file", "path": f"{tmp_path}/"}
    store = {"driver": "ocdbt", "base": folder} if ocdbt else folder
    name = "a/b" if ocdbt else "a"
    within = {"path": f"{name}/"} if ocdbt else {"path": f"{tmp_path}/{name}/"}
    chunks = [2] * len(shape)
    grid = {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}}, "data_type": "float32"}
    said = {"shape": shape, **encoding, **(grid if driver == "zarr3" else {"chunks": chunks, "dtype": "<f4"})}
    spec = {"driver": driver, "kvstore": {**store, **within}, "metadata": said}
    tensorstore.open(spec, create=True).result().write(np.ones(shape, np.float32)).result()
    database = tensorstore.KvStore.open(store).result()
    keys = [key for key in database.list().result() if key.startswith(f"{name}/".encode())]
    keys = [key for key in keys if key.rpartition(b"/")[2] not in orbax.DOCUMENTS]
    assert len(keys) == math.prod(-(-side // 2) for side in shape)
    assert orbax.tensors(tmp_path) == ({name: (shape, "float32")}, frozenset())
    for key in keys:
        held = database.read(key).result().value
        database.delete_range(tensorstore.KvStore.KeyRange(key, key + b"\0")).result()
        for stray in (key + b".tmp", key + b"0", key.rpartition(b"/")[0] + b"/.0.Xa1b2C"):
            database.write(stray, held).result()
        assert orbax.tensors(tmp_path)[1] == {name}
        database.write(key, held).result()
    assert orbax.tensors(tmp_path)[1] == frozenset()
