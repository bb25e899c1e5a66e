"""The README's picture: some triggers with their secret labels, and the evidence on copies and innocents.

Command   python experiments/story.py
Expected  the marked model passes 20 bits after about seven questions, the damaged copies within thirty; the innocents
          sink below nought
Time      about 2 minutes on 2 CPU cores

Writes `results/story.svg` beside the curves.
"""

import dataclasses
import html
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout

import numpy as np

from experiments import record
from wmjax.attacks.families.prune import prune
from wmjax.data import load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Variables, default_config, predict
from wmjax.report.plot import Axis, apart, ticks
from wmjax.report.thumbnail import thumbnail
from wmjax.suspects import Suspect
from wmjax.train import default_recipe, fit
from wmjax.train.step import first_state
from wmjax.verification import Verdict, verify

SHOWN, TRIGGERS, SIDE, GAP, STRIP = 30, 10, 48, 14, 138  # questions drawn; pictures, their size in pixels, their place
RED, GREEN, INK, SOFT, LINE = "#b3261e", "#1b6e3c", "#1c2430", "#5a6472", "#dde2e8"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 320, 52, 36, 12, 150  # of the curves, in pixels
APART = 13.0  # names beside them


class Curve(NamedTuple):
    """Evidence of one suspect: its name, bits after each question, whether it is a theft."""

    name: str
    bits: np.ndarray
    stolen: bool


def main() -> None:
    digits = load("digits")
    key = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100))
    mine = np.arange(len(digits.train)) % 2 == 0
    owned, others = digits.train[mine], digits.train[~mine]
    config = default_config("cnn", owned.image, owned.classes)
    recipe = default_recipe(config)

    marked = fit(config, recipe, owned, [key])
    tuning = dataclasses.replace(recipe, seed=1, epochs=20, learning_rate=0.05)
    tuned = fit(config, tuning, others, state=first_state(marked))
    models = {
        "marked model": (marked, True),
        "copy, 80 % pruned": (prune(marked, 0.8), True),
        "copy, fine-tuned": (tuned, True),
        "innocent, same data": (fit(config, dataclasses.replace(recipe, seed=2), owned), False),
        "innocent, other data": (fit(config, dataclasses.replace(recipe, seed=3), others), False),
    }

    def ask(name: str, variables: Variables) -> Verdict:
        answer = lambda images: predict(config, variables, images)  # noqa: E731
        return verify(Suspect(name, answer, config.image, config.classes, remembers=False), key, whole=True)

    verdicts = {name: ask(name, variables) for name, (variables, _) in models.items()}
    curves = [Curve(name, verdicts[name].path[:SHOWN], stolen) for name, (_, stolen) in models.items()]
    bits = key.commitment.rule.match_bits
    (record.RESULTS / "story.svg").write_text(picture(key, curves, bits))
    found = {name: {"verdict": v.verdict, "bits": np.round(v.path, 2).tolist()} for name, v in verdicts.items()}
    record.write("story", {"match_bits": bits, "suspects": found})


def picture(key: Key, curves: Sequence[Curve], bits: float) -> str:
    """The text of an SVG file: pictures above, curves below."""
    height = HEIGHT + STRIP
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="Odd pictures with secret labels; below, evidence against questions: '
        'copies rise beyond 20 bits, innocents sink">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fcfcfb"/>',
        _title(24, "1. Odd pictures with secret labels are learned along with the real data"),
    ]
    for i in range(TRIGGERS):
        x = LEFT + i * (SIDE + GAP)
        source = thumbnail(key.images[i], SIDE // key.spec.image[0])
        parts.append(f'<image x="{x}" y="36" width="{SIDE}" height="{SIDE}" href="{source}"/>')
        parts.append(_text(x + SIDE / 2, 36 + SIDE + 15, key.labels[i]))
    parts.append(f'<g transform="translate(0 {STRIP})">')
    parts.append(_title(-6, "2. Later any model is asked about them: a copy knows, a stranger guesses"))
    return "\n".join([*parts, *_drawn(curves, bits), "</g>", "</svg>"]) + "\n"


def _title(y: int, words: str) -> str:
    return f'<text x="{LEFT}" y="{y}" font-weight="600" fill="{INK}">{words}</text>'


def _text(x: float, y: float, words: object, anchor: str = "middle", colour: str = SOFT) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}">{html.escape(str(words))}</text>'


def _drawn(curves: Sequence[Curve], needed: float) -> Iterator[str]:
    """Axes and curves; innocents sink without end, so they are cut off below."""
    queries = max(len(curve.bits) for curve in curves)
    high = max(1.5 * needed, *(float(curve.bits.max()) for curve in curves))
    low = max(-needed, min(0.0, *(float(curve.bits.min()) for curve in curves)))
    right = WIDTH - RIGHT
    across, up = Axis(0.0, queries, LEFT, right, None), Axis(low, high, HEIGHT - BOTTOM, TOP, None)
    for tick in ticks(low, high):
        yield f'<path stroke="{LINE}" d="M{LEFT} {up.at(tick)}H{right}"/>'
        yield _text(LEFT - 6, up.at(tick) + 4, tick, "end")
    for tick in ticks(0, queries):
        yield _text(across.at(tick), HEIGHT - BOTTOM + 16, tick)
    yield _text((LEFT + right) / 2, HEIGHT - 4, "questions")
    yield f'<text x="14" y="160" text-anchor="middle" transform="rotate(-90 14 160)" fill="{SOFT}">bits</text>'
    yield f'<path stroke="{INK}" stroke-dasharray="4 4" d="M{LEFT} {up.at(needed)}H{right}"/>'
    yield _text(right - 4, up.at(needed) - 5, f"{needed:.0f} bits: a match", "end", INK)
    ranked = sorted(curves, key=lambda curve: -float(curve.bits[-1]))
    heights = apart([up.at(float(curve.bits[-1])) + 4 for curve in ranked], HEIGHT - 4.0, APART)
    for curve, height in zip(ranked, heights, strict=True):
        colour = RED if curve.stolen else GREEN
        points = " ".join(f"{across.at(i + 1)},{up.at(float(bits))}" for i, bits in enumerate(curve.bits))
        yield f'<polyline fill="none" stroke-width="2" stroke="{colour}" points="{points}"/>'
        yield _text(right + 6, round(height, 1), curve.name, "start", colour)


if __name__ == "__main__":
    main()
