"""The library speaks of parameters, never of the command line's options: Python users read its messages too."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_terminal import VERBS, parsed

import wmjax

ROOT = Path(wmjax.__file__).parent
LIBRARY = sorted(path for path in ROOT.rglob("*.py") if "cli" not in path.relative_to(ROOT).parts)
FLAG = re.compile(r"(^|[\s(])--[a-z]")
COMMAND_LINES = {"evidence/wording.py:command", "text.py:"}  # what a shell is told, and who reads a page types


def messages(source: str) -> Iterator[tuple[str, ast.Constant]]:
    """Each text of a module that people may read, with the function it is in: all but docstrings."""

    def walk(node: ast.AST, inside: str) -> Iterator[tuple[str, ast.Constant]]:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            inside = node.name
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue  # a docstring
            if isinstance(child, ast.Constant) and isinstance(child.value, str):
                yield inside, child
            yield from walk(child, inside)

    yield from walk(ast.parse(source), "")


def parameters() -> set[str]:
    """Names of all parameters that a user of the library or of the command line can set."""
    named = {name for verb in VERBS for name in vars(parsed(verb))}
    for name in wmjax.__all__:
        thing = getattr(wmjax, name)
        if not (inspect.isclass(thing) and issubclass(thing, Exception)):
            named |= set(inspect.signature(thing).parameters)
    return named


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_message_names_an_option(path: Path) -> None:
    for function, constant in messages(path.read_text()):
        if f"{path.relative_to(ROOT)}:{function}" not in COMMAND_LINES:
            assert not FLAG.search(constant.value), f"{path}:{constant.lineno}"


def test_what_a_message_has_in_backticks_is_a_parameter_or_a_command() -> None:
    known = parameters()
    for path in LIBRARY:
        for _, constant in messages(path.read_text()):
            for name in re.findall("`([a-z][a-z0-9_]*)`", constant.value):
                assert name in known, f"{path}:{constant.lineno} `{name}`"


def test_a_message_with_an_option_would_be_seen() -> None:
    source = '"""Like --out."""\ndef f(x):\n    "Like --out."\n    raise UsageError(f"{x}: choose another --out")\n'
    assert [(function, constant.value) for function, constant in messages(source)] == [("f", ": choose another --out")]
    assert FLAG.search(": choose another --out")
    assert not FLAG.search("a--b, -----BEGIN")


OUT = re.compile(
    r"(?<!there )(?<!There )\b(is|are|was|were) no\s(?!more\b|longer\b|less\b|larger\b|such\b)"
    r"|\b(shall not|goes on with|lies beside|is there already|nobody's word)\b|\b(he|his|him|himself)\b"
)


def test_the_code_keeps_to_the_style() -> None:
    """STYLE.md's words, in messages, docstrings and comments; people are *they*."""
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}
    found = {name: [one[0] for one in OUT.finditer(text)] for name, text in sources.items()}
    assert {name: words for name, words in found.items() if words} == {}
