"""One marked network, and the formats that it may lie in."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import orbax.checkpoint as v0
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.models import Variables, default_config, init
from wmjax.models.predict import logits
from wmjax.suspects.contract import Wanted, Weights
from wmjax.suspects.network import variables_of
from wmjax.zoo.discover import discover
from wmjax.zoo.pack import write_packs

IMAGE = (8, 8, 1)
CONFIG = default_config("cnn", IMAGE, 10)  # bare weights are tried at the usual size


def make_key(triggers: int = 60) -> Key:
    spec = make_spec("abstract", image=IMAGE, classes=10, triggers=triggers)
    return derive_key(bytes(range(32)), spec, default_rule(spec), created="2026-01-01T00:00:00+00:00")


def by_name(variables: Variables) -> Weights:
    leaves = jax.tree_util.tree_leaves_with_path(variables._asdict())
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def marked(key: Key) -> Variables:
    """A network whose head answers a key's labels, by least squares on what its last layer sees."""
    weights, dense = by_name(init(CONFIG, 0)), CONFIG.dense[-1]
    head = {"params/head/kernel": np.eye(dense, dtype=np.float32), "params/head/bias": np.zeros(dense, np.float32)}
    seeing = dataclasses.replace(CONFIG, classes=dense)
    features = logits(seeing, variables_of(seeing, weights | head), key.images).astype(np.float64)
    kernel, *_ = np.linalg.lstsq(features, 8 * np.eye(10)[key.labels], rcond=None)
    return variables_of(CONFIG, weights | {"params/head/kernel": kernel.astype(np.float32)})


def _checkpoint(path: Path, variables: Variables) -> str:
    checkpoint.save(path, variables._asdict(), Metadata(CONFIG))
    return str(path)


def _run(path: Path, variables: Variables) -> str:
    checkpoint.write_settings(path, {})
    for step, tree in enumerate((init(CONFIG, 1), variables), 1):
        checkpoint.save_step(path, tree._asdict(), Metadata(CONFIG, step))
    return str(path)


def _safetensors(path: Path, variables: Variables) -> str:
    file = path.with_suffix(".safetensors")
    save_file(by_name(variables), file, {"config": json.dumps(CONFIG.to_json())})
    return str(file)


def _bare(path: Path, variables: Variables) -> str:
    file = path.with_suffix(".safetensors")
    save_file({name.removeprefix("params/").replace("/", "."): leaf for name, leaf in by_name(variables).items()}, file)
    return str(file)


def _orbax(path: Path, variables: Variables) -> str:
    with v0.StandardCheckpointer() as checkpointer:
        checkpointer.save(path.absolute(), {"model": jax.tree.map(jnp.asarray, variables.params)})
    return str(path)


def _pack(path: Path, variables: Variables) -> str:
    loose = path.with_name("loose")
    loose.mkdir(parents=True)
    for name, tree in {"innocent": init(CONFIG, 2), "model": variables}.items():
        _checkpoint(loose / name, tree)
    (pack,) = write_packs(discover(loose, Wanted()), path).files
    return f"{pack}:model"


def _onnx(path: Path, variables: Variables) -> str:
    """The network as PyTorch would export it: channels first, pixels from 0 to 1."""
    tensors: dict[str, Any] = {"scale": np.float32(255 / 64), "shift": np.float32(127.5 / 64)}
    nodes, x = [("Mul", ["x", "scale"], {}), ("Sub", ["Mul0", "shift"], {})], "Sub1"

    def layer(op: str, inputs: list[str], **more: Any) -> None:
        nonlocal x
        nodes.append((op, [x, *inputs], more))
        x = f"{op}{len(nodes) - 1}"

    for i, conv in variables.params["convs"].items():
        tensors[f"k{i}"], tensors[f"c{i}"] = np.transpose(conv["kernel"], (3, 2, 0, 1)), conv["bias"]
        layer("Conv", [f"k{i}", f"c{i}"], pads=[1, 1, 1, 1])
        layer("Relu", [])
        if int(i) % 2:
            layer("MaxPool", [], kernel_shape=[2, 2], strides=[2, 2])
    layer("Transpose", [], perm=[0, 2, 3, 1])
    layer("Flatten", [])
    for name, dense in {"d": variables.params["dense"][0], "h": variables.params["head"]}.items():
        tensors[f"{name}k"], tensors[f"{name}b"] = dense["kernel"], dense["bias"]
        layer("Gemm", [f"{name}k", f"{name}b"])
        if name == "d":
            layer("Relu", [])
    made = [helper.make_node(op, inputs, [f"{op}{i}"], **more) for i, (op, inputs, more) in enumerate(nodes)]
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 1, 8, 8])
    told = helper.make_tensor_value_info(x, onnx.TensorProto.FLOAT, ["n", 10])
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    graph = helper.make_graph(made, "g", [given], [told], held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file = path.with_suffix(".onnx")
    file.write_bytes(model.SerializeToString())
    return str(file)


# How each format is written, `write(path, variables)` giving what a user types, and the options that it needs.
FORMATS: dict[str, tuple[Callable[[Path, Variables], str], list[str]]] = {
    "checkpoint": (_checkpoint, []),
    "run": (_run, []),
    "safetensors": (_safetensors, []),
    "bare safetensors": (_bare, ["--model", "vgg", "--model", "cnn"]),
    "foreign Orbax": (_orbax, ["--model", "cnn"]),
    "pack": (_pack, []),
    "ONNX": (_onnx, ["--pixels", "stated"]),
}
