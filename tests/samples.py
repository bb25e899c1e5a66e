"""Two small keys, whoever signs for them, and what every refusal of a key's files looks like."""

import copy
import hashlib
from collections.abc import Callable

import numpy as np
import pytest
import refusals
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wmjax.data import Dataset
from wmjax.errors import InvalidFile, WmjaxError
from wmjax.keys import Key, Signer, Unlock, derive_key, make_spec, sign_commitment
from wmjax.keys.signing import sign
from wmjax.keys.specify import default_rule
from wmjax.keys.statement import COMMITMENT
from wmjax.keys.vault import new_identity, seal

SECRET, OTHER = bytes(range(32)), bytes(32)
CREATED = "2026-01-01T00:00:00+00:00"
IDENTITY, RECIPIENT = new_identity()
UNLOCK = Unlock(identity=IDENTITY)


def abstract_key(secret: bytes = SECRET) -> Key:
    spec = make_spec("abstract", image=(8, 8, 1), classes=10, triggers=3)
    return derive_key(secret, spec, default_rule(spec), created=CREATED)


def noise_key(secret: bytes = SECRET) -> Key:
    rng = np.random.default_rng(1)
    data = Dataset(rng.integers(256, size=(9, 4, 4, 1), dtype=np.uint8), np.arange(9, dtype=np.int32), 10)
    spec = make_spec("noise", image=(4, 4, 1), classes=10, triggers=3, source=("any", data))
    return derive_key(secret, spec, default_rule(spec), data, CREATED)


KEY, NOISE = abstract_key(), noise_key()
SEALED = seal(KEY, recipients=[RECIPIENT])


def assert_one_line(error: WmjaxError) -> None:
    """As of every refusal; nor does the line tell the secret."""
    refusals.assert_one_line(error)
    assert SECRET.hex() not in str(error)


def assert_same(key: Key, expected: Key) -> None:
    assert key.secret == expected.secret
    assert key.commitment == expected.commitment
    assert np.array_equal(key.images, expected.images)
    assert np.array_equal(key.labels, expected.labels)


SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(32)))
BODY = KEY.commitment.to_json()
PUBLIC = sign_commitment(KEY.commitment, SIGNER)


def signed(values: dict) -> bytes:
    """A commitment file of whatever values, by somebody whose signature is good."""
    subject = {"name": "watermark key", "digest": {"sha256": values.get("id", "")}}
    return sign([subject], COMMITMENT, values, SIGNER)


def with_id(body: dict) -> dict:
    body = {name: value for name, value in body.items() if name != "id"}
    return {**body, "id": hashlib.sha256(rfc8785.dumps(body)).hexdigest()}


def replaced(place: tuple[str, ...], value: object) -> dict:
    values = copy.deepcopy(BODY)
    inside = values
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    return with_id(values)


def assert_refused(
    action: Callable[[], object], match: str | None = None, error: type[WmjaxError] = InvalidFile
) -> None:
    with pytest.raises(error, match=match) as caught:
        action()
    assert_one_line(caught.value)
