"""What a newcomer sees: the six things one does, examples, hints, completion, colours, and how much is told."""

import json
import os
import pty
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from wmjax import devices, progress
from wmjax.cli.completion import verbs
from wmjax.cli.examples import EXAMPLES, FRONT
from wmjax.cli.hints import EXTRAS, installing
from wmjax.cli.options import make_parser
from wmjax.cli.terminal import guarded
from wmjax.errors import GoneError, InvalidFile, UsageError

ALL = {**EXAMPLES, "": FRONT}


def test_alone_it_shows_six_things_and_is_no_verdict(run: Any) -> None:
    code, out, err = run()
    assert (code, out, len(FRONT)) == (2, "", 6)  # 0 would be a match to a script that lost its verb
    assert all(line in err for _, line in FRONT)


@pytest.mark.parametrize("verb", ALL)
def test_every_example_is_understood(verb: str) -> None:
    for _, line in ALL[verb]:
        words = shlex.split(line.rpartition(" && ")[2].partition(" > ")[0])
        assert words[0] == "wmjax"
        assert words[1] == verb or not verb
        assert make_parser().parse_args(words[1:]).verb


def test_every_help_ends_in_examples(run: Any) -> None:
    for verb, parser in verbs(make_parser()).items():
        assert all(f"    {line}" in parser.epilog.replace("%%", "%").splitlines() for _, line in EXAMPLES[verb])
    code, out, _ = run("demo", "--help")
    assert (code, out.partition("\nexamples:\n")[2].splitlines()[-1]) == (0, "    wmjax demo")


@pytest.mark.parametrize(
    ("error", "words", "hint"),
    [
        (
            ModuleNotFoundError(name="jax.numpy"),
            "verify --key k run",
            "pip install 'wmjax[jax]' (in a checkout: '.[jax]')",
        ),
        (ModuleNotFoundError(name="onnx"), "verify --key k run", "pip install 'wmjax[onnx]'"),
        (InvalidFile("theirs is damaged"), "verify --key k theirs", "`wmjax show theirs` says what it is"),
        (InvalidFile("a model is damaged"), "verify --key k 'a model'", "`wmjax show 'a model'` says what it is"),
        (InvalidFile("elsewhere is damaged"), "verify --key k theirs", None),
        (InvalidFile("theirs/k.age: no key"), "verify --key theirs/k.age theirs", None),  # not of the folder
        (UsageError("`alpha` 2"), "verify --key k theirs", None),
        (
            KeyboardInterrupt(),
            "audit zoo --out theirs",
            "nothing done is lost: the same command with --resume",
        ),
        (KeyboardInterrupt(), "audit zoo --out new", None),
        (MemoryError(), "audit --merge theirs --out theirs", None),  # which goes without --resume
        (GoneError("gone"), "claim --key k --nonce-from 00 m --out theirs", "with --resume"),
        (GoneError("gone"), "verify --key k theirs", None),
        (ZeroDivisionError(), "verify --key k theirs", "a defect of wmjax: --verbose shows where"),
    ],
)
def test_where_the_next_step_is_known_a_hint_says_it(run: Any, capsys: Any, error: Any, words: str, hint: Any) -> None:
    Path("theirs").touch()
    Path("a model").touch()

    def work() -> int:
        raise error

    for more in ((), ("--json",)):
        assert guarded(work, make_parser().parse_args([*shlex.split(words), *more])) != 0
        out, err = capsys.readouterr()
        lines = err.splitlines()
        assert len(lines) == (1 if hint is None else 2)
        assert lines[0].startswith("wmjax: ")
        assert hint is None or lines[1].startswith("hint: ")
        assert hint is None or hint in lines[1]
        if more:
            assert json.loads(out)["hint"] == (None if hint is None else lines[1].removeprefix("hint: "))


def test_extras_that_hints_name_exist() -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(EXTRAS.values()) <= set(extras)
    assert installing("flax").startswith("pip install 'wmjax[jax]'")


def test_a_wrong_verb_is_told_where_the_verbs_are(run: Any) -> None:
    assert run("sing")[2].endswith("hint: `wmjax --help` lists the verbs\n")
    assert run("verify")[2].endswith("hint: `wmjax verify --help` shows examples\n")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("verify --json --nope", "there is no option --nope"),
        ("judge c.json --suspect-since 3000-01-01 --json", "argument --suspect-since: '3000-01-01' is in the future"),
        ("verify m --json", "the following arguments are required: --key"),
        ("sing --json", "there is no verb sing"),
        ("sing", "there is no verb sing"),
    ],
)
def test_what_is_wrong_with_a_command_line_is_a_document_too(run: Any, words: str, told: str) -> None:
    code, out, err = run(*words.split())
    first, second = err.splitlines()
    assert (code, out == "", told in first) == (2, "--json" not in words, True)
    if out:
        document = json.loads(out)
        assert document.pop("message") == first.partition(": ")[2]
        assert document.pop("hint") == second.removeprefix("hint: ")
        assert document == {"version": 1, "error": "usage", "exit_code": 2}


COMPLETE = r"""
source ./script
try() {
    COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
    _shtab_wmjax wmjax "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    echo "${COMPREPLY[*]}"
}
try wmjax ver
try wmjax audit --mer
try wmjax keygen --lab
try wmjax keygen --labels r
try wmjax verify --key my.a
try wmjax verify --key my.age mod
complete -p wmjax
"""


def test_bash_completes_verbs_options_choices_and_files(run: Any) -> None:
    code, script, _ = run("completion", "bash")
    Path("script").write_text(script)
    for name in ("my.age", "model.onnx"):
        Path(name).touch()
    done = subprocess.run(["bash", "-c", COMPLETE], capture_output=True, text=True, check=True)
    assert (code, done.stderr) == (0, "")
    *found, how = done.stdout.splitlines()
    assert found == ["verify", "--merge", "--labels", "random", "my.age", "model.onnx"]
    assert how.endswith("_shtab_wmjax wmjax")


def test_zsh_reads_what_is_printed_for_it(run: Any) -> None:
    code, script, _ = run("completion", "zsh")
    assert code == 0
    assert script.startswith("#compdef wmjax")
    assert all(f"    {verb}:'" in script for verb in EXAMPLES)
    if shutil.which("zsh"):
        Path("_wmjax").write_text(script)
        subprocess.run(["zsh", "-n", "_wmjax"], check=True)


def on_terminal(command: list[str], **variables: str) -> str:
    """What a terminal shows of a command."""
    parent, child = pty.openpty()
    environment = {**{n: v for n, v in os.environ.items() if n != "NO_COLOR"}, "TERM": "xterm", **variables}
    done = subprocess.Popen(command, stdout=child, stderr=child, env=environment)
    os.close(child)
    shown = b""
    while True:
        try:
            part = os.read(parent, 1 << 16)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(parent)
    done.wait()
    return shown.decode()


def test_colours_are_for_terminals_that_nobody_asked_to_do_without(run: Any) -> None:
    broken = [sys.executable, "-m", "wmjax", "judge", "nowhere.json"]
    assert "\x1b[" in on_terminal(broken)
    assert "\x1b[" not in on_terminal(broken, NO_COLOR="1")
    assert "\x1b[" not in run(*broken[3:])[2]


def test_progress_tells_what_is_left_in_logs_and_notebooks(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def work() -> str:
        with progress.progress("asking", 100) as advance:
            for _ in range(4):
                now[0] += 20.0
                advance(25, "7 bits")
        return capsys.readouterr().err

    assert work() == "asking: 50%, 0:40 left  7 bits\nasking: 100%  7 bits\n"
    with progress.telling(progress.Loudness.VERBOSE):
        assert work().count("\n") == 4
    with progress.telling(progress.Loudness.QUIET):
        assert work() == ""
    monkeypatch.setitem(sys.modules, "IPython", type(sys)("IPython"))
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setattr(sys.modules["IPython"], "get_ipython", lambda: shell, raising=False)
    written = work()
    assert (written.count("\r"), written.count("\n")) == (4, 1)  # one line, written over
    assert "25%, 1:00 left" in written


BARS = """
import time
from wmjax.progress import progress
for title, seconds in (("quick", 0.1), ("slow", 2.3)):
    with progress(title, 2) as advance:
        with progress("within", 1) as inner:  # rich before 14 raises on a second bar
            inner(1)
        time.sleep(seconds)
        advance(2)
"""


def test_a_terminal_shows_one_bar_at_a_time_and_keeps_those_of_long_work() -> None:
    shown = on_terminal([sys.executable, "-c", BARS])
    assert "within" not in shown
    assert "quick" in shown
    last = shown.rpartition("\x1b[2K")[2]  # what was not wiped away
    assert "slow" in last
    assert "quick" not in last


def test_quiet_and_verbose(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = run("keygen", "--image", "4x4x1", "--classes", "4", "--triggers", "20", "--out", "k", "--quiet")
    assert (code, bool(out), err) == (0, True, "")
    assert run("keygen", "--out", "k", "--quiet", "--verbose")[0] == 2
    monkeypatch.setattr("wmjax.keys.generate", lambda *_, **__: 1 / 0)
    usual = ["keygen", "--image", "4x4x1", "--classes", "4", "--out", "other"]
    assert "Traceback" not in run(*usual)[2]
    assert "Traceback" in run(*usual, "--verbose")[2]
    assert run(*usual, "--quiet")[2].startswith("wmjax: internal error")


def test_loading_what_is_slow_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[str, int]] = []

    def bar(title: str, total: int) -> Any:
        shown.append((title, total))
        return progress.progress(title, total)

    monkeypatch.setattr(devices, "progress", bar)
    monkeypatch.setattr(devices, "_SLOW", ("colorsys", "wave"))
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    devices.load_jax()
    devices.load_jax()
    assert shown == [("loading JAX", 2)]
    assert {"colorsys", "wave"} <= set(sys.modules)
