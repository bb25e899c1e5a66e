"""Keys: one secret of 32 bytes from which a whole trigger set follows. No JAX in here."""

from wmjax.keys.commitment import Commitment
from wmjax.keys.files import open_key, open_keys, spend, write_key
from wmjax.keys.keyset import Key, derive_key, generate
from wmjax.keys.policies import POLICIES, LabelPolicy
from wmjax.keys.schemes import SCHEMES, Parameter, Scheme
from wmjax.keys.signing import Signer, new_signer, open_signer
from wmjax.keys.spec import Input, Paper, Source, Spec
from wmjax.keys.specify import make_spec, read_parameters
from wmjax.keys.statement import Model, SignedCommitment, read_commitment, sign_commitment
from wmjax.keys.vault import Unlock

__all__ = [
    "POLICIES",
    "SCHEMES",
    "Commitment",
    "Input",
    "Key",
    "LabelPolicy",
    "Model",
    "Paper",
    "Parameter",
    "Scheme",
    "SignedCommitment",
    "Signer",
    "Source",
    "Spec",
    "Unlock",
    "derive_key",
    "generate",
    "make_spec",
    "new_signer",
    "open_key",
    "open_keys",
    "open_signer",
    "read_commitment",
    "read_parameters",
    "sign_commitment",
    "spend",
    "write_key",
]
