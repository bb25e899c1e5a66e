"""Makes the vectors of claims, transcripts and journals in `wmjax/evidence/vectors`, always the same bytes.

Command   PYTHONPATH=tests python tests/make_vectors.py

Time stamps, packed arrays and the figures of audits' journals are not the same each time: they are made once, and
frozen; whoever deletes one folder has them made anew. Whoever changes a byte of the standard runs it;
`test_vectors.py` says whether what lies there is what it makes.
"""

import base64
import dataclasses
import datetime
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forger
import journal_vectors
import numpy as np
import owner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tsa import IN_2020, LocalTsa

import wmjax
from wmjax import stats
from wmjax.canonical import read_canonical, write_canonical
from wmjax.data import Dataset
from wmjax.errors import InvalidFile
from wmjax.evidence.authority import read_authority
from wmjax.evidence.claim import Attached
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.facts import Court
from wmjax.evidence.judge import judge
from wmjax.evidence.transcript import Row
from wmjax.keys import Key, Signer, derive_key, make_spec, sign_commitment
from wmjax.keys.statement import parse_commitment

FOLDER = Path(wmjax.__file__).parent / "evidence" / "vectors"
SIGNER = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))
NONCE, OTHER_NONCE, SECRET, MADE = b"n" * 32, b"o" * 32, bytes(range(32)), "2026-01-02T03:04:05+00:00"
ABOUT_CLAIMS = """\
Each file is judged by a court with `nonce` (hex, or null for none), alpha 1e-6, no time-stamping authority and no \
data set, and with a suspect that answers as the transcript says, where `asked` is true. `bits` are those that count, \
`needed` those of a match, `lacks` the codes of what is missing; of an invalid claim there is none of it."""
ABOUT_STAMPED = """\
Claims whose commitment is time-stamped, judged as those of claims.v1.json with the nonce and the suspect, by a court \
that trusts `authorities`, files with the authority's certificate and its root, and was told that the suspect first \
appeared at `since`, or was not."""
ABOUT_MATERIAL = """\
`keys` start from scikit-learn's digits; their material is in the claims. `coins` are -1 and 1, a row a contrast, or \
0 and 1, one a trigger: the labels of the leaves; `answers` are what a marked model then says. Each file is judged as \
those of claims.v1.json, by a court that has the data set `source` from elsewhere, or none."""
ABOUT_TRANSCRIPTS = """\
Answers to triggers in the order of asking: a class, a name, probabilities, or null for a refusal; `labels` are the \
secret ones, `classes` and `rule` as committed to. After each answer: `bits` of evidence and of `acquittal`; then what \
the rule says of the whole."""


def key_of(classes: int = 1000, triggers: int = 20, secret: bytes = SECRET) -> Key:
    spec = make_spec("abstract", image=(4, 4, 1), classes=classes, triggers=triggers)
    return derive_key(secret, spec, forger.rule(spec), created="2026-01-01T00:00:00+00:00")


KEY = key_of()
OWN = forger.knowing(KEY, lambda images: np.zeros(len(images), int))


def signed(raw: bytes, change: Callable[[dict[str, Any]], None] = lambda predicate: None) -> bytes:
    """A claim that was made at a fixed time, and changed by its owner."""

    def fixed(predicate: dict[str, Any]) -> None:
        predicate["made"] = MADE
        change(predicate)

    return forger.resign(raw, SIGNER, fixed)


def made(rows: list[Row], key: Key = KEY, secret: bytes | None = SECRET, **changed: Any) -> bytes:
    raw = forger.write(key, rows, NONCE, signer=SIGNER, secret=secret)
    return signed(raw, lambda predicate: predicate.update(changed))


def rows_of(key: Key = KEY, ask: forger.Ask = OWN, count: int | None = None, left_out: int = 0) -> list[Row]:
    answers = forger.answers_of(key, ask)
    order = forger.order(key, NONCE, count)
    return forger.transcript(key, order, {i: answers[i] for i in order[left_out:]})


def probabilities(images: np.ndarray) -> np.ndarray:
    known = forger.knowing(TEN, lambda images: np.zeros(len(images), int))(images)
    return np.where(np.eye(10)[known] > 0, 0.55, 0.05)


def words(images: np.ndarray) -> np.ndarray:
    """A copy that speaks in words."""
    known = forger.knowing(LONG, lambda images: np.zeros(len(images), int))(images)
    return np.array([WORDS[label] for label in known])


WORDS = ("-1", "3", "two words", '"quoted"', "é", "猫", "cat", "Cat", "cat ", "null")
LONG = key_of(classes=10, triggers=110)
TEN = key_of(classes=10, triggers=70)
FALSE = forger.made_up(KEY.spec, KEY.images, (KEY.labels + 1) % 1000, SECRET)


def claims() -> dict[str, bytes]:
    """Claims by name, as the bytes of their files."""
    whole = made(rows_of())
    envelope = read_canonical(whole, "it")
    sig = envelope["claim"]["signatures"][0]["sig"]
    envelope["claim"]["signatures"][0]["sig"] = ("B" if sig[0] == "A" else "A") + sig[1:]
    swapped = rows_of()
    swapped[0], swapped[1] = swapped[1], swapped[0]
    row = rows_of()[0].to_json()
    twice = [{**row, "attempts": row["attempts"] * 2}, *(one.to_json() for one in rows_of()[1:])]
    proof = [{**row, "opening": {**row["opening"], "proof": row["opening"]["proof"][::-1]}}, *twice[1:]]
    stated = read_claim(whole).stated
    missed = rows_of(TEN, lambda images: images.reshape(len(images), -1).sum(axis=1) % 10)
    cleared = read_claim(made(missed, TEN)).stated
    named = rows_of(LONG, words)
    named[3] = dataclasses.replace(named[3], answer="a\u202eb")
    return {
        "match": whole,
        "match-probabilities": made(rows_of(TEN, probabilities), TEN),
        "match-with-spent": made(rows_of(left_out=2)),
        "match-names": made(rows_of(LONG, words), LONG),
        "short": made(rows_of(count=12)),
        "no-match": made(missed, TEN),
        "by-jpeg": made(missed, TEN, asked=[{"code": "served-jpeg"}], verdict={**cleared, "verdict": "inconclusive"}),
        "invalid-asked": made(rows_of(), asked=[{"code": "served", "by": "hand"}]),
        "invalid-cleared": made(missed, TEN, asked=[{"code": "served-jpeg"}]),
        "notice": made(rows_of(), secret=None),
        "invalid-signature": write_canonical(envelope),
        "invalid-form": whole[:-1],
        "invalid-made-up": made(
            forger.transcript(FALSE, forger.order(FALSE, NONCE), forger.answers_of(FALSE, OWN)), FALSE
        ),
        "invalid-secret": made(rows_of(), secret=bytes(32)),
        "invalid-order": made(swapped),
        "invalid-asked-again": made(rows_of(), transcript=twice),
        "invalid-proof": made(rows_of(), transcript=proof),
        "invalid-figures": made(rows_of(), verdict={**stated, "evidence_bits": stated["evidence_bits"] + 1}),
        "invalid-time": made(rows_of(), made="2026-01-02T03:04:05Z"),
        "invalid-name": made(rows_of(), suspect="a\u202eb"),
        "invalid-answer-name": made(named, LONG),
        "invalid-nonce": made(rows_of(), nonce="6E" * 32),
        "other-nonce": signed(
            forger.write(
                KEY,
                forger.transcript(KEY, forger.order(KEY, OTHER_NONCE), forger.answers_of(KEY, OWN)),
                OTHER_NONCE,
                signer=SIGNER,
                secret=SECRET,
            )
        ),
        "invalid-field": made(rows_of(), note="more"),
        "invalid-owner": nobodys(whole),
    }


def nobodys(raw: bytes) -> bytes:
    """Signed, twice, for a public key of small order."""
    values = read_canonical(raw, "it")
    told = read_canonical(base64.b64decode(values["commitments"][0]["statement"]["payload"]), "it")
    commitment = forger.sign_by_nobody(told["subject"], told["predicateType"], told["predicate"])
    commitments = [{"statement": read_canonical(commitment, "it"), "timestamps": []}]
    told = read_canonical(base64.b64decode(values["claim"]["payload"]), "it")
    told["predicate"]["attached"] = hashlib.sha256(write_canonical(commitments)).hexdigest()
    claim = forger.sign_by_nobody(told["subject"], told["predicateType"], told["predicate"])
    return write_canonical({**values, "commitments": commitments, "claim": read_canonical(claim, "it")})


# How each is judged: with the judge's nonce and with the suspect, or without one of them.
COURTS = [(NONCE.hex(), True), (None, True), (NONCE.hex(), False)]


FUTURE = datetime.datetime(2044, 1, 1, tzinfo=datetime.UTC)


def tokens() -> dict[str, bytes]:
    """An authority's certificate and its time stamps, and those of one that has the same name and another key."""
    commitment = sign_commitment(KEY.commitment, SIGNER)
    with tempfile.TemporaryDirectory() as folder:
        honest, other = (LocalTsa(Path(folder) / name, serial=7) for name in ("honest", "other"))
        return {
            "stamped/authority.pem": honest.authority.read_bytes(),
            "stamped/of-2020.tsr": honest.stamp(commitment, IN_2020),
            "stamped/of-2044.tsr": honest.stamp(commitment, FUTURE),
            "stamped/of-other-data.tsr": honest.stamp(commitment[:-1], IN_2020),
            "stamped/of-another-key.tsr": other.stamp(commitment, IN_2020),
            "stamped/not-granted.tsr": honest.stamp(commitment, IN_2020, status=2),
        }


def stamped(stamps: dict[str, bytes]) -> dict[str, bytes]:
    """A claim with each of the time stamps: enough evidence where it is dated, too little otherwise."""
    files = {}
    for name, token in stamps.items():
        attached = Attached(parse_commitment(sign_commitment(KEY.commitment, SIGNER), "commitment"), (token,))
        raw = forger.write(KEY, rows_of(count=12), NONCE, signer=SIGNER, commitments=[attached], secret=SECRET)
        files[name.replace(".tsr", ".json")] = signed(raw)
    return files


# What a court knows of a time-stamped claim: whom it trusts, and since when the suspect is there.
KNOWN = [
    (["stamped/authority.pem"], "2026-01-01T00:00:00+00:00"),
    (["stamped/authority.pem"], "2019-01-01T00:00:00+00:00"),
    (["stamped/authority.pem"], None),
    ([], "2026-01-01T00:00:00+00:00"),
]


def transcripts() -> list[dict[str, Any]]:
    """Answers of every form, and what they come to."""
    rng = np.random.default_rng(0)
    found = []
    for name, classes, n, answers in (
        ("labels, all right", 10, 30, lambda y: y),
        ("labels, renamed", 10, 80, lambda y: (3 * y + 1) % 10),
        ("labels, none right", 10, 60, lambda y: (y + 1 + np.arange(len(y)) % 8) % 10),
        ("labels, half of the classes, renamed", 10, 80, lambda y: (y + 1) % 5),
        ("labels, one for all", 10, 60, np.zeros_like),
        ("labels, of thirty classes, once or twice each", 30, 60, lambda y: np.arange(len(y)) % 29),
        ("labels, refused here and there", 10, 40, lambda y: np.where(np.arange(len(y)) % 4 == 0, -1, y)),
        ("labels, all refused", 10, 20, lambda y: np.full(len(y), -1)),
        ("labels, of two classes", 2, 40, lambda y: y),
        ("labels, of 2**20 classes", 1 << 20, 5, lambda y: y),
        ("probabilities, right", 10, 20, lambda y: np.where(np.eye(10)[y] > 0, 0.55, 0.05)),
        ("probabilities, ties", 4, 12, lambda y: np.full((len(y), 4), 0.25)),
        ("probabilities, sure and wrong at times", 5, 30, lambda y: np.eye(5)[np.where(np.arange(len(y)) % 5, y, 0)]),
        (
            "probabilities, some classes never told apart",
            10,
            60,
            lambda y: np.eye(10)[np.arange(len(y)) % 7] * 0.9 + 0.01,
        ),
        (
            "probabilities, some classes told apart and never answered",
            5,
            40,
            lambda y: np.eye(5)[np.arange(len(y)) % 3] * 0.6 + np.eye(5)[3] * 0.3 + 0.02,
        ),
        ("probabilities, at random", 6, 30, lambda y: np.round(rng.dirichlet(np.ones(6), len(y)), 6)),
        (
            "probabilities, the lowest is the one that is meant, and one class is always lower",
            10,
            40,
            lambda y: (1 - np.eye(10)[y] * 0.9) * (np.arange(10) != 9) / 16 + 0.001,
        ),
        ("labels, a new one each time", 10, 60, lambda y: np.where(np.arange(len(y)) % 9, 100 + np.arange(len(y)), 99)),
        ("names", 10, 60, lambda y: np.array(WORDS)[(3 * y + 1) % 10]),
        (
            "names, refused here and there",
            4,
            40,
            lambda y: np.where(np.arange(len(y)) % 4 == 1, "", np.array(WORDS)[y]),
        ),
    ):
        labels = rng.integers(classes, size=n)
        raw = np.asarray(answers(labels))
        if raw.ndim == 2:
            raw[:, -1] = np.round(raw[:, -1] + 1 - raw.sum(axis=1), 6)
            raw = np.abs(raw)
        found.append(weighed(name, classes, labels, raw))
    return found


def weighed(name: str, classes: int, labels: np.ndarray, raw: np.ndarray) -> dict[str, Any]:
    """A transcript with its bits."""
    rule = stats.Rule(1e-6, 1e-3, round(1 / classes + 0.3, 4), len(labels))
    path = stats.play(rule, stats.read_answers(raw, len(labels), classes, names={}), labels)
    bits, acquittal = ((np.round(each, 6) + 0.0).tolist() for each in (path.evidence, path.acquittal))  # no -0.0
    told = [None if one == "" or (raw.ndim == 1 and one == -1) else one for one in raw.tolist()]
    return {
        "name": name,
        "classes": classes,
        "rule": {"alpha": rule.alpha, "beta": rule.beta, "rate": rule.rate},
        "labels": labels.tolist(),
        "answers": told,
        "bits": bits,
        "acquittal": acquittal,
        "outcome": stats.decide(path, rule, stop=False).outcome,
    }


def expected(
    raw: bytes,
    nonce: str | None,
    asked: bool,
    authorities: list[str] | None = None,
    since: str | None = None,
    source: Dataset | None = None,
) -> dict[str, Any]:
    """What the judge of this project says of a claim."""
    trusted = [read_authority(FOLDER / name) for name in authorities or ()]
    try:
        claim = read_claim(raw)
        told = {row.opening.input.tobytes(): row.answer for row in claim.rows if row.opening}

        def ask(images: np.ndarray) -> np.ndarray:
            return np.array([told[image.tobytes()] for image in images])

        court = Court(
            nonce and bytes.fromhex(nonce),
            forger.suspect(ask) if asked else None,
            authorities=trusted,
            since=since and datetime.datetime.fromisoformat(since),
            sources=[source] if source else [],
        )
        judgement = judge(claim, court)
    except InvalidFile:
        return {"verdict": "invalid"}
    return {
        "verdict": judgement.verdict,
        "bits": judgement.evidence_bits,
        "needed": judgement.needed_bits,
        "lacks": [str(lack.code) for lack in judgement.missing],
    }


COINED = {"spread": owner.key_of("spread", 100, material=owner.material_of("spread", 100, features=24))}
COINED["tie"] = owner.key_of("tie", 170)


def material() -> dict[str, bytes]:
    """Claims by keys with material, which is packed by a library that may pack otherwise one day."""
    files = {}
    for scheme, key in COINED.items():
        ask, few = owner.knowing(key), 12
        false = owner.with_arrays(key, **owner.material_of(scheme, key.spec.triggers, seed=1, features=24).arrays)
        files[f"material/match-{scheme}.json"] = made(rows_of(key, ask), key)
        files[f"material/notice-{scheme}.json"] = made(rows_of(key, ask, few), key, secret=None)
        files[f"material/invalid-other-{scheme}.json"] = made(rows_of(key, ask, few), false)
    return files


def coined_key(key: Key) -> dict[str, Any]:
    """What follows from its secret and its material."""
    if key.answers is None:
        truth = key.truth(slice(None))
        drawn = {"coins": truth.coins.tolist(), "contrasts": truth.contrasts.tolist()}
    else:
        drawn = {"coins": key.labels.tolist(), "answers": key.answers.tolist()}
    leaf = forger.leaves_of(key)[0].entry.decode()
    return {"secret": key.secret.hex(), "commitment": key.commitment.to_json(), "first_leaf": leaf, **drawn}


def coined_cases(files: dict[str, bytes]) -> list[dict[str, Any]]:
    """How claims with material are judged, with and without the judge's own digits."""
    courts = ((*COURTS[0], None), *((*court, "digits") for court in COURTS))
    return [
        {"file": name, "nonce": nonce, "asked": asked, "source": source}
        | expected(raw, nonce, asked, source=owner.source_of(name.split("-")[-1][:-5]) if source else None)
        for name, raw in files.items()
        for nonce, asked, source in courts
    ]


def freeze() -> None:
    """Makes what is made once, where it is missing."""
    for make, one in (
        (tokens, "stamped/authority.pem"),
        (journal_vectors.frozen, "journals/audit.jsonl"),
        (material, "material/match-tie.json"),
    ):
        if not (FOLDER / one).exists():
            (FOLDER / one).parent.mkdir(exist_ok=True)
            for name, raw in make().items():
                (FOLDER / name).write_bytes(raw)


def kept(*patterns: str) -> dict[str, bytes]:
    """Files as they lie there, by name."""
    paths = sorted(path for pattern in patterns for path in FOLDER.glob(pattern))
    return {str(path.relative_to(FOLDER)): path.read_bytes() for path in paths}


def written() -> dict[str, bytes]:
    """All files of the vectors but the keys', by name."""
    files = {f"claims/{name}.json": raw for name, raw in claims().items()}
    cases = [
        {"file": name, "nonce": nonce, "asked": asked, **expected(raw, nonce, asked)}
        for name, raw in files.items()
        for nonce, asked in COURTS
    ]
    dated = stamped(kept("stamped/*.tsr"))
    more = [
        {"file": name, "nonce": NONCE.hex(), "asked": True, "authorities": authorities, "since": since}
        | expected(raw, NONCE.hex(), True, authorities, since)
        for name, raw in dated.items()
        for authorities, since in KNOWN
    ]
    good = kept("journals/audit.jsonl", "journals/audit-other.jsonl")
    journals = journal_vectors.derived(good)
    documents = {
        "claims.v1.json": {"about": ABOUT_CLAIMS, "cases": cases},
        "material.v1.json": {
            "about": ABOUT_MATERIAL,
            "keys": [coined_key(key) for key in COINED.values()],
            "cases": coined_cases(kept("material/*.json")),
        },
        "stamped.v1.json": {"about": ABOUT_STAMPED, "cases": more},
        "journals.v1.json": {"about": journal_vectors.ABOUT, "cases": journal_vectors.cases({**good, **journals})},
        "transcripts.v1.json": {"about": ABOUT_TRANSCRIPTS, "transcripts": transcripts()},
    }
    files |= dated | journals
    return {**files, **{name: json.dumps(value, indent=1).encode() + b"\n" for name, value in documents.items()}}


if __name__ == "__main__":
    freeze()
    for name, raw in written().items():
        (FOLDER / name).write_bytes(raw)
