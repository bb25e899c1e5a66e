"""README and documentation do what they say: commands and Python as they stand, figures from results, links that lead
somewhere. Fenced blocks of `sh` are commands; a `text` block right after a `python` block is what that prints; a `py`
block is a file, named by its first line.
"""

import dataclasses
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import wmjax

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OTHERS = [ROOT / f"{name}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY", "STYLE", "experiments/README")]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *OTHERS]
}
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = [text for kind, text in FENCED.findall(README) if kind == "sh"]
PROGRAMS = {"age", "cat", "curl", "gcloud", "git", "export", "mkdir", "model_signing", "openssl", "pip"}
PROGRAMS |= {"python", "python3", "srun", "wmjax"}
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
PYTHON = re.compile(r"^```python\n(.*?)^```\n\n^```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands() -> list[tuple[str, str]]:
    """Every command line, with its page."""
    blocks = [
        (page, text) for page, all_of_it in PAGES.items() for kind, text in FENCED.findall(all_of_it) if kind == "sh"
    ]
    return [(page, line) for page, text in blocks for line in text.splitlines() if line]


def test_two_command_lines_are_what_ci_runs():
    assert len(SHELL[0].splitlines()) == 2
    assert "README.md" in (ROOT / ".ci" / "run").read_text()


def test_the_front_page_is_short():
    assert len(README.splitlines()) <= 150


def test_quickstart(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euc", SHELL[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "match: run and key" in done.stdout
    assert {"my.age", "my.commitment.json", "my.identity", "run"} <= {path.name for path in tmp_path.iterdir()}


def test_every_wmjax_line_is_understood(monkeypatch):
    from wmjax.cli.options import make_parser

    monkeypatch.setenv("BATCH_TASK_INDEX", "0")  # what `--shard auto` reads
    monkeypatch.setenv("BATCH_TASK_COUNT", "8")
    understood = 0
    for page, line in commands():
        words = shlex.split(line.partition(" > ")[0])
        if words[0] == "gcloud":  # what it runs on each host is its last word
            words = shlex.split(words[-1])
        if words[0] not in ("wmjax", "srun"):
            continue
        try:
            make_parser().parse_args(words[words.index("wmjax") + 1 :])
        except SystemExit:
            pytest.fail(f"{page}: {line}")
        understood += 1
    assert understood >= 50


def test_every_other_line_names_what_is_there():
    for page, line in commands():
        words = [word for word in shlex.split(line) if "=" not in word.partition("/")[0]]
        program = Path(words[0]).name if words else "export"
        assert program in PROGRAMS | {"mkdocs"}, f"{page}: {line}"
        scripts = [word for word in words if word.endswith(".py")]
        assert all((ROOT / script).exists() for script in scripts), f"{page}: {line}"
        for extras in re.findall(r"'?\.\[([\w,]+)\]", line):
            assert set(extras.split(",")) <= set(_extras()), f"{page}: {line}"


def _extras() -> list[str]:
    import tomllib

    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


def test_python_does_what_stands_below_it(tmp_path, monkeypatch):
    """In one process, each block with names of its own in a folder of its page: what costs is importing."""
    blocks = [(page, code, told) for page, text in PAGES.items() for code, told in PYTHON.findall(text)]
    assert len(blocks) == sum(text.count("```python\n") for text in PAGES.values())
    monkeypatch.syspath_prepend(ROOT / "docs")
    notebooks = importlib.import_module("notebooks")
    for path in NOTEBOOKS:
        cells = notebooks.cells(path.read_text())
        told = "\n".join(cell.text for cell in cells if cell.kind == "output") + "\n"
        blocks.append((path.name, path.read_text(), told))
    own = "docs/guides/own-loop.md"
    for words in [shlex.split(line)[1:] for page, line in commands() if page == own]:
        blocks.append((own, f"from wmjax.cli import main\nprint(main({[*words, '--quiet']}))", ""))
    for page, *_ in blocks:
        (tmp_path / page).mkdir(parents=True, exist_ok=True)
        for kind, text in FENCED.findall(PAGES.get(page, "")):
            if kind == "py":
                (tmp_path / page / text.split()[1]).write_text(text)
    run = (
        "import contextlib, io, json, os, sys\n"
        "for folder, code in json.load(sys.stdin):\n"
        "    os.chdir(folder)\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as out: exec(code, {'__name__': '__main__'})\n"
        "    print(json.dumps(out.getvalue()))\n"
    )
    given = json.dumps([(str(tmp_path / page), code) for page, code, _ in blocks])
    usual = {name: value for name, value in os.environ.items() if not name.startswith("JAX_NUMPY_")}  # as users have it
    done = subprocess.run(
        [sys.executable, "-c", run], cwd=tmp_path, env=usual, input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for (page, _, told), printed in zip(blocks, done.stdout.splitlines(), strict=True):
        if told:
            assert re.sub(" +\n", "\n", json.loads(printed)) == told, page
        else:
            assert json.loads(printed).startswith("match: weights"), page


def test_scripts_become_notebooks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    notebooks = importlib.import_module("notebooks")
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        made = json.loads(notebooks.notebook(path.read_text()))
        assert [cell["cell_type"] for cell in made["cells"]][:2] == ["markdown", "code"]
        for cell in made["cells"]:
            if cell["cell_type"] == "code":
                compile("".join(cell["source"]), path.name, "exec")
        assert any(cell.get("outputs") for cell in made["cells"])
        assert notebooks.page(path.stem, path.read_text()).startswith("# ")


def test_toml_is_what_a_list_of_suspects_holds():
    import tomllib

    (text,) = [text for kind, text in FENCED.findall(PAGES["docs/guides/audit.md"]) if kind == "toml"]
    assert [list(one)[:2] for one in tomllib.loads(text)["suspect"]] == [
        ["name", "call"],
        ["name", "service"],
        ["name", "path"],
    ]


def test_figures_are_those_of_the_results():
    from experiments import tables

    drawn = {str(path.relative_to(ROOT)) for path in tables.PAGES}
    assert [page for page in drawn if tables.filled(PAGES[page]) != PAGES[page]] == [], "python experiments/tables.py"
    assert {page for page, text in PAGES.items() if tables.MARKERS.search(text)} == drawn
    shown = {match[2] for page in drawn for match in tables.MARKERS.finditer(PAGES[page])}
    assert shown == set(tables.made())


def test_the_command_line_is_the_parsers(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    command_line = importlib.import_module("command_line")
    assert PAGES["docs/reference/command-line.md"] == command_line.page(), "python docs/command_line.py"


def test_exit_codes_are_those_of_the_errors():
    from wmjax import errors
    from wmjax.cli.terminal import _told

    page = PAGES["docs/reference/exit-codes.md"]
    named = [one for one in vars(errors).values() if isinstance(one, type)]
    classes = [one for one in named if issubclass(one, errors.WmjaxError)]
    ends = {(one.code, one.exit_code) for one in classes} | {
        _told(one)[:2] for one in (KeyboardInterrupt(), KeyError())
    }
    assert {f"| `{code}` | {exit_code} |" for code, exit_code in ends} == set(
        re.findall(r"^\| `.*?` \| \d+ \|", page, re.M)
    )
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.M)}
    assert codes >= {exit_code for _, exit_code in ends}


def test_fields_of_documents_are_in_the_reference():
    records = {
        "`verify`": wmjax.Verdict,
        "`verify`, several keys": wmjax.Combined,
        "`attack`": wmjax.AttackResult,
        "`embed`": wmjax.Report,
    }
    for verb, record in records.items():
        (row,) = re.findall(rf"^\| {verb} \|.*$", PAGES["docs/reference/json.md"], re.M)
        fields = {field.name for field in dataclasses.fields(record)} - {"path"}
        fields |= {"needed_bits"} if hasattr(record, "needed_bits") else set()
        assert [field for field in fields if f"`{field}`" not in row] == [], verb


def test_every_public_name_is_in_the_reference_once(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    python_names = importlib.import_module("python_names")
    page = PAGES["docs/reference/python.md"]
    assert page == python_names.page(), "python docs/python_names.py"
    shown = re.findall(r"^::: wmjax\.(\w+)$", python_names.with_all(page), re.M)
    assert sorted(shown) == sorted(python_names.NAME.findall(page)) == sorted(wmjax.__all__)


def test_every_link_leads_somewhere():
    for page, text in PAGES.items():
        for target, anchor in re.findall(r"\]\(([^)#\s:]*)(?:#([^)\s]+))?\)", FENCED.sub("", text)):
            path = (ROOT / page).parent / target if target else ROOT / page
            assert path.exists(), f"{page}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.*)$", FENCED.sub("", path.read_text()), re.M)
                assert anchor in {_slug(head) for head in heads}, f"{page}: {target}#{anchor}"


def _slug(head: str) -> str:
    """A heading's anchor, of which GitHub and the site think alike."""
    return re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip())


def test_every_page_is_in_the_contents():
    listed = (ROOT / "mkdocs.yml").read_text()
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    pages += [f"notebooks/{path.stem}.md" for path in NOTEBOOKS]
    assert [page for page in pages if f" {page}\n" not in listed] == []


def test_a_newcomer_finds_their_way_in_two_clicks():
    wanted = {
        "docs/guides/own-loop.md": "mark my own Flax model",
        "docs/guides/audit.md": "audit a folder",
        "docs/guides/judge.md": "judge",
        "docs/concepts/evidence.md": "20 bits",
        "SECURITY.md": "vulnerability",
    }
    for target, words in wanted.items():
        assert words in README, words
        assert target in README, target


def test_every_script_is_listed():
    """By its place; names are told apart without it, since results are called by them."""
    listed = re.findall(r"`(\w+/\w+\.py)`", PAGES["experiments/README.md"])
    scripts = [path.relative_to(ROOT / "experiments") for path in (ROOT / "experiments").glob("*/*.py")]
    assert set(listed) == {str(path) for path in scripts if path.parent.name != "servers"}
    names = [path.name for path in scripts if path.parent.name != "servers"]
    assert sorted(set(names)) == sorted(names)


def test_the_words_that_the_style_rules_out_are_not_used():
    table = PAGES["STYLE.md"].partition("| not | but |")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines() if line.startswith("| ")]
    out = [word for row in rows for word in row.split(", ")]
    assert len(out) >= 7
    pattern = re.compile("|".join(map(re.escape, out)))
    assert {
        page: pattern.findall(text) for page, text in PAGES.items() if page != "STYLE.md" and pattern.search(text)
    } == {}


@pytest.mark.parametrize("word", ["GPLv3", "TODO", "FIXME"])
def test_no_loose_ends(word):
    sources = [*ROOT.glob("wmjax/**/*.py"), *ROOT.glob("experiments/**/*.py")]
    assert not [path for path in sources if word in path.read_text()]
