"""Trigger schemes: how a key's pictures are made.

Each is one `Scheme` record in a module of its own, whose docstring is the standard, and its place in `SCHEMES`. From
the record follow the options of `keygen` and all checks. Nothing else names a scheme but `keygen`, for the two whose
keys need networks.
"""

from wmjax.keys.schemes import abstract, blend, content, noise, spread, tie, unrelated
from wmjax.keys.schemes.contract import Parameter, Scheme

SCHEMES: dict[str, Scheme] = {
    scheme.name: scheme
    for scheme in (
        abstract.SCHEME,
        content.SCHEME,
        noise.SCHEME,
        unrelated.SCHEME,
        blend.SCHEME,
        tie.SCHEME,
        spread.SCHEME,
    )
}

__all__ = ["SCHEMES", "Parameter", "Scheme"]
