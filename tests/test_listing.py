"""`suspects.toml`: what it may say, and one line on everything else."""

from pathlib import Path

import pytest

from wmjax.errors import AccessError, UsageError
from wmjax.suspects.listing import Listed, read_list


def test_a_list_says_what_its_docstring_shows(tmp_path):
    import wmjax.suspects.listing as listing

    shown = listing.__doc__.partition("\n\n")[2].rpartition("\n\n")[0]
    (tmp_path / "suspects.toml").write_text(shown)
    assert read_list(tmp_path / "suspects.toml") == [
        Listed(
            "shop",
            "callable",
            call="their_module:predict",
            image=(32, 32, 3),
            classes=10,
            timeout=30.0,
            concurrency=4,
        ),
        Listed(
            "their service",
            "service",
            service="oip+https://host/v2/models/NAME",
            pixels="0..255",
            labels="words.txt",
            token="SUSPECT_THEIRS",
        ),
        Listed("weights of theirs", "path", path="models/theirs.safetensors", model="vgg"),
    ]


def test_the_kind_may_be_said(tmp_path):
    (tmp_path / "l").write_text('[[suspect]]\nname = "a"\nkind = "callable"\ncall = "m:f"\n')
    (listed,) = read_list(tmp_path / "l")
    assert (listed.kind, listed.image, listed.timeout, listed.concurrency) == ("callable", None, 60.0, 1)


WRONG = {
    "no TOML": ("[[suspect", "is not TOML"),
    "no text": ("\xff", "is not TOML"),
    "a deep nest": ("a = " + "[" * 100_000, "is not TOML"),
    "nothing": ("", "tables [[suspect]] and nothing else"),
    "more": ('[[suspect]]\nname = "a"\ncall = "m:f"\n[other]\n', "and nothing else"),
    "no tables": ("suspect = [1]", "suspect 1: it is not a table"),
    "one table": ('[suspect]\nname = "a"\n', "tables [[suspect]] and nothing else"),
    "an unknown kind": ('[[suspect]]\nname = "a"\nkind = "telepathy"\n', "'telepathy' is not known: give callable or"),
    "a kind that is no text": ('[[suspect]]\nname = "a"\nkind = ["path"]\n', "is not known"),
    "an unknown field": (
        '[[suspect]]\nname = "a"\ncall = "m:f"\nurl = "x"\n',
        "a callable has no field 'url': give name, call, image,",
    ),
    "a field of the other kind": (
        '[[suspect]]\nname = "a"\npath = "x"\ntimeout = 3\n',
        "a path has no field 'timeout': give name, path, model, image",
    ),
    "no name": ('[[suspect]]\ncall = "m:f"\n', "its name is missing"),
    "no call": ('[[suspect]]\nname = "a"\nkind = "callable"\n', "its call is missing"),
    "no path": ('[[suspect]]\nname = "a"\n', "its path is missing"),
    "a duplicate name": ('[[suspect]]\nname = "a"\ncall = "m:f"\n' * 2, "two suspects are called 'a'"),
    "a name on two lines": ('[[suspect]]\nname = "a\\nb"\ncall = "m:f"\n', "its name is not a text that can be shown"),
    "a call of a file": ('[[suspect]]\nname = "a"\ncall = "x/y.py"\n', "is not module:function"),
    "an image of two sides": ('[[suspect]]\nname = "a"\ncall = "m:f"\nimage = [8, 8]\n', "must be [height, width"),
    "an image of nothing": ('[[suspect]]\nname = "a"\ncall = "m:f"\nimage = [8, 0, 1]\n', "whole number from 1"),
    "a true number": ('[[suspect]]\nname = "a"\ncall = "m:f"\nclasses = true\n', "classes must be a whole number"),
    "no patience": ('[[suspect]]\nname = "a"\ncall = "m:f"\ntimeout = 0\n', "timeout must be a number of seconds"),
    "patience without end": ('[[suspect]]\nname = "a"\ncall = "m:f"\ntimeout = inf\n', "at most a day"),
    "a crowd": ('[[suspect]]\nname = "a"\ncall = "m:f"\nconcurrency = 1000\n', "from 1 to 256"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_list_is_one_line_that_names_the_file(tmp_path, name):
    text, words = WRONG[name]
    (tmp_path / "suspects.toml").write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError) as caught:
        read_list(tmp_path / "suspects.toml")
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / "suspects.toml"))
    assert "\n" not in str(caught.value)


def test_a_list_that_is_not_there():
    with pytest.raises(AccessError, match="cannot read nowhere"):
        read_list(Path("nowhere"))
