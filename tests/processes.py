"""Processes that tests start."""

import time
from pathlib import Path


def children(pid: int, count: int) -> list[int]:
    """The processes that one has started, once they are so many, or after a minute."""
    deadline, found = time.monotonic() + 60, list[str]()
    while len(found) < count and time.monotonic() < deadline:
        time.sleep(0.02)
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def gone(pid: int) -> bool:
    """Whether a process ends; one that nobody has reaped yet has ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False
