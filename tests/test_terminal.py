"""The library names its parameters, the command line its options: one rule turns one into the other."""

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
import shtab

from wmjax.cli.options import make_parser
from wmjax.cli.terminal import guarded, say, worded
from wmjax.errors import AccessError, InvalidFile, UsageError
from wmjax.hosts import meeting
from wmjax.keys import SCHEMES

VERBS = {
    "demo": "demo",
    "keygen": "keygen --out my",
    "embed": "embed --data digits --out run",
    "verify": "verify --key my.age run",
    "audit": "audit zoo",
    "attack": "attack --key my.age --out out run",
    "commit": "commit my.commitment.json",
    "claim": "claim --key my.age --nonce-from 00 --out claim.json run",
    "judge": "judge claim.json",
    "pack": "pack zoo out",
    "export": "export run out",
    "prepare": "prepare cifar10",
    "show": "show my.age",
    "doctor": "doctor",
    "completion": "completion bash",
}


def parsed(verb: str) -> Any:
    return make_parser().parse_args(VERBS[verb].split())


@pytest.mark.parametrize(
    ("verb", "parameter", "option"),
    [
        ("verify", "whole", "--all"),
        ("verify", "nulls", "--null"),
        ("verify", "suspect", "SUSPECT"),
        ("verify", "passphrase", "--passphrase-file"),
        ("verify", "source", "--regenerate"),
        ("claim", "nonce", "--nonce-from"),
        ("claim", "commitments", "--released"),
        ("judge", "since", "--suspect-since"),
        ("judge", "originals", "--original"),
        ("judge", "authorities", "--tsa"),
        ("audit", "models", "--model"),
        ("audit", "nulls", "--null"),
        ("audit", "whole", "--all"),  # of `verify`, of which an audit speaks too
        ("embed", "begin_with", "--from"),
        ("embed", "streamed", "--stream"),
        ("embed", "key_per_batch", "--key-per-batch"),
        ("embed", "out", "--out"),
        ("keygen", "recipients", "--recipient"),
        ("keygen", "share_percent", "--share"),
        ("attack", "run", "RUN"),
        ("pack", "out", "OUT"),
        ("pack", "images", "--image"),
        ("judge", "reveal", "--reveal"),  # an option of another verb
        ("embed", "triggers", "--triggers"),
    ],
)
@pytest.mark.parametrize("kind", [UsageError, InvalidFile, AccessError])
def test_an_error_that_names_a_parameter_names_the_option_of_the_running_verb(
    verb: str, parameter: str, option: str, kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    def work() -> int:
        raise kind(f"`{parameter}` 3: must be in 1..2, below `{parameter}`")

    assert guarded(work, parsed(verb)) == kind.exit_code  # type: ignore[attr-defined]
    assert capsys.readouterr().err == f"wmjax: {option} 3: must be in 1..2, below {option}\n"


def test_lines_for_people_name_options_and_the_document_names_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    options = parsed("verify")
    say(options, {"advice": "set `whole`"}, "set `whole`")
    options.json = True
    say(options, {"advice": "set `whole`"}, "set `whole`")
    assert capsys.readouterr().out == 'set --all\n{"advice": "set `whole`"}\n'


def test_a_name_with_a_new_line_in_it_writes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """A suspect that is called so would pass for cleared where lines are read by a script."""
    say(parsed("verify"), {}, "match: run\nno-match: run and key 80157c4d0a1f", "  evidence 21.1 bits")
    assert capsys.readouterr().out.splitlines() == [
        "match: run?no-match: run and key 80157c4d0a1f",
        "  evidence 21.1 bits",
    ]


@pytest.mark.parametrize("command", ["openssl rand -hex 32", "wmjax prepare cifar10", "age -r NAME", "MODEL", ""])
def test_commands_in_backticks_stay_as_they_are(command: str) -> None:
    assert worded(f"run `{command}` once", parsed("judge")) == f"run `{command}` once"


def _functions(verb: str) -> list[Callable[..., Any]]:
    """The library's functions that a verb calls with what its options say."""
    from wmjax.attacks.run import attack
    from wmjax.data import load, open_splits
    from wmjax.data.prepare import prepare_cifar10
    from wmjax.data.source import data_folder
    from wmjax.demo import run_demo
    from wmjax.evidence.claimant import claim
    from wmjax.evidence.conflict import settle
    from wmjax.evidence.facts import Court
    from wmjax.keys import Paper, Unlock, generate, make_spec, sign_commitment, write_key
    from wmjax.showing import show
    from wmjax.suspects import Wanted, open_suspect
    from wmjax.suspects.stored import export
    from wmjax.train import Recipe, embed, spread_key
    from wmjax.verification import combine, verify
    from wmjax.zoo.audit import audit
    from wmjax.zoo.pack import pack

    return {
        "demo": [run_demo],
        "keygen": [make_spec, Paper, generate, write_key, load, spread_key],
        "embed": [embed, Recipe, open_splits, meeting, Unlock],
        "verify": [verify, combine, Unlock, load, open_suspect, Wanted],
        "audit": [audit, Unlock],
        "attack": [attack, Unlock],
        "commit": [sign_commitment, write_key, open_suspect, Wanted],
        "claim": [claim, Unlock, open_suspect, Wanted],
        "judge": [settle, Court, load, open_suspect, Wanted],
        "pack": [pack],
        "export": [export],
        "prepare": [prepare_cifar10],
        "show": [show],
        "doctor": [data_folder],
        "completion": [shtab.complete],
    }[verb]


# What only the command line has: files that hold an argument, and what chooses between two functions.
OWN = {
    "keygen": {"timestamp", "authorities", "model", "epochs", "pledge"}
    | {p.name for scheme in SCHEMES.values() for p in scheme.parameters},
    "embed": {"data", "model", "augment"},
    "verify": {"cover_from", "png"},
    "audit": {"each", "parts", "ray", "merge", "png"},
    "attack": {"key", "png"},
    "commit": {"timestamp", "authorities"},
    "claim": {"out", "png"},
    "judge": {"out", "max_queries", "png"},
    "prepare": {"name"},
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_the_name_of_the_parameter_that_it_sets(verb: str) -> None:
    names = {name for function in _functions(verb) for name in inspect.signature(function).parameters}
    options = set(vars(parsed(verb))) - {"verb", "parser", "json", "quiet", "verbose"}
    assert options - names == OWN.get(verb, set())


def test_help_names_options_without_backticks() -> None:
    for verb in VERBS:
        assert not re.search("`[a-z_]+`", parsed(verb).parser.format_help().replace("`merge`", ""))
