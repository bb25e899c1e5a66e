"""Whom an audit asks about ONNX files: a program compiled of them, or ONNX Runtime, with the same verdicts."""

import dataclasses
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from graphs import build, open_onnx, residual, write
from test_onnx_runtime import CLASSES, SECRET, marked, several

import wmjax
from wmjax.errors import AccessError
from wmjax.keys import Key, derive_key, make_spec
from wmjax.keys.specify import default_rule
from wmjax.suspects.contract import Wanted
from wmjax.suspects.query import answered
from wmjax.zoo import compiling, panel, prepared, route
from wmjax.zoo.grounds import AuditGround
from wmjax.zoo.prepared import Stacked

COMPILED, RUN = 0.0, 1e9  # seconds that an operation takes to compile: nobody pays for a runtime, or everybody


@pytest.fixture(scope="module")
def key() -> Key:
    spec = make_spec("abstract", image=(9, 8, 3), classes=CLASSES, triggers=100)
    return derive_key(SECRET, spec, default_rule(spec))


@pytest.fixture
def zoo(tmp_path, key) -> Path:
    """Four families: a copy that takes pixels in 0..1, a stranger with two outputs, two alike, one of bytes."""
    zoo = tmp_path / "zoo"
    zoo.mkdir()
    write(zoo / "copy.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": marked(key)}))
    write(zoo / "several.onnx", several())
    for seed in range(2):
        write(zoo / f"residual-{seed}.onnx", residual(seed))
    bytes_of = "t = Transpose <perm=[0,3,1,2]> (x) f = Cast <to=1> (t) a = Flatten(f) y = MatMul(a, w)"
    write(zoo / "bytes.onnx", build(bytes_of, {"w": (216, 10)}, image="uint8[n,9,8,3] x"))
    return zoo


def audited(monkeypatch, zoo: Path, key: Key, seconds: float, out: Path | None = None) -> wmjax.AuditResult:
    monkeypatch.setattr(route, "_COMPILING", seconds)
    return wmjax.audit(zoo, {"key": key}, out=out)


def run_of(result: wmjax.AuditResult) -> set[str]:
    """Families that a runtime answered for, as the report says."""
    return families(result, AuditGround.RUNTIME)


def families(result: wmjax.AuditResult, code: AuditGround) -> set[str]:
    return {family for family, said in result.remarks.items() if any(ground.code == code for _, ground in said)}


def test_both_routes_give_the_same_verdicts(zoo, key, monkeypatch, tmp_path):
    here = audited(monkeypatch, zoo, key, COMPILED)
    there = audited(monkeypatch, zoo, key, RUN, tmp_path / "out")
    assert (run_of(here), run_of(there)) == (set(), set(here.families))
    assert here.models == there.models
    assert {f.verdict for f in there} == {"match", "no-match", "inconclusive"}
    for table in ("outcomes", "queries", "matches"):
        np.testing.assert_array_equal(getattr(here, table), getattr(there, table))
    np.testing.assert_allclose(here.bits, there.bits, atol=0.01)
    ((grounds, others),) = [(here.grounds[at], there.grounds[at]) for at in here.grounds]
    assert [g for g in others if g.code != AuditGround.RUNTIME] == list(grounds)  # the same digest among them
    again = wmjax.merge(tmp_path / "out", {"key": key})
    assert (again.remarks, again.grounds) == (there.remarks, there.grounds)


def test_the_runtime_is_taken_where_it_costs_less(zoo, key, monkeypatch):
    """A product costs a millisecond to compile, or a minute; a process starts in a fifth of a second at least."""
    assert run_of(audited(monkeypatch, zoo, key, 0.001)) == set()
    minute = audited(monkeypatch, zoo, key, 60.0)
    assert run_of(minute) == set(minute.families)


def test_a_runtime_that_fails_half_way_gives_way(zoo, key, monkeypatch):
    expected = audited(monkeypatch, zoo, key, COMPILED)
    calls = []

    def failing(askable: object, images: np.ndarray, classes: int) -> object:
        calls.append(len(images))
        if len(calls) > 3:
            raise AccessError("its process was killed")
        return answered(askable, images, classes)

    monkeypatch.setattr(panel, "answered", failing)
    found = audited(monkeypatch, zoo, key, RUN)
    assert len(calls) > 3
    assert run_of(found) == set()
    np.testing.assert_array_equal(found.outcomes, expected.outcomes)


@pytest.fixture
def endless(monkeypatch):
    """Compiling takes until the test ends, or raises what is put in the list."""
    ended, errors = threading.Event(), list[Exception]()

    def compile_(bench: Stacked, width: int | None) -> None:
        if errors:
            raise errors[0]
        ended.wait()

    monkeypatch.setattr(Stacked, "compile", compile_)
    monkeypatch.setattr(route, "_AT_LEAST", 0.01)
    yield errors
    ended.set()
    compiling._beside.submit(int).result()  # those that were given up have ended
    assert not compiling.left()


def test_a_compile_that_takes_too_long_is_given_up(zoo, key, monkeypatch, tmp_path, endless):
    monkeypatch.setattr(route, "_STARTING", 0.01)
    monkeypatch.setattr("wmjax.zoo.load.CHUNK_BYTES", 1)  # a chunk a model: the second of a family waits no more
    found = audited(monkeypatch, zoo, key, COMPILED, tmp_path / "out")
    assert (families(found, AuditGround.GIVEN_UP), run_of(found)) == (set(found.families), set())
    assert compiling.left()
    there = audited(monkeypatch, zoo, key, RUN)
    for table in ("outcomes", "bits", "queries", "matches"):
        np.testing.assert_array_equal(getattr(found, table), getattr(there, table))
    again = wmjax.merge(tmp_path / "out", {"key": key})
    assert (again.remarks, again.grounds) == (found.remarks, found.grounds)


def test_a_compile_that_fails_is_not_called_slow(zoo, key, monkeypatch, endless):
    endless.append(MemoryError())
    assert families(audited(monkeypatch, zoo, key, COMPILED), AuditGround.GIVEN_UP) == set()


def test_a_compile_that_was_taken_back_is_not_waited_for():
    """It had not begun: another one was being compiled; once that is done, it is tried again."""
    free = threading.Event()
    other, program = compiling._beside.submit(free.wait), compiling.Compiling(lambda: None)
    try:
        assert not program.within(0.0)
        waiting = threading.Thread(target=program.finish, daemon=True)
        waiting.start()
        waiting.join(10.0)
        assert not waiting.is_alive()
    finally:
        free.set()
    other.result()
    assert program.within(60.0)
    assert not compiling.left()


def test_a_compile_that_nobody_can_do_without_is_waited_for(zoo, key, monkeypatch):
    """The runtime fails: the program is not compiled a second time beside the first."""
    expected, compile_, ask_all = audited(monkeypatch, zoo, key, COMPILED), Stacked.compile, prepared.ask_all
    running = []

    def slowly(bench: Stacked, width: int | None) -> int | None:
        time.sleep(0.3)
        return compile_(bench, width)

    def failing(*given: object) -> object:
        raise AccessError("its process was killed")

    def looked_at(*given: object) -> object:
        running.append(compiling.left())
        return ask_all(*given)

    monkeypatch.setattr(Stacked, "compile", slowly)
    monkeypatch.setattr(route, "answered", failing)
    monkeypatch.setattr(prepared, "ask_all", looked_at)
    for name in ("_AT_LEAST", "_STARTING"):
        monkeypatch.setattr(route, name, 0.01)
    found = audited(monkeypatch, zoo, key, COMPILED)
    assert (running, families(found, AuditGround.GIVEN_UP)) == ([False] * len(set(found.families)), set())
    np.testing.assert_array_equal(found.outcomes, expected.outcomes)


def test_the_command_ends_while_something_is_still_compiled(zoo, tmp_path, run):
    run("keygen", "--scheme", "abstract", "--image", "9x8x3", "--classes", "10", "--triggers", "32", "--out", "keys/k")
    program = """
import sys, time
from wmjax import cli
from wmjax.zoo import route
from wmjax.zoo.prepared import Stacked
Stacked.compile = lambda *given: time.sleep(3600)
route._AT_LEAST = route._STARTING = .01
cli.console()
"""
    told = [sys.executable, "-c", program, "audit", str(zoo / "copy.onnx"), "--keys", "keys"]
    done = subprocess.run(told, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert "compiling it took longer" in Path("wmjax-audit/report.html").read_text()


def test_a_runtime_that_reads_other_outputs_is_not_asked(zoo, key):
    network, source = open_onnx(zoo / "several.onnx", Wanted.by([key.spec]))
    assert source.askable(network).suspect.asked
    fewer = dataclasses.replace(network, readings=network.readings[:1])
    with pytest.raises(wmjax.errors.InvalidFile, match="other outputs"):
        source.askable(fewer)


def test_a_file_that_is_replaced_after_it_was_read_is_not_run(zoo, key):
    """Else answers would be of one file, and the digest beside them of another."""
    network, source = open_onnx(zoo / "copy.onnx", Wanted.by([key.spec]))
    write(zoo / "copy.onnx", build("a = Flatten(x) y = MatMul(a, w)", {"w": (216, 10)}))
    with pytest.raises(wmjax.errors.WmjaxError, match="changed"):
        source.askable(network)


def test_the_report_says_so(zoo, key, monkeypatch, run):
    monkeypatch.setattr(route, "_COMPILING", RUN)
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")  # JAX has begun already
    run("keygen", "--scheme", "abstract", "--image", "9x8x3", "--classes", "10", "--triggers", "32", "--out", "keys/k")
    (zoo / "several.onnx").rename("one.onnx")
    _, out, err = run("audit", "one.onnx", "--keys", "keys", "--json")
    assert (json.loads(out)["models"], err) == (1, "")
    assert "run by ONNX Runtime" in Path("wmjax-audit/report.html").read_text()
