"""`python -m wmjax`."""

import os
import sys

# `-m` puts the working folder first, where a stranger's `argparse.py` may lie. wmjax itself has been found by now.
sys.path[:] = [folder for folder in sys.path if folder not in ("", os.getcwd())]
from wmjax.cli import console  # noqa: E402

console()
