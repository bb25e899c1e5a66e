"""Which networks' ONNX files are read, and how far the answers are from ONNX Runtime's.

Reads every ONNX file of a folder, as `torch_exports.py` writes them, and asks each about the same pictures here and by
ONNX Runtime without its optimisations. A difference is relative to the largest score. `--zoo` adds the classifiers of
the ONNX model zoo whose graphs, without their weights, come with the package onnx; they get random weights.

Command   python experiments/suspects/onnx_exports.py FOLDER --zoo
Time      40 minutes (2 CPU cores)
Expected  every file is read, with differences below 1e-5
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from experiments import fragment
from experiments.record import write
from wmjax.errors import WmjaxError
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats.onnx import open_onnx

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
WANTED = Wanted(images=((64, 64, 3),), pixels="0..1")
_IMAGES = 3


def zoo_model(path: Path, seed: int) -> onnx.ModelProto:
    """A graph of the model zoo with random weights in the place of the nodes that stand for them."""
    model = onnx.load(path)
    rng = np.random.default_rng(seed)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = tuple(shapes[node.input[0]])
        fan = max(1, int(np.prod(shape[1:])))
        values = rng.normal(size=shape) * np.sqrt(2 / fan) if len(shape) > 1 else rng.uniform(0.5, 1.5, shape)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    last = model.graph.node[-1]
    if last.op_type == "Softmax":  # of random weights it would be 0 or 1, and hide all differences
        model.graph.output[0].name = last.input[0]
        model.graph.node.remove(last)
    return model


def theirs(path: Path, images: np.ndarray) -> np.ndarray:
    """ONNX Runtime's scores of images in 0..1, [n, classes], asked in groups where the file takes a fixed number."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 2
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    value = session.get_inputs()[0]
    pixels = images.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255)
    batch = value.shape[0] if isinstance(value.shape[0], int) else len(images)
    parts = [session.run(None, {value.name: pixels[at : at + batch]})[0] for at in range(0, len(pixels), batch)]
    return np.concatenate(parts).reshape(len(images), -1)


def measured(path: Path) -> dict[str, Any]:
    """What became of one file."""
    began = time.perf_counter()
    try:
        ((_, network), *_), source = open_onnx(path, WANTED)
        weights = {name: np.zeros((1, *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()}
        source.read(0, 1, weights)
    except WmjaxError as error:
        return {"read": False, "why": str(error).replace(str(path), path.name)}
    opened = time.perf_counter() - began
    images = np.random.default_rng(0).integers(0, 256, (_IMAGES, *network.image), np.uint8)
    ours = np.asarray(jax.jit(network.logits)({name: array[0] for name, array in weights.items()}, images))
    jax.clear_caches()  # more than a hundred networks' programs would not fit
    expected = theirs(path, images)
    difference = float(np.abs(ours - expected).max() / np.abs(expected).max())
    same = bool((ours.argmax(1) == expected.argmax(1)).all())
    return {"read": True, "difference": difference, "same_class": same, "seconds_to_open": round(opened, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--zoo", action="store_true", help="also the graphs of the model zoo")
    parser.add_argument("--only", default="", help="files whose names contain this; nothing is recorded")
    arguments = parser.parse_args()
    files: dict[str, Any] = {}
    for path in sorted(path for path in arguments.folder.glob("*.onnx") if arguments.only in path.name):
        files[path.name] = measured(path)
        print(path.name, files[path.name], flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for seed, graph in enumerate(sorted(LIGHT.glob("*.onnx")) if arguments.zoo else []):
            path = Path(folder) / graph.name.replace("light_", "zoo-")
            path.write_bytes(zoo_model(graph, seed).SerializeToString())
            files[path.name] = measured(path)
            print(path.name, files[path.name], flush=True)
            path.unlink()
    read = [file for file in files.values() if file["read"]]
    figures = {
        "files": len(files),
        "read": len(read),
        "largest_difference": max((file["difference"] for file in read), default=None),
        "above_1e-5": sorted(name for name, file in files.items() if file.get("difference", 0) > 1e-5),
        "onnxruntime": onnxruntime.__version__,
        "by_file": files,
    }
    if not arguments.only:
        write("onnx_exports", figures)


def rows(figures: dict[str, Any]) -> list[str]:
    return [
        fragment.row(
            "exports of torchvision, timm and the ONNX model zoo that are read",
            f"{figures['read']} of {figures['files']}",
            f"largest difference from ONNX Runtime {figures['largest_difference']:.1g} of the largest score",
            fragment.source(figures, __file__),
        )
    ]


if __name__ == "__main__":
    main()
