"""Several processes, one run: how they meet, agree, share out the reading, and end clearly when one is lost.

JAX's runtime ends a process by abort, with a stack trace, when another one of the run is lost or never comes. So a
process that belongs to a run works in a child, whose parent turns such a death into one line and an exit code
(`supervise`).
"""

import contextlib
import dataclasses
import hashlib
import importlib.util
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.text import first_line

LOST = "another process of this run ended or stopped answering: see what it printed, then start all with `resume`"
_SIGNS = ("unavailable", "gloo", "nccl", "connection", "heartbeat", "aborted", "barrier")  # of a loss, in errors
_SILENCE = 30  # seconds without a heartbeat after which a process counts as lost


@dataclasses.dataclass(frozen=True)
class Meeting:
    """Where the processes of a run meet.

    Attributes:
      coordinator: HOST:PORT of process 0; None where JAX finds all of this by itself (TPU pods, Slurm).
      processes: in all.
      process_id: of this one, from 0.
      wait: seconds to wait for the others.
    """

    coordinator: str | None = None
    processes: int | None = None
    process_id: int | None = None
    wait: int = 300


def meeting(coordinator: str | None, processes: int | None, process_id: int | None, wait: int) -> Meeting | None:
    """The meeting that the command line or the machine asks for; None for a process on its own.

    Raises:
      UsageError: some of the three are missing or cannot be.
    """
    if wait < 1:
        raise UsageError(f"`wait` {wait}: must be at least 1")
    given = [value is not None for value in (coordinator, processes, process_id)]
    if not any(given):
        return Meeting(wait=wait) if _in_pod() or _in_slurm_step() else None
    if not all(given) or coordinator is None or processes is None or process_id is None:
        raise UsageError("`coordinator` HOST:PORT, `processes` N and `process_id` I belong together")
    host, colon, port = coordinator.rpartition(":")
    if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
        raise UsageError(f"`coordinator` {coordinator}: must be HOST:PORT")
    if not 0 <= process_id < processes:
        raise UsageError(f"`process_id` {process_id}: must be in 0..{processes - 1}, below `processes`")
    return Meeting(coordinator, processes, process_id, wait)


def _in_slurm_step() -> bool:
    """Whether `srun` started several of us."""
    return "SLURM_STEP_NODELIST" in os.environ and int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1


def _in_pod() -> bool:
    """Whether this is a Cloud TPU host, perhaps of several: JAX asks the machine's own metadata."""
    chips = any(Path(device).exists() for device in ("/dev/accel0", "/dev/vfio/0"))
    named = os.environ.get("TPU_PROCESS_ADDRESSES") or os.environ.get("TPU_WORKER_HOSTNAMES")
    alone = named is not None and "," not in named and "MEGASCALE_COORDINATOR_ADDRESS" not in os.environ
    return chips and not alone and importlib.util.find_spec("libtpu") is not None


def join(place: Meeting) -> None:
    """Meets the other processes; afterwards `jax.devices()` are those of all of them."""
    import jax

    # on by default, it catches SIGTERM and waits for the program to ask; ours ends, and is resumed
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            place.coordinator,
            place.processes,
            place.process_id,
            cluster_detection_method="deactivate" if place.coordinator else None,
            initialization_timeout=place.wait,
            heartbeat_timeout_seconds=_SILENCE,
        )
    except (RuntimeError, ValueError, OSError) as error:
        where = f" at {place.coordinator}" if place.coordinator else ""
        first = first_line(error)
        raise AccessError(f"cannot meet the other processes of this run{where}: {first:.200}") from error


@contextlib.contextmanager
def losses_told() -> Iterator[None]:
    """Turns what a collective raises when another process is gone, or Orbax for it, into one line."""
    import jax

    try:
        yield
    except (jax.errors.JaxRuntimeError, TimeoutError) as error:
        if jax.process_count() == 1 or not any(sign in str(error).lower() for sign in _SIGNS):
            raise
        raise AccessError(f"{LOST} ({first_line(error, 160)})") from error


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Work in which one process may fail: then all of them end, each with its own line, and none is left waiting.

    Nothing that waits for other processes may happen inside: one that failed would not be there.
    """
    failure: WmjaxError | None = None
    try:
        yield
    except WmjaxError as error:
        failure = error
    failed = np.flatnonzero(gather(np.array([failure is not None], np.int32)))
    if failure is None and len(failed):
        failure = AccessError(f"process {failed[0]} could not begin: see what it printed")
    if failure is not None:
        leave()
        raise failure


def leave() -> None:
    """Waits for the others and parts from them."""
    import jax

    if jax.process_count() > 1:
        jax.distributed.shutdown()


def supervise(work: Callable[[], int], place: Meeting, say: Callable[[str], None]) -> int:
    """Runs `work` in a child process, gives its exit code, and says in one line what JAX's runtime said while dying."""
    output, alive = os.pipe(), os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # until they are passed on
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(output[0])
        os.close(alive[1])
        _work_as_child(work, output[1], alive[0])
    os.close(output[1])
    os.close(alive[0])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the child gets it as well, and ends
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(child, number))
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    said = _tail(output[0])
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if code >= 0:
        return code
    if os.environ.get("WMJAX_TRACEBACK"):
        print(said, file=sys.stderr)
    aborted = code == -signal.SIGABRT
    say(_reason(said, place) if aborted else _killed(-code))
    return AccessError.exit_code if aborted else 128 - code


def _work_as_child(work: Callable[[], int], output: int, alive: int) -> None:
    """Never returns. Python goes on writing to the terminal; the runtime's own output goes to the parent."""
    code = AccessError.exit_code
    try:
        sys.stdout, sys.stderr = (os.fdopen(os.dup(descriptor), "w", buffering=1) for descriptor in (1, 2))
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the runtime aborts, with the opened key in memory
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)  # no exit handlers: JAX's would wait for processes that are gone


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # returns when the parent is gone, killed perhaps
    os._exit(AccessError.exit_code)


def _tail(pipe: int) -> str:
    """Everything from a pipe up to its end; only the last of it is kept."""
    kept = b""
    while chunk := os.read(pipe, 1 << 16):
        kept = (kept + chunk)[-(1 << 16) :]
    return kept.decode(errors="replace")


def _killed(number: int) -> str:
    name = signal.Signals(number).name
    why = ": the host has run out of memory, perhaps" if number == signal.SIGKILL else ""
    return f"this process was ended by {name}{why}"


def _reason(said: str, place: Meeting) -> str:
    if "RegisterTask" in said:
        where = place.coordinator or "the coordinator that JAX found"
        return (
            f"the processes of this run did not all meet at {where} within {place.wait} s: start every one of them, "
            "with the same `coordinator` and `processes`, and open its port"
        )
    if "distributed service" in said:
        return LOST
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "no reason given")
    return f"the runtime ended this process: {last.strip():.300}"


def is_first() -> bool:
    """Whether this process writes what only one should write."""
    import jax

    return bool(jax.process_index() == 0)


def share() -> tuple[int, int]:
    """Which of how many processes this is: the part of the data that it reads."""
    import jax

    return jax.process_index(), jax.process_count()


def gather(array: np.ndarray) -> np.ndarray:
    """Every process's array of one shape, stacked in their order."""
    if share()[1] == 1:
        return array[None]
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(array)).reshape(share()[1], *array.shape)


def everyone(flag: bool) -> bool:
    """Whether the flag is set in every process."""
    return bool(gather(np.array([flag], np.int32)).all())


def concatenate(part: np.ndarray, sizes: list[int]) -> np.ndarray:
    """Every process's rows one after the other; `sizes` are their numbers."""
    if len(sizes) == 1:
        return part
    padded = np.concatenate([part, np.zeros((max(sizes) - len(part), *part.shape[1:]), part.dtype)])
    return np.concatenate([rows[:size] for rows, size in zip(gather(padded), sizes, strict=True)])


def agree(settings: dict[str, Any]) -> None:
    """Raises `UsageError` in every process where they were not all given the same.

    Digests travel, not settings; a key is in them by the name of its public commitment.
    """
    digests = [hashlib.sha256(f"{name}={value!r}".encode()).digest()[:8] for name, value in settings.items()]
    everyone = gather(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 8))
    differing = np.argwhere((everyone != everyone[0]).any(axis=2))
    if len(differing):
        process, setting = differing[0]
        name = list(settings)[setting]
        leave()  # all of them are here, and end
        raise UsageError(f"process {process} runs with another {name} than process 0: start all with the same")
