"""How a run begins in its folder, or goes on there: one process holds it, and all see the same state."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wmjax import checkpoint, hosts
from wmjax.errors import AccessError, UsageError
from wmjax.train.step import State, as_tree, from_tree


def check_out(out: Path, settings: dict[str, Any], resume: bool) -> None:
    """Before anything long: whether the run folder is free, or that of this run."""
    if resume and (out / checkpoint.SETTINGS).exists():
        checkpoint.check_settings(out, settings)
        return
    try:
        if out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
            if resume:
                raise UsageError(f"{out} holds no run to resume: choose another `out`")
            raise UsageError(f"{out} is not empty: use `resume` to continue its run, or choose another `out`")
    except OSError as error:
        raise AccessError(f"cannot write {out}: {error.strerror}") from error


@contextlib.contextmanager
def begun(out: Path, settings: dict[str, Any], resume: bool, fresh: State) -> Iterator[State]:
    """Holds the run folder while a block trains from the state it is given: the one that process 0 finds there."""
    step = -1
    with contextlib.ExitStack() as holding:
        with hosts.together():
            if hosts.is_first():
                holding.enter_context(checkpoint.held(out))
                check_out(out, settings, resume)  # again: since then another process may have begun here
                if (out / checkpoint.SETTINGS).exists():
                    checkpoint.remove_half_written(out)
                    checkpoint.prune(out)  # a kill may have come between a save and this
                else:
                    checkpoint.write_settings(out, settings)
                newest = checkpoint.latest(out)
                step = checkpoint.step_of(newest) if newest else -1
        step = int(hosts.gather(np.array([step], np.int32))[0, 0])
        with hosts.together():
            _await(out / checkpoint.SETTINGS)
            if step < 0:
                state = fresh
            else:
                state = from_tree(checkpoint.load_tree(checkpoint.step_path(out, step), as_tree(fresh)), fresh)
        yield state


def _await(path: Path) -> None:
    """Waits until this host sees what process 0 wrote: network file systems may take their time."""
    for _ in range(60):
        if path.exists():
            return
        time.sleep(1)
        os.listdir(path.parent.parent)  # asks the server again
    raise AccessError(
        f"process {hosts.share()[0]} does not see {path.parent}: `out` must be storage that all hosts share"
    )
