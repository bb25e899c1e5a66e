"""Damaged checkpoints, by whatever reads them: one line, the right exit code, and no thread tells a traceback."""

import random
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from marked import CONFIG, make_key, marked

import wmjax
from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import WmjaxError
from wmjax.keys import write_key
from wmjax.suspects.stored import load_variables

UNLOCK = ["--key", "k.age", "--identity", "k.identity"]
MUTATIONS = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key and a checkpoint that carries its mark."""
    folder = tmp_path_factory.mktemp("damaged")
    key = make_key(60)
    checkpoint.save(folder / "good", marked(key)._asdict(), Metadata(CONFIG))
    write_key(key, folder / "k", recipients=[], passphrase=None)
    return folder


@pytest.fixture
def damaged(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[random.Random], str]:
    """Makes `bad`, with one file cut, changed, emptied or removed; says which and how."""
    monkeypatch.chdir(tmp_path)
    for path in home.glob("k.*"):
        shutil.copy(path, tmp_path)
    files = sorted(path.relative_to(home / "good") for path in (home / "good").rglob("*") if path.stat().st_size > 0)
    files = [path for path in files if (home / "good" / path).is_file()]

    def make(rng: random.Random) -> str:
        shutil.rmtree("bad", ignore_errors=True)
        shutil.copytree(home / "good", "bad")
        path, how = Path("bad") / rng.choice(files), rng.choice(sorted(WAYS))
        raw = WAYS[how](bytearray(path.read_bytes()), rng)
        if raw is None:
            path.unlink()
        else:
            path.write_bytes(raw)
        return f"{path}: {how}"

    return make


def flipped(raw: bytearray, rng: random.Random) -> bytes:
    for _ in range(8):
        raw[rng.randrange(len(raw))] ^= rng.randrange(1, 256)
    return bytes(raw)


WAYS: dict[str, Callable[[bytearray, random.Random], bytes | None]] = {
    "cut": lambda raw, rng: bytes(raw[: rng.randrange(len(raw))]),
    "emptied": lambda raw, rng: b"",
    "flipped": flipped,
    "grown": lambda raw, rng: bytes(raw) + rng.randbytes(50),
    "removed": lambda raw, rng: None,
    "zeroed": lambda raw, rng: bytes(len(raw)),
}


def on_the_command_line(*words: str) -> Callable[[], int]:
    from wmjax.cli import main

    def read() -> int:
        shutil.rmtree("copy", ignore_errors=True)
        return main(list(words))

    return read


def training() -> int:
    """What resuming reads."""
    try:
        load_variables("bad")
    except WmjaxError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


READERS = {
    "verify": on_the_command_line("verify", *UNLOCK, "bad"),
    "export": on_the_command_line("export", "bad", "copy"),
    "commit": on_the_command_line("commit", "k.commitment.json", "--model", "bad", "--out", "copy"),
    "resume": training,
}


def lines(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line)


@pytest.mark.parametrize("reader", READERS)
def test_each_damage_is_one_line_at_most(reader, damaged, capfd):
    rng, refused = random.Random(reader), 0
    for _ in range(MUTATIONS):
        how = damaged(rng)
        capfd.readouterr()
        code = READERS[reader]()
        err = capfd.readouterr().err  # of the process, whichever thread or library wrote it
        assert len(list(lines(err))) <= (code in (2, 4, 5)), (how, code, err)
        assert not re.search("Traceback|OUT_OF_RANGE|DATA_LOSS|NOT_FOUND|Errno", err), (how, err)
        refused += code in (2, 4, 5)
    assert refused >= MUTATIONS // 8


WORDS = {
    "cut": "a file is truncated",
    "removed": "a file is missing",
    "zeroed": "damaged",
    "emptied": "a file is truncated",
}


@pytest.mark.parametrize("how", WORDS)
def test_what_is_wrong_with_a_file_of_tensors_is_said_in_plain_words(how, damaged, home):
    damaged(random.Random(0))
    shutil.rmtree("bad")
    shutil.copytree(home / "good", "bad")
    largest = max((path for path in Path("bad").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    raw = WAYS[how](bytearray(largest.read_bytes()), random.Random(0))
    largest.unlink() if raw is None else largest.write_bytes(raw)
    for read in (wmjax.from_checkpoint, load_variables):
        with pytest.raises(WmjaxError, match=WORDS[how]):
            read("bad")
