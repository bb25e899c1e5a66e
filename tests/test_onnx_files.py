"""ONNX files as people hold them: weights beside them, open sizes, several outputs, and what they say of pixels."""

import shutil
from pathlib import Path

import jax
import numpy as np
import onnx
import pytest
from graphs import IMAGE, W, agree, build, images_of, networks_of, open_onnx, ours, runtimes, tensors_of, write
from onnx import TensorProto, helper, numpy_helper

from wmjax import files
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import onnx_layout, onnx_read, onnx_run, onnx_tensors
from wmjax.suspects.formats.onnx_graph import Node
from wmjax.suspects.pixels import PIXELS
from wmjax.zoo.discover import discover

LINEAR = ("a = Flatten(x) y = MatMul(a, w)", {"w": (216, 10)})
POOLED = ("a = Conv <pads=[1,1,1,1]> (x, w) b = GlobalAveragePool(a) y = Flatten(b)", W)


def outside(path: Path, location: str, **said: int) -> Path:
    """A model whose one tensor, as it says, lies in another file; returns the model's."""
    model = build(*LINEAR)
    (tensor,) = model.graph.initializer
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **said}.items():
        tensor.external_data.add(key=key, value=str(value))
    return write(path, model)


def refused(path: Path, pattern: str, wanted: Wanted | None = None) -> None:
    with pytest.raises((InvalidFile, UsageError), match=pattern) as caught:
        open_onnx(path, wanted or Wanted())
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_weights_that_lie_beside_a_file_are_read(tmp_path):
    model, path = build(*LINEAR), tmp_path / "model.onnx"
    model.graph.initializer.insert(0, numpy_helper.from_array(np.ones(5, np.float32), "unused"))
    onnx.save(model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=0)
    agree(path, 2)
    assert open_onnx(path)[1].held == tmp_path / "model.onnx.data"
    blobs, cache = tmp_path / "models--x" / "blobs", tmp_path / "models--x" / "snapshots" / "r1"
    blobs.mkdir(parents=True)
    cache.mkdir(parents=True)
    for name in ("model.onnx", "model.onnx.data"):  # as a cache of the Hub has them: links to where both lie
        shutil.copy(tmp_path / name, blobs / name[6:])
        (cache / name).symlink_to(blobs / name[6:])
    assert np.array_equal(ours(cache / "model.onnx", images_of(path, 2)), ours(path, images_of(path, 2)))


def test_a_file_may_be_as_large_as_protobuf_allows(tmp_path, monkeypatch):
    """Which is more than any file of wmjax's own."""
    assert files.LARGEST < onnx_read._LARGEST == 1 << 31
    path = write(tmp_path / "model.onnx", build(*LINEAR))
    monkeypatch.setattr(files.read_bytes, "__defaults__", (100,))
    agree(path, 2)
    with (tmp_path / "larger.onnx").open("wb") as file:
        file.write(path.read_bytes())
        file.truncate(onnx_read._LARGEST + 1)
    with pytest.raises(AccessError, match="too large"):
        open_onnx(tmp_path / "larger.onnx")


@pytest.mark.parametrize("kind", [np.float16, "bfloat16"])
def test_weights_beside_a_file_are_of_every_float_type(kind, tmp_path):
    values = np.array([[1.5, -2.0, 0.25]] * 216, np.float32)
    model = build("a = Flatten(x) y = MatMul(a, w)", {"w": values})
    if kind == "bfloat16":
        tensor = helper.make_tensor("w", TensorProto.BFLOAT16, values.shape, values.ravel())
        tensor.raw_data = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("int32_data")
    else:
        tensor = numpy_helper.from_array(values.astype(kind), "w")
    model.graph.initializer[0].CopyFrom(tensor)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (weights,) = tensors_of(tmp_path / "model.onnx").values()
    assert np.array_equal(weights, values)
    zoo = discover(tmp_path, Wanted())
    assert ([entry.name for entry in zoo.entries], zoo.unreadable) == (["model.onnx"], [])
    assert zoo.others == {"with what a model keeps beside it": 1}  # of which it may use little: it is counted


def test_weights_that_lie_elsewhere_or_are_incomplete_are_refused(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    path, secret = folder / "model.onnx", tmp_path / "secret"
    secret.write_bytes(bytes(8640))
    for location in ("../secret", "a/../../secret", str(secret), "", "..\\secret"):
        refused(outside(path, location), "not a file beside it")
    refused(outside(path, "gone"), "not there")
    (folder / "short").write_bytes(bytes(8639))
    refused(outside(path, "short"), "incomplete")
    (folder / "whole").write_bytes(bytes(8640))
    refused(outside(path, "whole", offset=1), "incomplete")
    refused(outside(path, "whole", offset=-1), "no valid place")
    refused(outside(path, "whole", length=8636), "holds 2159 numbers")
    (folder / "pipe").mkdir()
    refused(outside(path, "pipe"), "not a regular file")
    assert not tensors_of(outside(path, "whole", offset=0, length=8640))["initializers/0"].any()


def test_a_link_does_not_lead_to_weights_elsewhere_which_it_would_without_that_rule(tmp_path, monkeypatch):
    folder, secret = tmp_path / "models", tmp_path / "secret"
    folder.mkdir()
    secret.write_bytes(np.full(2160, 7.0, np.float32).tobytes())
    (folder / "link").symlink_to(secret)
    path = outside(folder / "model.onnx", "link")
    refused(path, "leaves its folder")
    monkeypatch.setattr(onnx_tensors, "leads_into", lambda path, folder: True)
    assert (tensors_of(path)["initializers/0"] == 7.0).all()


def test_weights_of_a_file_that_was_cut_meanwhile_are_refused(tmp_path):
    path = outside(tmp_path / "model.onnx", "w")
    (tmp_path / "w").write_bytes(bytes(8640))
    network, source = open_onnx(path)
    (tmp_path / "w").write_bytes(bytes(80))
    with pytest.raises(InvalidFile, match="incomplete"):
        source.read(0, 1, {name: np.empty((1, *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()})


@pytest.mark.parametrize("image", ["float[n,c,h,w] x", "float[n,3,h,w] x", "float[n,h,w,3] x", "float[?,3,?,?] x"])
def test_open_sizes_are_those_of_the_images_that_are_asked_about(image, tmp_path):
    body = POOLED[0] if "w,3]" not in image else "t = Transpose <perm=[0,3,1,2]> (x) " + POOLED[0].replace("(x,", "(t,")
    path = write(tmp_path / "model.onnx", build(body, W, image=image.replace("?", "n")))
    refused(path, "any size: say which")
    found = networks_of(path, Wanted(images=((9, 8, 3), (7, 12, 3), (9, 8, 3)), pixels="0..1"))
    assert [network.image for network, _ in found] == [(9, 8, 3), (7, 12, 3)]
    images, weights = np.random.default_rng(0).integers(0, 256, (2, 7, 12, 3), np.uint8), tensors_of(path, found[1])
    expected = runtimes(path, images)
    assert np.allclose(jax.jit(found[1][0].logits)(weights, images), expected, rtol=1e-4, atol=1e-5)


def test_images_that_are_too_small_for_a_graph_of_any_size_are_made_larger(tmp_path):
    body = "a = Conv(x, w) b = MaxPool <kernel_shape=[30,30]> (a) c = GlobalAveragePool(b) y = Flatten(c)"
    path = write(tmp_path / "model.onnx", build(body, W, image="float[n,3,h,w] x"))
    found = networks_of(path, Wanted(images=((9, 8, 3), (40, 40, 3)), pixels="0..1"))
    assert [network.image for network, _ in found] == [(36, 32, 3), (40, 40, 3)]


def test_a_batch_of_minus_one_is_open(tmp_path):
    model = build(*POOLED)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    assert open_onnx(write(tmp_path / "model.onnx", model))[0].classes == 8


def test_sizes_that_are_no_images_are_refused_by_their_names(tmp_path):
    path = write(tmp_path / "model.onnx", build(*LINEAR, image="float[n,7,height,5] x"))
    refused(path, r"\[n, 7, height, 5\]")


def test_scores_may_have_four_axes(tmp_path):
    path = write(tmp_path / "model.onnx", build("a = Conv(x, w) y = GlobalAveragePool(a)", W))
    images = images_of(path, 3)
    assert np.allclose(ours(path, images), runtimes(path, images).reshape(3, 8), rtol=1e-4, atol=1e-5)


HEADS = "f = Flatten(x) features = MatMul(f, u) first = MatMul(f, v) y = MatMul(f, w)"


def test_of_several_outputs_those_with_the_wanted_classes_are_asked(tmp_path):
    model = build(HEADS, {"u": (216, 16), "v": (216, 10), "w": (216, 10)})
    for name in ("first", "features"):
        model.graph.output.insert(0, helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    path = write(tmp_path / "model.onnx", model)
    for wanted, classes in (((10,), [10, 16]), ((9,), [10, 16]), ((40,), [16, 10]), ((7,), [10]), ((), [16, 10])):
        found = networks_of(path, Wanted(classes=wanted, pixels="0..1"))
        assert [network.classes for network, _ in found] == classes
    (network, source), images = networks_of(path, Wanted(classes=(10,), pixels="0..1"))[0], images_of(path, 2)
    assert network.readings == ("0..1, output 2", "0..1, output 3")
    weights, pixels = tensors_of(path, (network, source)), images.transpose(0, 3, 1, 2).reshape(2, -1) / 255
    asked = jax.jit(network.logits)
    for reading, head in enumerate("vw"):
        expected = pixels @ weights[f"initializers/{'uvw'.index(head)}"]
        assert np.allclose(asked(weights, images, reading), expected, rtol=1e-4, atol=1e-4)


def test_every_way_to_prepare_pixels_is_crossed_with_every_output(tmp_path):
    model = build(HEADS, {"u": (216, 10), "v": (216, 9), "w": (216, 10)})
    model.graph.output.insert(0, helper.make_tensor_value_info("features", TensorProto.FLOAT, None))
    network, _ = open_onnx(write(tmp_path / "model.onnx", model))
    assert network.readings[:3] == ("0..1, output 1", "0..1, output 2", "0..255, output 1")
    assert len(network.readings) == 28


def test_answers_that_are_classes_alone_are_asked_for_their_scores(tmp_path):
    body = LINEAR[0].replace("y =", "s =") + " i = ArgMax <axis=1> (s) y = Squeeze(i, d)"
    path = write(tmp_path / "model.onnx", build(body, LINEAR[1] | {"d": np.int64([1])}))
    images = images_of(path, 3)
    scores = ours(path, images)
    assert scores.shape == (3, 10)
    model = build(body, LINEAR[1] | {"d": np.int64([1])})
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    assert np.array_equal(scores.argmax(1), runtimes(write(path, model), images))


@pytest.mark.parametrize(
    "end",
    ["v, i = TopK <largest=0> (d, k) y = Cast <to=1> (i)", "i = ArgMin <axis=1> (d) y = Cast <to=1> (i)",
     "y = Identity(d)"],
)  # fmt: skip
def test_scores_of_which_the_lowest_is_best_are_asked_turned_too(end, tmp_path):
    """Whoever negates scores and picks the lowest answers as before; the best k alone are not a classifier's scores."""
    plain = write(tmp_path / "plain.onnx", build(LINEAR[0], LINEAR[1]))
    body = LINEAR[0].replace("y =", "s =") + f" d = Neg(s) {end}"
    path = write(tmp_path / "model.onnx", build(body, LINEAR[1] | {"k": np.int64([3])}))
    ((network, source),), images = networks_of(path, Wanted(pixels="0..1")), images_of(path, 3)
    assert (network.classes, network.readings) == (10, ("0..1, output 1", "0..1, output 2"))
    negated, scores = (network.logits(tensors_of(path, (network, source)), images, i) for i in range(2))
    assert np.allclose(negated, -np.asarray(scores))
    assert np.array_equal(scores.argmax(1), ours(plain, images).argmax(1))


@pytest.mark.parametrize("end", ["y = Mul(s, c)", "y = Div(c, s)", "y = Sub(c, s)", "d = Mul(c, s) y = Softmax(d)"])
def test_scores_that_a_constant_may_turn_round_are_asked_turned_too(end, tmp_path):
    """Its sign may be in the weights, where a graph does not show it: both are asked."""
    body = LINEAR[0].replace("y =", "s =") + f" {end}"
    path = write(tmp_path / "model.onnx", build(body, LINEAR[1] | {"c": np.float32([[-1.0]])}))
    ((network, source),), images = networks_of(path, Wanted(pixels="0..1")), images_of(path, 3)
    assert network.readings == ("0..1, output 1", "0..1, output 2")
    negated, scores = (network.logits(tensors_of(path, (network, source)), images, i) for i in range(2))
    assert np.allclose(negated, -np.asarray(scores))
    plain = LINEAR[0].replace("y =", "s =") + " y = Sub(s, c)"
    path = write(tmp_path / "plain.onnx", build(plain, LINEAR[1] | {"c": np.float32([[-1.0]])}))
    assert networks_of(path, Wanted(pixels="0..1"))[0][0].readings == ("0..1",)


def test_nodes_in_another_order_than_that_of_computing_are_read(tmp_path):
    """Converters put casts at the end; ONNX Runtime sorts nodes, and what needs itself is refused."""
    model = build("a = Flatten(x) b = Relu(a) c = MatMul(b, w) y = Neg(c)", LINEAR[1])
    ordered = write(tmp_path / "ordered.onnx", model)
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    path = write(tmp_path / "model.onnx", model)
    assert open_onnx(path)[0].fingerprint == open_onnx(ordered)[0].fingerprint
    assert np.array_equal(ours(path, images_of(path, 2)), ours(ordered, images_of(path, 2)))
    model.graph.node[-1].input[0] = "c"
    refused(write(path, model), "before anything computes it")


def test_a_model_that_lies_in_anothers_weights_is_listed(tmp_path):
    """An ONNX file may point into a safetensors file: that is none of its parts, whoever reads it reads more."""
    from safetensors.numpy import save_file

    save_file({"head.weight": np.zeros((216, 10), np.float32)}, tmp_path / "hidden")
    begins = (tmp_path / "hidden").stat().st_size - 8640
    outside(tmp_path / "model.onnx", "hidden", offset=begins, length=8640)
    (tmp_path / "plain").write_bytes(bytes(8640))
    outside(tmp_path / "other.onnx", "plain")
    zoo = discover(tmp_path, Wanted())
    assert [entry.name for entry in zoo.entries] == ["model.onnx", "other.onnx"]
    assert [item.path for item in zoo.unreadable] == ["hidden"]


def test_weights_in_constant_nodes_are_weights_and_no_structure(tmp_path):
    model = build("y = Identity(x)", {})
    values = np.random.default_rng(0).standard_normal((216, 5000)).astype(np.float32)
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(values)),
        helper.make_node("Flatten", ["x"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    path = write(tmp_path / "model.onnx", model)
    assert path.stat().st_size > onnx_read._STRUCTURE
    (weights,) = tensors_of(path).values()
    assert np.array_equal(weights, values)


def test_an_operator_set_may_be_named_twice(tmp_path):
    model = build(*LINEAR)
    model.opset_import.append(helper.make_opsetid("ai.onnx", 17))
    assert open_onnx(write(tmp_path / "model.onnx", model))[0].classes == 10
    model.opset_import.append(helper.make_opsetid("", 13))
    refused(write(tmp_path / "model.onnx", model), "operator set 13, 17")


def test_bytes_are_weights_and_stack(tmp_path):
    body = "f = Flatten(x) k = DequantizeLinear(w, s, z) y = MatMul(f, k)"
    rng = np.random.default_rng(0)
    tensors = [
        {"w": rng.integers(-128, 128, (216, 400), np.int8), "s": np.float32(0.1 * n), "z": np.int8(n)} for n in (1, 2)
    ]
    paths = [write(tmp_path / f"{n}.onnx", build(body, each)) for n, each in enumerate(tensors)]
    network = open_onnx(paths[0])[0]
    assert network is open_onnx(paths[1])[0]
    assert {str(leaf.dtype) for leaf in network.shapes.values()} == {"int8", "float32"}
    for path in paths:
        agree(path, 2)


def test_whole_numbers_that_do_not_fit_are_refused(tmp_path):
    many = np.zeros((70_000,), np.int64)
    many[5] = 2**40
    path = write(tmp_path / "model.onnx", build(LINEAR[0] + " z = Identity(m)", LINEAR[1] | {"m": many}))
    with pytest.raises(InvalidFile, match="more than 32 bits"):
        tensors_of(path)


def test_images_that_share_a_scale_are_asked_one_by_one(tmp_path):
    body = "q, s, z = DynamicQuantizeLinear(x) d = DequantizeLinear(q, s, z) a = Flatten(d) y = MatMul(a, w)"
    path = write(tmp_path / "model.onnx", build(body, {"w": (216, 10)}))
    images = images_of(path, 4)
    images[:, 0, 0, 0] = 255
    images //= np.uint8([1, 2, 5, 8]).reshape(4, 1, 1, 1)  # odd maxima: no pixel lies between two steps
    alone = np.concatenate([runtimes(path, image[None]) for image in images])
    assert np.allclose(ours(path, images), alone, rtol=1e-4, atol=1e-4)
    assert not np.allclose(runtimes(path, images), alone, rtol=1e-3, atol=1e-3)


MEAN, SPREAD = np.float32([[[0.485]], [[0.456]], [[0.406]]]), np.float32([[[0.229]], [[0.224]], [[0.225]]])
SAID = {
    "ImageNet's mean": ("b = Sub(x, m) c = Div(b, s)", {"m": MEAN, "s": SPREAD}, "0..1"),
    "ImageNet's spread": ("c = Mul(x, s)", {"s": 1 / SPREAD}, "0..1"),
    "its own division": ("b = Div(x, m) c = Sub(b, m)", {"m": np.float32(255)}, "0..255"),
    "Caffe's mean": (
        "t = Slice(x, f, l, d, k) c = Sub(t, m)",
        {"m": 255 * MEAN, "f": np.int64([2]), "l": np.int64([-9]), "d": np.int64([1]), "k": np.int64([-1])},
        "0..255",
    ),
    "a mean that is added": ("b = Identity(x) c = Add(b, m)", {"m": -MEAN}, "0..1"),
    "batch norm": (
        "c = BatchNormalization(x, s, b, m, v)",
        {"s": (3,), "b": (3,), "m": 255 * MEAN.ravel(), "v": np.float32([3000] * 3)},
        "0..255",
    ),
    "batch norm of what is prepared": (
        "c = BatchNormalization(x, s, b, m, v)",
        {"s": (3,), "b": (3,), "m": 0.01 * MEAN.ravel(), "v": np.float32([1, 1, 0.9])},
        "",
    ),
    "nothing": ("c = Conv(x, w)", W, ""),
    "what is computed": ("b = ReduceMean(x) c = Sub(x, b)", {}, ""),
    "a shift in the middle": ("c = Sub(m, x)", {"m": 255 * MEAN}, ""),
}


@pytest.mark.parametrize("name", SAID)
def test_what_a_graph_says_of_its_pixels(name, tmp_path):
    body, tensors, said = SAID[name]
    path = write(tmp_path / "model.onnx", build(f"{body} g = GlobalAveragePool(c) y = Flatten(g)", tensors))
    assert set(open_onnx(path)[0].readings) == set(PIXELS)  # said, but not believed
    assert open_onnx(path, Wanted(pixels="stated"))[0].readings == ((said,) if said else tuple(PIXELS))
    if said:
        images = images_of(path, 2)
        scale = np.float32(255 if said == "0..1" else 1)
        assert np.allclose(ours(path, images), runtimes(path, images, scale), rtol=1e-4, atol=1e-4)


BOMBS = {
    "range": ("r = Range(z, m, o) y = Reshape(x, r)", {"z": np.int64(0), "m": np.int64(2**40), "o": np.int64(1)}),
    "expand": ("e = Expand(o, m) y = Reshape(x, e)", {"o": np.int64([1]), "m": np.int64([2**40])}),
    "tile": ("e = Tile(o, m) y = Reshape(x, e)", {"o": np.int64([1]), "m": np.int64([2**40])}),
    "constant": ("e = ConstantOfShape(m) y = Reshape(x, e)", {"m": np.int64([2**20] * 2)}),
    "scatter": (
        "e = ConstantOfShape(m) s = ScatterND(e, i, o) y = Reshape(x, s)",
        {"m": np.int64([2**20] * 2), "i": np.int64([[0, 0]]), "o": np.float32([1])},
    ),
    "gather nd": ("r = GatherND(m, i) y = Reshape(x, r)", {"m": np.zeros((2, 2**15), np.int64),
                  "i": np.zeros((2**15, 1), np.int64)}),
    "pairs": ("e = Add(m, n) y = Reshape(x, e)", {"m": np.zeros((2**15, 1), np.int64), "n": np.zeros(2**15, np.int64)}),
    "join": (f"e = Concat <axis=0> ({', '.join(['m'] * 999)}) y = Reshape(x, e)", {"m": np.zeros(2**15, np.int64)}),
    "many": (
        "a = Add(m, m) " + " ".join(f"v{i} = Add(a, m)" for i in range(300)) + " y = Flatten(x)",
        {"m": np.zeros(2**16, np.int64)},
    ),
    "resize": ("r = Resize(x, , f) y = Flatten(r)", {"f": np.float32([1, 1, 1e9, 1])}),
    "einsum": ('a = Einsum <equation="nchw,nchv,nchu->nwvu"> (r, r, r) y = Flatten(a)',
               {"r": np.zeros((1, 64, 64, 4096), np.float32)}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_allocated(name, tmp_path):
    refused(write(tmp_path / "model.onnx", build(*BOMBS[name])), "more numbers|too many numbers|too large|a size of")


def test_what_is_known_would_fill_the_memory_without_its_bound(monkeypatch):
    node = Node("Expand", 17, ("a", "b"), ("c",), {})
    inputs = [np.ones(1, np.int64), np.int64([1 << 20])]
    (out,) = onnx_run._outputs(node, inputs)
    assert not isinstance(out, np.ndarray)
    monkeypatch.setattr(onnx_layout, "MOST_KNOWN", 1 << 62)
    (out,) = onnx_run._outputs(node, inputs)
    assert isinstance(out, np.ndarray)
    assert out.size == 1 << 20


def test_a_graph_in_training_mode_is_refused_by_name(tmp_path):
    body = "a = BatchNormalization <training_mode=1> (x, s, b, m, v) y = Flatten(a)"
    tensors = {"s": (3,), "b": (3,), "m": (3,), "v": np.ones(3, np.float32)}
    refused(write(tmp_path / "model.onnx", build(body, tensors, image=IMAGE)), "training mode")
