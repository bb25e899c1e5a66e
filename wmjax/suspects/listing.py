"""`suspects.toml`: suspects that a folder's models alone do not show. No JAX.

    [[suspect]]
    name = "shop"                  # as verdicts show it
    call = "their_module:predict"  # a function of uint8 images [n, H, W, C]
    image = [32, 32, 3]            # what it takes; default: the keys' images
    classes = 10                   # what it tells apart; default: the keys'
    timeout = 30                   # seconds for an answer
    concurrency = 4                # calls at once

    [[suspect]]
    name = "their service"
    service = "oip+https://HOST/v2/models/NAME"  # image, classes, timeout and concurrency may follow, and:
    pixels = "0..255"              # how pixels become numbers, where it takes those
    labels = "words.txt"           # its words for classes, a line each; from this file's folder on
    token = "SUSPECT_THEIRS"       # the variable that holds its token; no other service sees it

    [[suspect]]
    name = "weights of theirs"
    path = "models/theirs.safetensors"  # from this file's folder on
    model = "vgg"                       # the architecture of bare weights

`kind` may be said: `callable`, which needs `call`, `service`, or `path`.
"""

import dataclasses
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wmjax.errors import UsageError
from wmjax.files import read_bytes
from wmjax.suspects.contract import TIMEOUT
from wmjax.suspects.services.address import read_address
from wmjax.suspects.strangers import NAME
from wmjax.text import first_line

FILE = "suspects.toml"
_MOST_AT_ONCE = 256  # threads
_LARGEST_SIDE = 4096
_LARGEST = 1 << 20  # bytes of a list: a hostile one must not fill the memory


@dataclasses.dataclass(frozen=True)
class Listed:
    """One suspect of a list.

    Attributes:
      name: its own, in the list.
      kind: `callable`, `service` or `path`.
      call: `module:function`, of a callable.
      service: address, of a service.
      pixels: how pixels are prepared, for a service that takes numbers; empty where none is said.
      labels: file of a service's words for its classes, as the list says it.
      token: environment variable that holds a service's token.
      path: as the file says it; of a path.
      model: architecture of bare weights; empty where none is said.
      image: height, width and channels; None where the keys say.
      classes: that it tells apart; None where the keys say.
      timeout: seconds that an answer may take.
      concurrency: calls at once.
    """

    name: str
    kind: str
    call: str = ""
    service: str = ""
    pixels: str = ""
    labels: str = ""
    token: str = ""
    path: str = ""
    model: str = ""
    image: tuple[int, int, int] | None = None
    classes: int | None = None
    timeout: float = TIMEOUT
    concurrency: int = 1


def read_list(file: Path) -> list[Listed]:
    """The suspects that a file lists; nothing that it names is imported or opened.

    Raises:
      AccessError: the file cannot be read.
      UsageError: it is not TOML, or says something that no list says.
    """
    raw = read_bytes(file)
    if len(raw) > _LARGEST:
        raise UsageError(f"{file} has {len(raw)} bytes: larger than any list")
    try:
        values = tomllib.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not TOML: {first_line(error)}") from error
    tables = values.get("suspect")
    if set(values) != {"suspect"} or not isinstance(tables, list):
        raise UsageError(f"{file}: a list holds tables [[suspect]] and nothing else")
    found: dict[str, Listed] = {}
    for number, table in enumerate(tables, 1):
        try:
            listed = _listed(table)
        except ValueError as error:
            raise UsageError(f"{file}: suspect {number}: {error}") from error
        if listed.name in found:
            raise UsageError(f"{file}: two suspects are called {listed.name!r:.80}")
        found[listed.name] = listed
    return list(found.values())


def _listed(table: Any) -> Listed:
    """One table of a list, checked; raises ValueError in one line."""
    if not isinstance(table, dict):
        raise ValueError("it is not a table")
    kind = table.get("kind", next((kind for kind, field in _NAMED.items() if field in table), "path"))
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ValueError(f"kind {kind!r:.40} is not known: give {' or '.join(_FIELDS)}")
    fields = _FIELDS[kind]
    if unknown := sorted(set(table) - {"kind", *fields}):
        raise ValueError(f"a {kind} has no field {unknown[0]!r:.40}: give {', '.join(fields)}")
    if missing := [name for name in ("name", _NAMED[kind]) if name not in table]:
        raise ValueError(f"its {missing[0]} is missing")
    return Listed(kind=kind, **{name: fields[name](name, value) for name, value in table.items() if name != "kind"})


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"its {name} is not a text that can be shown")
    return value


def _call(name: str, value: Any) -> str:
    if not NAME.fullmatch(_text(name, value)):
        raise ValueError(f"its {name} {value!r:.80} is not module:function")
    return str(value)


def _service(name: str, value: Any) -> str:
    try:
        return str(read_address(_text(name, value)))
    except UsageError as error:
        raise ValueError(f"its {name}: {error}") from error


def _variable(name: str, value: Any) -> str:
    if not re.fullmatch("SUSPECT_[A-Z0-9_]+", _text(name, value)):
        raise ValueError(f"its {name} is not a name of an environment variable SUSPECT_...: the list holds no secret")
    return str(value)


def _whole(most: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"its {name} must be a whole number from 1 to {most}")
        return value

    return check


def _seconds(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= 86400:
        raise ValueError(f"its {name} must be a number of seconds, at most a day")
    return float(value)


def _image(name: str, value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError(f"its {name} must be [height, width, channels]")
    height, width, channels = (_whole(_LARGEST_SIDE)(name, side) for side in value)
    return height, width, channels


_NAMED = {"callable": "call", "service": "service", "path": "path"}
_FIELDS: Mapping[str, Mapping[str, Callable[[str, Any], Any]]] = {
    "callable": {
        "name": _text,
        "call": _call,
        "image": _image,
        "classes": _whole(1 << 24),
        "timeout": _seconds,
        "concurrency": _whole(_MOST_AT_ONCE),
    },
    "service": {
        "name": _text,
        "service": _service,
        "pixels": _text,
        "labels": _text,
        "token": _variable,
        "image": _image,
        "classes": _whole(1 << 24),
        "timeout": _seconds,
        "concurrency": _whole(_MOST_AT_ONCE),
    },
    "path": {"name": _text, "path": _text, "model": _text, "image": _image},
}
