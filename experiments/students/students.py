"""Students of a marked network: what a `spread` key says of them, and of innocents and thieves, beside accuracy.

Command   TFDS_DATA_DIR=... python experiments/students/students.py --work DIR [--data cifar10] [--seeds 0 1 2]
Expected  owner and thief have 25,000 disjoint images each; bits of 288, 10,000 probes, probabilities / labels alone:
          a soft student at least 120 / 40, one at temperature 4 80, a hard-label student 30 / 20, the marked network
          100 from 1,000 probes; 500 true labels and the mean with an own network still a match (20 bits); innocents
          never; accuracy .3 points below the same network trained as long, in the mean. Of another architecture: 50,
          of a small cnn that is nearly as good 30.
          (seed 2; met: a soft student 163 / 57, innocents, T = 4, the marked network, the mean, the small cnn, 500 true
          labels 69 and, at half of the rate of training, 44; missed: hard labels 28 / 19, another architecture 7, .93
          points, of three seeds .56. The forms in which answers are read were chosen by the networks of this seed)
Time      about two minutes a seed on a GPU, an hour and a half on 2 CPU cores; DIR keeps keys and networks, and a
          killed run goes on; seeds that results/students.json already holds are not run again
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # the checkout

import jax
import numpy as np

import wmjax
from experiments import fragment, record
from experiments.kept import Kept
from wmjax import stats
from wmjax.data import Dataset
from wmjax.data.dataset import Splits
from wmjax.keys import Key, generate, make_spec
from wmjax.models import Config, Variables, default_config, predict
from wmjax.stats import Answers
from wmjax.train import Recipe, Teacher, default_recipe, fit, shift_of
from wmjax.train.spread import spread_key_for, tuning
from wmjax.train.step import first_state

STUDENT_EPOCHS = 6
SIGMAS = (0.5, 0.7, 1.0, 1.4)  # the frontier; the table is at 1
REHEARSALS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Exhibit:
    """A network whose answers are weighed.

    Attributes:
      name: as the table has it.
      answers: what it gives to images, float32 [n, classes].
    """

    name: str
    answers: Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
    """Whose images are whose, and how networks are trained.

    Attributes:
      data: name of the data set.
      config: of the owner's network and most others.
      owner: images that it is trained on.
      thief: other images.
      test: probes, and what accuracy is measured on.
      recipe: of a network from scratch.
      marking: of a network that is trained on.
      kept: where keys and networks are kept.
    """

    data: str
    config: Config
    owner: Dataset
    thief: Dataset
    test: Dataset
    recipe: Recipe
    marking: Recipe
    kept: Kept

    def train(
        self, name: str, data: Dataset, recipe: Recipe | None = None, begin: Variables | None = None, **how: Any
    ) -> Variables:
        """A network of the scene's kind, or another that is given, on the host; trained where it is not kept."""
        recipe, config = recipe or self.recipe, how.pop("config", self.config)

        def trained() -> Variables:
            state = None if begin is None else first_state(begin)
            return jax.device_get(fit(config, recipe, data, state=state, title=name, **how))

        return self.kept.network(name, config, trained)

    def of(self, name: str, variables: Variables, config: Config | None = None) -> Exhibit:
        """A network as an exhibit."""
        return Exhibit(name, lambda images: predict(config or self.config, variables, images))


def scene(data: str, model: str, epochs: int, seed: int, work: Path) -> Scene:
    """Half of the training images, drawn by the seed, are the owner's, the others the thief's."""
    splits = wmjax.load(data)
    shuffled = np.random.default_rng([seed, 0x5C]).permutation(len(splits.train))
    owner, thief = (splits.train[np.sort(rows)] for rows in np.split(shuffled[: len(shuffled) // 2 * 2], 2))
    config = default_config(model, owner.image, owner.classes)
    recipe = dataclasses.replace(default_recipe(config), epochs=epochs, label_smoothing=0.1, seed=seed)
    kept = Kept(work / f"{data}-{model}-{epochs}-{seed}")
    return Scene(data, config, owner, thief, splits.test, recipe, tuning(recipe, len(owner)), kept)


def exhibits(s: Scene, key: Key, marked: Variables, other: Variables, base: Variables) -> Sequence[Exhibit]:
    """Everything that is weighed, the marked network first.

    Args:
      s: the scene.
      key: the `spread` key of `marked`.
      marked: the owner's network.
      other: the same base, marked with another key.
      base: the unmarked network.
    """
    student = dataclasses.replace(s.recipe, epochs=STUDENT_EPOCHS, temperature=1.0, seed=s.recipe.seed + 1)
    plain = dataclasses.replace(student, label_smoothing=0.0)
    hot = dataclasses.replace(student, temperature=4.0)
    answered = dataclasses.replace(s.thief, labels=predict(s.config, marked, s.thief.images).argmax(1).astype(np.int32))
    half = np.where(np.arange(len(s.thief)) % 2, answered.labels, s.thief.labels)
    halved = dataclasses.replace(s.thief, labels=half)
    own = s.train("own", s.thief, dataclasses.replace(s.recipe, seed=s.recipe.seed + 2))
    softly = {
        name: Teacher(s.config, network) for name, network in (("marked", marked), ("base", base), ("other", other))
    }
    found = [
        s.of("marked", marked),
        s.of("student, soft", s.train("soft", s.thief, student, teacher=softly["marked"])),
        s.of("student, soft, T = 4", s.train("hot", s.thief, hot, teacher=softly["marked"])),
        s.of("student, hard labels", s.train("hard", answered, plain)),
        s.of("student, half true labels", s.train("half", halved, plain)),
        Exhibit("mean of marked and an own network", lambda x: _mean_answers(s.config, (marked, own), x)),
        s.of("innocent, other images", own),
        s.of("student of the unmarked base", s.train("of-base", s.thief, student, teacher=softly["base"])),
        s.of("student of another marking", s.train("of-other", s.thief, student, teacher=softly["other"])),
        s.of("unmarked base", base),
    ]
    for count, rate in ((500, 0.01), (500, 0.05), (5_000, 0.01), (5_000, 0.05)):
        longer = dataclasses.replace(plain, epochs=max(3, 3 * len(s.thief) // count), learning_rate=rate)
        few = s.thief[np.random.default_rng([s.recipe.seed, count]).permutation(len(s.thief))[:count]]
        tuned = s.train(f"tuned-{count}-{rate:g}", few, longer, marked)
        found.append(s.of(f"fine-tuned on {count} true labels, rate {rate:g}", tuned))
    architectures = {
        "cnn": (default_config("cnn", s.owner.image, s.owner.classes), 2 * STUDENT_EPOCHS),
        "small cnn": (Config("cnn", s.owner.image, s.owner.classes, (32, 64), (128,)), 8),
    }
    for name, (net, epochs) in architectures.items():
        crossed = dataclasses.replace(default_recipe(net), epochs=epochs, temperature=1.0)
        variables = s.train(name, s.thief, crossed, teacher=softly["marked"], config=net)
        found.append(s.of(f"student, soft, {name}", variables, net))
    return found


def _mean_answers(config: Config, networks: Sequence[Variables], images: np.ndarray) -> np.ndarray:
    return np.mean([predict(config, variables, images) for variables in networks], axis=0)


def weighed(exhibit: Exhibit, key: Key, test: Dataset) -> dict[str, Any]:
    """Accuracy, bits at each stage, and coins that agree."""
    given = exhibit.answers(key.images).astype(np.float64)
    given /= given.sum(axis=1, keepdims=True)
    accuracy = float(np.mean(exhibit.answers(test.images).argmax(axis=1) == test.labels))
    row: dict[str, Any] = {"name": exhibit.name, "accuracy": round(100 * accuracy, 2)}
    rule, truth = key.commitment.rule, key.truth(slice(None))
    stages = stats.kind_of(rule).stages(len(given))
    for form, probabilities in (("probabilities", given), ("labels", None)):
        path = stats.play(rule, Answers(given.argmax(axis=1), probabilities, given.shape[1]), truth)
        row[form] = {
            "bits": {str(stage): round(float(path.evidence[stage - 1]), 1) for stage in stages},
            "coins": int(path.matches[-1]),
            "verdict": stats.decide(path, rule, stop=False).outcome,
        }
    return row


def marked_by(s: Scene, name: str, base: Variables, keys: Sequence[Key], sigma: float) -> Variables:
    """The base, trained on with the keys' shift and triggers."""
    return s.train(name, s.owner, s.marking, base, keys=keys, shift=shift_of(keys, base, sigma))


def one_seed(s: Scene) -> dict[str, Any]:
    """The table's rows of one seed; of the first one the frontier, too, which takes as long again."""
    splits = Splits(s.data, s.owner, s.test)
    base = s.train("base", s.owner)

    def coined(rehearsals: int) -> Key:
        probes = min(10_000, len(s.test))
        return spread_key_for(s.config, base, s.recipe, splits, triggers=probes, rehearsals=rehearsals)

    key, other = s.kept.key("spread", lambda: coined(REHEARSALS)), s.kept.key("spread-other", lambda: coined(0))
    spec = make_spec("abstract", image=s.owner.image, classes=s.owner.classes, triggers=100)
    triggers = s.kept.key("triggers", lambda: generate(spec))
    marked = marked_by(s, "marked", base, [key, triggers], 1.0)
    elsewhere = marked_by(s, "marked-other", base, [other], 1.0)
    control = s.of("control: trained on as long, unmarked", s.train("control", s.owner, s.marking, base))
    rows = [weighed(exhibit, key, s.test) for exhibit in [*exhibits(s, key, marked, elsewhere, base), control]]
    known = stats.play(
        triggers.commitment.rule,
        stats.read_answers(predict(s.config, marked, triggers.images), 100, s.config.classes),
        triggers.truth(slice(None)),
    )
    return {
        "seed": s.recipe.seed,
        "rows": rows,
        "frontier": {} if s.recipe.seed else frontier(s, key, base),
        "triggers": {"learned": int(known.matches[-1]), "bits": round(float(known.evidence[-1]), 1)},
    }


def frontier(s: Scene, key: Key, base: Variables) -> dict[str, Any]:
    """What each strength costs, and what two kinds of students keep of it, by strength and network."""
    found = {}
    for sigma in SIGMAS:
        alone = marked_by(s, f"alone-{sigma:g}", base, [key], sigma)
        student = dataclasses.replace(s.recipe, epochs=STUDENT_EPOCHS, temperature=1.0, seed=s.recipe.seed + 9)
        labels = predict(s.config, alone, s.thief.images).argmax(axis=1).astype(np.int32)
        answered = dataclasses.replace(s.thief, labels=labels)
        plain = dataclasses.replace(student, label_smoothing=0.0)
        nets = {
            "marked": alone,
            "soft": s.train(f"soft-{sigma:g}", s.thief, student, teacher=Teacher(s.config, alone)),
            "hard": s.train(f"hard-{sigma:g}", answered, plain),
        }
        found[f"{sigma:g}"] = {name: weighed(s.of(name, net), key, s.test) for name, net in nets.items()}
    return found


def main(options: argparse.Namespace) -> None:
    settings = {"data": options.data, "model": options.model, "epochs": options.epochs}
    found = _measured(settings)
    for seed in [seed for seed in options.seeds if seed not in found]:
        s = scene(options.data, options.model, options.epochs, seed, options.work)
        found[seed] = {"commit": record.environment()["commit"], **one_seed(s)}
        coins = found[seed]["rows"][0]["probabilities"]["coins"]
        record.write("students", {**settings, "coins": coins, "seeds": [found[one] for one in sorted(found)]})


def _measured(settings: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Seeds that the results already hold: each takes hours, and its networks need not be at hand."""
    before = record.read("students") if record.there("students") else {}
    if any(before.get(name) != value for name, value in settings.items()):
        return {}
    return {seed["seed"]: {"commit": before["environment"]["commit"], **seed} for seed in before["seeds"]}


_LEFT_OUT = ("control: trained on as long, unmarked", "unmarked base")


def rows(figures: dict[str, Any]) -> list[str]:
    """What a `spread` key says of each network, means over seeds."""
    seeds = figures["seeds"]
    made_by = f"{fragment.seeds(len(seeds))}; {fragment.on_device(figures['environment'], __file__)}"
    earlier = {seed["commit"][:8] for seed in seeds if "commit" in seed} - {figures["environment"]["commit"][:8]}
    made_by = ", ".join([made_by, *sorted(earlier)])
    named = {one["name"]: [_named(seed["rows"], one["name"]) for seed in seeds] for one in seeds[0]["rows"]}
    probes = list(seeds[0]["rows"][0]["labels"]["bits"])[-1]
    control = np.mean([one["accuracy"] for one in named[_LEFT_OUT[0]]])
    rows = []
    for name, found in named.items():
        if name in _LEFT_OUT:
            continue
        accuracy, verdicts = np.mean([one["accuracy"] for one in found]), [one["probabilities"] for one in found]
        cost = f"{accuracy:.2f} %" + (f"; {control:.2f} % trained as long, unmarked" if name == "marked" else "")
        matches = sum(one["verdict"] == "match" for one in verdicts)
        bits = f"{_mean(found, 'probabilities', probes):.0f} bits, {_mean(found, 'labels', probes):.0f} from labels"
        early = f"{_mean(found, 'probabilities', '1000'):.0f} from 1,000 images"
        rows.append(
            fragment.row(
                f"CIFAR-10, spread key, vgg: {name}",
                cost,
                f"{bits}; {early}; {matches} of {len(found)} a match",
                made_by,
            )
        )
    drawn = [seed["frontier"] for seed in seeds if seed["frontier"]]
    for sigma in drawn[0] if drawn else ():
        nets = {net: [one[sigma][net] for one in drawn] for net in ("marked", "soft", "hard")}
        told = ", ".join(
            f"{net} {_mean(own, 'probabilities', probes):.0f} / {_mean(own, 'labels', probes):.0f}"
            for net, own in nets.items()
        )
        accuracy = np.mean([one["accuracy"] for one in nets["marked"]])
        cost = f"{accuracy:.2f} % marked, without triggers, {fragment.seeds(len(drawn))}"
        rows.append(
            fragment.row(f"the same, `--sigma {sigma}`", cost, f"bits, probabilities / labels: {told} student", made_by)
        )
    return rows


def _mean(rows: list[dict[str, Any]], form: str, probes: str) -> float:
    return float(np.mean([one[form]["bits"][probes] for one in rows]))


def _named(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(one for one in rows if one["name"] == name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--model", default="vgg")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--work", type=Path, required=True)
    main(parser.parse_args())
