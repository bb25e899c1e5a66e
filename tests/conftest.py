"""Strict numerics for every test, one compile cache for all that a worker runs, and a way to run the command line."""

import atexit
import gc
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

collect_ignore = ["torch_files.py", "ray_worker.py"]  # no tests: they import packages of other extras

if TYPE_CHECKING:
    from tsa import LocalTsa

    from wmjax.data import Dataset
    from wmjax.evidence.authority import Authority

settings.register_profile("wmjax", deadline=None, derandomize=True)  # shared machines: no timing decides a test
settings.load_profile("wmjax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.update(JAX_NUMPY_DTYPE_PROMOTION="strict", JAX_NUMPY_RANK_PROMOTION="raise")  # without importing JAX

# What tests wait for is mostly XLA at compiling tiny programs, and it compiles them in half the time where it optimises
# less. XLA_FLAGS= in the environment has them compiled as users' are; the nightly run does. Level 0 would take an
# eighth less again, but with JAX 0.10 a step of test_mapping.py, under `pmap`, ends in NaN there.
_FEWER = "--xla_backend_optimization_level=1"
if version("jaxlib").startswith(("0.9.", "0.10.")):  # the one is gone since, the other may go: each worker has one core
    _FEWER += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ.setdefault("XLA_FLAGS", _FEWER)

# Many tests, some in processes of their own, compile the same programs: a cache that lives as long as the session.
# Each worker of pytest-xdist has one for itself: JAX writes without a lock, so another could read half a program.
_CACHE = tempfile.mkdtemp(prefix="wmjax-compiled-")
atexit.register(shutil.rmtree, _CACHE, ignore_errors=True)
os.environ.update(JAX_COMPILATION_CACHE_DIR=_CACHE, JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0.2")


# Arrays of some megabytes come and go by the thousand. Memory that the C library keeps costs no page faults, which took
# a seventh of what simulations do; it reads this where a process begins, as xdist's workers do.
os.environ.update(MALLOC_MMAP_THRESHOLD_="1000000000", MALLOC_TRIM_THRESHOLD_="1000000000")


_SECRETS: dict[str, Any] = {"test": "", "drawn": 0}


def pytest_runtest_setup(item: pytest.Item) -> None:
    _SECRETS.update(test=item.nodeid, drawn=0)


@pytest.fixture(scope="session", autouse=True)
def _same_secrets_each_time() -> Iterator[None]:
    """Secrets follow from the test that draws them: none passes or fails by the luck of a key, or of its neighbours."""
    from wmjax.keys import keyset

    def draw(size: int) -> bytes:
        _SECRETS["drawn"] += 1
        return hashlib.shake_256(f"{_SECRETS['test']} {_SECRETS['drawn']}".encode()).digest(size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keyset.secrets, "token_bytes", draw)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Processes are killed here, machines are not: what was written outlives a process without reaching the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
    """Runs the command line in an empty folder: `run("verify", ...)` gives (exit code, stdout, stderr)."""
    from wmjax.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WMJAX_PASSPHRASE", raising=False)

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's way out
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture(scope="session")
def digits() -> "Dataset":
    """The training split of the digits."""
    from wmjax.data import load

    return load("digits").train


@pytest.fixture(scope="session")
def _tsa(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[LocalTsa]":
    from tsa import LocalTsa

    with LocalTsa(tmp_path_factory.mktemp("tsa")) as authority:
        yield authority


@pytest.fixture
def local(_tsa: "LocalTsa", monkeypatch: pytest.MonkeyPatch) -> "Iterator[LocalTsa]":
    """A time-stamping authority that answers honestly until a test has it answer otherwise."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield _tsa
    _tsa.respond = _tsa.answer


@pytest.fixture
def trusted(local: "LocalTsa") -> "list[Authority]":
    from wmjax.evidence.authority import read_authority

    return [read_authority(local.authority)]


@pytest.fixture
def nonsense(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """When called, exchanges all sentences: none keeps a word, and no two are alike."""
    from words import words_of_all

    def exchange() -> None:
        for wing, words in enumerate(words_of_all()):
            for number, code in enumerate(words):
                monkeypatch.setitem(words, code, f"qx{wing}x{number}")

    return exchange


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays to the end: no search for garbage goes through it, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


# The files that take longest go first: what is left at the end is small, and two workers end together.
_LONGEST = ["models", "demo", "attacks", "train", "hosts", "stats", "cleared", "bucket_zoos", "mapping", "acquittals"]
_LONGEST += ["claim_journal", "turns", "experiments", "ties", "cli", "stores", "on_gpu", "process", "onnx_runtime"]
_LONGEST += ["shift", "spread_keys", "readme", "without_jax", "words"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first; tests that need CIFAR-10 are skipped, with the reason, where it is not prepared."""
    from wmjax.data.source import data_folder

    places = {f"test_{name}": place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
    if (data_folder(None) / "cifar10").exists():
        return
    for item in items:
        if "cifar10" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="CIFAR-10 is not under TFDS_DATA_DIR"))
