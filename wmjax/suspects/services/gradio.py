"""Gradio's apps (Spaces), as their own pages ask them: upload a picture, call the named function, read its queue.

`/gradio_api/info` names the functions: the one that the address ends with, else `predict`, else the only one.
"""

import json
import uuid
from functools import partial
from typing import Any

import numpy as np

from wmjax.errors import UsageError
from wmjax.suspects.services.answers import beside, read_said
from wmjax.suspects.services.contract import Declared, Form, Malformed, Provider, Request, Said, Step, as_json, document
from wmjax.suspects.services.pictures import encoded


def _root(url: str) -> tuple[str, str]:
    """Where the app is, and the function that the address names.

    >>> _root("https://a.hf.space"), _root("https://a.hf.space/classify")
    (('https://a.hf.space', ''), ('https://a.hf.space', 'classify'))
    """
    scheme, _, rest = url.partition("://")
    place, _, name = rest.partition("/")
    before, _, last = name.rpartition("/")
    return f"{scheme}://{place}" + (f"/{before}" if before else ""), last


def _about(url: str) -> Request:
    return Request(f"{_root(url)[0]}/gradio_api/info")


def _forms(url: str, about: Any, declared: Declared) -> list[Form]:
    root, asked = _root(url)
    functions = about.get("named_endpoints") if isinstance(about, dict) else None
    if not isinstance(functions, dict) or not functions:
        raise UsageError("it is not an app of Gradio with a named function")
    name = f"/{asked or 'predict'}"
    if not asked and name not in functions and len(functions) == 1:
        name = next(iter(functions))
    if name not in functions:
        known = ", ".join(map(str, functions))
        raise UsageError(f"it has no function {name[:80]}, only {known:.200}: end the address with one of them")
    before, after = _others(functions[name])
    return [Form(kind, partial(_upload, root, name, before, after, kind)) for kind in ("png", "jpeg")]


def _others(function: Any) -> tuple[list[Any], list[Any]]:
    """The function's other arguments, before and after its picture."""
    try:
        parameters = list(function["parameters"])
        images = [place for place, each in enumerate(parameters) if each["component"] == "Image"]
        values = [each.get("parameter_default") for each in parameters]
        missing = [place for place, each in enumerate(parameters) if not each.get("parameter_has_default")]
    except (KeyError, TypeError, AttributeError) as error:
        raise UsageError("it does not say what its function takes: wrap it in a function, module:function") from error
    if len(images) != 1 or set(missing) - set(images):
        raise UsageError("its function takes more than a picture: wrap it in a function, module:function")
    return values[: images[0]], values[images[0] + 1 :]


def _upload(root: str, name: str, before: list[Any], after: list[Any], kind: str, image: np.ndarray) -> Step:
    mark, end = uuid.uuid4().hex, "jpg" if kind == "jpeg" else kind
    head = f'Content-Disposition: form-data; name="files"; filename="picture.{end}"\r\nContent-Type: image/{kind}'
    body = f"--{mark}\r\n{head}\r\n\r\n".encode() + encoded(image, kind) + f"\r\n--{mark}--\r\n".encode()
    request = Request(f"{root}/gradio_api/upload", body, f"multipart/form-data; boundary={mark}")
    return Step(request, partial(_call, f"{root}/gradio_api/call{name}", before, after, f"picture.{end}"))


def _call(url: str, before: list[Any], after: list[Any], file: str, body: bytes) -> Step:
    """The uploaded picture is what the function is called with."""
    paths = document(body)
    if not isinstance(paths, list) or len(paths) != 1 or not isinstance(paths[0], str):
        raise Malformed("it does not say where an uploaded picture lies", paths)
    picture = {"path": paths[0], "orig_name": file, "meta": {"_type": "gradio.FileData"}}
    return Step(Request(url, as_json({"data": [*before, picture, *after]})), partial(_await, url))


def _await(url: str, body: bytes) -> Step:
    """The call waits in a queue."""
    queued = document(body)
    event = queued.get("event_id") if isinstance(queued, dict) else None
    if not isinstance(event, str) or not event.isalnum():
        raise Malformed("it does not say where its answer will lie", queued)
    return Step(Request(f"{url}/{event}"), _parse)


def _parse(body: bytes) -> Said:
    """The last event of a stream is the answer."""
    lines = [line for line in body.decode(errors="replace").splitlines() if line]
    events = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    if not events or not data or events[-1] != "complete":
        if events and events[-1] == "error":
            return ()  # the app failed on this picture: it is silent about it
        raise Malformed("its queue ended without an answer", lines[-1] if lines else "")
    try:
        answer = json.loads(data[-1])
    except (ValueError, RecursionError) as error:
        raise Malformed("it answers with no JSON", data[-1]) from error
    if not isinstance(answer, list) or not answer:
        raise Malformed("its function gives nothing back", answer)
    if len(answer) > 1:
        raise Malformed("its function gives several things back: wrap it in a function, module:function", answer)
    found = answer[0]
    if isinstance(found, dict) and "confidences" in found:
        if found["confidences"] and found.get("label") is not None:
            return beside(read_said(found["confidences"]), found["label"])
        return read_said(found["confidences"] or found.get("label"))
    return read_said(found)


PROVIDER = Provider("gradio", "an app of Gradio (a Space)", _about, _forms)
