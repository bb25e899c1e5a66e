"""What the documentation of every public name must hold; the reference is made from it."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Callable
from typing import Any

import pytest

import wmjax

ERRORS = {name for name in wmjax.__all__ if name.endswith(("Error", "File"))}
NAMES = [name for name in wmjax.__all__ if name not in ERRORS]
FUNCTIONS = [name for name in NAMES if not name[0].isupper()]
RECORDS = [name for name in NAMES if name[0].isupper()]


def text(name: str) -> str:
    return inspect.getdoc(getattr(wmjax, name)) or ""


def section(name: str, title: str) -> str:
    """The lines of a section of a docstring."""
    found = re.search(rf"^{title}:\n((?:  .*\n|\n)*)", text(name) + "\n", re.M)
    return found[1] if found else ""


def entries(name: str, title: str) -> set[str]:
    """What a section names: `a: ...` and `a, b: ...`."""
    heads = re.findall(r"^  ([\w*]+(?:, [\w*]+)*): ", section(name, title), re.M)
    return {one.lstrip("*") for head in heads for one in head.split(", ")}


def raised(function: Callable[..., Any]) -> set[str]:
    """The errors of wmjax's that a function raises itself."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {call.func.id for call in calls if isinstance(call.func, ast.Name)} & ERRORS


@pytest.mark.parametrize("name", wmjax.__all__)
def test_it_begins_with_one_line_that_is_a_sentence(name: str) -> None:
    first, *rest = text(name).splitlines()
    assert first.endswith(".")
    assert len(first) <= 116
    assert not rest or not rest[0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_an_example_and_says_what_it_takes_and_raises(name: str) -> None:
    function = getattr(wmjax, name)
    assert re.search(r"^>>> |^Example:$|\(example: `wmjax", text(name), re.M)
    assert entries(name, "Args") == set(inspect.signature(function).parameters)
    assert raised(function) <= entries(name, "Raises")


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_says_what_each_of_its_fields_is(name: str) -> None:
    record = getattr(wmjax, name)
    if dataclasses.is_dataclass(record):
        fields = {field.name for field in dataclasses.fields(record)}
    else:
        fields = set(getattr(record, "__members__", None) or getattr(record, "_fields", ()))  # a protocol has none
    public = {field for field in fields if not field.startswith("_")}
    assert public <= entries(name, "Attributes") | entries(name, "Args")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_example_in_a_block_is_python(name: str) -> None:
    compile(textwrap.dedent(section(name, "Example")), name, "exec")
