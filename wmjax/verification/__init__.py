"""Verification: ask a suspect, weigh its answers, reach a verdict."""

from wmjax.verification.sequential import verify
from wmjax.verification.several import Combined, combine
from wmjax.verification.verdict import Verdict

__all__ = ["Combined", "Verdict", "combine", "verify"]
