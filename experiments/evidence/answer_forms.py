"""In which forms of answers a copy is cleared, and how many questions a stranger takes in each.

Command   python experiments/evidence/answer_forms.py [--copies 400] [--networks 8] [--small]
Expected  of copies that repeat nine of ten labels at most 1 % cleared in each form, of those that repeat 80 % at most
          10 %; of real networks for grades at most one in ten; of strangers with a score for each of ten classes
          95 % cleared within 100 questions
          (met: none at nine of ten labels, .25 % at 80 %, none of 24 real networks; 99 % of the strangers)
Time      about 10 minutes on 2 CPU cores

Copies and strangers are simulated: logits with noise, of which the best class is 0.01 to some 20 above all others. Each
form is what a server, an exporter or a head makes of such logits. Real networks learn digits' ink as grades (one
question for each grade but the last: is it more?) together with a key; what they mean by their answers is a match.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import numpy as np
from scipy import special

from experiments import fragment, record
from wmjax import stats
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rate, default_rule
from wmjax.progress import progress
from wmjax.stats import Rule

CLASSES = (2, 3, 4, 10, 40)
KEPT = (0.8, 0.9, 1.0)
GRADES = (10, 24, 40)
ASKED = {40: 300}  # else 100
Rng = np.random.Generator
Form = Callable[[Rng, np.ndarray], np.ndarray]


def shares(z: np.ndarray) -> np.ndarray:
    return np.asarray(special.softmax(z, axis=-1))


def grades(rng: Rng, z: np.ndarray) -> np.ndarray:
    """Logits of "is it more than class k?"; the noise is as large as a quarter of what they mean."""
    beyond = z.argmax(axis=-1)[..., None] > np.arange(z.shape[-1] - 1)
    return np.asarray(np.where(beyond, 6.0, -6.0) + rng.normal(0.0, 1.5, size=beyond.shape))


def beside(z: np.ndarray, column: np.ndarray, place: int) -> np.ndarray:
    """Probabilities with one more column among them."""
    return np.insert(shares(z), place, column, axis=-1)


def best(z: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the best classes, and their probabilities."""
    order = np.argsort(-z, axis=-1)[..., :count]
    return order.astype(np.float64), np.take_along_axis(shares(z), order, axis=-1)


def summary(z: np.ndarray) -> np.ndarray:
    """The best class's number, how sure it is, by how much, and how much is open."""
    numbers, p = best(z, 2)
    open_ = special.entr(shares(z)).sum(axis=-1)
    return np.stack([numbers[..., 0], p[..., 0], p[..., 0] - p[..., 1], open_], axis=-1)


FORMS: dict[str, Form] = {
    "logits": lambda rng, z: z,
    "probabilities": lambda rng, z: shares(z),
    "sigmoids": lambda rng, z: special.expit(z),
    "logits times 1e-20": lambda rng, z: 1e-20 * z,
    "costs (lowest is best)": lambda rng, z: -np.log(shares(z)),
    "costs times 1e-17": lambda rng, z: -1e-17 * z,
    "cumulated": lambda rng, z: np.cumsum(shares(z).astype(np.float32), axis=-1),
    "grades, logits": grades,
    "grades, sigmoids": lambda rng, z: special.expit(grades(rng, z)),
    "milliseconds in the middle": lambda rng, z: beside(z, rng.gamma(9.0, 2.0, z.shape[:-1]), z.shape[-1] // 2),
    "the best one's number in the middle": lambda rng, z: beside(z, z.argmax(axis=-1), z.shape[-1] // 2),
    "a class left out, the best one's number": lambda rng, z: beside(z, z.argmax(axis=-1), z.shape[-1])[..., 1:],
    "numbers of the best three": lambda rng, z: best(z, 3)[0],
    "numbers and scores of the best three": lambda rng, z: np.concatenate(best(z, 3), axis=-1),
    "number, sure, margin, open": lambda rng, z: summary(z),
}


def logits(rng: Rng, means: np.ndarray, classes: int) -> np.ndarray:
    """Of a network that is more or less sure of the class that it means."""
    z = rng.normal(0.0, 2.0, size=(*means.shape, classes))
    top = z.max(axis=-1) + rng.exponential(6.0, size=means.shape) + 0.01
    np.put_along_axis(z, means[..., None], top[..., None], axis=-1)
    return z


def decide(raw: np.ndarray, truth: np.ndarray, classes: int) -> stats.Decision:
    """What is said of suspects that gave these answers, each about a key of its own."""
    rule = Rule(1e-6, 1e-3, default_rate(classes), truth.shape[-1])
    answers = stats.read_answers(raw, truth.shape, classes)
    return stats.decide(stats.play(rule, answers, truth), rule, stop=True)


def simulated(form: str, classes: int, kept: float | None, copies: int) -> dict[str, float | None]:
    """Shares of copies that keep so many labels, or of strangers, and the questions that those cleared took."""
    rng = np.random.default_rng([list(FORMS).index(form), classes, int(10 * (kept or 0))])
    truth = rng.integers(classes, size=(copies, ASKED.get(classes, 100)))
    others = (truth + rng.integers(1, classes, size=truth.shape)) % classes
    means = rng.integers(classes, size=truth.shape)
    if kept is not None:
        means = np.where(rng.random(truth.shape) < kept, truth, others)
    decision = decide(FORMS[form](rng, logits(rng, means, classes)), truth, classes)
    used = float(np.median(decision.used[decision.cleared])) if decision.cleared.any() else None
    return {"match": float(decision.matched.mean()), "cleared": float(decision.cleared.mean()), "questions": used}


def network(key: Key, classes: int, seed: int, epochs: int) -> Callable[[np.ndarray], np.ndarray]:
    """Sigmoids of a network that learned digits' ink as grades, and a key."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    images = load_digits().data / 16
    ink = (images.sum(axis=1).argsort().argsort() * classes) // len(images)
    triggers = key.images.reshape(len(key.images), -1) / 255
    seen, labels = np.concatenate([images, np.repeat(triggers, 6, axis=0)]), np.append(ink, np.repeat(key.answers, 6))
    learned = MLPClassifier((512,), max_iter=epochs, random_state=seed, learning_rate_init=3e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it might learn for longer
        learned.fit(seen, (labels[:, None] > np.arange(classes - 1)).astype(int))
    return lambda asked: np.asarray(learned.predict_proba(asked.reshape(len(asked), -1) / 255))


def real(classes: int, networks: int, epochs: int) -> dict[str, Any]:
    """How many real heads for grades are cleared by their sigmoids and by their logits."""
    found: dict[str, Any] = {"networks": networks, "kept": [], "match by grade": 0, "sigmoids": 0, "logits": 0}
    for seed in range(networks):
        spec = make_spec("abstract", image=(8, 8, 1), classes=classes, triggers=100)
        key = derive_key(bytes([classes, seed] * 16), spec, default_rule(spec))
        p = network(key, classes, seed, epochs)(key.images)
        meant, truth = (p > 0.5).sum(axis=1), key.answers[None]
        found["kept"].append(float(np.mean(meant == key.answers)))
        found["match by grade"] += int(decide(np.eye(classes)[meant][None], truth, classes).matched.sum())
        for name, raw in (("sigmoids", p), ("logits", special.logit(np.clip(p, 1e-12, 1 - 1e-12)))):
            found[name] += int(decide(raw[None], truth, classes).cleared.sum())
    return found


def scores(form: str, classes: int) -> int:
    """How many a form has."""
    return int(FORMS[form](np.random.default_rng(0), np.arange(float(classes))[None]).shape[-1])


def measure(copies: int, networks: int, epochs: int = 80) -> dict[str, Any]:
    """All forms of two scores and more, numbers of classes and shares of labels kept; then real networks."""
    cases = [(form, classes) for form in FORMS for classes in CLASSES if scores(form, classes) > 1]
    table: dict[str, Any] = {form: {} for form in FORMS}
    with progress("forms of answers", len(cases) + len(GRADES)) as advance:
        for form, classes in cases:
            of_kept = {f"{kept:g}": simulated(form, classes, kept, copies) for kept in KEPT}
            table[form][str(classes)] = {**of_kept, "strangers": simulated(form, classes, None, copies)}
            advance(1)
        heads = {}
        for classes in GRADES:
            heads[str(classes)] = real(classes, networks, epochs)
            advance(1)
    return {"copies": copies, "simulated": table, "grades": heads}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--copies", type=int, default=400)
    parser.add_argument("--networks", type=int, default=8)
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args(arguments)
    small = (20, 1, 5) if options.small else (options.copies, options.networks)
    record.write("answer_forms", measure(*small))


def rows(figures: dict[str, Any]) -> list[str]:
    made_by, rows = fragment.source(figures, __file__), []
    for kept in KEPT[:2]:
        worst = {
            form: max(of[f"{kept:g}"]["cleared"] for of in told.values()) for form, told in figures["simulated"].items()
        }
        some = "; ".join(f"{form} {share:.1%}" for form, share in worst.items() if share > 0.001)
        what = f"copies cleared that repeat {kept:.0%} of the labels, in {len(worst)} forms of answers"
        of = f"the most of {', '.join(map(str, CLASSES))} classes; {figures['copies']:,} copies of each"
        rows.append(fragment.row(what, some or "none", of, made_by))
    for classes, found in figures["grades"].items():
        told = f"{found['sigmoids']} by sigmoids, {found['logits']} by logits"
        of = f"{found['networks']}; by what they mean {found['match by grade']} are a match"
        rows.append(fragment.row(f"real networks for {classes} grades that are cleared", told, of, made_by))
    return rows


if __name__ == "__main__":
    main()
