"""Bytes within JSON: compressed (zlib, RFC 1950), in base64."""

import base64
import zlib


def pack(raw: bytes | memoryview, level: int = 9) -> str:
    """The text that `unpack` reads.

    >>> unpack(pack(bytes(1000)), 1000) == bytes(1000)
    True
    """
    return base64.b64encode(zlib.compress(raw, level)).decode()


def unpack(text: str, size: int) -> bytes:
    """The bytes behind a stranger's text; raises ValueError where they are not `size`, before it unpacks more."""
    try:
        raw = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    except zlib.error as error:
        raise ValueError("compressed bytes were expected") from error
    if len(raw) != size:
        raise ValueError(f"{size} bytes were expected")
    return raw
