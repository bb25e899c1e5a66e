"""Claims of less than a mebibyte that declare or repeat as much as a file can: what a stranger may hand to a judge."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wmjax.evidence.claim import Attached, picks
from wmjax.evidence.claim_file import write_claim
from wmjax.evidence.transcript import Opening, Row, state
from wmjax.keys import Commitment, Signer, Spec, derive_key, make_spec, new_signer, sign_commitment
from wmjax.keys.commitment import leaves
from wmjax.keys.keyset import derive_leaves
from wmjax.keys.material import Material
from wmjax.keys.merkle import Tree
from wmjax.keys.spec import Input, Source
from wmjax.keys.specify import default_rule
from wmjax.keys.statement import parse_commitment

SECRET, NONCE, MADE = bytes(range(32)), bytes(32), "2026-01-01T00:00:00+00:00"
LARGEST = 1 << 20  # bytes


def attempt(number: int = 0) -> dict[str, Any]:
    return {"at": "2026-01-02T03:04:05+00:00", "outcome": "answered" if not number else "failed", "detail": {}}


def claim(
    spec: Spec,
    root: str,
    rows: Sequence[Row],
    signer: Signer | None = None,
    copies: int = 1,
    material: Material | None = None,
) -> bytes:
    """A claim over any rows, with figures that follow from them; the commitment, `copies` times."""
    signer = signer or new_signer()
    rule = dataclasses.replace(default_rule(spec), max_queries=spec.triggers)
    public = parse_commitment(sign_commitment(Commitment(spec, rule, root, MADE), signer), "it")
    return write_claim(
        [Attached(public, ())] * copies,
        signer,
        rows,
        state(rows, rule, spec, SECRET, material),
        suspect="hostile",
        model=None,
        nonce=NONCE,
        secret=SECRET,
        material=material,
    )


def ordered(spec: Spec, root: str, count: int) -> list[int]:
    rule = dataclasses.replace(default_rule(spec), max_queries=spec.triggers)
    return picks(Commitment(spec, rule, root, MADE), NONCE, count)


def declared(triggers: int = 1 << 20) -> bytes:
    """2**20 triggers and one opening, whose proof leads nowhere: the file holds no more than this."""
    spec = make_spec("abstract", image=(1, 1, 1), classes=2, triggers=triggers)
    depth = (triggers - 1).bit_length()
    (index,) = ordered(spec, "0" * 64, 1)
    (leaf,) = derive_leaves(SECRET, spec, None, [index])
    image = np.zeros((1, 1, 1), np.uint8)
    return claim(spec, "0" * 64, [Row(index, (attempt(),), 0, Opening(leaf, image, (bytes(32),) * depth))])


def whole(side: int, channels: int, triggers: int, classes: int = 10, answer: Any = 0, attempts: int = 1) -> bytes:
    """An honest key, all of it opened."""
    spec = make_spec("abstract", image=(side, side, channels), classes=classes, triggers=triggers)
    key = derive_key(SECRET, spec, default_rule(spec), created=MADE)
    leaves = derive_leaves(SECRET, spec, None, range(triggers))
    tree = Tree([leaf.entry for leaf in leaves])
    tried = tuple(attempt(n) for n in reversed(range(attempts)))
    return claim(
        spec,
        tree.root.hex(),
        [
            Row(i, tried, answer, Opening(leaves[i], key.images[i], tuple(tree.proof(i))))
            for i in ordered(spec, tree.root.hex(), triggers)
        ],
    )


def opened(triggers: int, rows: int) -> bytes:
    """A genuine tree over an honest key, of which a few triggers are opened; or with the rest as empty rows."""
    spec = make_spec("abstract", image=(1, 1, 1), classes=2, triggers=triggers)
    leaves = derive_leaves(SECRET, spec, None, range(triggers))
    tree = Tree([leaf.entry for leaf in leaves])
    first, *rest = ordered(spec, tree.root.hex(), rows)
    opening = Opening(leaves[first], np.zeros((1, 1, 1), np.uint8), tuple(tree.proof(first)))
    return claim(spec, tree.root.hex(), [Row(first, (attempt(),), 0, opening), *(Row(i) for i in rest)])


def with_material(features: int, classes: int, references: int, triggers: int, rows: int, answer: Any = None) -> bytes:
    """Coins over arrays of zeros, which pack to nearly nothing; some probes are opened, and the rest are empty rows."""
    drawn = np.zeros((triggers, features), np.int8)
    material = Material({"features": drawn, "references": np.zeros((references, triggers, classes), np.uint16)})
    source = Source("digits", "0" * 64)
    spec = Spec("spread", Input("image", (1, 1, 1)), classes, triggers, "coins", (), source, None, material.sha256)
    images, labels = np.zeros((triggers, 1, 1, 1), np.uint8), np.zeros(triggers, int)
    made = leaves(SECRET, images, labels)
    tree = Tree([leaf.entry for leaf in made])
    order = ordered(spec, tree.root.hex(), triggers)
    told: list[Row] = [Row(i) for i in order]
    for place, i in enumerate(order[:rows]):
        opening = Opening(made[i], images[i], tuple(tree.proof(i)))
        told[place] = Row(i, (attempt(),), place % classes if answer is None else answer, opening)
    return claim(spec, tree.root.hex(), told, material=material)


CLAIMS: dict[str, Callable[[], bytes]] = {
    "2**20 triggers declared": declared,
    "8,192 triggers, one of them opened": lambda: opened(8192, 1),
    "13,000 empty rows": lambda: opened(13_000, 13_000),
    "890 openings of 1x1": lambda: whole(1, 1, 890),
    "11,000 attempts": lambda: whole(1, 1, 2, attempts=5500),
    "one picture of 430x430x3": lambda: whole(430, 3, 1),
    "20 pictures of 96x96x3": lambda: whole(96, 3, 20),
    "100 rows of 1,000 probabilities": lambda: whole(1, 1, 100, 1000, np.full(1000, 0.001)),
    "two rows of 40,000 probabilities": lambda: whole(1, 1, 2, 40_000, np.full(40_000, 2.5e-5)),
    "four rows of 2**20 classes": lambda: whole(1, 1, 4, 1 << 20),
    "64 MiB of features and references in few bytes": lambda: with_material(4096, 1000, 16, 1600, 1),
    "coins of 4,096 features": lambda: with_material(4096, 2, 1, 680, 680),
    "coins of 4,096 features, 15 contrasts and 16 references": lambda: with_material(4096, 16, 16, 680, 680),
    "coins of 1,000 classes": lambda: with_material(32, 1000, 3, 680, 680),
    "coins of 1,024 classes and 16 references": lambda: with_material(1, 1024, 16, 230, 230),
    "coins told by 50,000 scores": lambda: with_material(1, 1000, 1, 2, 1, np.full(50_000, 2e-5)),
}


# What is refused before its work is done, with words of the refusal.
REFUSED = {"2**20 triggers declared": "proof", "64 MiB of features and references in few bytes": "stakes"}


def sizes() -> dict[str, int]:
    """Bytes of each, all below `LARGEST`."""
    return {name: len(make()) for name, make in CLAIMS.items()}
