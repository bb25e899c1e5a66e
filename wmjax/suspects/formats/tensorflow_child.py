"""What answers for a SavedModel or a frozen graph of TensorFlow's, in a process of its own (`alone_child`).

The former is a folder: `saved_model.pb` has its program, `variables` its weights. The latter is one file, as
TensorFlow 1 wrote them, with weights for constants. A program of TensorFlow's may also read and write files, so only
what computes is run: weights become constants of one graph, in which whatever is left that keeps a state, draws lots,
or reaches out of it, is refused.
"""

import hashlib
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described, much

_SERVED = "serving_default"
_RUN_FIRST = ("saved_model_main_op", "saved_model_init_op", "legacy_init_op", "saved_model_assets")
_QUIET = {
    **{"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"},
    **{"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
}
_TAKEN = ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
_HARMLESS = ("Placeholder", "Assert", "If", "While", "Case", "PartitionedCall", "StatefulPartitionedCall")
_PASSING = ("Identity", "NoOp", "PartitionedCall", "StatefulPartitionedCall")  # what a signature adds to its function


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a model, as `answering` makes it.

    Args:
      path: of a SavedModel's `saved_model.pb`, or of a frozen graph.

    Raises:
      ValueError: it is not a classifier of images of one size, does more than compute, or is too large.
    """
    check_size(sum(file.stat().st_size for file in (Path(path), *Path(path).parent.glob("variables/*"))))
    os.environ.update(_QUIET)
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    frozen, left = _served(Path(path)) if Path(path).name == "saved_model.pb" else (_imported(Path(path)), True)
    if len(frozen.inputs) != 1 or frozen.inputs[0].dtype.name not in _TAKEN:
        raise ValueError(f"it takes {[value.dtype.name for value in frozen.inputs]}, not one batch of images")
    (entry,), ends = frozen.inputs, frozen.outputs
    kind, whole = entry.dtype.as_numpy_dtype, [end.dtype.is_integer for end in ends]
    shapes = [
        value.shape.as_list() if value.shape.rank and value.dtype.name != "string" else [] for value in (entry, *ends)
    ]
    told = described(shapes[0], shapes[1:], dtype=entry.dtype.name, left=left, whole=whole)

    def run(images: np.ndarray) -> Sequence[Any]:
        return [end.numpy() for end in tf.nest.flatten(frozen(tf.constant(as_taken(images, kind))))]

    run(np.zeros([side or 1 for side in shapes[0]], np.uint8))  # it opens what it needs
    return answering(told, run, whole)


def _served(path: Path) -> tuple[Any, bool]:
    """What a SavedModel is asked by, and whether it has more."""
    import tensorflow as tf

    stored = _stored(path.read_bytes())
    model = tf.saved_model.load(str(path.parent))  # which keeps the variables
    named = _SERVED if _SERVED in model.signatures else next(iter(model.signatures), "")
    if not named:
        raise ValueError("it has no signature: save it with one")
    frozen = _frozen(model.signatures[named])
    return frozen, _computes_more(stored, named) or much(*_numbers(str(path.parent / "variables/variables"), frozen))


def _imported(path: Path) -> Any:
    """A frozen graph, from what it has to be given to what nothing in it takes, or picks the best of."""
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    function = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(graph, name=""), [])
    operations = function.graph.get_operations()
    given = [operation.outputs[0] for operation in operations if operation.type == "Placeholder"]
    last = [one for one in operations if one.type != "Placeholder" and not any(out.consumers() for out in one.outputs)]
    ends = [out for one in last for out in one.outputs]
    ends += [one.inputs[0] for one in last if one.type in ("ArgMax", "ArgMin", "TopKV2")]
    return _frozen(function.prune(given, ends))


def _stored(content: bytes) -> Any:
    """The one graph of a SavedModel; raises `ValueError` where it would have something run while it is loaded."""
    from tensorflow.core.protobuf import saved_model_pb2

    graphs = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    if len(graphs) != 1:
        raise ValueError(f"it has {len(graphs)} graphs: save the one that is meant alone")
    kinds = {node.WhichOneof("kind") for node in graphs[0].object_graph_def.nodes}
    found = [kind for kind in ("asset", "resource") if kind in kinds]
    if not graphs[0].HasField("object_graph_def"):  # of TensorFlow 1
        found += [name for name in _RUN_FIRST if name in graphs[0].collection_def]
    if found:
        raise ValueError(f"it does more than compute: it has a {found[0]}, as for a table of words")
    return graphs[0]


def _frozen(signature: Any) -> Any:
    """A function with its weights as constants; raises `ValueError` where it does more than compute."""
    from tensorflow.python.framework import op_def_registry
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    try:
        frozen = convert_variables_to_constants_v2(signature)
    except ValueError as error:  # a weight that it writes to
        raise ValueError("it does more than compute: it keeps a state between questions") from error
    graph = frozen.graph.as_graph_def()
    ours = {*_HARMLESS, *(function.signature.name for function in graph.library.function)}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    for op in dict.fromkeys(node.op for node in nodes if node.op not in ours):
        known = op_def_registry.get(op)
        if known is None or known.is_stateful or re.search("File|Restore|PyFunc", op):
            raise ValueError(f"it does more than compute: its operation {op:.60}")
    return frozen


def _numbers(weights: str, frozen: Any) -> tuple[int, int]:
    """How many numbers a SavedModel has beside those that its function is computed with, and how many are these."""
    import tensorflow as tf

    stored = tf.train.load_checkpoint(weights)
    tensors = [np.asarray(stored.get_tensor(name)) for name in stored.get_variable_to_shape_map()]
    sizes = {
        hashlib.sha256(one.tobytes()).digest(): one.size for one in tensors if one.dtype != object
    }  # Keras writes each twice
    constants = [
        node.attr["value"].tensor.tensor_shape for node in frozen.graph.as_graph_def().node if node.op == "Const"
    ]
    used = sum(math.prod(side.size for side in shape.dim) for shape in constants)
    return sum(sizes.values()) - used, used


def _computes_more(stored: Any, named: str) -> bool:
    """Whether a function of a SavedModel's may compute something that the signature does not, as a copy's answers."""
    nodes = stored.object_graph_def.nodes
    if not nodes:
        return len(stored.signature_def) > 1
    functions = {function.signature.name: function.node_def for function in stored.graph_def.library.function}
    signatures = _children(nodes[_children(nodes[0])["signatures"]])
    reached, todo = set[str](), [nodes[signatures[named]].bare_concrete_function.concrete_function_name]
    while todo:
        reached.add(name := todo.pop())
        todo += [called for node in functions.get(name, ()) for called in _called(node) if called not in reached]
    others = set(stored.object_graph_def.concrete_functions) - reached
    return any(
        node.op not in _PASSING or not reached.issuperset(_called(node))
        for name in others
        for node in functions.get(name, ())
    )


def _children(node: Any) -> dict[str, int]:
    return {child.local_name: child.node_id for child in node.children}


def _called(node: Any) -> list[str]:
    """The functions that a node calls."""
    return [
        name for value in node.attr.values() for name in (value.func.name, *(f.name for f in value.list.func)) if name
    ]
