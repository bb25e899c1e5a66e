"""Suspects: whatever answers questions about images, whatever file, function or server is behind it.

Names come from their modules when they are first used: processes that run a suspect's file import little.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wmjax.suspects.contract import Network as Network
    from wmjax.suspects.contract import Source as Source
    from wmjax.suspects.contract import Stored as Stored
    from wmjax.suspects.contract import Suspect as Suspect
    from wmjax.suspects.contract import Wanted as Wanted
    from wmjax.suspects.contract import Weights as Weights
    from wmjax.suspects.open import from_callable as from_callable
    from wmjax.suspects.open import from_checkpoint as from_checkpoint
    from wmjax.suspects.open import open_suspect as open_suspect

_HOME = {
    "contract": ("Network", "Source", "Stored", "Suspect", "Wanted", "Weights"),
    "open": ("from_callable", "from_checkpoint", "open_suspect"),
}
_MODULES = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULES)


if not TYPE_CHECKING:  # to a type checker it would mean that every name exists

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"wmjax.suspects.{_MODULES[name]}"), name)
