"""How much memory this host has."""

import contextlib
import os
from pathlib import Path


def host_bytes() -> int:
    """Memory of the host, or of the container that this process may fill."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the host or a device has no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
