"""The Open Inference Protocol v2: KServe, Triton, MLServer, Seldon, OpenVINO. Plain JSON, which all of them take.

`GET /v2/models/NAME` names inputs and outputs, though some servers leave that empty; `POST .../infer` asks. Pixels are
sent as numbers, so how they are prepared is whoever asks to say, unless the model declares bytes.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from wmjax.errors import UsageError
from wmjax.suspects.pixels import AS_BYTES
from wmjax.suspects.services.answers import beside, read_said
from wmjax.suspects.services.contract import Declared, Form, Malformed, Provider, Request, Said, Step, as_json, document
from wmjax.suspects.services.pictures import written
from wmjax.text import by

_BYTES = "UINT8"
_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


def _about(url: str) -> Request:
    return Request(url)


def _forms(url: str, about: Any, declared: Declared) -> list[Form]:
    inputs = about.get("inputs") if isinstance(about, dict) else None
    if inputs and (not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict)):
        raise UsageError("it takes several inputs, or none: wrap it in a function, module:function")
    given = inputs[0] if inputs else {}
    name, datatype = str(given.get("name", "images")), given.get("datatype")
    if datatype not in (None, *_WHOLE, *_FLOATS):
        raise UsageError(f"it takes {datatype!s:.20}, neither bytes nor numbers: wrap it in a function")
    layout = _layout(given.get("shape"), declared.image)
    way = _way(datatype, declared.pixels, layout.image[2])
    step = partial(_step, url, name, datatype or (_BYTES if way in AS_BYTES else "FP32"), way, layout)
    return [Form("bytes" if datatype == _BYTES else "numbers", step, layout.image, way)]


def _way(datatype: Any, pixels: str, channels: int) -> str:
    """How pixels are prepared; empty for a model that declares bytes."""
    if datatype == _BYTES and (pixels == "0..255" or (channels == 1 and not pixels)):
        return ""
    if datatype == _BYTES and not pixels:  # asked in the wrong order, a copy would look like a stranger
        raise UsageError(
            "it takes bytes in colour, and nothing says which comes first: give `pixels`, 0..255 for red or bgr-0..255 "
            "for blue"
        )
    if not pixels:
        raise UsageError(
            "it takes numbers, and nothing says how pixels become them: give `pixels`, e.g. 0..255 for bytes as they "
            "are, or 0..1"
        )
    if datatype in _WHOLE and pixels not in AS_BYTES:
        raise UsageError(f"it takes {datatype}, so `pixels` can only be one of {', '.join(AS_BYTES)}")
    return pixels


class Layout(NamedTuple):
    """How pictures lie in the input.

    Attributes:
      image: height, width and channels that it takes.
      order: of a picture's axes: `HWC`, `CHW` or `flat`.
      counted: whether an axis before them counts the pictures.
    """

    image: tuple[int, int, int]
    order: str = "HWC"
    counted: bool = True


def _layout(shape: Any, image: tuple[int, int, int]) -> Layout:
    """How pictures lie in an input of a declared shape.

    >>> _layout([-1, 3, 32, 32], (8, 8, 3))
    Layout(image=(32, 32, 3), order='CHW', counted=True)
    >>> _layout([-1, 64], (8, 8, 1)).order, _layout([32, 32, 3], (8, 8, 1)).counted
    ('flat', False)
    """
    if shape is None or shape == []:
        return Layout(image)
    if not isinstance(shape, list) or not all(type(side) is int for side in shape):
        raise UsageError("it declares an input without a shape: wrap it in a function, module:function")
    counted = len(shape) in (2, 4)
    sides = shape[1:] if counted else shape
    if len(sides) == 1 and sides[0] in (-1, math.prod(image)):
        if image[2] != 1:  # asked in the wrong order, a copy would look like a stranger
            raise UsageError(
                "it takes the numbers of a picture in one row, and nothing says whether colours come first or last "
                "there: wrap it in a function, module:function"
            )
        return Layout(image, "flat", counted)
    if len(sides) == 3 and (sides[2] in (1, 3) or (sides[2] == -1 and sides[0] not in (1, 3))):
        return Layout(_sides(sides, image), "HWC", counted)
    if len(sides) == 3 and sides[0] in (1, 3):
        return Layout(_sides([*sides[1:], sides[0]], image), "CHW", counted)
    told = by(tuple(shape[:8]))
    raise UsageError(f"it takes {told}, which pictures of {by(image)} are not: wrap it in a function, module:function")


def _sides(sides: Sequence[int], image: tuple[int, int, int]) -> tuple[int, int, int]:
    height, width, channels = (own if side == -1 else side for side, own in zip(sides, image, strict=True))
    return height, width, channels


def _step(url: str, name: str, datatype: str, way: str, layout: Layout, image: np.ndarray) -> Step:
    height, width, channels = layout.image
    sides = {"flat": [height * width * channels], "CHW": [channels, height, width]}
    shape = [1] * layout.counted + sides.get(layout.order, [height, width, channels])
    told = as_json({"name": name, "shape": shape, "datatype": datatype})
    data = written(image, way or "0..255", "flat CHW" if layout.order == "CHW" else "flat")
    body = b'{"inputs":[' + told[:-1] + b',"data":' + data + b"}]}"
    return Step(Request(f"{url}/infer", body), _parse)


def _parse(body: bytes) -> Said:
    answer = document(body)
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Malformed("it answers without outputs", answer)
    scores = [values for each in outputs if each.get("datatype") in _FLOATS and len(values := _values(each)) > 1]
    names = [values for each in outputs if each.get("datatype") in (*_WHOLE, "BYTES") and (values := _values(each))]
    if len(scores) > 1 or len(names) > 1 or len(scores) + len(names) != max(1, len(outputs)):
        came = ", ".join(f"{output.get('datatype')} {output.get('shape')}" for output in outputs[:8])
        several = "several of its outputs may hold its answer: wrap it in a function, module:function"
        raise Malformed(several if scores or names else "none of its outputs has scores or a class", came)
    if not scores:
        _check_names(names[0])
        return read_said(names[0][0])  # of several names the first is the best
    if names and 1 < len(names[0]) == len(scores[0]):  # scores of the classes that are named, not of all in their order
        return read_said({"labels": names[0], "scores": scores[0]})
    return beside(read_said(scores[0]), names[0][0]) if names else read_said(scores[0])


def _check_names(names: Sequence[Any]) -> None:
    """Raises `Malformed` where whole numbers may be scores, of which the first says little."""
    if len(names) > 1 and any(type(name) is int for name in names):
        raise Malformed("its whole numbers may be scores or the best classes: wrap it in a function", [*names])


def _values(output: dict[str, Any]) -> list[Any]:
    """An output's values about the picture; none where its shape is of something else."""
    shape = output.get("shape")
    return _flat(output.get("data")) if isinstance(shape, list) and len(shape) in (1, 2) else []


def _flat(data: Any) -> list[Any]:
    """Data in one list, as the protocol has it or nested."""
    if not isinstance(data, list):
        return []
    return [value for row in data for value in _flat(row)] if data and isinstance(data[0], list) else data


PROVIDER = Provider("oip", "a server of the Open Inference Protocol v2 (KServe, Triton, MLServer)", _about, _forms)
