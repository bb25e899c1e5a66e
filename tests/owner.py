"""Keys whose coins follow from material, suspects that know them or not, and claims by them; nothing is trained."""

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any

import coined
import forger
import numpy as np

from wmjax.data import Dataset, load_source
from wmjax.evidence import claimant
from wmjax.evidence.claim import Attached
from wmjax.evidence.facts import Court
from wmjax.keys import Key, Signer, derive_key, make_spec, new_signer, sign_commitment
from wmjax.keys.material import Material
from wmjax.keys.specify import default_rule
from wmjax.keys.statement import parse_commitment
from wmjax.stats.correlations import UNIT
from wmjax.stats.spread import perfect
from wmjax.suspects import Suspect, from_callable

NONCE, SECRET = b"n" * 32, bytes(range(32))
SPLITS = {"spread": "test", "tie": "train"}
MADE = "2026-01-01T00:00:00+00:00"


@cache
def source_of(scheme: str) -> Dataset:
    """The split of the digits that a scheme starts from."""
    return load_source("digits", split=SPLITS[scheme])


def material_of(scheme: str, n: int, seed: int = 0, features: int = 32) -> Material:
    """Features and references, or pairs, that say nothing of any picture: they need not."""
    rng = np.random.default_rng(seed)
    if scheme == "tie":
        first = rng.integers(10, size=n)
        pairs = np.stack([first, (first + rng.integers(1, 10, size=n)) % 10], axis=1).astype(np.uint16)
        return Material({"pairs": pairs, "rows": rng.permutation(len(source_of(scheme)))[:n].astype(np.int32)})
    drawn = np.rint(40 * np.clip(rng.standard_normal((n, features)), -3, 3)).astype(np.int8)
    references = coined.softmax(2 * rng.standard_normal((2, n, 10)))
    return Material({"features": drawn, "references": np.rint(UNIT * references).astype(np.uint16)})


def key_of(
    scheme: str, n: int = 340, secret: bytes = SECRET, material: Material | None = None, alpha: float = 1e-6
) -> Key:
    """A key over the digits."""
    data, material = source_of(scheme), material or material_of(scheme, n)
    spec = make_spec(scheme, triggers=n, source=("digits", data), material=material)
    return derive_key(secret, spec, default_rule(spec, alpha), data, MADE, material)


def knowing(key: Key) -> forger.Ask:
    """A model that shows every coin of a key."""
    if key.answers is None:
        table = perfect(key.truth(slice(None)), key.spec.classes).probabilities
    else:
        table = 0.02 + 0.8 * np.eye(key.spec.classes)[key.answers]
    return looking_up(key, table)


def stranger(key: Key, seed: int = 7) -> forger.Ask:
    """A model that knows nothing of it."""
    return looking_up(key, np.random.default_rng(seed).dirichlet(np.ones(key.spec.classes), key.spec.triggers))


def looking_up(key: Key, table: np.ndarray) -> forger.Ask:
    """A model that answers the triggers as a table says."""
    known = {image.tobytes(): answer for image, answer in zip(key.images, table, strict=True)}
    return lambda images: np.stack([known[image.tobytes()] for image in images])


def attached(key: Key, signer: Signer) -> Attached:
    return Attached(parse_commitment(sign_commitment(key.commitment, signer), "the commitment"), ())


def claimed(key: Key, ask: forger.Ask, signer: Signer | None = None, **options: Any) -> bytes:
    """A claim as its owner makes it."""
    signer = signer or new_signer()
    usual = {"reveal": True, "anyway": True, "spend": lambda asked: None}
    suspect = from_callable(ask, "suspect")
    return claimant.claim(suspect, key, signer, [attached(key, signer)], NONCE, **{**usual, **options})


def court(key: Key, ask: forger.Ask | None, **fields: Any) -> Court:
    """A judge with a nonce, the suspect and the judge's own copy of the digits."""
    suspect: Suspect | None = ask and from_callable(ask, "suspect")
    return Court(**{"nonce": NONCE, "suspect": suspect, "sources": [source_of(key.spec.scheme)], **fields})


def with_arrays(key: Key, **arrays: np.ndarray) -> Key:
    """The key with other arrays than it committed to, as a false claim has them."""
    changed: Mapping[str, np.ndarray] = {**(key.material.arrays if key.material else {}), **arrays}
    return dataclasses.replace(key, material=Material(changed))
