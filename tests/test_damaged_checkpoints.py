"""Damaged models, by every verb that reads one: one line, the right exit code, nothing half written, no traceback."""

import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from damage import FATAL, WAYS, files_of
from marked import CONFIG, FORMATS, make_key, marked
from refusals import one_line

import wmjax
from wmjax import checkpoint
from wmjax.checkpoint import Metadata
from wmjax.errors import AccessError, WmjaxError
from wmjax.keys import write_key
from wmjax.models import init
from wmjax.suspects import open as open_
from wmjax.suspects.stored import load_variables

UNLOCK = ["--key", "k.age", "--identity", "k.identity"]
NONCE = ["--nonce-from", "11" * 32]
EMBED = ["embed", "--data", "digits", "--model", "cnn", "--epochs", "1", "--batch", "128"]
WENT_ON = 77
NOISE = r"Traceback|OUT_OF_RANGE|DATA_LOSS|NOT_FOUND|Errno|internal error"


class WentOn(WmjaxError):
    """The model was read, and what takes long would begin."""

    exit_code = WENT_ON


class Verb(NamedTuple):
    """A verb that reads a model.

    Attributes:
      words: of the command line, in which BAD stands for the model.
      formats: that it is tried with.
      fine: exit codes where a damage has no effect.
    """

    words: list[str]
    formats: tuple[str, ...]
    fine: tuple[int, ...]

    @property
    def many(self) -> bool:
        """Whether it takes a folder of models, and lists those that it cannot read."""
        return "zoo" in self.words


OWN = ("checkpoint", "safetensors", "pack")
ANY = (*OWN, "ONNX")
VERBS = {
    "verify": Verb(["verify", *UNLOCK, "BAD"], ANY, (0, 1, 3)),
    "audit": Verb(["audit", "zoo", "--keys", "keys", "--out", "out"], ANY, (0, 1)),
    "pack": Verb(["pack", "zoo", "out"], OWN, (0,)),
    "export": Verb(["export", "BAD", "out"], OWN, (0,)),
    "commit": Verb(
        ["commit", "k.commitment.json", "--release", "BAD", "--signer", "k.signer.pem", "--out", "out.commitment.json"],
        ANY,
        (0,),
    ),
    "claim": Verb(["claim", *UNLOCK, "BAD", *NONCE, "--reveal", "--out", "out.json"], ANY, (0, 1, 3)),
    "judge": Verb(["judge", "claim.json", *NONCE, "--suspect", "BAD", "--out", "out"], ANY, (0, 1, 3)),
    "attack": Verb(["attack", *UNLOCK, "BAD", "--data", "digits", "--out", "out"], OWN, (WENT_ON,)),
    "embed --from": Verb([*EMBED, "--from", "BAD", "--out", "out"], OWN, (WENT_ON,)),
    "embed --teacher": Verb([*EMBED, "--teacher", "BAD", "--out", "out"], OWN, (WENT_ON,)),
    "embed --resume": Verb([*EMBED, *UNLOCK, "--resume", "--out", "bad"], ("run",), (WENT_ON,)),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a key, models that carry its mark in each format, and a claim."""
    from wmjax.cli import main
    from wmjax.train import run as training

    folder = tmp_path_factory.mktemp("home")
    key = make_key(60)
    write_key(key, folder / "k", recipients=[], passphrase=None)
    models = folder / "models"
    models.mkdir()
    for name in ANY:
        FORMATS[name][0](models / name, marked(key))
    checkpoint.save(folder / "zoo" / "innocent", init(CONFIG, 7)._asdict(), Metadata(CONFIG))
    (folder / "keys").mkdir()
    for path in folder.glob("k.*"):
        shutil.copy(path, folder / "keys")

    def saved(*args: Any, state: Any, save: Callable[[Any, int], None], **ignored: Any) -> None:
        save(state, 1)
        raise WentOn("begun")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(training, "fit", saved)
        assert main([*EMBED, *UNLOCK, "--out", "models/run"]) == WENT_ON
        unspent = (folder / "k.age").read_bytes()
        assert main(["claim", *UNLOCK, "models/checkpoint", *NONCE, "--reveal", "--out", "claim.json"]) == 0
        (folder / "k.age").write_bytes(unspent)
    return folder


class Case(NamedTuple):
    """What a verb came to.

    Attributes:
      how: verb, format, file and damage.
      code: its exit code.
      out, err: what the process printed, whichever thread or library wrote it.
      told: the document of an audit or a pack says that the model could not be used.
      left: what it left in its folder that was not there, or is otherwise than it was.
    """

    how: str
    code: int
    out: str
    err: str
    told: bool
    left: list[str]

    @property
    def refused(self) -> bool:
        return self.told or self.code in (2, 4, 5)


def laid(home: Path, folder: Path, form: str) -> tuple[str, Path]:
    """Copies all that a verb needs into a folder: what a user types for the model, and where its files are."""
    for path in (*home.glob("k.*"), home / "claim.json"):
        shutil.copy(path, folder)
    for name in ("zoo", "keys"):
        shutil.copytree(home / name, folder / name)
    if form in ("checkpoint", "run"):
        shutil.copytree(home / "models" / form, folder / "bad")
        where = folder / "bad"
        return "bad", where if form == "checkpoint" else where / "step-00000001"
    (source,) = (home / "models").glob("pack/*" if form == "pack" else f"{form}.*")
    where = Path(shutil.copy(source, folder / f"bad{source.suffix}"))
    return where.name + (":model" if form == "pack" else ""), where


def contents(folder: Path) -> dict[str, str]:
    """Digests of all plain files."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def tried(
    verb: str, form: str, way: str, largest: bool, home: Path, folder: Path, run: Callable[[list[str]], tuple]
) -> Case:
    """Damages a model, unless `way` is `nothing`, and gives it to a verb."""
    rng = random.Random(f"{verb} {form} {way} {largest}")
    folder.mkdir()
    name, where = laid(home, folder, form)
    file = files_of(where)[0] if largest else rng.choice(files_of(where))
    WAYS.get(way, lambda *_: None)(file, rng)
    if VERBS[verb].many and os.path.lexists(where):
        where.rename(folder / "zoo" / where.name)
    before = contents(folder)
    words = [name if word == "BAD" else word for word in VERBS[verb].words]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        code, out, err = run([*words, *(["--json"] if VERBS[verb].many else [])])
    after = contents(folder)
    left = sorted({*before, *after} - {path for path in before if after.get(path) == before[path]})
    told = VERBS[verb].many and '"bad' in out.partition("unreadable" if verb == "audit" else "skipped")[2]
    return Case(f"{verb}, {form}, {file.relative_to(folder)}: {way}", code, out, err, told, left)


def check(case: Case, verb: str, must: bool) -> None:
    """What must hold, whatever was damaged; where it leaves nothing to load, that it is refused."""
    assert not re.search(NOISE, case.err), case
    if case.told:
        assert (case.err, case.code in (0, 1, 3)) == ("", True), case
    elif case.refused:
        assert case.code in (4, 5) or "bare weights" in case.err, case
        one_line(case.err)
        assert case.left == [], case
    else:
        assert not must, case
        assert case.code in VERBS[verb].fine, case


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[list[str]], tuple]:
    """Runs the command line in this process; what would take long says that it went on."""
    from wmjax.attacks import run as attacks
    from wmjax.cli import main
    from wmjax.train import run as training

    def began(*args: Any, **ignored: Any) -> None:
        raise WentOn("begun")

    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX runs here already
    monkeypatch.setattr(training, "fit", began)
    monkeypatch.setattr(attacks, "try_suite", began)

    def run(words: list[str]) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(words)
        return code, *capfd.readouterr()

    return run


@pytest.mark.parametrize("verb", VERBS)
def test_each_damage_is_one_line_and_leaves_nothing(verb, home, here, tmp_path):
    """Each way to damage the largest file, over the formats, and three ways to damage any file of each format."""
    fatal, refused, rng = sorted(FATAL), 0, random.Random(verb)
    forms = VERBS[verb].formats
    cases = [(forms[place % len(forms)], way, True) for place, way in enumerate(fatal)]
    cases += [(form, way, False) for form in forms for way in rng.sample(sorted(WAYS), 3)]
    for number, (form, way, largest) in enumerate(cases):
        case = tried(verb, form, way, largest, home, tmp_path / str(number), here)
        gone = VERBS[verb].many and way in ("removed", "a folder")  # it is no member of the zoo then
        check(case, verb, must=largest and not (gone and form != "checkpoint"))
        refused += case.refused
    assert refused >= len(fatal) - 2


def test_what_each_verb_makes_of_a_sound_model(home, here, tmp_path):
    """So that what was refused above was refused for its damage."""
    for verb, (_, forms, fine) in VERBS.items():
        (tmp_path / verb).mkdir()
        for form in forms[::3]:
            case = tried(verb, form, "nothing", True, home, tmp_path / verb / form, here)
            assert (case.code in fine, case.told) == (True, False), case


SCRIPT = """
import sys
from wmjax.cli import main
codes = []
for words in WORDS:
    codes.append(main(words))
print("codes", codes)
"""


def test_no_thread_of_a_process_tells_a_traceback(home, tmp_path):
    """A process of its own, from its beginning to its end, exit handlers and other libraries' threads included."""
    told, words = [], []
    for number, (verb, way) in enumerate(
        [("verify", "cut"), ("verify", "zeroed"), ("export", "removed"), ("commit", "emptied"), ("claim", "nested"),
         ("judge", "swapped"), ("embed --from", "cut"), ("embed --teacher", "a device"), ("attack", "zeroed")]
    ):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        laid(home, folder, "checkpoint")
        WAYS[way](files_of(folder / "bad")[0], random.Random(0))
        inside = {path.name for path in folder.iterdir()}
        words.append([f"{number}/{w}" if w in inside or w == "out" else w for w in VERBS[verb].words])
        words[-1] = [f"{number}/bad" if w == "BAD" else w for w in words[-1]]
        told.append(verb)
    script = SCRIPT.replace("WORDS", repr(words))
    environment = os.environ | {"JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.stdout == f"codes {[4] * len(words)}\n", done
    told = [line for line in done.stderr.splitlines() if not line.startswith("hint: ")]
    assert len(told) == len(words), done.stderr
    assert not re.search(NOISE, done.stderr)


WORDS = {
    "cut": "a file is truncated",
    "removed": "a file is missing",
    "zeroed": "damaged",
    "emptied": "a file is truncated",
}


@pytest.mark.parametrize("way", WORDS)
def test_what_is_wrong_with_a_file_of_tensors_is_said_in_plain_words(way, home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    laid(home, tmp_path, "checkpoint")
    WAYS[way](files_of(tmp_path / "bad")[0], random.Random(0))
    for read in (wmjax.from_checkpoint, load_variables):
        with pytest.raises(WmjaxError, match=WORDS[way]):
            read("bad")


def test_where_a_pack_is_missing_no_module_of_its_name_is_imported(tmp_path, monkeypatch):
    """`bad.safetensors:model` is a name that Python could import, from a folder `bad` beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "safetensors.py").write_text("open('ran', 'w').close()\nmodel = len\n")
    with pytest.raises(AccessError, match="does not exist"):
        wmjax.open_suspect("bad.safetensors:model")
    assert not (tmp_path / "ran").exists()
    monkeypatch.setattr(open_, "_is_member", lambda name: False)
    wmjax.open_suspect("bad.safetensors:model")
    assert (tmp_path / "ran").exists()
