"""Recognition of one path: what lies there, or one line that says why nothing does."""

import gzip
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.models import Config, init
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats.pack import FORMAT
from wmjax.suspects.recognise import recognise

IMAGE = (8, 8, 1)
CONFIG = Config("vgg", IMAGE, 10, (4, 8))
TREE = init(CONFIG, 0)._asdict()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for step in (2, 10):
        checkpoint.save(checkpoint.step_path(tmp_path / "run", step), TREE, Metadata(CONFIG, step))
    return tmp_path / "run"


def flat() -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(TREE)
    return {"/".join(str(part.key) for part in path): leaf for path, leaf in leaves}


def test_a_run_is_its_newest_checkpoint(run_folder):
    (stored,) = recognise(run_folder, Wanted())
    assert (stored.path, stored.name, stored.row) == (run_folder / "step-00000010", "", 0)
    assert stored.network.description == {"config": CONFIG.to_json()}
    assert stored.held.is_relative_to(stored.path)


def test_what_is_no_model_is_one_line_that_begins_with_the_path(run_folder, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "_CHECKPOINT_METADATA").write_text("[" * 100_000)
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("named.txt", "m.pt", "m.h5", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x04")
    (tmp_path / "cut.safetensors").write_bytes(b"\1")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "weights.zip").write_bytes(gzip.compress(b""))
    save_file(flat(), tmp_path / "bare.safetensors")
    wrong = {
        "nowhere": (AccessError, "does not exist"),
        "empty": (InvalidFile, "holds no tensors"),
        "half": (InvalidFile, "half-written"),
        "pipe.onnx": (InvalidFile, "not a regular file"),
        "notes.txt": (InvalidFile, "holds no model"),
        "m.pt": (InvalidFile, "pickle"),
        "weights.zip": (InvalidFile, "unpack"),
        "m.h5": (InvalidFile, "pickle"),
        "named.txt": (InvalidFile, "pickle"),
        "cut.safetensors": (InvalidFile, "cut short"),
        "bare.safetensors": (UsageError, "`models`"),
    }
    for name, (kind, words) in wrong.items():
        with pytest.raises(kind, match=words) as caught:
            recognise(tmp_path / name, Wanted(images=(IMAGE,)))
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


def test_a_module_that_a_pack_names_is_imported_only_where_the_user_names_it_too(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    lists = {"network": {"module": "planted:net", "image": IMAGE}, "models": ["a"], "sha256": ["0" * 64]}
    metadata = {"format": FORMAT} | {name: json.dumps(value) for name, value in lists.items()}
    save_file({"w": np.zeros((1, 3), np.float32)}, tmp_path / "pack.safetensors", metadata)
    for models in ([], ["vgg"], ["other:net"]):
        with pytest.raises(UsageError, match="it is of the module planted:net"):
            recognise(tmp_path / "pack.safetensors", Wanted(tuple(models), (IMAGE,)))
    assert "planted" not in sys.modules
    with pytest.raises(UsageError, match="`models` planted:net: SystemExit imported"):
        recognise(tmp_path / "pack.safetensors", Wanted(("planted:net",), (IMAGE,)))
