"""Notebooks from scripts: `notebooks/NAME.py` becomes a page of the site, and NAME.ipynb.

A script is cut into cells by lines that begin with `# %%`: code, `# %% [markdown]` and `# %% [output]`, what the code
before it prints. Tests run the scripts and compare.
"""

import json
import re
from typing import Any, NamedTuple

CUT = re.compile(r"^# %%(?: \[(\w+)\])?\n", re.MULTILINE)


class Cell(NamedTuple):
    """A part of a script; `kind` is `code`, `markdown` or `output`."""

    kind: str
    text: str


def cells(script: str) -> list[Cell]:
    """The cells of a script, comments of text and output taken off."""
    _, *parts = CUT.split(script)
    made = []
    for kind, text in zip(parts[::2], parts[1::2], strict=True):
        plain = text if kind is None else re.sub(r"^# ?", "", text, flags=re.MULTILINE)
        made.append(Cell(kind or "code", plain.strip("\n")))
    return made


def page(name: str, script: str) -> str:
    """The script as a page."""
    fences = {"code": "```python\n{}\n```", "output": "```text\n{}\n```", "markdown": "{}"}
    title, *rest = [fences[cell.kind].format(cell.text) for cell in cells(script)]
    return "\n\n".join([title, f"[This page as a notebook]({name}.ipynb)", *rest]) + "\n"


def notebook(script: str) -> str:
    """The script as a Jupyter notebook, nbformat 4.5."""
    made: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(cells(script)):
        source = text.splitlines(keepends=True)
        if kind == "output":
            made[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [*source, "\n"]}]
            continue
        made.append({"cell_type": kind, "id": f"cell-{number}", "metadata": {}, "source": source})
        if kind == "code":
            made[-1] |= {"execution_count": None, "outputs": []}
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return json.dumps({"cells": made, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"
