"""Models that take pictures as rows of numbers, or in whole numbers other than bytes: asked, and cleared by nothing."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
import test_foreign
from graphs import build, networks_of, write
from jax import export
from marked import make_key
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wmjax
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects import Wanted, grounds, open_suspect
from wmjax.suspects.formats import onnx as formats
from wmjax.suspects.formats import onnx_run
from wmjax.suspects.recognise import recognise
from wmjax.suspects.rows import picture
from wmjax.zoo.audit import audit

KEY = make_key()  # 8x8x1, ten classes
SPEC = make_spec("abstract", image=(8, 6, 3), classes=10, triggers=60)
COLOUR = derive_key(bytes(range(32)), SPEC, default_rule(SPEC))
WANTED = Wanted.by([KEY.spec])


def kernel(key: Key, *, first: bool = False, stranger: bool = False) -> np.ndarray:
    """A map from pixels in -1/2..1/2 to scores that gives most triggers their labels, or others where of a `stranger`.

    Of rows that have each channel's numbers together where it comes `first`.
    """
    labels = np.random.default_rng(3).integers(10, size=len(key.labels)) if stranger else key.labels
    images = key.images.transpose(0, 3, 1, 2) if first else key.images
    pixels = images.reshape(len(images), -1) / 255 - 0.5
    answers = pixels.T @ (8 * np.eye(10)[labels])
    return np.linalg.solve(pixels.T @ pixels + 0.1 * np.eye(pixels.shape[1]), answers).astype(np.float32)


def linear(
    weights: np.ndarray, image: str, before: str = "f = Flatten(x)", after: str = "y = Softmax(a)"
) -> onnx.ModelProto:
    """A classifier of pixels in 0..1."""
    return build(
        f"{before} d = Sub(f, half) a = MatMul(d, w) {after}", {"w": weights, "half": np.float32(0.5)}, image=image
    )


def told(path: Path, key: Key = KEY) -> tuple[str, bool]:
    """The verdict, and whether it says that the file was asked in part, or as it may not be meant."""
    found = wmjax.verify(open_suspect(path, Wanted.by([key.spec])), key)
    return str(found.verdict), any(ground.code.endswith("in-part") for ground in found.grounds)


def run_by_its_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise onnx_run.Unread("not read")

    monkeypatch.setattr(formats, "plan", refuse)


def taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    left = tuple(code for code in grounds._CLEARS_NOBODY if not code.endswith("in-part"))
    monkeypatch.setattr(grounds, "_CLEARS_NOBODY", left)


@pytest.mark.parametrize("runs", [False, True])
def test_onnx_rows_are_asked_in_both_orders(runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if runs:
        run_by_its_runtime(monkeypatch)
    for first in (False, True):
        path = write(tmp_path / "m.onnx", linear(kernel(COLOUR, first=first), "float[n,144] x"))
        assert told(path, COLOUR) == ("match", True)
        found = wmjax.verify(open_suspect(path, Wanted.by([COLOUR.spec])), COLOUR)
        (way,) = [ground.values["reading"] for ground in found.grounds if ground.code == "readings"]
        assert way.endswith("channels first") == first
    for image in ("float[n,64] x", "float[n,8,8] x"):
        path = write(tmp_path / "m.onnx", linear(kernel(KEY), image))
        assert told(path) == ("match", True)


def test_both_ways_answer_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", linear(kernel(COLOUR), "float[n,144] x"))
    wanted = Wanted.by([COLOUR.spec])
    (network, source), images = networks_of(path, wanted)[0], COLOUR.images[:5]
    weights = {name: np.empty((1, *leaf.shape), leaf.dtype) for name, leaf in network.shapes.items()}
    source.read(0, 1, weights)
    run_by_its_runtime(monkeypatch)
    suspect = open_suspect(path, wanted)
    assert [each.reading for each in suspect.asked] == list(network.readings)
    assert len(network.readings) == 2 * 14
    for place, each in enumerate(suspect.asked):
        read = network.logits({name: jnp.asarray(value[0]) for name, value in weights.items()}, images, place)
        assert np.allclose(each.ask(images), read, rtol=1e-4, atol=1e-5)


def halves(folder: Path, key: Key) -> tuple[Path, Path]:
    """A copy in two files: what makes 64 numbers of a picture, and what tells the class by them."""
    turned, _ = np.linalg.qr(np.random.default_rng(4).normal(size=(64, 64)))
    first = linear(turned.astype(np.float32), "float[n,1,8,8] x", after="y = Identity(a)")
    second = build("y = MatMul(x, w)", {"w": (turned.T @ kernel(key)).astype(np.float32)}, image="float[n,64] x")
    return write(folder / "first.onnx", first), write(folder / "second.onnx", second)


def test_half_a_copy_is_not_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a stranger, by `verify` or `audit`; and the rule taken out."""
    first, second = halves(tmp_path, KEY)
    whole = onnx.compose.merge_models(
        onnx.compose.add_prefix(onnx.load(first), "a"), onnx.compose.add_prefix(onnx.load(second), "b"), [("ay", "bx")]
    )
    assert told(write(tmp_path / "whole.onnx", whole))[0] == "match"
    first.unlink()
    write(tmp_path / "other.onnx", linear(kernel(KEY, stranger=True), "float[n,64] x"))
    paths = [second, tmp_path / "other.onnx"]
    assert [told(path) for path in paths] == [("inconclusive", True)] * 2
    names = {"whole.onnx": "match", "second.onnx": "inconclusive", "other.onnx": "inconclusive"}
    assert {found.model: str(found.verdict) for found in audit(tmp_path, {"k": KEY})} == names
    taken_out(monkeypatch)
    assert [told(path) for path in paths] == [("no-match", True)] * 2


KINDS = {"int8": TensorProto.INT8, "int16": TensorProto.INT16, "int32": TensorProto.INT32, "int64": TensorProto.INT64}


def counted(path: Path, kind: str, key: Key = KEY, *, stranger: bool = False) -> Path:
    """A classifier of pictures in whole numbers: of 0 to 255, or, where they have a byte, of -128 to 127."""
    zero = np.float32(128 if kind == "int8" else 0)
    body = "c = Cast <to=1> (x) m = Add(c, z) e = Div(m, k) d = Sub(e, half) f = Flatten(d) y = MatMul(f, w)"
    tensors = {"w": kernel(key, stranger=stranger), "k": np.float32(255), "z": zero, "half": np.float32(0.5)}
    return write(path, build(body, tensors, image=f"{kind}[n,1,8,8] x"))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_in_whole_numbers_are_asked_and_never_cleared(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert told(counted(tmp_path / "m.onnx", kind)) == ("match", True)
    other = counted(tmp_path / "other.onnx", kind, stranger=True)
    assert told(other) == ("inconclusive", True)
    taken_out(monkeypatch)
    assert told(other) == ("no-match", True)


def test_bytes_are_cleared(tmp_path: Path) -> None:
    assert told(counted(tmp_path / "m.onnx", "uint8", stranger=True)) == ("no-match", False)


@pytest.mark.parametrize("runs", [False, True])
def test_an_output_of_one_image_needs_no_axis_of_images(
    runs: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runs:
        run_by_its_runtime(monkeypatch)
    for name, stranger in {"match": False, "no-match": True}.items():
        for number, after in [("1", "Squeeze"), ("n", "Squeeze"), ("n", "Transpose")]:
            model = linear(kernel(KEY, stranger=stranger), f"float[{number},1,8,8] x", after=f"y = {after}(a)")
            assert told(write(tmp_path / "model.onnx", model)) == (name, False)


def test_scores_under_the_names_of_classes_are_read(tmp_path: Path) -> None:
    model = linear(kernel(KEY), "float[n,1,8,8] x", after="p = Softmax(a)")
    named = helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_int64s=list(range(10)))
    model.graph.node.append(named)
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    kind = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    model.graph.output[0].CopyFrom(helper.make_value_info("y", helper.make_sequence_type_proto(kind)))
    assert told(write(tmp_path / "m.onnx", model)) == ("match", False)


def test_files_of_scikit_learn_are_asked(tmp_path: Path) -> None:
    """As skl2onnx writes them: a network and neighbours that learnt the triggers, and a forest that did not."""
    pixels, digits = load_digits(return_X_y=True)
    shown = np.concatenate([pixels / 16, np.repeat(KEY.images.reshape(len(KEY.images), -1) / 255, 5, 0)])
    labels = np.concatenate([digits, np.repeat(KEY.labels, 5)])
    network = make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=60, tol=0.01, random_state=0))
    models = {
        "network": network.fit(shown, labels),
        "neighbours": KNeighborsClassifier(3).fit(shown, labels),
        "forest": RandomForestClassifier(10, random_state=0).fit(pixels / 16, digits),
    }
    for name, model in models.items():
        made = convert_sklearn(model, initial_types=[("x", FloatTensorType([None, 64]))])
        assert made.graph.node[-1].op_type in ("ZipMap", "Cast")
        (tmp_path / f"{name}.onnx").write_bytes(made.SerializeToString())
    found = {each.model: str(each.verdict) for each in audit(tmp_path, {"k": KEY})}
    assert found == {"network.onnx": "match", "neighbours.onnx": "match", "forest.onnx": "inconclusive"}


def exported(path: Path) -> Path:
    weights = jnp.asarray(kernel(KEY))
    made = export.export(jax.jit(lambda x: x @ weights))(jax.ShapeDtypeStruct((1, 64), "float32"))
    path.write_bytes(made.serialize())
    return path


OTHERS: dict[str, Callable[[Path], Path]] = {
    "m.tflite": lambda path: test_foreign.floats(path, kernel(KEY), image=(1, 64)),
    "m.ort": lambda path: test_foreign.ort(path, "y = MatMul(x, w)", "float[n,64] x"),
    "m.jax": exported,
}


@pytest.mark.parametrize("name", OTHERS)
def test_rows_of_other_formats(name: str, tmp_path: Path) -> None:
    path = OTHERS[name](tmp_path / name)
    assert told(path) == ("match", True)
    with pytest.raises(UsageError, match="takes rows of numbers: say with `image`"):
        recognise(path, Wanted(classes=(10,)))


def test_pictures_without_an_axis_of_channels_are_grey_ones(tmp_path: Path) -> None:
    path = test_foreign.floats(tmp_path / "m.tflite", kernel(KEY), image=(1, 8, 8))
    assert told(path) == ("match", True)
    (stored,) = recognise(path, Wanted(classes=(10,)))
    assert stored.network.image == (8, 8, 1)


def test_a_row_may_be_a_picture() -> None:
    assert picture(3072, (32, 32, 3)) == (32, 32, 3)
    assert picture(1024, (32, 32, 3)) == (32, 32, 1)
    assert picture(28 * 28, (32, 32, 3)) == (28, 28, 1)
    assert picture(3 * 28 * 28, (8, 8, 1)) == (28, 28, 3)
    assert picture(96, (8, 12, 1)) == (8, 12, 1)
    assert [picture(n, (8, 8, 1)) for n in (0, 4, 13, 49, 512, 2048)] == [None] * 6
    assert picture(49, (7, 7, 3)) == (7, 7, 1)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    """One line, whatever the format."""
    onnx_file = write(tmp_path / "m.onnx", build("y = MatMul(x, w)", {"w": (13, 10)}, image="float[n,13] x"))
    lite_file = test_foreign.floats(tmp_path / "m.tflite", np.zeros((13, 10), np.float32), image=(1, 13))
    for path in (onnx_file, lite_file):
        with pytest.raises(InvalidFile, match="rows of 13 numbers"):
            recognise(path, WANTED)
