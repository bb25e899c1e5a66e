"""What answers for a TensorFlow Lite file, in a process of its own (`alone_child`): the interpreter of LiteRT.

Quantised files take and give integers, with what one is worth beside them: pictures are brought into theirs, and their
answers out of them, as a phone's program does it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described, much

_CALLING = {
    getattr(schema.BuiltinOperator, name)
    for name in ("CALL", "CALL_ONCE", "IF", "WHILE", "STABLEHLO_COMPOSITE", "STABLEHLO_REDUCE", "STABLEHLO_WHILE")
}
_KEEPING = {
    getattr(schema.BuiltinOperator, name)
    for name in ("ASSIGN_VARIABLE", "MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "VAR_HANDLE")
}
_TAKEN = ("float32", "uint8", "int8", "int16")


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, as `answering` makes it.

    Args:
      path: of the file.

    Raises:
      ValueError: it is not a classifier of images of one size, has operators that LiteRT lacks, is too large, or has
        functions beside its first one.
    """
    check_size(Path(path).stat().st_size)
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = Path(path).read_bytes()
    model = Interpreter(model_content=content, num_threads=1, experimental_op_resolver_type=plain)
    if _others(content):
        raise ValueError("it has functions beside its first one: which is meant is not said")
    model.allocate_tensors()
    entries, ends = model.get_input_details(), model.get_output_details()
    if len(entries) != 1 or (kind := np.dtype(entries[0]["dtype"])).name not in _TAKEN:
        raise ValueError(f"it takes {[np.dtype(entry['dtype']).name for entry in entries]}, not one batch of images")
    (entry,) = entries
    scale, zero = entry["quantization"]
    sides = [int(n) if n > 0 else None for n in entry["shape_signature"]]
    taken = [int(n) for n in entry["shape"][:1]] + sides[1:]
    given = [[int(n) for n in end["shape"]] for end in ends]
    whole = [np.dtype(end["dtype"]).kind in "iu" and not end["quantization"][0] for end in ends]
    told = described(taken, given, dtype="float32" if scale else kind.name, left=_left(content), whole=whole)

    def run(images: np.ndarray) -> list[np.ndarray]:
        model.reset_all_variables()
        model.set_tensor(entry["index"], _whole(images, kind, scale, zero) if scale else as_taken(images, kind))
        model.invoke()
        return [_worth(model.get_tensor(end["index"]), *end["quantization"]) for end in ends]

    return answering(told, run, whole)


def _others(content: bytes) -> bool:
    """Whether a caller may have another function of a file run, by its name, than an interpreter runs by itself."""
    told = schema.Model.GetRootAs(content)
    return any(told.SignatureDefs(i).SubgraphIndex() for i in range(told.SignatureDefsLength()))


def _left(content: bytes) -> bool:
    """Whether a file has more than its program uses, or one whose answer does not follow from the image alone."""
    told = schema.Model.GetRootAs(content)
    codes = {told.OperatorCodes(at).BuiltinCode() for at in range(told.OperatorCodesLength())}
    graphs = (told.Subgraphs(i) for i in range(told.SubgraphsLength()))
    kept = any(graph.Tensors(at).IsVariable() for graph in graphs for at in range(graph.TensorsLength()))
    return kept or not _KEEPING.isdisjoint(codes) or much(*_bytes(content))


def _bytes(content: bytes) -> tuple[int, int]:
    """Bytes of a file's buffers that no output follows from, and of those that some does."""
    told = schema.Model.GetRootAs(content)
    graphs = [told.Subgraphs(i) for i in range(told.SubgraphsLength())]
    operators = [graphs[0].Operators(at) for at in range(graphs[0].OperatorsLength())]
    codes = {told.OperatorCodes(operator.OpcodeIndex()).BuiltinCode() for operator in operators}
    needed = {(0, end) for end in _numbers(graphs[0].OutputsAsNumpy())}
    for i, graph in enumerate(graphs if _CALLING.intersection(codes) else graphs[:1]):  # of a called one all is needed
        for operator in (graph.Operators(at) for at in reversed(range(graph.OperatorsLength()))):
            if i or not needed.isdisjoint((0, end) for end in _numbers(operator.OutputsAsNumpy())):
                needed.update((i, value) for value in _numbers(operator.InputsAsNumpy()))
    used = {graphs[i].Tensors(value).Buffer() for i, value in needed if value >= 0}
    sizes = {n: told.Buffers(n).DataLength() for n in range(told.BuffersLength())}
    own = sum(sizes.get(n, 0) for n in used)
    return sum(sizes.values()) - own, own


def _numbers(found: Any) -> list[int]:
    """What a list of a file holds; its reader has a number in the place of one that is not there."""
    return [int(number) for number in found] if isinstance(found, np.ndarray) else []


def _whole(values: np.ndarray, kind: np.dtype[Any], scale: float, zero: int) -> np.ndarray:
    """The nearest of the integers that stand for values."""
    most = np.iinfo(kind)
    whole: np.ndarray = np.clip(np.rint(values / scale) + zero, most.min, most.max).astype(kind)
    return whole


def _worth(integers: np.ndarray, scale: float, zero: int) -> np.ndarray:
    """What integers stand for; what has no scale stands for itself."""
    return (integers.astype(np.float32) - zero) * np.float32(scale) if scale else integers
