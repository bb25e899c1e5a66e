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
from wmjax.suspects.pixels import AS_THEY_ARE
from wmjax.suspects.services.answers import beside, read_each
from wmjax.suspects.services.contract import Form, Malformed, Provider, Request, Said, Step, Told, as_json, document
from wmjax.suspects.services.pictures import written
from wmjax.text import by

_BYTES = "UINT8"
_WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
_FLOATS = ("FP16", "BF16", "FP32", "FP64")


def _about(url: str) -> Request:
    return Request(url)


def _forms(url: str, about: Any, told: Told) -> list[Form]:
    declared = about.get("inputs") if isinstance(about, dict) else None
    if declared and (not isinstance(declared, list) or len(declared) != 1 or not isinstance(declared[0], dict)):
        raise UsageError("it takes several inputs, or none: wrap it in a function, module:function")
    given = declared[0] if declared else {}
    name, datatype = str(given.get("name", "images")), given.get("datatype")
    if datatype not in (None, *_WHOLE, *_FLOATS):
        raise UsageError(f"it takes {datatype!s:.20}, neither bytes nor numbers: wrap it in a function")
    way = _way(datatype, told.pixels)
    layout = _layout(given.get("shape"), told.image)
    step = partial(_step, url, name, datatype or (_BYTES if way in AS_THEY_ARE else "FP32"), way, layout)
    return [Form("bytes" if datatype == _BYTES else "numbers", step, layout.image, way)]


def _way(datatype: Any, pixels: str) -> str:
    """How pixels are prepared; empty for a model that declares bytes."""
    if datatype == _BYTES and pixels in ("", "0..255"):
        return ""
    if not pixels:
        raise UsageError(
            "it takes numbers, and nothing says how pixels become them: give `pixels`, e.g. 0..255 for bytes as they "
            "are, or 0..1"
        )
    if datatype in _WHOLE and pixels not in AS_THEY_ARE:
        raise UsageError(f"it takes {datatype}, so `pixels` can only be {' or '.join(AS_THEY_ARE)}")
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


def _step(url: str, name: str, datatype: str, way: str, layout: Layout, images: np.ndarray) -> Step:
    n, (height, width, channels) = len(images), layout.image
    sides = {"flat": [height * width * channels], "CHW": [channels, height, width]}
    shape = [n] * layout.counted + sides.get(layout.order, [height, width, channels])
    told = as_json({"name": name, "shape": shape, "datatype": datatype})
    data = written(images, way or "0..255", "flat CHW" if layout.order == "CHW" else "flat")
    body = b'{"inputs":[' + told[:-1] + b',"data":' + data + b"}]}"
    return Step(Request(f"{url}/infer", body), partial(_parse, n))


def _parse(n: int, body: bytes) -> Sequence[Said]:
    answer = document(body)
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(output, dict) for output in outputs):
        raise Malformed("it answers without outputs", answer)
    scores = [output for output in outputs if output.get("datatype") in _FLOATS and _columns(output, n) > 1]
    names = [output for output in outputs if output.get("datatype") in (*_WHOLE, "BYTES") and _columns(output, n)]
    best = [each for each in names if scores and 1 < _columns(each, n) == _columns(scores[0], n)]
    if len(scores) > 1 or len(names) > 1 or len(scores) + len(names) != max(1, len(outputs)):
        came = ", ".join(f"{output.get('datatype')} {output.get('shape')}" for output in outputs[:8])
        why = f"none of its outputs has scores or a class for each of {n} pictures"
        several = "several of its outputs may hold its answer: wrap it in a function, module:function"
        raise Malformed(several if scores or names else why, came)
    if best:  # scores of the classes that are named beside, not of all in their order
        pairs = zip(_rows(best[0], n), _rows(scores[0], n), strict=True)
        return read_each([{"labels": labels, "scores": values} for labels, values in pairs], n)
    if scores and names:
        both = zip(read_each(_rows(scores[0], n), n), _rows(names[0], n), strict=True)
        return [beside(found, row[0]) for found, row in both]  # of several names the first is the best
    if scores:
        return read_each(_rows(scores[0], n), n)
    return read_each([row[0] for row in _rows(names[0], n)], n)  # of several names the first is the best


def _rows(output: dict[str, Any], n: int) -> list[list[Any]]:
    """An output's values for each picture."""
    flat = _flat(output["data"])
    return [flat[at : at + len(flat) // n] for at in range(0, len(flat), len(flat) // n)]


def _columns(output: dict[str, Any], n: int) -> int:
    """Values for each picture in an output; 0 where it is none of n."""
    size = len(_flat(output.get("data")))
    shape = output.get("shape")
    return size // n if size % n == 0 and isinstance(shape, list) and len(shape) in (1, 2) else 0


def _flat(data: Any) -> list[Any]:
    """Data in one list, as the protocol has it or nested."""
    if not isinstance(data, list):
        return []
    return [value for row in data for value in _flat(row)] if data and isinstance(data[0], list) else data


PROVIDER = Provider("oip", "a server of the Open Inference Protocol v2 (KServe, Triton, MLServer)", _about, _forms)
