"""Damaged and hostile claims, commitments and tokens: refused in one line, or judged for what they are."""

import base64
import copy
import dataclasses
import hashlib
import itertools
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import forger
import numpy as np
import pytest
from damage import altered, cuts, flips, inner, refused, unsigned, written
from forger import abstract_key, day, knowing
from refusals import messages
from tsa import LocalTsa

from wmjax.canonical import read_canonical, write_canonical
from wmjax.data.dataset import Dataset
from wmjax.errors import AccessError, InvalidFile
from wmjax.evidence import lacks
from wmjax.evidence.authority import Authority, read_authority
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.timestamps import check
from wmjax.files import LARGEST, read_bytes
from wmjax.keys import Input, Model, Signer, make_spec, new_signer, sign_commitment
from wmjax.keys.signing import sign
from wmjax.keys.statement import COMMITMENT, _subjects, parse_commitment

NONCE, SINCE, ALPHA = b"n" * 32, day(2024, 6), 1e-3  # five triggers are enough for it
MUTATIONS = 20_000  # at least so many, over all kinds


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """A small honest claim with a time stamp, and who made it."""

    signer: Signer
    court: Court
    authority: Authority
    claim: bytes
    commitment: bytes
    token: bytes


@pytest.fixture(scope="module", autouse=True)
def small_claims_will_do() -> Iterator[None]:
    """Five triggers make a match: a short file has every one of its bytes damaged."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lacks, "DATED_BITS", 0.0)
        yield


@pytest.fixture(scope="module")
def exhibit(tmp_path_factory: pytest.TempPathFactory) -> Exhibit:
    tsa = LocalTsa(tmp_path_factory.mktemp("tsa"))
    authority, signer, key = read_authority(tsa.authority), new_signer(), abstract_key(b"\x01" * 32, 5, ALPHA)
    attached = forger.commit(key, signer, forger.dated(tsa, day(2024)))
    claim = forger.honest_claim(key, knowing(key), NONCE, signer=signer, commitments=[attached])
    court = Court(NONCE, forger.suspect(knowing(key)), authorities=[authority], since=SINCE, alpha=ALPHA)
    assert judge(claim, court).verdict == "match"
    return Exhibit(signer, court, authority, claim.raw, attached.public.raw, attached.tokens[0])


def claims(exhibit: Exhibit) -> Iterator[bytes]:
    """Damaged claims."""
    yield from flips(exhibit.claim)
    yield from cuts(exhibit.claim, 2)
    yield from written(altered(read_canonical(exhibit.claim, "it")))
    yield from unsigned(exhibit.claim, "claim")


def commitments(exhibit: Exhibit) -> Iterator[bytes]:
    """Damaged commitments."""
    yield from flips(exhibit.commitment)
    yield from cuts(exhibit.commitment, 2)
    yield from written(altered(read_canonical(exhibit.commitment, "it")))
    yield from unsigned(exhibit.commitment, None)


def claims_with_damaged_commitments(exhibit: Exhibit) -> Iterator[bytes]:
    """A damaged commitment or token within an otherwise good claim."""
    whole = read_canonical(exhibit.claim, "it")
    (attached,) = whole["commitments"]
    for raw in unsigned(exhibit.commitment, None):
        yield write_canonical({**whole, "commitments": [{**attached, "statement": read_canonical(raw, "it")}]})
    for raw in flips(exhibit.token, 4):
        yield write_canonical({**whole, "commitments": [{**attached, "timestamps": [base64.b64encode(raw).decode()]}]})


def test_no_damaged_file_is_accepted(exhibit):
    """At least 20,000 of them: each is refused as it is read, in one line."""
    count = 0
    for mutations, read in (
        (claims, read_claim),
        (commitments, parse_commitment),
        (claims_with_damaged_commitments, read_claim),
    ):
        good = exhibit.commitment if read is parse_commitment else exhibit.claim
        for raw in mutations(exhibit):
            assert raw != good
            refused(lambda raw=raw, read=read: read(raw, "it"))
            count += 1
    assert count >= MUTATIONS


def test_a_damaged_token_is_refused_or_not_believed(exhibit):
    """Nor does it tell another time."""
    told = check(exhibit.token, exhibit.commitment, [exhibit.authority])
    assert told.trusted
    for raw in flips(exhibit.token):
        try:
            stamp = check(raw, exhibit.commitment, [exhibit.authority])
        except InvalidFile:
            continue
        assert not stamp.trusted or stamp == told  # only what nobody relies on was changed: an embedded certificate


def test_what_its_owner_changes_and_signs_again_is_judged_or_refused(exhibit):
    """Any field of the statement, signed correctly: one line, or a judgement; a match where no fact was changed."""
    _, statement = inner(write_canonical(read_canonical(exhibit.claim, "it")["claim"]))
    whole, accepted = read_canonical(exhibit.claim, "it"), set()
    for changed in itertools.islice(altered(statement["predicate"]), 0, None, 2):
        raw = resigned(whole, statement, changed, exhibit.signer)
        line = ""
        try:
            judgement = judge(read_claim(raw, "it"), exhibit.court)
        except InvalidFile as error:
            line = str(error)
        assert "\n" not in line
        if not line and judgement.verdict == "match":
            told = statement["predicate"]
            accepted |= {name for name in told if changed.get(name) != told[name]}
    assert accepted - {"owner"} == {"suspect"}  # the owner is written anew as it is signed


def resigned(whole: dict[str, Any], statement: dict[str, Any], predicate: Any, signer: Signer) -> bytes:
    """A claim with another predicate; its digests and signature fit."""
    sha256 = hashlib.sha256(write_canonical(predicate.get("transcript"))).hexdigest()
    subjects = [{"name": "transcript", "digest": {"sha256": sha256}}]
    envelope = sign(subjects, statement["predicateType"], predicate, signer)
    return write_canonical({**whole, "claim": read_canonical(envelope, "it")})


def test_a_commitment_that_its_owner_changes_and_signs_again_is_read_or_refused(exhibit):
    """Its id follows from its contents, so that only a change in both would be read; and dates cannot be anything."""
    _, statement = inner(exhibit.commitment)
    for changed in altered(statement["predicate"]):
        raw = sign(statement["subject"], COMMITMENT, changed, exhibit.signer)
        if (
            changed.get("owner") != exhibit.signer.owner
            and {**changed, "owner": exhibit.signer.owner} == statement["predicate"]
        ):
            continue  # the owner is written anew as it is signed
        refused(lambda raw=raw: parse_commitment(raw, "it"))


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("made",), "0001-01-01T00:00:00+23:59"),
        (("made",), "9999-12-31T23:59:59-23:59"),
        (("made",), "2024-01-01"),
        (("made",), "2024-02-30T00:00:00+00:00"),
        (("made",), "2024-01-01T00:00:00Z"),
        (("made",), 5),
        (("suspect",), ""),
        (("suspect",), "x" * 201),
        (("suspect",), "a\u202eb"),
        (("transcript", 0, "attempts", 0, "at"), "2024-01-01T00:00:00.1+00:00"),
        (("nonce",), "6E" * 32),
        (("nonce",), "6e " * 32),
        (("secret",), "01" * 31),
        (("transcript", 0, "attempts"), {}),
        (("transcript", 0, "opening", "proof"), {}),
        (("transcript", 0, "opening", "proof"), "ab"),
        (("transcript", 0, "opening", "label"), 10),
        (("transcript", 0, "answer"), {"label": 10}),
        (("transcript", 0, "answer"), {"label": True}),
        (("transcript", 0, "answer"), {"probabilities": [2, -1, *[0] * 8]}),
        (("transcript", 0, "index"), 2**53 - 1),
        (("verdict", "evidence_bits"), 1e300),
        (("verdict", "queries"), 8.5),
    ],
)
def test_values_that_cannot_be_are_refused_though_their_owner_signs_them(where, value, exhibit):
    _, statement = inner(write_canonical(read_canonical(exhibit.claim, "it")["claim"]))
    changed = copy.deepcopy(statement["predicate"])
    parent = changed
    for name in where[:-1]:
        parent = parent[name]
    parent[where[-1]] = value
    raw = resigned(read_canonical(exhibit.claim, "it"), statement, changed, exhibit.signer)
    refused(lambda: judge(read_claim(raw, "it"), exhibit.court))


def test_a_transcript_that_opens_nothing_is_refused(exhibit):
    key = abstract_key(b"\x01" * 32, 8)
    rows = forger.transcript(key, forger.order(key, NONCE), {})
    raw = forger.write(key, rows, NONCE, secret=key.secret)
    assert "opens no trigger" in refused(lambda: judge(read_claim(raw, "it"), exhibit.court))


def test_a_table_that_would_fill_the_memory_is_refused():
    """2**20 classes, which a spec may have, times 20 rows."""
    key = abstract_key(b"\x01" * 32, 20, classes=2**20)
    claim = forger.honest_claim(key, lambda images: images[:, 0, 0, 0].astype(int), NONCE[:16], whole=True)
    assert "stakes" in refused(lambda: judge(claim))


@pytest.mark.parametrize(
    ("scheme", "image", "parameters", "says"),
    [
        ("blend", (4, 4, 1), {}, "images are 8x8x1"),
        ("noise", (16, 4, 1), {}, "images are 8x8x1"),
        ("content", (8, 8, 1), {"text": "A" * 100_000, "scale": 4096}, "shorten it"),
    ],
)
def test_a_key_that_its_source_cannot_give_is_refused(scheme, image, parameters, says, exhibit):
    """A forger may commit to any spec; before the genuine data set it ends neither in a traceback nor in all memory."""
    rng = np.random.default_rng(0)
    source = Dataset(rng.integers(256, size=(40, 8, 8, 1), dtype=np.uint8), np.arange(40, dtype=np.int32) % 10, 10)
    honest = make_spec(scheme, image=(8, 8, 1), classes=10, triggers=5, source=("any", source))
    changed = tuple(sorted({**dict(honest.parameters), **parameters}.items()))
    spec = dataclasses.replace(honest, input=Input("image", image), parameters=changed)
    images = rng.integers(256, size=(5, *image), dtype=np.uint8)
    key = forger.made_up(spec, images, np.zeros(5, np.int32))
    rows = forger.transcript(key, forger.order(key, NONCE), dict.fromkeys(range(5), 0))
    raw = forger.write(key, rows, NONCE, secret=key.secret)
    court = dataclasses.replace(exhibit.court, sources=[source])
    assert says in refused(lambda: judge(read_claim(raw, "it"), court))


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01", "x\ny"])
def test_a_date_of_a_commitment_that_cannot_be_is_refused(created, exhibit):
    key = forger.replaced(abstract_key(b"\x01" * 32, 8), created=created)
    refused(lambda: parse_commitment(sign_commitment(key.commitment, exhibit.signer), "it"))


@pytest.mark.parametrize("name", [5, None, ["x"], {"a": 1}, "", "x" * 201, "a\u202eb", "a\nb"])
def test_the_name_of_a_model_is_a_short_text(name, exhibit):
    commitment = abstract_key(b"\x01" * 32, 8).commitment
    subjects = _subjects(commitment, Model("a run", "a" * 64, "b" * 64))
    subjects[1]["name"], subjects[2]["name"] = name, f"{name}: tensors"
    raw = sign(subjects, COMMITMENT, commitment.to_json(), exhibit.signer)
    refused(lambda: parse_commitment(raw, "it"))


def test_a_field_name_with_a_line_break_ends_in_one_line(exhibit):
    _, statement = inner(exhibit.commitment)
    statement["predicate"]["rule"]["a\nb"] = 1
    refused(
        lambda: parse_commitment(sign(statement["subject"], COMMITMENT, statement["predicate"], exhibit.signer), "it")
    )


def hostile(exhibit: Exhibit) -> dict[str, bytes]:
    """Files that no honest program writes, by name."""
    claim = exhibit.claim
    envelope, statement = inner(write_canonical(read_canonical(claim, "it")["claim"]))
    whole = read_canonical(claim, "it")
    files = {
        "empty": b"",
        "line": b"\n",
        "null": b"null\n",
        "list": b"[]\n",
        "text": b'"a claim"\n',
        "object": b"{}\n",
        "deep lists": b"[" * 100_000 + b"]" * 100_000,
        "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        "not closed": b"[" * 100_000,
        "deep within": claim.replace(b'"format":"wmjax-claim/1"', b'"format":' + b"[" * 400 + b"]" * 400),
        "twice": claim.replace(b'"format"', b'"format":"wmjax-claim/1","format"'),
        "twice alike": b'{"a":1,"a":1}\n',
        "BOM": b"\xef\xbb\xbf" + claim,
        "CRLF": claim.replace(b"\n", b"\r\n"),
        "no end": claim[:-1],
        "two ends": claim + b"\n",
        "spaces": claim.replace(b":", b": ", 1),
        "UTF-16": claim.decode().encode("utf-16"),
        "UTF-32": claim.decode().encode("utf-32"),
        "not UTF-8": claim.replace(b"wmjax", b"wmj\xff\xfe", 1),
        "surrogate": b'{"a":"\\ud800"}\n',
        "escaped": claim.replace(b"format", b"\\u0066ormat", 1),
        "NUL": claim.replace(b"wmjax", b"wm\x00ax", 1),
        "pickle": b"\x80\x04\x95\x0a\x00",
        "two claims": claim + claim,
        "version 2": claim.replace(b"wmjax-claim/1", b"wmjax-claim/2"),
        "other statement": write_canonical({**whole, "claim": whole["commitments"][0]["statement"]}),
        "no commitment": write_canonical({**whole, "commitments": []}),
        "33 commitments": write_canonical({**whole, "commitments": whole["commitments"] * 33}),
    }
    for number in (b"1e400", b"-1e400", b"NaN", b"Infinity", b"-Infinity", b"1.0", b"1e0", b"-0", b"01", b"0x1", b"+1"):
        files[f"number {number.decode()}"] = b'{"a":' + number + b"}\n"
    for digits in (16, 400, 5_000, 100_000):
        files[f"{digits} digits"] = b'{"a":' + b"9" * digits + b"}\n"
    typed = json.dumps(statement).encode().replace(b"claim:v1", b"claim:v2")
    for name, payload in {
        "payload in another form": json.dumps(statement).encode(),
        "payload of version 2": write_canonical(json.loads(typed)),
        "payload is a list": b"[]\n",
        "payload is empty": b"",
        "payload is deep": b"[" * 100_000,
    }.items():
        changed = {**envelope, "payload": base64.b64encode(payload).decode()}
        files[name] = write_canonical({**whole, "claim": changed})
    for name, change in {
        "payload type": {"payloadType": "text/plain"},
        "no signature": {"signatures": []},
        "two signatures": {"signatures": envelope["signatures"] * 2},
        "payload no base64": {"payload": "*"},
        "payload in loose base64": {"payload": envelope["payload"][:20] + "\n" + envelope["payload"][20:]},
    }.items():
        files[name] = write_canonical({**whole, "claim": {**envelope, **change}})
    return files


def test_hostile_files_end_in_one_line_on_the_command_line(run, exhibit, tmp_path):
    """Exit code 4 and one line that names the file, for claims and for commitments."""
    files = hostile(exhibit)
    assert len(files) >= 54
    for name, raw in files.items():
        (tmp_path / "it.json").write_bytes(raw)
        code, out, err = run("judge", "it.json")
        assert (code, out, messages(err)) == (4, "", 1), (name, err[:500])
        assert err.startswith("wmjax: it.json")
        if name in ("no commitment", "33 commitments"):
            assert f"it holds {33 if '33' in name else 0} commitments, not 1 to 32" in err
        refused(lambda raw=raw: parse_commitment(raw, "it"))
    rng = random.Random(2)
    for damaged in rng.sample(list(flips(exhibit.claim)), 10):
        (tmp_path / "it.json").write_bytes(damaged)
        code, out, err = run("judge", "it.json")
        assert (code, out, messages(err)) == (4, "", 1), err[:500]
    (tmp_path / "it.json").write_bytes(exhibit.claim)
    assert run("judge", "it.json")[0] == 3  # as it was made it is read


def test_an_envelope_by_another_key_is_refused(exhibit):
    """The statement says whose it is; another's signature under it is none."""
    _, statement = inner(exhibit.commitment)
    other = read_canonical(sign(statement["subject"], COMMITMENT, statement["predicate"], new_signer()), "it")
    own = read_canonical(exhibit.commitment, "it")
    assert "signature" in refused(
        lambda: parse_commitment(write_canonical({**own, "signatures": other["signatures"]}), "it")
    )


def test_a_commitment_of_a_later_version_is_refused(exhibit):
    _, statement = inner(exhibit.commitment)
    newer = {**statement["predicate"], "format": "wmjax-commitment/2"}
    for kind, predicate in ((COMMITMENT.replace("v1", "v2"), statement["predicate"]), (COMMITMENT, newer)):
        raw = sign(statement["subject"], kind, predicate, exhibit.signer)
        assert "this" in refused(lambda raw=raw: parse_commitment(raw, "it"))


def test_a_gigabyte_is_not_read(run, tmp_path):
    with (tmp_path / "it.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    with pytest.raises(AccessError, match="too large"):
        read_bytes(Path("it.json"))
    code, out, err = run("judge", "it.json")
    assert (code, out, messages(err)) == (5, "", 1)
    with (tmp_path / "it.json").open("wb") as file:
        file.truncate((1 << 26) + 1)
    code, out, err = run("judge", "it.json")
    assert (code, out, messages(err)) == (4, "", 1)
