"""What a file is, by its content: each kind written by its own library, under names that say something else."""

import gzip
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import onnx
import onnxruntime
import pytest
from flax import serialization
from graphs import build, varint
from marked import FORMATS, make_key, marked
from PIL import Image
from safetensors.numpy import save_file

from wmjax.errors import InvalidFile
from wmjax.suspects.contract import Wanted
from wmjax.suspects.kinds import WHY, Format
from wmjax.suspects.recognise import recognise
from wmjax.suspects.sniff import SAVED_MODEL, kind_of, sniff
from wmjax.zoo.discover import discover

ARRAY = np.linspace(0.0, 1.0, 2000, dtype=np.float32)
LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 346293852\n".encode()
PAGE = b"\n<!DOCTYPE html><html><body>Not Found</body></html>"


def graph() -> bytes:
    body = "a = Flatten (x) y = Gemm (a, w, b)"
    return build(body, {"w": (216, 10), "b": (10,)}).SerializeToString()


def ort(path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.save_model_format", "ORT")
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(graph(), options)


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as archive:
        archive.add(__file__, "model.py")


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(__file__, "model.py")


WRITTEN: dict[Format, Callable[[Path], object]] = {
    Format.SAFETENSORS: lambda path: save_file({"a": ARRAY}, path),
    Format.ONNX: lambda path: path.write_bytes(graph()),
    Format.CUT_ONNX: lambda path: path.write_bytes(graph()[:-100]),
    Format.ORT: ort,
    Format.PICKLE: lambda path: joblib.dump({"a": ARRAY}, path),
    Format.CUT_ZIP: lambda path: (zipped(path), os.truncate(path, path.stat().st_size - 30)),
    Format.MSGPACK: lambda path: path.write_bytes(serialization.to_bytes({"params": {"kernel": ARRAY}})),
    Format.ARRAYS: lambda path: np.savez(path.open("wb"), a=ARRAY),
    Format.ARRAY: lambda path: np.save(path.open("wb"), ARRAY),
    Format.ARCHIVE: lambda path: path.write_bytes(gzip.compress(b"a model")),
    Format.LFS: lambda path: path.write_bytes(LFS),
    Format.PAGE: lambda path: path.write_bytes(PAGE),
    Format.EMPTY: lambda path: path.touch(),
    Format.TEXT: lambda path: path.write_text("Entry not found"),
    Format.OTHER: lambda path: Image.new("RGB", (4, 4)).save(path, "png"),
    Format.UNKNOWN: lambda path: path.write_bytes(ARRAY.tobytes()),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_the_content_says_what_a_file_is_whatever_its_name(kind: Format, tmp_path: Path) -> None:
    for name in ("model.pth", "model", "model.png"):
        WRITTEN[kind](tmp_path / name)
        assert sniff(tmp_path / name) == kind
    assert kind_of(tmp_path / "model.pth") == (Format.UNKNOWN if kind is Format.OTHER else kind)
    if kind in WHY:  # what is read says more
        with pytest.raises(InvalidFile) as caught:  # `verify` and `claim` come through this door
            recognise(tmp_path / "model.pth", Wanted())
        (item,) = discover(tmp_path / "model.pth", Wanted()).unreadable
        assert str(caught.value) == f"{tmp_path / 'model.pth'}: {WHY[kind]}"
        assert (item.path, item.why) == ("model.pth", WHY[kind])


@pytest.mark.parametrize("kind", WRITTEN)
def test_half_a_download_is_what_its_content_says_where_that_says_something(kind: Format, tmp_path: Path) -> None:
    """A copy of which all has come is known by it; it is not cleared."""
    WRITTEN[kind](tmp_path / "model.part")
    unknown = kind in (Format.UNKNOWN, Format.OTHER, Format.EMPTY, Format.TEXT, Format.PAGE)
    assert kind_of(tmp_path / "model.part") is (Format.UNFINISHED if unknown else kind)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(protocol: int, tmp_path: Path) -> None:
    for value in ({"state": [1.5, "a"], "epoch": 3}, [ARRAY], {str(n): n for n in range(5000)}):
        (tmp_path / "notes.txt").write_bytes(pickle.dumps(value, protocol))
        assert sniff(tmp_path / "notes.txt") == Format.PICKLE


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_pytorch_s_archives(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    network = torch.nn.Sequential(*(torch.nn.Linear(3, 3) for _ in range(400)))
    torch.save(network.state_dict(), tmp_path / "torch")
    torch.save(network.state_dict(), tmp_path / "pickle", _use_new_zipfile_serialization=False)
    torch.jit.script(network[:2]).save(tmp_path / "torchscript")
    torch.export.save(torch.export.export(network[:2], (torch.zeros(1, 3),)), tmp_path / "torch-export")
    for name in ("torch", "pickle", "torchscript", "torch-export"):
        assert sniff(tmp_path / name) == Format(name)


def test_what_is_plainly_no_model_is_told_from_what_should_be_one(tmp_path: Path) -> None:
    plain = {
        "README.md": "# Modèle\n".encode("latin-1"),
        "LICENSE": b"(c) us.\nAll rights reserved.",
        "config.json": b'{"a": 1}',
        "cat.png": LFS,
        "page.html": PAGE,
        "__init__.py": b"",
        "net.pyc": b"\xcb\r\r\n" + bytes(12),
        "cat.webp": b"RIFF\0\0\0\0WEBP",
        ".DS_Store": b"\0\0\0\1Bud1\0",
    }
    told = {
        "model.onnx": b"",
        "weights": LFS,
        "cut.bin.incomplete": ARRAY.tobytes(),
        "page.safetensors": PAGE,
        "text.h5": b"Entry not found",
        "picture.pt": b"RIFF\0\0\0\0WEBP",
        "movie": b"RIFF".ljust(512) + b"\x89HDF\r\n\x1a\n",
        "state.bak": ARRAY.tobytes(),
        "graph.json": b'{"format": "graph-model", "generatedBy": "2.8"}',
        "graph.xml": b'<?xml version="1.0"?>\n<net name="m" version="11">',
        "bare": b'\xef\xbb\xbf<net\tname="m" version="11">',
        "licensed.txt": b"<!-- " + 5000 * b"x" + b' --><net name="m" version="11">',
        "introduced.xml": b'A model: <net name="m" version="11">',
    }
    for name, content in (plain | told).items():
        (tmp_path / name).write_bytes(content)
    assert {name for name in plain | told if kind_of(tmp_path / name) is Format.OTHER} == plain.keys()
    assert kind_of(tmp_path / "cut.bin.incomplete") == Format.UNFINISHED
    zoo = discover(tmp_path, Wanted())
    assert {item.path for item in zoo.unreadable} == told.keys()
    endings = {".html": 1, ".json": 1, ".md": 1, ".png": 1, ".py": 1, ".pyc": 1, ".webp": 1}
    endings |= {"without an ending": 2}
    assert zoo.others == endings


def test_a_model_is_read_whatever_its_ending(tmp_path: Path) -> None:
    for name in ("blob", "model.onnx.bak", "picture.png", "model.safetensors"):
        (tmp_path / name).write_bytes(graph())
    zoo = discover(tmp_path, Wanted())
    assert {entry.name for entry in zoo.entries} == {path.name for path in tmp_path.iterdir()}
    assert zoo.unreadable == []
    assert len({entry.network.fingerprint for entry in zoo.entries}) == 1


def test_an_onnx_file_whose_fields_are_many_or_in_another_order(tmp_path: Path) -> None:
    whole = onnx.load_from_string(graph())
    head, tail = onnx.ModelProto(), onnx.ModelProto()
    tail.CopyFrom(whole)
    tail.ClearField("opset_import")
    head.opset_import.extend(whole.opset_import)
    head.doc_string = "long" * 5000
    for number in range(100):
        tail.metadata_props.add(key=str(number), value="x" * 100)
    (tmp_path / "mixed").write_bytes(head.SerializeToString() + tail.SerializeToString())
    assert sniff(tmp_path / "mixed") == Format.ONNX
    assert onnx.load(tmp_path / "mixed", load_external_data=False).graph.node
    first = onnx.ModelProto(doc_string="a" * 120 + " text that fills what is looked at. " * 400)
    (tmp_path / "text").write_bytes(first.SerializeToString() + whole.SerializeToString())
    assert sniff(tmp_path / "text") == Format.ONNX
    (tmp_path / "text").write_bytes(first.SerializeToString())
    assert sniff(tmp_path / "text") == Format.TEXT
    for size in (0, 1, 2, 3, 10):  # no length of it is believed
        (tmp_path / "huge").write_bytes(b"\x08\x08\x3a" + b"\xff" * size)
        sniff(tmp_path / "huge")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidFile, match="not a regular file"):
        sniff(tmp_path / "pipe")
    assert [item.why for item in discover(tmp_path, Wanted()).unreadable] == ["not a regular file"]


@pytest.mark.parametrize("form", ["keras", "h5"])
@pytest.mark.parametrize("front", ["picture", "decoy"])
def test_what_stands_before_a_keras_model_hides_none(form: str, front: str, tmp_path: Path) -> None:
    """Keras finds its model behind a picture, which is no model, or behind another model, which would be asked."""
    before = b"\x89PNG\r\n\x1a\n" if front == "picture" else graph()
    path = tmp_path / f"model.{form}"
    if form == "keras":
        zipped(path)
        raw = path.read_bytes()
        path.write_bytes(before + b"\x32" + varint(len(raw)) + raw)  # ONNX's field for documentation
        assert zipfile.is_zipfile(path)
    else:
        room = 1 << 15  # where one of HDF5 may begin
        fill = room - len(before) - 1 - len(varint(room))
        path.write_bytes(before + b"\x32" + varint(fill + 8) + bytes(fill) + b"\x89HDF\r\n\x1a\n")
        assert path.read_bytes().index(b"\x89HDF") == room
    assert sniff(path) == (Format.OTHER if front == "picture" else Format.ONNX)
    assert kind_of(path) is Format.SEVERAL
    assert [item.path for item in discover(tmp_path, Wanted()).unreadable] == [path.name]


@pytest.mark.parametrize("last", [False, True])
def test_a_saved_model_is_no_other_model_by_what_tensorflow_skips(last: bool, tmp_path: Path) -> None:
    """TensorFlow finds it by its name: the other one would be asked, and cleared."""
    folder = tmp_path / "m"
    folder.mkdir()
    other, own = onnx.load_from_string(graph()), b"\x08\x01\x12\x03abc"
    other.ClearField("producer_name")
    path = folder / SAVED_MODEL
    path.write_bytes(other.SerializeToString() + own if last else own + other.SerializeToString())
    assert sniff(path) == (Format.ONNX if last else Format.SAVED_MODEL)
    assert kind_of(path) is (Format.SEVERAL if last else Format.SAVED_MODEL)
    assert [item.path for item in discover(tmp_path, Wanted()).unreadable] == [f"m/{SAVED_MODEL}"]


@pytest.mark.parametrize("fields", [100, 1 << 15])
def test_a_frozen_graph_behind_what_it_skips_is_told(fields: int, tmp_path: Path) -> None:
    """The graph before it would be asked, and cleared."""
    node = b"\n\x10\n\x01x\x12\x0bPlaceholder"
    (tmp_path / "m.pb").write_bytes(graph() + fields * b"\x42\x00" + node)
    assert kind_of(tmp_path / "m.pb") is Format.UNKNOWN
    for skipped in (
        b"",
        (1 << 15) * b"\x42\0",
        b"\x42\x06RIFF..",
        b"\x45abcd",
        b"\x41abcdefgh",
        b"\x43\x44",
    ):  # of each kind, a group too
        (tmp_path / "m.onnx").write_bytes(graph() + skipped + node)
        assert kind_of(tmp_path / "m.onnx") is Format.UNKNOWN
    (tmp_path / "m.pb").write_bytes(graph() + 100 * b"\x42\x00")
    assert kind_of(tmp_path / "m.pb") is Format.ONNX


FRONTS = {
    Format.TFLITE: b"\x1a\x06\0\0TFL3",
    Format.ORT: b"\x1a\x06\0\0ORTM",
    Format.HDF5: b"\x1a" + varint(509 + 8) + bytes(509) + b"\x89HDF\r\n\x1a\n",
}


@pytest.mark.parametrize("kind", FRONTS)
def test_a_frozen_graph_behind_what_another_runtime_reads_is_told(kind: Format, tmp_path: Path) -> None:
    node = b"\n\x10\n\x01x\x12\x0bPlaceholder"
    (tmp_path / "m.h5").write_bytes(FRONTS[kind])
    assert kind_of(tmp_path / "m.h5") is kind
    (tmp_path / "m.h5").write_bytes(FRONTS[kind] + node)
    assert kind_of(tmp_path / "m.h5") is Format.SEVERAL


def test_a_model_that_begins_as_a_picture_is_read(tmp_path: Path) -> None:
    file = Path(FORMATS["ONNX"][0](tmp_path / "model", marked(make_key())))
    file.write_bytes(b"RI" + b"FF".ljust(0x49, b"x") + file.read_bytes())  # field 10, which ONNX does not have
    assert (sniff(file), kind_of(file)) == (Format.OTHER, Format.ONNX)


@pytest.mark.parametrize("form", ["textproto", "json", "onnxtxt"])
def test_an_onnx_file_for_people_is_told(form: str, tmp_path: Path) -> None:
    onnx.save(onnx.load_from_string(graph()), tmp_path / "model.txt", format=form)
    assert [item.why for item in discover(tmp_path, Wanted()).unreadable] == [WHY[Format.UNKNOWN]]


@pytest.mark.parametrize("length", [1, 31, 32, 255])
def test_msgpack_files_begin_with_names_of_any_usual_length(length: int, tmp_path: Path) -> None:
    """Haiku's and flattened trees have long ones."""
    (tmp_path / "model").write_bytes(serialization.to_bytes({length * "a": ARRAY}))
    assert sniff(tmp_path / "model") == Format.MSGPACK
    (tmp_path / "cut").write_bytes((tmp_path / "model").read_bytes()[:2])
    assert sniff(tmp_path / "cut") != Format.MSGPACK


@pytest.mark.parametrize(
    "text",
    [
        lambda: str(onnx.load_from_string(graph())),
        lambda: onnx.printer.to_text(onnx.load_from_string(graph())),
        lambda: "saved_model_schema_version: 1\nmeta_graphs {\n  meta_info_def {\n",
        lambda: 'node {\n  name: "x"\n  op: "Placeholder"\n',
        lambda: '# mine\nnode: < op: "Const" name: "w" >\n',
    ],
    ids=["ONNX's fields", "ONNX's own", "a SavedModel", "a graph of TensorFlow's", "and with a remark"],
)
def test_a_model_that_is_written_as_text_is_told(text: Callable[[], str], tmp_path: Path) -> None:
    """Nobody reads it so; an audit must not pass it over."""
    (tmp_path / "saved_model.pbtxt").write_text(text())
    (told,) = discover(tmp_path, Wanted()).unreadable
    assert told.why == WHY[Format.UNKNOWN]
