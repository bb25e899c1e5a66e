"""The program of a process that has a runtime of its format's own run one file, and answers what its parent asks.

It is told no secret, and on Linux has no network. Once the model is loaded it writes no file, and, where the kernel has
Landlock, opens none, but in threads that the runtime has begun by then.
"""

import importlib.util
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

_STARTING = 300  # seconds, as `process` waits; whoever waited may have ended, and a stranger's loop has no end


def _beside(name: str) -> ModuleType:
    """A module of wmjax's by its file, without what else importing it would import."""
    specification = importlib.util.spec_from_file_location(Path(name).stem, Path(__file__).parent / name)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def main(runtime: str, at_once: int, memory: int, argument: str) -> None:
    """Serves what the `program` of `RUNTIME_child.py` makes of an argument."""
    alone = _beside("pickle_child.py")
    alone.without_network()  # before anything that starts a thread is imported

    def make() -> Callable[[Any], Any]:
        signal.alarm(_STARTING)
        answer: Callable[[Any], Any] = _beside(f"{runtime}_child.py").program(argument)
        signal.alarm(0)
        alone.without_writing()
        alone.without_files()
        return answer

    _beside("../child.py").serve(make, at_once, memory)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
