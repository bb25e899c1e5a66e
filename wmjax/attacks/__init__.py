"""What a thief may try: pure functions from variables to variables."""

from wmjax.attacks.prune import prune

__all__ = ["prune"]
