"""The tensors in PyTorch's archives that hold programs, TorchScript's and `torch.export`'s; no program in them is read.

`pickle_child` calls this in a process that may do nothing else. PyTorch's own readers would run what such an archive
says: here names and numbers are taken from it alone. Its records are found as PyTorch finds them: another reader of
zip archives may be led to others in the same file.
"""

import io
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, BinaryIO

_CONFIG = re.compile(r"data/weights/(?P<model>.+)_weights_config\.json")
_STATE = re.compile(r"data/weights/[^/]+\.pt|serialized_state_dict\.pt")  # up to PyTorch 2.8
_EXPORTED = "serialized_exported_program.json"  # up to PyTorch 2.6, in a plain zip archive, with what follows
_BESIDE = re.compile(
    r"archive_format|version|serialized_(exported_program\.json|(state_dict|constants|example_inputs)\.(pt|json))"
    r"|extra_files/.*"
)
_Read = Callable[[str], bytes]
_LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")
# ScalarType of torch.export's documents
_KINDS = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool",
    13: "bfloat16",
}  # fmt: skip
_STORAGES = {
    "ByteStorage": "uint8", "CharStorage": "int8", "ShortStorage": "int16", "IntStorage": "int32",
    "LongStorage": "int64", "HalfStorage": "float16", "FloatStorage": "float32", "DoubleStorage": "float64",
    "BoolStorage": "bool", "BFloat16Storage": "bfloat16",
}  # fmt: skip


def programs_tensors(torch: Any, file: BinaryIO, most: int) -> dict[str, Any] | None:
    """The tensors of such an archive, in nested dictionaries; None of any other file.

    Args:
      torch: the package.
      file: an archive.
      most: bytes that it may hold.

    Raises:
      Exception: it is damaged, or holds something else in their place; of whatever kind.
    """
    file.seek(0)  # from where PyTorch begins
    try:
        reader = torch._C.PyTorchFileReader(file)
    except RuntimeError:
        return _old_export(torch, file, most)
    names, read = reader.get_all_records(), reader.get_record
    if sum(map(reader.get_record_size, names)) > most:
        raise ValueError("more is in it than its size tells")
    configs = [found for name in names if (found := _CONFIG.fullmatch(name))]
    states = [name for name in names if _STATE.fullmatch(name)]
    _check_form(names, [bool(configs), bool(states), "data.pkl" in names])
    if configs:
        models = {found["model"]: _exported(torch, read, found) for found in configs}
        return models if len(models) > 1 else next(iter(models.values()))
    if states:
        return {name: _load(torch, read(name)) for name in states}
    return {"": _Script(torch, read).load()} if "constants.pkl" in names else None


def _old_export(torch: Any, file: BinaryIO, most: int) -> dict[str, Any] | None:
    """The tensors of an archive of PyTorch's up to 2.6, which its zipfile wrote and reads."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if _EXPORTED not in names:
            return None
        _check_form(names, [True, not all(map(_BESIDE.fullmatch, names))])
        if sum(item.file_size for item in archive.infolist()) > most:
            raise ValueError("more is in it than its size tells")
        return {name: _load(torch, archive.read(name)) for name in names if _STATE.fullmatch(name)}


def _check_form(names: Sequence[str], forms: Sequence[bool]) -> None:
    """A copy in one form would hide behind a decoy in another, or behind one of its own name."""
    if sum(forms) > 1 or len(set(names)) < len(names):
        raise ValueError("it holds models in several forms: which is meant is not said")


def _exported(torch: Any, read: _Read, config: re.Match[str]) -> dict[str, Any]:
    tensors = {}
    for name, told in json.loads(read(config[0]))["config"].items():
        data, meta = read("data/weights/" + told["path_name"]), told["tensor_meta"]
        if told["use_pickle"]:
            tensors[name] = _load(torch, data)
            continue
        sizes, strides = ([int(size["as_int"]) for size in meta[key]] for key in ("sizes", "strides"))
        numbers = _numbers(torch, data, _KINDS[meta["dtype"]])
        tensors[name] = torch.as_strided(numbers, sizes, strides, int(meta["storage_offset"]["as_int"]))
    return tensors


def _load(torch: Any, data: bytes) -> Any:
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _numbers(torch: Any, data: bytes, kind: str) -> Any:
    dtype = getattr(torch, kind)
    return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)


class _Module(dict[str, Any]):
    """What stands for an object of the archive's own classes: its attributes."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.update(state)


class _Script(pickle.Unpickler):
    """Reads TorchScript's `data.pkl`: all that it can call is made here."""

    def __init__(self, torch: Any, read: _Read):
        super().__init__(io.BytesIO(read("data.pkl")))
        self._torch, self._read = torch, read

    def find_class(self, module: str, name: str) -> Callable[..., Any] | str:
        """What stands for a name in it; of tensors' kinds the name of theirs."""
        if module == "__torch__" or module.startswith("__torch__."):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return partial(_tensor, self._torch)
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch.jit._pickle" and name in _LISTS:
            return list
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"Unsupported GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Any:
        """The numbers of a tensor."""
        _, kind, key, *_ = pid
        return _numbers(self._torch, self._read(f"data/{key}"), kind)


def _tensor(torch: Any, numbers: Any, offset: int, sizes: tuple[int, ...], strides: tuple[int, ...], *_: Any) -> Any:
    return torch.as_strided(numbers, sizes, strides, offset)
