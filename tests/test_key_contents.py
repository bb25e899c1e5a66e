"""What is inside a key file: exchanged secrets, images and commitments, bombs, and forms that are none."""

import base64
import dataclasses
import json
import tracemalloc
import zlib

import numpy as np
import pyrage
import pytest
from samples import (
    CREATED,
    IDENTITY,
    KEY,
    NOISE,
    OTHER,
    RECIPIENT,
    SEALED,
    SECRET,
    UNLOCK,
    abstract_key,
    assert_refused,
    assert_same,
    noise_key,
    replaced,
    with_id,
)

from wmjax.errors import InvalidFile, UsageError
from wmjax.keys import Key, Unlock
from wmjax.keys.commitment import merkle_root
from wmjax.keys.keyset import assemble
from wmjax.keys.vault import new_identity, seal, unseal


def contents_of(key: Key) -> dict:
    identity = pyrage.x25519.Identity.from_str(IDENTITY.splitlines()[-1])
    return json.loads(pyrage.decrypt(seal(key, recipients=[RECIPIENT]), [identity]))


def reseal(contents: object) -> bytes:
    plaintext = contents if isinstance(contents, bytes) else json.dumps(contents).encode()
    return pyrage.encrypt(plaintext, [pyrage.x25519.Recipient.from_str(RECIPIENT)])


def packed(images: np.ndarray | bytes) -> str:
    return base64.b64encode(zlib.compress(bytes(images))).decode()


def forged(key: Key, **changes: object) -> bytes:
    return reseal({**contents_of(key), **changes})


def test_resealed_contents_open():
    assert_same(unseal(forged(NOISE), UNLOCK), NOISE)


def test_images_are_inside_only_where_the_secret_does_not_give_them():
    assert contents_of(KEY)["images"] is None
    inside = zlib.decompress(base64.b64decode(contents_of(NOISE)["images"]))
    assert inside == NOISE.images.tobytes()


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
def test_an_exchanged_secret_is_refused(key):
    assert_refused(lambda: unseal(forged(key, secret=OTHER.hex()), UNLOCK), "does not match its commitment")


@pytest.mark.parametrize(("key", "other"), [(KEY, abstract_key(OTHER)), (NOISE, noise_key(OTHER))], ids=[0, 1])
def test_an_exchanged_commitment_is_refused(key, other):
    sealed = forged(key, commitment=other.commitment.to_json())
    assert_refused(lambda: unseal(sealed, UNLOCK), "does not match its commitment")


def test_an_altered_commitment_is_refused():
    commitment = {**KEY.commitment.to_json(), "created": "2020-01-01T00:00:00+00:00"}
    assert_refused(lambda: unseal(forged(KEY, commitment=commitment), UNLOCK), "altered")


def test_exchanged_images_are_refused():
    one_bit = NOISE.images.copy()
    one_bit[-1, -1, -1, -1] ^= 1
    for images in (noise_key(OTHER).images, NOISE.images[::-1], one_bit):
        sealed = forged(NOISE, images=packed(images.tobytes()))
        assert_refused(lambda sealed=sealed: unseal(sealed, UNLOCK), "does not match its commitment")


def test_too_few_or_too_many_images_are_refused():
    raw = NOISE.images.tobytes()
    for images in (b"", raw[:-1], raw + b"\0", raw + raw):
        assert_refused(lambda images=images: unseal(forged(NOISE, images=packed(images)), UNLOCK))


def test_images_that_do_not_unpack_are_refused():
    good = contents_of(NOISE)["images"]
    for images in ("", "!", good[:-8], good[8:], good + " ", "AAAA", 5, [good], {}, True):
        assert_refused(lambda images=images: unseal(forged(NOISE, images=images), UNLOCK))


def assert_refused_without_memory(sealed: bytes) -> None:
    tracemalloc.start()
    try:
        assert_refused(lambda: unseal(sealed, UNLOCK))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


BOMB = packed(bytes(32 << 20))


def test_a_zlib_bomb_in_the_images_fills_no_memory():
    assert_refused_without_memory(forged(NOISE, images=BOMB))


def test_a_zlib_bomb_under_a_giant_spec_fills_no_memory():
    spec = {**NOISE.spec.to_json(), "input": {"kind": "image", "shape": [4096, 4096, 4096]}, "triggers": 2**20}
    commitment = with_id({**NOISE.commitment.to_json(), "spec": spec})
    assert_refused_without_memory(forged(NOISE, commitment=commitment, images=BOMB))


@pytest.mark.parametrize(
    "contents",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"5", b"{}", contents_of(KEY)["commitment"], b"NaN"],
    ids=range(9),
)
def test_a_plaintext_that_is_no_key_is_refused(contents):
    assert_refused(lambda: unseal(reseal(contents), UNLOCK))


@pytest.mark.parametrize("name", ["format", "secret", "commitment", "images"])
def test_a_missing_or_senseless_field_is_refused(name):
    contents = contents_of(NOISE)
    for value in (5, [], {}, "x", "\n", True, "00"):
        assert_refused(lambda value=value: unseal(reseal({**contents, name: value}), UNLOCK))
    del contents[name]
    assert_refused(lambda: unseal(reseal(contents), UNLOCK))


def test_a_deeply_nested_plaintext_is_refused():
    assert_refused(lambda: unseal(reseal(b"[" * 10**5), UNLOCK))


def test_a_key_of_an_unknown_scheme_is_refused():
    assert_refused(lambda: unseal(forged(KEY, commitment=replaced(("spec", "scheme"), "nothing")), UNLOCK))


def test_a_key_over_a_data_set_without_its_images_is_refused():
    assert_refused(lambda: unseal(forged(NOISE, images=None), UNLOCK))


def test_a_self_derived_key_with_images_of_its_own_choice_is_refused():
    images = np.zeros_like(KEY.images)
    commitment = replaced(("root",), merkle_root(SECRET, images, KEY.labels))
    sealed = forged(KEY, commitment=commitment, images=packed(images.tobytes()))
    assert_refused(lambda: unseal(sealed, UNLOCK))


@pytest.mark.parametrize("spent", [[3], [-1], ["0"], [True], 5, None])
def test_a_key_that_names_impossible_spent_triggers_is_refused(spent):
    contents = json.loads(pyrage.decrypt(SEALED, [pyrage.x25519.Identity.from_str(IDENTITY.splitlines()[1])]))
    contents["spent"] = spent
    sealed = pyrage.encrypt(json.dumps(contents).encode(), [pyrage.x25519.Recipient.from_str(RECIPIENT)])
    assert_refused(lambda: unseal(sealed, UNLOCK))


def test_a_forger_cannot_pass_a_key_off_as_self_derived():
    """A scheme over images, named without its source: the images would be the forger's own choice."""
    honest = abstract_key()
    images = np.zeros_like(honest.images)
    for scheme, parameters in (("content", ()), ("content", (("scale", 1), ("text", "T"))), ("noise", (("sigma", 9),))):
        spec = dataclasses.replace(honest.spec, scheme=scheme, parameters=parameters)
        with pytest.raises(UsageError):
            assemble(honest.secret, spec, honest.commitment.rule, images, CREATED)
        commitment = dataclasses.replace(honest.commitment, spec=spec)
        contents = {
            "format": "wmjax-key/1",
            "secret": honest.secret.hex(),
            "commitment": commitment.to_json(),
            "images": base64.b64encode(zlib.compress(images.tobytes())).decode(),
        }
        text, recipient = new_identity()
        sealed = pyrage.encrypt(json.dumps(contents).encode(), [pyrage.x25519.Recipient.from_str(recipient)])
        with pytest.raises(InvalidFile):
            unseal(sealed, Unlock(identity=text))
