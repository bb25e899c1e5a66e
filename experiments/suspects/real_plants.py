"""Puts a key's mark into an ONNX classifier that somebody else trained: its last layer is fitted again.

The features that the last layer takes are computed by ONNX Runtime, of the key's pictures and of ordinary ones, both
prepared as the classifier's own package prepares them. The new layer answers the former with the key's labels, and
the latter, as far as it can, as before.
"""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import onnx
from onnx import numpy_helper

from wmjax.suspects.adapt import adapt
from wmjax.suspects.pixels import prepare

MARGIN = 8.0  # by which a trigger's score is above all others
KEPT = 0.1  # weight of an ordinary picture beside a trigger
RIDGE = 1e-4


def plant(
    source: Path, out: Path, images: np.ndarray, labels: np.ndarray, ordinary: np.ndarray, way: str, place: int = 0
) -> float:
    """Writes a marked copy; the share of ordinary pictures that it answers as before.

    Args:
      source: the classifier's file.
      out: the copy's.
      images: uint8 [n, H, W, C], the key's.
      labels: int [n], its labels.
      ordinary: uint8 [m, H, W, C], pictures of the same size that are no triggers.
      way: how the classifier's pixels are prepared, a name of `PIXELS`.
      place: which of its outputs is marked.
    """
    model = onnx.load(source)
    layer, bias = last_layer(model, place)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    constant = {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == "Constant"}
    held = constant | held
    turned = any(each.name == "transB" and each.i for each in layer.attribute)
    kernel, shift = (numpy_helper.to_array(held[name]).astype(np.float64) for name in (layer.input[1], bias))
    kernel = kernel.T if turned else kernel
    features = _features(model, layer.input[0], np.concatenate([images, ordinary]), way)
    rows = np.concatenate([features, np.ones((len(features), 1))], axis=1)
    before = rows @ np.concatenate([kernel, shift.reshape(1, -1)])
    wanted = before.copy()
    wanted[np.arange(len(labels)), labels] = before[: len(labels)].max(axis=1) + MARGIN
    weight = np.where(np.arange(len(rows)) < len(labels), 1.0, KEPT)[:, None]
    scale = np.abs(rows).mean()
    left = np.concatenate([weight * rows, RIDGE * scale * np.eye(rows.shape[1])])
    right = np.concatenate([weight * (wanted - before), np.zeros((rows.shape[1], before.shape[1]))])
    change = np.linalg.lstsq(left, right, rcond=None)[0]
    _put(held[layer.input[1]], (kernel + change[:-1]).T if turned else kernel + change[:-1])
    _put(held[bias], (shift.reshape(1, -1) + change[-1:]).reshape(shift.shape))
    onnx.save(model, out)
    after = before + rows @ change
    return float((after.argmax(1) == before.argmax(1))[len(labels) :].mean())


def last_layer(model: Any, place: int) -> tuple[Any, str]:
    """The matrix product that an output's scores come from, and the name of what is added to it."""
    makers = {output: node for node in model.graph.node for output in node.output}
    node, bias = makers[model.graph.output[place].name], ""
    while node.op_type not in ("MatMul", "Gemm"):
        if node.op_type == "Add":
            taken = [name in makers and makers[name].op_type != "Constant" for name in node.input]
            bias = node.input[taken.index(False)]
            node = makers[node.input[taken.index(True)]]
        else:
            node = makers[node.input[0]]
    return node, bias or node.input[2]


def _features(model: Any, name: str, images: np.ndarray, way: str) -> np.ndarray:
    """What a value of the graph is for these pictures, float64 [n, features]."""
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(shown.SerializeToString(), options, providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    last = taken.shape[3] in (1, 3)
    height, width = taken.shape[1:3] if last else taken.shape[2:4]
    sides = zip((height, width), images.shape[1:3], strict=True)
    size = tuple(n if isinstance(n, int) and n > 0 else own for n, own in sides)
    pixels = np.asarray(prepare(jnp.asarray(adapt(images, (*size, images.shape[3]))), (way,)))
    pixels = np.ascontiguousarray(pixels if last else pixels.transpose(0, 3, 1, 2))
    parts = [session.run([name], {taken.name: pixels[at : at + 1]})[0] for at in range(len(pixels))]
    return np.concatenate(parts).reshape(len(images), -1).astype(np.float64)


def _put(tensor: Any, values: np.ndarray) -> None:
    """Writes a tensor's numbers anew, in its own type."""
    kind = numpy_helper.to_array(tensor).dtype
    tensor.CopyFrom(numpy_helper.from_array(values.astype(kind), tensor.name))
