"""Recognition of one path: what lies there, or one line that says why nothing does."""

import dataclasses
import gzip
import json
import os
import shutil
import sys
from pathlib import Path

import jax
import marked
import numpy as np
import pytest
from marked import by_name
from safetensors.numpy import save_file

from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.keys import Key
from wmjax.models import Config, init
from wmjax.suspects import described, open_suspect
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats.pack import FORMAT
from wmjax.suspects.recognise import recognise
from wmjax.suspects.stored import read_weights
from wmjax.verification import verify
from wmjax.zoo.audit import audit

IMAGE = (8, 8, 1)
CONFIG = Config("vgg", IMAGE, 10, (4, 8))
TREE = init(CONFIG, 0)._asdict()


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    for step in (2, 10):
        checkpoint.save(checkpoint.step_path(tmp_path / "run", step), TREE, Metadata(CONFIG, step))
    checkpoint.write_settings(tmp_path / "run", {})
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
    shutil.copytree(checkpoint.latest(run_folder), tmp_path / "step-00000009.orbax-checkpoint-tmp-1")
    os.mkfifo(tmp_path / "pipe.onnx")
    for name in ("named.txt", "m.pt", "m.h5", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"\x80\x04")
    (tmp_path / "cut.safetensors").write_bytes(b"\1")
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "weights.zip").write_bytes(gzip.compress(b""))
    save_file(flat(), tmp_path / "bare.safetensors")
    wrong = {
        "nowhere": (AccessError, "does not exist"),
        "empty": (InvalidFile, "lies directly in it"),
        "half": (InvalidFile, "half-written"),
        "step-00000009.orbax-checkpoint-tmp-1": (InvalidFile, "its writer was interrupted"),
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


def decoys(folder: Path, key: Key) -> list[str]:
    """Files of an innocent network with a copy in them, or an adapter beside them, of which a loader may know."""
    decoy, copy = by_name(init(marked.CONFIG, 7)), by_name(marked.marked(key))
    described = {"config": json.dumps(marked.CONFIG.to_json())}
    nameless = {f"shadow.{place}": leaf for place, leaf in enumerate(copy.values())}
    save_file(decoy | nameless, folder / "nameless.safetensors", described)
    kernel, bias = (f"params/head/{name}" for name in ("kernel", "bias"))
    two = copy | {name: decoy[name] for name in (kernel, bias)} | {"own": copy[kernel], "its": copy[bias]}
    save_file(two, folder / "heads.safetensors", described)
    (folder / "peft").mkdir()
    save_file(decoy, folder / "peft" / "model.safetensors")
    (folder / "peft" / "config.json").write_text(described["config"])
    (folder / "peft" / "adapter_config.json").write_text("{}")
    return ["nameless.safetensors", "heads.safetensors", "peft"]


def test_nobody_is_cleared_beside_weights_that_are_not_asked(tmp_path, monkeypatch):
    key = marked.make_key()
    wanted = Wanted.by([key.spec])

    def verdicts() -> list[str]:
        return [verify(open_suspect(tmp_path / name, wanted), key).verdict for name in names]

    names = decoys(tmp_path, key)
    assert verdicts() == ["inconclusive"] * 3
    assert [finding.verdict for finding in audit(tmp_path, {"k": key})] == ["inconclusive"] * 3
    monkeypatch.setattr(described, "noted", lambda network, note: network)
    assert verdicts() == ["no-match"] * 3


def test_a_checkpoint_that_is_called_ours_holds_no_more_than_ours(tmp_path):
    """A second network, in an item of its own or among the tensors of ours, is asked or told."""
    other = init(CONFIG, 1)._asdict()
    for name in ("item", "set"):
        checkpoint.save(tmp_path / name, TREE | ({"ema": other} if name == "set" else {}), Metadata(CONFIG))
    checkpoint.save(tmp_path / "other", other, Metadata(CONFIG))
    shutil.copytree(tmp_path / "other" / "state", tmp_path / "item" / "ema")
    assert {stored.name for stored in recognise(tmp_path / "item", Wanted())} == {"ema", "state"}
    (stored,) = recognise(tmp_path / "set", Wanted())
    with pytest.raises(InvalidFile, match=r"it holds weights beside those of its network: first ema\.params"):
        read_weights(stored)
    read_weights(
        dataclasses.replace(stored, source=dataclasses.replace(stored.source, beside=None))
    )  # without the rule
