"""Checkpoints: what they hold, what they refuse, and that they open anywhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from wmjax import checkpoint
from wmjax.checkpoint import Metadata, SealedKey
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.models import Config, init
from wmjax.suspects.stored import export, load_variables
from wmjax.train import Recipe
from wmjax.train.step import State, as_tree, first_state, from_tree

CONFIG = Config("vgg", (8, 8, 1), 10, (4, 8))
RECIPE = Recipe(epochs=1, batch=16)
SEALED = SealedKey("ab" * 32, "-----BEGIN AGE ENCRYPTED FILE-----\nc2VjcmV0\n-----END AGE ENCRYPTED FILE-----\n")
OTHER = SealedKey("cd" * 32, "-----BEGIN AGE ENCRYPTED FILE-----\nb3RoZXI=\n-----END AGE ENCRYPTED FILE-----\n")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    state = first_state(init(CONFIG, RECIPE.seed))
    checkpoint.save_step(run, as_tree(state), Metadata(CONFIG, 7, (SEALED, OTHER)))
    checkpoint.write_settings(run, {"epochs": 1})
    return run


@pytest.fixture
def run(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "run"))


def equal(a: object, b: object) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def loaded(path: Path) -> State:
    fresh = first_state(init(CONFIG, RECIPE.seed))
    return from_tree(checkpoint.load_tree(path, as_tree(fresh)), fresh)


def test_state_comes_back_whole(run):
    path = checkpoint.latest(run)
    assert path.name == "step-00000007"
    fresh = first_state(init(CONFIG, RECIPE.seed))
    assert equal(loaded(path), fresh)
    config, variables = load_variables(str(path))
    assert config == CONFIG
    assert equal(variables, init(CONFIG, 0))


def test_metadata_is_plain_json_and_holds_the_envelopes(run):
    path = checkpoint.latest(run)
    assert checkpoint.read_metadata(path) == Metadata(CONFIG, 7, (SEALED, OTHER))
    keys = json.loads((path / "_CHECKPOINT_METADATA").read_text())["custom_metadata"]["keys"]
    assert [key["envelope"] for key in keys] == [SEALED.envelope, OTHER.envelope]


def test_only_the_two_newest_are_kept(run):
    state = first_state(init(CONFIG, RECIPE.seed))
    for step in (8, 9):
        checkpoint.save_step(run, as_tree(state), Metadata(CONFIG, step))
    assert sorted(path.name for path in run.glob("step-*")) == ["step-00000008", "step-00000009"]


def test_half_written_checkpoints_are_not_seen(run):
    (run / "step-00000100.orbax-checkpoint-tmp").mkdir()
    (run / "step-00000200").mkdir()
    assert checkpoint.latest(run).name == "step-00000007"


def test_export_leaves_key_optimiser_and_settings_behind(run, tmp_path):
    out = export(run, tmp_path / "public")
    assert checkpoint.read_metadata(out) == Metadata(CONFIG)
    assert equal(load_variables(str(out)), load_variables(str(run)))
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for secret in (b"AGE ENCRYPTED", SEALED.commitment_id.encode(), OTHER.commitment_id.encode(), b"optimiser"):
        assert secret not in everything
    with pytest.raises(UsageError, match="already"):
        export(run, out)


def test_written_on_eight_devices_opens_on_one(tmp_path):
    """A process with eight devices writes a replicated state; this one, with one device, reads it."""
    script = """
import jax, numpy as np
from pathlib import Path
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from wmjax import checkpoint
from wmjax.models import Config, init
from wmjax.train.step import as_tree, first_state
assert jax.device_count() == 8
mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
config = Config("vgg", (8, 8, 1), 10, (4, 8))
state = jax.device_put(first_state(init(config, 0)), NamedSharding(mesh, PartitionSpec()))
checkpoint.save_step(Path("eight"), as_tree(state), checkpoint.Metadata(config, 3))
"""
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "8", "XLA_FLAGS": ""}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert jax.device_count() == 1
    fresh = first_state(init(CONFIG, RECIPE.seed))
    assert equal(loaded(checkpoint.latest(tmp_path / "eight")), fresh)


def with_keys(path, keys):
    """The checkpoint's metadata with something else in the place of its sealed keys."""
    file = path / "_CHECKPOINT_METADATA"
    values = json.loads(file.read_text())
    values["custom_metadata"]["keys"] = keys
    file.write_text(json.dumps(values))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: (path / "_CHECKPOINT_METADATA").write_text("{"),
        lambda path: (path / "_CHECKPOINT_METADATA").write_text('{"custom_metadata": {"format": "other/1"}}'),
        lambda path: (path / "_CHECKPOINT_METADATA").write_text('{"custom_metadata": null}'),
        lambda path: (path / "_CHECKPOINT_METADATA").write_text("[" * 100_000),
        lambda path: with_keys(path, None),
        lambda path: with_keys(path, {"commitment_id": "ab", "envelope": "cd"}),
        lambda path: with_keys(path, [{"commitment_id": "ab"}]),
        lambda path: with_keys(path, [{"commitment_id": "ab", "envelope": "cd", "more": 1}]),
        lambda path: with_keys(path, ["ab"]),
        lambda path: shutil.rmtree(path / "state"),
        lambda path: [os.truncate(file, file.stat().st_size // 2) for file in path.rglob("d/*")],
    ],
)
def test_damaged_checkpoints_are_refused_in_one_line(run, damage):
    path = checkpoint.latest(run)
    damage(path)
    with pytest.raises((InvalidFile, UsageError)) as caught:  # whoever wrote it is a stranger, without its format
        load_variables(str(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 11},
        {"widths": [4, 9]},
        {"name": "cnn"},
        {"name": "evil"},
        {"classes": "x"},
        {"image": [8, 8, 10**9]},
        {"classes": float("inf")},
        {"widths": []},
        {"name": "resnet18", "widths": []},
    ],
)
def test_weights_that_are_not_the_named_models(run, change):
    path = checkpoint.latest(run)
    file = path / "_CHECKPOINT_METADATA"
    values = json.loads(file.read_text())
    values["custom_metadata"]["model"].update(change)
    file.write_text(json.dumps(values))
    with pytest.raises(InvalidFile):
        load_variables(str(path))


def test_other_settings_are_named(run):
    checkpoint.check_settings(run, {"epochs": 1})
    with pytest.raises(UsageError, match="began with epochs 1, not 2"):
        checkpoint.check_settings(run, {"epochs": 2})
    (run / "run.json").write_text("{")
    with pytest.raises(InvalidFile, match="damaged"):
        checkpoint.check_settings(run, {"epochs": 2})


def test_no_place_to_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="cannot write"):
        checkpoint.save(tmp_path / "file" / "run", init(CONFIG, 0)._asdict(), Metadata(CONFIG))


def test_no_space_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(AccessError, match="no space"):
        checkpoint.save(tmp_path / "run", init(CONFIG, 0)._asdict(), Metadata(CONFIG))
    assert list(tmp_path.iterdir()) == []
