"""Which 32 bytes may be an owner's Ed25519 public key: those that only the holder of a private key can sign for.

Of eight points of the curve, those of small order, signatures come out right over most anything without any private
key, so whoever names one as `owner` can be spoken for by everybody. A point has one encoding here: RFC 8032 wants y
below p = 2**255 - 19, and libraries differ in what they make of another. The eight have one of five y.
"""

from wmjax.errors import InvalidFile

_P = 2**255 - 19
_Y_OF_ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL = frozenset({0, 1, _P - 1, _Y_OF_ORDER_8, _P - _Y_OF_ORDER_8})


def check_owner(owner: str, what: str) -> None:
    """Raises `InvalidFile` where a public key could be anybody's, or is not in its one form.

    Args:
      owner: 64 hex digits.
      what: the name of the file that says so, for messages.
    """
    y = int.from_bytes(bytes.fromhex(owner), "little") & (2**255 - 1)
    if y >= _P:
        raise InvalidFile(f"{what}: the public key of its owner is not in its one form (RFC 8032)")
    if y in _SMALL:
        raise InvalidFile(f"{what}: its owner is a point of small order: anybody can sign for it")
