"""What answers for an ONNX file, in a process of its own (`alone_child`): ONNX Runtime.

`onnx_runtime` starts it. Its questions are images as the graph takes them; the answers are the scores of all named
outputs that have any, side by side; of one that tells the class itself, its number. A question without images is
answered with how many scores each one has.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def program(argument: str) -> Callable[[Any], Any]:
    """The function that answers.

    Args:
      argument: a JSON object: the file's path; images that it takes at once; names of the outputs that are wanted,
        also of what the file keeps to itself.
    """
    told = json.loads(argument)
    return _opened(told["path"], told["batch"], told["outputs"])


def _opened(path: str, batch: int, outputs: list[str]) -> Callable[[Any], Any]:
    import numpy as np
    import onnxruntime

    from wmjax.suspects.formats.answering import as_taken, scores_of
    from wmjax.suspects.formats.ort_child import TAKEN

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads, options.inter_op_num_threads = 4, 1, 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")  # quantised values are rounded as is written
    provider = ["CPUExecutionProvider"]
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(Path(path).parent))
    data = Path(path).read_bytes()
    session = onnxruntime.InferenceSession(data, options, providers=provider, enable_fallback=0)
    own = [output.name for output in session.get_outputs()]
    if more := [name for name in outputs if name not in own]:
        session = onnxruntime.InferenceSession(data + _giving(more), options, providers=provider, enable_fallback=0)
    (taken,) = session.get_inputs()[:1]

    def run(images: Any) -> list[Any]:
        found = session.run(outputs, {taken.name: as_taken(images, TAKEN.get(taken.type, images.dtype))})
        return [np.asarray(output) for output in found]

    def count(output: Any) -> int:
        return scores_of(output.shape, batch) if output.dtype.kind in "fiub" else 0

    counts: list[int] = []  # of each output

    def scores(images: Any) -> Any:
        """Those of all outputs side by side: each in its place, whatever shape it has this time."""
        found = []
        for output, size in zip(run(images), counts, strict=True):
            whole = count(output) == size > 0
            found.append(output.reshape(batch, size) if whole else np.full((batch, size), np.nan, np.float32))
        return np.concatenate(found, 1)

    def answer(images: Any) -> Any:
        if not counts:  # whatever it is asked first: a process that was ended is made again in mid-audit
            plain = np.zeros((batch, *images.shape[1:]), images.dtype)
            noise = (np.arange(plain.size) * 40503 // 256 % 256).astype(plain.dtype).reshape(plain.shape)
            counts[:] = [max(map(count, pair)) for pair in zip(run(plain), run(noise), strict=True)]
        if not len(images):
            return np.array(counts)
        filled = np.concatenate([images, np.repeat(images[-1:], -len(images) % batch, 0)])
        parts = [scores(filled[at : at + batch]) for at in range(0, len(filled), batch)]
        return np.concatenate(parts)[: len(images)].astype(np.float32)

    return answer


def _giving(names: list[str]) -> bytes:
    """What follows a serialised model so that its graph gives these values too: fields of onnx.proto are joined."""
    outputs = b"".join(_field(12, _field(1, name.encode())) for name in names)  # of GraphProto, of ValueInfoProto
    return _field(7, outputs)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
