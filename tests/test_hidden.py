"""A copy whose weights lie where its file's network does not look: beside a decoy it passed for a stranger."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from marked import CONFIG, _onnx, by_name, make_key, marked
from safetensors.numpy import save_file

import wmjax
from wmjax.models import init
from wmjax.suspects import described, left_over
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import onnx as onnx_format
from wmjax.suspects.formats import onnx_read, onnx_runtime
from wmjax.zoo.audit import audit
from wmjax.zoo.pack import pack

KEY = make_key(120)


def audited(folder: Path) -> list[str]:
    return [str(found.verdict) for found in audit(folder, {"k": KEY}, models=["cnn"], pixels="0..1")]


def test_biases_by_other_names_are_told(tmp_path, monkeypatch):
    """The copy's kernels, and biases of noise in the place of its own."""
    own = {name.removeprefix("params/").replace("/", "."): leaf for name, leaf in by_name(marked(KEY)).items()}
    biases, rng = [name for name in own if own[name].ndim == 1 and "head" not in name], np.random.default_rng(0)
    noise = {name: rng.standard_normal(own[name].shape, np.float32) for name in biases}
    save_file(own | noise | {f"zz.{n}": own[name] for n, name in enumerate(biases)}, tmp_path / "m.safetensors")
    assert audited(tmp_path) == ["inconclusive"]
    sides = left_over._sides
    monkeypatch.setattr(left_over, "_sides", lambda shape: () if len(shape) < 2 else sides(shape))
    assert audited(tmp_path) == ["no-match"]


def test_tensors_that_no_node_of_a_graph_takes_are_told(tmp_path, monkeypatch):
    """A copy beside the decoy that is computed; it is not packed either, where that would be forgotten."""
    copy = onnx.load(_onnx(tmp_path / "copy", marked(KEY)))
    model = onnx.load(path := _onnx(tmp_path / "m", init(CONFIG, 5)))
    (tmp_path / "copy.onnx").unlink()
    for tensor in copy.graph.initializer:
        tensor.name = f"opt_state.{tensor.name}"
    model.graph.initializer.extend(copy.graph.initializer)
    onnx.save(model, path)
    assert audited(tmp_path) == ["inconclusive"]
    assert pack(tmp_path, tmp_path / "packs").models == 0
    for module in (onnx_format, onnx_runtime):
        monkeypatch.setattr(module, "idle", lambda *_: False)
    assert audited(tmp_path) == ["no-match"]


def test_a_graph_with_two_tensors_of_one_name_is_refused(tmp_path, monkeypatch):
    """ONNX Runtime takes the first, a copy's; read as the last it passed for a stranger's."""
    copy = onnx.load(_onnx(tmp_path / "m", marked(KEY)))
    copy.graph.initializer.extend(onnx.load(_onnx(tmp_path / "other", init(CONFIG, 5))).graph.initializer)
    (tmp_path / "other.onnx").unlink()
    onnx.save(copy, tmp_path / "m.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", options)
    (scores,) = session.run(None, {"x": KEY.images.transpose(0, 3, 1, 2).astype(np.float32) / 255})
    assert np.mean(scores.argmax(1) == KEY.labels) > 0.9
    (unreadable,) = audit(tmp_path, {"k": KEY}, pixels="0..1").unreadable
    assert unreadable.why == "two of its tensors have one name: runtimes take the one or the other"
    monkeypatch.setattr(onnx_read, "refuser", lambda path: lambda why: None)
    suspect = wmjax.open_suspect(tmp_path / "m.onnx", Wanted.by([KEY.spec], pixels="0..1"))
    assert wmjax.verify(suspect, KEY).verdict == "no-match"


@pytest.mark.parametrize("marker", ["m.safetensors.part", "m.safetensors.aria2", "m-2.safetensors.aria2"])
def test_half_a_download_that_is_as_large_as_the_whole_clears_nobody(tmp_path, monkeypatch, marker):
    """Programs that fetch make files as large as they will be at once: zeros stand for what has not come."""
    fetched = {name: leaf.copy() for name, leaf in by_name(marked(KEY)).items()}
    fetched["params/dense/0/kernel"][:, :64] = 0
    file = marker.removesuffix(".aria2")
    if file == "m-2.safetensors":
        there = {name: "m-1.safetensors" if "convs" in name else file for name in fetched}
        (tmp_path / "m.safetensors.index.json").write_text(json.dumps({"weight_map": there}))
        save_file({name: leaf for name, leaf in fetched.items() if "convs" in name}, tmp_path / "m-1.safetensors")
        save_file({name: leaf for name, leaf in fetched.items() if "convs" not in name}, tmp_path / file)
    else:
        save_file(fetched, tmp_path / file)
    if file != marker:
        (tmp_path / marker).write_bytes(bytes(40))
    assert audited(tmp_path) == ["inconclusive"]
    monkeypatch.setattr(described, "_unfinished", lambda file: "")
    assert audited(tmp_path) == ["no-match"]
