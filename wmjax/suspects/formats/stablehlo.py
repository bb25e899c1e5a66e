"""Programs of StableHLO, as jax.export and jax2tf write them: what they call out of themselves.

Such a program computes, and can do nothing else unless it calls out: by custom calls, or to and from its host.
"""

from typing import Any

_OUT = ("custom_call", "send", "recv", "infeed", "outfeed")
_WITHIN = ("Sharding", "shape_assertion")  # custom calls that JAX writes, and XLA takes out again
_DIALECTS = ("builtin", "func", "stablehlo", "chlo", "sdy")


def check_within(program: bytes) -> None:
    """Refuses a program that does more than compute.

    Args:
      program: as JAX serialises it, a portable artifact.

    Raises:
      ValueError: it calls out of itself, has operations of other kinds, or is no such program.
    """
    from jax.extend.mlir import deserialize_portable_artifact, ir

    found: list[str] = []

    def look(operation: Any) -> Any:
        dialect, _, name = operation.name.partition(".")
        within = name == "custom_call" and operation.attributes["call_target_name"].value in _WITHIN
        if (name in _OUT and not within) or dialect not in _DIALECTS:
            found.append(name)
        return ir.WalkResult.ADVANCE

    with ir.Context() as context:
        deserialize_portable_artifact(program, context=context).operation.walk(look)
    if found:
        raise ValueError(f"it calls out of its program, by {found[0]:.60}")
