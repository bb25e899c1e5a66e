"""What was asked in a claim and what came back: one outcome a trigger, every attempt told.

A transcript is a list of rows, in the order in which the challenger's nonce picks the triggers:

    {"index": trigger, "attempts": [attempt, ...], "answer": answer or null, "opening": opening or null}

An attempt is {"at": UTC time, "outcome": "answered" or "failed", "detail": {text: text}}; of a suspect behind a network
that is what was seen of it (address, certificate, status, digests of request and answer). Only the last attempt may be
answered: an answer ends the asking, so nothing is asked again for a better one. An answer is {"label": class}, {"name":
the suspect's word for it} or {"probabilities": [...]}; null is a refusal. Whatever came in another form than a label, a
name or one score a class, or than the suspect's first answer, is a refusal too, and `detail` says in `came` what it
was. A trigger that was spent before, by an earlier claim
or by a question whose answer was lost, is not asked: no attempts, no answer, no opening; like a refusal it counts
against the owner, and where refusals are left out it raises what a match needs (`lacks.chosen_bits`), so that nobody
gains by calling a trigger spent. An opening is what the commitment's Merkle tree
holds of the trigger, with its input and the proof: {"salt", "label", "input", "proof"}.
"""

import base64
import binascii
import dataclasses
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from wmjax import stats
from wmjax.errors import InvalidFile
from wmjax.grounds import Ground
from wmjax.keys import Spec
from wmjax.keys.commitment import Leaf, input_sha256
from wmjax.keys.material import Material
from wmjax.keys.policies import Known
from wmjax.keys.times import read_time
from wmjax.stats.contract import Truth
from wmjax.stats.said import Said, as_answers, numbered, read_said, said_json, scores_in
from wmjax.suspects.grounds import clears_all
from wmjax.text import by, is_sha256


@dataclasses.dataclass(frozen=True, eq=False)
class Opening:
    """A leaf of the commitment, shown.

    Attributes:
      leaf: as it was hashed.
      input: what the suspect was asked with, uint8 [H, W, C].
      proof: siblings from the leaf up, 32 bytes each.
    """

    leaf: Leaf
    input: np.ndarray
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, Any]:
        """Its JSON; index and digest of the input follow from the rest of the row."""
        return {
            "salt": self.leaf.salt,
            "label": self.leaf.label,
            "input": base64.b64encode(self.input.tobytes()).decode(),
            "proof": [node.hex() for node in self.proof],
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
    """One trigger's turn.

    Attributes:
      index: of the trigger.
      attempts: as in the JSON.
      answer: class, its name, or probabilities float64 [classes], by the suspect's own classes; None for a refusal.
      opening: None for a trigger that was spent before.
    """

    index: int
    attempts: tuple[dict[str, Any], ...] = ()
    answer: Said | None = None
    opening: Opening | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as JSON values."""
        opening = self.opening and self.opening.to_json()
        answer = said_json(self.answer)
        return {"index": self.index, "attempts": list(self.attempts), "answer": answer, "opening": opening}


def scores_of(rows: Sequence[Row]) -> int | None:
    """How many classes the suspect gives scores to, 0 if it names one; None without a usable answer."""
    return scores_in(row.answer for row in rows)


def names_of(rows: Sequence[Row]) -> dict[str, int]:
    """The suspect's names for its classes, numbered in the order in which they first came."""
    return numbered(row.answer for row in rows)


def answers(rows: Sequence[Row], classes: int, *, before: Sequence[Row] = ()) -> stats.Answers:
    """The rows' answers, as evidence is computed from them; a spent trigger is a refusal.

    Args:
      rows: of the transcript.
      classes: that the key is for.
      before: earlier rows, which show the suspect's form and names.
    """
    known = (*before, *rows)
    return as_answers([row.answer for row in rows], classes, scores_of(known) or 0, names_of(known))


def truth(rows: Sequence[Row], spec: Spec, secret: bytes | None, material: Material | None) -> Truth | None:
    """What the secret says about the rows, for the key's kind of evidence.

    Args:
      rows: of the transcript; a spent one has the label 0, since it is a refusal.
      spec: the key's.
      secret: None where it is not revealed; then of some keys None can be said.
      material: the one that the spec names.
    """
    return None if secret is None and spec.policy.revealed else spec.policy.truth(known(rows, spec, secret, material))


def known(rows: Sequence[Row], spec: Spec, secret: bytes | None, material: Material | None) -> Known:
    """What there is to say what the secret says about the rows; arguments as of `truth`."""
    numbers = np.array([row.index for row in rows], np.int64)
    labels = np.array([row.opening.leaf.label if row.opening else 0 for row in rows], np.int64)
    return Known(spec, numbers, labels, secret, material)


def weigh(
    rows: Sequence[Row],
    given: stats.Answers,
    rule: stats.Rule,
    spec: Spec,
    secret: bytes | None,
    material: Material | None,
) -> stats.Path:
    """What answers about the rows come to; nothing where the truth about them is not told. Arguments as of `truth`."""
    known = truth(rows, spec, secret, material)
    if known is None:
        nothing, none = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
        return stats.Path(nothing, nothing, nothing, none, none)
    return stats.play(rule, given, known)


def state(
    rows: Sequence[Row],
    rule: stats.Rule,
    spec: Spec,
    secret: bytes | None = None,
    material: Material | None = None,
    asked: Sequence[Ground] = (),
) -> dict[str, str | int | float]:
    """The verdict and its figures, as a transcript gives them by the committed rule.

    They are none where only the secret could tell, and it is not revealed; and nobody is cleared who was asked in a way
    (`asked`, as of `Claim`) that clears nobody.
    """
    path = weigh(rows, answers(rows, spec.classes), rule, spec, secret, material)
    outcome = stats.decide(path, rule, stop=False).outcome
    return {
        "verdict": "inconclusive" if outcome == "no-match" and not clears_all(asked) else outcome,
        "evidence_bits": round(float(path.evidence[-1]), 3),
        "queries": sum(row.opening is not None for row in rows),
        "matches": int(path.matches[-1]),
    }


def read_rows(values: Any, spec: Spec) -> tuple[Row, ...]:
    """Reads a transcript; anything that cannot be one is refused.

    Raises:
      InvalidFile: with the number of the row and what is wrong in it.
    """
    if not isinstance(values, list) or not 1 <= len(values) <= spec.triggers:
        raise InvalidFile(f"its transcript is not a list of 1 to {spec.triggers} rows")
    rows = []
    for number, value in enumerate(values, 1):
        try:
            rows.append(_read_row(value, spec))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InvalidFile(f"row {number} of its transcript: {_why(error)}") from error
    if all(row.opening is None for row in rows):
        raise InvalidFile("its transcript opens no trigger: nothing was asked")
    if len({scores_of([row]) for row in rows if row.answer is not None}) > 1:
        raise InvalidFile("its transcript has labels here and probabilities there: an answer keeps to one form")
    return tuple(rows)


def _why(error: Exception) -> str:
    return f"{error!s:.120}" if isinstance(error, ValueError) else "it lacks a field, or one has another form"


def _read_row(value: dict[str, Any], spec: Spec) -> Row:
    turn = read_turn(value, spec)
    if (value["opening"] is None) != (not turn.attempts):
        raise ValueError("what is asked must be opened, and what is not asked stays closed")
    opening = None if value["opening"] is None else _read_opening(value["opening"], turn.index, spec)
    return dataclasses.replace(turn, opening=opening)


def read_turn(value: dict[str, Any], spec: Spec) -> Row:
    """A row without its opening; raises where it cannot be one, as `read_rows` tells it."""
    index, attempts = value["index"], value["attempts"]
    if set(value) != {"index", "attempts", "answer", "opening"} or type(index) is not int:
        raise ValueError("its fields are not index, attempts, answer and opening")
    if type(attempts) is not list:
        raise ValueError("its attempts are not a list")
    if not 0 <= index < spec.triggers:
        raise ValueError(f"there is no trigger {index}")
    answered = [_check_attempt(attempt) for attempt in attempts]
    _check_retries(answered)
    if (value["answer"] is not None) and not (answered and answered[-1]):
        raise ValueError("it has an answer, but no attempt was answered")
    return Row(index, tuple(attempts), read_said(value["answer"]))


def _check_attempt(attempt: dict[str, Any]) -> bool:
    """Whether it was answered; raises if it is not an attempt."""
    if set(attempt) != {"at", "outcome", "detail"} or attempt["outcome"] not in ("answered", "failed"):
        raise ValueError("an attempt has a time, an outcome (answered or failed) and a detail")
    read_time(attempt["at"])
    if not all(isinstance(text, str) for text in attempt["detail"].values()):
        raise ValueError("the detail of an attempt is not made of texts")
    return bool(attempt["outcome"] == "answered")


def _check_retries(answered: Sequence[bool]) -> None:
    """Nothing is asked again for a better answer."""
    if any(answered[:-1]):
        raise ValueError("it was asked again after an answer: only the first one counts")


def _read_opening(value: dict[str, Any], index: int, spec: Spec) -> Opening:
    if set(value) != {"salt", "label", "input", "proof"}:
        raise ValueError("an opening has a salt, a label, an input and a proof")
    if not re.fullmatch("[0-9a-f]{32}", value["salt"]):
        raise ValueError("the salt is not 32 hex digits")
    if type(value["label"]) is not int or not 0 <= value["label"] < spec.classes:
        raise ValueError(f"the secret label is not a class in 0..{spec.classes - 1}")
    if type(value["proof"]) is not list or not all(map(is_sha256, value["proof"])):
        raise ValueError("the proof is not made of SHA-256 in hex")
    raw = base64.b64decode(value["input"], validate=True)
    if base64.b64encode(raw).decode() != value["input"]:
        raise binascii.Error("the input is not base64 in its one form")
    if len(raw) != spec.input.size:
        raise ValueError(f"the input has {len(raw)} bytes, not those of {by(spec.image)}")
    asked = np.frombuffer(raw, np.uint8).reshape(spec.image)
    leaf = Leaf(index, value["salt"], input_sha256(asked), value["label"])
    return Opening(leaf, asked, tuple(bytes.fromhex(node) for node in value["proof"]))
