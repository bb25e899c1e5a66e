"""The Merkle tree of RFC 9162: a root over entries, and short proofs that one of them is under it."""

import hashlib
from collections.abc import Sequence


def tree_hash(entries: Sequence[bytes]) -> bytes:
    """Merkle tree hash, 32 bytes (RFC 9162, section 2.1.1)."""
    return Tree(entries).root


class Tree:
    """A tree that remembers its nodes, so that many proofs cost little more than one.

    Args:
      entries: the leaves' contents, in order.
    """

    def __init__(self, entries: Sequence[bytes]):
        self._leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
        self._nodes: dict[tuple[int, int], bytes] = {}

    @property
    def root(self) -> bytes:
        """The tree's hash; of no entries at all, that of nothing."""
        return self._node(0, len(self._leaves)) if self._leaves else hashlib.sha256(b"").digest()

    def _node(self, start: int, end: int) -> bytes:
        if end - start == 1:
            return self._leaves[start]
        if (start, end) not in self._nodes:
            split = start + _half(end - start)
            both = self._node(start, split) + self._node(split, end)
            self._nodes[start, end] = hashlib.sha256(b"\1" + both).digest()
        return self._nodes[start, end]

    def proof(self, index: int) -> list[bytes]:
        """The inclusion proof of entry `index`, from the leaf's sibling up (RFC 9162, section 2.1.3.1)."""
        if not 0 <= index < len(self._leaves):
            raise IndexError(f"no entry {index} among {len(self._leaves)}")
        path, start, end = [], 0, len(self._leaves)
        while end - start > 1:
            split = start + _half(end - start)
            if index < split:
                path.append(self._node(split, end))
                end = split
            else:
                path.append(self._node(start, split))
                start = split
        return path[::-1]


def proven_root(entry: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root of a tree of `size` entries in which `proof` puts `entry` at `index`; None where it fits no such tree.

    The turns follow from index and size, so a proof for another place gives another root.
    """
    turns, start, end = [], 0, size
    if not 0 <= index < size:
        return None
    while end - start > 1:
        split = start + _half(end - start)
        turns.append(index < split)
        start, end = (start, split) if index < split else (split, end)
    if len(proof) != len(turns):
        return None
    node = hashlib.sha256(b"\0" + entry).digest()
    for left, sibling in zip(reversed(turns), proof, strict=True):
        node = hashlib.sha256(b"\1" + (node + sibling if left else sibling + node)).digest()
    return node


def _half(size: int) -> int:
    """The largest power of two below a size of at least two."""
    return 1 << (size - 1).bit_length() - 1
