"""Object stores: the contract of each kind, and what stands for their objects on this machine."""

import os
import re
import threading
import time
from pathlib import Path

import pytest
from buckets import Bucket, bucket, forgotten, fresh, scheme, settings
from doorman import REFUSALS, Doorman, doorman
from fixtures import abstract_key
from refusals import assert_one_line

from wmjax import stores
from wmjax.errors import AccessError, UsageError
from wmjax.files import read_bytes, write_bytes, write_new
from wmjax.keys import new_signer, write_key
from wmjax.keys.vault import new_identity
from wmjax.stores import contents, mirror, names
from wmjax.stores.contract import Object, Unreachable

__all__ = ["bucket", "doorman", "fresh", "scheme"]


def sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def refused(call: object, match: str, kind: type[AccessError] = AccessError) -> None:
    with pytest.raises(kind, match=match) as caught:
        call()  # type: ignore[operator]
    assert_one_line(caught.value)


def test_a_listing_is_a_folder_and_contents_come_when_they_are_read(bucket: Bucket) -> None:
    bucket.put("zoo/a/x", b"hello")
    bucket.put("zoo/b", bytes(100_000))
    bucket.put("zoo.json", b"{}")
    bucket.put("other/c", b"1")
    zoo = stores.place(f"{bucket.url}/zoo")
    assert sizes(zoo) == {"a/x": 5, "b": 100_000}
    assert (zoo.parent / "zoo.json").is_file()  # beside it
    assert not (zoo.parent / "other").exists()
    assert stores.unmirrored(f"{zoo}/a: no") == f"{bucket.url}/zoo/a: no"
    assert read_bytes(zoo / "a" / "x") == b"hello"
    descriptor = os.open(zoo / "b", os.O_RDONLY)
    bucket.put("zoo/b", b"x" * 100_000)
    os.close(descriptor)
    assert stores.place(f"{bucket.url}/zoo/") == stores.place(Path(f"{bucket.url}/zoo")) == zoo


def test_every_kind_keeps_the_contract(bucket: Bucket, tmp_path: Path) -> None:
    bucket.put("there", b"0123456789")
    stores.place(bucket.url)
    store = stores._process.buckets[bucket.scheme, bucket.name]
    (there,) = store.list("", deep=True)
    assert (there.name, there.size) == ("there", 10)
    assert store.read(there, 2, 5) == b"234"
    (tmp_path / "new").write_bytes(b"new")
    written = store.write("a/new", tmp_path / "new", None)
    assert bucket.get("a/new") == b"new"
    assert [found.name for found in store.list("", deep=False)] == ["there"]
    assert list(store.list("a/", deep=True)) == [written]
    refused(lambda: store.write("a/new", tmp_path / "new", None), "somebody else has just written it")
    (tmp_path / "new").write_bytes(b"newer")
    newer = store.write("a/new", tmp_path / "new", written.version)
    assert newer.version != written.version
    refused(lambda: store.write("a/new", tmp_path / "new", written.version), "it was changed meanwhile")
    refused(lambda: store.read(written, 0, 1), "it was changed meanwhile")
    store.remove("a/new")
    refused(lambda: store.read(newer, 0, 1), "not there any more")
    assert [found.name for found in store.list("", deep=True)] == ["there"]


def test_half_a_key_is_not_left_in_a_bucket(bucket: Bucket) -> None:
    for end in ("age", "commitment.json"):
        stores.place(f"{bucket.url}/my.{end}")
    bucket.put("my.commitment.json", b"precious")  # another host writes a key of this name
    _, recipient = new_identity()
    refused(
        lambda: write_key(abstract_key(4), f"{bucket.url}/my", recipients=[recipient], signer=new_signer()),
        "somebody else has",
    )
    assert bucket.names() == ["my.commitment.json"]
    assert bucket.get("my.commitment.json") == b"precious"
    assert not os.path.lexists(stores.place(f"{bucket.url}/my.age"))


def test_an_object_of_many_parts(bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if bucket.scheme == "s3":
        monkeypatch.setattr("wmjax.stores.s3._PART", 5 << 20)
    data = os.urandom(11 << 20)
    path = stores.place(f"{bucket.url}/large")
    write_bytes(path, data)
    assert bucket.get("large") == data
    monkeypatch.setattr(contents, "_PIECE", 3 << 20)
    with forgotten():
        assert read_bytes(stores.place(f"{bucket.url}/large")) == data


@pytest.fixture
def changing(bucket: Bucket) -> tuple[Bucket, Path]:
    """A bucket with an object, and what stands for it."""
    bucket.put("model", bytes(range(256)) * 2000)
    return bucket, stores.place(f"{bucket.url}/model")


def ask(path: Path, at: int, count: int = 10) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return stores.read(path, descriptor, count, at)
    finally:
        os.close(descriptor)


def test_nothing_is_mixed_of_two_versions(changing: tuple[Bucket, Path]) -> None:
    bucket, path = changing
    assert ask(path, 0) == bytes(range(10))
    assert ask(path, 256 * 1900) == bytes(range(10))
    bucket.put("model", bytes(512_000))  # as large as before
    assert ask(path, 0) == bytes(range(10))  # of the version whose rest is not there any more
    refused(lambda: ask(path, 256 * 1900), "it was changed meanwhile: start again")
    refused(lambda: read_bytes(path), "it was changed meanwhile: start again")
    bucket.remove("model")
    refused(lambda: read_bytes(path), "not there any more")


def test_who_asks_without_a_version_mixes_two(changing: tuple[Bucket, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test before this one would not show, were versions not asked for."""
    bucket, path = changing
    assert ask(path, 0) == bytes(range(10))
    bucket.put("model", bytes(512_000))
    store = stores._process.buckets[bucket.scheme, bucket.name]
    (now,) = store.list("", deep=True)
    plain = type(store).read
    monkeypatch.setattr(type(store), "read", lambda self, found, begin, end: plain(self, now, begin, end))
    assert read_bytes(path)[:10] == bytes(range(10))
    assert read_bytes(path)[-10:] == bytes(10)


def test_times_of_change_stand_for_versions(changing: tuple[Bucket, Path]) -> None:
    bucket, path = changing
    before = path.stat()
    read_bytes(path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    with forgotten():
        assert stores.place(f"{bucket.url}/model").stat().st_mtime_ns == before.st_mtime_ns
    bucket.put("model", bytes(512_000))
    with forgotten():
        assert stores.place(f"{bucket.url}/model").stat().st_mtime_ns != before.st_mtime_ns


def test_what_is_not_in_use_makes_room(bucket: Bucket) -> None:
    written = {f"{i}.bin": os.urandom(300_000) for i in range(8)}
    for name, data in written.items():
        bucket.put(name, data)
    folder = stores.place(bucket.url)
    held = stores._process.mirror
    assert held
    held.contents._here.most = 700_000
    with stores.present(folder / "0.bin"):
        for _ in range(2):
            assert {path.name: read_bytes(path) for path in sorted(folder.iterdir())} == written
            assert sum(path.stat().st_blocks for path in folder.iterdir()) * 512 < 1_200_000
            assert (folder / "0.bin").read_bytes() == written["0.bin"]
    assert 600_000 <= held.contents._here.bytes <= 700_000
    held.contents._heads.most = 100_000
    for path in sorted(folder.iterdir()):
        assert ask(path, 0) == written[path.name][:10]
    assert 64 << 10 <= held.contents._heads.bytes <= 100_000


def test_beginnings_of_what_is_called_alike_are_on_their_way(bucket: Bucket) -> None:
    for name in ("a.onnx", "b.onnx", "c.onnx", "a.bin", "0/_METADATA", "1/_METADATA", "0/piece", "1/part"):
        bucket.put(name, bytes(300_000))
    for name, size in (("s/_METADATA", 300_000), ("2/bit", 200), ("3/scrap", 100_000)):
        bucket.put(name, bytes(size))
    folder = stores.place(bucket.url)
    held = stores._process.mirror
    assert held
    expected, alike = (
        set[str](),
        {"a.onnx": {"b.onnx", "c.onnx"}, "0/_METADATA": {"1/_METADATA"}, "0/piece": {"1/part", "3/scrap"}},
    )
    for name, others in alike.items():
        assert ask(folder / name, 0) == bytes(10)
        expected |= {name, *others}
        deadline = time.monotonic() + 30
        while (filled := {one.object.name for one in held._files.values() if one.head}) != expected:
            assert time.monotonic() < deadline, filled
            time.sleep(0.01)
    assert {len(one.head) for one in held.contents._heads.files} == {contents.HEAD, 100_000}


def test_who_wants_one_file_after_another_finds_the_next_ones(bucket: Bucket) -> None:
    for name in "abcdefghijklm":
        bucket.put(f"{name}.onnx", bytes(300_000))
    folder = stores.place(bucket.url)
    held = stores._process.mirror
    assert held

    def whole() -> str:
        return "".join(sorted(one.object.name[0] for one in held._files.values() if one.whole))

    read_bytes(folder / "c.onnx")
    read_bytes(folder / "a.onnx")
    assert whole() == "ac"  # the neighbours of one that is read alone are left where they are
    read_bytes(folder / "b.onnx")
    deadline = time.monotonic() + 30
    while whole() != "abcdefghij":
        assert time.monotonic() < deadline, whole()
        time.sleep(0.01)


def test_writing_is_whole_and_over_nothing_unseen(bucket: Bucket) -> None:
    bucket.put("asked.json", b"{}")
    path = stores.place(f"{bucket.url}/asked.json")
    write_bytes(path, b"[1]")
    write_bytes(path, b"[1, 2]")
    assert bucket.get("asked.json") == b"[1, 2]"
    bucket.put("asked.json", b"[3]")
    refused(lambda: write_bytes(path, b"[1, 2, 4]"), "cannot write .*: it was changed meanwhile")
    assert bucket.get("asked.json") == b"[3]"
    with pytest.raises(UsageError, match="already exists"):
        write_new(path, b"")
    new = stores.place(f"{bucket.url}/new.json")
    bucket.put("new.json", b"theirs")
    refused(
        lambda: write_new(new, b"mine"), "somebody else has just written it; it will be in /.*wmjax-kept-.*new.json"
    )
    assert bucket.get("new.json") == b"theirs"
    held = stores._process.mirror
    assert held
    held.close()
    stores._process.mirror = None
    kept = Path(held._kept)
    assert (kept / bucket.scheme / bucket.name / "new.json").read_bytes() == b"mine"  # nothing is lost


def test_folders_go_with_their_last_file_last(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = stores.place(f"{bucket.url}/run") / "step"
    (folder / "d").mkdir(parents=True)
    for name in ("done", "a", "d/b"):
        (folder / name).write_bytes(name.encode())
    store = stores._process.buckets[bucket.scheme, bucket.name]
    order, plain = [], type(store).write
    monkeypatch.setattr(
        type(store), "write", lambda self, name, *rest: (order.append(name), plain(self, name, *rest))[1]
    )
    stores.put(folder, last="done")
    assert order[-1] == "run/step/done"
    assert sorted(bucket.names()) == ["run/step/a", "run/step/d/b", "run/step/done"]
    stores.remove(folder)
    assert bucket.names() == []
    assert not folder.exists()


def test_names_that_no_file_can_have(bucket: Bucket) -> None:
    odd = ["a", "a/b", "a//c", "d/", "long" * 60, "é"]
    for name in odd:
        bucket.put(name, b"" if name == "d/" else name.encode())
    folder = stores.place(bucket.url)
    found = {read_bytes(path).decode() for path in folder.rglob("*") if path.is_file()}
    assert found == {*odd} - {"d/"}


def test_local_names_stay_inside() -> None:
    for name in ("../../x", "/etc/passwd", "a/./b", "..", "a\0b"):
        local = names.local_name(name)
        assert ".." not in local.split("/")
        assert os.path.normpath(f"/root/{local}") == f"/root/{local}"


def test_what_is_missing_is_one_line(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(lambda: stores.place(f"{bucket.scheme}://no-such-bucket/a"), "no such bucket")
    nothing = stores.place(f"{bucket.url}/nothing")
    assert not nothing.exists()
    refused(lambda: read_bytes(nothing), "No such file")
    for text in (f"{bucket.scheme}://", "hf://alone"):
        with pytest.raises(UsageError, match="name a bucket"):
            stores.place(text)


def test_a_dead_endpoint_is_told_once(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.put("a", bytes(100_000))
    bucket.put("b", bytes(100_000))
    folder, threads = stores.place(bucket.url), threading.enumerate()
    with forgotten():
        for name, value in settings(bucket.scheme, "http://127.0.0.1:9").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("wmjax.stores.contract.ALL_SECONDS", 0.1)
        if bucket.scheme == "gs":
            from wmjax.stores import gs

            monkeypatch.setitem(gs._ASKED, "retry", gs.DEFAULT_RETRY.with_timeout(0.1))
        refused(lambda: stores.place(f"{bucket.url}/zoo"), "cannot list .*127.0.0.1", Unreachable)
        assert set(threading.enumerate()) <= set(threads)  # nobody goes on asking
    stores.check()
    store = stores._process.buckets[bucket.scheme, bucket.name]

    def dead(*_: object) -> bytes:
        raise Unreachable("nobody is there")

    monkeypatch.setattr(type(store), "read", dead)
    refused(lambda: read_bytes(folder / "a"), "nobody is there", Unreachable)
    monkeypatch.undo()
    refused(lambda: read_bytes(folder / "b"), "nobody is there", Unreachable)  # at once: it is not asked again
    refused(stores.check, "a store cannot be reached: nobody is there")


def test_a_write_whose_answer_is_lost_was_one(bucket: Bucket, doorman: Doorman, monkeypatch: pytest.MonkeyPatch):
    """The client writes again, and finds an object that it may not write over: its own; and the rule taken out."""
    bucket.put("zoo/there", b"before")
    with forgotten():
        folder = stores.place(f"{bucket.url}/zoo")
        for name in ("there", "new"):
            doorman.lost = 1
            write_bytes(folder / name, name.encode())
            assert (doorman.lost, bucket.get(f"zoo/{name}")) == (0, name.encode())
        monkeypatch.setattr("wmjax.stores.mirror._write", lambda store, *given: store.write(*given))
        doorman.lost = 1
        refused(lambda: write_bytes(folder / "next", b"next"), "somebody else has just written it", AccessError)


def test_bytes_are_asked_for_the_short_way_and_again_by_the_client(
    bucket: Bucket, doorman: Doorman, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("a", "zoo/ö b+c%2F~?x=1&y#z", "d//e")
    for name in names:
        bucket.put(name, f"0123456789 {name}".encode())
    stores.place(bucket.url)
    store = stores._process.buckets[bucket.scheme, bucket.name]
    there = {found.name: found for found in store.list("", deep=True)}
    assert store.read(there["a"], 0, 3) == b"012"
    client, plain = (store._client, "get_object") if bucket.scheme == "s3" else (store._client._http, "get")
    asked = list[object]()
    doorman.busy = 2  # the short way's, and the first of the client's own: it asks again
    with monkeypatch.context() as patch:
        whole = getattr(client, plain)
        patch.setattr(client, plain, lambda *given, **named: (asked.append(given), whole(*given, **named))[1])
        assert store.read(there["a"], 2, 5) == b"234"
        assert (doorman.busy, len(asked) > 0) == (0, True)
        asked.clear()
        for name in names:
            assert store.read(there[name], 8, 11 + len(name.encode())) == f"89 {name}".encode()
        assert asked == []


@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_a_store_refuses_is_told_in_its_place(bucket: Bucket, doorman: Doorman, refusal: str) -> None:
    """What is the same for any other object ends an audit; what is not is about that one object alone."""
    for name in ("a", "b"):
        bucket.put(f"zoo/{name}", bytes(300_000))
    told = {"denied": "no permission", "expired": "credentials are not accepted", "gone": "no such bucket"}
    told["late"] = "the clock of this machine is wrong" if bucket.scheme == "s3" else told["expired"]
    lists, reads, kind = told[refusal], told[refusal], AccessError if refusal == "denied" else Unreachable
    doorman.refusal = refusal
    refused(lambda: stores.place(f"{bucket.url}/zoo"), f"cannot list {bucket.url}/zoo: .*{lists}")
    doorman.refusal = ""
    folder = stores.place(f"{bucket.url}/zoo")
    doorman.refusal, doorman.only = refusal, "" if refusal == "gone" else "a"  # Google's 404 of an object tells nothing
    refused(lambda: read_bytes(folder / "a"), f"cannot read .*: .*{reads}", kind)
    doorman.refusal = ""
    if kind is Unreachable:
        refused(stores.check, f"a store cannot be reached: .*{reads}")
        refused(lambda: read_bytes(folder / "b"), reads, Unreachable)
    else:
        stores.check()
        assert read_bytes(folder / "b") == bytes(300_000)
    with forgotten():  # when it is mended
        assert read_bytes(stores.place(f"{bucket.url}/zoo") / "a") == bytes(300_000)


def test_a_package_that_is_missing_is_named(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stores._PROVIDERS, "s3", "wmjax.stores.no_such_module")
    with pytest.raises(UsageError, match=r"s3:// needs botocore: pip install 'wmjax\[cloud\]'"):
        stores.place("s3://bucket/a")


def test_what_killed_processes_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror.tempfile, "tempdir", str(tmp_path))
    left, kept = tmp_path / f"{names.PREFIX}left", tmp_path / f"{names.PREFIX}kept"
    for folder in (left, kept):
        folder.mkdir()
    (kept / mirror._KEPT).touch()
    used = mirror.Mirror()
    assert not left.exists()
    assert kept.exists()
    mirror.Mirror().close()
    assert Path(used.root).exists()  # another one's, in use
    used.close()
    assert not Path(used.root).exists()


@pytest.mark.parametrize("early", [True, False], ids=["before it is opened", "before it is locked"])
def test_a_folder_that_another_process_sweeps_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    monkeypatch.setattr(mirror.tempfile, "tempdir", str(tmp_path))
    make, lock, swept = mirror.tempfile.mkdtemp, mirror.fcntl.flock, []

    def sweep() -> None:
        if not swept:
            swept.extend(tmp_path.iterdir())
            mirror._sweep()

    def mkdtemp(prefix: str) -> str:
        made = make(prefix=prefix)
        if early:
            sweep()
        return made

    def flock(descriptor: int, operation: int) -> None:
        if operation == mirror.fcntl.LOCK_EX:
            sweep()
        lock(descriptor, operation)

    monkeypatch.setattr(mirror.tempfile, "mkdtemp", mkdtemp)
    monkeypatch.setattr(mirror.fcntl, "flock", flock)
    used = mirror.Mirror()
    assert Path(used.root).is_dir()
    assert [folder.exists() for folder in swept] == [False]
    used.close()
    if not early:  # without the rule
        swept.clear()
        monkeypatch.setattr(mirror.os.path, "exists", lambda path: names.PREFIX in Path(path).name)
        with pytest.raises(FileNotFoundError):
            mirror.Mirror()


def test_ordinary_paths_are_left_alone(tmp_path: Path) -> None:
    assert stores.place("gs") == Path("gs")
    assert stores.place(tmp_path) == tmp_path
    assert not stores.is_stored(tmp_path)
    assert stores.unmirrored(str(tmp_path)) == str(tmp_path)


_OPENS = re.compile(r"""\.open\("rb"\)|\bos\.open\(|\bopen\(|\.read_bytes\(\)|\.read_text\(""")
_OTHERS = {  # what they open is no file that a user names
    "cli/terminal.py", "devices.py", "hosts.py", "post.py", "programs.py", "report/html.py", "suspects/child.py",
    "attacks/families/inputs.py", "suspects/formats/torch_pixels.py", "suspects/formats/pickle_child.py",
    # a process of its own: who starts it has the file there
    "suspects/formats/export_child.py", "suspects/formats/onnx_child.py", "suspects/formats/tflite_child.py",
    "suspects/formats/ort_child.py", "suspects/formats/openvino_child.py", "suspects/formats/tensorflow_child.py",
    "zoo/writer.py",  # a new file
    "keys/files.py", "evidence/hearing.py",  # in an example alone
}  # fmt: skip


def test_whoever_opens_files_has_them_fetched() -> None:
    """A file whose bytes were not fetched is zeros, which could acquit: no module forgets it."""
    root = Path(stores.__file__).parents[1]
    forgot = []
    for path in root.rglob("*.py"):
        name, text = path.relative_to(root).as_posix(), path.read_text()
        text = re.sub(r"(ts|Image|archive|KvStore|build_opener\(_Stay\))\.open\(", "", text)
        if name.split("/")[0] not in ("data", "stores") and name not in _OTHERS and _OPENS.search(text):
            forgot += [name] if not re.search(r"stores\.(present|read|steady|fetch)\(|journal_file\(", text) else []
    assert forgot == []


@pytest.mark.parametrize(
    "names", [("a", "a%", "a/x"), ("a/x", "a", "a%"), ("a/%../b", "a/../b"), ("a", "a%", "a%%", "a%/x", "a/x")]
)
def test_no_object_hides_behind_what_another_is_called_here(names: tuple[str, ...], fresh: None) -> None:
    """A copy would be left out where a stranger's object had to be called as it is."""
    here = mirror.Mirror()
    try:
        for _ in range(2):  # listed again they are the same
            here.lay("s3/b", None, [Object(name, size, "") for size, name in enumerate(names, 1)])
            found = sorted(path.stat().st_size for path in Path(here.root).rglob("*") if path.is_file())
            assert found == list(range(1, len(names) + 1))
    finally:
        here.close()
