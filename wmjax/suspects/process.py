"""A suspect's function in a process of its own, which holds no secret and can spoil nothing but its answers. No JAX.

The process has a clean environment, a session of its own, a limit of memory and one of time for each answer. It sees
pictures as a service would, one or several a call. What it prints goes to stderr. It stands in the user's working
folder, where its module is looked for first; the parent imports nothing from there. One that ended is not started
again: whoever asks it then is told so (`GoneError`).

It is not a sandbox: it may read the files that its user may, and use the network. Keep keys where that user has none,
or run disputes as a user of their own.

A call costs 0.2 ms beyond the function's own time with one picture of 32x32x3, 0.3 ms with 16; starting takes 0.15 s
beside the module's own imports (2 CPU cores, a function that answers zeros).
"""

import contextlib
import ctypes
import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wmjax import programs
from wmjax.devices import host_bytes
from wmjax.errors import AccessError, AnswerError, GoneError, NoAnswerError, UsageError
from wmjax.suspects import child
from wmjax.suspects.contract import TIMEOUT
from wmjax.suspects.query import LONGEST_CAME
from wmjax.text import printable

STARTING = 300.0  # seconds for imports, and for a first answer: programs are compiled then
_DYING = 5.0  # seconds for what it has still said to arrive
_PER_IMAGE = 1.0  # seconds more for each image of a call but the first
_PROGRAM = """
import json, runpy, sys
sys.path[:] = json.loads(sys.argv.pop(1))
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
# What a child is told of the environment. The rest may be secret; what a function needs is called `SUSPECT_...`.
_KEPT = re.compile(
    "PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|TZ|TMPDIR|TEMP|TMP|SYSTEMROOT|LD_LIBRARY_PATH|VIRTUAL_ENV|CONDA_PREFIX"
    "|(http|https|all|no)_proxy|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
    "|(LC|XDG|SSL_CERT|CUDA|NVIDIA|JAX|XLA|TF|OMP|MKL|OPENBLAS|SUSPECT)_.*",
    re.IGNORECASE,
)
_A_FUNCTIONS = re.compile("SUSPECT_.*|.*_proxy", re.IGNORECASE)


def start(
    name: str,
    title: str = "",
    *,
    timeout: float = TIMEOUT,
    first: float = STARTING,
    at_once: int = 1,
    memory: int | None = None,
    argument: str = "",
    program: Path = Path(child.__file__),
) -> Callable[[np.ndarray], Any]:
    """The function `module:function` of a new process, to be called from any thread; it ends with the last reference.

    It raises `NoAnswerError` if no answer came, `GoneError` if none will come any more, since the process ended, took
    too long and was ended, or cannot reach its own server; `AnswerError` if the answer was not an array of numbers.

    Args:
      name: `module:function`.
      title: what messages call the suspect; its name by default.
      timeout: seconds for an answer.
      first: seconds for the first one, if that is more.
      at_once: calls that the process makes at once.
      memory: bytes that it may take; by default half of what this machine has.
      argument: where given, what is named makes the function of it: it is of wmjax, for a file.
      program: that the process runs, if it is another one.

    Raises:
      UsageError: there is no such function, or its module cannot be imported.
    """
    hide()
    process = _Process(title or name, program, [name, str(at_once), str(memory or host_bytes() // 2), argument])
    try:
        process.begin()
    except BaseException:  # an interrupt, too: it listens to nobody yet
        process.close()
        raise
    function = _Function(process, timeout, max(first, timeout))
    weakref.finalize(function, process.close)
    return function


def hide() -> None:
    """From now on no process of this user may read this one's memory or environment; one of root may."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE


def _environment(*, theirs: bool) -> dict[str, str]:
    """What a program is told: what is a function's own secret, and the way to the network, only the user's is."""
    kept = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    kept.pop(programs.VARIABLE, None)  # what a stranger's process left there, this one would run
    if not theirs:
        kept = {name: value for name, value in kept.items() if not _A_FUNCTIONS.fullmatch(name)}
    return {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", **kept}  # a parent on the same GPU keeps its share


def command(program: Path, *arguments: str) -> list[str]:
    """What starts a Python program that finds the parent's packages, and nothing in the working folder."""
    python = [sys.executable, *(["-S"] if sys.flags.no_site else []), "-I", "-B"]
    folders = [folder for folder in sys.path if folder not in ("", ".")]
    return [*python, "-c", _PROGRAM, json.dumps(folders), str(program), *arguments]


class _Function:
    """What `start` gives; nothing else refers to it, so that its end is the process's."""

    def __init__(self, process: "_Process", timeout: float, first: float):
        self._process, self._timeout, self._limit = process, timeout, first

    def __call__(self, images: np.ndarray) -> Any:
        limit, self._limit = self._limit, self._timeout
        most = max(1, child.LARGEST // 2 // max(1, images[:1].nbytes))  # pictures that go in a frame
        parts = [images[at : at + most] for at in range(0, len(images), most)] or [images]
        answers = [self._process.ask(part, limit + _PER_IMAGE * max(0, len(part) - 1)) for part in parts]
        return answers[0] if len(answers) == 1 else np.concatenate(answers)


class _Process:
    """A child, the three threads that listen to it, and who waits for which answer."""

    def __init__(self, title: str, program: Path, arguments: list[str]):
        self._title = title
        self._why, self._ended = "", False
        self._numbers = itertools.count(1)
        self._waiting: dict[int, queue.SimpleQueue[tuple[int, bytes] | None]] = {0: queue.SimpleQueue()}
        self._changing, self._writing = threading.Lock(), threading.Lock()
        self._child = subprocess.Popen(
            command(program, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(theirs=program == Path(child.__file__) and not arguments[-1]),
            start_new_session=True,
        )
        self._listening = [
            threading.Thread(target=work, args=(pipe,), daemon=True)
            for work, pipe in ((self._read, self._child.stdout), (_relay, self._child.stderr))
        ]
        self._watching = threading.Thread(target=self._watch, daemon=True)
        for thread in (*self._listening, self._watching):
            thread.start()

    def begin(self) -> None:
        """Waits until it is ready; raises as `start` does."""
        try:
            kind, text = self._wait(0, STARTING)
        except AccessError as error:
            raise UsageError(f"suspect {self._title}: {self._why}") from error
        if kind != child.READY:
            self.close()
            raise UsageError(f"suspect {self._title}: {_text(text)}")

    def ask(self, images: np.ndarray, limit: float) -> np.ndarray:
        """Asks once; raises as the function that `start` gives."""
        with self._changing:
            number = next(self._numbers)
            self._waiting[number] = queue.SimpleQueue()
            if self._ended:
                self._waiting[number].put(None)
        kind, payload = self._wait(number, limit, child.pack(images))
        if kind in (child.FAILED, child.REFUSED):
            failure = NoAnswerError if kind == child.FAILED else GoneError
            raise failure(f"suspect {self._title} failed to answer: {_text(payload)}")
        if kind == child.ARRAY:
            with contextlib.suppress(ValueError, RecursionError):
                return child.unpack(payload)
        raise AnswerError(f"suspect {self._title} answered with no array of numbers", _text(payload))

    def _wait(self, number: int, limit: float, question: bytes | None = None) -> tuple[int, bytes]:
        """What comes back within a time that counts from the sending: a child may stop reading, too."""
        timer = threading.Timer(limit, self.end, [f"did not answer within {limit:g} seconds"])
        timer.daemon = True
        timer.start()
        try:
            if question is not None:
                with self._writing, contextlib.suppress(OSError, ValueError):  # it has ended: the watch tells how
                    child.write(self._child.stdin, number, child.ARRAY, question)  # type: ignore[arg-type]
            back = self._waiting[number].get()
        finally:
            timer.cancel()
            del self._waiting[number]
        if back is None:
            raise GoneError(f"suspect {self._title} {self._why}")
        return back

    def end(self, why: str) -> None:
        """Kills it, and whatever it started in its session."""
        self._why = self._why or why
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)

    def close(self) -> None:
        """Ends it, and waits until all that it said is told."""
        if not self._ended:
            self.end("was ended")
        self._watching.join(2 * _DYING)

    def _read(self, answers: BinaryIO) -> None:
        """Hands answers to those who wait for them."""
        try:
            while True:
                number, kind, payload = child.read(answers)
                if box := self._waiting.get(number):
                    box.put((kind, payload))
        except EOFError:
            self.end("")
        except (ValueError, OSError, MemoryError):
            self.end("sent what is not an answer")

    def _watch(self) -> None:
        """Tells those who wait when the child has ended, and how; what it started ends with it."""
        os.waitid(os.P_PID, self._child.pid, os.WEXITED | os.WNOWAIT)  # its number is not given to another yet
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)
        code = self._child.wait()
        for thread in self._listening:
            thread.join(_DYING)  # what it forked into another session may keep a pipe open
        how = f"ended with exit code {code}" if code >= 0 else f"was killed by signal {-code}"
        with self._changing:
            self._why = self._why or f"answers no more: its process {how}"
            self._ended = True
            for box in list(self._waiting.values()):
                box.put(None)
        with contextlib.suppress(OSError):  # what was not sent
            self._child.stdin.close()  # type: ignore[union-attr]
        if not any(thread.is_alive() for thread in self._listening):
            for pipe in (self._child.stdout, self._child.stderr):
                pipe.close()  # type: ignore[union-attr]


def _relay(pipe: BinaryIO) -> None:
    """What the child prints is told on stderr, line by line, and can steer no terminal."""
    while line := pipe.readline(1 << 16):
        with contextlib.suppress(ValueError, OSError):  # it may be closed
            print(printable(line.decode(errors="replace").rstrip("\r\n").expandtabs()), file=sys.stderr, flush=True)


def _text(payload: bytes) -> str:
    return printable(payload[: 4 * LONGEST_CAME].decode(errors="replace"))[:LONGEST_CAME]
