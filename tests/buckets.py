"""Object stores for tests: moto plays S3 and gcp-storage-emulator Google's, each a server of its own on loopback."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from wmjax import stores

SCHEMES = ("s3", "gs")
_PROGRAMS = {
    "s3": ["-m", "moto.server", "-H", "127.0.0.1", "-p"],
    "gs": [str(Path(__file__).with_name("gs_server.py"))],
}
_NEEDS = {"s3": ("moto", "flask_cors", "botocore"), "gs": ("gcp_storage_emulator", "google.cloud.storage")}


class Bucket:
    """A bucket, as its owner's client has it.

    Attributes:
      url: `s3://NAME` or `gs://NAME`.
    """

    def __init__(self, scheme: str, name: str):
        self.scheme, self.name, self.url = scheme, name, f"{scheme}://{name}"
        if scheme == "s3":
            from botocore.session import get_session

            self.client: Any = get_session().create_client("s3", region_name="us-east-1")
            self.client.create_bucket(Bucket=name)
        else:
            from google.cloud import storage

            self.client = storage.Client()
            self.client.create_bucket(name)

    def put(self, name: str, data: bytes) -> None:
        if self.scheme == "s3":
            self.client.put_object(Bucket=self.name, Key=name, Body=data)
        else:
            self.client.bucket(self.name).blob(name).upload_from_string(data)

    def put_folder(self, folder: Path, below: str = "") -> str:
        """Every file of a folder; gives the URL of where they are."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put("/".join(filter(None, (below, path.relative_to(folder).as_posix()))), path.read_bytes())
        return f"{self.url}/{below}" if below else self.url

    def get(self, name: str) -> bytes:
        if self.scheme == "s3":
            return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return self.client.bucket(self.name).blob(name).download_as_bytes()

    def remove(self, name: str) -> None:
        if self.scheme == "s3":
            self.client.delete_object(Bucket=self.name, Key=name)
        else:
            self.client.bucket(self.name).blob(name).delete()

    def drop(self) -> None:
        """Removes it, and what is in it."""
        for name in self.names():
            self.remove(name)
        if self.scheme == "s3":
            self.client.delete_bucket(Bucket=self.name)
        else:
            self.client.bucket(self.name).delete()

    def names(self) -> list[str]:
        if self.scheme == "s3":
            return [found["Key"] for found in self.client.list_objects_v2(Bucket=self.name).get("Contents", ())]
        return [blob.name for blob in self.client.list_blobs(self.name)]


@contextmanager
def served(scheme: str) -> Iterator[None]:
    """Has a server run, and this process's environment name it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, *_PROGRAMS[scheme], str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings(scheme, address).items():
            patch.setenv(name, value)
        try:
            _wait(port, process)
            yield
        finally:
            process.kill()
            process.wait()


def settings(scheme: str, address: str) -> dict[str, str]:
    """The environment in which a store of this kind is at an address."""
    if scheme == "gs":
        return {"STORAGE_EMULATOR_HOST": address}
    known = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    return {"AWS_ENDPOINT_URL": address, "AWS_DEFAULT_REGION": "us-east-1", **known}


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the store did not start")


@pytest.fixture(scope="module", params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of store in turn, with a server that lives as long as the module."""
    for needed in _NEEDS[request.param]:
        pytest.importorskip(needed, reason="an object store's client or server is missing: pip install '.[test]'")
    with served(request.param):
        yield request.param


_made = 0


@pytest.fixture
def bucket(scheme: str, fresh: None) -> Bucket:
    """An empty bucket."""
    global _made
    _made += 1
    return Bucket(scheme, f"bucket-{os.getpid()}-{_made}")


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """What a process that has just begun knows of stores: nothing."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with forgotten():
        yield


@contextmanager
def forgotten() -> Iterator[None]:
    """A block in which no store was named yet."""
    before, stores._process = stores._process, stores._Process()
    try:
        yield
    finally:
        if stores._process.mirror:
            stores._process.mirror.close()
        stores._process = before
