"""Packs of ONNX models: their graph is stored once, as a stranger's, and their weights a row each."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from graphs import build, networks_of, residual, tensors_of, write
from onnx import TensorProto
from packed import assert_same

from wmjax import from_checkpoint, pack, verify
from wmjax.errors import InvalidFile
from wmjax.keys import derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats.onnx_graph import from_json
from wmjax.suspects.recognise import recognise

OPEN = "float[n,3,h,w] x"
POOLED = "p = GlobalAveragePool(x) f = Flatten(p) y = MatMul(f, m)"
QUANTISED = """
    q, s, z = DynamicQuantizeLinear(x) d = DequantizeLinear(q, s, z)
    p = GlobalAveragePool(d) f = Flatten(p) m = DequantizeLinear(i, t, o) y = MatMul(f, m)
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    for seed in range(3):
        write(folder / f"residual{seed}.onnx", residual(seed))
    write(folder / "open.onnx", build(POOLED, {"m": (3, 5)}, image=OPEN))
    whole = np.arange(15, dtype=np.int8).reshape(3, 5)
    tensors = {"i": whole, "t": np.float32(0.1), "o": np.int8(2)}
    write(folder / "quantised.onnx", build(QUANTISED, tensors, opset=13))
    several = build(f"{POOLED} z = MatMul(f, n)", {"m": (3, 5), "n": (3, 7)})
    several.graph.output.add(name="z").type.tensor_type.elem_type = TensorProto.FLOAT
    write(folder / "several.onnx", several)
    return folder


def test_they_hold_all_that_is_stacked(zoo: Path, tmp_path: Path) -> None:
    report = pack(zoo, tmp_path / "packs", images=[(9, 8, 3)])
    assert not report.skipped
    assert report.models == 3 + 1 + 1 + 1
    rows = {row.name: row for path in report.files for row in recognise(path, Wanted(images=((9, 8, 3),)))}
    assert set(rows) == {
        *(f"residual{seed}.onnx" for seed in range(3)), "open.onnx", "quantised.onnx",
        "several.onnx:5-classes", "several.onnx:7-classes",
    }  # fmt: skip
    assert len({row.network for name, row in rows.items() if name.startswith("residual")}) == 1
    images = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    for name, row in rows.items():
        path = zoo / name.partition(":")[0]
        (opened,) = [
            one for one in networks_of(path, Wanted(images=((9, 8, 3),))) if one[0].classes == row.network.classes
        ]
        weights = tensors_of(path, opened)
        out = {key: np.empty((1, *leaf.shape), leaf.dtype) for key, leaf in row.network.shapes.items()}
        row.source.read(row.row, row.row + 1, out)
        assert_same({key: value[0] for key, value in out.items()}, weights)
        np.testing.assert_array_equal(row.network.logits(weights, images), opened[0].logits(weights, images))


def test_a_model_for_any_size_is_asked_at_each(zoo: Path, tmp_path: Path) -> None:
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo/open.onnx").write_bytes((zoo / "open.onnx").read_bytes())
    (path,) = pack(tmp_path / "zoo", tmp_path / "packs", images=[(9, 8, 3), (5, 5, 3)]).files
    for images in (((32, 32, 3),), ((9, 8, 3), (28, 28, 3))):
        assert [row.network.image for row in recognise(path, Wanted(images=images))] == list(images)
    assert [row.name for row in recognise(path, Wanted(images=((9, 8, 3), (28, 28, 3))))] == [
        "open.onnx:9x8x3", "open.onnx:28x28x3",
    ]  # fmt: skip


def test_a_graph_too_large_for_a_header_spoils_no_other_pack(zoo: Path, tmp_path: Path, monkeypatch: Any) -> None:
    folder = tmp_path / "zoo"
    folder.mkdir()
    write(
        folder / "large.onnx",
        build("f = Flatten(x) r = Reshape(f, s) y = MatMul(r, m)", {"s": np.int64([-1, 216]), "m": (216, 5)}),
    )
    (folder / "open.onnx").write_bytes((zoo / "open.onnx").read_bytes())
    size = len(json.dumps(networks_of(folder / "large.onnx")[0][0].description))
    monkeypatch.setattr("wmjax.zoo.pack._LARGEST_DESCRIPTION", size - 1)
    report = pack(folder, tmp_path / "packs", images=[(9, 8, 3)])
    assert [item.path for item in report.skipped] == ["large.onnx"]
    assert report.models == 1


@pytest.mark.parametrize("lie", ["pixels", "classes"])
def test_a_pack_that_lies_about_how_it_is_asked_clears_nobody(lie: str, tmp_path: Path) -> None:
    """A thief's: his copy is said to take pixels turned round, or to have a number of classes that a decoy has."""
    spec = make_spec("abstract", image=(9, 8, 3), classes=10, triggers=60)
    key = derive_key(bytes(32), spec, default_rule(spec))
    pixels = key.images.transpose(0, 3, 1, 2).reshape(len(key.images), -1) / 255.0
    w = (np.linalg.pinv(pixels) @ (8.0 * np.eye(10)[key.labels])).astype(np.float32)
    model = build("f = Flatten(x) y = MatMul(f, w) z = MatMul(f, v)", {"w": w, "v": (216, 11)})
    if lie == "classes":
        model.graph.output.add(name="z").type.tensor_type.elem_type = TensorProto.FLOAT
    (tmp_path / "zoo").mkdir()
    write(tmp_path / "zoo/m.onnx", model)
    (path,) = pack(tmp_path / "zoo", tmp_path / "packs").files
    raw = path.read_bytes()
    size = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + size])
    told = json.loads(header["__metadata__"]["network"]) | {"pixels": "inverted", "classes": 11}
    header["__metadata__"]["network"] = json.dumps(told)
    changed = json.dumps(header).encode()
    path.write_bytes(len(changed).to_bytes(8, "little") + changed + raw[8 + size :])
    wanted = Wanted.by([spec])
    (found,) = [row for row in recognise(path, wanted) if row.network.classes == 10]
    assert verify(from_checkpoint(f"{path}:{found.name}", wanted), key).verdict == "match"
    believed = Wanted((), wanted.images, (11,), pixels="stated")  # what was believed of it before
    found = recognise(path, believed)[0]
    assert verify(from_checkpoint(f"{path}:{found.name}", believed), key).verdict != "match"


def _changed(told: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(told)
    at: Any = {"graph": changed}
    *parts, last = [int(part) if part.isdigit() else part for part in f"graph/{where}".split("/")]
    for part in parts:
        at = at[part]
    at[last] = value
    return changed


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("nodes", 7),
        ("nodes/0", None),
        ("nodes/0/op", ["Relu"]),
        ("nodes/0/opset", "17"),
        ("nodes/0/inputs", [3]),
        ("nodes/0/attributes", [1]),
        ("nodes/0/attributes", {"axis": {"a": 1}}),
        ("nodes/0/attributes", {"axis": [None]}),
        ("nodes/0/more", 1),
        ("constants", {"constants/0": ["object", [1], ""]}),
        ("constants", {"constants/0": ["float32", [1 << 17], ""]}),
        ("constants", {"constants/0": ["float32", [2], "AAAA"]}),
        ("constants", {"constants/0": ["float32", [-1], "AAAAAA=="]}),
        ("constants", {"constants/0": ["float32", [1], "\u00e4"]}),
        ("weights", {"initializers/0": [[4], "float16"]}),
        ("weights", {"initializers/0": [[1 << 40], "float32"]}),
        ("weights", {"initializers/0": [[-4], "float32"]}),
        ("weights", {"initializers/0": [["4"], "float32"]}),
        ("outputs", None),
        ("batch", -1),
        ("batch", True),
        ("image", [9, 8]),
        ("image", [9, 1e9, 3]),
        ("declared", [1 << 20, 8, 3]),
        ("channels_last", "no"),
        ("pixels", "0..2"),
        ("more", 1),
    ],
)  # fmt: skip
def test_a_strangers_graph_is_refused_in_one_line(zoo: Path, where: str, value: Any) -> None:
    told = json.loads(json.dumps(networks_of(zoo / "residual0.onnx")[0][0].description))["onnx"]
    assert from_json(told).fingerprint()
    with pytest.raises(InvalidFile, match="its graph"):
        from_json(_changed(told, where, value))
