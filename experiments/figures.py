"""Reading what experiments wrote, for the tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def result(name: str) -> dict[str, Any]:
    """The figures of results/NAME.json."""
    values: dict[str, Any] = json.loads((HERE / "results" / f"{name}.json").read_text())
    return values


def there(name: str) -> bool:
    """Whether an experiment has been run: some are wanted on other machines."""
    return (HERE / "results" / f"{name}.json").exists()


def source(name: str, script: str | None = None, commit: str | None = None) -> str:
    """Script, commit and machine behind a row; script and commit are the result's where none is given."""
    environment = result(name)["environment"]
    told = (commit or environment["commit"])[:8]
    return f"`experiments/{script or name}.py`, {environment['cores']} cores, {told}"


def rows_of(made: dict[str, Callable[[], list[str]]]) -> list[str]:
    """The rows that are made of results, by their names, of those that are there."""
    return [line for name, rows in made.items() if there(name) for line in rows()]


def row(what: str, cost: str, strength: str, made_by: str) -> str:
    """A row of a table of results: what was measured and what made it in one cell, then the figures."""
    return f"| {what}<br><sub>{made_by}</sub> | {cost} | {strength} |"
