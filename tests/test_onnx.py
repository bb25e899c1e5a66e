"""ONNX files: operators and networks answer as ONNX Runtime says."""

import jax
import numpy as np
import pytest
from graphs import (
    FIVE,
    IMAGE,
    Shapes,
    W,
    agree,
    build,
    images_of,
    open_onnx,
    ours,
    residual,
    runtimes,
    tensors_of,
    write,
)
from onnx import TensorProto, helper, numpy_helper

OPERATORS: dict[str, tuple[str, Shapes, int]] = {
    "conv": ("a = Conv <pads=[1,1,1,1]> (x, w, b) y = Flatten(a)", W | {"b": (8,)}, 17),
    "conv uneven pads": ("a = Conv <pads=[0,1,2,1], strides=[2,1]> (x, w) y = Flatten(a)", W, 17),
    "conv padded beyond its kernel": ("a = Conv <pads=[1,1,1,1]> (x, w) y = Flatten(a)", {"w": (4, 3, 1, 1)}, 11),
    "conv dilated": ("a = Conv <dilations=[2,3]> (x, w) y = Flatten(a)", W, 17),
    "conv stride 2": ("a = Conv <pads=[1,1,1,1], strides=[2,2]> (x, w) y = Flatten(a)", W, 17),
    "conv grouped": ("a = Conv <group=3, pads=[1,1,1,1]> (x, w) y = Flatten(a)", {"w": (6, 1, 3, 3)}, 22),
    "conv same upper": ('a = Conv <auto_pad="SAME_UPPER", strides=[2,2]> (x, w) y = Flatten(a)', W, 17),
    "conv same lower": ('a = Conv <auto_pad="SAME_LOWER"> (x, w) y = Flatten(a)', {"w": (4, 3, 4, 2)}, 17),
    "conv valid": ('a = Conv <auto_pad="VALID"> (x, w) y = Flatten(a)', W, 17),
    "batch norm": ("a = BatchNormalization <epsilon=0.01> (x, s, b, m, variance) y = Flatten(a)", FIVE, 17),
    "batch norm 9": ("a = BatchNormalization (x, s, b, m, variance) y = Flatten(a)", FIVE, 9),
    "max pool": ("a = MaxPool <kernel_shape=[2,2], strides=[2,2]> (x) y = Flatten(a)", {}, 17),
    "max pool ceil": (
        "c = Sub(x, two) a = MaxPool <kernel_shape=[3,3], strides=[2,2], ceil_mode=1, pads=[1,1,1,1]> (c) "
        "y = Flatten(a)",
        {"two": np.float32([2])},
        17,
    ),
    "max pool dilated": ("a = MaxPool <kernel_shape=[2,3], dilations=[3,2]> (x) y = Flatten(a)", {}, 17),
    "max pool same": (
        'a = MaxPool <kernel_shape=[2,2], strides=[2,2], auto_pad="SAME_UPPER"> (x) y = Flatten(a)',
        {},
        17,
    ),
    "average pool": ("a = AveragePool <kernel_shape=[3,2], pads=[1,0,1,1]> (x) y = Flatten(a)", {}, 17),
    "average pool counting pads": (
        "a = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1> (x) y = Flatten(a)",
        {},
        17,
    ),
    "average pool ceil": (
        "a = AveragePool <kernel_shape=[3,3], strides=[2,3], ceil_mode=1> (x) y = Flatten(a)",
        {},
        19,
    ),
    "average pool ceil, counting pads": (
        "a = AveragePool <kernel_shape=[2,2], strides=[2,3], pads=[0,1,0,1], ceil_mode=1, count_include_pad=1> (x) "
        "y = Flatten(a)",
        {},
        19,
    ),
    "global pools": ("a = GlobalAveragePool(x) b = GlobalMaxPool(x) c = Concat <axis=1> (a, b) y = Flatten(c)", {}, 17),
    "gemm": (
        "a = Flatten(x) y = Gemm <transB=1, alpha=0.5, beta=2.0> (a, w, b)",
        {"w": (10, 216), "b": (10,)},
        17,
    ),
    "gemm plain": ("a = Flatten(x) y = Gemm (a, w)", {"w": (216, 10)}, 17),
    "matmul": ("a = Flatten(x) b = MatMul(a, w) y = Add(b, c)", {"w": (216, 10), "c": (10,)}, 17),
    "matmul of many": ("a = MatMul(x, w) y = Flatten(a)", {"w": (8, 4)}, 17),
    "activations": (
        "c = Sub(x, half) d = Mul(c, six) a1 = LeakyRelu <alpha=0.2> (d) a2 = Relu(d) a3 = Sigmoid(d) a4 = Tanh(d) "
        "a5 = HardSigmoid <alpha=0.3> (d) a6 = HardSwish(d) a7 = Erf(d) a8 = Elu(d) a9 = Softplus(d) a10 = PRelu(d, p) "
        "e = Concat <axis=1> (a1, a2, a3, a4, a5, a6, a7, a8, a9, a10) y = Flatten(e)",
        {"half": np.float32([0.5]), "six": np.float32(6), "p": (3, 1, 1)},
        17,
    ),
    "gelu": ('a = Gelu(x) b = Gelu <approximate="tanh"> (x) c = Sub(a, b) y = Flatten(a)', {}, 20),
    "arithmetic": (
        "a = Abs(x) b = Neg(a) c = Exp(b) d = Max(c, h) e = Min(d, x) f = Div(e, d) y = Flatten(f)",
        {"h": np.float32([[0.6]])},
        17,
    ),
    "clip 6": ("a = Clip <min=0.2, max=0.6> (x) y = Flatten(a)", {}, 10),
    "clip": ("a = Clip(x, l, h) y = Flatten(a)", {"l": np.float32(0.2), "h": np.float32(0.6)}, 17),
    "clip above": ("a = Clip(x, , h) y = Flatten(a)", {"h": np.float32(0.6)}, 17),
    "softmax": ("a = Flatten(x) y = Softmax(a)", {}, 17),
    "softmax 11": ("a = Softmax(x) b = LogSoftmax <axis=2> (a) y = Flatten(b)", {}, 11),
    "log softmax": ("a = LogSoftmax <axis=1> (x) y = Flatten(a)", {}, 17),
    "reduce": (
        "a = ReduceMean <axes=[2,3], keepdims=0> (x) b = ReduceMax <axes=[-1,-2], keepdims=0> (x) "
        "s = Concat <axis=1> (a, b) c = ReduceSum <keepdims=0> (x, d) y = Concat <axis=1> (s, c)",
        {"d": np.int64([2, 3])},
        17,
    ),
    "reduce 18": ("y = ReduceMean <keepdims=0> (x, d)", {"d": np.int64([2, 3])}, 18),
    "layer norm": (
        "m = ReduceMean <axes=[-1]> (x) c = Sub(x, m) q = Pow(c, two) v = ReduceMean <axes=[-1]> (q) w = Add(v, e) "
        "d = Sqrt(w) z = Div(c, d) t = Mul(z, g) y = Flatten(t)",
        {"two": np.float32(2), "e": np.float32(1e-3), "g": (8,)},
        17,
    ),
    "reshape": ("a = Reshape(x, s) y = Reshape(a, t)", {"s": np.int64([0, 3, -1]), "t": np.int64([0, -1])}, 17),
    "reshape with a 1": ("a = Conv(x, w) b = GlobalAveragePool(a) y = Reshape(b, t)", W | {"t": np.int64([1, -1])}, 17),
    "flatten axis": ("a = Transpose <perm=[0,2,3,1]> (x) b = Flatten <axis=-3> (a) y = Identity(b)", {}, 17),
    "transpose": ("a = Transpose <perm=[0,3,1,2]> (x) y = Flatten(a)", {}, 17),
    "squeeze 11": (
        "a = GlobalAveragePool(x) b = Squeeze <axes=[2,3]> (a) c = Unsqueeze <axes=[1]> (b) y = Flatten(c)",
        {},
        11,
    ),
    "squeeze": (
        "a = GlobalAveragePool(x) b = Squeeze(a, d) c = Unsqueeze(b, e) y = Flatten(c)",
        {"d": np.int64([2, 3]), "e": np.int64([1, -1])},
        13,
    ),
    "pad": (
        "a = Pad(x, p, v) y = Flatten(a)",
        {"p": np.int64([0, 0, 1, 2, 0, 1, 0, -1]), "v": np.float32(0.5)},
        17,
    ),
    "pad 10": ('a = Pad <pads=[0,0,1,2,0,0,3,1], mode="reflect"> (x) y = Flatten(a)', {}, 10),
    "pad axes": (
        'a = Pad <mode="edge"> (x, p, , d) y = Flatten(a)',
        {"p": np.int64([1, 2, 0, 3]), "d": np.int64([3, 2])},
        18,
    ),
    "slice": (
        "a = Slice(x, f, l, d, s) y = Flatten(a)",
        {"f": np.int64([1, -1]), "l": np.int64([2**63 - 1, -(2**62)]), "d": np.int64([2, 3]), "s": np.int64([2, -3])},
        17,
    ),
    "slice 9": ("a = Slice <starts=[1,0], ends=[-1,5], axes=[2,3]> (x) y = Flatten(a)", {}, 9),
    "gather": ("a = Gather <axis=2> (x, i) y = Flatten(a)", {"i": np.int64([[1, -1], [0, 3]])}, 17),
    "sizes": (
        "s = Shape(x) i = Constant <value_int=0> () n = Gather(s, i) z = Constant <value_ints=[0]> () "
        "u = Unsqueeze(n, z) k = Constant <value_ints=[432]> () two = Constant <value_ints=[2]> () "
        "h = Div(k, two) f = Cast <to=1> (h) "
        "g = Cast <to=7> (f) t = Concat <axis=0> (u, g) y = Reshape(x, t)",
        {},
        17,
    ),
    "pads as PyTorch writes them": (
        "k = Constant <value_ints=[4]> () z = ConstantOfShape <value=int64[1]{0}> (k) "
        "w = Constant <value_ints=[0,1,2,0]> () c = Concat <axis=0> (w, z) m = Constant <value_ints=[-1,2]> () "
        "r = Reshape(c, m) "
        "f = Constant <value_ints=[-1]> () l = Constant <value_int=-9223372036854775807> () "
        "i = Constant <value_ints=[0]> () u = Unsqueeze(l, i) s = Slice(r, f, u, i, f) "
        "t = Transpose <perm=[1,0]> (s) p = Reshape(t, f) "
        "q = Cast <to=7> (p) a = Pad(x, q) y = Flatten(a)",
        {},
        17,
    ),
    "layer norm 17": ("a = LayerNormalization <axis=2> (x, g, c) y = Flatten(a)", {"g": (9, 8), "c": (8,)}, 17),
    "dropout": ("a = Dropout(x) y = Flatten(a)", {}, 17),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_agree_with_onnx_runtime(name, tmp_path):
    body, tensors, opset = OPERATORS[name]
    image = IMAGE.replace("n,", "1,") if name == "reshape with a 1" else IMAGE
    agree(write(tmp_path / "model.onnx", build(body, tensors, opset, image)), 5)


VGG = (
    "t = Transpose <perm=[0,3,1,2]> (x) a = Conv <pads=[1,1,1,1]> (t, w1, b1) b = Relu(a) "
    "c = MaxPool <kernel_shape=[2,2], strides=[2,2]> (b) d = Conv <pads=[1,1,1,1]> (c, w2, b2) e = Relu(d) "
    "f = MaxPool <kernel_shape=[2,2], strides=[2,2]> (e) g = Transpose <perm=[0,2,3,1]> (f) h = Flatten(g) "
    "i = Gemm(h, w3, b3) y = Softmax(i)"
)
VGG_TENSORS = {"w1": (48, 1, 3, 3), "b1": (48,), "w2": (64, 48, 3, 3), "b2": (64,), "w3": (1024, 10), "b3": (10,)}


def test_a_residual_network(tmp_path):
    path = write(tmp_path / "model.onnx", residual())
    agree(path, 1, 5)
    network, _ = open_onnx(path)
    assert (network.name, network.image, network.classes) == ("onnx 16x16x3, 18 nodes", (16, 16, 3), 10)
    assert network.shapes["initializers/0"].shape == (8, 3, 3, 3)


def test_a_vgg_that_takes_channels_last(tmp_path):
    path = write(tmp_path / "model.onnx", build(VGG, VGG_TENSORS, image="float[n,16,16,1] x"))
    agree(path, 5)
    assert open_onnx(path)[0].image == (16, 16, 1)


def test_a_graph_that_takes_bytes(tmp_path):
    body = "f = Cast <to=1> (x) a = Conv(f, w) b = GlobalAveragePool(a) y = Flatten(b)"
    path = write(tmp_path / "model.onnx", build(body, W, image="uint8[n,3,9,8] x"))
    agree(path, 5)
    assert open_onnx(path)[0].readings == ("0..255", "bgr-0..255", "inverted-0..255")


def test_a_graph_for_four_images_at_once(tmp_path):
    body = "a = Conv(x, w) b = GlobalAveragePool(a) c = Reshape(b, t) y = Sub(c, m)"
    tensors = W | {"t": np.int64([4, -1]), "m": (8,)}
    path = write(tmp_path / "model.onnx", build(body, tensors, image="float[4,3,9,8] x"))
    agree(path, 5)


def test_models_of_one_architecture_are_one_family_and_stack(tmp_path):
    paths = [write(tmp_path / f"{seed}.onnx", residual(seed)) for seed in range(3)]
    network, _ = open_onnx(paths[0])
    assert all(open_onnx(path)[0] is network for path in paths)
    images = images_of(paths[0], 5)
    tensors = [tensors_of(path) for path in paths]
    stacked = {name: np.stack([each[name] for each in tensors]) for name in network.shapes}
    together = jax.jit(jax.vmap(network.logits, (0, None)))(stacked, images)
    assert np.allclose(together, np.stack([runtimes(path, images) for path in paths]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(together[0], together[1], atol=1e-2)


def test_names_do_not_part_families_but_shapes_and_constants_do(tmp_path):
    def fingerprint(body: str, tensors: Shapes) -> str:
        return open_onnx(write(tmp_path / "model.onnx", build(body, tensors)))[0].fingerprint

    body, tensors = "a = Reshape(x, s) y = Gemm(a, w)", {"s": np.int64([-1, 216]), "w": (216, 10)}
    same = fingerprint(body, tensors)
    assert fingerprint("other = Reshape(x, s) y = Gemm(other, v)", {"v": (216, 10), "s": tensors["s"]}) == same
    assert fingerprint(body, tensors | {"w": (216, 9)}) != same
    assert fingerprint(body, tensors | {"s": np.int64([0, 216])}) != same
    assert fingerprint("a = Reshape(x, s) y = Gemm <alpha=2.0> (a, w)", tensors) != same


@pytest.mark.parametrize("kind", [np.float16, "bfloat16", "fields"])
def test_weights_of_every_float_type_are_read_as_float32(kind, tmp_path):
    values = np.array([[1.5, -2.0, 0.25]] * 216, np.float32)
    model = build("a = Flatten(x) y = MatMul(a, w)", {"w": values})
    del model.graph.initializer[:]
    if isinstance(kind, str):
        code = TensorProto.BFLOAT16 if kind == "bfloat16" else TensorProto.FLOAT
        model.graph.initializer.append(helper.make_tensor("w", code, values.shape, values.ravel()))
    else:
        model.graph.initializer.append(numpy_helper.from_array(values.astype(kind), "w"))
    (weights,) = tensors_of(write(tmp_path / "model.onnx", model)).values()
    assert weights.dtype == np.float32
    assert np.array_equal(weights, values)


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path):
    model = build("a = Flatten(x) y = MatMul(a, w)", {"w": (216, 10)})
    model.graph.input.insert(0, helper.make_tensor_value_info("w", TensorProto.FLOAT, (216, 10)))
    agree(write(tmp_path / "model.onnx", model), 1)


def test_the_first_output_with_scores_is_taken(tmp_path):
    model = build("a = Conv(x, w) b = GlobalAveragePool(a) y = Flatten(b)", W)
    model.graph.output.insert(0, helper.make_tensor_value_info("a", TensorProto.FLOAT, None))
    path = write(tmp_path / "model.onnx", model)
    assert ours(path, images_of(path, 2)).shape == (2, 8)
