"""CIFAR-10 from a loopback server in the original format, read back as wmjax and TFDS read it."""

import contextlib
import gzip
import hashlib
import io
import resource
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from wmjax.data import load
from wmjax.data.prepare import prepare_cifar10
from wmjax.errors import AccessError, InvalidFile, WmjaxError

TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]
PER_FILE = 20


class Server(HTTPServer):
    """Serves `body` at every path but /absent; `cut` bytes of it are promised and not sent."""

    body, cut, requests = b"", 0, 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cifar-10-binary.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.path == "/absent":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body[: len(self.server.body) - self.server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def make_files(noise: bool = True) -> dict[str, bytes]:
    """Batch files of random pixels, or of black ones for an archive much smaller than the set."""
    rng = np.random.default_rng(0)
    files = {"batches.meta.txt": b"airplane\n"}
    for name in [*TRAIN, "test_batch.bin"]:
        records = rng.integers(0, 256 if noise else 1, (PER_FILE, 3073), dtype=np.uint8)
        records[:, 0] = rng.integers(0, 10, PER_FILE)
        files[name] = records.tobytes()
    return files


def pack(files: dict[str, bytes], link: str = "") -> bytes:
    """The archive of `files`, in the original's one folder; `link` becomes a symbolic link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            if name == link:
                member.type, member.linkname, member.size = tarfile.SYMTYPE, "data_batch_1.bin", 0
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def expected(files: dict[str, bytes], names: list[str]) -> list[tuple[int, bytes]]:
    """Labels and row-major RGB pixels, taken apart byte by byte."""
    pairs = []
    for record in (files[name][at : at + 3073] for name in names for at in range(0, PER_FILE * 3073, 3073)):
        pixels = (bytes((record[1 + p], record[1025 + p], record[2049 + p])) for p in range(1024))
        pairs.append((record[0], b"".join(pixels)))
    return sorted(pairs)


def fails(kind: type[WmjaxError], match: str, root: Path, url: str, sha256: str) -> None:
    """Checks that preparing fails with one line and leaves nothing behind."""
    with pytest.raises(kind, match=match) as caught:
        prepare_cifar10(root, url, sha256)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(root.iterdir())


def test_exact_pixels_by_both_readers(server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import tensorflow_datasets as tfds

    files = make_files()
    server.body = pack(files)
    folder = prepare_cifar10(tmp_path, server.url, sha(server.body))
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert folder == tmp_path / "cifar10" / "3.0.2"
    assert [*tmp_path.iterdir(), *folder.parent.iterdir()] == [folder.parent, folder]
    splits = load("cifar10", tmp_path)
    source = tfds.data_source("cifar10", data_dir=tmp_path)
    for split, mine, names in (("train", splits.train, TRAIN), ("test", splits.test, ["test_batch.bin"])):
        made = expected(files, names)
        pairs = zip(mine.labels, mine.images, strict=True)
        assert sorted((int(label), image.tobytes()) for label, image in pairs) == made
        assert mine.classes == 10
        records = list(source[split])
        assert sorted((int(record["label"]), record["image"].tobytes()) for record in records) == made
        ids = {f"{split}_{i:05d}".encode() for i in range(len(made))}
        assert {record["id"] for record in records} == ids
    assert tfds.builder("cifar10", data_dir=tmp_path).info.features["label"].names[9] == "truck"


def test_second_call_asks_nothing(server: Server, tmp_path: Path) -> None:
    server.body = pack(make_files())
    first = prepare_cifar10(tmp_path, server.url, sha(server.body))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert prepare_cifar10(tmp_path, server.url, sha(server.body)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert server.requests == 1


def test_wrong_digest(server: Server, tmp_path: Path) -> None:
    server.body = pack(make_files())
    fails(InvalidFile, "has SHA-256", tmp_path, server.url, sha(b"another"))


@pytest.mark.parametrize("kept", [0, 5, 5000, -5000])
def test_truncated_archive_of_the_right_digest(server: Server, tmp_path: Path, kept: int) -> None:
    server.body = pack(make_files())[:kept]
    fails(InvalidFile, "truncated or corrupt", tmp_path, server.url, sha(server.body))


def test_truncated_tar_inside_whole_gzip(server: Server, tmp_path: Path) -> None:
    server.body = gzip.compress(gzip.decompress(pack(make_files()))[:100_000])
    fails(InvalidFile, "truncated or corrupt", tmp_path, server.url, sha(server.body))


def test_truncated_transfer(server: Server, tmp_path: Path) -> None:
    server.body, server.cut = pack(make_files()), 1000
    fails(AccessError, "ended 1000 bytes before", tmp_path, server.url, sha(server.body))


def test_missing_member(server: Server, tmp_path: Path) -> None:
    files = make_files()
    del files["data_batch_3.bin"]
    server.body = pack(files)
    fails(InvalidFile, "lacks data_batch_3.bin", tmp_path, server.url, sha(server.body))


def test_link_is_refused(server: Server, tmp_path: Path) -> None:
    server.body = pack(make_files(), link="data_batch_2.bin")
    fails(InvalidFile, "data_batch_2.bin in the archive is not a regular file", tmp_path, server.url, sha(server.body))


@pytest.mark.parametrize("content", [b"", bytes(3072), bytes(3074)])
def test_record_size(server: Server, tmp_path: Path, content: bytes) -> None:
    server.body = pack(make_files() | {"test_batch.bin": content})
    fails(InvalidFile, f"test_batch.bin has {len(content)} bytes", tmp_path, server.url, sha(server.body))


def test_label_above_nine(server: Server, tmp_path: Path) -> None:
    server.body = pack(make_files() | {"data_batch_5.bin": bytes(3073) + b"\x0a" + bytes(3072)})
    fails(InvalidFile, "data_batch_5.bin has a label 10", tmp_path, server.url, sha(server.body))


def test_server_down(tmp_path: Path) -> None:
    with Server(("127.0.0.1", 0), Handler) as closed:
        url = closed.url
    fails(AccessError, "cannot download .* refused", tmp_path, url, sha(b""))


def test_not_found(server: Server, tmp_path: Path) -> None:
    fails(AccessError, "404", tmp_path, f"http://127.0.0.1:{server.server_port}/absent", sha(b""))


def test_no_url(tmp_path: Path) -> None:
    fails(AccessError, "cannot download", tmp_path, "cifar-10-binary.tar.gz", sha(b""))


def test_unwritable_folder(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AccessError, match="cannot write under"):
        prepare_cifar10(tmp_path / "file" / "below", server.url, sha(b""))
    assert server.requests == 0


@contextlib.contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Stands for a full disk: no file grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("noise", [True, False])  # the archive does not fit; it fits and the set does not
def test_full_disk(server: Server, tmp_path: Path, noise: bool) -> None:
    server.body = pack(make_files(noise))
    size = 40_000
    assert (len(server.body) > size) == noise
    with largest_file(size):
        fails(AccessError, "cannot write under .* too large", tmp_path, server.url, sha(server.body))


def test_folder_of_something_else(server: Server, tmp_path: Path) -> None:
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    with pytest.raises(AccessError, match="not a prepared data set"):
        prepare_cifar10(tmp_path, server.url, sha(b""))
    assert server.requests == 0
