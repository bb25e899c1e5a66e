"""Suspects: whatever answers questions about images, whatever file, function or server is behind it."""

from wmjax.suspects.contract import Network, Source, Stored, Suspect, Wanted, Weights, check_fits, query
from wmjax.suspects.open import from_callable, from_checkpoint, open_suspect

__all__ = [
    "Network",
    "Source",
    "Stored",
    "Suspect",
    "Wanted",
    "Weights",
    "check_fits",
    "from_callable",
    "from_checkpoint",
    "open_suspect",
    "query",
]
