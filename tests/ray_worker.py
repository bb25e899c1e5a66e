"""What goes wrong in the workers of `test_ray.py`, the first time that they try a part: Ray imports it there."""

import os
import time
from pathlib import Path
from typing import Any
from unittest import mock

import audit_worker
import ray

from wmjax.cli.zoo import ask_part
from wmjax.errors import AccessError, InvalidFile
from wmjax.zoo import audit


def ask(values: dict[str, Any], folder: str, part: int, parts: int) -> None:
    """`ask_part`, but one part's worker is killed in the middle of a line, and another cannot reach its disk."""
    tried = Path(folder, f"tried-{part}")
    first = not tried.exists()
    tried.touch()
    if first and part == 1:
        raise AccessError("cannot read zoo: Stale file handle")
    if first and part == 2:
        Path(folder, "killed").touch()
        with audit_worker.killed(after=1):
            ask_part(values, folder, part, parts)
        raise InvalidFile("it was not killed")
    ask_part(values, folder, part, parts)


def poisoned(values: dict[str, Any], folder: str, part: int, parts: int) -> None:
    """`ask_part`, but one part finds something wrong whenever it is tried."""
    if part == 2:
        raise InvalidFile("zoo/a.safetensors is not the file that it was")
    ask_part(values, folder, part, parts)


def wait_for_the_node_to_die(values: dict[str, Any], folder: str, part: int, parts: int) -> None:
    """`ask_part`, but the first part says where it is, and never ends there."""
    where = Path(folder, "node")
    if part == 1 and not where.exists():
        where.write_text(ray.get_runtime_context().get_node_id())
        time.sleep(600)
    ask_part(values, folder, part, parts)


def count(values: dict[str, Any], folder: str, part: int, parts: int) -> None:
    """`ask_part`, and who did it: a line a part, and one whenever a zoo was walked through."""
    plain = audit.discover

    def noted(*arguments: Any) -> Any:
        _note(Path(folder, "walks"))
        return plain(*arguments)

    with mock.patch.object(audit, "discover", noted):
        ask_part(values, folder, part, parts)
    _note(Path(folder, "parts"))


def _note(path: Path) -> None:
    with path.open("a") as file:
        file.write(f"{os.getpid()}\n")
