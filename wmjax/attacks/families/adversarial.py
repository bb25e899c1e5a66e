"""Adversarial training: fine-tuning on images moved to where the network errs (Madry et al. 2018).

Triggers of some schemes lie where a network's answers are brittle; flattening that region may take them along. Lukas et
al. 2022 count it among the removal attacks.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from wmjax.attacks.contract import Attack, Attacked, Stolen, Thief
from wmjax.attacks.families.descent import each_network
from wmjax.data.dataset import Dataset
from wmjax.devices import briefly
from wmjax.models import Config, Variables, apply
from wmjax.train import fit_many

STEPS = 3  # of projected gradient descent: each moves half the radius
BATCH = 125  # images moved at a time
GENTLER = 5.0  # how many times smaller than from scratch the learning rate is


@partial(briefly, static_argnums=0)
def adversaries(
    config: Config, variables: Variables, images: Array, labels: Array, radii: Array, seeds: Array
) -> Array:
    """Images that each network errs on: projected gradient descent from a random start (Madry et al. 2018).

    Args:
      config: of all networks.
      variables: theirs, arrays [networks, ...].
      images: uint8 [N, H, W, C].
      labels: int32 [N].
      radii: grey levels that a pixel may move, float32 [networks].
      seeds: of the starts, int32 [networks].

    Returns:
      uint8 [networks, N, H, W, C].
    """
    count = len(images)
    size = min(BATCH, count)
    pad = -count % size
    parts = jnp.pad(images, ((0, pad), (0, 0), (0, 0), (0, 0))).reshape(-1, size, *config.image)
    asked = jnp.pad(labels, (0, pad)).reshape(-1, size)

    def of_network(own: Variables, radius: Array, seed: Array) -> Array:
        def of_part(part: tuple[Array, Array, Array]) -> Array:
            images, labels, number = part
            centre = images.astype(jnp.float32)

            def loss(moved: Array) -> Array:
                logits, _ = apply(config, own, moved)
                return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1))

            def step(moved: Array, _: None) -> tuple[Array, None]:
                slope = jnp.nan_to_num(jnp.sign(jax.grad(loss)(moved)))
                moved = jnp.clip(moved + radius / 2 * slope, centre - radius, centre + radius)
                return jnp.clip(moved, 0.0, 255.0), None

            key = jax.random.fold_in(jax.random.key(seed), number)
            begun = centre + radius * jax.random.uniform(key, centre.shape, minval=-1.0)
            moved, _ = lax.scan(step, jnp.clip(begun, 0.0, 255.0), None, length=STEPS)
            return jnp.round(moved).astype(jnp.uint8)

        moved = lax.map(of_part, (parts, asked, jnp.arange(len(parts))))
        return moved.reshape(-1, *config.image)[:count]

    return each_network(of_network, variables, radii, seeds)


def _train(stolen: Stolen, thief: Thief) -> Attacked:
    """Epochs of fine-tuning, each on examples made anew against what the networks have become.

    Each epoch is a training of its own: the learning rate rises and falls again, momentum starts at rest.
    """
    own, networks = thief.owned(), len(stolen.seeds)
    recipe = dataclasses.replace(
        thief.recipe,
        epochs=1,
        batch=min(thief.recipe.batch, len(own)),
        learning_rate=thief.recipe.learning_rate / GENTLER,
    )
    radii = np.array(stolen.strengths, np.float32)
    rows, labels = np.arange(networks * len(own)).reshape(networks, -1), np.tile(own.labels, networks)
    variables = stolen.variables
    for turn in range(thief.tuning_epochs):
        seeds = [int(np.random.default_rng([seed, turn, 0xAD5]).integers(2**31)) for seed in stolen.seeds]
        moved = adversaries(stolen.config, variables, own.images, own.labels, radii, np.array(seeds, np.int32))
        data = Dataset(np.asarray(moved).reshape(-1, *stolen.config.image), labels, own.classes)
        title = f"adversarial training {turn + 1}/{thief.tuning_epochs}"
        variables = fit_many(
            stolen.config, recipe, data, seeds, rows=rows, variables=variables, diverging=True, title=title
        )
    return Attacked(stolen.config, variables)


ATTACKS: tuple[Attack, ...] = (
    Attack(
        "adversarial",
        "knows the weights, owns images of the task; trains on adversarial examples of them",
        "how far a pixel may move, in grey levels",
        quick=(8.0,),
        full=(2.0, 4.0, 8.0, 16.0),
        needs=frozenset({"images"}),
        run=_train,
    ),
)
