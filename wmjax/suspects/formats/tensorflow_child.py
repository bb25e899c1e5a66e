"""What answers for a SavedModel or a frozen graph of TensorFlow's, in a process of its own (`alone_child`).

The former is a folder: `saved_model.pb` has its program, `variables` its weights. The latter is one file, as
TensorFlow 1 wrote them, with weights for constants. A program of TensorFlow's may also read and write files, while it
is loaded, too. So TensorFlow is given no more of it than the function that is asked and the weights, and that only if
every operation in it is one of those that compute (`tensorflow_ops`). What JAX wrote is a program of its own in one of
them (`stablehlo`).

There are many ways into such a model, by other functions, signatures and names of values: a file is told to have more.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described
from wmjax.suspects.formats.stablehlo import check_within
from wmjax.suspects.formats.tensorflow_ops import COMPUTING

_SERVED, _NO_SIGNATURE = "serving_default", "it has no signature that is served: save it with one"
_QUIET = {
    **{"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    **{"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
}
_TAKEN = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a model, as `answering` makes it.

    Args:
      path: of a SavedModel's `saved_model.pb`, or of a frozen graph.

    Raises:
      ValueError: it is not a classifier of images of one size, does more than compute, or is too large.
    """
    files = (Path(path), *Path(path).parent.glob("variables/*"))
    check_size(sum(file.stat().st_size for file in files if file.is_file()))
    os.environ.update(_QUIET)
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    frozen = (_served if Path(path).name == "saved_model.pb" else _imported)(Path(path))
    if len(frozen.inputs) != 1 or frozen.inputs[0].dtype.name not in _TAKEN:
        raise ValueError(f"it takes {[value.dtype.name for value in frozen.inputs]}, not one batch of images alone")
    (entry,), ends = frozen.inputs, frozen.outputs
    kind, whole = entry.dtype.as_numpy_dtype, [end.dtype.is_integer for end in ends]
    shapes = [_shape(value) for value in (entry, *ends)]
    told = described(shapes[0], shapes[1:], dtype=entry.dtype.name, left=True, whole=whole)

    def run(images: np.ndarray) -> Sequence[Any]:
        return [end.numpy() for end in tf.nest.flatten(frozen(tf.constant(as_taken(images, kind))))]

    run(np.zeros([side or 1 for side in shapes[0]], np.uint8))  # it opens what it needs
    return answering(told, run, whole)


def _shape(value: Any) -> list[int | None]:
    """Of a value that may be an image or scores; none of text or complex numbers."""
    real = value.dtype.is_floating or value.dtype.is_integer or value.dtype.is_bool
    return list(value.shape) if real and value.shape.rank else []


def _served(path: Path) -> Any:
    """The function that a SavedModel is asked by, with its weights as constants."""
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    stored = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    if len(stored.meta_graphs) != 1 or not stored.meta_graphs[0].object_graph_def.nodes:
        raise ValueError("it has several graphs, or is of TensorFlow 1: save it by TensorFlow 2, or freeze it")
    named = _reduced(stored.meta_graphs[0])
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "saved_model.pb").write_bytes(stored.SerializeToString())
        Path(folder, "variables").symlink_to((path.parent / "variables").resolve())
        try:
            model = tf.saved_model.load(folder)  # which keeps the variables
        except Exception as error:
            raise ValueError(str(error).replace(f"{folder}/", "")) from error
    # its loops stay what they are: else what they give has no shape
    return convert_variables_to_constants_v2(model.signatures[named], lower_control_flow=False)


def _reduced(stored: Any) -> str:
    """Takes all out of a SavedModel's graph but a signature's function and the weights; gives the signature's name."""
    objects, library = stored.object_graph_def, stored.graph_def.library
    signatures = objects.nodes[_child(objects.nodes[0], "signatures")]
    named = _asked([child.local_name for child in signatures.children], stored.signature_def)
    name = objects.nodes[_child(signatures, named)].bare_concrete_function.concrete_function_name
    if not name:  # else every object without one would be taken for it
        raise ValueError(_NO_SIGNATURE)
    reached = _reached(name, {one.signature.name: one for one in library.function})
    for function in reached:
        _forget_writes(function)
    _check(node for function in reached for node in function.node_def)
    constants = [node for node in stored.graph_def.node if node.op == "Const"]  # which an object may stand for
    for node in objects.nodes:
        _reduce(node, asked=node.bare_concrete_function.concrete_function_name == name)
    signatures.user_object.identifier = "signature_map"
    for child in [child for child in signatures.children if child.local_name != named]:
        signatures.children.remove(child)
    for other in set(objects.concrete_functions) - {name}:
        del objects.concrete_functions[other]
    graph = type(stored.graph_def)(node=constants, versions=stored.graph_def.versions)
    graph.library.function.extend(reached)
    stored.graph_def.CopyFrom(graph)
    for field in ("signature_def", "saver_def", "collection_def", "asset_file_def"):
        stored.ClearField(field)
    return named


def _asked(names: Sequence[str], signatures: Mapping[str, Any]) -> str:
    """The signature that is asked: the one that is served, unless it takes texts, as of files of pictures, alone."""
    import tensorflow as tf

    def takes_texts(name: str) -> bool:
        taken = signatures[name].inputs.values() if name in signatures else ()
        return all(value.dtype == tf.string.as_datatype_enum for value in taken)

    return min(names, key=lambda name: (takes_texts(name), name != _SERVED, name), default="")


def _reduce(node: Any, *, asked: bool) -> None:
    """Leaves an object of a SavedModel's what it is only if it is a weight, or the function that is asked."""
    if not asked and node.WhichOneof("kind") not in ("variable", "constant"):
        node.user_object.identifier = "_generic_user_object"
        node.user_object.version.producer = node.user_object.version.min_consumer = 1
    for field in ("dependencies", "slot_variables", "saveable_objects", "registered_name", "registered_saver"):
        node.ClearField(field)


def _child(node: Any, name: str) -> int:
    """The number of an object's child; raises `ValueError` where it has none of this name."""
    found = [child.node_id for child in node.children if child.local_name == name]
    if len(found) != 1:
        raise ValueError(_NO_SIGNATURE)
    return int(found[0])


def _reached(name: str, functions: Mapping[str, Any]) -> list[Any]:
    """A function, and those that it calls."""
    reached, todo = dict[str, Any](), [name]
    while todo:
        if (one := todo.pop()) in functions and one not in reached:
            reached[one] = functions[one]
            todo += [called for node in functions[one].node_def for called in _called(node)]
    return list(reached.values())


def _forget_writes(function: Any) -> None:
    """Takes out what a function writes to its weights: each question is asked of the model as it was saved.

    What Keras exports from JAX writes back what it keeps, the means of batches, though they stay what they are.
    """
    writes = {node.name for node in function.node_def if node.op == "AssignVariableOp"}
    for node in list(function.node_def):
        if node.name in writes:
            function.node_def.remove(node)
        else:
            node.input[:] = [name for name in node.input if name.removeprefix("^") not in writes]
    for name in [name for name, node in function.control_ret.items() if node in writes]:
        del function.control_ret[name]
        function.signature.control_output.remove(name)


def _called(node: Any) -> list[str]:
    """The functions that a node calls."""
    return [called.name for value in node.attr.values() for called in (value.func, *value.list.func) if called.name]


def _imported(path: Path) -> Any:
    """A frozen graph, from what it has to be given to what nothing in it takes, or picks the best of."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    _check([*graph.node, *(node for function in graph.library.function for node in function.node_def)])
    function = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    operations = function.graph.get_operations()
    given = [operation.outputs[0] for operation in operations if operation.type == "Placeholder"]
    last = [one for one in operations if one.type != "Placeholder" and not any(out.consumers() for out in one.outputs)]
    ends = [out for one in last for out in one.outputs]
    ends += [one.inputs[0] for one in last if one.type in ("ArgMax", "ArgMin", "TopKV2")]
    return function.prune(given, ends)


def _check(nodes: Iterable[Any]) -> None:
    """Raises `ValueError` where an operation is not known to compute, and to do nothing else."""
    for node in nodes:
        if node.op == "XlaCallModule":  # a program of jax2tf's; its functions are TensorFlow's
            if node.attr["function_list"].list.func:
                raise ValueError("it calls out of its program, by functions of TensorFlow's")
            check_within(node.attr["module"].s)
        elif node.op not in COMPUTING:
            raise ValueError(f"it may do more than compute: its operation {node.op:.60} is not read")
