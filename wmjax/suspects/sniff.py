"""What a file is: by its content, of which some KB are read; its name says only what it should be."""

import contextlib
import mimetypes
import os
import pickletools
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from wmjax import stores
from wmjax.errors import AccessError, InvalidFile
from wmjax.suspects.formats.safetensors import INDEX
from wmjax.suspects.kinds import UNFINISHED, WEIGHTS, WHY, Format

_HEAD, _TAIL = 4096, 8192  # bytes that are read at either end
_ZIP_END = (1 << 16) + 22  # bytes in which a zip archive's last record lies

_MAGIC = {  # how files begin
    b"\x93NUMPY": Format.ARRAY,
    b"GGUF": Format.GGUF,
    **dict.fromkeys((b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"\x28\xb5\x2f\xfd", b"7z\xbc\xaf\x27\x1c"), Format.ARCHIVE),
    b"Rar!\x1a\x07": Format.ARCHIVE,
    **dict.fromkeys((b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"II*\0", b"MM\0*"), Format.OTHER),
    **dict.fromkeys((b"%PDF-", b"ID3", b"OggS", b"fLaC", b"\x7fELF", b"MZ", b"wOF2", b"\0\1\0\0\0"), Format.OTHER),
    **dict.fromkeys((b"PAR1", b"ARROW1", b"SQLite format 3\0", b"\0\0\0\1Bud1"), Format.OTHER),
    b"\x0c\xdb\x3a\x2a": Format.OTHER,  # the manifest of an Orbax checkpoint: its folder is looked at
    b"age-encryption.org/": Format.OTHER,
    b"version https://git-lfs.github.com/spec/": Format.LFS,
}
_AT_FOUR = {b"TFL3": Format.TFLITE, b"ORTM": Format.ORT, b"ftyp": Format.OTHER}
_STABLEHLO = b"ML\xefR\rStableHLO_v"  # the program in a file of `jax.export`
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIPS = {  # names in a zip archive's directory, the telling ones first
    b"constants.pkl": Format.TORCHSCRIPT,
    b"archive_format": Format.TORCH_EXPORT,
    b"data.pkl": Format.TORCH,
    b"model.weights.h5": Format.KERAS,
    b".npy": Format.ARRAYS,
}
SAVED_MODEL = "saved_model.pb"  # TensorFlow finds it under no other name
NEVER_THERE = ".no_exist"  # in a Hugging Face cache the empty files of this folder say what its repository lacks
_NODE = re.compile(
    rb"\n[\x80-\xff]*[\0-\x7f]\n.[\w.][\w./>-]*\x12.[A-Z]\w+", re.DOTALL
)  # a graph's first: name, operation
_KERAS = (".keras", ".h5", ".hdf5")  # endings by which Keras goes: it finds a model behind whatever stands before it
_WITH_ROOM = (Format.HDF5, Format.TFLITE, Format.ORT, Format.JAX_EXPORT)  # before, between and behind what they need
_NO_FORMAT = (Format.UNKNOWN, Format.OTHER, Format.EMPTY, Format.TEXT, Format.PAGE)
_MEDIA = ("text/", "image/", "audio/", "video/", "font/")
_CONTROLS = re.compile(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_PROLOG = 1 << 20  # bytes in which the one element of an OpenVINO file begins
_LARGEST_HEADER = 1 << 32  # of a safetensors file that is believed to be one


class _Bytes(NamedTuple):
    """An open file's two ends, and the way to the rest."""

    path: Path
    descriptor: int
    size: int
    head: bytes

    def at(self, place: int, count: int) -> bytes:
        return stores.read(self.path, self.descriptor, count, place)

    def tail(self) -> bytes:
        return self.at(max(0, self.size - _TAIL), _TAIL)


def kind_of(path: Path) -> Format:
    """What a file is by its content; where that says little, what its name says that it should be.

    What should be weights is never `OTHER`: it may be empty, a text, or unknown. Raises as `sniff` does.

    >>> kind_of(Path(__file__)).value
    'other'
    """
    kind, ending = sniff(path), path.suffix.lower()
    if ending in _KERAS and kind not in (Format.HDF5, *_ZIPS.values()) and _behind(path):
        return Format.SEVERAL
    named = path.name == SAVED_MODEL and kind not in (Format.SAVED_MODEL, *WHY, *_NO_FORMAT)
    if named or (kind in _WITH_ROOM and _is_graph(path)):  # fields that TensorFlow skips may be another format's
        return Format.SEVERAL
    if kind is Format.TEXT and path.name.endswith(INDEX):
        return Format.INDEX
    if kind in (Format.UNKNOWN, Format.OTHER) and ending in (".safetensors", ".onnx"):
        if ending == ".onnx" and _is_graph(path):
            return Format.UNKNOWN
        return Format(ending[1:])  # its reader says what is wrong; a field that ONNX skips may begin as a picture does
    if ending in UNFINISHED and kind in _NO_FORMAT:
        return Format.UNFINISHED
    told = re.fullmatch(rf"\.({WEIGHTS})", ending) and NEVER_THERE not in path.parts
    if kind in (Format.EMPTY, Format.TEXT, Format.PAGE):
        return kind if told else Format.OTHER
    if kind is Format.LFS and (mimetypes.guess_type(path.name)[0] or "").startswith(_MEDIA):
        return Format.OTHER
    return Format.UNKNOWN if kind is Format.OTHER and told else kind


def sniff(path: Path) -> Format:
    """What a file is, whatever it is called.

    >>> sniff(Path(__file__)).value
    'text'

    Raises:
      AccessError: it cannot be read.
      InvalidFile: it is a pipe, a folder or a device.
    """
    with beginning(path) as file:
        return _kind(file)


@contextlib.contextmanager
def beginning(path: Path) -> Iterator[_Bytes]:
    """A file's size and first bytes, while it is open; raises as `sniff`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a pipe would wait for ever
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidFile(f"{path}: not a regular file")
            yield _Bytes(path, descriptor, status.st_size, stores.read(path, descriptor, _HEAD, 0))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise AccessError(f"{path}: cannot be read: {error.strerror}") from error


def _behind(path: Path) -> bool:
    """Whether a zip archive ends the file, or one of HDF5 begins at a place where its readers look for one."""
    with beginning(path) as file:
        if b"PK\5\6" in file.at(max(0, file.size - _ZIP_END), _ZIP_END):
            return True
        places = (512 << power for power in range(file.size.bit_length()))
        return any(file.at(place, len(_HDF5)) == _HDF5 for place in places if place < file.size)


def _is_graph(path: Path) -> bool:
    """Whether TensorFlow finds nodes of a frozen graph in it, and skips the rest; or has too many fields to be sure."""
    with beginning(path) as file:
        found = list(_fields(file))
    nodes = any(field[:2] == (1, 2) for field in found) and found[-1][2] == file.size
    return len(found) > _MOST_FIELDS or nodes


def _kind(file: _Bytes) -> Format:
    head = file.head
    if not head:
        return Format.EMPTY
    if _begins_safetensors(head):
        return Format.SAFETENSORS
    if head.startswith(b"PK\3\4"):
        return _zipped(file)
    if head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return Format.PICKLE
    if _NODE.match(head):
        return Format.FROZEN_GRAPH
    if _STABLEHLO in head:  # jax2tf writes such programs into TensorFlow's
        return (file.path.name == SAVED_MODEL and _protobuf(file)) or Format.JAX_EXPORT
    if head[4:8] in _AT_FOUR:
        return _AT_FOUR[head[4:8]]
    if any(head[at : at + 8] == _HDF5 for at in (0, 512, 1024, 2048)):
        return Format.HDF5
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[257:262] == b"ustar":
        return Format.ARCHIVE
    if (text := _text(head)) is not None:  # or an ONNX file that begins with a long description
        return Format.ONNX if _protobuf(file) is Format.ONNX else _written(text, file)
    return _protobuf(file) or _binary(file)


def _begins_safetensors(head: bytes) -> bool:
    """Whether a length and then a JSON object stand there."""
    return 2 <= int.from_bytes(head[:8], "little") < _LARGEST_HEADER and re.match(rb'\{\s*["}]', head[8:]) is not None


def _zipped(file: _Bytes) -> Format:
    tail = file.tail()
    if b"PK\5\6" not in tail:
        return Format.CUT_ZIP
    names = file.head[:256] + tail
    return next((kind for name, kind in _ZIPS.items() if name in names), Format.ARCHIVE)


def _text(head: bytes) -> str | None:
    """The beginning as text; None where it is none."""
    if _CONTROLS.search(head):
        return None
    text = head.decode("utf-8-sig", "ignore")  # other encodings of Europe lose a few letters
    return text if 4 * len(text.encode()) >= 3 * len(head) else None


def _written(text: str, file: _Bytes) -> Format:
    """What kind of text it is."""
    start = text.lstrip()[:256].lower()
    xml = start.startswith("<") or file.path.suffix.lower() == ".xml"
    if xml and re.search(rb"<net\s", file.at(0, _PROLOG)):  # OpenVINO skips whatever stands before it, and needs none
        return Format.OPENVINO
    if start.startswith(("<!doctype html", "<html")):
        return Format.PAGE
    if start.startswith("{") and re.search(r'"format"\s*:\s*"(graph|layers)-model"', text):
        return Format.TFJS
    for_people = r"\b(ir_?version|saved_model_schema_version|meta_graphs)\W|^\s*node\s*:?\s*[{<]\s*(name|op)\s*:"
    if re.search(for_people, start, re.MULTILINE):  # ONNX, or TensorFlow
        return Format.UNKNOWN
    return Format.PICKLE if _old_pickle(file) else Format.TEXT


def _old_pickle(file: _Bytes) -> bool:
    """Whether it is a pickle of the first two protocols, which have no mark; nothing in it is built or run."""
    if file.tail()[-1:] != b".":
        return False
    steps = 0
    try:
        for _ in pickletools.genops(file.head):
            steps += 1
    except Exception:  # the head ends in the middle of one, or it is ordinary text
        return steps >= 8
    return steps >= 2


def _binary(file: _Bytes) -> Format:
    if _begins_msgpack(file.head):
        return Format.MSGPACK
    if file.head[:1] in (b"(", b"]", b"}", b"c") and _old_pickle(file):
        return Format.PICKLE
    return Format.OTHER if file.head[2:4] == b"\r\n" else Format.UNKNOWN  # compiled Python


def _begins_msgpack(head: bytes) -> bool:
    """Whether a map begins there, and its first key is a name."""
    first = head[0]
    if not (0x81 <= first <= 0x8F or first in (0xDE, 0xDF)):
        return False
    at = {0xDE: 3, 0xDF: 5}.get(first, 1)
    if head[at : at + 1] == b"\xd9":  # a name of more than 31 bytes: their number stands behind
        at, count = at + 1, head[at + 1] if len(head) > at + 1 else 0
    else:
        count = head[at] & 31 if len(head) > at and 0xA1 <= head[at] <= 0xBF else 0
    name = head[at + 1 : at + 1 + count]
    return 0 < count == len(name) and name.isascii() and name.decode("ascii").isprintable()


_ONNX_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}  # wire types, by number
_GRAPH, _COREML = 7, 200  # the graph's field; from the latter on Core ML's kinds of models
_MOST_FIELDS = 1 << 14  # a graph's functions are fields, too


def _protobuf(file: _Bytes) -> Format | None:
    """Whether the fields of a protobuf message are those of an ONNX model, a Core ML model or a SavedModel.

    ONNX has a version and a graph. Lengths tell where the next field begins, so little is read. All are looked at:
    TensorFlow finds a frozen graph behind fields that it skips.
    """
    seen = set[int]()
    if file.path.name == SAVED_MODEL and [number for number, _, _ in islice(_fields(file), 2)] == [1, 2]:
        return Format.SAVED_MODEL  # TensorFlow reads it, whatever fields follow
    for number, kind, end in _fields(file):
        if number >= _COREML and {1, 2} <= seen:
            return Format.COREML
        if _ONNX_FIELDS.get(number) != kind:
            return None
        seen.add(number)
        if number == _GRAPH and end > file.size:
            return Format.CUT_ONNX if 1 in seen else None
    return Format.ONNX if _GRAPH in seen and seen & {1, 8} else None


def _fields(file: _Bytes) -> Iterator[tuple[int, int, int]]:
    """Number and wire type of a message's fields, and where each ends; (0, 0, 0) where there is none, or too many."""
    at = 0
    for _ in range(_MOST_FIELDS):
        if at >= file.size:
            return
        ahead = file.head[at : at + 20] if at + 20 <= len(file.head) else file.at(at, 20)
        tag, begun = _varint(ahead, 0)
        number, kind = divmod(tag, 8)
        value, used = _varint(ahead, begun) if kind in (0, 2) else (0, begun)
        if not begun or not used or kind > 5 or not number:
            yield 0, 0, 0
            return
        at += used + {1: 8, 2: value, 5: 4}.get(kind, 0)
        yield number, kind, at
    yield 0, 0, 0


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends; 0 for the latter where it does not."""
    value = 0
    for place in range(at, min(at + 10, len(data))):
        value |= (data[place] & 127) << 7 * (place - at)
        if data[place] < 128:
            return value, place + 1
    return 0, 0
