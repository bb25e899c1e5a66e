"""What answers for a file in ONNX Runtime's own format, in a process of its own (`alone_child`): ONNX Runtime."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime

from wmjax.suspects.formats.answering import answering, as_taken, check_size, described

TAKEN = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    **{f"tensor({kind.__name__})": kind for kind in (np.uint8, np.int8, np.int16, np.int32, np.int64)},
}


def program(path: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that answers for a file, as `answering` makes it.

    Args:
      path: of the file.

    Raises:
      ValueError: it is not a classifier of images of one size, or is too large.
    """
    check_size(Path(path).stat().st_size)
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    session = onnxruntime.InferenceSession(
        Path(path).read_bytes(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    entries, ends = session.get_inputs(), session.get_outputs()
    if len(entries) != 1 or (kind := TAKEN.get(entries[0].type)) is None:
        raise ValueError(f"it takes {[entry.type for entry in entries]}, not one batch of images")
    (entry,) = entries
    free = entry.shape[0] if entry.shape and not isinstance(entry.shape[0], int) else 0  # how an open batch is called
    shapes = [list(value.shape or ()) for value in (entry, *ends)]
    one = [[1 if n == free else n for n in shape[:1]] + shape[1:] for shape in shapes]
    whole = ["int" in end.type for end in ends]
    told = described(one[0], one[1:], dtype=kind.__name__, whole=whole)
    return answering(told, lambda images: session.run(None, {entry.name: as_taken(images, kind)}), whole)
