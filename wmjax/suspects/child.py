"""The program of a suspect's own process: imports `module:function`, and answers what its parent asks.

`process` starts it. It imports nothing of wmjax, is told no secret, and inherits no descriptor but its three pipes.
Each way goes a frame: a number, what it is, its length, and then that many bytes.
"""

import importlib
import json
import math
import os
import queue
import re
import reprlib
import signal
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import numpy as np

HEAD = struct.Struct("<IBQ")
ARRAY, OTHER, FAILED, READY, REFUSED = range(5)  # a frame's array, answer that is none, error, nothing, lost server
LARGEST = 1 << 28  # bytes of a frame
_LONGEST = 200  # characters of a text
_DEEPEST = 20  # errors behind an error
_DTYPE = re.compile(r"[<>|]([biuf]\d{1,2}|U\d{1,4})")


def pack(array: np.ndarray) -> bytes:
    """An array of numbers or of text as a frame's bytes: dtype and shape in a line of JSON, then its values."""
    return json.dumps([array.dtype.str, list(array.shape)]).encode() + b"\n" + array.tobytes()


def unpack(payload: bytes) -> np.ndarray:
    """The array, which cannot be written to; no more memory is taken than there are bytes.

    >>> unpack(pack(np.arange(3, dtype=np.uint8))).tolist()
    [0, 1, 2]

    Raises:
      ValueError: the bytes are no such array, or not as many as it says.
    """
    end = payload.index(b"\n", 0, 1024)
    match json.loads(payload[:end]):
        case [str(dtype), list(shape)] if _DTYPE.fullmatch(dtype) and len(shape) <= 32:
            if not all(type(n) is int and n >= 0 for n in shape):
                raise ValueError("no shape")
        case _:
            raise ValueError("no array of numbers")
    values = memoryview(payload)[end + 1 :]
    try:
        kind = np.dtype(dtype)
    except TypeError as error:
        raise ValueError("no dtype") from error
    if math.prod(shape) * kind.itemsize != len(values):
        raise ValueError("it is not as long as it says")
    if kind.kind == "U" and (np.ndarray(len(values) // 4, f"{dtype[0]}u4", values) > sys.maxunicode).any():
        raise ValueError("no characters")
    return np.ndarray(tuple(shape), kind, values)


def write(pipe: BinaryIO, number: int, kind: int, payload: bytes = b"") -> None:
    """Sends a frame."""
    pipe.write(HEAD.pack(number, kind, len(payload)) + payload)
    pipe.flush()


def read(pipe: BinaryIO) -> tuple[int, int, bytes]:
    """The next frame.

    Raises:
      EOFError: there is no further one.
      ValueError: it is larger than any may be.
    """
    number, kind, length = HEAD.unpack(_exactly(pipe, HEAD.size))
    if length > LARGEST:
        raise ValueError("it is larger than any may be")
    return number, kind, _exactly(pipe, length)


def _exactly(pipe: BinaryIO, length: int) -> bytes:
    found = pipe.read(length)
    if len(found) < length:
        raise EOFError
    return found


class _Answering:
    """The function, what it is still asked, and the way back."""

    def __init__(self, ask: Callable[[np.ndarray], Any], pipe: BinaryIO):
        self._ask, self._pipe = ask, pipe
        self._todo: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._writing = threading.Lock()

    def listen(self, questions: BinaryIO) -> None:
        """Reads on a thread of its own, so that the end of the parent is noticed while the function hangs."""
        try:
            while True:
                number, _, payload = read(questions)
                self._todo.put((number, payload))
        finally:
            os.killpg(0, signal.SIGKILL)

    def work(self) -> None:
        """Answers one question after another."""
        while True:
            number, payload = self._todo.get()
            try:
                kind, answer = _shown(self._ask(unpack(payload).copy()))
            except BaseException as error:  # whatever a stranger's code raises is its failure to answer
                kind, answer = REFUSED if is_refused(error) else FAILED, _told(error)
            _flush()
            with self._writing:
                write(self._pipe, number, kind, answer)


def _shown(raw: Any) -> tuple[int, bytes]:
    """An answer as a frame: its array, or what came in the place of one."""
    try:
        array = np.asarray(raw)
    except Exception:  # ragged lists, tensors that will not leave their device, ...
        array = np.empty(0, object)
    if _DTYPE.fullmatch(array.dtype.str) and array.nbytes < LARGEST - 1024:
        return ARRAY, pack(array)
    form = f" {raw.dtype} {list(raw.shape)}" if hasattr(raw, "dtype") else ""
    return OTHER, f"{type(raw).__name__}{form}: {reprlib.repr(raw)}"[:_LONGEST].encode(errors="replace")


def is_refused(error: BaseException | None) -> bool:
    """Whether an error comes of a server that takes no calls, whatever a client's library makes of that.

    >>> is_refused(ConnectionRefusedError()), is_refused(ConnectionResetError())
    (True, False)
    """
    for _ in range(_DEEPEST):
        if error is None or isinstance(error, ConnectionRefusedError):
            break
        error = error.__cause__ or error.__context__
    return isinstance(error, ConnectionRefusedError)


def _told(error: BaseException) -> bytes:
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__} {first}".rstrip()[:_LONGEST].encode(errors="replace")


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # the function may have closed it
            continue


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """The ways to and from the parent; what the function reads is empty, and what it prints goes to stderr."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.dup2(2, 1)
    os.close(empty)
    return questions, answers


def _limit(memory: int) -> None:
    """No core is dumped, and no more memory taken than this; not on systems that know no such limits."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = memory if hard == resource.RLIM_INFINITY else min(memory, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (ImportError, AttributeError, ValueError, OSError):
        return


def serve(make: Callable[[], Callable[[np.ndarray], Any]], at_once: int, memory: int) -> None:
    """Answers for ever.

    Args:
      make: gives the function that answers.
      at_once: calls that may be made at once; the only one is made on the main thread.
      memory: bytes of data that the process may have.
    """
    questions, answers = _take_pipes()
    _limit(memory)
    try:
        answering = _Answering(make(), answers)
    except BaseException as error:
        _flush()
        write(answers, 0, FAILED, _told(error))
        return
    _flush()
    write(answers, 0, READY)
    threading.Thread(target=answering.listen, args=(questions,), daemon=True).start()
    for _ in range(at_once - 1):
        threading.Thread(target=answering.work, daemon=True).start()
    answering.work()


def _imported(name: str, argument: str) -> Callable[[np.ndarray], Any]:
    """The user's function, whose module is looked for in the working folder first; or what wmjax's makes of a file."""
    module, attribute = name.split(":")
    sys.argv = [name]
    if not argument:  # else the folder may be a stranger's zoo
        sys.path.insert(0, os.getcwd())
    function: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return function(argument) if argument else function


if __name__ == "__main__":
    serve(partial(_imported, sys.argv[1], sys.argv[4]), int(sys.argv[2]), int(sys.argv[3]))
