"""`python -m wmjax.cli`."""

import os
import sys

from wmjax.cli import console

# `-m` puts the working folder first, where a stranger's `jinja2.py` may lie. wmjax itself has been found by now.
sys.path[:] = [folder for folder in sys.path if folder not in ("", os.getcwd())]
console()
