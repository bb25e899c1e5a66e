"""One small network in every form in which people keep theirs, each written by the library that people write it with.

The network is two convolutions with batch norm and two dense layers on 32x32x3 pictures; `flax_net` and `torch_net` are
the same function of the same weights. `FORMS` says how each form is written: `write(folder, weights, key)`.
"""

import contextlib
import io
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, serialization
from orbax.checkpoint import v1 as ocp

import wmjax
from wmjax.suspects.pixels import prepare

logging.getLogger().setLevel(logging.ERROR)  # ONNX Runtime's tools advise
IMAGE, CLASSES, WIDTHS, HIDDEN = (32, 32, 3), 10, (12, 24), 64
Tree = Any  # {"params": ..., "batch_stats": ...}
Write = Callable[[Path, Tree, np.ndarray], None]  # the images are for those who calibrate


class Net(linen.Module):
    """The network in Flax."""

    @linen.compact
    def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
        """Scores [n, classes] of prepared images [n, H, W, C]."""
        for i, width in enumerate(WIDTHS):
            x = linen.Conv(width, (3, 3), strides=2, padding=1, name=f"conv{i}")(x)
            x = linen.relu(linen.BatchNorm(use_running_average=not train, name=f"norm{i}")(x))
        x = linen.relu(linen.Dense(HIDDEN, name="hidden")(x.reshape(x.shape[0], -1)))
        return linen.Dense(CLASSES, name="head")(x)


def flax_net() -> linen.Module:
    """As `--model experiments.suspects.real_forms:flax_net`."""
    return Net()


def torch_net() -> Any:
    """As `--model experiments.suspects.real_forms:torch_net`."""
    import torch
    from torch import nn

    class Flat(nn.Module):
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    layers: list[tuple[str, Any]] = []
    for i, (came, width) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False)):
        layers += [(f"conv{i}", nn.Conv2d(came, width, 3, 2, 1)), (f"norm{i}", nn.BatchNorm2d(width))]
        layers += [(f"relu{i}", nn.ReLU())]
    layers += [("flat", Flat()), ("hidden", nn.Linear(WIDTHS[-1] * 64, HIDDEN)), ("relu", nn.ReLU())]
    layers += [("head", nn.Linear(HIDDEN, CLASSES))]
    return torch.nn.Sequential(OrderedDict(layers)).eval()


def fitted(images: np.ndarray, labels: np.ndarray, way: str, seed: int, steps: int = 150, after: int = 300) -> Tree:
    """A network that learned these pictures, prepared in this way; its running figures are those of the pictures."""
    net, x = Net(), prepare(jnp.asarray(images), (way,))
    deviation = x.std(axis=(0, 1, 2)).reshape(1, 1, -1, 1)
    variables = net.init(jax.random.key(seed), x[:1])
    params, rule = variables["params"], optax.adam(3e-3)
    params["conv0"]["kernel"] = params["conv0"]["kernel"] / deviation  # whatever their range is, pixels come in alike
    stats = variables["batch_stats"]

    @jax.jit
    def step(params: Tree, state: Any, stats: Tree) -> tuple[Tree, Any, Tree]:
        def loss(params: Tree) -> tuple[jax.Array, Tree]:
            scores, new = net.apply({"params": params, "batch_stats": stats}, x, train=True, mutable=["batch_stats"])
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean(), new["batch_stats"]

        gradient, new = jax.grad(loss, has_aux=True)(params)
        updates, state = rule.update(gradient, state)
        return optax.apply_updates(params, updates), state, new

    state = rule.init(params)
    for _ in range(steps):
        params, state, stats = step(params, state, stats)
    frozen = params
    for _ in range(after):  # the running figures follow
        _, _, stats = step(frozen, state, stats)
    return jax.tree.map(np.asarray, {"params": frozen, "batch_stats": stats})


def scores(weights: Tree, images: np.ndarray, way: str) -> np.ndarray:
    """What the network answers, float32 [n, classes]."""
    return np.asarray(Net().apply(weights, prepare(jnp.asarray(images), (way,))))


def named(weights: Tree) -> dict[str, np.ndarray]:
    """The tensors by their names in PyTorch, in its layout."""
    params, stats, found = weights["params"], weights["batch_stats"], {}
    for name, layer in params.items():
        if "scale" in layer:
            found |= {f"{name}.weight": layer["scale"], f"{name}.bias": layer["bias"]}
            found |= {f"{name}.running_mean": stats[name]["mean"], f"{name}.running_var": stats[name]["var"]}
            continue
        kernel = np.asarray(layer["kernel"])
        turned = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        found |= {f"{name}.weight": turned, f"{name}.bias": layer["bias"]}
    return {name: np.array(value, np.float32, order="C") for name, value in found.items()}


def module(weights: Tree) -> Any:
    """The network in PyTorch, with its weights."""
    import torch

    net = torch_net()
    net.load_state_dict({name: torch.from_numpy(value) for name, value in named(weights).items()}, strict=False)
    for layer in net:
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.eps = 1e-5
    return net.eval()


def flat(weights: Tree) -> dict[str, np.ndarray]:
    """The tensors by their paths in Flax."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {"/".join(str(part.key) for part in path): np.asarray(leaf) for path, leaf in leaves}


def cast(weights: Tree, dtype: Any) -> Tree:
    """The weights in another type."""
    return jax.tree.map(lambda leaf: np.asarray(jnp.asarray(leaf).astype(dtype)), weights)


def save(path: Path, tensors: dict[str, Any]) -> None:
    """A safetensors file."""
    from safetensors.flax import save_file

    save_file({name: jnp.asarray(value) for name, value in tensors.items()}, path)


def _orbax(folder: Path, tree: Any) -> None:
    ocp.save(folder / "checkpoint", jax.tree.map(jnp.asarray, tree))


def _averaged(folder: Path, weights: Tree, images: np.ndarray) -> None:
    """A training that keeps an average beside its weights: the average is the copy, the weights have moved on."""
    moved = jax.tree.map(lambda leaf: leaf + np.float32(0.5) * np.abs(leaf).mean().astype(np.float32), weights)
    _orbax(folder, {"ema": weights, **moved})


def _states(folder: Path, weights: Tree, images: np.ndarray) -> None:
    state = optax.adam(1e-3).init(weights["params"])
    _orbax(folder, {"step": np.int32(7), "opt_state": state, **weights})


def _torch_save(name: str) -> Write:
    def write(folder: Path, weights: Tree, images: np.ndarray) -> None:
        import torch

        torch.save(module(weights).state_dict(), folder / name)

    return write


def _script(folder: Path, weights: Tree, images: np.ndarray) -> None:
    import torch

    torch.jit.trace(module(weights), torch.zeros(1, 3, *IMAGE[:2])).save(folder / "model.pt")


def _torch_program(folder: Path, weights: Tree, images: np.ndarray) -> None:
    import torch

    torch.export.save(torch.export.export(module(weights), (torch.zeros(1, 3, *IMAGE[:2]),)), folder / "model.pt2")


def _keras(name: str) -> Write:
    def write(folder: Path, weights: Tree, images: np.ndarray) -> None:
        os.environ["KERAS_BACKEND"] = "jax"
        from keras import Sequential, layers

        net, params, stats = Sequential([layers.Input(IMAGE)]), weights["params"], weights["batch_stats"]
        for i, width in enumerate(WIDTHS):
            conv, norm = params[f"conv{i}"], params[f"norm{i}"]
            net.add(layers.ZeroPadding2D(1))
            net.add(layers.Conv2D(width, 3, strides=2))
            net.layers[-1].set_weights([conv["kernel"], conv["bias"]])
            net.add(layers.BatchNormalization(epsilon=1e-5))
            moving = stats[f"norm{i}"]
            net.layers[-1].set_weights([norm["scale"], norm["bias"], moving["mean"], moving["var"]])
            net.add(layers.ReLU())
        net.add(layers.Flatten())
        for dense, size in (("hidden", HIDDEN), ("head", CLASSES)):
            net.add(layers.Dense(size, activation="relu" if dense == "hidden" else None))
            net.layers[-1].set_weights([params[dense]["kernel"], params[dense]["bias"]])
        net.save(folder / name)

    return write


def _sharded(folder: Path, weights: Tree, images: np.ndarray) -> None:
    import json

    tensors = list(named(weights).items())
    halves = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
    places = {}
    for i, half in enumerate(halves, 1):
        name = f"model-{i:05d}-of-00002.safetensors"
        save(folder / name, dict(half))
        places |= {tensor: name for tensor, _ in half}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def _exported(folder: Path, weights: Tree, *, dynamo: bool = False, external: bool = False, half: bool = False) -> Path:
    """An ONNX file, as `torch.onnx.export` writes it."""
    import torch

    net, x, file = module(weights), torch.zeros(1, 3, *IMAGE[:2]), folder / "model.onnx"
    if half:
        net, x = net.half(), x.half()
    free: dict[str, Any] = {"dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}, "opset_version": 17}
    if dynamo:
        free = {"dynamic_shapes": ({0: torch.export.Dim("n")},), "external_data": external}
    with contextlib.redirect_stdout(io.StringIO()):
        torch.onnx.export(net, (x,), str(file), input_names=["x"], output_names=["y"], dynamo=dynamo, **free)
    return file


def _onnx(**options: bool) -> Write:
    return lambda folder, weights, images: (_exported(folder, weights, **options), None)[1]


def _packed(folder: Path, weights: Tree, images: np.ndarray) -> None:
    """As `wmjax pack` stacks ONNX files."""
    with tempfile.TemporaryDirectory() as zoo:
        _exported(Path(zoo), weights)
        wmjax.pack(zoo, folder)


def _quantised(how: str) -> Write:
    """As ONNX Runtime's tools make int8 of a file."""

    def write(folder: Path, weights: Tree, images: np.ndarray) -> None:
        from onnxruntime import quantization as q

        source = _exported(folder, weights).rename(folder / "float.tmp")
        out = folder / "model.onnx"
        if how == "dynamic":
            q.quantize_dynamic(source, out)
        else:
            way = np.asarray(prepare(jnp.asarray(images), (_way_of(folder),))).transpose(0, 3, 1, 2)

            class Reader(q.CalibrationDataReader):  # type: ignore[misc]
                def __init__(self) -> None:
                    self.left = iter([{"x": way}])

                def get_next(self) -> Any:
                    return next(self.left, None)

            form = q.QuantFormat.QDQ if how == "QDQ" else q.QuantFormat.QOperator
            q.quantize_static(source, out, Reader(), quant_format=form, per_channel=how == "QDQ")
        source.unlink()

    return write


def _way_of(folder: Path) -> str:
    """How this copy's pixels are prepared: its folder is called so."""
    return folder.parent.name


def _optimised(folder: Path, weights: Tree, images: np.ndarray) -> None:
    """As ONNX Runtime rewrites a graph for itself."""
    import onnxruntime as rt

    source, options = _exported(folder, weights).rename(folder / "float.tmp"), rt.SessionOptions()
    options.optimized_model_filepath = str(folder / "model.onnx")
    options.graph_optimization_level = rt.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    rt.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    source.unlink()


def _program(folder: Path, weights: Tree, images: np.ndarray) -> None:
    """As `jax.export` writes a function with its weights."""
    held = jax.tree.map(jnp.asarray, weights)
    shape = jax.ShapeDtypeStruct(jax.export.symbolic_shape("n, 32, 32, 3"), jnp.float32)
    (folder / "model.jaxexport").write_bytes(
        jax.export.export(jax.jit(lambda x: Net().apply(held, x)))(shape).serialize()
    )


def _npz(folder: Path, weights: Tree, images: np.ndarray) -> None:
    packed = io.BytesIO()
    np.savez(packed, **flat(weights))
    (folder / "model.npz").write_bytes(packed.getvalue())


FORMS: dict[str, Write] = {
    "safetensors float32": lambda f, w, _: save(f / "model.safetensors", flat(w)),
    "safetensors bfloat16": lambda f, w, _: save(f / "model.safetensors", flat(cast(w, jnp.bfloat16))),
    "safetensors float16": lambda f, w, _: save(f / "model.safetensors", flat(cast(w, jnp.float16))),
    "safetensors PyTorch": lambda f, w, _: save(f / "model.safetensors", named(w)),
    "safetensors sharded": _sharded,
    "Orbax": lambda f, w, _: _orbax(f, w),
    "Orbax TrainState": _states,
    "Orbax average": _averaged,
    "Orbax replicated": lambda f, w, _: _orbax(f, jax.tree.map(lambda leaf: np.stack([leaf, leaf]), w)),
    "Orbax bfloat16": lambda f, w, _: _orbax(f, cast(w, jnp.bfloat16)),
    "Flax msgpack": lambda f, w, _: (f / "flax_model.msgpack").write_bytes(serialization.to_bytes(w)) and None,
    "npz": _npz,
    "jax.export": _program,
    "pt": _torch_save("model.pt"),
    "pth": _torch_save("model.pth"),
    "TorchScript": _script,
    "torch.export": _torch_program,
    "Keras": _keras("model.keras"),
    "Keras HDF5": _keras("model.h5"),
    "ONNX": _onnx(),
    "ONNX dynamo": _onnx(dynamo=True),
    "ONNX external": _onnx(dynamo=True, external=True),
    "ONNX float16": _onnx(half=True),
    "ONNX int8 dynamic": _quantised("dynamic"),
    "ONNX int8 QDQ": _quantised("QDQ"),
    "ONNX int8 QOperator": _quantised("QOperator"),
    "ONNX optimised": _optimised,
    "ONNX packed": _packed,
}
