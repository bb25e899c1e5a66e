"""What the rows of the documentation's tables are made of; each script renders its own."""

from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).parents[1]


def row(what: str, cost: str, strength: str, made_by: str) -> str:
    """A row of a table of results: what was measured and what made it in one cell, then the figures."""
    return f"| {what}<br><sub>{made_by}</sub> | {cost} | {strength} |"


def source(figures: dict[str, Any], script: str, commit: str | None = None) -> str:
    """Script, machine and commit behind a row.

    Args:
      figures: the result, with its environment.
      script: the script's `__file__`.
      commit: the environment's where none is given.
    """
    environment = figures["environment"]
    return f"{_place(script)}, {environment['cores']} cores, {(commit or environment['commit'])[:8]}"


def on_device(environment: dict[str, Any], script: str) -> str:
    """The same of what an accelerator computed, or CPU cores where there was none."""
    device = environment["devices"][0]
    made_on = f"{environment['cores']} cores" if device == "cpu" else device
    return f"{_place(script)}, {made_on}, {environment['commit'][:8]}"


def seeds(count: int) -> str:
    """How many there were, in words."""
    return f"{count} seed{'' if count == 1 else 's'}"


def _place(script: str) -> str:
    return f"`{Path(script).resolve().relative_to(CHECKOUT)}`"


def median(figures: dict[str, Any], digits: int = 2) -> str:
    """A median and its quartiles, as `timing.quartiles` gives them."""
    low, high = figures["quartiles"]
    return f"{figures['median']:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def ratio(case: dict[str, Any]) -> str:
    """A median ratio and its quartiles, as `timing.compare` gives them."""
    low, high = case["ratio_quartiles"]
    return f"{case['ratio_median']:.3f} (quartiles {low:.3f} to {high:.3f})"


def compared(what: str, case: dict[str, Any], rate: str, made_by: str) -> str:
    """A row of a comparison in pairs, as `timing.compare` gives it."""
    return row(what, ratio(case), rate, f"{case['pairs']} pairs; {made_by}")


def network(case: dict[str, Any]) -> str:
    """A family of networks and the shape of its images."""
    return f"{case['model']} {'x'.join(map(str, case['image']))}"
