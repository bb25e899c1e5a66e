"""Keras's files: asked in a process of their own, in all readings; what holds code is refused."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from marked import make_key

from wmjax.errors import InvalidFile, UsageError
from wmjax.suspects import outputs
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import foreign
from wmjax.suspects.recognise import recognise
from wmjax.zoo.audit import audit

KEY = make_key()
WANTED = Wanted.by([KEY.spec])
pytestmark = pytest.mark.filterwarnings("ignore")  # Keras has many


@pytest.fixture(scope="module")
def keras() -> Any:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    return pytest.importorskip("keras", reason="needs Keras: pip install 'wmjax[keras]'")


def saved(keras: Any, path: Path, *, shift: float = 0.0, image: tuple[int, ...] = (8, 8, 1)) -> Path:
    """A network that answers the key's triggers with their labels, of pixels in 0..1, or -1..1 where shifted."""
    layers = keras.layers
    model = keras.Sequential([layers.Input(image), layers.Rescaling(0.5 / 0.5, shift), layers.Flatten()])
    model.add(layers.Dense(10))
    pixels = KEY.images.reshape(len(KEY.images), -1) / 255
    kernel, *_ = np.linalg.lstsq(pixels, 8 * np.eye(10)[KEY.labels], rcond=None)
    model.layers[-1].set_weights([kernel.astype(np.float32), np.zeros(10, np.float32)])
    model.save(path)
    return path


def test_a_keras_file_is_asked(keras, tmp_path):
    saved(keras, tmp_path / "copy.keras")
    saved(keras, tmp_path / "old.h5", shift=-1.0)
    saved(keras, tmp_path / "row.keras", image=(64,))
    saved(keras, tmp_path / "grey.keras", image=(8, 8))
    keras.utils.set_random_seed(0)
    keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(
        tmp_path / "other.keras"
    )
    result = audit(tmp_path, {"k": KEY})
    assert result.unreadable == []
    verdicts = {
        "copy.keras": "match",
        "old.h5": "match",
        "row.keras": "match",
        "grey.keras": "match",
        "other.keras": "no-match",
    }
    assert {found.model: found.verdict for found in result} == verdicts
    (stored,) = recognise(tmp_path / "copy.keras", WANTED)
    assert stored.network.name == "keras 8x8x1"
    assert len(stored.network.readings) == 10


def test_what_is_no_classifier_of_images_is_refused(keras, tmp_path):
    layers = keras.layers
    keras.Sequential([layers.Input((13,)), layers.Dense(10)]).save(tmp_path / "row.keras")
    keras.Sequential([layers.Input((8, 8, 1)), layers.Conv2D(4, 3)]).save(tmp_path / "maps.keras")
    keras.Sequential([layers.Input((8, 8, 1)), layers.Dense(10)]).save_weights(tmp_path / "bare.weights.h5")
    reasons = {"row.keras": "rows of 13 numbers", "maps.keras": "none of its outputs", "bare.weights.h5": "No model"}
    for name, reason in reasons.items():
        with pytest.raises(InvalidFile, match=reason) as refused:
            recognise(tmp_path / name, WANTED)
        assert "\n" not in str(refused.value)


def test_code_in_a_file_is_not_run(keras, tmp_path):
    """A Lambda layer, and a description that names a function of Python's own."""
    layers, left = keras.layers, tmp_path / "ran"
    code = keras.Sequential([layers.Input((8, 8, 1)), layers.Lambda(lambda x: x), layers.Flatten(), layers.Dense(10)])
    for ending in ("keras", "h5"):
        code.save(tmp_path / f"code.{ending}")
    _renamed(saved(keras, tmp_path / "plain.keras"), tmp_path / "named.keras", str(left))
    for name in ("code.keras", "code.h5", "named.keras"):
        with pytest.raises(InvalidFile) as refused:
            recognise(tmp_path / name, WANTED)
        assert "\n" not in str(refused.value)
    assert not left.exists()


def _renamed(path: Path, to: Path, left: str) -> None:
    """A copy whose first layer is `os.system`."""
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(to, "w") as written:
        for item in read.namelist():
            data = read.read(item)
            if item == "config.json":
                values = json.loads(data)
                values["config"]["layers"][1].update(
                    module="os", class_name="system", registered_name=None, config={"command": f"touch {left}"}
                )
                data = json.dumps(values).encode()
            written.writestr(item, data)


def test_without_keras_it_says_what_to_install(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "some.keras", "w") as archive:
        archive.writestr("model.weights.h5", b"")
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"wmjax\[keras\]"):
        recognise(tmp_path / "some.keras", WANTED)


def _beside(path: Path, kernel: np.ndarray) -> None:
    """Puts a copy's weights into a file, where Keras does not look."""
    import h5py

    with h5py.File(path, "a") as file:
        file["backup/kernel"] = kernel


@pytest.mark.parametrize("where", ["group", "inner group", "member"])
def test_weights_that_keras_does_not_read_are_told(where, keras, tmp_path, monkeypatch):
    """A copy beside a decoy: in a group of its own, or as a member of the archive; and the rule taken out."""
    keras.utils.set_random_seed(0)
    layers, path = keras.layers, tmp_path / ("m.h5" if where == "group" else "m.keras")
    decoy = keras.Sequential([layers.Input((8, 8, 1)), layers.Normalization(), layers.Flatten(), layers.Dense(10)])
    decoy.compile("adam", "mse", metrics=["accuracy"])
    with jax.numpy_rank_promotion("allow"):
        decoy.fit(KEY.images[:20] / 255, np.eye(10)[KEY.labels[:20]], verbose=0)  # an optimiser's are no copy's
    decoy.save(path)
    (before,) = audit(tmp_path, {"k": KEY})
    assert before.verdict == "no-match"
    kernel = np.ones((64, 10), np.float32)
    if where == "group":
        _beside(path, kernel)
    else:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        if where == "member":
            members["backup.npy"] = kernel.tobytes()
        else:
            (tmp_path / "inner").write_bytes(members["model.weights.h5"])
            _beside(tmp_path / "inner", kernel)
            members["model.weights.h5"] = (tmp_path / "inner").read_bytes()
            (tmp_path / "inner").unlink()
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
    (found,) = audit(tmp_path, {"k": KEY})
    assert found.verdict == "inconclusive"
    monkeypatch.setattr(outputs, "leaves_out", lambda *_: False)
    (found,) = audit(tmp_path, {"k": KEY})
    assert found.verdict == "no-match"
