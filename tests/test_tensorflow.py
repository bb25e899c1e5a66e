"""Models of TensorFlow: asked in a process of their own; what does more than compute is refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_rows import KEY, WANTED, kernel

import wmjax
from wmjax.errors import InvalidFile, UsageError
from wmjax.suspects import open_suspect
from wmjax.suspects.formats import foreign, tensorflow_child
from wmjax.suspects.recognise import recognise
from wmjax.suspects.sniff import kind_of
from wmjax.zoo.audit import audit
from wmjax.zoo.discover import discover

pytestmark = pytest.mark.filterwarnings("ignore")  # TensorFlow has many


@pytest.fixture(scope="module")
def tf() -> Any:
    os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
    return pytest.importorskip("tensorflow", reason="needs TensorFlow: pip install 'wmjax[tensorflow]'")


def told(path: Path) -> tuple[str, str]:
    """The verdict, and how it says that the file was run."""
    found = wmjax.verify(open_suspect(path, WANTED), KEY)
    (note,) = [ground.code for ground in found.grounds if ground.code.startswith("run")]
    return str(found.verdict), str(note)


def saved(
    tf: Any,
    folder: Path,
    answer: Callable[[Any, Any], Any] = lambda self, x: tf_scores(self, x),
    image: tuple[int, ...] = (8, 8, 1),
    *,
    stranger: bool = False,
    more: Callable[[Any, Any], Any] | None = None,
    **held: Any,
) -> Path:
    """A module with the weights of a linear classifier, saved with one function, or with another that is not served."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.weights = tf.Variable(kernel(KEY, stranger=stranger))
            for name, value in held.items():
                setattr(self, name, tf.Variable(value))

    module = Module()
    taken = [tf.TensorSpec([None, *image], tf.float32)]
    if more:
        module.more = tf.function(lambda x: more(module, x), input_signature=taken)
    module.served = tf.function(lambda x: answer(module, x), input_signature=taken)
    tf.saved_model.save(module, str(folder), signatures=module.served)
    return folder


def tf_scores(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf.matmul(tf.reshape(x, [-1, 64]) - 0.5, module.weights)


def test_a_saved_model_is_asked_by_its_folder_its_file_and_in_a_zoo(tf, tmp_path):
    copy, other = saved(tf, tmp_path / "copy"), saved(tf, tmp_path / "other", stranger=True)
    for path in (copy, copy / "saved_model.pb"):
        assert told(path) == ("match", "run")
    assert told(other) == ("no-match", "run")
    saved(tf, tmp_path / "row", image=(64,))
    result = audit(tmp_path, {"k": KEY})
    assert (result.unreadable, [name for name in result.others if name != "with what a model keeps beside it"]) == (
        [],
        [],
    )
    names = {"copy": "match", "row": "match", "other": "no-match"}
    assert {found.model.removesuffix("/saved_model.pb"): found.verdict for found in result} == names


def test_what_keras_exports_is_asked_and_cleared(tf, tmp_path):
    """It has every weight twice, and the same function under two signatures."""
    import keras

    if keras.backend.backend() != "tensorflow":
        pytest.skip("Keras computes on something else in this process")
    for name, stranger in (("copy", False), ("other", True)):
        model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Rescaling(1.0, -0.5)])
        model.add(keras.layers.Flatten())
        model.add(keras.layers.Dense(10))
        model.layers[-1].set_weights([kernel(KEY, stranger=stranger), np.zeros(10, np.float32)])
        model.export(str(tmp_path / name), verbose=False)
    assert [told(tmp_path / name) for name in ("copy", "other")] == [("match", "run"), ("no-match", "run")]


def test_one_of_tensorflow_1_is_asked(tf, tmp_path):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 8, 8, 1], "x")
        weights = v1.get_variable("w", initializer=kernel(KEY), use_resource=False)
        scores = tf.matmul(tf.reshape(x, [-1, 64]) - 0.5, weights)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"y": scores})
    assert told(tmp_path / "old") == ("match", "run")


@pytest.mark.parametrize("end", ["softmax", "classes"])
def test_a_frozen_graph_is_asked_and_never_cleared(end, tf, tmp_path):
    """Who has it may read any of its values."""
    v1, verdicts = tf.compat.v1, []
    for stranger in (False, True):
        with tf.Graph().as_default(), v1.Session() as session:
            x, keep = v1.placeholder(tf.float32, [None, 8, 8, 1], "x"), v1.placeholder_with_default(1.0, [], "keep")
            weights = v1.get_variable("w", initializer=kernel(KEY, stranger=stranger), use_resource=False)
            scores = tf.nn.softmax(tf.matmul(tf.reshape(x, [-1, 64]) - 0.5, weights) * keep, name="softmax")
            tf.argmax(scores, 1, name="classes")
            session.run(v1.global_variables_initializer())
            graph = v1.graph_util.convert_variables_to_constants(session, session.graph.as_graph_def(), [end])
        (tmp_path / "frozen.pb").write_bytes(graph.SerializeToString())
        verdicts.append(told(tmp_path / "frozen.pb"))
    assert verdicts == [("match", "run-in-part"), ("inconclusive", "run-in-part")]


def test_a_copy_beside_what_is_served_is_not_cleared(tf, tmp_path, monkeypatch):
    """In a function that is not served, in weights that it does not use; and each rule taken out, told by the child."""

    def decoy(module: Any, x: Any) -> Any:
        return tf_scores(module, x)[:, ::-1] * tf.range(1.0, 11.0)

    hidden = saved(tf, tmp_path / "hidden", decoy, more=tf_scores)
    beside = saved(tf, tmp_path / "beside", stranger=True, copy=kernel(KEY))
    assert [told(path)[1] for path in (hidden, beside)] == ["run-in-part"] * 2
    assert [told(path)[0] == "no-match" for path in (hidden, beside)] == [False, False]
    for rule, path in (("_computes_more", hidden), ("much", beside)):
        asked = tensorflow_child.program(str(path / "saved_model.pb"))
        assert asked(np.empty(0)).tolist() == [0, 0, 1, 8, 8, 1, 10, 0]
        monkeypatch.setattr(tensorflow_child, rule, lambda *_: False)
        asked = tensorflow_child.program(str(path / "saved_model.pb"))
        assert asked(np.empty(0)).tolist() == [0, 0, 1, 8, 8, 1, 10]
    (tmp_path / "beside" / "more.npz").write_bytes(b"PK\3\4")
    assert told(tmp_path / "beside")[1] == "run-in-part"


def test_what_does_more_than_compute_is_refused_in_one_line(tf, tmp_path):
    left = str(tmp_path / "left")

    def writes(module: Any, x: Any) -> Any:
        tf.io.write_file(left, "x")
        return tf_scores(module, x)

    def reads(module: Any, x: Any) -> Any:
        return tf_scores(module, x) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hosts")), tf.float32)

    def counts(module: Any, x: Any) -> Any:
        return tf_scores(module, x) * module.times.assign_add(1.0)

    def draws(module: Any, x: Any) -> Any:
        return tf_scores(module, x) + tf.random.normal([10])

    def looks_up(module: Any, x: Any) -> Any:
        pairs = tf.lookup.KeyValueTensorInitializer(tf.constant([0]), tf.constant([1.0]))
        module.table = getattr(module, "table", None) or tf.lookup.StaticHashTable(pairs, 0.0)
        return tf_scores(module, x) * module.table.lookup(tf.constant([0]))

    reasons = {writes: "WriteFile", reads: "ReadFile", counts: "keeps a state", draws: "RandomStandardNormal"}
    for answer, reason in (reasons | {looks_up: "resource"}).items():
        folder = saved(tf, tmp_path / answer.__name__, answer, times=1.0)
        with pytest.raises(InvalidFile, match=f"does more than compute: .*{reason}") as refused:
            recognise(folder, WANTED)
        assert "\n" not in str(refused.value)
    assert not Path(left).exists()
    assert len(discover(tmp_path, WANTED).unreadable) == 5


@pytest.mark.parametrize("damage", ["cut", "no weights", "text", "several channels", "words"])
def test_what_is_damaged_or_no_classifier_is_one_line(damage, tf, tmp_path):
    image = (8, 8, 5) if damage == "several channels" else (8, 8, 1)
    answer = (lambda self, x: tf.strings.as_string(tf_scores(self, x))) if damage == "words" else tf_scores
    folder = saved(tf, tmp_path / "m", answer if damage != "several channels" else lambda self, x: x, image)
    if damage == "cut":
        os.truncate(folder / "saved_model.pb", 500)
    if damage == "text":
        (folder / "saved_model.pb").write_bytes(b"\x08\x01\x12\x03abc")
    if damage == "no weights":
        (folder / "variables/variables.data-00000-of-00001").unlink()
    with pytest.raises(InvalidFile) as refused:
        recognise(folder, WANTED)
    assert str(refused.value).isprintable()


def test_without_tensorflow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x03abc")
    assert kind_of(tmp_path / "saved_model.pb") == "saved-model"
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'wmjax\[tensorflow\]'"):
        recognise(tmp_path, WANTED)
