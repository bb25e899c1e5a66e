"""The V1 protocol, `{"instances": [...]}` to `{"predictions": [...]}`: TF Serving, KServe V1, Vertex AI, and the
`/invocations` of MLflow and SageMaker.

Nothing declares what an instance is. Where the user says how pixels are prepared they are sent as numbers; else as PNG
files in base64, in the two ways that such servers know, and as JPEG where they take nothing else.
"""

import base64
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from wmjax.suspects.services.answers import read_only
from wmjax.suspects.services.contract import Declared, Form, Malformed, Provider, Request, Said, Step, as_json, document
from wmjax.suspects.services.pictures import encoded, written


def _about(url: str) -> None:
    return None


def _target(url: str) -> str:
    """Where questions go.

    >>> _target("https://a.example/v1/models/m"), _target("https://a.example/invocations")
    ('https://a.example/v1/models/m:predict', 'https://a.example/invocations')
    """
    named = re.search(r"/models/[^/:]+(/(versions|labels)/[^/:]+)?$", url)
    return f"{url}:predict" if named else url


def _forms(url: str, about: Any, declared: Declared) -> list[Form]:
    target = _target(url)
    if declared.pixels:
        return [Form("numbers", partial(_step, target, partial(_numbers, declared.pixels)), reading=declared.pixels)]
    return [
        Form(kind, partial(_step, target, partial(_file, kind, field)))
        for kind in ("png", "jpeg")
        for field in ("b64", "content")
    ]


def _numbers(way: str, image: np.ndarray) -> bytes:
    return written(image, way, "HWC")


def _file(kind: str, field: str, image: np.ndarray) -> bytes:
    return as_json({field: base64.b64encode(encoded(image, kind)).decode()})


def _step(target: str, instance: Callable[[np.ndarray], bytes], image: np.ndarray) -> Step:
    return Step(Request(target, b'{"instances":[' + instance(image) + b"]}"), _parse)


def _parse(body: bytes) -> Said:
    answer = document(body)
    if not isinstance(answer, dict) or "predictions" not in answer:
        raise Malformed("it answers without predictions", answer)
    return read_only(answer["predictions"])


PROVIDER = Provider(
    "v1",
    "a server of instances and predictions (TF Serving, KServe V1, Vertex AI, /invocations)",
    _about,
    _forms,
    "where it takes numbers, `pixels` says how pixels become them, e.g. 0..255 for bytes as they are",
)
