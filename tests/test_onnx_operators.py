"""ONNX operators answer as ONNX Runtime says: many in one graph, each with an output of its own."""

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
import pytest
from graphs import Shapes, W, build
from onnx import helper

from wmjax.suspects.formats.onnx_read import read_graph
from wmjax.suspects.formats.onnx_run import run
from wmjax.suspects.formats.onnx_tensors import array

Cases = Mapping[str, tuple[str, Shapes]]
INT8, UINT8 = np.int8, np.uint8


def ints(*shape: int, kind: type = np.int8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(np.iinfo(kind).min, np.iinfo(kind).max, shape, kind, endpoint=True)


# Each body computes y of x, [n, 3, 9, 8] in 0..1.
SHAPES: Cases = {
    "split": ("a, b = Split <axis=1> (x, s) y = Concat <axis=1> (b, a)", {"s": np.int64([1, 2])}),
    "split evenly": ("a, b, c = Split <axis=-3> (x) y = Sub(a, c)", {}),
    "expand as vision transformers do": (
        "s = Shape(t) e = Equal(s, m) o = ConstantOfShape <value=int64[1]{1}> (k) w = Where(e, o, s) y = Expand(t, w)",
        {"t": (1, 3, 1, 4), "m": np.int64([-1, -1, 1, -1]), "k": np.int64([4])},
    ),
    "range, mod, not": (
        "i = Range(z, e, o) r = Mod(i, two) f = Cast <to=9> (r) g = Not(f) b = Cast <to=1> (g) y = Mul(x, b)",
        {"z": np.int64(0), "e": np.int64(8), "o": np.int64(1), "two": np.int64([2])},
    ),
    "sizes by division": (
        "s = Shape <start=2> (x) f = Cast <to=1> (s) g = Div(f, h) c = Ceil(g) l = Floor(g) d = Concat <axis=0> (c, l) "
        "t = Cast <to=7> (d) p = ReduceProd <keepdims=0> (t) o = Unsqueeze(p, z) q = Range(a, p, b) y = Gather(q, z)",
        {"h": np.float32([2]), "z": np.int64([0]), "a": np.int64(0), "b": np.int64(1)},
    ),
    "scatter": ("y = ScatterND(x, i, u)", {"i": np.int64([[0, 0], [0, 2]]), "u": (2, 9, 8)}),
    "scatter of what is known": (
        "a = ConstantOfShape <value=float[1]{0}> (k) b = ScatterND(a, i, u) c = Equal(b, z) d = Cast <to=1> (c) "
        "y = Mul(x, d)",
        {"k": np.int64([9, 8]), "i": np.int64([[0], [5]]), "u": np.ones((2, 8), np.float32), "z": np.float32(0)},
    ),
    "scatter elements": (
        'y = ScatterElements <axis=1, reduction="add"> (x, i, u)',
        {"i": np.int64([[[[2, 0]]]]), "u": (1, 1, 1, 2)},
    ),
    "gather nd": ("y = GatherND(x, i)", {"i": np.int64([[0, 2, 1], [0, 0, -1]])}),
    "gather nd in batches": ("y = GatherND <batch_dims=1> (w, i)", {"w": (2, 3, 4), "i": np.int64([[[1]], [[0]]])}),
    "gather elements": ("y = GatherElements <axis=2> (w, i)", {"w": (2, 2, 4), "i": np.int64([[[1, 0]], [[3, 2]]])}),
    "gather by what is computed": ("i = ArgMax <axis=3, keepdims=0> (x) y = Gather(w, i)", {"w": (8, 2)}),
    "tile": ("y = Tile(x, r)", {"r": np.int64([1, 2, 1, 3])}),
    "where it is not a number": (
        "c = Sub(x, h) l = Log(c) i = IsNaN(l) y = Where(i, x, l)",
        {"h": np.float32([0.3])},
    ),
    "triangles": ("a = Trilu <upper=0> (x, k) b = Trilu(x) y = Concat <axis=1> (a, b)", {"k": np.int64(-1)}),
    "sums so far": ("a = CumSum <exclusive=1, reverse=1> (x, d) b = CumSum(x, d) y = Sub(a, b)", {"d": np.int64(2)}),
    "depth and space": (
        'a = Slice(x, b, e, d) c = SpaceToDepth <blocksize=2> (a) f = DepthToSpace <blocksize=2, mode="CRD"> (c) '
        "y = DepthToSpace <blocksize=2> (c) z = Identity(f)",
        {"b": np.int64([0]), "e": np.int64([8]), "d": np.int64([2])},
    ),
    "the best": ("a, i = TopK <axis=1> (x, k) j = Cast <to=1> (i) y = Concat <axis=1> (a, j)", {"k": np.int64([2])}),
    "classes": (
        "a = ArgMin <axis=3, select_last_index=1> (x) b = Cast <to=7> (a) y = OneHot <axis=1> (b, d, v)",
        {"d": np.int64(8), "v": np.float32([0.5, 2])},
    ),
}
NUMBERS: Cases = {
    "logic": (
        "a = Greater(x, h) b = LessOrEqual(x, q) c = And(a, b) d = Or(a, c) e = Xor(d, b) f = Less(x, q) "
        "g = GreaterOrEqual(x, h) i = And(f, g) k = Not(i) l = Or(e, k) m = Equal(l, a) y = Cast <to=1> (m)",
        {"h": np.float32([0.2]), "q": np.float32([[0.7]])},
    ),
    "rounding": (
        "t = Mul(x, six) c = Sub(t, h) a = Ceil(c) b = Floor(c) r = Round(c) s = Sign(c) m = Mod <fmod=1> (c, two) "
        "y = Concat <axis=1> (a, b, r, s, m)",
        {"six": np.float32(6), "h": np.float32(2.5), "two": np.float32(2)},
    ),
    "functions": (
        "c = Sub(x, h) a1 = Reciprocal(c) a2 = Sin(c) a3 = Cos(c) a4 = Selu(c) a5 = Celu <alpha=2.0> (c) "
        "a6 = Softsign(c) a7 = ThresholdedRelu <alpha=0.1> (c) a8 = IsInf <detect_positive=0> (a1) "
        "y = Concat <axis=1> (a1, a2, a3, a4, a5, a6, a7)",
        {"h": np.float32([0.503])},
    ),
    "whole numbers": ("a = Mul(x, k) i = Cast <to=6> (a) j = Sub(i, m) y = Div(j, t)", {
        "k": np.float32(40), "m": np.int32(20), "t": np.int32([3])}),
    "sums": ("a = Sum(x, x, h) b = Mean(a, x) c = Max(a, b, h) y = Min(c, x)", {"h": (3, 1, 1)}),
    "reductions": (
        "a = ReduceL1 <axes=[2,3]> (x) b = ReduceL2 <axes=[2,3]> (x) c = ReduceMin <axes=[2,3]> (x) "
        "d = ReduceProd <axes=[2,3]> (x) e = ReduceSumSquare <axes=[2,3]> (x) f = ReduceLogSumExp <axes=[2,3]> (x) "
        "g = ReduceLogSum <axes=[2,3]> (x) y = Concat <axis=1> (a, b, c, d, e, f, g)",
        {},
    ),
    "local response": ("y = LRN <size=3, alpha=0.3, beta=0.6, bias=1.5> (x)", {}),
    "instance norm": ("y = InstanceNormalization <epsilon=0.01> (x, s, b)", {"s": (3,), "b": (3,)}),
    "norms of length": ("a = LpNormalization <axis=1> (x) y = LpNormalization <axis=2, p=1> (a)", {}),
    "einsum": ('y = Einsum <equation="nchw, kc -> nkhw"> (x, w)', {"w": (5, 3)}),
    "weights that are standardised": (
        "f = Reshape(w, s) z, m2, v2 = BatchNormalization <training_mode=1, epsilon=0.001> (f, g, b, zero, one) "
        "k = Reshape(z, t) y = Conv(x, k)",
        W | {"s": np.int64([1, 8, -1]), "t": np.int64([8, 3, 3, 3]), "g": (8,), "b": (8,),
             "zero": np.zeros(8, np.float32), "one": np.ones(8, np.float32)},
    ),
    "a line": (
        "a = Reshape(x, s) b = Conv <pads=[1,1], strides=[2]> (a, w) c = MaxPool <kernel_shape=[3]> (b) "
        "y = AveragePool <kernel_shape=[2], pads=[1,0]> (c)",
        {"s": np.int64([0, 3, -1]), "w": (4, 3, 3)},
    ),
    "a volume": (
        "a = Reshape(x, s) b = Conv <group=3> (a, w) c = AveragePool <kernel_shape=[1,2,2], ceil_mode=1> (b) "
        "y = MaxPool <kernel_shape=[1,2,1]> (c)",
        {"s": np.int64([0, 3, 2, 6, 6]), "w": (6, 1, 2, 3, 3)},
    ),
    "pools of the same size, dilated": (
        'a = MaxPool <kernel_shape=[3,2], dilations=[2,3], auto_pad="SAME_UPPER"> (x) y = Flatten(a)',
        {},
    ),
    "pools of the same size, dilated, in strides": (
        'a = MaxPool <kernel_shape=[2,3], dilations=[3,2], strides=[2,1], auto_pad="SAME_LOWER"> (x) y = Flatten(a)',
        {},
    ),
    "softmax of scores": ("a = Flatten(x) y = Softmax <axis=1> (a)", {}),
    **{
        f"resize {number}": (f"y = Resize <{how}> (x, , f)", {"f": np.float32([1, 1, *factors])})
        for number, (how, factors) in enumerate(
            {
                'mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"': (2, 2),
                'mode="nearest"': (0.6, 1.7),
                'mode="nearest", nearest_mode="ceil", coordinate_transformation_mode="align_corners"': (1.5, 0.5),
                'mode="nearest", nearest_mode="round_prefer_ceil"': (3, 0.7),
                'mode="linear"': (2, 0.5),
                'mode="linear", coordinate_transformation_mode="align_corners"': (1.6, 0.7),
                'mode="linear", coordinate_transformation_mode="pytorch_half_pixel"': (1.6, 0.2),
                'mode="cubic"': (1.7, 0.6),
                'mode="cubic", cubic_coeff_a=-0.5, exclude_outside=1': (2, 0.9),
            }.items()
        )
    },
    "resize to a size": ('y = Resize <mode="linear"> (x, , , f)', {"f": np.int64([2, 3, 5, 16])}),
}  # fmt: skip
NEWER: Cases = {  # operator set 20
    "split in parts": ("a, b, c = Split <axis=2, num_outputs=3> (x) y = Concat <axis=2> (c, b, a)", {}),
    "resize, smoothly": ('y = Resize <mode="linear", antialias=1> (x, , f)', {"f": np.float32([1, 1, 0.4, 0.6])}),
    "resize, smoothly, cubic": (
        'y = Resize <mode="cubic", antialias=1, axes=[2,3]> (x, , , f)', {"f": np.int64([4, 5])},
    ),
    "group norm": ("y = GroupNormalization <num_groups=2> (c, s, b)", {"c": (2, 6, 3, 2), "s": (2,), "b": (2,)}),
    "mish": ("y = Mish(x)", {}),
    "reduce": ("y = ReduceL2 <keepdims=0> (x, d)", {"d": np.int64([1, -1])}),
    "half symmetric": (
        'y = Resize <mode="linear", coordinate_transformation_mode="half_pixel_symmetric"> (x, , f)',
        {"f": np.float32([1, 1, 1.3, 0.7])},
    ),
    "wrapped": ('y = Pad <mode="wrap"> (x, p)', {"p": np.int64([0, 0, 1, 2, 0, 0, 0, 3])}),
}  # fmt: skip
OLDER: Cases = {  # operator set 9
    "upsample": ('y = Upsample <mode="linear"> (x, f)', {"f": np.float32([1, 1, 2, 3])}),
    "upsample to the nearest": ("y = Upsample(x, f)", {"f": np.float32([1, 1, 1.5, 2])}),
    "split": ("a, b = Split <axis=3, split=[3,5]> (x) y = Concat <axis=3> (b, a)", {}),
}
SCALE = {"xs": np.float32(0.004), "xz": np.uint8(3), "ys": np.float32(0.02), "yz": np.uint8(110)}
BYTES = "q = QuantizeLinear(x, xs, xz) "
QUANTISED: Cases = {
    "to bytes and back": (BYTES + "y = DequantizeLinear(q, xs, xz)", SCALE),
    "by channel": (
        "q = QuantizeLinear <axis=1> (x, s, z) y = DequantizeLinear <axis=1> (q, s, z)",
        {"s": np.float32([0.1, 0.01, 0.02]), "z": np.int8([1, -5, 0])},
    ),
    "weights and bias": (
        "k = DequantizeLinear <axis=0> (w, s, z) b = DequantizeLinear <axis=0> (c, s) y = Conv(x, k, b)",
        {"w": ints(4, 3, 3, 3), "s": np.float32([0.1, 0.01, 0.02, 0.3]), "z": np.int8([0, 0, 0, 0]),
         "c": np.int32([5, -9, 1000, 2])},
    ),
    "convolution": (
        BYTES + "y = QLinearConv <pads=[1,1,1,1]> (q, xs, xz, w, ws, wz, ys, yz, b)",
        {"w": ints(4, 3, 3, 3), "ws": np.float32([0.01, 0.02, 0.03, 0.01]), "wz": np.int8([0, 0, 0, 0]),
         "b": np.int32([100, -90, 1000, 2])} | SCALE,
    ),
    "convolution of whole numbers": (
        BYTES + "y = ConvInteger(q, w, xz, wz)", {"w": ints(4, 3, 3, 3), "wz": np.int8(0)} | SCALE,
    ),
    "products": (
        BYTES + "y = QLinearMatMul(q, xs, xz, w, ws, wz, ys, yz)",
        {"w": ints(8, 5), "ws": np.float32(0.03), "wz": np.int8(0)} | SCALE,
    ),
    "products of whole numbers": (
        BYTES + "y = MatMulInteger(q, w, xz, wz)", {"w": ints(8, 5, kind=UINT8), "wz": np.uint8(7)} | SCALE,
    ),
    "pool of bytes": (BYTES + "y = MaxPool <kernel_shape=[2,2]> (q)", SCALE),
    "scaled on the way": ("q, s, z = DynamicQuantizeLinear(x) y = DequantizeLinear(q, s, z)", {}),
}  # fmt: skip
MS = "com.microsoft."
MICROSOFT: Cases = {
    "add": (BYTES + f"y = {MS}QLinearAdd(q, xs, xz, w, ws, wz, ys, yz)", {"w": ints(3, 9, 8, kind=UINT8),
            "ws": np.float32(0.01), "wz": np.uint8(128)} | SCALE),
    "multiply": (BYTES + f"y = {MS}QLinearMul(q, xs, xz, w, ws, wz, ys, yz)", {"w": ints(3, 1, 1, kind=UINT8),
                 "ws": np.float32(0.01), "wz": np.uint8(128)} | SCALE),
    "sigmoid": (BYTES + f"y = {MS}QLinearSigmoid(q, xs, xz, ys, xz)", SCALE),
    "leaky": (BYTES + f"y = {MS}QLinearLeakyRelu <alpha=0.1> (q, xs, xz, ys, yz)", SCALE),
    "mean": (BYTES + f"y = {MS}QLinearGlobalAveragePool <channels_last=0> (q, xs, xz, ys, yz)", SCALE),
    "means": (BYTES + f"y = {MS}QLinearAveragePool <kernel_shape=[2,3]> (q, xs, xz, ys, yz)", SCALE),
    "joined": (BYTES + f"y = {MS}QLinearConcat <axis=1> (ys, yz, q, xs, xz, q, ys, xz)", SCALE),
    "gemm": (
        BYTES + f"f = Flatten(q) y = {MS}QGemm <transB=1> (f, xs, xz, w, ws, wz, b, ys, yz)",
        {"w": ints(5, 216), "ws": np.float32([0.01, 0.02, 0.03, 0.01, 0.05]), "wz": np.int8([0] * 5),
         "b": np.int32([100, -90, 1000, 2, 7])} | SCALE,
    ),
    "gemm to floats": (
        BYTES + f"f = Flatten(q) y = {MS}QGemm(f, xs, xz, w, ws, wz)",
        {"w": ints(216, 5), "ws": np.float32(0.01), "wz": np.int8(0)} | SCALE,
    ),
    "to floats": (
        BYTES + f"y = {MS}MatMulIntegerToFloat(q, w, xs, ws, xz, wz, b)",
        {"w": ints(8, 5), "ws": np.float32(0.01), "wz": np.int8(0), "b": (5,)} | SCALE,
    ),
    "scaled on the way": (
        f"y = {MS}DynamicQuantizeMatMul(x, w, ws, wz)", {"w": ints(8, 5), "ws": np.float32(0.01), "wz": np.int8(0)},
    ),
    "fused convolution": (
        f'y = {MS}FusedConv <activation="LeakyRelu", activation_params=[0.2], pads=[1,1,1,1]> (x, w, b)',
        W | {"b": (8,)},
    ),
    "fused gemm": (
        f'f = Flatten(x) y = {MS}FusedGemm <activation="LeakyRelu", activation_alpha=0.3, transB=1> (f, w, b)',
        {"w": (5, 216), "b": (5,)},
    ),
    "fused products": (f"y = {MS}FusedMatMul <alpha=0.5, transB=1> (x, w)", {"w": (5, 8)}),
    "gelus": (
        f"a = {MS}Gelu(x) b = {MS}FastGelu(x, w) c = {MS}BiasGelu(x, w) d = {MS}QuickGelu <alpha=1.5> (x) "
        "y = Concat <axis=1> (a, b, c, d)",
        {"w": (8,)},
    ),
    "norm of a sum": (
        f"f = Flatten <axis=2> (x) g = Reshape(x, t) y = {MS}SkipLayerNormalization <epsilon=0.01> (g, g, w, b)",
        {"w": (8,), "b": (8,), "t": np.int64([0, -1, 8])},
    ),
}  # fmt: skip
GROUPS = {
    "shapes": (SHAPES, 17), "numbers": (NUMBERS, 17), "newer": (NEWER, 20), "older": (OLDER, 9),
    "quantised": (QUANTISED, 17), "microsoft": (MICROSOFT, 17),
}  # fmt: skip


def together(cases: Cases, opset: int) -> onnx.ModelProto:
    """One graph of all cases; the names of each but x begin with its number."""
    model = build("y = Identity(x)", {}, opset)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    del model.graph.node[:], model.graph.output[:]
    for number, (body, tensors) in enumerate(cases.values()):
        part = build(body, tensors, opset).graph
        for names in [*(node.input for node in part.node), *(node.output for node in part.node)]:
            names[:] = [name if name in ("x", "") else f"{number} {name}" for name in names]
        for tensor in part.initializer:
            tensor.name = f"{number} {tensor.name}"
        model.graph.node.extend(part.node)
        model.graph.initializer.extend(part.initializer)
        model.graph.output.append(onnx.ValueInfoProto(name=f"{number} y"))
    return model


@pytest.mark.parametrize("group", GROUPS)
def test_every_operator_agrees_with_onnx_runtime(group):
    cases, opset = GROUPS[group]
    model, path = together(cases, opset), Path("model.onnx")
    pixels = np.random.default_rng(3).random((2, 9, 8, 3), np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_mem_reuse = False  # it is wrong about the sizes of dilated pools
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    expected = session.run(None, {"x": pixels.transpose(0, 3, 1, 2)})
    graph, tensors, *_ = read_graph(model, path)
    weights = {name: array(tensor, path) for name, tensor in tensors.items()}
    found = jax.jit(lambda weights, pixels: run(graph, weights, pixels))(weights, pixels)
    own = found[: len(cases)]  # behind them come scores that may be turned round
    for name, ours, theirs in zip(cases, own, expected, strict=True):
        assert ours.shape == theirs.shape, name
        largest = max(1e-3, np.abs(theirs[np.isfinite(theirs)]).max())
        steps = (
            1.0 if theirs.dtype in (INT8, UINT8) else 1e-5 * largest
        )  # ties of quantised numbers may round otherwise
        np.testing.assert_allclose(ours, theirs.astype(np.float32), 0, steps, err_msg=name)
