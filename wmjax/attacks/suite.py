"""All attacks by name, and the suites of them."""

from typing import NamedTuple

from wmjax.attacks.contract import Attack
from wmjax.attacks.families import (
    adversarial,
    answers,
    evade,
    extract,
    finetune,
    inputs,
    mixture,
    overwrite,
    own,
    perturb,
    prune,
    quantise,
    rename,
    shift,
    transfer,
    unlearn,
    wrk,
)
from wmjax.errors import UsageError

_FAMILIES = (
    prune, finetune, quantise, perturb, inputs, answers, rename, evade, overwrite, own, shift, adversarial, unlearn,
    wrk, extract, mixture, transfer,
)  # fmt: skip
ATTACKS: dict[str, Attack] = {attack.name: attack for family in _FAMILIES for attack in family.ATTACKS}


class Suite(NamedTuple):
    """What is tried.

    Attributes:
      name: as typed.
      attacks: with their strengths.
      inversion: whether model inversion is tried too: it leaves the networks as they are.
    """

    name: str
    attacks: tuple[tuple[Attack, tuple[float, ...]], ...]
    inversion: bool


def make_suite(name: str) -> Suite:
    """The suite that a user typed.

    Args:
      name: `quick`: the most telling strengths; `full`: all of them; or attacks by name, with commas between, each at
        all its strengths.

    Raises:
      UsageError: there is no such attack.
    """
    if name in ("quick", "full"):
        chosen = [(attack, attack.quick if name == "quick" else attack.full) for attack in ATTACKS.values()]
        return Suite(name, tuple((attack, strengths) for attack, strengths in chosen if strengths), True)
    names = list(dict.fromkeys(name.split(",")))
    if unknown := sorted(set(names) - {*ATTACKS, "inversion"}):
        known = ", ".join([*ATTACKS, "inversion"])
        raise UsageError(f"no attack {unknown[0]!r:.50}: choose quick, full, or some of {known}")
    return Suite(name, tuple((ATTACKS[n], ATTACKS[n].full) for n in names if n != "inversion"), "inversion" in names)
