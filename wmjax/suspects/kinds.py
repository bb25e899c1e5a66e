"""What a file can be by its content, and why what is not read is not."""

import re
from enum import StrEnum
from pathlib import Path


class Format(StrEnum):
    """What a file is by its content."""

    SAFETENSORS = "safetensors"
    INDEX = "index"  # of a model in several safetensors files
    ONNX = "onnx"
    CUT_ONNX = "cut-onnx"
    ORT = "ort"
    PICKLE = "pickle"
    TORCH = "torch"
    TORCHSCRIPT = "torchscript"
    TORCH_EXPORT = "torch-export"
    CUT_ZIP = "cut-zip"
    KERAS = "keras"
    HDF5 = "hdf5"
    MSGPACK = "msgpack"
    JAX_EXPORT = "jax-export"
    ARRAYS = "arrays"
    ARRAY = "array"
    GGUF = "gguf"
    TFLITE = "tflite"
    OPENVINO = "openvino"
    SAVED_MODEL = "saved-model"
    FROZEN_GRAPH = "frozen-graph"
    COREML = "coreml"
    TFJS = "tfjs"
    ARCHIVE = "archive"
    LFS = "lfs"
    PAGE = "page"
    EMPTY = "empty"
    UNFINISHED = "unfinished"
    SEVERAL = "several"  # formats at once
    TEXT = "text"
    OTHER = "other"  # plainly no model: pictures, sounds, documents, programs, tables
    UNKNOWN = "unknown"


WEIGHTS = (  # endings that weights and archives have: an empty file or a text in their place is told
    r"safetensors|onnx|ort|pt|pth|pt2|pte|bin|pkl|pickle|joblib|dill|ckpt|npy|npz|h5|hdf5|keras|msgpack|pb|tflite|gguf"
    r"|ggml|mlmodel|jit|torchscript|pdmodel|pdiparams|caffemodel|params|engine|plan|weights|mnn|rknn|mar|nemo|eqx|orbax"
    r"|zip|tar|t?gz|xz|bz2|zst|7z|rar"
)
UNFINISHED = frozenset(  # endings of programs that fetch, until a file is whole
    (
        *(".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".filepart", ".fdmdownload"),
        *(".opdownload", ".downloading", ".unconfirmed", ".xltd", ".gstmp", ".dashp"),
        *(".!qb", ".!ut", ".!sync", ".bc!", ".jc!"),
    )
)
_SHARD = re.compile(r"variables\.(index|data-\d{5,}-of-\d{5,})")  # of a SavedModel's weights
_NOTED = 1 << 10  # bytes of a SavedModel's fingerprint
_FOREIGN = "this format is not read: convert it to safetensors or ONNX"
_PICKLE = (
    "a pickle can run code when it is opened: convert it to safetensors or ONNX; whatever has `pickles` opens "
    "PyTorch's with tensors alone"
)
_TENSORS = "PyTorch's reader runs code that is in it: export the model to ONNX; what has `pickles` reads its tensors"
_AGAIN = "not the whole file: fetch it again"
WHY = {  # of what is not read
    Format.CUT_ONNX: f"an ONNX file that was cut short, {_AGAIN}",
    Format.PICKLE: _PICKLE,
    Format.TORCH: f"a PyTorch file: {_PICKLE}",
    Format.TORCHSCRIPT: f"a TorchScript archive: {_TENSORS}",
    Format.TORCH_EXPORT: f"a torch.export archive: {_TENSORS}",
    Format.CUT_ZIP: f"a zip archive that was cut short, {_AGAIN}",
    Format.ARRAY: "one NumPy array, no model: put the arrays of one into a safetensors file",
    Format.GGUF: f"a GGUF file: {_FOREIGN}",
    Format.COREML: f"a Core ML file: {_FOREIGN}",
    Format.TFJS: f"a TensorFlow.js model: {_FOREIGN}",
    Format.ARCHIVE: "an archive is not opened: unpack it first",
    Format.LFS: "a Git LFS pointer, not the weights: git lfs pull",
    Format.PAGE: "a web page, not the weights: fetch the file again",
    Format.EMPTY: "an empty file",
    Format.UNFINISHED: f"a download that was not finished, {_AGAIN}",
    Format.TEXT: "text, not weights",
    Format.SEVERAL: "Keras or TensorFlow finds a model in it behind something else: save the one that is meant alone",
    Format.UNKNOWN: "its content is of no format that is known: if it is a model, convert it to safetensors or ONNX",
}


def parts(path: Path, kind: Format) -> tuple[Path, ...]:
    """Files beside one of this kind that its runtime reads, too, and small ones that are written with it."""
    weights, noted = path.with_suffix(".bin"), path.parent / "fingerprint.pb"
    if kind is Format.OPENVINO and weights.is_file():
        return (weights,)
    if kind is not Format.SAVED_MODEL:
        return ()
    there = path.parent.glob("variables/variables.*")
    found = {file for file in there if _SHARD.fullmatch(file.name) and file.is_file()}
    return tuple(sorted(found | ({noted} if noted.is_file() and noted.stat().st_size < _NOTED else set())))
