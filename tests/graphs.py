"""ONNX files made by the `onnx` package, asked here and by ONNX Runtime."""

import json
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper, parser

from wmjax.suspects.contract import NOTHING, Network, Wanted
from wmjax.suspects.formats.onnx import OnnxFile, open_packed
from wmjax.suspects.formats.onnx import open_onnx as onnx_file

Shapes = Mapping[str, tuple[int, ...] | np.ndarray | np.generic]
IMAGE = "float[n,3,9,8] x"


def build(body: str, tensors: Shapes, opset: int = 17, image: str = IMAGE, seed: int = 0) -> onnx.ModelProto:
    """A graph from ONNX's text form; tensors given by shape are drawn, "variance" positive."""
    rng = np.random.default_rng(seed)
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({image}) => (float[n,k] y) {{ {body} }}'
    )
    for name, value in tensors.items():
        if isinstance(value, tuple):
            fan = max(1, int(np.prod(value[1:])))
            value = (rng.standard_normal(value) / np.sqrt(fan)).astype(np.float32)
            value = np.abs(value) + np.float32(0.5) if "variance" in name else value
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def networks_of(path: Path, wanted: Wanted = NOTHING) -> list[tuple[Network, OnnxFile]]:
    """Each of a file's networks; a pack's description remakes all of them."""
    found, source = onnx_file(path, wanted)
    for network in {network for _, network in found if network.shapes}:
        again = open_packed(json.loads(json.dumps(network.description)), path, wanted)
        assert network in [other for _, other in again]
    return [(network, source) for network in dict.fromkeys(network for _, network in found)]


def open_onnx(path: Path, wanted: Wanted = NOTHING) -> tuple[Network, OnnxFile]:
    """The first of a file's networks."""
    return networks_of(path, wanted)[0]


def varint(number: int) -> bytes:
    """A protobuf's whole number: seven bits a byte, the lowest first."""
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def tensors_of(path: Path, opened: tuple[Network, OnnxFile] | None = None) -> dict[str, np.ndarray]:
    """The weights of a file's first network, or of the one that is given."""
    network, source = opened or open_onnx(path)
    out = {name: np.full((2, *leaf.shape), 77, leaf.dtype) for name, leaf in network.shapes.items()}
    source.read(0, 1, out)
    assert all((value[1] == 77).all() for value in out.values() if value.dtype != bool)
    return {name: value[0] for name, value in out.items()}


def images_of(path: Path, n: int) -> np.ndarray:
    return np.random.default_rng(n).integers(0, 256, (n, *open_onnx(path)[0].image), np.uint8)


def ours(path: Path, images: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(open_onnx(path)[0].logits)(tensors_of(path), images))


def runtimes(path: Path, images: np.ndarray, scale: float = 255.0) -> np.ndarray:
    """What ONNX Runtime answers about pixels over a scale, asked in groups where the file takes a fixed number."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # some round on the way
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (value,) = session.get_inputs()
    pixels = images if value.type == "tensor(uint8)" else images.astype(np.float32) / np.float32(scale)
    pixels = pixels if value.shape[3] in (1, 3) else pixels.transpose(0, 3, 1, 2)
    batch = value.shape[0] if isinstance(value.shape[0], int) else len(images)
    pixels = np.concatenate([pixels, np.repeat(pixels[-1:], -len(images) % batch, 0)])
    parts = [session.run(None, {value.name: pixels[at : at + batch]})[0] for at in range(0, len(pixels), batch)]
    return np.concatenate(parts)[: len(images)]


def agree(path: Path, *batches: int) -> None:
    for n in batches:
        images = images_of(path, n)
        expected, found = runtimes(path, images), ours(path, images)
        assert found.dtype == np.float32
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-4 * max(1e-3, np.abs(expected).max())


W = {"w": (8, 3, 3, 3)}


FIVE = {"s": (3,), "b": (3,), "m": (3,), "variance": (3,)}


def residual(seed: int = 0, width: int = 8) -> onnx.ModelProto:
    """Stem, a block with a projected skip, a grouped block, global mean, dense."""
    body, tensors = [], {}

    def conv(out: str, x: str, inputs: int, outputs: int, size: int, stride: int, group: int = 1) -> None:
        pad = size // 2
        tensors.update({f"{out}w": (outputs, inputs // group, size, size)})
        tensors.update({f"{out}{part}": (outputs,) for part in ("s", "b", "m", "variance")})
        body.append(
            f"{out}c = Conv <pads=[{pad},{pad},{pad},{pad}], strides=[{stride},{stride}], group={group}> ({x}, {out}w) "
            f"{out} = BatchNormalization({out}c, {out}s, {out}b, {out}m, {out}variance)"
        )

    conv("a", "x", 3, width, 3, 1)
    body.append("ar = Relu(a)")
    conv("b", "ar", width, 2 * width, 3, 2)
    body.append("br = Relu(b)")
    conv("c", "br", 2 * width, 2 * width, 3, 1)
    conv("d", "ar", width, 2 * width, 1, 2)
    body.append("e = Add(c, d) er = Relu(e)")
    conv("f", "er", 2 * width, 2 * width, 3, 1, 2 * width)
    body.append("g = Add(f, er) p = GlobalAveragePool(g) q = Flatten(p) y = Gemm <transB=1> (q, w, v)")
    tensors.update(w=(10, 2 * width), v=(10,))
    return build(" ".join(body), tensors, image="float[n,3,16,16] x", seed=seed)
