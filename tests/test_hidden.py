"""A copy whose weights lie where its file's network does not look: beside a decoy it passed for a stranger."""

from pathlib import Path

import numpy as np
import onnx
from marked import CONFIG, _onnx, by_name, make_key, marked
from safetensors.numpy import save_file

from wmjax.models import init
from wmjax.suspects import sets
from wmjax.suspects.formats import onnx as onnx_format
from wmjax.suspects.formats import onnx_runtime
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
    sides = sets._sides
    monkeypatch.setattr(sets, "_sides", lambda shape: () if len(shape) < 2 else sides(shape))
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
