"""What a zoo holds: a walk over a folder that recognises models and reports everything else that looks like one.

The walk reads descriptions alone (JSON, headers), follows no link, and nothing that it meets stops it.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from wmjax import checkpoint
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.models import FAMILIES, Config, read_config
from wmjax.suspects.contract import Network, Source
from wmjax.suspects.formats import orbax
from wmjax.suspects.formats.orbax import Tensors
from wmjax.suspects.formats.safetensors import File, read_header
from wmjax.suspects.network import Image, fitting, from_config, from_module, matching, named
from wmjax.zoo.pack import FORMAT as PACK
from wmjax.zoo.pack import open_pack
from wmjax.zoo.records import Entry, Unreadable, Zoo

_LARGEST_JSON = 16 << 20
_NAME_IT = "name its architecture with --model"
_PICKLE = "a pickle can run code when it is opened: convert it to safetensors or ONNX"
_FOREIGN = "this format is not read: convert it to safetensors or ONNX"
_ARCHIVE = "an archive is not opened: unpack it into the zoo"
_REFUSED = {
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar"), _ARCHIVE),
    **dict.fromkeys((".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".joblib", ".npy", ".npz", ".dill"), _PICKLE),
    **dict.fromkeys((".h5", ".hdf5", ".keras", ".msgpack", ".pb", ".tflite", ".gguf", ".mlmodel"), _FOREIGN),
}
_TEMPORARY = ".orbax-checkpoint-tmp"
_PARTS = {"orbax.checkpoint", "manifest.ocdbt"}  # of an Orbax folder that lacks its description


def discover(folder: Path, models: Sequence[str], images: Sequence[Image]) -> Zoo:
    """Finds the models of a zoo; no weight is read.

    wmjax's checkpoints, run folders (their newest checkpoint), exported models, packs and ONNX files say what they are.
    Other Orbax checkpoints and safetensors files are tried as the architectures that the user names.

    Args:
      folder: of the zoo; a checkpoint or file is a zoo of one.
      models: architectures, as `network.named` takes them.
      images: height, width and channels of the keys' images.

    Raises:
      UsageError: one of `models` is no architecture.
      AccessError: the folder does not exist.
    """
    for model in models:
        if model not in FAMILIES:  # wmjax's own are made when a head says how many classes there are
            named(model, images, 0)
    if not folder.exists():
        raise AccessError(f"{folder} does not exist: give a folder of models")
    walk = _Walk(folder.resolve(), tuple(models), tuple(images))
    walk.run()
    found = sorted(
        walk.found, key=lambda item: (item[1].network.name, item[1].network.fingerprint, item[0], item[1].row)
    )
    return Zoo([entry for _, entry in found], sorted(walk.unreadable, key=lambda item: item.path))


def shown(name: str) -> str:
    """A path fit for a line of text; two that differ stay different.

    >>> shown("a\\nb\\udc80")
    'a\\\\nb\\\\x80'
    """
    return "".join(c if c.isprintable() and c != "\\" else _escaped(c) for c in name)


def _escaped(c: str) -> str:
    if 0xDC80 <= ord(c) <= 0xDCFF:  # a byte of the name that is not UTF-8
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode_escape", "surrogatepass").decode()


class _Walk:
    """A walk and what it has found: entries with the path that holds them."""

    def __init__(self, root: Path, models: tuple[str, ...], images: tuple[Image, ...]):
        self.root, self.models, self.images = root, models, images
        self.found: list[tuple[str, Entry]] = []
        self.unreadable: list[Unreadable] = []

    def run(self) -> None:
        if not self.root.is_dir():
            self._file(self.root)
            return
        folders = [self.root]
        while folders:  # a stack: folders may be nested deeper than Python's calls
            folder = folders.pop()
            self._guard(folder, self._folder, folder, folders)

    def _name(self, path: Path) -> str:
        return shown(str(path.relative_to(self.root))) if path != self.root else shown(path.name)

    def _refuse(self, path: Path, why: str) -> None:
        self.unreadable.append(Unreadable(self._name(path), why))

    def _guard(self, path: Path, look: Callable[..., None], *arguments: Any) -> None:
        """Whatever a hostile file makes its reader raise is that file's line."""
        try:
            look(*arguments)
        except WmjaxError as error:
            self._refuse(path, shown(re.sub(rf"^{re.escape(str(path))}:? (is )?", "", str(error))))
        except OSError as error:
            self._refuse(path, f"cannot be read: {error.strerror or type(error).__name__}")
        except (
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
            ArithmeticError,
            RuntimeError,
            MemoryError,
        ) as error:
            self._refuse(path, f"cannot be read: {type(error).__name__}")

    def _folder(self, folder: Path, later: list[Path]) -> None:
        """Looks at one folder; those within that are to be walked go on top of the stack `later`."""
        with os.scandir(folder) as scanned:
            entries = {entry.name: entry for entry in sorted(scanned, key=lambda entry: entry.name)}
        files = {name for name, entry in entries.items() if entry.is_file(follow_symlinks=False)}
        if _TEMPORARY in folder.name:
            self._refuse(folder, "a half-written checkpoint: its writer was interrupted")
            return
        folders = [folder / name for name, entry in entries.items() if entry.is_dir(follow_symlinks=False)]
        if files & {"_CHECKPOINT_METADATA", orbax.ITEM}:
            before = len(self.found)
            self._guard(folder, self._checkpoint, folder, folder)
            folders = _beside_checkpoint(folder, folders) if len(self.found) == before else []
        elif files & _PARTS:
            self._refuse(folder, "a half-written or damaged checkpoint: its description is missing")
            folders = _beside_checkpoint(folder, folders)
        newest = _newest(folders)
        if newest:
            folders = [path for path in folders if not _is_step(path)]
            self._guard(folder, self._checkpoint, newest, folder)
        for name, entry in entries.items():
            path = folder / name
            if entry.is_symlink():
                self._refuse(path, "a symbolic link: put what it points to into the zoo")
            elif name in files:
                self._guard(path, self._file, path)
            elif _suffix(path) in _REFUSED.keys() | {".safetensors", ".onnx"} and not entry.is_dir():
                self._refuse(path, "not a regular file")
        later.extend(reversed(folders))

    def _add(self, path: Path, network: Network, source: Source, held: Path) -> None:
        """Adds the model of a path, whose weights change when the file `held` does."""
        self.found.append((self._name(path), Entry(self._name(path), network, source, stamp=_stamp(held))))

    def _checkpoint(self, path: Path, named: Path) -> None:
        """An Orbax checkpoint, under the name of the folder `named`."""
        if any("\udc80" <= c <= "\udcff" for c in str(path)):  # which TensorStore does not take
            raise InvalidFile("its path is not UTF-8: rename it")
        if _is_wmjax(path):
            network = from_config(checkpoint.read_metadata(path).model)
            item = path / "state"
            if not (item / orbax.ITEM).is_file():
                raise InvalidFile("a half-written or damaged checkpoint: it holds no tensors")
            self._add(named, network, orbax.Folder(item, _stored_names(network)), item / orbax.ITEM)
            return
        items = orbax.items(path)
        if not items:
            raise InvalidFile("a half-written or damaged checkpoint: it holds no tensors")
        why: WmjaxError = UsageError(_NAME_IT)
        for item in items if self.models else []:
            try:
                network, names = matching(orbax.tensors(item), self.models, self.images)
            except WmjaxError as error:
                why = error
                continue
            self._add(named, network, orbax.Folder(item, names), item / orbax.ITEM)
            return
        raise why

    def _file(self, path: Path) -> None:
        suffix = _suffix(path)
        if suffix in _REFUSED:
            self._refuse(path, _REFUSED[suffix])
        elif suffix == ".safetensors":
            self._safetensors(path)
        elif suffix == ".onnx":
            from wmjax.suspects.formats.onnx import open_onnx

            self._add(path, *open_onnx(path), path)

    def _safetensors(self, path: Path) -> None:
        header = read_header(path)
        if header.metadata.get("format") == PACK:
            folder = self._name(path)
            for entry in open_pack(path, header, self._described):
                name = f"{folder}:{entry.name.partition(':')[2]}"
                held = Entry(name, entry.network, entry.source, entry.row, entry.digest, _stamp(path))
                self.found.append((folder, held))
            return
        stored: Tensors = {name: (tensor.shape, str(tensor.dtype)) for name, tensor in header.tensors.items()}
        config = _config(path, header.metadata)
        if config:
            network = from_config(config)
            names = fitting(network, stored)
        elif self.models:
            network, names = matching(stored, self.models, self.images)
        else:
            raise UsageError(_NAME_IT)
        self._add(path, network, File(path, header, names, stacked=False), path)

    def _described(self, description: Mapping[str, Any]) -> Network:
        """A pack's network; a module that the user did not name is not imported."""
        if "config" in description:
            return from_config(read_config(description["config"]))
        module, image = description.get("module"), description.get("image")
        if module not in self.models:
            raise UsageError(f"it is of the module {module!s:.80}: allow that with --model")
        height, width, channels = (int(n) for n in image or ())
        return from_module(module, (height, width, channels))


def _stamp(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _suffix(path: Path) -> str:
    """What kind of file it is; `.pth.tar` is a pickle."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return next((suffix for suffix in suffixes if _REFUSED.get(suffix) == _PICKLE), (suffixes or [""])[-1])


def _beside_checkpoint(folder: Path, folders: Sequence[Path]) -> list[Path]:
    """The folders in a checkpoint that is none of ours which are not its parts: models may be hidden there."""
    parts = {path.name for path in orbax.items(folder)} | {"d", "array_metadatas"}
    return [path for path in folders if path.name not in parts and not path.name.startswith("ocdbt.process_")]


def _is_step(path: Path) -> bool:
    return bool(re.fullmatch(r"step-\d+", path.name)) and (path / "_CHECKPOINT_METADATA").is_file()


def _newest(folders: Sequence[Path]) -> Path | None:
    """The newest complete checkpoint of a wmjax run among a folder's children; None where it is no run."""
    newest = next((path for path in reversed(folders) if _is_step(path)), None)
    return newest if newest and _is_wmjax(newest) else None


def _is_wmjax(path: Path) -> bool:
    values = _json(path / "_CHECKPOINT_METADATA")
    custom = values.get("custom_metadata") if isinstance(values, dict) else None
    return isinstance(custom, dict) and str(custom.get("format")).startswith(checkpoint.FORMAT.partition("/")[0])


@lru_cache(maxsize=1024)
def _stored_names(network: Network) -> dict[str, str]:
    return {name: name.replace("/", ".") for name in network.shapes}


def _config(path: Path, metadata: Mapping[str, str]) -> Config | None:
    """A safetensors file's configuration: within it, beside it, or its folder's; None where wmjax has none."""
    for values in _configs(path, metadata):
        try:
            return read_config(values)
        except (InvalidFile, AttributeError):
            continue
    return None


def _configs(path: Path, metadata: Mapping[str, str]) -> Iterator[Any]:
    try:
        yield json.loads(metadata.get("config", "null"))
    except (ValueError, RecursionError):
        yield None
    yield _json(path.with_suffix(".json"))
    yield _json(path.with_name("config.json"))


def _json(path: Path) -> Any:
    """What a small plain file holds; None where there is none, or no JSON."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _LARGEST_JSON:
            return None
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
