"""Answers about an image that follow from those beside it: a copy would look like a stranger in a batch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from marked import CONFIG, IMAGE, _onnx, make_key, marked
from onnx import helper, numpy_helper

import wmjax
from wmjax.evidence.judge_asking import usable
from wmjax.models.predict import logits
from wmjax.suspects.contract import Suspect, Wanted
from wmjax.suspects.formats import onnx as onnx_format
from wmjax.suspects.formats.answering import answering, described
from wmjax.verification import asking
from wmjax.zoo.audit import audit

KEY = make_key()
WANTED = Wanted.by([KEY.spec], pixels="stated")


def spoilt(path: Path, spoiling: Sequence[tuple[str, list[str], dict[str, Any]]], batch: int = 0) -> Path:
    """A copy with noise on its scores, in proportion to what some nodes make of them, called `much`."""
    model = onnx.load(_onnx(path, marked(KEY)))
    graph = model.graph
    scores = graph.output[0].name
    noise = np.random.default_rng(0).standard_normal((64, 10)).astype(np.float32)
    graph.initializer.append(numpy_helper.from_array(noise, "noise"))
    nodes = [
        *spoiling,
        ("Flatten", ["x"], {"outputs": ["flat"]}),
        ("MatMul", ["flat", "noise"], {"outputs": ["odd"]}),
        ("Mul", ["odd", "much"], {"outputs": ["added"]}),
        ("Add", [scores, "added"], {"outputs": ["told"]}),
    ]
    for op, inputs, more in nodes:
        named = [scores if name == "scores" else name for name in inputs]
        graph.node.append(helper.make_node(op, named, more.pop("outputs"), **more))
    graph.output[0].name = "told"
    for value in (graph.input[0], graph.output[0]) if batch else ():
        value.type.tensor_type.shape.dim[0].dim_value = batch  # of the two fields the one that is set last
    path.with_suffix(".onnx").write_bytes(model.SerializeToString())
    return path.with_suffix(".onnx")


def unlike_its_neighbours() -> list[tuple[str, list[str], dict[str, Any]]]:
    """How far scores lie from the batch's mean: nowhere, alone."""
    return [
        ("ReduceMean", ["scores"], {"outputs": ["mean"], "axes": [0]}),
        ("Sub", ["scores", "mean"], {"outputs": ["gap"]}),
        ("Abs", ["gap"], {"outputs": ["far"]}),
        ("ReduceSum", ["far"], {"outputs": ["much"]}),
    ]


def audited(folder: Path) -> list[str]:
    return [str(found.verdict) for found in audit(folder, {"k": KEY}, pixels="stated")]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Graphs are computed here, by programs of their own in each test."""
    monkeypatch.setattr(onnx_format, "installed", lambda: False)
    monkeypatch.setattr(onnx_format, "_networks", {})
    return monkeypatch


def test_a_copy_that_is_none_beside_others_is_asked_alone(tmp_path, computed):
    path = spoilt(tmp_path / "m", unlike_its_neighbours())
    assert wmjax.verify(wmjax.open_suspect(path, WANTED), KEY).verdict == "match"
    assert audited(tmp_path) == ["match"]
    plan = onnx_format.plan
    computed.setattr(onnx_format, "plan", lambda *given: (16, plan(*given)[1]))
    computed.setattr(onnx_format, "_networks", {})
    assert audited(tmp_path) == ["no-match"]


def test_a_program_of_another_runtime_is_asked_alone_too():
    told = described(["n", *IMAGE], [["n", 10]], dtype="uint8")
    sizes: list[int] = []

    def run(images: np.ndarray) -> list[np.ndarray]:
        sizes.append(len(images))
        return [np.zeros((len(images), 10))]

    assert answering(told, run)(KEY.images).shape == (60, 10)
    assert set(sizes) == {1}


def test_who_takes_several_at_once_alone_is_not_cleared(tmp_path, computed):
    """The last place of a batch is a copy's, the others are not; and the rule taken out."""
    places = 1e4 * (np.arange(20)[:, None] < 19)
    value = numpy_helper.from_array(places.astype(np.float32))
    spoilt(tmp_path / "m", [("Constant", [], {"outputs": ["much"], "value": value})], 20)
    assert audited(tmp_path) == ["inconclusive"]
    computed.setattr(onnx_format, "note_of", lambda *given, **more: "")
    computed.setattr(onnx_format, "_networks", {})
    assert audited(tmp_path) == ["no-match"]


def test_a_function_is_asked_about_each_image_alone(monkeypatch):
    """By whoever asks for the whole key, and by the judge; and the rule taken out."""
    key = make_key(120)
    copy, noise = marked(key), np.random.default_rng(0).standard_normal((64, 10))

    def ask(images: np.ndarray) -> np.ndarray:
        several = len(images) > 1
        return (images.reshape(len(images), 64) / 255 - 0.5) @ noise if several else logits(CONFIG, copy, images)

    suspect = Suspect("it", ask)
    assert wmjax.verify(suspect, key, whole=True).verdict == "match"
    assert np.mean(usable(suspect, key.images, 10, {})[0].labels == key.labels) > 0.9
    monkeypatch.setattr(asking, "_calls", lambda *_: [slice(None)])
    assert wmjax.verify(suspect, key, whole=True).verdict == "no-match"
