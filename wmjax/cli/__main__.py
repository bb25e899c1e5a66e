"""`python -m wmjax.cli`."""

from wmjax.cli import console

console()
