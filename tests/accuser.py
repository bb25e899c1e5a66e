"""An accuser, a court, and what both need to make and to judge false claims."""

import dataclasses
from collections.abc import Callable
from typing import Any

import forger
import numpy as np
from forger import day, innocent
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits
from tsa import LocalTsa

from wmjax.errors import InvalidFile
from wmjax.evidence import judge as judging
from wmjax.evidence import lacks as lacking
from wmjax.evidence import transcript as rows_of
from wmjax.evidence.authority import Authority
from wmjax.evidence.claim_file import read_claim
from wmjax.evidence.facts import Court, Facts
from wmjax.evidence.judge import judge
from wmjax.evidence.judge_asking import Heard

NONCE, OLDER_NONCE = b"n" * 32, b"o" * 32
BEFORE, SINCE, AFTER = day(2024, 1), day(2024, 6), day(2024, 9)
SECRET = b"\x01" * 32
INNOCENT = innocent()
# Of the secrets 0 .. 2**20 - 1 four give six labels 0, for a suspect that answers 0 to everything; this is the first.
SEARCHED = (67789).to_bytes(32)
SEARCHED_ALPHA = 1e-5  # 16.6 bits; six answers of six are 18.4

Patch = tuple[Any, str, Any]


@dataclasses.dataclass(frozen=True)
class Attack:
    """A false claim before a court.

    Attributes:
      raw: the claim's file.
      court: who judges.
      verdict: `invalid`, or the one that is judged.
      says: part of the refusal; of a judgement the code of what is missing, and why that is.
      without: the checks that stop it: taken out, it is a match. Where there are several, any one of them stops it.
      margin: `DATED_BITS` and `PLEDGED_BITS` in force: none, so that each check is seen alone, but where the margin is
        the check itself.
    """

    raw: bytes
    court: Court
    verdict: str
    says: str
    without: tuple[Patch, ...]
    margin: float = 0.0


@dataclasses.dataclass(frozen=True)
class World:
    """An authority that the courts trust, and its stamps from before and after the suspect appeared."""

    tsa: LocalTsa
    authority: Authority
    other: LocalTsa
    before: Callable[[bytes], bytes]
    after: Callable[[bytes], bytes]

    def court(self, ask: forger.Ask | None, **fields: Any) -> Court:
        usual = {"nonce": NONCE, "authorities": [self.authority], "since": SINCE}
        return Court(**{**usual, "suspect": ask and forger.suspect(ask), **fields})


def outcome(attack: Attack) -> tuple[str, str]:
    """The verdict, and the refusal or the codes of what is missing."""
    try:
        judgement = judge(read_claim(attack.raw, "claim"), attack.court)
    except InvalidFile as error:
        return "invalid", str(error)
    return judgement.verdict, " ".join(
        f"{lack.code} {lack.values.get('why', '')}".strip() for lack in judgement.missing
    )


def nothing(*arguments: object) -> None:
    """In the place of a check."""


def truth(*arguments: object) -> bool:
    return True


def believe_transcript(claim: Any, court: Any, *_: Any, **__: Any) -> Heard:
    """In the place of the judge's own asking."""
    return Heard(rows_of.answers(claim.rows, claim.commitment.spec.classes), (0, 0), mixed=False)


DERIVED: Patch = (judging, "check_secret", truth)
REVEALED: Patch = (lacking, "underived", nothing)
DATED: Patch = (Facts, "is_before_suspect", property(truth))
SEARCH: Patch = (lacking, "SEARCH_BITS", 0.0)
MARGIN: Patch = (lacking, "DATED_BITS", 0.0)
STAMPS: Patch = (lacking, "PLEDGED_BITS", 0.0)
PICKED: Patch = (judging, "check_picks", nothing)
NONCED: Patch = (judging, "check_nonce", nothing)
ASKED: Patch = (judging, "ask_again", believe_transcript)


def trained(pixels: np.ndarray, classes: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A network of one hidden layer, by full-batch gradient descent."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(64, 32)) * 0.1, rng.normal(size=(32, 10)) * 0.1
    for _ in range(300):
        hidden = np.tanh(pixels @ first)
        error = (softmax(hidden @ second) - np.eye(10)[classes]) / len(pixels)
        back = pixels.T @ ((error @ second.T) * (1 - hidden**2))
        first, second = first - 0.5 * back, second - 0.5 * hidden.T @ error
    return first, second


def softmax(scores: np.ndarray) -> np.ndarray:
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


def logits(model: tuple[np.ndarray, np.ndarray], pixels: np.ndarray) -> np.ndarray:
    return np.tanh(pixels @ model[0]) @ model[1]


_TRANSFERABLE: list[tuple[np.ndarray, np.ndarray, forger.Ask]] = []


def transferable() -> tuple[np.ndarray, np.ndarray, forger.Ask]:
    """50 adversarial digits, their labels, and a model that the accuser never saw, of other digits.

    Three networks of the accuser's half of the data; of 400 images each is pushed, by 40 steps of signs within 16/255,
    to its second class, which is never the true one there; the 50 that his ensemble is surest of are taken.
    """
    if not _TRANSFERABLE:
        with threadpool_limits(1):  # matrices so small cost ten times as much on threads that wait for each other
            _TRANSFERABLE.append(push())
    return _TRANSFERABLE[0]


def push() -> tuple[np.ndarray, np.ndarray, forger.Ask]:
    """The attack itself."""
    digits, rng = load_digits(), np.random.default_rng(0)
    pixels, classes, mixed = digits.data / 16, digits.target, rng.permutation(1797)
    mine, others = mixed[:900], mixed[900:]
    parts = [rng.permutation(mine)[:600] for _ in range(3)]
    ensemble = [trained(pixels[rows], classes[rows], seed) for seed, rows in enumerate(parts)]
    victim = trained(pixels[others], classes[others], 99)
    start, eps = pixels[mine][:400], 16 / 255
    targets = np.argsort(sum(logits(model, start) for model in ensemble), axis=1)[:, -2]
    pushed = start
    for _ in range(40):
        slope = sum(
            ((softmax(logits(m, pushed)) - np.eye(10)[targets]) @ m[1].T * (1 - np.tanh(pushed @ m[0]) ** 2)) @ m[0].T
            for m in ensemble
        )
        pushed = np.clip(np.clip(pushed - eps / 10 * np.sign(slope), start - eps, start + eps), 0, 1)
    sure = sum(softmax(logits(model, pushed)) for model in ensemble)[np.arange(400), targets]
    best = np.argsort(-sure)[:50]
    images = np.round(pushed[best] * 255).astype(np.uint8).reshape(50, 8, 8, 1)
    assert np.abs(images.reshape(50, 64) / 255 - start[best]).max() <= eps + 0.5 / 255
    return images, targets[best], lambda asked: np.argmax(logits(victim, asked.reshape(len(asked), 64) / 255), axis=1)
