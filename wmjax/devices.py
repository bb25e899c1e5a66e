"""What this process computes on: the kind of its devices, how much memory they and the host have. No JAX at the top."""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from wmjax.progress import progress

R = TypeVar("R")

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


def brief_options() -> dict[str, Any] | None:
    """What XLA is told about a training: on a CPU half the time to compile is saved, and convolutions go by Eigen.

    Steps of a small CNN and of a VGG take as long then as after all that XLA can do: their time goes by in products.
    Products and sums stay with YNNPACK, XLA's newer library, whose convolutions take up to twice as long as Eigen's.
    """
    if not on_cpu():
        return None
    told: dict[str, Any] = {"xla_backend_optimization_level": 1}
    if _has_more():
        told["xla_cpu_use_fusion_emitters"] = False
        ynnpack = ("LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT", "LIBRARY_FUSION_TYPE_REDUCE")
        told["xla_cpu_experimental_ynn_fusion_type"] = ",".join(ynnpack)
    return told


def scoring_options() -> dict[str, Any] | None:
    """What XLA is told about asking many models: on a CPU Eigen computes the products.

    XLA's newer library takes LeNets half as long again; larger networks take as long by either.
    """
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if on_cpu() and _has_more() else None


def _has_more() -> bool:
    """Whether XLA has the options that come and go; others may not."""
    return version("jaxlib").startswith("0.10.")


def briefly(function: Callable[..., R], **static: Any) -> Callable[..., R]:
    """`jax.jit` with `brief_options`, for the outermost function of a program.

    Args:
      function: pure.
      **static: of `jax.jit`.
    """

    @functools.lru_cache(maxsize=1)
    def program() -> Callable[..., R]:  # devices are looked at when it is first called
        import jax

        compiled: Callable[..., R] = jax.jit(function, compiler_options=brief_options(), **static)
        return compiled

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> R:
        return program()(*given, **named)

    return call


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
