"""The README does what it says: its commands as they stand, its Python as it stands, its figures from results."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
SHELL = [text for kind, text in BLOCKS if kind == "sh"]


def test_two_command_lines_are_what_ci_runs():
    assert len(SHELL[0].splitlines()) == 2
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_quickstart(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", SHELL[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "match: run and key" in done.stdout
    assert {"my.age", "my.commitment.json", "my.identity", "run"} <= {path.name for path in tmp_path.iterdir()}


def test_every_wmjax_line_is_understood():
    from wmjax.cli.options import make_parser

    lines = [line for block in SHELL[1:] for line in block.splitlines()]
    assert len(lines) >= 9
    for line in lines:
        words = shlex.split(line)
        if words[0] == "gcloud":  # what it runs on each host is its last word
            words = shlex.split(words[-1])
        if "pip" not in words:
            make_parser().parse_args(words[words.index("wmjax") + 1 :])


def test_python_example(tmp_path):
    (code,) = [text for kind, text in BLOCKS if kind == "python"]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "match\n"


def test_figures_are_those_of_the_results(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "experiments")
    tables = importlib.import_module("tables")
    assert tables.filled(README) == README
    assert tables.table() in README


def test_nothing_named_is_missing():
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    listed = set(re.findall(r"`(\w+\.py)`", (ROOT / "experiments" / "README.md").read_text()))
    assert listed >= {path.name for path in (ROOT / "experiments").glob("*.py")} - {
        "attack_tables.py",
        "figures.py",
        "record.py",
        "tables.py",
        "timing.py",
    }


@pytest.mark.parametrize("word", ["GPLv3", "TODO", "FIXME"])
def test_no_loose_ends(word):
    sources = [*ROOT.glob("wmjax/**/*.py"), *ROOT.glob("experiments/*.py")]
    assert not [path for path in sources if word in path.read_text()]
