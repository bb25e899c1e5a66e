"""Commitments and key files: standard vectors, every damaged byte, exchanged contents, and what must never leak."""

import base64
import copy
import dataclasses
import datetime
import hashlib
import json
import shutil
import stat
import subprocess
import sys
import tracemalloc
import types
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyrage
import pytest
import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from wmjax.data import Dataset
from wmjax.errors import AccessError, InvalidFile, UsageError, WmjaxError
from wmjax.keys import (
    Commitment,
    Key,
    Model,
    Signer,
    Unlock,
    derive_key,
    generate,
    make_spec,
    new_signer,
    open_key,
    open_signer,
    read_commitment,
    sign_commitment,
    spend,
    vault,
    write_key,
)
from wmjax.keys.commitment import merkle_root
from wmjax.keys.keyset import assemble, default_rule
from wmjax.keys.merkle import Tree, proven_root, tree_hash
from wmjax.keys.signing import sign
from wmjax.keys.statement import COMMITMENT
from wmjax.keys.vault import armour, dearmour, new_identity, seal, unseal

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


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vault")


def assert_one_line(error: WmjaxError) -> None:
    assert str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 600
    assert SECRET.hex() not in str(error)


def assert_same(key: Key, expected: Key) -> None:
    assert key.secret == expected.secret
    assert key.commitment == expected.commitment
    assert np.array_equal(key.images, expected.images)
    assert np.array_equal(key.labels, expected.labels)


# The Merkle tree

CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_tree_hash_gives_the_roots_of_certificate_transparency(size):
    assert tree_hash([bytes.fromhex(leaf) for leaf in CT_LEAVES[:size]]).hex() == CT_ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing():
    assert tree_hash([]) == hashlib.sha256(b"").digest()


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.2: a stack of full subtrees, joined as they fill, and the rest from the right."""
    stack: list[tuple[int, bytes]] = []

    def join() -> None:
        (size, right), (_, left) = stack.pop(), stack.pop()
        stack.append((2 * size, hashlib.sha256(b"\x01" + left + right).digest()))

    for entry in entries:
        stack.append((1, hashlib.sha256(b"\x00" + entry).digest()))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            join()
    while len(stack) > 1:
        join()
    return stack[0][1]


@pytest.mark.parametrize("size", range(1, 41))
def test_tree_hash_is_the_naive_one(size):
    entries = [bytes([i]) * (i % 5) for i in range(size)]
    assert tree_hash(entries) == naive_root(entries)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_changing_any_leaf_changes_the_root(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))
    changed = data.draw(st.binary(max_size=4).filter(lambda entry: entry != entries[at]))
    assert tree_hash([*entries[:at], changed, *entries[at + 1 :]]) != tree_hash(entries)


def test_leaves_cannot_pass_for_nodes():
    left, right = hashlib.sha256(b"\x00a").digest(), hashlib.sha256(b"\x00b").digest()
    assert tree_hash([left + right]) != tree_hash([b"a", b"b"])
    assert tree_hash([b"\x01" + left + right]) != tree_hash([b"a", b"b"])


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
def test_the_docstring_suffices_for_the_root(key):
    leaves = []
    for i, (image, label) in enumerate(zip(key.images, key.labels, strict=True)):
        message = b"\x00\x00\x00\x08wmjax/v1\x00\x00\x00\x04salt" + i.to_bytes(8, "big") + b"\x00\x00\x00\x20" + SECRET
        salt = hashlib.shake_256(message).hexdigest(16)
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        leaves.append(f'{{"index":{i},"input_sha256":"{digest}","label":{label},"salt":"{salt}"}}'.encode())
    assert key.commitment.root == naive_root(leaves).hex()


def test_the_root_is_bound_to_secret_images_labels_and_order():
    images, labels = KEY.images, KEY.labels
    roots = [
        merkle_root(SECRET, images, labels),
        merkle_root(OTHER, images, labels),
        merkle_root(SECRET, images[::-1], labels),
        merkle_root(SECRET, images, (labels + 1) % 10),
        merkle_root(SECRET, images[:2], labels[:2]),
        merkle_root(SECRET, images ^ np.uint8(1), labels),
    ]
    assert len(set(roots)) == len(roots)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 40])
def test_a_proof_leads_to_the_root_from_its_own_entry_and_place_alone(size):
    entries = [bytes([i]) for i in range(size)]
    tree = Tree(entries)
    assert tree.root == tree_hash(entries)
    for index, entry in enumerate(entries):
        proof = tree.proof(index)
        assert proven_root(entry, index, size, proof) == tree.root
        assert proven_root(b"other", index, size, proof) != tree.root
        assert size == 1 or proven_root(entry, (index + 1) % size, size, proof) != tree.root
        assert proven_root(entry, index, size, [*proof, bytes(32)]) is None
        assert not proof or proven_root(entry, index, size, proof[:-1]) is None
    assert proven_root(b"", size, size, []) is None
    with pytest.raises(IndexError):
        tree.proof(size)


def test_a_proof_of_rfc_9162():
    """Of the eight entries of the standard vectors; the path of entry 5 is worked out by hand."""
    entries = [bytes.fromhex(leaf) for leaf in CT_LEAVES]
    leaf = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    six, left = hashlib.sha256(b"\1" + leaf[6] + leaf[7]).digest(), tree_hash(entries[:4])
    assert Tree(entries).proof(5) == [leaf[4], six, left]
    assert proven_root(entries[5], 5, 8, [leaf[4], six, left]).hex() == CT_ROOTS[-1]


# Commitment files

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


def assert_refused_as_commitment(raw: bytes, folder: Path) -> None:
    path = folder / "changed.commitment.json"
    path.write_bytes(raw)
    with pytest.raises(InvalidFile) as caught:
        read_commitment(path)
    assert_one_line(caught.value)


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
@pytest.mark.parametrize("model", [None, Model("step-1", "a" * 64, "b" * 64)], ids=["key alone", "with a model"])
def test_a_commitment_file_is_read_back(key, model, folder):
    path = folder / "some.commitment.json"
    path.write_bytes(sign_commitment(key.commitment, SIGNER, model))
    read = read_commitment(path)
    assert (read.commitment, read.owner, read.model) == (key.commitment, SIGNER.owner, model)
    assert read.raw == path.read_bytes()
    assert Commitment.from_json(key.commitment.to_json()) == key.commitment


def test_a_commitment_file_is_canonical_json_and_its_id_the_hash_of_the_body():
    assert rfc8785.dumps(json.loads(PUBLIC)) + b"\n" == PUBLIC
    predicate = json.loads(base64.b64decode(json.loads(PUBLIC)["payload"]))["predicate"]
    assert predicate == {**with_id(BODY), "owner": SIGNER.owner}
    assert BODY["id"] == KEY.commitment.id


@pytest.mark.parametrize("other", [{"owner": "0" * 64}, {"owner": 5}, {"owner": new_signer().owner}])
def test_a_commitment_signed_by_another_than_its_owner_is_refused(other, folder):
    envelope = json.loads(signed(BODY))
    statement = json.loads(base64.b64decode(envelope["payload"]))
    statement["predicate"] |= other
    envelope["payload"] = base64.b64encode(rfc8785.dumps(statement) + b"\n").decode()
    assert_refused_as_commitment(rfc8785.dumps(envelope) + b"\n", folder)


OTHER_KEY = {"name": "watermark key", "digest": {"sha256": "0" * 64}}


@pytest.mark.parametrize("subjects", [[], [{}], "x", [OTHER_KEY], [{}] * 3])
def test_a_commitment_about_something_else_is_refused(subjects, folder):
    assert_refused_as_commitment(sign(subjects, COMMITMENT, BODY, SIGNER), folder)


def test_the_rule_is_bound_to_the_id():
    rule = dataclasses.replace(KEY.commitment.rule, alpha=1e-3)
    assert dataclasses.replace(KEY.commitment, rule=rule).id != KEY.commitment.id


def test_any_changed_byte_of_a_commitment_is_refused(folder):
    for at, byte in enumerate(PUBLIC):
        for new in (byte ^ 1, byte ^ 0x20):
            assert_refused_as_commitment(PUBLIC[:at] + bytes([new]) + PUBLIC[at + 1 :], folder)


def test_any_truncated_commitment_is_refused(folder):
    for end in range(len(PUBLIC)):
        assert_refused_as_commitment(PUBLIC[:end], folder)


@given(st.integers(0, len(PUBLIC)), st.sampled_from([b" ", b"\n", b"\0", b"0", b"\xef\xbb\xbf", b"{}"]))
def test_any_inserted_byte_of_a_commitment_is_refused(folder, at, more):
    changed = PUBLIC[:at] + more + PUBLIC[at:]
    if changed != PUBLIC:
        assert_refused_as_commitment(changed, folder)


def test_other_encodings_and_spellings_of_the_same_commitment_are_refused(folder):
    values = json.loads(PUBLIC)
    for text in (json.dumps(values), json.dumps(values, indent=1)):
        assert_refused_as_commitment(text.encode() + b"\n", folder)
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        assert_refused_as_commitment(PUBLIC.decode().encode(encoding), folder)
    assert_refused_as_commitment(PUBLIC.replace(b'"payload"', b'"payload":"","payload"'), folder)


@pytest.mark.parametrize("name", BODY)
def test_a_dropped_field_is_refused_even_with_a_fitting_id(name, folder):
    values = copy.deepcopy(BODY)
    del values[name]
    assert_refused_as_commitment(signed(values), folder)
    if name != "id":
        assert_refused_as_commitment(signed(with_id(values)), folder)


@pytest.mark.parametrize("part", [None, "spec", "rule"])
def test_an_added_field_is_refused_even_with_a_fitting_id(part, folder):
    values = copy.deepcopy(BODY)
    (values[part] if part else values)["extra"] = 1
    assert_refused_as_commitment(signed(with_id(values)), folder)
    with pytest.raises(InvalidFile):
        Commitment.from_json(with_id(values))


@pytest.mark.parametrize("name", ["root", "created", "rule", "spec", "id"])
def test_a_field_of_another_commitment_is_refused(name, folder):
    other = dataclasses.replace(NOISE.commitment, created="2027-01-01T00:00:00+00:00").to_json()
    values = {**copy.deepcopy(BODY), name: other[name]}
    if name == "rule":
        values["rule"] = {**values["rule"], "alpha": 0.5}
    assert_refused_as_commitment(signed(values), folder)


@pytest.mark.parametrize("raw", [b"", b"\n", b"null\n", b"[]\n", b"5\n", b'"x"\n', b"\xff\n", b"NaN\n", b"[" * 10**5])
def test_what_is_no_commitment_is_refused(raw, folder):
    assert_refused_as_commitment(raw, folder)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["abstract", "noise", "fixed", "wmjax-commitment/1"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
places = st.sampled_from(
    [(name,) for name in KEY.commitment.to_json() if name != "id"]
    + [("spec", name) for name in KEY.commitment.to_json()["spec"]]
    + [("rule", name) for name in KEY.commitment.to_json()["rule"]]
)


def replaced(place: tuple[str, ...], value: object) -> dict:
    values = copy.deepcopy(BODY)
    inside = values
    for name in place[:-1]:
        inside = inside[name]
    inside[place[-1]] = value
    return with_id(values)


@given(places, json_values)
def test_any_value_anywhere_is_refused_or_read_back_the_same(folder, place, value):
    raw = signed(replaced(place, value))
    path = folder / "forged.commitment.json"
    path.write_bytes(raw)
    try:
        assert sign_commitment(read_commitment(path).commitment, SIGNER) == raw
    except InvalidFile as error:
        assert_one_line(error)


BAD_VALUES = [
    (("spec", "classes"), 10.5),
    (("spec", "input"), [8, 8, 1]),
    (("spec", "input", "kind"), "text"),
    (("spec", "input", "shape"), [8, 8]),
    (("spec", "input", "more"), 1),
    (("spec", "triggers"), True),
    (("spec", "parameters"), {"a": [1]}),
    (("rule", "alpha"), 0),
    (("rule", "alpha"), "1e-6"),
    (("rule", "beta"), 2),
    (("rule", "rate"), -1),
    (("rule", "max_queries"), 0),
    (("root",), "not hex"),
    (("created",), "yesterday"),
]


@pytest.mark.parametrize(("place", "value"), BAD_VALUES)
def test_a_commitment_that_makes_no_sense_is_refused_even_with_a_fitting_id(place, value, folder):
    assert_refused_as_commitment(signed(replaced(place, value)), folder)


def test_the_time_of_a_new_key_is_now_in_utc():
    created = datetime.datetime.fromisoformat(generate(KEY.spec).commitment.created)
    assert created.utcoffset() == datetime.timedelta(0)
    assert abs(datetime.datetime.now(datetime.UTC) - created) < datetime.timedelta(minutes=1)


# Key files


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
def test_a_key_is_opened_as_it_was_sealed(key):
    assert_same(unseal(seal(key, recipients=[RECIPIENT]), UNLOCK), key)


def test_the_armoured_form_opens_too():
    assert_same(unseal(armour(SEALED).encode(), UNLOCK), KEY)


def test_a_key_sealed_to_two_recipients_opens_with_each():
    other_identity, other = new_identity()
    sealed = seal(KEY, recipients=[RECIPIENT, other])
    assert_same(unseal(sealed, UNLOCK), KEY)
    assert_same(unseal(sealed, Unlock(identity=other_identity)), KEY)


def test_sealing_twice_gives_other_bytes():
    assert seal(KEY, recipients=[RECIPIENT]) != SEALED


def assert_refused(
    action: Callable[[], object], match: str | None = None, error: type[WmjaxError] = InvalidFile
) -> None:
    with pytest.raises(error, match=match) as caught:
        action()
    assert_one_line(caught.value)


def assert_refused_or_the_same(raw: bytes, path: Path) -> None:
    path.write_bytes(raw)
    try:
        key, _ = open_key(path, UNLOCK)
    except (InvalidFile, AccessError) as error:
        assert_one_line(error)
    else:
        assert_same(key, KEY)


def test_a_flipped_bit_anywhere_in_a_key_file_is_refused(folder):
    for flip in (1, 0x20):
        for at, byte in enumerate(SEALED):
            assert_refused_or_the_same(SEALED[:at] + bytes([byte ^ flip]) + SEALED[at + 1 :], folder / "flipped.age")


def test_a_truncated_key_file_is_refused(folder):
    path = folder / "short.age"
    for end in sorted({*range(0, len(SEALED), len(SEALED) // 60), len(SEALED) - 1}):
        path.write_bytes(SEALED[:end])
        assert_refused(lambda: open_key(path, UNLOCK))


@given(st.binary(max_size=300))
def test_bytes_that_are_no_key_file_are_refused(raw):
    assert_refused(lambda: unseal(raw, UNLOCK))
    assert_refused(lambda: unseal(b"age-encryption.org/v1\n" + raw, UNLOCK))


def test_a_lengthened_key_file_is_refused():
    assert_refused(lambda: unseal(SEALED + b"\0", UNLOCK))
    assert_refused(lambda: unseal(SEALED + SEALED, UNLOCK))


def test_another_identity_is_refused():
    assert_refused(lambda: unseal(SEALED, Unlock(identity=new_identity()[0])), "identity is not its own")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "\n\n",
        "# public key: age1\n",
        "AGE-SECRET-KEY-1",
        "AGE-SECRET-KEY-1QQQ",
        RECIPIENT,
        "é\0",
        IDENTITY * 2,
    ],
    ids=range(9),
)
def test_a_malformed_identity_is_refused(text):
    assert_refused(lambda: unseal(SEALED, Unlock(identity=text)), "identity file")


@pytest.mark.parametrize(
    "text", ["", "age1", "age1" + "q" * 58, RECIPIENT[:-1], RECIPIENT + "q", "a\nb", IDENTITY], ids=range(7)
)
def test_a_malformed_recipient_is_refused(text):
    assert_refused(lambda: seal(KEY, recipients=[text]), "recipient", UsageError)
    assert_refused(lambda: seal(KEY, recipients=[RECIPIENT, text]), "recipient", UsageError)


@pytest.mark.parametrize(
    "openers",
    [{}, {"recipients": []}, {"passphrase": ""}, {"recipients": [RECIPIENT], "passphrase": "p"}],
    ids=["none", "no recipients", "empty passphrase", "both"],
)
def test_a_key_is_sealed_to_recipients_or_a_passphrase_and_not_both(openers):
    assert_refused(lambda: seal(KEY, **openers), "one of them", UsageError)


def test_a_passphrase_opens_what_it_sealed():
    assert_same(unseal(seal(NOISE, passphrase="correct horse"), Unlock(passphrase="correct horse")), NOISE)


# An age file that holds "{}" under the passphrase "right", with a work factor of 2**4 in place of some 2**19.
QUICK = base64.b64decode(
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IHNjcnlwdCBFQkVTRXhRVkZoY1lHUm9iSEIwZUh3IDQKZ1VWNHR6SFFpV3U3R010NmVPclpjUDNX"
    "cW5ES1NIOVg3eTNNdmZFT1J4OAotLS0gK3pIbTNGV0pQVXBoMlJwSVU0Zzl3eW1HWCtXMFRwUkFYS1I4cFhyM1NEWQogISIjJCUmJygpKiss"
    "LS4vKf6/2+1m4LLTN2o/pVvmWYW6"
)


def test_another_passphrase_is_refused():
    assert_refused(lambda: unseal(QUICK, Unlock(passphrase="right")), "does not hold a wmjax key")
    for wrong in ("", "Right", "right ", "é", "\0"):
        assert_refused(lambda wrong=wrong: unseal(QUICK, Unlock(passphrase=wrong)), "passphrase is not its own")


def test_a_passphrase_file_that_asks_for_years_of_work_is_refused():
    forged = QUICK.replace(b" 4\n", b" 50\n", 1)
    assert forged != QUICK
    assert_refused(lambda: unseal(forged, Unlock(passphrase="right")))


def test_identity_and_passphrase_do_not_open_each_others_files():
    assert_refused(lambda: unseal(SEALED, Unlock(passphrase="right")))
    assert_refused(lambda: unseal(QUICK, UNLOCK))


# What is inside


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


# Files on disk


def write(key: Key, stem: Path, recipients: list[str] | None = None) -> list[Path]:
    return write_key(key, stem, recipients=recipients or [], passphrase=None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_written_files_open_and_only_the_commitment_is_public(tmp_path):
    paths = write(NOISE, tmp_path / "new" / "my.key")
    sealed, public, identity = (tmp_path / "new" / f"my.key{end}" for end in (".age", ".commitment.json", ".identity"))
    signer = tmp_path / "new" / "my.key.signer.pem"
    assert set(paths) == {sealed, public, identity, signer} == set(sealed.parent.iterdir())
    assert (mode(sealed), mode(identity), mode(signer)) == (0o600, 0o600, 0o600)
    key, raw = open_key(sealed, Unlock(identity=identity.read_text()))
    assert_same(key, NOISE)
    assert raw == sealed.read_bytes()
    assert read_commitment(public).commitment == NOISE.commitment
    assert read_commitment(public).owner == open_signer(signer).owner


def test_no_identity_is_written_where_a_recipient_is_given(tmp_path):
    write(KEY, tmp_path / "k", [RECIPIENT])
    assert {path.name for path in tmp_path.iterdir()} == {"k.age", "k.commitment.json", "k.signer.pem"}
    assert_same(open_key(tmp_path / "k.age", UNLOCK)[0], KEY)


@pytest.mark.parametrize("end", [".age", ".commitment.json", ".identity", ".signer.pem"])
def test_existing_files_are_never_overwritten(end, tmp_path):
    (tmp_path / f"k{end}").write_text("precious")
    assert_refused(lambda: write(KEY, tmp_path / "k"), "never overwritten", UsageError)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["precious"]


def test_spent_triggers_are_remembered_for_everybody_who_could_open_the_key(tmp_path):
    other_identity, other = new_identity()
    write(KEY, tmp_path / "k", [RECIPIENT, other])
    path = tmp_path / "k.age"
    spend(path, UNLOCK, [2, 0])
    spend(path, Unlock(identity=other_identity), [1], released=[0])
    for unlock in (UNLOCK, Unlock(identity=other_identity)):
        key, _ = open_key(path, unlock)
        assert_same(key, KEY)
        assert key.spent == {1, 2}
    assert mode(path) == 0o600
    assert_refused(lambda: spend(path, UNLOCK, [0, 1]), "one claim at a time", UsageError)
    assert open_key(path, UNLOCK)[0].spent == {1, 2}


def test_a_key_under_a_passphrase_stays_under_it_when_triggers_are_spent(tmp_path, monkeypatch):
    def decrypt(sealed: bytes, words: str) -> bytes:
        assert sealed.startswith(words.encode())
        return sealed.removeprefix(words.encode())

    quick = types.SimpleNamespace(encrypt=lambda plain, words: words.encode() + plain, decrypt=decrypt)  # no scrypt
    monkeypatch.setattr(vault.pyrage, "passphrase", quick)
    write_key(KEY, tmp_path / "k", recipients=[], passphrase="words")
    unlock = Unlock(passphrase="words")
    spend(tmp_path / "k.age", unlock, [1])
    assert open_key(tmp_path / "k.age", unlock)[0].spent == {1}
    assert b"ENCRYPTED" in (tmp_path / "k.signer.pem").read_bytes()
    owner = read_commitment(tmp_path / "k.commitment.json").owner
    assert open_signer(tmp_path / "k.signer.pem", "words").owner == owner
    assert_refused(lambda: open_signer(tmp_path / "k.signer.pem", "other"), "passphrase")
    assert_refused(lambda: open_signer(tmp_path / "k.signer.pem"), "encrypted", UsageError)


@pytest.mark.parametrize("spent", [[3], [-1], ["0"], [True], 5, None])
def test_a_key_that_names_impossible_spent_triggers_is_refused(spent):
    contents = json.loads(pyrage.decrypt(SEALED, [pyrage.x25519.Identity.from_str(IDENTITY.splitlines()[1])]))
    contents["spent"] = spent
    sealed = pyrage.encrypt(json.dumps(contents).encode(), [pyrage.x25519.Recipient.from_str(RECIPIENT)])
    assert_refused(lambda: unseal(sealed, UNLOCK))


@pytest.mark.parametrize("raw", [b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\0" * 99])
def test_what_is_no_signing_key_is_refused(raw, tmp_path):
    (tmp_path / "signer.pem").write_bytes(raw)
    assert_refused(lambda: open_signer(tmp_path / "signer.pem"), "signing key")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl is not here")
def test_a_signing_key_of_openssl_signs_too(tmp_path):
    path = tmp_path / "lab.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    write_key(KEY, tmp_path / "k", recipients=[RECIPIENT], passphrase=None, signer=open_signer(path))
    assert not (tmp_path / "k.signer.pem").exists()
    assert read_commitment(tmp_path / "k.commitment.json").owner == open_signer(path).owner
    subprocess.run(["openssl", "genpkey", "-algorithm", "x25519", "-out", path], check=True)
    assert_refused(lambda: open_signer(path), "Ed25519")


def test_nothing_is_written_for_a_malformed_recipient(tmp_path):
    assert_refused(lambda: write(KEY, tmp_path / "k", ["age1"]), "recipient", UsageError)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stem", ["file/k", "file/deeper/k"])
def test_a_folder_that_cannot_be_is_an_access_error(stem, tmp_path):
    (tmp_path / "file").write_text("")
    assert_refused(lambda: write(KEY, tmp_path / stem), "cannot write", AccessError)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_that_is_too_long_is_an_access_error(tmp_path):
    with pytest.raises(AccessError):
        write(KEY, tmp_path / ("k" * 300))


def test_a_missing_file_is_an_access_error(tmp_path):
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "cannot read", AccessError)
    assert_refused(lambda: read_commitment(tmp_path / "k.commitment.json"), "cannot read", AccessError)
    assert_refused(lambda: open_key(tmp_path, UNLOCK), "cannot read", AccessError)


def test_a_key_beside_the_commitment_of_another_is_refused(tmp_path):
    write(KEY, tmp_path / "k", [RECIPIENT])
    (tmp_path / "k.commitment.json").write_bytes(sign_commitment(NOISE.commitment, SIGNER))
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "commits to")
    (tmp_path / "k.commitment.json").write_bytes(PUBLIC[:-1])
    assert_refused(lambda: open_key(tmp_path / "k.age", UNLOCK), "canonical")


def test_comparing_two_keys_raises_nothing():
    assert isinstance(abstract_key() == KEY, bool)


def test_the_secret_shows_nowhere(tmp_path):
    write(NOISE, tmp_path / "k", [RECIPIENT])
    unlock = Unlock(identity=IDENTITY, passphrase="correct horse")
    shown = [repr(NOISE), str(NOISE), repr(NOISE.commitment), repr(unlock), str(unlock)]
    shown += [path.read_bytes().decode("latin-1") for path in tmp_path.iterdir()]
    for text in shown:
        for hidden in (
            SECRET.hex(),
            repr(SECRET),
            SECRET.decode("latin-1"),
            IDENTITY.splitlines()[-1],
            "correct horse",
        ):
            assert hidden not in text
        assert base64.b64encode(SECRET).decode() not in text


@pytest.mark.skipif(shutil.which("age") is None, reason="the age program is not on PATH")
def test_the_age_program_opens_a_key_file(tmp_path):
    write(KEY, tmp_path / "k")
    command = ["age", "-d", "-i", tmp_path / "k.identity", tmp_path / "k.age"]
    opened = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(opened.stdout)["secret"] == SECRET.hex()


@pytest.mark.skipif(shutil.which("age") is None, reason="the age program is not on PATH")
def test_the_age_program_opens_the_armoured_form(tmp_path):
    write(KEY, tmp_path / "k")
    sealed = (tmp_path / "k.age").read_bytes()
    command = ["age", "-d", "-i", tmp_path / "k.identity"]
    opened = subprocess.run(command, input=armour(sealed).encode(), capture_output=True, check=True, timeout=60)
    assert json.loads(opened.stdout)["secret"] == SECRET.hex()


# Armour


@given(st.binary(max_size=400))
def test_armour_is_undone(raw):
    text = armour(raw)
    assert dearmour(text) == dearmour(f"\n{text}\n") == raw
    assert max(map(len, text.splitlines())) <= 64
    assert text.isascii()


LINES = armour(SEALED).splitlines()


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        LINES[1:],
        LINES[:-1],
        LINES[:1],
        LINES[:1] * 2,
        [LINES[0], "é", LINES[-1]],
        [LINES[0], "A", LINES[-1]],
        [LINES[0], "====", LINES[-1]],
        [LINES[0], *LINES],
        [*LINES, *LINES],
        [LINES[0].lower(), *LINES[1:]],
        [*LINES[:3], "", LINES[3] + " ", *LINES[4:]],
    ],
    ids=range(13),
)
def test_bad_armour_is_refused(lines):
    assert_refused(lambda: dearmour("\n".join(lines)), "armoured")


def test_armour_with_the_line_ends_of_windows_opens():
    assert dearmour("\r\n".join(LINES)) == SEALED


# Imports


def test_keys_and_statistics_import_no_jax():
    program = (
        "import sys, wmjax.keys, wmjax.stats; print(sorted({'jax', 'jaxlib', 'flax', 'sklearn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert found.stdout.strip() == "[]"


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
