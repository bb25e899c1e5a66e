"""Honest parties and forgers: claims signed correctly over anything at all, and the suspects that they are about."""

import base64
import dataclasses
import datetime
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from tsa import LocalTsa

from wmjax.canonical import read_canonical, write_canonical
from wmjax.evidence.claim import Attached, Claim, picks
from wmjax.evidence.claim_file import read_claim, write_claim
from wmjax.evidence.transcript import Opening, Row, state
from wmjax.keys import Commitment, Key, Model, Signer, Spec, derive_key, make_spec, new_signer, sign_commitment
from wmjax.keys.commitment import Leaf, leaves
from wmjax.keys.merkle import Tree
from wmjax.keys.signing import PAYLOAD_TYPE, STATEMENT, sign
from wmjax.keys.statement import parse_commitment
from wmjax.stats import Rule
from wmjax.suspects import Suspect, from_callable

IMAGE, CLASSES = (8, 8, 1), 10
MADE = "2025-01-01T00:00:00+00:00"
Ask = Callable[[np.ndarray], np.ndarray]


def day(year: int, month: int = 1) -> datetime.datetime:
    """Midnight of a first of the month, UTC."""
    return datetime.datetime(year, month, 1, tzinfo=datetime.UTC)


def abstract_key(
    secret: bytes, triggers: int = 40, alpha: float = 1e-6, classes: int = CLASSES, created: str = MADE
) -> Key:
    """The honest key of a secret: abstract images of 8x8."""
    spec = make_spec("abstract", image=IMAGE, classes=classes, triggers=triggers)
    return derive_key(secret, spec, rule(spec, alpha), created=created)


def rule(spec: Spec, alpha: float = 1e-6) -> Rule:
    return Rule(alpha, 1e-3, 1 / spec.classes + 0.3, spec.triggers)


def made_up(spec: Spec, images: np.ndarray, labels: np.ndarray, secret: bytes = bytes(32), alpha: float = 1e-6) -> Key:
    """A key over any images and labels, which no secret gives: what a forger commits to."""
    root = Tree([leaf.entry for leaf in leaves(secret, images, labels)]).root.hex()
    return Key(secret, Commitment(spec, rule(spec, alpha), root, MADE), images, np.asarray(labels, np.int32))


def innocent(seed: int = 0, classes: int = CLASSES) -> Ask:
    """A fixed random linear function of the pixels: it knows nobody's key."""
    weights = np.random.default_rng(seed).normal(size=(int(np.prod(IMAGE)), classes))

    def ask(images: np.ndarray) -> np.ndarray:
        return np.argmax((images.reshape(len(images), -1) - 128.0) @ weights, axis=1)

    return ask


def knowing(key: Key, of: Ask | None = None, probabilities: bool = False) -> Ask:
    """A model that learned a key's triggers, and answers other images as `of` does."""
    known = {image.tobytes(): int(label) for image, label in zip(key.images, key.labels, strict=True)}
    other = of or innocent()

    def ask(images: np.ndarray) -> np.ndarray:
        labels = np.array([known.get(i.tobytes(), int(rest)) for i, rest in zip(images, other(images), strict=True)])
        return 0.9 * np.eye(key.spec.classes)[labels] + 0.1 / key.spec.classes if probabilities else labels

    return ask


def suspect(ask: Ask) -> Suspect:
    return from_callable(ask, "suspect")


def commit(key: Key, signer: Signer, stamp: Callable[[bytes], bytes] | None = None) -> Attached:
    """A commitment signed by anybody, with what `stamp` gives for its bytes as its time stamp."""
    raw = sign_commitment(key.commitment, signer)
    return Attached(parse_commitment(raw, "commitment"), (stamp(raw),) if stamp else ())


def dated(tsa: LocalTsa, when: datetime.datetime) -> Callable[[bytes], bytes]:
    """Stamps of a moment."""
    return lambda raw: tsa.stamp(raw, when)


def answered(answer: int | np.ndarray, times: int = 1) -> tuple[tuple[dict[str, Any], ...], int | np.ndarray]:
    """The attempts and the answer of a row."""
    attempt = {"at": "2026-07-01T12:00:00+00:00", "outcome": "answered", "detail": {}}
    return (attempt,) * times, answer


def row(key: Key, index: int, answer: int | np.ndarray, times: int = 1) -> Row:
    """One trigger of a key, asked and opened."""
    leaf = leaves_of(key)[index]
    attempts, told = answered(answer, times)
    return Row(index, attempts, told, Opening(leaf, key.images[index], tuple(tree_of(key).proof(index))))


def leaves_of(key: Key) -> list[Leaf]:
    return _entries(key)[0]


def tree_of(key: Key) -> Tree:
    return _entries(key)[1]


_CACHE: dict[str, tuple[list[Leaf], Tree]] = {}


def _entries(key: Key) -> tuple[list[Leaf], Tree]:
    if key.commitment.root not in _CACHE:
        made = leaves(key.secret, key.images, key.labels)
        _CACHE[key.commitment.root] = made, Tree([leaf.entry for leaf in made])
    return _CACHE[key.commitment.root]


def order(key: Key, nonce: bytes, count: int | None = None) -> list[int]:
    """The triggers in the order that a nonce picks."""
    return picks(key.commitment, nonce, key.spec.triggers if count is None else count)


def transcript(key: Key, indices: Sequence[int], answers: Mapping[int, Any]) -> list[Row]:
    """Rows in any order with any answers, by trigger; a trigger without an answer is called spent."""
    return [row(key, index, answers[index]) if index in answers else Row(index) for index in indices]


def answers_of(key: Key, ask: Ask) -> dict[int, Any]:
    """What a suspect answers to each trigger."""
    told = ask(key.images)
    return {i: told[i].item() if told.ndim == 1 else told[i] for i in range(key.spec.triggers)}


def to_peak(key: Key, rows: Sequence[Row]) -> list[Row]:
    """The rows up to the best moment for the claimant, as anybody may stop when he likes."""
    told = key.commitment.rule, key.spec, key.secret, key.material
    path = [float(state(rows[: n + 1], *told)["evidence_bits"]) for n in range(len(rows))]
    return list(rows[: int(np.argmax(path)) + 1])


def write(
    key: Key,
    rows: Sequence[Row],
    nonce: bytes,
    *,
    signer: Signer | None = None,
    commitments: Sequence[Attached] = (),
    stamp: Callable[[bytes], bytes] | None = None,
    secret: bytes | None = None,
    model: Model | None = None,
) -> bytes:
    """A claim's file, correctly signed, with the figures that follow from its rows."""
    signer = signer or new_signer()
    attached = commitments or [commit(key, signer, stamp)]
    stated = state(rows, key.commitment.rule, key.spec, secret, key.material)
    named = {"suspect": "suspect", "model": model, "nonce": nonce}
    return write_claim(attached, signer, rows, stated, **named, secret=secret, pledge=key.pledge, material=key.material)


def honest_claim(
    key: Key,
    ask: Ask,
    nonce: bytes,
    *,
    signer: Signer | None = None,
    stamp: Callable[[bytes], bytes] | None = None,
    commitments: Sequence[Attached] = (),
    whole: bool = False,
) -> Claim:
    """What an honest owner hands over: all that the nonce picks, up to the best moment, and the secret."""
    rows = transcript(key, order(key, nonce), answers_of(key, ask))
    rows = rows if whole else to_peak(key, rows)
    raw = write(key, rows, nonce, signer=signer, stamp=stamp, commitments=commitments, secret=key.secret)
    return read_claim(raw, "claim")


def resign(raw: bytes, signer: Signer, change: Callable[[dict[str, Any]], None]) -> bytes:
    """A claim whose predicate was changed by its owner, who signs it again; its digests follow."""
    claim = read_canonical(raw, "claim")
    statement = read_canonical(base64.b64decode(claim["claim"]["payload"]), "statement")
    change(statement["predicate"])
    rows = write_canonical(statement["predicate"].get("transcript"))
    statement["subject"][0]["digest"]["sha256"] = hashlib.sha256(rows).hexdigest()
    envelope = sign(statement["subject"], statement["predicateType"], statement["predicate"], signer)
    return write_canonical({**claim, "claim": read_canonical(envelope, "envelope")})


def sign_by_nobody(
    subjects: list[dict[str, Any]], predicate_type: str, predicate: dict[str, Any], point: int = 1
) -> bytes:
    """A statement whose owner is the neutral point of the curve: signed without any private key.

    Verifying means S B = R + H(...) A; where A is neutral, R = B and S = 1 are right, whatever the message is.
    `point` is an encoding of it.
    """
    owner = point.to_bytes(32, "little").hex()
    statement = {"_type": STATEMENT, "subject": subjects, "predicateType": predicate_type}
    payload = write_canonical({**statement, "predicate": {**predicate, "owner": owner}})
    public = {"keytype": "ed25519", "keyval": {"public": owner}, "scheme": "ed25519"}
    signature = bytes([0x58, *[0x66] * 31]) + (1).to_bytes(32, "little")
    sig, name = base64.b64encode(signature).decode(), hashlib.sha256(write_canonical(public)[:-1]).hexdigest()
    told = {"payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE}
    return write_canonical({**told, "signatures": [{"keyid": name, "sig": sig}]})


def replaced(key: Key, **fields: Any) -> Key:
    """A key with other fields of its commitment."""
    return dataclasses.replace(key, commitment=dataclasses.replace(key.commitment, **fields))
