"""Where a service is: `oip+https://HOST/v2/models/NAME`, and what of it may be told."""

import ipaddress
import re
import urllib.parse
from typing import NamedTuple

from wmjax.errors import UsageError

_SERVICE = re.compile(r"(?:([a-z][a-z0-9]*)\+)?(https?://.*)", re.DOTALL | re.IGNORECASE)


class Address(NamedTuple):
    """A service's address; nothing in it is secret.

    Attributes:
      scheme: of the provider.
      url: http or https, without a slash at its end.
    """

    scheme: str
    url: str

    def __str__(self) -> str:
        return f"{self.scheme}+{self.url}"


def is_service(name: str) -> bool:
    """Whether what a user types is a service's address.

    >>> is_service("oip+https://models.example/v2/models/m"), is_service("shop:predict")
    (True, False)
    """
    return _SERVICE.fullmatch(name) is not None


def read_address(name: str) -> Address:
    """An address in its one form, so that what a service was shown is remembered however it is spelt.

    >>> str(read_address("oip+https://Models.Example:443/v2/models/m/"))
    'oip+https://models.example/v2/models/m'

    Raises:
      UsageError: it is none, holds what may be secret, or goes unencrypted over a network.
    """
    found = _SERVICE.fullmatch(name)
    if found is None or not found[1]:
        raise UsageError("a service is named SCHEME+https://HOST/..., e.g. v1+https://HOST/v1/models/NAME")
    try:
        parts = urllib.parse.urlsplit(found[2])
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "", None
    if not host or not re.fullmatch(r"[!-~]+", found[2]):
        raise UsageError("a service's address is SCHEME+https://HOST/..., in plain letters")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            "a service's address has no password, query or fragment: it is written into claims; a token comes from "
            "SUSPECT_TOKEN or `token`"
        )
    scheme = parts.scheme.lower()
    if scheme == "http" and not _is_here(host):
        raise UsageError(f"http://{host} would send pictures and token readable over the network: use https")
    if port == {"http": 80, "https": 443}[scheme]:
        port = None
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return Address(found[1].lower(), f"{scheme}://{place}{parts.path.rstrip('/')}")


def _is_here(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
