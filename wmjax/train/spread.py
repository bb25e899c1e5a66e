"""`spread` keys at work: made for a trained network, and turned into the shift that marks it.

Of the secret, the stream `features` 0 seeds the rotation by which features are read off the network: integers(2**32, 8)
for NumPy's generator. Nobody needs to repeat that: what came of it is in the key's material.
"""

import dataclasses
import math
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from wmjax.checkpoint import settings_of
from wmjax.data.dataset import Dataset, Splits
from wmjax.data.source import public_name
from wmjax.digest import digest
from wmjax.errors import InvalidFile, UsageError
from wmjax.keys.derive import SECRET_BYTES, Stream
from wmjax.keys.keyset import Key, derive_key, draw_images
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule, make_spec
from wmjax.models import FAMILIES, Config, Variables
from wmjax.stores import place
from wmjax.suspects.contract import Wanted
from wmjax.suspects.network import weights_of
from wmjax.suspects.stored import load_variables
from wmjax.text import by
from wmjax.train.recipe import Recipe, default_recipe
from wmjax.train.rehearse import reference_answers
from wmjax.train.shift import Directions, Shift, fit_directions, move, probe_features

PROBES = 3_000
FEATURES = 32
SIGMA, LARGEST = 1.0, 2.0  # logits: of keys with `PROBES` probes or more, and of those with very few
BAND = 0.25  # logits
STEPS = 750  # in which a network learns a shift


def spread_key(
    base: str | os.PathLike[str],
    splits: Splits[Dataset],
    *,
    triggers: int | None = None,
    rehearsals: int = 2,
    alpha: float = 1e-6,
) -> Key:
    """Draws a fresh secret and makes a `spread` key with it, for one trained network.

    Example:

        key = wmjax.spread_key("base", wmjax.load("cifar10"))
        wmjax.write_key(key, "my")

    Args:
      base: run, checkpoint or file of the unmarked network, one of wmjax's own; keep it to yourself.
      splits: the data that it was trained on; the key asks about natural images of its test split.
      triggers: how many of them; by default 3,000 or all there are.
      rehearsals: pairs of students of the base to train, whose answers tell the mark from what any student has.
      alpha: the bound on false matches to commit to, between 0 and 1.

    Returns:
      A key in memory alone; `write_key` keeps it, with what `embed` needs.

    Raises:
      UsageError: the base is not one of wmjax's own networks, or one for other images or classes; its answers contain
        NaN or infinities, or it has too few features; a student's training diverged.
      AccessError, InvalidFile: the base cannot be read.
    """
    if rehearsals < 0:
        raise UsageError(f"`rehearsals` {rehearsals}: must be at least 0")
    config, variables = load_variables(os.fspath(base), Wanted(tuple(FAMILIES), (splits.train.image,)))
    if (config.image, config.classes) != (splits.train.image, splits.train.classes):
        raise UsageError(
            f"`base` takes {by(config.image)} and {config.classes} classes, the images of {splits.name} are "
            f"{by(splits.train.image)} of {splits.train.classes} classes"
        )
    recipe = _recipe_of(place(base), config)
    return spread_key_for(config, variables, recipe, splits, triggers=triggers, rehearsals=rehearsals, alpha=alpha)


def spread_key_for(
    config: Config,
    base: Variables,
    recipe: Recipe,
    splits: Splits[Dataset],
    *,
    triggers: int | None = None,
    rehearsals: int = 2,
    alpha: float = 1e-6,
) -> Key:
    """The same for a network in memory.

    Args:
      config: the base.
      base: its weights.
      recipe: that it was trained by, for the rehearsals.
      splits, triggers, rehearsals, alpha: as of `spread_key`.
    """
    secret = secrets.token_bytes(SECRET_BYTES)
    count = min(PROBES, len(splits.test)) if triggers is None else triggers
    source = (public_name(splits.name), splits.test)
    spec = make_spec("spread", triggers=count, source=source, material=Material({}))  # its own is still to come
    rule = default_rule(spec, alpha)
    probes = draw_images(secret, spec, splits.test)
    rng = np.random.default_rng(Stream(secret, "features", 0).integers(2**32, 8).tolist())
    directions = fit_directions(config, base, splits.train.images, rng, FEATURES)
    seeds = [(recipe.seed + 1 + number) % 2**31 for number in range(rehearsals)]
    references = reference_answers(config, base, recipe, splits.train, probes, seeds)
    features = probe_features(config, base, directions, probes)
    material = Material({"features": features, "references": references})
    spec = dataclasses.replace(spec, material=material.sha256)
    key = derive_key(secret, spec, rule, splits.test, material=material)
    embedding = {"base": _digest(base), **directions._asdict()}
    return dataclasses.replace(key, embedding=Material(embedding))


def _recipe_of(base: Path, config: Config) -> Recipe:
    """How the base was trained from scratch, where its run says so; else what trains such networks well."""
    began = settings_of(base)
    try:
        if began is None or began["from"] is not None:
            return default_recipe(config)
        return Recipe(**{field.name: began[field.name] for field in dataclasses.fields(Recipe)})
    except KeyError as error:
        raise InvalidFile(f"{base}: its run.json is damaged") from error


def _digest(base: Variables) -> np.ndarray:
    """The digest of a network's tensors, as statements about models name it; uint8 [32]."""
    return np.frombuffer(bytes.fromhex(digest(weights_of(base))), np.uint8)


def shifting(keys: Sequence[Key]) -> list[Key]:
    """Those keys that a network learns as a shift of its answers, and not as triggers."""
    return [key for key in keys if not key.mixed]


def usual_sigma(probes: int) -> float:
    """How far a key of so many probes moves answers: what they tell grows with their number and the square of this.

    >>> usual_sigma(10_000), round(usual_sigma(2_000), 2), usual_sigma(360)
    (1.0, 1.22, 2.0)
    """
    return float(np.clip(SIGMA * np.sqrt(PROBES / probes), SIGMA, LARGEST))


def shift_of(
    keys: Sequence[Key], base: Variables | None, sigma: float | None = None, band: float = BAND
) -> Shift | None:
    """What `fit`, or a training loop of your own by `shifted_targets`, needs to mark a network with `spread` keys.

    Example:

        shift = wmjax.shift_of([key], variables)
        variables = wmjax.fit(config, recipe, data, [key], state=state, shift=shift)

    Args:
      keys: several are learned side by side; those of other schemes are passed over.
      base: the weights that training begins with: of the network that the keys were made for.
      sigma: the standard deviation of each key's shift, in logits; by default each has its `usual_sigma`.
      band: answers may change where the base's two best logits are closer than this.

    Returns:
      the shift; None where none of the keys has one.

    Raises:
      UsageError: training does not begin with the keys' base, a key does not hold what training needs, or `sigma` or
        `band` cannot be.
    """
    moved = shifting(keys)
    if not moved:
        return None
    if (sigma is not None and not 0 < sigma < np.inf) or not 0 <= band < np.inf:
        raise UsageError(f"`sigma` {sigma} must be above 0, `band` {band} at least 0")
    if base is None:
        name = moved[0].commitment.id[:12]
        raise UsageError(f"`begin_with`: key {name} marks the network that it was made for; begin with that one")
    parts = [_part(key, _digest(base), sigma) for key in moved]
    directions = Directions(*(np.concatenate(arrays, axis=-1) for arrays in zip(*(d for d, _ in parts), strict=True)))
    return Shift(base, directions, np.concatenate([by_feature for _, by_feature in parts]), np.array(band, np.float32))


def _part(key: Key, base: np.ndarray, sigma: float | None) -> tuple[Directions, np.ndarray]:
    """One key's directions, and what each adds to the logits."""
    name, embedding, truth = key.commitment.id[:12], key.embedding, key.truth(slice(None))
    if embedding is None or not {*Directions._fields} <= embedding.arrays.keys():
        raise UsageError(f"key {name} lacks what training needs: use the key file that keygen wrote")
    if not np.array_equal(embedding["base"], base):
        raise UsageError(f"`begin_with` is not the network that key {name} was made for: its weights are others")
    directions = Directions(*(embedding[field] for field in Directions._fields))
    chosen = usual_sigma(key.spec.triggers) if sigma is None else sigma
    return directions, move(truth.coins, truth.contrasts / truth.norms, chosen)


def tuning(recipe: Recipe, images: int) -> Recipe:
    """What trains a network on to learn such keys: a fifth of the epochs that trained it.

    The rate is the same: what is learned at a lower one is forgotten sooner when somebody trains the network on. On a
    small set there are more epochs, so that there are at least `STEPS` steps.
    """
    needed = math.ceil(STEPS / max(1, images // recipe.batch))
    return dataclasses.replace(recipe, epochs=max(recipe.epochs // 5, needed))
