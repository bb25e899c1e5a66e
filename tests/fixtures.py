"""Small networks and keys for 8x8 grey images of ten classes, which many tests train, attack or ask."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config

IMAGE = (8, 8, 1)
CNN = Config("cnn", IMAGE, 10, (8,), (32,))
DROPPING = Config("cnn", IMAGE, 10, (4,), (8,), 0.25)
VGG = Config("vgg", IMAGE, 10, (4,))


def abstract_key(triggers: int) -> Key:
    """A fresh key that starts from no data set."""
    return generate(make_spec("abstract", image=IMAGE, classes=10, triggers=triggers))


@contextmanager
def importable(folder: Path, name: str, source: str) -> Iterator[ModuleType]:
    """A module that lies in a folder and is imported from there, as a user's own from the working folder."""
    (folder / f"{name}.py").write_text(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module(name)
