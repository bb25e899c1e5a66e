"""Checkpoints that somebody changes meanwhile: between the look at one and its reading, or before an audit resumes."""

import os
import shutil
from pathlib import Path

import pytest
from marked import CONFIG, FORMATS, make_key, marked

from wmjax import orbax
from wmjax.errors import WmjaxError
from wmjax.models import init
from wmjax.suspects.contract import Wanted
from wmjax.suspects.stored import find, read_weights
from wmjax.zoo.audit import audit

KEY = make_key()


def written(folder: Path, kind: str) -> tuple[Path, Path]:
    """A stranger's checkpoint in a zoo, and a copy's beside that."""
    (folder / "zoo").mkdir()
    write = FORMATS[kind][0]
    return Path(write(folder / "zoo" / "m", init(CONFIG, 7))), Path(write(folder / "copy", marked(KEY)))


def swap(path: Path, other: Path) -> None:
    """Puts the numbers of another checkpoint into one; what describes it stays, to the second."""
    for file in path.rglob("*"):
        if file.is_file() and file.name not in (orbax.ITEM, "_CHECKPOINT_METADATA"):
            file.unlink()
    for file in other.rglob("*"):
        to = path / file.relative_to(other)
        if file.is_file() and not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, to)
            os.utime(to)


@pytest.mark.parametrize("kind", ["checkpoint", "foreign Orbax"])
def test_a_checkpoint_that_changes_before_it_is_read_is_not_read(kind, tmp_path, monkeypatch):
    path, other = written(tmp_path, kind)
    wanted = Wanted.by([KEY.spec], ["cnn"])
    stored = find(str(path), wanted)
    swap(path, other)
    with pytest.raises(WmjaxError, match="was changed while it was used"):
        read_weights(stored)
    monkeypatch.setattr(orbax, "stamp", lambda path: "")
    read_weights(find(str(path), wanted))


@pytest.mark.parametrize("kind", ["checkpoint", "foreign Orbax"])
def test_an_audit_resumes_with_no_other_numbers(kind, tmp_path):
    """Cleared before, a stranger's checkpoint becomes a copy's."""
    path, other = written(tmp_path, kind)
    options = {"models": ["cnn"], "out": tmp_path / "out"}
    assert [found.verdict for found in audit(tmp_path / "zoo", {"k": KEY}, **options)] == ["no-match"]
    swap(path, other)
    assert [found.verdict for found in audit(tmp_path / "zoo", {"k": KEY}, models=["cnn"])] == ["match"]
    with pytest.raises(WmjaxError, match="began with other weights"):
        audit(tmp_path / "zoo", {"k": KEY}, resume=True, **options)


def test_without_the_stamp_of_all_files_it_would_stay_cleared(tmp_path, monkeypatch):
    path, other = written(tmp_path, "checkpoint")
    monkeypatch.setattr(orbax, "_check_files", lambda path, most: str((path / orbax.ITEM).stat().st_mtime_ns))
    audit(tmp_path / "zoo", {"k": KEY}, out=tmp_path / "out")
    swap(path, other)
    (found,) = audit(tmp_path / "zoo", {"k": KEY}, out=tmp_path / "out", resume=True)
    assert found.verdict == "no-match"
