"""Commitment files: every damaged byte, other forms and contents of the same, and values that make no sense."""

import base64
import copy
import dataclasses
import datetime
import json
from pathlib import Path

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from samples import BODY, KEY, NOISE, PUBLIC, SIGNER, assert_one_line, assert_refused, replaced, signed, with_id

from wmjax.errors import InvalidFile
from wmjax.keys import Commitment, Model, generate, new_signer, read_commitment, sign_commitment
from wmjax.keys.signing import sign
from wmjax.keys.statement import COMMITMENT


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("vault")


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
    (("rule", "evidence"), 1),
    (("rule", "evidence"), ["labels/1"]),
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


def test_another_kind_of_evidence_is_refused_in_one_line():
    values = replaced(("rule", "evidence"), "labels/2")
    assert_refused(lambda: Commitment.from_json(values), "evidence 'labels/2': this version weighs labels/1")


def test_another_kind_of_input_is_refused_in_one_line():
    values = replaced(("spec", "input"), {"kind": "text", "shape": [16]})
    assert_refused(lambda: Commitment.from_json(values), "input kind 'text': this version knows images only")
