"""Models of TensorFlow: asked in a process of their own; what does more than compute is refused."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from graphs import write
from test_rows import KEY, WANTED, kernel, linear

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


def tf_scores(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf.matmul(tf.reshape(x, [-1, 64]) - 0.5, module.weights)


def saved(
    tf: Any,
    folder: Path,
    answer: Callable[[Any, Any], Any] = tf_scores,
    image: tuple[int, ...] = (8, 8, 1),
    *,
    stranger: bool = False,
    **held: Any,
) -> Path:
    """A module with the weights of a linear classifier, saved with one function."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.weights = tf.Variable(kernel(KEY, stranger=stranger))
            for name, value in held.items():
                setattr(self, name, tf.Variable(value))

    module = Module()
    taken = [tf.TensorSpec([None, *image], tf.float32)]
    module.served = tf.function(lambda x: answer(module, x), input_signature=taken)
    tf.saved_model.save(module, str(folder), signatures=module.served)
    return folder


def test_a_saved_model_is_asked_by_its_folder_its_file_and_in_a_zoo(tf, tmp_path):
    copy, other = saved(tf, tmp_path / "copy"), saved(tf, tmp_path / "other", stranger=True)
    for path in (copy, copy / "saved_model.pb"):
        assert told(path) == ("match", "run-in-part")
    assert told(other) == ("inconclusive", "run-in-part")
    saved(tf, tmp_path / "row", image=(64,))
    result = audit(tmp_path, {"k": KEY})
    assert (result.unreadable, [name for name in result.others if name != "with what a model keeps beside it"]) == (
        [],
        [],
    )
    names = {"copy": "match", "row": "match", "other": "inconclusive"}
    assert {found.model.removesuffix("/saved_model.pb"): found.verdict for found in result} == names


def test_what_keras_exports_is_asked(tf, tmp_path):
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
    assert [told(tmp_path / name)[0] for name in ("copy", "other")] == ["match", "inconclusive"]


def by_jax(tf: Any, folder: Path, called: Callable[[Any], Any] = lambda y: y, images: int | None = None) -> Path:
    """A copy as Flax's users save it for TensorFlow: the program is JAX's, in one operation."""
    jax2tf = pytest.importorskip("jax.experimental.jax2tf")
    weights = kernel(KEY)

    def answer(x: Any) -> Any:
        return called((x.reshape(-1, 64) - 0.5) @ weights)

    module = tf.Module()
    function = jax2tf.convert(answer, polymorphic_shapes=[f"({images or 'b'}, 8, 8, 1)"], with_gradient=False)
    module.served = tf.function(function, autograph=False, input_signature=[tf.TensorSpec([images, 8, 8, 1])])
    tf.saved_model.save(module, str(folder), signatures=module.served)
    return folder


def test_what_jax_wrote_for_tensorflow_is_asked(tf, tmp_path):
    assert told(by_jax(tf, tmp_path / "copy")) == ("match", "run-in-part")


def test_what_jax_wrote_and_calls_out_is_refused(tf, tmp_path):
    """By a function of TensorFlow's, which may do whatever it does."""
    jax2tf = pytest.importorskip("jax.experimental.jax2tf")
    told = jax.ShapeDtypeStruct((4, 10), np.float32)
    python = tf.function(lambda y: tf.py_function(lambda z: z, [y], tf.float32))
    calls = jax2tf.call_tf(python, call_tf_graph=True, output_shape_dtype=told)
    path = by_jax(tf, tmp_path / "evil", calls, images=4)
    with pytest.raises(InvalidFile, match="calls out of its program"):
        recognise(path / "saved_model.pb", WANTED)


def mapped(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf_scores(module, tf.map_fn(lambda image: image * 1.0, x))


def looped(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf.while_loop(lambda i, y: i < 2, lambda i, y: (i + 1, y * 1.0), [0, tf_scores(module, x)])[1]


def resized(module: Any, x: Any) -> Any:
    import tensorflow as tf

    padded = tf.image.resize_with_pad(x, 8, 8)  # which asserts
    return tf_scores(module, tf.image.resize(padded, [8, 8], antialias=True))


def written_back(module: Any, x: Any) -> Any:
    """As Keras exports from JAX, which says what it keeps even where that stays what it is."""
    scores = tf_scores(module, x)
    module.weights.assign(module.weights * 1.0)
    return scores


@pytest.mark.parametrize("answer", [mapped, looped, resized, written_back])
def test_what_ordinary_programs_do_besides_is_computed(answer, tf, tmp_path):
    assert told(saved(tf, tmp_path / "m", answer)) == ("match", "run-in-part")


def test_a_model_with_an_optimiser_is_asked(tf, tmp_path):
    """As Keras 2 saved it: the optimiser keeps numbers for each weight."""

    class Module(tf.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            self.weights = tf.Variable(kernel(KEY))
            self.optimiser = tf.compat.v1.train.AdamOptimizer(0.0)
            self.optimiser.apply_gradients([(tf.ones_like(self.weights), self.weights)])

    module = Module()
    taken = [tf.TensorSpec([None, 8, 8, 1], tf.float32)]
    module.served = tf.function(lambda x: tf_scores(module, x), input_signature=taken)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.served)
    assert told(tmp_path / "m") == ("match", "run-in-part")


def test_another_signature_is_asked_where_files_of_pictures_are_served(tf, tmp_path):
    module = tf.Module()
    module.weights = tf.Variable(kernel(KEY))

    def decoded(texts: Any) -> Any:
        one = tf.map_fn(lambda text: tf.io.decode_png(text, 1), texts, fn_output_signature=tf.uint8)
        return tf_scores(module, tf.cast(tf.reshape(one, [-1, 8, 8, 1]), tf.float32) / 255)

    module.arrays = tf.function(
        lambda x: tf_scores(module, x), input_signature=[tf.TensorSpec([None, 8, 8, 1], tf.float32)]
    )
    module.files = tf.function(decoded, input_signature=[tf.TensorSpec([None], tf.string)])
    signatures = {"serving_default": module.files, "arrays": module.arrays, "also_files": module.files}
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=signatures)
    assert told(tmp_path / "m") == ("match", "run-in-part")


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


def test_what_is_not_a_part_is_asked_itself(tf, tmp_path):
    """Other models beside a decoy, in files that TensorFlow does not read."""
    saved(tf, tmp_path / "m", stranger=True)
    copy = linear(kernel(KEY), "float[n,1,8,8] x")
    for name in ("copy.pb", "variables/variables.onnx"):
        write(tmp_path / "m" / name, copy)
    (tmp_path / "m" / "variables" / "variables.weights").write_bytes(bytes(range(256)))
    found = audit(tmp_path, {"k": KEY})
    assert {one.model: str(one.verdict) for one in found} == {
        "m/copy.pb": "match", "m/variables/variables.onnx": "match", "m/saved_model.pb": "inconclusive",
    }  # fmt: skip
    assert [one.path for one in found.unreadable] == ["m/variables/variables.weights"]


def test_a_pipe_a_folder_and_a_link_out_of_the_zoo_stop_nothing(tf, tmp_path):
    folder = saved(tf, tmp_path / "zoo" / "m")
    os.mkfifo(folder / "fingerprint.pb.pipe")
    (folder / "variables" / "variables.data-00000-of-00009").mkdir()
    os.mkfifo(folder / "variables" / "variables.data-00001-of-00009")
    assert told(folder / "saved_model.pb") == ("match", "run-in-part")
    for name in ("variables.old", "variables.data-00000-of-100000"):  # to nothing; and as one of many shards
        (folder / "variables" / name).symlink_to(tmp_path / "outside")
    assert told(folder / "saved_model.pb") == ("match", "run-in-part")
    (tmp_path / "outside").write_bytes(bytes(8))
    with pytest.raises(InvalidFile, match="100000 is a link out of the model's folder"):
        recognise(folder / "saved_model.pb", WANTED)
    (tmp_path / "outside").unlink()
    (folder / "variables").rename(tmp_path / "outside")
    (folder / "variables").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidFile, match="is a link out of the model's folder"):
        recognise(folder / "saved_model.pb", WANTED)


def reads(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf_scores(module, x) + tf.cast(tf.strings.length(tf.io.read_file("/etc/hosts")), tf.float32)


def maps(module: Any, x: Any) -> Any:
    import tensorflow as tf

    found = tf.raw_ops.ImmutableConst(dtype=tf.uint8, shape=[1], memory_region_name="/etc/hosts")
    return tf_scores(module, x) + tf.cast(found, tf.float32)


def spies(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf.raw_ops.DebugIdentity(input=tf_scores(module, x), tensor_name="t", debug_urls=["file://left"])


def counts(module: Any, x: Any) -> Any:
    return tf_scores(module, x) * module.times.assign_add(1.0)


def draws(module: Any, x: Any) -> Any:
    import tensorflow as tf

    return tf_scores(module, x) + tf.random.normal([10])


OPERATIONS = {
    reads: "ReadFile", maps: "ImmutableConst", spies: "DebugIdentity", counts: "AssignAddVariableOp",
    draws: "RandomStandardNormal",
}  # fmt: skip


@pytest.mark.parametrize("answer", OPERATIONS)
def test_an_operation_that_may_do_more_than_compute_is_refused_in_one_line(answer, tf, tmp_path):
    """Before TensorFlow is given anything; what it writes is looked for below."""
    folder = saved(tf, tmp_path / "m", answer, times=1.0)
    with pytest.raises(
        InvalidFile, match=f"more than compute: its operation {OPERATIONS[answer]} is not read"
    ) as refused:
        recognise(folder, WANTED)
    assert "\n" not in str(refused.value)
    assert len(discover(tmp_path, WANTED).unreadable) == 1


def test_without_the_list_of_operations_a_model_writes_files(tf, tmp_path, monkeypatch):
    left = tmp_path / "left"

    def writes(module: Any, x: Any) -> Any:
        tf.io.write_file(str(left), "x")
        return tf_scores(module, x)

    path = str(saved(tf, tmp_path / "m", writes) / "saved_model.pb")
    with pytest.raises(ValueError, match="WriteFile is not read"):
        tensorflow_child.program(path)
    assert not left.exists()
    monkeypatch.setattr(tensorflow_child, "_check", lambda nodes: None)
    tensorflow_child.program(path)
    assert left.exists()


def test_a_signature_that_is_no_function_is_refused(tf, tmp_path):
    """Nothing of such a file is given to TensorFlow."""
    from tensorflow.core.protobuf import saved_model_pb2

    file = saved(tf, tmp_path / "m") / "saved_model.pb"
    stored = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    nodes = stored.meta_graphs[0].object_graph_def.nodes
    (signatures,) = [node for node in nodes if node.user_object.identifier == "signature_map"]
    signatures.children[0].node_id = 0
    file.write_bytes(stored.SerializeToString())
    with pytest.raises(InvalidFile, match="no signature that is served"):
        recognise(file, WANTED)


def test_nothing_is_run_while_a_model_is_loaded(tf, tmp_path, monkeypatch):
    """An object with its own way to be restored, and another function; what they write, with the rule taken out."""
    from tensorflow.python.trackable import autotrackable

    left = str(tmp_path / "left")

    class Evil(autotrackable.AutoTrackable):  # type: ignore[misc]
        def _serialize_to_tensors(self) -> dict[str, Any]:
            return {"a": tf.constant([0.0])}

        def _restore_from_tensors(self, tensors: Any) -> Any:
            tf.io.write_file(left, "x")
            return tf.no_op()

    module = tf.Module()
    module.weights, module.evil = tf.Variable(kernel(KEY)), Evil()
    taken = [tf.TensorSpec([None, 8, 8, 1], tf.float32)]
    module.served = tf.function(lambda x: tf_scores(module, x), input_signature=taken)
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.served)
    assert told(tmp_path / "m") == ("match", "run-in-part")
    assert not Path(left).exists()
    monkeypatch.setattr(tensorflow_child, "_reduced", lambda stored: "serving_default")
    tensorflow_child.program(str(tmp_path / "m" / "saved_model.pb"))
    assert Path(left).exists()


def test_one_of_tensorflow_1_is_refused_in_one_line(tf, tmp_path):
    """It may name any operation to be run while it is loaded."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 8, 8, 1], "x")
        weights = v1.get_variable("w", initializer=kernel(KEY), use_resource=False)
        scores = tf.matmul(tf.reshape(x, [-1, 64]) - 0.5, weights)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "old"), {"x": x}, {"y": scores})
    with pytest.raises(InvalidFile, match="is of TensorFlow 1: save it by TensorFlow 2, or freeze it"):
        recognise(tmp_path / "old", WANTED)


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
    assert str(refused.value).count(tempfile.gettempdir()) == str(folder).count(tempfile.gettempdir())  # the file's own


def test_without_tensorflow_the_extra_is_named(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01\x12\x03abc")
    assert kind_of(tmp_path / "saved_model.pb") == "saved-model"
    monkeypatch.setattr(foreign.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'wmjax\[tensorflow\]'"):
        recognise(tmp_path, WANTED)
