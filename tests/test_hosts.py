"""Runs of several processes: killed and resumed, wrong flags, processes that never come. Real processes, loopback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from fixtures import VGG, abstract_key
from orbax.checkpoint import v1 as ocp
from test_mapping import free_port
from test_train import leaves_equal

from wmjax import checkpoint, hosts
from wmjax.errors import AccessError, UsageError
from wmjax.keys import write_key
from wmjax.suspects.stored import load_variables

EMBED = ["embed", "--data", "digits", "--model", "vgg", "--batch", "128", "--epochs", "3", "--key-per-batch", "24"]
EMBED += ["--stream"]
WAIT = 300  # seconds that processes have to start, on a machine that does much else


def start(folder: Path, *arguments: object, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "wmjax", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def pair(folder: Path, *arguments: object, second: tuple[object, ...] = ()) -> list[subprocess.Popen]:
    meet = ["--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2, "--wait", WAIT]
    return [start(folder, *arguments, *(second if i else ()), *meet, "--process-id", i) for i in range(2)]


def ends(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    said = [process.communicate(timeout=2 * WAIT) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)]


@pytest.fixture(scope="module")
def key_options(tmp_path_factory) -> list[object]:
    folder = tmp_path_factory.mktemp("key")
    key = abstract_key(20)
    write_key(key, str(folder / "k"), recipients=[], passphrase=None)
    return ["--key", folder / "k.age", "--identity", folder / "k.identity"]


def test_killed_in_mid_run_then_resumed_equals_uninterrupted(tmp_path, key_options):
    """One process dies without warning; the other ends with one line; both resume, found by Slurm's variables."""
    killed = pair(tmp_path, *EMBED, *key_options, "--out", "killed")
    while not list(tmp_path.glob("killed/step-*/_CHECKPOINT_METADATA")):
        assert killed[0].poll() is None
        time.sleep(0.01)
    os.kill(killed[1].pid, signal.SIGKILL)
    (code, out, err), (dead, _, _) = ends(killed)
    assert (code, dead) == (5, -signal.SIGKILL)
    assert out == ""
    begun, end = err.splitlines()
    assert begun == "wmjax: 2 devices in 2 processes"
    assert end.startswith("wmjax: another process of this run ended")
    assert "--resume" in end

    slurm = {"SLURM_JOB_ID": str(free_port()), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    slurm |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    resumed = [
        start(
            tmp_path, *EMBED, *key_options, "--out", "killed", "--resume", "--json",
            **slurm, SLURM_PROCID=str(i), SLURM_LOCALID=str(i),
        )
        for i in range(2)
    ]  # fmt: skip
    (code, out, err), (other, silence, _) = ends(resumed)
    assert (code, other) == (0, 0), err
    assert out.startswith('{"version": 1')
    assert silence == ""
    assert [code for code, _, _ in ends(pair(tmp_path, *EMBED, *key_options, "--out", "whole"))] == [0, 0]
    paths = [checkpoint.latest(tmp_path / run) for run in ("killed", "whole")]
    assert paths[0].name == paths[1].name == "step-00000033"
    assert leaves_equal(*(load_variables(str(path))[1] for path in paths))


def test_a_process_lost_while_a_checkpoint_is_written_is_told_as_lost(tmp_path, monkeypatch):
    """Orbax waits for the others, too: where that fails the checkpoint is not at fault."""

    def save(*_, **__):
        raise TimeoutError("Timeout waiting at barrier 'finalize'. The original error raised was: ...")

    monkeypatch.setattr(ocp, "save", save)
    model = checkpoint.Metadata(VGG)
    with pytest.raises(AccessError, match="cannot write checkpoint"):
        checkpoint.save(tmp_path / "alone", {}, model)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(AccessError, match="another process of this run ended"):
        checkpoint.save(tmp_path / "of-two", {}, model)


def test_two_keys_or_flags_in_one_run_are_refused_by_both(tmp_path, key_options):
    processes = pair(tmp_path, *EMBED, *key_options, "--out", "run", second=("--seed", 5))
    for code, out, err in ends(processes):
        assert code == 2
        assert out == ""
        assert (
            err.splitlines()[-1] + "\n"
            == "wmjax: process 1 runs with another seed than process 0: start all with the same\n"
        )
    assert not (tmp_path / "run").exists()


def test_a_process_that_waits_in_vain_says_so(tmp_path):
    where = f"127.0.0.1:{free_port()}"
    meet = ["--coordinator", where, "--processes", 2, "--process-id", 1, "--wait", 1]
    alone = [start(tmp_path, *EMBED, "--out", "run", *meet)]
    [(code, out, err)] = ends(alone)
    assert (code, out) == (5, "")
    assert err.startswith(f"wmjax: the processes of this run did not all meet at {where} within 1 s")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("h:1", None, 0), "belong together"),
        ((None, 2, None), "belong together"),
        (("h", 2, 0), "HOST:PORT"),
        (("h:99999", 2, 0), "HOST:PORT"),
        (("h:1", 2, 2), r"`process_id` 2: must be in 0\.\.1"),
        (("h:1", 2, -1), "`process_id` -1"),
    ],
)
def test_impossible_meetings(given, words):
    with pytest.raises(UsageError, match=words):
        hosts.meeting(*given, wait=1)
    with pytest.raises(UsageError, match="`wait` 0"):
        hosts.meeting(None, None, None, wait=0)


def test_a_process_on_its_own(monkeypatch):
    for name in ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_NODELIST"):
        monkeypatch.delenv(name, raising=False)
    assert hosts.meeting(None, None, None, wait=1) is None
    assert hosts.is_first()
    assert hosts.share() == (0, 1)
    hosts.agree({"seed": 1, "key": None})
    np.testing.assert_array_equal(hosts.gather(np.arange(3)), [[0, 1, 2]])
    np.testing.assert_array_equal(hosts.concatenate(np.arange(3), [3]), [0, 1, 2])


def test_one_process_that_cannot_begin_ends_both_at_once(tmp_path, key_options):
    """A key file that one of them lacks; the other does not wait for a heartbeat."""
    lacking = [tmp_path / "none.age" if word == key_options[1] else word for word in key_options]
    (code, out, err), (other, _, reason) = ends(pair(tmp_path, *EMBED, *key_options, "--out", "run", second=lacking))
    assert (code, other) == (5, 5)
    assert out == ""
    assert err == "wmjax: process 1 could not begin: see what it printed\n"
    assert reason.startswith("wmjax: cannot read")
    assert "none.age" in reason


SUPERVISED = """
import os, signal, sys, time
from wmjax.cli.terminal import note
from wmjax.hosts import Meeting, supervise
def work():
    {work}
sys.exit(supervise(work, Meeting("h:1", 2, 0), note))
"""


@pytest.mark.parametrize(
    ("work", "code", "out", "err"),
    [
        ("os.write(1, b'noise'); print('said'); return 3", 3, "said\n", ""),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            137,
            "",
            "wmjax: this process was ended by SIGKILL: the host has run out",
        ),
        ("os.write(2, b'gone\\n'); os.abort()", 5, "", "wmjax: the runtime ended this process: gone\n"),
        ("raise ZeroDivisionError", 5, "", "Traceback"),
        ("os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)", 143, "", "wmjax: this process was ended by SIGTERM"),
    ],
)
def test_a_supervised_end_is_told(work, code, out, err):
    done = subprocess.run(
        [sys.executable, "-c", SUPERVISED.format(work=work)], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr.startswith(err)


def test_a_signal_that_comes_before_its_handler_is_passed_on():
    """The parent may be slow to go on where it was split: it ended alone, and the child worked on for nobody."""
    late = "    child = fork()\n    child and time.sleep(1)\n    return child\n"
    slow = f"import os, time\nfork = os.fork\ndef late():\n{late}os.fork = late\n"
    script = SUPERVISED.format(work="os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)")
    done = subprocess.run(
        [sys.executable, "-c", slow + script], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (143, "")
    assert done.stderr.startswith("wmjax: this process was ended by SIGTERM")


def test_a_child_ends_with_its_parent():
    script = SUPERVISED.format(work="print(os.getpid(), flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the child goes on without its parent")
