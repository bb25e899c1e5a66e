"""Verification: ask a suspect, weigh its answers, reach a verdict."""

from wmjax.verification.sequential import Verdict, verify

__all__ = ["Verdict", "verify"]
