"""Names of objects, as users type them and as files here are called."""

import hashlib
import re
from typing import NamedTuple

PREFIX = "wmjax-store-"  # of the folders that mirrors are
_URL = re.compile(r"(gs|s3|hf):/{1,2}(.*)", re.DOTALL)  # `pathlib` makes one slash of two
_LONGEST = 200  # bytes of a file's name, of the 255 that file systems take


class Url(NamedTuple):
    """An object or what begins with its name: scheme, bucket, name without slashes at its ends."""

    scheme: str
    bucket: str
    name: str


def parse(text: str) -> Url | None:
    """Reads what a user typed; None where it is an ordinary path.

    >>> parse("gs://zoo/a/b/"), parse("hf://owner/repository@main/a"), parse("./a")
    (Url(scheme='gs', bucket='zoo', name='a/b'), Url(scheme='hf', bucket='owner/repository@main', name='a'), None)
    """
    found = _URL.match(text)
    if not found:
        return None
    parts = found[2].strip("/").split("/")
    depth = 1 if found[1] != "hf" else 3 if parts[0] == "datasets" else 2
    return Url(found[1], "/".join(parts[:depth]), "/".join(parts[depth:]))


def local_name(name: str) -> str:
    """An object's name as a path of a file here; those that no file can have become others.

    >>> local_name("a/b.onnx"), local_name("a//../b")
    ('a/b.onnx', 'a/%/%../b')
    """
    return "/".join(map(_part, name.split("/")))


def _part(part: str) -> str:
    if part in ("", ".", "..") or "\0" in part:
        part = "%" + part.replace("\0", "%00")
    raw = part.encode("utf-8", "surrogatepass")
    if len(raw) > _LONGEST:
        sha256 = hashlib.sha256(raw).hexdigest()[:16]
        return f"{raw[:_LONGEST].decode('utf-8', 'ignore')}%{sha256}"
    return part
