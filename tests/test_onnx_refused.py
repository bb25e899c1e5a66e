"""ONNX files that are no plain classifier, damaged or hostile: refused in one line."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import FIVE, IMAGE, W, build, open_onnx, residual, varint, write

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.contract import NOTHING
from wmjax.suspects.recognise import recognise

LINEAR = ("a = Flatten(x) y = MatMul(a, w)", {"w": (216, 10)})
REFUSED = {
    "unknown operator": ("y = Frobnicate(x)", {}, IMAGE, "Frobnicate.*not read"),
    "a foreign domain": ("y = evil.domain.Run(x)", {}, IMAGE, r"\(evil.domain.Run\): this operator is not read"),
    "a subgraph": (
        "y = If <then_branch=t () => (a) {a = Relu(x)}> (c)",
        {"c": np.bool_(True)},
        IMAGE,
        r"\(If\): this operator is not read",
    ),
    "a cycle": ("a = Relu(b) b = Relu(a) y = Flatten(b)", {}, IMAGE, "'b' is used before"),
    "computed twice": ("a = Relu(x) a = Relu(x) y = Flatten(a)", {}, IMAGE, "computed twice"),
    "no output": ("a = Relu(x)", {}, IMAGE, "'y' is used before"),
    "no scores": ("y = Relu(x)", {}, IMAGE, "none of them"),
    "one score": ("y = ReduceMean <axes=[1,2,3], keepdims=0> (x)", {}, IMAGE, "none of them"),
    "two inputs": (*LINEAR, f"{IMAGE}, float[n,3] z", "2 inputs"),
    "seven channels": (*LINEAR, "float[n,7,9,8] x", "1 or 3 channels"),
    "huge images": (*LINEAR, "float[n,3,90000,90000] x", "shape"),
    "text": (*LINEAR, "string[n,3,9,8] x", "neither floating-point nor whole numbers"),
    "shapes that do not fit": ("a = Flatten(x) y = MatMul(a, w)", {"w": (217, 10)}, IMAGE, r"node 1 \(MatMul\)"),
    "a reshape by pixels": ("a = Flatten(x) y = Reshape(a, x)", {}, IMAGE, "follows from pixels"),
    "a reshape to nonsense": ("y = Reshape(x, t)", {"t": np.int64([-1, 10**15])}, IMAGE, "Reshape"),
    "a constant bomb": ("c = ConstantOfShape(s) y = Add(x, c)", {"s": np.int64([2**20, 2**20])}, IMAGE, "more numbers"),
    "a pad bomb": ("p = Pad(x, p0) y = Flatten(p)", {"p0": np.int64([0] * 7 + [2**40])}, IMAGE, "Pad"),
    "a bomb of pads": ("p = Pad(x, p0) y = Flatten(p)", {"p0": np.int64([0] * 5 + [4096] * 3)}, IMAGE, "more numbers"),
    "a product bomb": ("a = Add(x, w) y = Flatten(a)", {"w": (80000, 1, 1, 1)}, IMAGE, "more numbers"),
    "an index bomb": (
        "a = Gather(i, i) b = Gather(a, a) y = Reshape(x, b)",
        {"i": np.zeros((300, 200), np.int64)},
        IMAGE,
        "more numbers",
    ),
    "a window bomb": ("a = Conv <pads=[9999999,0,0,0]> (x, w) y = Flatten(a)", W, IMAGE, "pads"),
    "a stride of zero": ("a = MaxPool <kernel_shape=[2,2], strides=[0,1]> (x) y = Flatten(a)", {}, IMAGE, "strides"),
    "a window that does not fit": ("a = MaxPool <kernel_shape=[99,99]> (x) y = Flatten(a)", {}, IMAGE, "not fit"),
    "a missing input": ("a = Conv(x) y = Flatten(a)", {}, IMAGE, "Conv"),
    "an empty input": ("a = Conv(x, ) y = Flatten(a)", {}, IMAGE, "Conv"),
    "a second output": ("a, m = MaxPool <kernel_shape=[2,2]> (x) y = Flatten(m)", {}, IMAGE, "further output"),
    "training": (
        "a = BatchNormalization <training_mode=1> (x, s, b, m, variance) y = Flatten(a)",
        FIVE,
        IMAGE,
        "training mode",
    ),
    "too many images at once": ("y = Reshape(x, t)", {"t": np.int64([99, -1])}, "float[99,3,9,8] x", "99 images"),
}


def refused(path: Path, pattern: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        open_onnx(path)
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    assert re.search(pattern, text)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_plain_classifier_is_refused_in_one_line(name, tmp_path):
    body, tensors, image, pattern = REFUSED[name]
    refused(write(tmp_path / "model.onnx", build(body, tensors, image=image)), pattern)


@pytest.mark.parametrize("dims", [[216, 11], [-1, 10], [2**62, 2**62], [216, 10, 0]])
def test_tensors_that_are_not_of_their_size_are_refused(dims, tmp_path):
    model = build(*LINEAR)
    model.graph.initializer[0].dims[:] = dims
    refused(write(tmp_path / "model.onnx", model), "'w' holds 2160 numbers")


def test_many_constants_at_one_place_of_a_small_file_are_refused(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(8 << 16))
    model = build(*LINEAR)
    for number in range(520):
        tensor = model.graph.initializer.add(name=f"c{number}", data_type=7, dims=[1 << 16], data_location=1)
        tensor.external_data.add(key="location", value="w.bin")
    model.graph.node.add(op_type="Max", input=[f"c{number}" for number in range(520)], output=["spare"])
    refused(write(tmp_path / "model.onnx", model), "belong to its graph take more memory")


def test_very_many_outputs_are_refused(tmp_path):
    """Each is asked in each way to prepare pixels: a small file would take hours."""
    model = build(*LINEAR)
    for number in range(100):
        model.graph.node.add(op_type="Relu", input=["y"], output=[f"y{number}"])
        model.graph.output.add(name=f"y{number}").type.tensor_type.elem_type = 1
    path = write(tmp_path / "model.onnx", model)
    with pytest.raises(InvalidFile, match=r"model\.onnx: 101 of its outputs may be scores"):
        recognise(path, NOTHING)


def test_unknown_versions_are_refused(tmp_path):
    refused(write(tmp_path / "model.onnx", build(*LINEAR, opset=6)), "operator set 6")


def test_damaged_files_are_refused_wherever_they_end(tmp_path):
    data = residual().SerializeToString()
    path = tmp_path / "model.onnx"
    for size in [*range(0, len(data), len(data) // 40), len(data) - 1]:
        path.write_bytes(data[:size])
        refused(path, "")


@pytest.mark.parametrize("name", [b"MatMul", b"alpha"])
def test_names_that_are_no_text_are_refused(name, tmp_path):
    model = build("a = Flatten(x) spare = LeakyRelu <alpha=0.1> (a) y = MatMul(spare, w)", {"w": (216, 10)})
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString().replace(name, b"\xff" * len(name)))
    refused(path, "")


def test_large_files_of_structure_alone_are_refused_before_they_are_parsed(tmp_path):
    """Two bytes of an empty node become a hundred in memory."""
    path = tmp_path / "model.onnx"
    for graph in (b"\x0a\x00" * (3 << 20), b"\x52" + varint(5 << 20) + b" " * (5 << 20)):
        path.write_bytes(b"\x3a" + varint(len(graph)) + graph)
        refused(path, "structure|damaged")
    path.write_bytes(b"\x08\x00" * (3 << 20))
    refused(path, "damaged")


def test_large_weights_are_no_structure(tmp_path):
    numbers = np.zeros((216, 5_000), np.float32)
    path = write(tmp_path / "model.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": numbers}))
    assert path.stat().st_size > 1 << 22
    assert open_onnx(path)[0].classes == 5_000


def test_the_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UsageError, match=r"wmjax\[onnx\]"):
        open_onnx(write(tmp_path / "model.onnx", build(*LINEAR)))


def test_a_file_that_changes_meanwhile_is_refused(tmp_path):
    path = write(tmp_path / "model.onnx", build(*LINEAR))
    network, source = open_onnx(path)
    write(path, build(LINEAR[0], {"w": (216, 9)}))
    with pytest.raises(InvalidFile, match="changed"):
        source.read(0, 1, {name: np.empty((1, *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()})
    path.unlink()
    with pytest.raises(AccessError, match="cannot read"):
        source.read(0, 1, {})
