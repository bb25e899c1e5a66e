"""The next step after an error, where it is known: one line, told beside the error and in its document."""

import argparse
import os
import shlex
from pathlib import Path
from typing import Any

from wmjax.errors import GoneError, InvalidFile, WmjaxError

# Which extra of pyproject.toml brings a package that a command may lack; the rest comes with `jax`.
EXTRAS = {
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "keras": "keras",
    "ai_edge_litert": "tflite",
    "openvino": "openvino",
    "tensorflow": "tensorflow",
    "torch": "torch",
    "torchax": "torch",
    "torchvision": "torch",
    "transformers": "torch",
    "timm": "torch",
    "botocore": "cloud",
    "google": "cloud",
    "huggingface_hub": "cloud",
    "stamina": "remote",
    "ray": "ray",
}


def hint(error: BaseException, message: str, options: argparse.Namespace) -> str:
    """What to do next; empty where nobody knows.

    Args:
      error: what went wrong.
      message: its line, as people are told it.
      options: of the verb; parameters in backticks become theirs.
    """
    if isinstance(error, WmjaxError) and error.hint:
        return error.hint
    if isinstance(error, ModuleNotFoundError):
        return installing(error.name or "")
    if isinstance(error, KeyboardInterrupt | GoneError | MemoryError) and _resumable(options):
        return "nothing done is lost: the same command with `resume` continues"
    if isinstance(error, InvalidFile) and (named := _named(message, options)):
        return f"`wmjax show {shlex.quote(named)}` says what it is"
    if isinstance(error, Exception) and not isinstance(error, WmjaxError | OSError | MemoryError):
        return "a defect of wmjax: `verbose` shows where; please report it"
    return ""


def installing(package: str) -> str:
    """The line that installs a package which is missing.

    >>> installing("jax.numpy")
    "pip install 'wmjax[jax]' (in a checkout: '.[jax]')"
    """
    extra = EXTRAS.get(package.partition(".")[0], "jax")
    return f"pip install 'wmjax[{extra}]' (in a checkout: '.[{extra}]')"


def _resumable(options: argparse.Namespace) -> bool:
    """Whether there is something to continue."""
    out: Any = getattr(options, "out", None)
    if not hasattr(options, "resume") or getattr(options, "merge", None):
        return False
    return out is not None and (Path(out).exists() or journal_of(out).exists())


def journal_of(out: Path) -> Path:
    """The journal of a claim that is written to `out`."""
    return Path(f"{out}.journal.jsonl")


def _named(message: str, options: argparse.Namespace) -> str:
    """The file of the command line that a message is about."""
    if options.verb.__name__ == "show":
        return ""
    given = [value for some in vars(options).values() for value in (some if isinstance(some, list) else [some])]
    paths = [os.fspath(value) for value in given if isinstance(value, str | Path)]
    called = (path for path in paths if message.startswith((f"{path}:", f"{path} ")) and os.path.exists(path))
    return next(called, "")
