"""Verification: ask a suspect, weigh its answers, reach a verdict."""

from wmjax.verify.sequential import Verdict, verify
from wmjax.verify.suspects import Suspect, from_callable, from_checkpoint, open_suspect

__all__ = ["Suspect", "Verdict", "from_callable", "from_checkpoint", "open_suspect", "verify"]
