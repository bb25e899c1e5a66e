"""Hugging Face's endpoints and providers of image classification: a picture file to `[{"label", "score"}, ...]`.

All classes and their softmax are asked for; where an endpoint takes no parameters, the picture is its whole request,
without a Content-Type, and the best five come back.
"""

import base64
from functools import partial
from typing import Any

import numpy as np

from wmjax.suspects.services.answers import read_only, read_said
from wmjax.suspects.services.contract import Declared, Form, Provider, Request, Said, Step, as_json, document
from wmjax.suspects.services.pictures import encoded

_ALL = 1000  # classes to ask for; a server gives those that it has


def _about(url: str) -> None:
    return None


def _forms(url: str, about: Any, declared: Declared) -> list[Form]:
    most = max(_ALL, declared.classes)
    return [
        Form(kind, partial(step, url, kind, most)) for kind in ("png", "jpeg") for step in (_with_parameters, _bare)
    ]


def _with_parameters(url: str, kind: str, most: int, image: np.ndarray) -> Step:
    inputs = base64.b64encode(encoded(image, kind)).decode()
    parameters = {"top_k": most, "function_to_apply": "softmax"}
    return Step(Request(url, as_json({"inputs": inputs, "parameters": parameters})), _parse)


def _bare(url: str, kind: str, most: int, image: np.ndarray) -> Step:
    return Step(Request(url, encoded(image, kind), ""), _parse)


def _parse(body: bytes) -> Said:
    answer = document(body)
    rows = isinstance(answer, list) and answer and isinstance(answer[0], list)
    return read_only(answer) if rows else read_said(answer)


PROVIDER = Provider("hf", "a Hugging Face endpoint of image classification", _about, _forms)
