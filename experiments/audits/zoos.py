"""What the audit's experiments share: zoos of random networks, networks to audit, works in processes of their own.

A script's `worker(NAME, ...)` makes a work: a function that does something once and returns JSON values, its seconds
among them. `process` has that done in a process of its own, `in_turn` by several of them one after another.
"""

import contextlib
import dataclasses
import functools
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from wmjax import checkpoint
from wmjax.keys import Key, derive_key, generate, make_spec, write_key
from wmjax.keys.specify import default_rule
from wmjax.models import Config, Variables, shapes
from wmjax.suspects.contract import Network, Weights
from wmjax.zoo.pack import write_packs
from wmjax.zoo.records import Entry, Zoo

Work = Callable[[], dict[str, Any]]
TINY = Config("cnn", (8, 8, 1), 10, (8,), (32,))  # for trials of the scripts


class LeNet(nnx.Module):
    """LeNet-5 (LeCun et al. 1998) with ReLU and max pooling, for images of 28x28x1."""

    def __init__(self, rngs: nnx.Rngs):
        self.convs = nnx.List([nnx.Conv(1, 6, (5, 5), rngs=rngs), nnx.Conv(6, 16, (5, 5), padding="VALID", rngs=rngs)])
        self.dense = nnx.List([nnx.Linear(400, 120, rngs=rngs), nnx.Linear(120, 84, rngs=rngs)])
        self.head = nnx.Linear(84, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        for conv in self.convs:
            x = nnx.max_pool(nnx.relu(conv(x)), (2, 2), strides=(2, 2))
        x = x.reshape(len(x), -1)
        for dense in self.dense:
            x = nnx.relu(dense(x))
        return self.head(x)


class Thin(nnx.Module):
    """1.1 million weights and almost no arithmetic: each pixel of an 8x8x1 image looks up a row of a table."""

    def __init__(self, rngs: nnx.Rngs):
        self.table, self.head = nnx.Embed(64 * 256, 68, rngs=rngs), nnx.Linear(68, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.table(x).mean(axis=1))


def lenet(rngs: nnx.Rngs) -> tuple[nnx.Module, Callable[[jax.Array], jax.Array]]:
    """As `--model zoos:lenet`; its pixels are in 0..1."""
    return LeNet(rngs), lambda images: images.astype(jnp.float32) / 255.0


def thin(rngs: nnx.Rngs) -> tuple[nnx.Module, Callable[[jax.Array], jax.Array]]:
    """As `--model zoos:thin`."""
    places = 256 * np.arange(64, dtype=np.int32)
    return Thin(rngs), lambda images: images.reshape(-1, 64).astype(jnp.int32) + places[None]


def draw(network: Network, seed: int) -> Weights:
    """Random weights of a network: He normal kernels, unit scales and variances, other vectors zero.

    But its head's bias is such that no class is ahead of the others, in the mean over some pictures of a key: a trained
    network uses all of its classes, where a random one may answer the same to everything.
    """
    rng, weights = np.random.default_rng([seed, 0x5A00]), {}
    for name, leaf in network.shapes.items():
        if len(leaf.shape) > 1:
            deviation = np.float32(math.sqrt(2 / math.prod(leaf.shape[:-1])))
            weights[name] = deviation * rng.standard_normal(leaf.shape, np.float32)
        else:
            weights[name] = np.full(leaf.shape, float(name.endswith(("/scale", "/var"))), np.float32)
    (bias,) = (name for name in weights if name.endswith("head/bias"))
    answer, pictures = _answering(network)
    weights[bias] = -np.asarray(answer(weights, pictures)).mean(axis=0)
    return weights


@functools.cache
def _answering(network: Network) -> tuple[Callable[[Weights, np.ndarray], jax.Array], np.ndarray]:
    """What answers for networks of a kind, and the pictures."""
    spec = make_spec("abstract", image=network.image, classes=network.classes, triggers=16)
    return jax.jit(network.logits), derive_key(bytes(32), spec, default_rule(spec)).images


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """A `Source` of random networks that takes no room on a disk; every 16th is the thief where there is one."""

    network: Network
    thief: Weights | None = None

    def model(self, row: int) -> Weights:
        """The weights of one."""
        return self.thief if self.thief is not None and row % 16 == 0 else draw(self.network, row)

    def read(self, start: int, stop: int, out: Weights) -> None:
        """As a zoo's other sources."""
        for row in range(start, stop):
            for name, leaf in self.model(row).items():
                out[name][row - start] = leaf


def stacked(network: Network, models: int, thief: Weights | None = None) -> Weights:
    """Random networks in memory, [models, ...]."""
    out = {name: np.empty((models, *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()}
    Drawn(network, thief).read(0, models, out)
    return out


def write_pack(folder: Path, network: Network, models: int) -> Path:
    """Packs random networks that never lay in files of their own."""
    source = Drawn(network)
    entries = [Entry(f"{row:05d}", network, source, row) for row in range(models)]
    return write_packs(Zoo(entries, []), folder).files[0]


def write_loose(folder: Path, config: Config, network: Network, models: int, thief: Weights | None) -> None:
    """Writes random networks as checkpoints, the way that a training run writes its own."""
    source = Drawn(network, thief)
    for row in range(models):
        tree = unflatten(config, source.model(row))._asdict()
        checkpoint.save(folder / f"{row:05d}", tree, checkpoint.Metadata(config))


def flatten(variables: Variables) -> Weights:
    """A network's tensors by name, as a zoo has them."""
    leaves = jax.tree_util.tree_leaves_with_path(variables._asdict())
    return {_name(leaf): np.asarray(leaf[1]) for leaf in leaves}


def unflatten(config: Config, weights: Mapping[str, Any]) -> Variables:
    """The way back from `flatten`."""
    leaves, treedef = jax.tree_util.tree_flatten_with_path(shapes(config)._asdict())
    return Variables(**jax.tree.unflatten(treedef, [weights[_name(leaf)] for leaf in leaves]))


def _name(leaf: tuple[Any, Any]) -> str:
    return "/".join(str(part.key) for part in leaf[0])


def write_keys(folder: Path, image: tuple[int, int, int], keys: int, triggers: int) -> list[Key]:
    """Draws abstract keys for ten classes, and writes them with what opens them."""
    spec = make_spec("abstract", image=image, classes=10, triggers=triggers)
    made = [generate(spec) for _ in range(keys)]
    folder.mkdir()
    for number, key in enumerate(made):
        write_key(key, folder / f"key-{number:02d}", recipients=[], passphrase=None)
    return made


def environment(cache: Path, *, all_cores: bool) -> dict[str, str]:
    """For a process that remembers nothing of earlier ones: no compiled programs, no measured widths.

    Args:
      cache: where it may remember; empty at first.
      all_cores: each core of a CPU is a device, as in `wmjax audit`; else all are one, as in any program with JAX.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    clean.pop("JAX_NUM_CPU_DEVICES", None)
    clean["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[2]), clean.get("PYTHONPATH", "")])
    cores = {"JAX_NUM_CPU_DEVICES": str(len(os.sched_getaffinity(0)))} if all_cores else {}
    return clean | cores | {"XDG_CACHE_HOME": str(cache)}


@contextlib.contextmanager
def process(
    script: str, *arguments: object, all_cores: bool = False, python: str = sys.executable
) -> Iterator[Callable[[], Any]]:
    """A work in a process of its own, ready to begin: the function given has it done once and gives what it gave."""
    command = [python, script, "--worker", *map(str, arguments)]
    with (
        tempfile.TemporaryDirectory() as cache,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(Path(cache), all_cores=all_cores),
            cwd=Path(__file__).parent,
        ) as child,
    ):
        questions, answers = child.stdin, child.stdout
        assert questions is not None
        assert answers is not None

        def answer() -> Any:
            if not (line := answers.readline()):
                raise RuntimeError(f"{' '.join(command)} ended: what it wrote above says why")
            return json.loads(line)

        def turn() -> Any:
            try:
                print("go", file=questions, flush=True)
            except BrokenPipeError as error:  # it ended before it was asked
                raise RuntimeError(f"{' '.join(command)} ended: what it wrote above says why") from error
            return answer()

        answer()  # it is ready: what it had to prepare does not slow down the others' first call
        try:
            yield turn
        finally:
            with contextlib.suppress(BrokenPipeError):
                questions.close()  # then the process ends


def serve(work: Work) -> None:
    """The other side of `process`: says that it is ready, then does the work whenever a line comes."""
    print('"ready"', flush=True)
    for _ in sys.stdin:
        print(json.dumps(work()), flush=True)


def in_turn(
    turns: Mapping[str, Callable[[], Any]], repeats: int
) -> tuple[dict[str, dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """What each work returned first, when it compiled, and then in `repeats` rounds; who begins a round changes."""
    first = {name: turn() for name, turn in turns.items()}
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in turns}
    for number in range(repeats):
        at = number % len(turns)
        for name in [*turns][at:] + [*turns][:at]:
            rounds[name].append(turns[name]())
    return first, rounds


def column(rounds: list[dict[str, Any]], name: str) -> np.ndarray:
    """One figure of all rounds, float64."""
    return np.array([each[name] for each in rounds], np.float64)
