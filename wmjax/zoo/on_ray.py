"""The parts of an audit as tasks of a Ray cluster; each writes its journal to a folder that all see."""

import functools
import socket
from collections.abc import Callable, Mapping
from typing import Any

from wmjax.errors import AccessError, UsageError, WmjaxError
from wmjax.progress import progress
from wmjax.text import first_line

RETRIES = 3
_EACH = 4  # parts for each task that can run at a time: who is done early does more


def run_parts(
    work: Callable[[int, int], None],
    address: str,
    needs: Mapping[str, float],
    parts: int | None = None,
    retries: int = RETRIES,
) -> int:
    """Does all parts of something that goes on where it was ended.

    Args:
      work: (i, n) does the i-th of n parts, from 1; called in other processes, so it and its module are there too. What
        an earlier call left, it continues.
      address: of the cluster, as `ray.init` takes it; `local` starts one on this machine.
      needs: what one part takes, by the names that Ray has for it: CPU, GPU, TPU, ...
      parts: how many; four by default for each that can run at a time.
      retries: of a part whose worker was lost, or that could not reach a file.

    Returns:
      how many.

    Raises:
      UsageError: `parts` is below 1, Ray is not installed, or the cluster has not what one part takes.
      AccessError: no cluster is there, or a part's worker was lost again and again.
      WmjaxError: what the first part that failed said; all others are done.
    """
    if parts is not None and parts < 1:
        raise UsageError(f"`parts` {parts}: must be at least 1")
    try:
        import ray
    except ImportError as error:
        raise UsageError("`ray` needs Ray: pip install 'wmjax[ray]'") from error
    try:
        _knock(address)
        ray.init(address, log_to_driver=False, logging_level="error", configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise AccessError(f"`ray` {address}: no cluster answers there: {first_line(error)}") from error
    try:
        parts = parts or _EACH * _slots(ray.cluster_resources(), needs, address)
        other = {name: amount for name, amount in needs.items() if name not in ("CPU", "GPU")}
        task = ray.remote(work).options(
            num_cpus=needs.get("CPU", 1),
            num_gpus=needs.get("GPU", 0),
            resources=other,
            max_retries=retries,
            retry_exceptions=[AccessError],
        )
        _wait(ray, {task.remote(part, parts): part for part in range(1, parts + 1)}, parts)
        return parts
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray would try for minutes, and log it."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def _slots(there: Mapping[str, float], needs: Mapping[str, float], address: str) -> int:
    """How many parts can run at a time."""
    slots = min(int(there.get(name, 0) // amount) for name, amount in needs.items())
    if not slots:
        told = ", ".join(f"{name}={amount:g}" for name, amount in needs.items())
        raise UsageError(f"`ray` {address}: the cluster has not what one part takes, {told}")
    return slots


def _wait(ray: Any, running: dict[Any, int], parts: int) -> None:
    """Until all are done or have failed for good."""
    failed: dict[int, WmjaxError] = {}
    with progress("auditing on Ray", parts) as advance:
        while running:
            (ready, *_), _ = ray.wait(list(running), num_returns=1)
            part = running.pop(ready)
            try:
                ray.get(ready)
            except ray.exceptions.RayError as error:
                failed[part] = _reason(error)
            advance(1, f"{len(failed)} failed")
    if failed:
        part = min(failed)
        hint = f"part {part}/{parts} failed, {parts - len(failed)} are done; `resume` continues with the rest"
        raise failed[part].saying(f"{hint}: {failed[part]}") from failed[part]


def _reason(error: Exception) -> WmjaxError:
    """What a part's own code raised, or that its worker was lost."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, WmjaxError):
        return cause
    return AccessError(f"its worker was lost: {first_line(cause or error)}")


def remote(function: Callable[..., None], *arguments: Any) -> Callable[[int, int], None]:
    """A function of (..., i, n) with its first arguments, as Ray takes it: one that is not a `partial`."""
    bound = functools.partial(function, *arguments)

    def work(part: int, parts: int) -> None:
        bound(part, parts)

    return work
