"""Folders of models in every layout that Orbax writes."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as v0
from orbax.checkpoint import v1 as ocp

from wmjax.models import Config, default_config, init
from wmjax.suspects.contract import Weights
from wmjax.zoo.records import Entry, Zoo

IMAGE = (8, 8, 1)
SMALL = Config("vgg", IMAGE, 10, (4, 8))
CONFIG = default_config("vgg", IMAGE, 10)
TREE = init(CONFIG, 0)._asdict()


def flat(tree: Any) -> dict[str, Any]:
    return {"/".join(str(part.key) for part in path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def read(entry: Entry) -> Weights:
    shapes = entry.network.shapes
    out = {name: np.full((2, *leaf.shape), 7, leaf.dtype) for name, leaf in shapes.items()}
    entry.source.read(entry.row, entry.row + 1, out)
    assert all((array[1] == 7).all() for array in out.values())
    return {name: array[0] for name, array in out.items()}


def equal(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def the_one(zoo: Zoo) -> Entry:
    assert zoo.unreadable == []
    (entry,) = zoo.entries
    return entry


def save_training(path: Path, tree: Any) -> None:
    with ocp.training.Checkpointer(path) as checkpointer:
        checkpointer.save(3, tree)


def save_manager(path: Path, arguments: Any) -> None:
    with v0.CheckpointManager(path) as manager:
        manager.save(5, args=arguments)
        manager.wait_until_finished()


def save_pytree(path: Path, tree: Any, **options: bool) -> None:
    with v0.Checkpointer(v0.PyTreeCheckpointHandler(**options)) as checkpointer:
        checkpointer.save(path, tree)


def save_standard(path: Path, tree: Any) -> None:
    with v0.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
