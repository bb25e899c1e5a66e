"""What this process computes on: the kind of its devices, how much memory they and the host have. No JAX at the top."""

import contextlib
import importlib
import os
import sys
from pathlib import Path

from wmjax.progress import progress

_SLOW = ("jax", "optax", "flax.nnx")  # what takes seconds to import


def load_jax() -> None:
    """Imports JAX and what goes with it, behind a progress bar: what comes first would seem to hang; no device begins.

    Raises:
      ModuleNotFoundError: it is not installed.
    """
    if not all(name in sys.modules for name in _SLOW):
        with progress("loading JAX", len(_SLOW)) as advance:
            for name in _SLOW:
                importlib.import_module(name)
                advance(1)


def on_cpu() -> bool:
    """Whether programs run on the host's cores, where XLA needs help."""
    import jax

    return jax.default_backend() == "cpu"


def host_bytes() -> int:
    """Memory of the host, or of the container that this process may fill."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return memory


def device_bytes() -> int:
    """Memory of one device; devices that are the host's cores share the host's."""
    import jax

    return own_bytes() or host_bytes() // jax.local_device_count()


def own_bytes() -> int | None:
    """Memory that a device has for itself and can tell; None for CPUs."""
    import jax

    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    return limit and int(limit)


def ran_out(error: BaseException) -> bool:
    """Whether an error says that the host or a device has no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
