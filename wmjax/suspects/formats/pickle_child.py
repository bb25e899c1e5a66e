"""The program of processes that open one PyTorch file each and may do nothing else: its tensors come as safetensors.

`pickles` starts it. It is told no secret, and forks for each file, which is then standard
input. Before a process looks into its file it gives up what it can: it takes a bounded share of memory and of time and
writes no file; on Linux it has no network and, where the kernel has Landlock, opens no file but this one.
`torch.load(weights_only=True)` builds tensors and plain containers, and refuses whatever would run code; of archives
that hold programs `torch_archives` reads the tensors.
"""

import codecs
import ctypes
import importlib
import io
import json
import os
import re
import resource
import signal
import socket
import struct
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

_FILE = "/proc/self/fd/0" if os.path.exists("/proc/self/fd/0") else "/dev/fd/0"
_NEWUSER, _NEWNET, _NO_NEW_PRIVS = 0x10000000, 0x40000000, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # Landlock's calls, on every processor alike
_READ_FILE = 1 << 2
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}  # over files, by Landlock's version
_ALL_RIGHTS = (1 << 16) - 1
_TCP, _OTHERS = 3, 3  # listening and connecting; sockets and signals of processes outside
TIMES = 4  # bytes of all tensors by those of the file: some are stored under two names
_DEEPEST = 16  # dictionaries in dictionaries
_PIECE = 1 << 24  # numbers that are written at once
REQUEST = struct.Struct("=QQ")
READY = b"+"
_CODES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


class Refused(Exception):
    """Why a file is not read, in a line."""


def without_network() -> None:
    """Leaves the network behind, on systems where a user may; before there is a second thread."""
    if sys.platform == "linux":
        ctypes.CDLL(None).unshare(_NEWUSER | _NEWNET)


def without_files() -> bool:
    """From now on no file but standard input is opened, and nobody outside is reached; False where no kernel can."""
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    handled = struct.pack("=Q", _RIGHTS.get(version, _ALL_RIGHTS))
    handled += struct.pack("=Q", _TCP) if version >= 4 else b""
    handled += struct.pack("=Q", _OTHERS) if version >= 6 else b""
    rules = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if rules < 0:
        return False
    libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", _READ_FILE, 0), 0)
    done = bool(libc.syscall(_RESTRICT_SELF, rules, 0) == 0)
    os.close(rules)
    return done


def without_writing() -> None:
    """From now on no thread writes to a file, whatever it has opened."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def limited(memory: int, seconds: int) -> None:
    """No file is written, no core dumped, no more memory or time taken than this, no process or thread started."""
    for kind, most in (
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        bound = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (bound, bound))


def tensors_in(value: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """The tensors in nested dictionaries and lists, by the path to each with dots between."""
    if hasattr(value, "numel"):
        yield name or "tensor", value
    elif isinstance(value, dict | list | tuple) and depth < _DEEPEST:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            called = ".".join(map(str, key)) if isinstance(key, tuple) else str(key)
            yield from tensors_in(item, f"{name}.{called}" if name else called, depth + 1)


def load(torch: Any, size: int) -> dict[str, Any]:
    """The file's tensors by name.

    Raises:
      Refused: it holds anything else than tensors and containers, or tensors that are larger than the file.
    """
    try:
        found = _found(torch, TIMES * size)
    except MemoryError:
        raise
    except Exception as error:
        raise Refused(_reason(error)) from error
    tensors: dict[str, Any] = {}
    left = TIMES * size
    for name, tensor in tensors_in(found):
        kind = str(tensor.dtype).removeprefix("torch.")
        if name in tensors:
            raise Refused(f"two of its tensors are called {name:.80}")
        if tensor.is_quantized:
            raise Refused(f"its tensor {name:.80} was quantised by PyTorch ({kind}): export the model to ONNX")
        if kind not in _CODES or tensor.layout != torch.strided or tensor.device.type != "cpu":
            layout = "" if tensor.layout == torch.strided else f", {str(tensor.layout).removeprefix('torch.')}"
            raise Refused(f"its tensor {name:.80} is of a kind that is not read: {kind}{layout}")
        left -= tensor.numel() * tensor.element_size()
        if left < 0:
            raise Refused("its tensors are larger than the file is")
        tensors[name] = tensor.detach()
    if not tensors:
        raise Refused("it holds no tensors")
    return tensors


def _found(torch: Any, most: int) -> Any:
    from wmjax.suspects.formats.torch_archives import programs_tensors

    with open(_FILE, "rb") as file:
        zipped = file.read(4) == b"PK\3\4"
        programs = programs_tensors(torch, file, most) if zipped else None
    return torch.load(_FILE, map_location="cpu", weights_only=True, mmap=zipped) if programs is None else programs


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if wanted := re.search(r"GLOBAL ([\w.]+)", text):
        return f"it holds more than tensors ({wanted[1]:.80}): have only its `state_dict()` saved"
    if "weights only load failed" in text.lower():
        return "PyTorch did not write it, or not with tensors alone: have its `state_dict()` saved by torch.save"
    return f"no file of PyTorch's with tensors alone: {type(error).__name__} {text:.120}"


def write(torch: Any, tensors: dict[str, Any], out: BinaryIO) -> None:
    """Writes them as safetensors, a piece at a time."""
    header, at = {}, 0
    for name, tensor in tensors.items():
        end = at + tensor.numel() * tensor.element_size()
        code = _CODES[str(tensor.dtype).removeprefix("torch.")]
        header[name] = {"dtype": code, "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    raw = json.dumps(header).encode()
    out.write(len(raw).to_bytes(8, "little") + raw)
    out.flush()
    for tensor in tensors.values():
        flat = tensor.contiguous().reshape(-1)
        for start in range(0, len(flat), _PIECE):
            out.write(flat[start : start + _PIECE].view(torch.uint8).numpy().tobytes())
    out.flush()


def work(torch: Any, memory: int, seconds: int) -> int:
    """Opens the file that is standard input; tensors go to standard output, a reason to what was standard error.

    What libraries say on their way is not a reason.
    """
    reasons = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    os.setsid()
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # nobody wants to hear more
    signal.alarm(seconds)
    limited(memory, seconds)
    without_files()
    try:
        with os.fdopen(1, "wb", closefd=False) as out:
            write(torch, load(torch, os.fstat(0).st_size), out)
    except (Refused, MemoryError) as error:
        why = "it takes more memory than a file of its size should" if isinstance(error, MemoryError) else str(error)
        os.write(reasons, why.encode(errors="replace"))
        return 1
    return 0


def prepared() -> Any:
    """PyTorch, with all imported that loading needs: later no file can be opened any more."""
    without_network()
    import torch

    importlib.import_module("wmjax.suspects.formats.torch_archives")
    codecs.lookup("cp437")  # as zip archives' names may be
    torch.set_num_threads(1)
    for zipped in (True, False):
        warm = io.BytesIO()
        torch.save({"a": torch.zeros(1)}, warm, _use_new_zipfile_serialization=zipped)
        warm.seek(0)
        torch.load(warm, map_location="cpu", weights_only=True)
    return torch


def serve(channel: socket.socket) -> None:
    """Forks for each file, after PyTorch was imported once: itself it opens none.

    A request is two numbers, bytes of memory and seconds, and three descriptors: the file's, and where tensors and
    reasons go. It ends with the channel.
    """
    torch = prepared()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    channel.sendall(READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, REQUEST.size, 3)
        if len(request) < REQUEST.size or len(descriptors) < 3:
            return
        if os.fork() == 0:
            channel.close()
            for place, descriptor in enumerate(descriptors):
                os.dup2(descriptor, place)
            os.closerange(3, max(descriptors) + 1)
            os._exit(work(torch, *REQUEST.unpack(request)))
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    with socket.socket(fileno=os.dup(0)) as parent:
        serve(parent)
