"""Verification: ask a suspect, weigh its answers, reach a verdict."""

from wmjax.verification.sequential import Verdict, verify
from wmjax.verification.suspects import Suspect, from_callable, from_checkpoint, open_suspect

__all__ = ["Suspect", "Verdict", "from_callable", "from_checkpoint", "open_suspect", "verify"]
