"""Files and folders of the user's: where they are, that one process has them, and what a file begins with."""

import errno
import fcntl
import json
import os
import pwd
from pathlib import Path

import audit_worker as worker
import pytest
from refusals import assert_refused, one_line

from wmjax import checkpoint, files, programs
from wmjax.data.folder import open_folder
from wmjax.data.prepare import prepare_cifar10
from wmjax.data.source import data_folder, load_source
from wmjax.errors import AccessError, UsageError
from wmjax.files import add_line, alone, own_folder, read_bytes, read_private, read_start
from wmjax.stores.copies import Copy
from wmjax.zoo import width


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user of whom the system knows nothing, as in many a container."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TFDS_DATA_DIR", programs.VARIABLE, programs.OFF):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def test_who_has_no_home_folder_is_told_what_to_set(homeless: None) -> None:
    for call, names in (
        (lambda: own_folder("XDG_STATE_HOME", "~/.local/state"), "HOME or XDG_STATE_HOME"),
        (lambda: data_folder(None), "HOME or TFDS_DATA_DIR"),
        (lambda: prepare_cifar10("~/data"), "HOME"),
        (lambda: open_folder(Path("~/pictures"), None), "HOME"),
    ):
        assert_refused(call, f"^~/.*: no home folder is known: set {names}$", UsageError)


def test_what_is_kept_for_speed_alone_is_not_kept_then(homeless: None, run, monkeypatch: pytest.MonkeyPatch) -> None:
    programs.keep()
    assert programs.VARIABLE not in os.environ
    width._remember({"a": 1})
    assert width._remembered() == {}
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("wmjax.cli.doctor._DEVICES", 'print(\'{"devices": [], "platform": "cpu"}\')')
    told = json.loads(run("doctor", "--json")[1])["jax"]["compiled programs"]
    assert told == "not kept: ~/.cache: no home folder is known: set HOME or XDG_CACHE_HOME"
    assert len(load_source("digits")) == 1437


@pytest.mark.parametrize("there", [b"", b"FIR"])
def test_a_file_without_a_whole_line_begins_with_its_first(tmp_path: Path, there: bytes) -> None:
    (tmp_path / "lines").write_bytes(there)
    for line in "ab":
        add_line(tmp_path / "lines", line, "FIRST")
    assert (tmp_path / "lines").read_text() == "FIRST\na\nb\n"


def test_a_disk_without_locks_is_no_other_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    keys, logits = worker.mixed()
    monkeypatch.setattr(fcntl, "flock", refuse)
    told = "cannot lock .*: No locks available: choose a folder on another disk"
    assert_refused(lambda: worker.audited(worker.zoo(logits), keys, out=tmp_path / "out"), told, AccessError)
    assert_refused(lambda: alone(tmp_path).__enter__(), told, AccessError)
    with checkpoint.held(tmp_path / "run"):  # a run is trained without
        assert (tmp_path / "run").is_dir()


def test_a_journal_that_cannot_be_copied_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for own, path in ((tmp_path / "none", tmp_path / "a" / "copy"), (tmp_path / "file", tmp_path / "file" / "copy")):
        assert_refused(Copy(own, path).line, "^cannot copy .* to .*copy: ", AccessError)


def test_what_may_never_end_is_not_read(tmp_path: Path) -> None:
    """A stranger's folder has a link to a device that says it has no bytes, or a pipe that nobody writes to."""
    (tmp_path / "link").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "pipe")
    for read in (read_bytes, lambda path: read_start(path, 64)):
        for name in ("link", "pipe"):
            assert_refused(lambda r=read, n=name: r(tmp_path / n), f"{name}: not a regular file$", AccessError)
        assert_refused(lambda r=read: r(tmp_path), "cannot read .*: Is a directory$", AccessError)
    assert_refused(lambda: read_private(tmp_path / "link"), "too large", AccessError)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="no file here says that it has no bytes")
def test_a_file_that_has_more_bytes_than_it_says_is_read_to_a_bound() -> None:
    path = Path("/proc/self/maps")
    assert path.stat().st_size == 0 < len(read_bytes(path))
    assert_refused(lambda: read_bytes(path, 100), "has more than 100 bytes: too large", AccessError)


def test_no_more_is_read_than_the_largest_file_of_wmjax(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(files.LARGEST + 1)
    assert_refused(lambda: read_bytes(tmp_path / "sparse"), f"has {files.LARGEST + 1} bytes: too large", AccessError)


def test_secrets_come_by_pipes(tmp_path: Path, run) -> None:
    """As of `--identity <(pass show key)` in a shell."""
    assert run("keygen", "--image", "4x4x1", "--classes", "10", "--out", "my")[0] == 0
    for option, file in (("--identity", "my.identity"), ("--token-file", "token")):
        Path("token").write_text("secret")
        reader, writer = os.pipe()
        os.write(writer, Path(file).read_bytes())
        os.close(writer)
        code, _, err = run("verify", "--key", "my.age", option, f"/dev/fd/{reader}", "nowhere")
        assert (code, "nowhere does not exist" in err) == (5, True)


def test_a_pipe_in_place_of_a_file_is_one_line(run) -> None:
    assert run("keygen", "--image", "4x4x1", "--classes", "10", "--out", "my")[0] == 0
    Path("my.commitment.json").unlink()
    os.mkfifo("my.commitment.json")
    os.mkfifo("pipe")
    claim = ["claim", "--key", "my.age", "x", "--nonce-from", "11" * 32, "--out", "c.json"]
    for words in (
        ["judge", "pipe"],
        ["commit", "pipe", "--timestamp", "http://a"],
        ["verify", "--key", "pipe", "x"],
        claim,
    ):
        code, out, err = run(*words)
        assert (code, out, ": not a regular file" in one_line(err)) == (5, "", True)
