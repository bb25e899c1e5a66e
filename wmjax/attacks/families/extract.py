"""Extraction: surrogates trained from scratch on what a stolen network answers.

No weight of the victim is copied, so a mark comes along only as far as its answers carry it (Papernot et al. 2017;
Lukas et al. 2022, "extraction"). With hard labels the thief asks about each image once. With soft answers (Hinton et
al. 2015) the victim is asked anew about each augmented image of each step: a thief who may ask as often as they like.

A surrogate's initial weights and its order of images follow from its seed, but are never those that `fit` takes for a
network of that seed: a student that began where its teacher began would pick up more than answers.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from wmjax.attacks.contract import Attack, Attacked, Served, Stolen, Thief, by_strength
from wmjax.attacks.families.queries import made_up, noised, shifted
from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.models import Config, default_config, one, predict
from wmjax.train import Recipe, Teacher, default_recipe, fit_many

COPIES = 8  # of an image that `retrain-smooth` asks about
STEADY = 2.0  # temperature up to which the learning rate stays: gradients grow with it


def fresh_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds of what thieves train, one for each of theirs: none that a victim is likely to have been trained with."""
    return [int(rng_of(seed, 0).integers(2**31)) for seed in seeds]


def students(
    stolen: Stolen, recipe: Recipe, asked: Dataset, rows: np.ndarray | None = None, soft: Config | None = None
) -> Attacked:
    """Surrogates of all networks, trained from scratch.

    Args:
      stolen: the networks; their strengths are not looked at.
      recipe: how to train; a batch larger than what a surrogate sees is cut.
      asked: images that the networks are asked about; the labels count where answers are hard.
      rows: int [networks, images], the part that each surrogate sees; by default all of it.
      soft: distil the networks into this architecture; None where the labels are their answers.
    """
    seen = len(asked) if rows is None else rows.shape[1]
    variables = fit_many(
        soft or stolen.config,
        dataclasses.replace(recipe, batch=min(recipe.batch, seen)),
        asked,
        fresh_seeds(stolen.seeds),
        rows=rows,
        teacher=Teacher(stolen.config, stolen.variables) if soft else None,
        diverging=True,
        title="surrogates",
    )
    return Attacked(soft or stolen.config, variables)


def soft_recipe(recipe: Recipe, config: Config, temperature: float) -> Recipe:
    """A recipe for distilling: images are shifted, since new answers cost nothing, and hot answers are taken slowly.

    Args:
      recipe: for learning labels.
      config: of the surrogate.
      temperature: of teacher and student logits.
    """
    return dataclasses.replace(
        recipe,
        temperature=temperature,
        crop=recipe.crop or max(1, config.image[0] // 16),
        learning_rate=recipe.learning_rate * min(1.0, STEADY / temperature),
    )


def retrain(stolen: Stolen, thief: Thief) -> Attacked:
    """Trains on the networks' top-1 labels of a share of the thief's images (Papernot et al. 2017).

    The images are drawn anew for each network and kept once for each: networks * share * their bytes.
    """
    owned = thief.owned()

    def run(part: Stolen, share: float) -> Attacked:
        count = max(1, round(share * len(owned)))
        answered = []
        for network in each(part):
            images = owned.images[rng_of(network.seed, 1).permutation(len(owned))[:count]]
            answered.append(labelled(images, predict(network.config, network.variables, images)))
        return students(part, thief.recipe, *side_by_side(answered))

    return by_strength(stolen, run)


def retrain_smooth(stolen: Stolen, thief: Thief) -> Attacked:
    """Trains on labels that hold around each image (Lukas et al. 2022, "smooth retraining").

    The label is the top-1 of the mean answer to `COPIES` copies, each shifted by up to a sixteenth of its height and
    with Gaussian noise of `strength` grey levels. The images are kept once for each network.
    """
    owned = thief.owned()
    answered = []
    for network in each(stolen):
        rng = rng_of(network.seed, 2)
        copies = (noised(owned.images, network.strength, owned.image[0] // 16, rng) for _ in range(COPIES))
        answers = sum(predict(network.config, network.variables, copy) for copy in copies)
        answered.append(labelled(owned.images, np.asarray(answers)))
    return students(stolen, thief.recipe, *side_by_side(answered))


def distil(stolen: Stolen, thief: Thief) -> Attacked:
    """Distils at the temperature `strength` on the thief's images (Hinton et al. 2015)."""
    owned = thief.owned()

    def run(part: Stolen, temperature: float) -> Attacked:
        recipe = soft_recipe(thief.recipe, part.config, temperature)
        return students(part, recipe, owned, soft=part.config)

    return by_strength(stolen, run)


def distil_shifted(stolen: Stolen, thief: Thief) -> Attacked:
    """Distils at the recipe's temperature on images that look unlike the task's (`shifted`).

    They are drawn for each network anew: networks * the bytes of the thief's images.
    """
    owned = thief.owned()
    asked = [
        _unlabelled(shifted(owned.images, network.strength, rng_of(network.seed, 3)), stolen.config.classes)
        for network in each(stolen)
    ]
    recipe = soft_recipe(thief.recipe, stolen.config, thief.recipe.temperature)
    return students(stolen, recipe, *side_by_side(asked), soft=stolen.config)


def distil_noise(stolen: Stolen, thief: Thief) -> Attacked:
    """Distils at the recipe's temperature on `strength` thousand made-up pictures, half cloudy and half noise.

    They are drawn for each network anew: networks * pictures * bytes of an image.
    """

    def run(part: Stolen, thousands: float) -> Attacked:
        config = part.config
        count = max(2, round(1000 * thousands))
        asked = [_unlabelled(made_up(config.image, count, seed), config.classes) for seed in part.seeds]
        recipe = soft_recipe(thief.recipe, config, thief.recipe.temperature)
        return students(part, recipe, *side_by_side(asked), soft=config)

    return by_strength(stolen, run)


def cross(stolen: Stolen, thief: Thief) -> Attacked:
    """Distils into another architecture at its default size, at the temperature `strength`, on the thief's images."""
    owned = thief.owned()
    other = default_config("vgg" if stolen.config.name == "cnn" else "cnn", stolen.config.image, stolen.config.classes)
    trained = dataclasses.replace(
        default_recipe(other), epochs=thief.recipe.epochs, batch=thief.recipe.batch, precision=thief.recipe.precision
    )

    def run(part: Stolen, temperature: float) -> Attacked:
        return students(part, soft_recipe(trained, other, temperature), owned, soft=other)

    return by_strength(stolen, run)


def knockoff(stolen: Stolen, thief: Thief) -> Attacked:
    """Distils at temperature 1 on a share of images of something else (Orekondy et al. 2019, drawn at random)."""
    if thief.queries is None:
        raise UsageError("this attack needs images of something else to ask about, and the thief has none")
    asked = _unlabelled(thief.queries, stolen.config.classes)

    def run(part: Stolen, share: float) -> Attacked:
        count = max(1, round(share * len(asked)))
        rows = np.stack([rng_of(seed, 4).permutation(len(asked))[:count] for seed in part.seeds])
        return students(part, soft_recipe(thief.recipe, part.config, 1.0), asked, rows, soft=part.config)

    return by_strength(stolen, run)


def rng_of(seed: int, purpose: int) -> np.random.Generator:
    """Random choices about one network, by what they are for."""
    return np.random.default_rng([seed, purpose, 0x57EA])


def each(stolen: Stolen) -> Iterator[Served]:
    """The networks one by one."""
    for i, (strength, seed) in enumerate(zip(stolen.strengths, stolen.seeds, strict=True)):
        yield Served(stolen.config, one(stolen.variables, i), strength, seed)


def labelled(images: np.ndarray, answers: np.ndarray) -> Dataset:
    """Images [n, H, W, C] under the top-1 of the answers to them [n, classes]."""
    return Dataset(images, answers.argmax(axis=1).astype(np.int32), answers.shape[1])


def _unlabelled(images: np.ndarray, classes: int) -> Dataset:
    return Dataset(images, np.zeros(len(images), np.int32), classes)


def side_by_side(parts: Sequence[Dataset]) -> tuple[Dataset, np.ndarray]:
    """Data sets of one size, one after another, and the rows of each, int [parts, size]."""
    images, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("images", "labels"))
    return Dataset(images, labels, parts[0].classes), np.arange(len(labels)).reshape(len(parts), -1)


ATTACKS = (
    Attack(
        "retrain",
        "can ask the network for labels, and has images of the task",
        "share of their images that they ask about",
        (1.0,),
        (0.1, 0.25, 0.5, 1.0),
        frozenset({"images"}),
        retrain,
    ),
    Attack(
        "retrain-smooth",
        f"can ask the network {COPIES} times for the label of each of their task images",
        "standard deviation of the noise on them, in grey levels",
        (16.0,),
        (4.0, 8.0, 16.0, 32.0),
        frozenset({"images"}),
        retrain_smooth,
    ),
    Attack(
        "distil",
        "can ask the network for probabilities without limit, and has images of the task",
        "temperature of the answers",
        (1.0, 4.0),
        (1.0, 2.0, 4.0, 8.0, 16.0),
        frozenset({"images"}),
        distil,
    ),
    Attack(
        "distil-shifted",
        "can ask the network for probabilities without limit, and asks about images of the task that they distort",
        "how much they mix, turn and recolour them, from 0 to 1",
        (0.25,),
        (0.25, 0.5, 1.0),
        frozenset({"images"}),
        distil_shifted,
    ),
    Attack(
        "distil-noise",
        "can ask the network for probabilities without limit, and has no images at all: they make pictures up",
        "thousands of pictures",
        (2.0,),
        (1.0, 4.0, 16.0),
        frozenset(),
        distil_noise,
    ),
    Attack(
        "cross",
        "can ask the network for probabilities without limit, has images of the task, and trains another architecture",
        "temperature of the answers",
        (4.0,),
        (1.0, 4.0, 16.0),
        frozenset({"images"}),
        cross,
    ),
    Attack(
        "knockoff",
        "can ask the network for probabilities without limit, and has images of something else",
        "share of them that they ask about",
        (1.0,),
        (0.1, 0.5, 1.0),
        frozenset({"queries"}),
        knockoff,
    ),
)
