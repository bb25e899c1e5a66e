"""Three marked steps of two networks on whatever devices there are; run by test_mapping.py, not a test itself."""

import json
import sys
from pathlib import Path

import jax
import numpy as np

from wmjax.models import Config, init
from wmjax.train import Batch, Inputs, Recipe, all_devices, make_program, plan_of, schedule_of
from wmjax.train.shift import Directions, Shift
from wmjax.train.step import first_state

NETS = {
    "dropout": Config("cnn", (8, 8, 1), 10, (4,), (8,), 0.25),
    "batch norm": Config("vgg", (8, 8, 1), 10, (4,)),
    "shift": Config("vgg", (8, 8, 1), 10, (4,)),
}
# Three triggers a batch: on 8 devices with 2 rows each they lie on two devices, and one is half theirs.
RECIPE = Recipe(epochs=1, batch=16, seed=3, learning_rate=0.05, flip=True, crop=1, key_per_batch=3)


def steps(kind: str, net: str, streamed: bool = False) -> dict[str, np.ndarray]:
    """Loss, accuracy and weights after three steps, by name."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (64, 8, 8, 1), np.uint8), rng.integers(0, 10, 64).astype(np.int32)
    rows = rng.permutation(64)[:48].reshape(3, 16).astype(np.int32)
    mapping = all_devices(kind)  # type: ignore[arg-type]
    mine = rows[:, mapping.share(16)]
    data: Batch | None = Batch(*mapping.replicate((images, labels)))
    picks = mapping.divide(mine)
    if streamed:
        data, picks = None, Batch(*mapping.divide((images[mine], labels[mine])))
    triggers = Batch(*mapping.replicate((images[::-1][:7], labels[:7])))
    begin = first_state(init(NETS[net], RECIPE.seed))
    state, seed, schedule = mapping.replicate((begin, np.int32(3), schedule_of(RECIPE, 64)))
    program = make_program(plan_of(NETS[net], RECIPE, mapping))
    moved = mapping.replicate(shift(NETS[net])) if net == "shift" else None
    state, metrics = program(state, Inputs(seed, schedule, data, picks, triggers, shift=moved))
    tree = {"loss": metrics.loss, "accuracy": metrics.accuracy, **state.variables._asdict()}
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path): np.asarray(leaf.addressable_data(0)) for path, leaf in leaves}


def shift(config: Config) -> Shift:
    """Twenty features of another network, as strong as its logits."""
    rng, classes = np.random.default_rng(1), config.classes
    shapes = {"seen": (12, 20), "logits": (classes, 20), "probabilities": (classes, 20), "bias": (20,)}
    directions = Directions(**{name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()})
    by = (rng.standard_normal((20, classes)) / 4).astype(np.float32)
    return Shift(init(config, 8), directions, by, np.float32(0.25))


def main(out: str, asked: str, coordinator: str, processes: int, process: int) -> None:
    """Writes what `steps` gives for each (mapping, network) asked for, by the first process."""
    if processes > 1:
        jax.distributed.initialize(coordinator, processes, process, initialization_timeout=60)
    found = {f"{kind}/{net}/{name}": a for kind, net in json.loads(asked) for name, a in steps(kind, net).items()}
    if process == 0:
        np.savez(Path(out), **found)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
