"""Lines of JSON, each chained to all before, so that damage shows.

Each line is a JSON object whose last field chains it to all before: the SHA-256 over the `sha256` of the line before
(64 characters; none for the first line) and over the line itself up to the comma before that field. In a shell:

    before=
    while IFS= read -r line; do
        before=$(printf %s "$before${line%,*}" | sha256sum | cut -c1-64)
        [ "${line##*,}" = '"sha256":"'"$before"'"}' ] || echo "damaged: $line"
    done < journal-1-of-1.jsonl

So a line that was changed, moved, dropped or taken from another journal is noticed, but for the last ones: a journal
without them is that of an audit that was killed earlier. Whoever edits a journal can chain it anew: the chain shows
damage, not who wrote. Where the writer has a secret (an audit has its keys), each line therefore has a last field `mac`
before that, HMAC-SHA256 with the secret over the SHA-256, in 64 characters, of the `sha256` before and the line up to
the comma before `mac`: who does not hold the secret can change nothing that a reader who holds it would believe.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

LONGEST = 1 << 30  # bytes of a line: that of a million models has their names, which are some 1e8
_MAC = re.compile(rb',"mac":"([0-9a-f]{64})"$')


def chained(values: dict[str, Any], before: str, secret: bytes = b"") -> tuple[bytes, str]:
    """A line of a journal, and its `sha256`.

    >>> chained({"a": 1}, before="")[0][:30]
    b'{"a":1,"sha256":"8b0f0d75aabe0'

    Args:
      values: what it holds; at least one field.
      before: the `sha256` of the line before; empty for the first.
      secret: the writer's, for a `mac`; none without one.
    """
    content = json.dumps(values, separators=(",", ":"), allow_nan=False)[:-1]
    if secret:
        content += f',"mac":"{mac_of(secret, _link(before, content.encode()))}"'
    link = _link(before, content.encode())
    return f'{content},"sha256":"{link}"}}\n'.encode(), link


def _link(before: str, content: bytes) -> str:
    return hashlib.sha256(before.encode() + content).hexdigest()


def mac_of(secret: bytes, digest: str) -> str:
    return hmac.digest(secret, digest.encode(), "sha256").hex()


class Line(NamedTuple):
    """A whole line.

    Attributes:
      values: what it holds.
      digest: SHA-256 of it and of what was before it, without its `mac`.
      mac: empty where it has none.
      link: its `sha256`.
      end: bytes up to its end.
    """

    values: dict[str, Any]
    digest: str
    mac: str
    link: str
    end: int


def unchained(file: BinaryIO) -> Iterator[Line]:
    """The whole lines of a file; raises ValueError where the chain is broken, or one is longer than any."""
    link, end = "", 0
    while raw := file.readline(LONGEST + 1):
        if len(raw) > LONGEST:
            raise ValueError(f"a line of more than {LONGEST} bytes")
        if not raw.endswith(b"\n"):
            return
        content, *tail = raw[:-1].rsplit(b",", 1)
        before, link, end = link, _link(link, content), end + len(raw)
        if tail != [f'"sha256":"{link}"}}'.encode()]:
            raise ValueError("a line is not the one that was written behind the line before")
        mac = _MAC.search(content)
        body = content[: mac.start()] if mac else content
        yield Line(json.loads(body + b"}"), _link(before, body), mac[1].decode() if mac else "", link, end)
