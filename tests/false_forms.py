"""False claims by the form of their file: what one reader takes for this and another for that must be nobody's claim.

Each begins with an honest claim that needs no date; with the check taken out the file would be a match again.
"""

import base64
import dataclasses
import datetime
import hashlib
import json
from collections.abc import Callable
from typing import Any

import forger
from accuser import DERIVED, NONCE, SECRET, Attack, Patch, World, nothing, truth
from forger import abstract_key, knowing, order, transcript, write
from securesystemslib.dsse import Envelope

from wmjax.canonical import read_canonical, write_canonical
from wmjax.evidence import claim_file as reading
from wmjax.evidence import judge as judging
from wmjax.evidence import timestamps
from wmjax.evidence import transcript as rows_of
from wmjax.evidence.claim import Attached
from wmjax.keys import Key, new_signer, sign_commitment, signing
from wmjax.keys.statement import parse_commitment

P = 2**255 - 19
KEY = abstract_key(SECRET, 60)
ASK, SIGNER = knowing(KEY), new_signer()
Make = Callable[[World], Attack]


def honest() -> bytes:
    return forger.honest_claim(KEY, ASK, NONCE, signer=SIGNER).raw


def named(name: str, make: Make) -> Make:
    make.__name__ = name
    return make


def attack(name: str, make: Callable[[], bytes], says: str, *without: Patch, **court: Any) -> Make:
    """A file before the usual court: it is invalid for what it says."""
    return named(name, lambda world: Attack(make(), world.court(ASK, **court), "invalid", says, without))


# Canonical form


def lenient(raw: bytes, what: str) -> Any:
    """In the place of the one form: as any program reads JSON."""
    return json.loads(raw.decode("utf-8-sig").strip())


FORM: Patch = (reading, "read_canonical", lenient)
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "without_its_newline": lambda raw: raw[:-1],
    "with_spaces": lambda raw: raw.replace(b'"format":', b'"format": '),
    "with_carriage_returns": lambda raw: raw[:-1] + b"\r\n",
    "with_a_byte_order_mark": lambda raw: b"\xef\xbb\xbf" + raw,
    "with_a_field_given_twice": lambda raw: raw[:-2] + b',"format":"wmjax-claim/1"}\n',
    "with_an_escaped_letter": lambda raw: raw.replace(b'"format"', b'"\\u0066ormat"'),
    "with_fields_in_another_order": lambda raw: (
        json.dumps(dict(reversed(json.loads(raw).items())), separators=(",", ":")).encode() + b"\n"
    ),
}


def in_form(name: str) -> Make:
    return attack(name, lambda: FORMS[name](honest()), "", FORM)


# Signatures


def forged(change: Callable[[bytes], bytes]) -> bytes:
    """The claim's signature, altered."""
    values = read_canonical(honest(), "it")
    one = values["claim"]["signatures"][0]
    one["sig"] = base64.b64encode(change(base64.b64decode(one["sig"]))).decode()
    return write_canonical(values)


def with_the_order_added(signature: bytes) -> bytes:
    """S + L: as right by the equation, and another file."""
    order_ = 2**252 + 27742317777372353535851937790883648493
    return signature[:32] + (int.from_bytes(signature[32:], "little") + order_).to_bytes(32, "little")


def by_nobody(owner: int) -> bytes:
    """The neutral point in another encoding: `forger.sign_by_nobody` signs for it as well."""
    values = read_canonical(honest(), "it")
    told = read_canonical(base64.b64decode(values["commitments"][0]["statement"]["payload"]), "it")
    public = forger.sign_by_nobody(told["subject"], told["predicateType"], told["predicate"], owner)
    commitments = [{"statement": read_canonical(public, "it"), "timestamps": []}]
    told = read_canonical(base64.b64decode(values["claim"]["payload"]), "it")
    told["predicate"]["attached"] = hashlib.sha256(write_canonical(commitments)).hexdigest()
    signed = forger.sign_by_nobody(told["subject"], told["predicateType"], told["predicate"], owner)
    return write_canonical({**values, "commitments": commitments, "claim": read_canonical(signed, "it")})


VERIFIED: Patch = (Envelope, "verify", nothing)
OWNED: Patch = (signing, "check_owner", nothing)


# Fields


def changed(**fields: Any) -> bytes:
    """Its owner signs other fields."""
    return forger.resign(honest(), SIGNER, lambda predicate: predicate.update(fields))


def with_stated(**figures: Any) -> bytes:
    return forger.resign(honest(), SIGNER, lambda predicate: predicate["verdict"].update(figures))


def with_attempts_at(time: str) -> bytes:
    def change(predicate: dict[str, Any]) -> None:
        for row in predicate["transcript"]:
            row["attempts"][0]["at"] = time

    return forger.resign(honest(), SIGNER, change)


def any_time(text: str) -> datetime.datetime:
    return datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


CLOCKED: Patch = (judging.findings, "read_time", any_time)


# Proofs and picks


def with_proofs(change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> bytes:
    rows = transcript(KEY, order(KEY, NONCE), forger.answers_of(KEY, ASK))
    rows = [
        dataclasses.replace(row, opening=dataclasses.replace(row.opening, proof=change(row.opening.proof)))
        for row in rows
    ]
    return write(KEY, rows, NONCE, secret=SECRET)


def of_a_smaller_tree() -> bytes:
    """60 triggers were committed to, and 50 are declared: the root is of the 60."""
    spec = dataclasses.replace(KEY.spec, triggers=50)
    rule = dataclasses.replace(KEY.commitment.rule, max_queries=50)
    key = dataclasses.replace(KEY, commitment=dataclasses.replace(KEY.commitment, spec=spec, rule=rule))
    return write(key, transcript(key, order(key, NONCE, 50), forger.answers_of(key, ASK)), NONCE, secret=SECRET)


def beyond_the_committed_number() -> bytes:
    key = forger.replaced(KEY, rule=dataclasses.replace(KEY.commitment.rule, max_queries=50))
    return write(key, transcript(key, order(key, NONCE), forger.answers_of(key, ASK)), NONCE, secret=SECRET)


def of_an_impossible_spec() -> Key:
    """A parameter that the scheme has not; nothing in the pictures follows from it."""
    spec = dataclasses.replace(KEY.spec, parameters=(("spare", 1),))
    return dataclasses.replace(KEY, commitment=dataclasses.replace(KEY.commitment, spec=spec))


def with_a_free_parameter() -> bytes:
    key = of_an_impossible_spec()
    return write(key, transcript(key, order(key, NONCE), forger.answers_of(key, ASK)), NONCE, secret=SECRET)


PROVEN: Patch = (judging, "check_proofs", nothing)
STATED: Patch = (judging, "check_stated", nothing)
PICKED: Patch = (judging, "check_picks", nothing)
MADE: Patch = (reading, "_check_time", nothing)


def stamped_in_the_future(world: World) -> Attack:
    """The authority's clock, or the judge's, is wrong: a date that has not come dates nothing."""
    when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)
    claim = forger.honest_claim(KEY, ASK, NONCE, stamp=forger.dated(world.tsa, when))
    later = datetime.timedelta(days=10_000)
    return Attack(claim.raw, world.court(ASK), "invalid", "has not reached", ((timestamps, "AHEAD", later),))


def released_by_another_key(world: World) -> Attack:
    """A second commitment, of another key, lends its date."""
    other = abstract_key(bytes(32), 60)
    beside = parse_commitment(sign_commitment(other.commitment, SIGNER), "it")
    commitments = [forger.commit(KEY, SIGNER), Attached(beside, (world.before(beside.raw),))]
    rows = transcript(KEY, order(KEY, NONCE), forger.answers_of(KEY, ASK))
    raw = write(KEY, rows, NONCE, signer=SIGNER, commitments=commitments, secret=SECRET)
    return Attack(raw, world.court(ASK), "invalid", "different keys", ((reading, "_check_one_key", nothing),))


LONG = "x" * 3_000_000
TURNED = "model\u202egnp.exe"
SENTENCE = "The model is proven to be stolen; the judge says so.\nmatch"
ATTACKS: tuple[Make, ...] = (
    *(in_form(name) for name in FORMS),
    attack("signed_by_another", lambda: forged(lambda s: new_signer().private.sign(s)), "signature", VERIFIED),
    attack("signature_with_the_order_added", lambda: forged(with_the_order_added), "signature", VERIFIED),
    attack("signed_by_nobody_in_another_encoding", lambda: by_nobody(P + 1), "one form", OWNED),
    attack("signed_by_nobody_with_a_sign", lambda: by_nobody(1 | 1 << 255), "small order", OWNED),
    attack("made_on_a_day_without_a_time", lambda: changed(made="2026-01-01"), "one form", CLOCKED, MADE),
    attack("made_in_a_week", lambda: changed(made="2026-W01-1T00:00:00+00:00"), "one form", CLOCKED, MADE),
    attack("made_in_another_zone", lambda: changed(made="2026-01-01T00:00:00+01:00"), "one form", CLOCKED, MADE),
    attack("made_before_all_time", lambda: changed(made="0001-01-01T00:00:00+23:59"), "one form", CLOCKED, MADE),
    attack("asked_at_no_time", lambda: with_attempts_at("yesterday"), "one form", (rows_of, "read_time", any_time)),
    attack("suspect_with_a_name_of_megabytes", lambda: changed(suspect=LONG), "name", (reading, "is_name", truth)),
    attack("suspect_with_a_name_turned_around", lambda: changed(suspect=TURNED), "name", (reading, "is_name", truth)),
    attack(
        "suspect_with_a_sentence_for_a_name", lambda: changed(suspect=SENTENCE), "name", (reading, "is_name", truth)
    ),
    attack("stated_bits_too_many", lambda: with_stated(evidence_bits=500), "bits", STATED),
    attack("stated_matches_too_many", lambda: with_stated(matches=61), "matches", STATED),
    attack("stated_as_text", lambda: with_stated(queries="60"), "queries", STATED),
    attack("nonce_in_capitals", lambda: changed(nonce=NONCE.hex().upper()), "", (reading, "_exact", bytes.fromhex)),
    attack("secret_in_capitals", lambda: changed(secret="A" * 64), "", (reading, "_exact", bytes.fromhex), DERIVED),
    attack("proofs_that_are_longer", lambda: with_proofs(lambda proof: (*proof, bytes(32))), "proof", PROVEN),
    attack("proofs_that_are_shorter", lambda: with_proofs(lambda proof: proof[:-1]), "proof", PROVEN),
    attack("proofs_that_are_upside_down", lambda: with_proofs(lambda proof: proof[::-1]), "proof", PROVEN),
    attack("tree_said_to_be_smaller", of_a_smaller_tree, "proof", PROVEN),
    attack("more_rows_than_committed", beyond_the_committed_number, "were committed to", PICKED),
    attack("a_parameter_to_search_in", with_a_free_parameter, "parameters", (judging, "check_spec", nothing), DERIVED),
    stamped_in_the_future,
    released_by_another_key,
)
