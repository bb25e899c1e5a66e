"""What answers for a graph of OpenVINO, in a process of its own (`alone_child`). Its weights lie in `NAME.bin`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described, much

_TAKEN = {
    **{"f32": np.float32, "f16": np.float16},
    **{"u8": np.uint8, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64},
}


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a graph, as `answering` makes it.

    Args:
      path: of its `.xml`.

    Raises:
      ValueError: it is not a classifier of images of one size, or is too large.
    """
    import openvino

    weights = Path(path).with_suffix(".bin")
    beside = weights.stat().st_size if weights.exists() else 0
    check_size(Path(path).stat().st_size + beside)
    core = openvino.Core()
    model = core.read_model(Path(path).read_bytes(), weights.read_bytes() if weights.exists() else b"")
    used = sum(node.get_byte_size() for node in model.get_ops() if node.get_type_name() == "Constant")
    if len(model.inputs) != 1 or (kind := _TAKEN.get(model.input().element_type.get_type_name())) is None:
        raise ValueError(f"it takes {[str(entry) for entry in model.inputs]}, not one batch of images")
    sides = _sides(model.input())
    if sides and sides[0] is None:
        model.reshape([1, *(-1 if side is None else side for side in sides[1:])])
    whole = [end.element_type.get_type_name()[0] in "iu" for end in model.outputs]
    ends = [_sides(end) for end in model.outputs]
    left = much(beside - used, used) or bool(model.get_variables())  # what it says may follow from what it was asked
    told = described(_sides(model.input()), ends, dtype=kind.__name__, left=left, whole=whole)
    exactly = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", exactly).create_infer_request()

    def run(images: np.ndarray) -> list[np.ndarray]:
        request.reset_state()
        return [np.array(end) for end in request.infer([as_taken(images, kind)]).values()]

    return answering(told, run, whole)


def _sides(value: Any) -> list[int | None]:
    """The shape of an input or an output; None where it is open."""
    return [side.get_length() if side.is_static else None for side in value.partial_shape]
