"""A stranger's graph that holds a whole copy where it may never be computed: it is asked, and not cleared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import build, write
from onnx import helper, numpy_helper
from test_onnx_runtime import CLASSES, SECRET, marked

import wmjax
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Wanted
from wmjax.suspects.formats import onnx as formats
from wmjax.suspects.formats import onnx_runtime
from wmjax.zoo.audit import audit

SPEC = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=120)
OPSETS = [helper.make_opsetid("", 18)]
SCORES = "f = Flatten(x) y = MatMul(f, w)"


@pytest.fixture(scope="module")
def key() -> Key:
    return derive_key(SECRET, SPEC, default_rule(SPEC))


def strange() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((216, CLASSES)).astype(np.float32)


def scoring(weights: np.ndarray, name: str) -> list[onnx.NodeProto]:
    """Nodes that give `name`, the scores of x by weights of their own."""
    return [
        helper.make_node("Constant", [], [f"{name}.w"], value=numpy_helper.from_array(weights)),
        helper.make_node("Flatten", ["x"], [f"{name}.f"]),
        helper.make_node("MatMul", [f"{name}.f", f"{name}.w"], [name]),
    ]


def calling(function: onnx.FunctionProto, weights: dict[str, np.ndarray], *more: str) -> onnx.ModelProto:
    """A graph that gives what a function of its own does."""
    model = build(SCORES, {"w": strange(), **weights})
    del model.graph.node[:], model.graph.initializer[0]
    model.graph.node.append(helper.make_node(function.name, ["x", *weights], ["y", *more], domain="own"))
    return with_function(model, function)


def with_function(model: onnx.ModelProto, function: onnx.FunctionProto) -> onnx.ModelProto:
    model.functions.append(function)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.ir_version = max(model.ir_version, 8)
    return model


def never_called(copy: np.ndarray) -> onnx.ModelProto:
    function = helper.make_function("own", "Copy", ["x"], ["z"], scoring(copy, "z"), OPSETS)
    return with_function(build(SCORES, {"w": strange()}), function)


def second_output(copy: np.ndarray) -> onnx.ModelProto:
    nodes = scoring(strange(), "a") + scoring(copy, "b")
    return calling(helper.make_function("own", "Two", ["x"], ["a", "b"], nodes, OPSETS), {}, "z")


def handed_and_left(copy: np.ndarray) -> onnx.ModelProto:
    nodes = scoring(strange(), "a")
    return calling(helper.make_function("own", "One", ["x", "u"], ["a"], nodes, OPSETS), {"u": copy})


def handed_and_lost(copy: np.ndarray) -> onnx.ModelProto:
    """The function computes its scores, and gives others."""
    lost = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "u"], ["b"])]
    function = helper.make_function("own", "One", ["x", "u"], ["a"], scoring(strange(), "a") + lost, OPSETS)
    return calling(function, {"u": copy})


def training(copy: np.ndarray) -> onnx.ModelProto:
    model = build(SCORES, {"w": strange()})
    trained = build(SCORES, {"w": copy})
    model.training_info.add().algorithm.CopyFrom(trained.graph)
    return model


def branching(copy: np.ndarray, *, own: bool) -> onnx.ModelProto:
    """The condition is always met; what is otherwise given holds the copy, or takes it from the graph."""
    model = build(SCORES, {"w": strange(), **({} if own else {"u": copy})})
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.node[-1].output[0] = "s"
    scores = lambda name: [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)]  # noqa: E731
    same = helper.make_graph([helper.make_node("Identity", ["s"], ["same"])], "then", [], scores("same"))
    nodes = scoring(copy, "other") if own else [helper.make_node("MatMul", ["f", "u"], ["other"])]
    other = helper.make_graph(nodes, "else", [], scores("other"))
    model.graph.node.append(helper.make_node("If", ["yes"], ["y"], then_branch=same, else_branch=other))
    return model


def idle_node(copy: np.ndarray) -> onnx.ModelProto:
    """A linear classifier, as scikit-learn's are written, which nothing takes the answers of."""
    model = build(SCORES, {"w": strange()})
    numbers = {
        "coefficients": copy.T.ravel().tolist(),
        "classlabels_ints": [*range(CLASSES)],
        "intercepts": [0.0] * CLASSES,
    }
    model.graph.node.append(helper.make_node("LinearClassifier", ["f"], ["l", "p"], domain="ai.onnx.ml", **numbers))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    return model


HIDDEN: dict[str, Callable[[np.ndarray], onnx.ModelProto]] = {
    "in a function that nothing calls": never_called,
    "in a second output that nothing takes": second_output,
    "handed to a function that takes it for nothing": handed_and_left,
    "handed to a function that loses what follows from it": handed_and_lost,
    "in what trains the graph": training,
    "in a node that nothing takes": idle_node,
    "in a branch": lambda copy: branching(copy, own=True),
    "taken by a branch": lambda copy: branching(copy, own=False),
}


def verdict(path: Path, key: Key) -> str:
    return str(wmjax.verify(wmjax.open_suspect(path, Wanted.by([SPEC], pixels="0..1")), key).verdict)


@pytest.mark.parametrize("make", HIDDEN.values(), ids=HIDDEN)
def test_a_copy_beside_what_is_computed_is_not_cleared(make: Callable, key: Key, tmp_path, monkeypatch) -> None:
    """And the rule taken out."""
    path = write(tmp_path / "m.onnx", make(marked(key)))
    assert verdict(path, key) == "inconclusive"
    for module in (formats, onnx_runtime):
        monkeypatch.setattr(module, "idle", lambda *_: False)
    assert verdict(path, key) == "no-match"


@pytest.mark.parametrize("copied", [False, True])
def test_functions_that_use_all_they_get_are_asked_as_any_other(copied: bool, key: Key, tmp_path) -> None:
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", "u"], ["b"])]
    function = helper.make_function("own", "One", ["x", "u"], ["b"], nodes, OPSETS)
    path = write(tmp_path / "m.onnx", calling(function, {"u": marked(key) if copied else strange()}))
    assert verdict(path, key) == ("match" if copied else "no-match")


def test_more_files_than_processes_are_all_answered_for(key: Key, tmp_path) -> None:
    """A process that was ended for another's sake is asked in mid-audit as if nothing had been."""
    for n in range(onnx_runtime._PROCESSES + 2):
        last = "z, i, j, k = Unique(s) t = Sub(s, s) y = Sub(s, t)"  # which is run, not read
        write(tmp_path / f"{n}.onnx", build(f"a = Flatten(x) s = MatMul(a, w) {last}", {"w": marked(key)}))
    found = audit(tmp_path, {"k": key}, pixels="0..1")
    assert ([*found.unreadable], [str(row.verdict) for row in found]) == ([], ["match"] * (onnx_runtime._PROCESSES + 2))
