"""What an attack is: how thieves try to rid stolen networks of their mark."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np

from wmjax.data.dataset import Dataset
from wmjax.errors import UsageError
from wmjax.models import Config, Variables, one, predict, stack
from wmjax.train import Recipe

CUT = "cut"  # code of a grid that did not fit in memory: `attack`, `networks`, `part`
Need = Literal["images", "queries"]


@dataclasses.dataclass(frozen=True)
class Thief:
    """What a thief has beside the stolen networks; never the owner's key.

    Attributes:
      images: labelled images of the task; None where they have none.
      queries: images of something else, uint8 [n, H, W, C] as the networks take them; None where they have none.
      recipe: how they train from scratch; its epochs are what they can afford.
      tuning_epochs: of a fine-tuning.
    """

    images: Dataset | None
    queries: np.ndarray | None
    recipe: Recipe
    tuning_epochs: int

    def owned(self) -> Dataset:
        """Their labelled images; `UsageError` where they have none."""
        if self.images is None:
            raise UsageError("this attack needs images of the task, and the thief has none")
        return self.images

    def tuning(self) -> Recipe:
        """How they fine-tune."""
        return dataclasses.replace(self.recipe, epochs=self.tuning_epochs)


class Stolen(NamedTuple):
    """Stolen networks of one architecture, and how hard each is attacked.

    Attributes:
      config: of all of them.
      variables: NumPy arrays [networks, ...].
      strengths: of the attack on each; what it means is the attack's.
      seeds: of all random choices about each, non-negative: what becomes of a network depends on no other.
    """

    config: Config
    variables: Variables
    strengths: Sequence[float]
    seeds: Sequence[int]


class Served(NamedTuple):
    """One network behind a thief's server.

    Attributes:
      config: of the network.
      variables: of this one.
      strength: of the attack on it.
      seed: of all random choices about it.
    """

    config: Config
    variables: Variables
    strength: float
    seed: int


class Attacked(NamedTuple):
    """What became of stolen networks, in their order.

    Attributes:
      config: of all of them.
      variables: NumPy arrays [networks, ...].
      kept: int [classes of the stolen networks], which of the own classes each became; -1 where it was given up. None:
        the same classes.
    """

    config: Config
    variables: Variables
    kept: np.ndarray | None = None


def answer(network: Served, thief: Thief, images: np.ndarray) -> np.ndarray:
    """What an honest server answers: the network's own probabilities."""
    return predict(network.config, network.variables, images)


def own_names(network: Served) -> np.ndarray:
    """An honest server's: each class has its own number."""
    return np.arange(network.config.classes)


class Attack(NamedTuple):
    """A way to attack.

    Attributes:
      name: what users type.
      attacker: what the thief knows and owns, in a sentence.
      strength: what its strengths are.
      quick: strengths that the quick suite tries; none leaves the attack out.
      full: strengths that the full suite tries.
      needs: what the thief must have.
      run: what is done to the networks; pure: the same stolen networks, strengths, seeds and thief give the same
        result.
      serve: how the server of each answers uint8 images [n, H, W, C]: with probabilities, float [n, names], where a row
        of NaN refuses to answer; pure too.
      names: int [classes], the column that each class of the network is answered in. Accuracy is measured under them;
        the owner does not know them, so evidence is not.
    """

    name: str
    attacker: str
    strength: str
    quick: tuple[float, ...]
    full: tuple[float, ...]
    needs: frozenset[Need]
    run: Callable[[Stolen, Thief], Attacked]
    serve: Callable[[Served, Thief, np.ndarray], np.ndarray] = answer
    names: Callable[[Served], np.ndarray] = own_names


def untouched(stolen: Stolen, thief: Thief) -> Attacked:
    """`run` of an attack that is all in how its server answers."""
    return Attacked(stolen.config, stolen.variables)


def by_strength(stolen: Stolen, run: Callable[[Stolen, float], Attacked]) -> Attacked:
    """Attacks the networks of each strength together, for attacks whose programs differ by strength.

    Args:
      stolen: all of them.
      run: of those of one strength, and that strength; what it gives must differ in `variables` alone.
    """
    parts: dict[int, Variables] = {}
    for strength in dict.fromkeys(stolen.strengths):
        places = [i for i, other in enumerate(stolen.strengths) if other == strength]
        chosen = Stolen(
            stolen.config,
            jax.tree.map(lambda leaf, places=places: leaf[places], stolen.variables),
            [strength] * len(places),
            [stolen.seeds[i] for i in places],
        )
        attacked = run(chosen, strength)
        parts |= {place: one(attacked.variables, i) for i, place in enumerate(places)}
    return attacked._replace(variables=stack([parts[i] for i in range(len(stolen.seeds))]))
