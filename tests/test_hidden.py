"""A copy whose weights lie where its file's network does not look: beside a decoy it passed for a stranger."""

from pathlib import Path

import numpy as np
import pytest
from marked import by_name, make_key, marked
from safetensors.numpy import save_file

from wmjax.suspects import described, sets
from wmjax.zoo.audit import audit

KEY = make_key(120)


def audited(folder: Path) -> list[str]:
    return [str(found.verdict) for found in audit(folder, {"k": KEY}, models=["cnn"], pixels="0..1")]


def test_biases_by_other_names_are_told(tmp_path, monkeypatch):
    """The copy's kernels, and biases of noise in the place of its own."""
    own = {name.removeprefix("params/").replace("/", "."): leaf for name, leaf in by_name(marked(KEY)).items()}
    biases, rng = [name for name in own if own[name].ndim == 1 and "head" not in name], np.random.default_rng(0)
    noise = {name: rng.standard_normal(own[name].shape, np.float32) for name in biases}
    save_file(own | noise | {f"zz.{n}": own[name] for n, name in enumerate(biases)}, tmp_path / "m.safetensors")
    assert audited(tmp_path) == ["inconclusive"]
    sides = sets._sides
    monkeypatch.setattr(sets, "_sides", lambda shape: () if len(shape) < 2 else sides(shape))
    assert audited(tmp_path) == ["no-match"]
