"""Processes that tests start."""

import time
from pathlib import Path


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
