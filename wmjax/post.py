"""Sending a few bytes to a stranger's server: one answer of bounded size, no redirects, errors in one line."""

import http.client
import urllib.error
import urllib.parse
import urllib.request

from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.text import printable


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, or lead to another scheme."""

    def redirect_request(self, *_: object) -> None:
        return None


def post(url: str, body: bytes, kind: str, largest: int) -> bytes:
    """Sends a POST and gives the body of the answer.

    Args:
      url: http or https, without a password in it.
      body: what to send.
      kind: its Content-Type.
      largest: how many bytes the answer may have.

    Raises:
      UsageError: no such URL can be.
      AccessError: the network failed, or the server answered with an error or a redirect.
      InvalidFile: the answer is too large.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError
        request = urllib.request.Request(url, body, {"Content-Type": kind})
    except ValueError:
        raise UsageError("a server's address is a URL http://HOST or https://HOST, without a password") from None
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=30) as reply:
            answer: bytes = reply.read(largest + 1)
    except urllib.error.HTTPError as error:
        error.close()
        to = words(error.headers["Location"] or "")
        hint = f": give the address that it names, {to}" if to else ""
        raise AccessError(f"{place(url)} answered {error.code} {words(str(error.reason))}{hint}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        line = words(str(error)) or type(error).__name__
        raise AccessError(f"cannot reach {place(url)}: {line}: check the address and the network") from error
    if len(answer) > largest:
        raise InvalidFile(f"{place(url)} answered with more than {largest} bytes: too much to be what was asked for")
    return answer


def place(url: str) -> str:
    """A URL for messages, without its query, which may hold an access token."""
    parts = urllib.parse.urlsplit(url)
    return words(f"{parts.scheme}://{parts.netloc}{parts.path}")


def words(text: str) -> str:
    """A stranger's text as one short printable line."""
    return " ".join(printable(text, " ").split())[:200]
