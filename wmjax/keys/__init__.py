"""Keys: one secret of 32 bytes from which a whole trigger set follows. No JAX in here."""

from wmjax.keys.commitment import Commitment
from wmjax.keys.keyset import Key, derive_key, generate, make_spec
from wmjax.keys.spec import Paper, Source, Spec
from wmjax.keys.vault import Unlock, open_key, open_keys, read_commitment, write_key

__all__ = [
    "Commitment",
    "Key",
    "Paper",
    "Source",
    "Spec",
    "Unlock",
    "derive_key",
    "generate",
    "make_spec",
    "open_key",
    "open_keys",
    "read_commitment",
    "write_key",
]
