"""Made-up results of attacks, and their page."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from pages import Page
from PIL import Image

from wmjax.attacks.result import AttackOutcome, AttackResult, Leak, Point
from wmjax.report.attack import write_attack_report

NEEDED = 20.0


def point(
    attack: str, strength: float = 1.0, *, lost: float | None = 0.0, bits: float | None = 90.0, **more: Any
) -> Point:
    """A point whose labels give 12 bits less than its probabilities."""
    outcome: AttackOutcome = "match" if bits is not None and bits >= NEEDED else "inconclusive"
    values: dict[str, Any] = {
        "attack": attack,
        "strength": strength,
        "victim": "victim",
        "key": "key",
        "accuracy": None if lost is None else 0.9 - lost / 100,
        "lost": lost,
        "classes": 10,
        "asked": 100,
        "matches": 60,
        "label_bits": None if bits is None else bits - 12,
        "bits": bits,
        "outcome": outcome,
    }
    return Point(**(values | more))


def stolen(**more: Any) -> Point:
    return point("none", 0.0, bits=300.0, **more)


def diverged(attack: str) -> Point:
    return point(attack, lost=None, bits=None, matches=0, outcome="diverged")


def fixed(attack: str, **more: Any) -> Point:
    return point(attack, bits=None, outcome="uncalibrated", key="old", **more)


def found(*points: Point, **changes: Any) -> AttackResult:
    values: dict[str, Any] = {
        "suite": "quick",
        "data": "digits",
        "model": "cnn 8x8x1",
        "keys": {"key": {"scheme": "content", "labels": "random", "triggers": 100, "id": "ab" * 32}},
        "match_bits": NEEDED,
        "thief": ["100 labelled images"],
        "attackers": {"prune": "knows the weights"},
        "strengths": {"prune": "share of weights zeroed"},
        "points": list(points),
        "leaks": [],
        "skipped": {},
        "notes": (),
        "seconds": 2.0,
    }
    return AttackResult(**(values | changes))


def leak(**changes: Any) -> Leak:
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8, 1).tolist()
    values: dict[str, Any] = {
        "victim": "victim",
        "key": "key",
        "start": "blank",
        "correlation": 0.4,
        "chance": 0.1,
    }
    return Leak(**(values | {"p": 0.01, "picture": picture} | changes))


def page(path: Path, result: AttackResult) -> tuple[Page, str]:
    """The page's elements, and what it says."""
    write_attack_report(path / "report.html", result)
    shown = Page((path / "report.html").read_text("utf-8"))
    return shown, re.sub(r"\s+", " ", "".join(text for tag, text in shown.texts if tag != "style"))


def pixels(shown: Page) -> np.ndarray:
    """The first picture of a page."""
    source = next(a["src"] for tag, a in shown.tags if tag == "img") or ""
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.removeprefix("data:image/png;base64,")))))
