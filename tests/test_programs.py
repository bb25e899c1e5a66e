"""Compiled programs are kept where nobody else can put one, and no more of them than may be."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from wmjax import programs
from wmjax.errors import UsageError
from wmjax.suspects import process


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """Of a user whose environment says nothing of programs."""
    for name in (programs.VARIABLE, programs.OFF, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def kept(tmp_path) -> Iterator[Path]:
    """A folder in which JAX keeps every program of this process for now."""
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    place = tmp_path / "kept"
    _keep(str(place), 0.0)
    yield place
    _keep(*before)


def _keep(place: str, seconds: float) -> None:
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", place)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def test_they_lie_in_a_folder_of_the_users_own(home):
    programs.keep()
    place = Path(os.environ[programs.VARIABLE])
    assert place.is_relative_to(home / "wmjax")
    assert place.stat().st_mode & 0o777 == 0o700
    assert programs.doubt(place) == ""


def test_one_variable_turns_it_off(home, monkeypatch):
    monkeypatch.setenv(programs.OFF, "0")
    programs.keep()
    assert programs.VARIABLE not in os.environ
    assert not home.exists()


def test_who_writes_there_runs_code_here(kept, tmp_path, monkeypatch):
    """A program of another's in the place of one's own answers in its name: JAX looks at no seal."""

    def honest(x: jax.Array) -> jax.Array:
        return x + 1

    def poison(x: jax.Array) -> jax.Array:
        return x * 100

    assert [int(jax.jit(honest)(3)), int(jax.jit(poison)(3))] == [4, 300]
    (own,), (theirs,) = (list(kept.glob(f"jit_{name}-*-cache")) for name in ("honest", "poison"))
    own.write_bytes(theirs.read_bytes())
    jax.clear_caches()
    assert int(jax.jit(honest)(3)) == 300
    kept.chmod(0o770)
    monkeypatch.setenv(programs.VARIABLE, str(kept))
    with pytest.raises(UsageError, match=r"others can write in .*run as code"):
        programs.load_jax()
    kept.chmod(0o700)
    tmp_path.chmod(0o777)
    with pytest.raises(UsageError, match="others can write in "):  # they could put another folder there
        programs.load_jax()


def test_what_somebody_else_put_there_before_counts(tmp_path, monkeypatch):
    (tmp_path / "jit_f-00-cache").symlink_to(tmp_path)
    assert "of another user, or a link" in programs.doubt(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    mine = "belongs to another user" if os.getuid() else "or a link"  # root's are trusted
    assert mine in programs.doubt(tmp_path)


def test_a_usual_folder_of_others_is_left_alone(home):
    programs.folder().mkdir(parents=True)
    programs.folder().chmod(0o777)
    programs.keep()
    assert programs.VARIABLE not in os.environ


def test_the_oldest_go_first(home, monkeypatch):
    monkeypatch.setattr(programs, "MOST", 250)
    programs.folder().mkdir(parents=True, mode=0o700)
    for age in range(5):
        path = programs.folder() / f"jit_{age}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 - age, 1000 - age))
    programs.keep()
    assert sorted(path.name for path in programs.folder().iterdir()) == ["jit_0-cache", "jit_1-cache"]
    assert programs.size(programs.folder()) == 200


def test_a_suspects_process_is_not_told(home):
    programs.keep()
    assert programs.VARIABLE in os.environ
    assert all(programs.VARIABLE not in process._environment(theirs=theirs) for theirs in (True, False))


def test_a_verb_refuses_such_a_folder_in_one_line(run, monkeypatch, tmp_path):
    tmp_path.chmod(0o777)
    monkeypatch.setenv(programs.VARIABLE, str(tmp_path / "programs"))
    code, out, err = run("export", "model", "copy")
    assert (code, out) == (2, "")
    assert err.startswith(f"wmjax: {programs.VARIABLE}: others can write in "), err
    asked = ("verify", "--key", "my.age", "--identity", "my.identity", "model")
    run("keygen", "--image", "8x8x1", "--classes", "10", "--triggers", "20", "--out", "my")
    for verb in (
        asked,
        ("audit", "zoo", "--keys", "."),
        ("embed", "--data", "digits", "--model", "cnn", "--out", "run"),
    ):
        assert run(*verb)[2].startswith(f"wmjax: {programs.VARIABLE}: others can write in "), verb
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("wmjax.cli.doctor._DEVICES", 'print(\'{"devices": [], "platform": "cpu"}\')')
    told = json.loads(run("doctor", "--json")[1])["jax"]["compiled programs"]
    assert told.startswith("not kept: others can write")
    (file := tmp_path / "file").touch()
    tmp_path.chmod(0o700)
    monkeypatch.setenv(programs.VARIABLE, str(file))
    assert run("export", "model", "copy")[2].startswith(f"wmjax: {programs.VARIABLE}: {file} cannot be looked at")
    told = json.loads(run("doctor", "--json")[1])["jax"]["compiled programs"]
    assert told == f"not kept: {file} cannot be looked at (Not a directory)"
    monkeypatch.delenv(programs.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    assert json.loads(run("doctor", "--json")[1])["jax"]["compiled programs"].endswith(", 0 MB")
