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
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the checkout

import numpy as np

from experiments import record
from wmjax.attacks.families.prune import prune
from wmjax.data import load
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Variables, default_config, predict
from wmjax.report.svg import Curve, layout, png
from wmjax.suspects import Suspect
from wmjax.train import default_recipe, fit
from wmjax.train.loop import first_state
from wmjax.verification import Verdict, verify

SHOWN, TRIGGERS, SIDE, GAP, STRIP = 30, 10, 48, 14, 138  # questions drawn; pictures, their size in pixels, their place
RED, GREEN, INK, SOFT, LINE = "#b3261e", "#1b6e3c", "#1c2430", "#5a6472", "#dde2e8"


def main() -> None:
    digits = load("digits")
    key = generate(make_spec("abstract", image=(8, 8, 1), classes=10, triggers=100))
    mine = np.arange(len(digits.train)) % 2 == 0
    owned, others = digits.train[mine], digits.train[~mine]
    config = default_config("cnn", owned.image, owned.classes)
    recipe = default_recipe(config)

    marked = fit(config, recipe, owned, [key])
    tuning = dataclasses.replace(recipe, seed=1, epochs=20, learning_rate=0.05)
    tuned = fit(config, tuning, others, state=first_state(config, tuning, len(others), marked))
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
    """The text of an SVG file."""
    plot = layout(list(curves), bits)
    width, height = plot["width"], int(str(plot["height"])) + STRIP
    left, right, floor, limit = plot["left"], plot["right"], plot["floor"], plot["threshold"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="Odd pictures with secret labels; below, evidence against questions: '
        'copies rise beyond 20 bits, innocents sink">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#fcfcfb"/>',
        f'<text x="{left}" y="24" font-weight="600" fill="{INK}">1. Odd pictures with secret labels are learned along '
        "with the real data</text>",
    ]
    for i in range(TRIGGERS):
        x = int(str(left)) + i * (SIDE + GAP)
        source = png(key.images[i], SIDE // key.spec.image[0])
        parts.append(f'<image x="{x}" y="36" width="{SIDE}" height="{SIDE}" href="{source}"/>')
        parts.append(
            f'<text x="{x + SIDE / 2}" y="{36 + SIDE + 15}" text-anchor="middle" fill="{SOFT}">{key.labels[i]}</text>'
        )
    parts.append(f'<g transform="translate(0 {STRIP})">')
    parts.append(
        f'<text x="{left}" y="-6" font-weight="600" fill="{INK}">2. Later any model is asked about them: a copy knows, '
        "a stranger guesses</text>"
    )
    for y, tick in plot["y_ticks"]:  # type: ignore[attr-defined]
        parts.append(f'<path stroke="{LINE}" d="M{left} {y}H{right}"/>')
        parts.append(f'<text x="{int(str(left)) - 6}" y="{y + 4}" text-anchor="end" fill="{SOFT}">{tick}</text>')
    for x, tick in plot["x_ticks"]:  # type: ignore[attr-defined]
        parts.append(f'<text x="{x}" y="{int(str(floor)) + 16}" text-anchor="middle" fill="{SOFT}">{tick}</text>')
    middle = (int(str(left)) + int(str(right))) / 2
    parts.append(f'<text x="{middle}" y="{height - STRIP - 4}" text-anchor="middle" fill="{SOFT}">questions</text>')
    parts.append(f'<text x="14" y="160" text-anchor="middle" transform="rotate(-90 14 160)" fill="{SOFT}">bits</text>')
    parts.append(f'<path stroke="{INK}" stroke-dasharray="4 4" d="M{left} {limit}H{right}"/>')
    parts.append(
        f'<text x="{int(str(right)) - 4}" y="{float(str(limit)) - 5}" text-anchor="end" fill="{INK}">'
        f"{bits:.0f} bits: a match</text>"
    )
    for line in plot["lines"]:  # type: ignore[attr-defined]
        colour = RED if line["stolen"] else GREEN
        parts.append(f'<polyline fill="none" stroke-width="2" stroke="{colour}" points="{line["points"]}"/>')
        name = html.escape(line["name"])
        parts.append(f'<text x="{int(str(right)) + 6}" y="{line["label"]}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


if __name__ == "__main__":
    main()
