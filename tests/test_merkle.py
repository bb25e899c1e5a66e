"""The Merkle tree: standard vectors, a naive one, proofs, and the root of a key from the written standard alone."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import KEY, NOISE, OTHER, SECRET

from wmjax.keys.commitment import merkle_root
from wmjax.keys.merkle import Tree, proven_root, tree_hash

CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_tree_hash_gives_the_roots_of_certificate_transparency(size):
    assert tree_hash([bytes.fromhex(leaf) for leaf in CT_LEAVES[:size]]).hex() == CT_ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing():
    assert tree_hash([]) == hashlib.sha256(b"").digest()


def naive_root(entries: list[bytes]) -> bytes:
    """RFC 9162, section 2.1.2: a stack of full subtrees, joined as they fill, and the rest from the right."""
    stack: list[tuple[int, bytes]] = []

    def join() -> None:
        (size, right), (_, left) = stack.pop(), stack.pop()
        stack.append((2 * size, hashlib.sha256(b"\x01" + left + right).digest()))

    for entry in entries:
        stack.append((1, hashlib.sha256(b"\x00" + entry).digest()))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            join()
    while len(stack) > 1:
        join()
    return stack[0][1]


@pytest.mark.parametrize("size", range(1, 41))
def test_tree_hash_is_the_naive_one(size):
    entries = [bytes([i]) * (i % 5) for i in range(size)]
    assert tree_hash(entries) == naive_root(entries)


@given(st.lists(st.binary(max_size=4), min_size=1, max_size=20), st.data())
def test_changing_any_leaf_changes_the_root(entries, data):
    at = data.draw(st.integers(0, len(entries) - 1))
    changed = data.draw(st.binary(max_size=4).filter(lambda entry: entry != entries[at]))
    assert tree_hash([*entries[:at], changed, *entries[at + 1 :]]) != tree_hash(entries)


def test_leaves_cannot_pass_for_nodes():
    left, right = hashlib.sha256(b"\x00a").digest(), hashlib.sha256(b"\x00b").digest()
    assert tree_hash([left + right]) != tree_hash([b"a", b"b"])
    assert tree_hash([b"\x01" + left + right]) != tree_hash([b"a", b"b"])


@pytest.mark.parametrize("key", [KEY, NOISE], ids=["abstract", "noise"])
def test_the_docstring_suffices_for_the_root(key):
    leaves = []
    for i, (image, label) in enumerate(zip(key.images, key.labels, strict=True)):
        message = b"\x00\x00\x00\x08wmjax/v1\x00\x00\x00\x04salt" + i.to_bytes(8, "big") + b"\x00\x00\x00\x20" + SECRET
        salt = hashlib.shake_256(message).hexdigest(16)
        digest = hashlib.sha256(image.tobytes()).hexdigest()
        leaves.append(f'{{"index":{i},"input_sha256":"{digest}","label":{label},"salt":"{salt}"}}'.encode())
    assert key.commitment.root == naive_root(leaves).hex()


def test_the_root_is_bound_to_secret_images_labels_and_order():
    images, labels = KEY.images, KEY.labels
    roots = [
        merkle_root(SECRET, images, labels),
        merkle_root(OTHER, images, labels),
        merkle_root(SECRET, images[::-1], labels),
        merkle_root(SECRET, images, (labels + 1) % 10),
        merkle_root(SECRET, images[:2], labels[:2]),
        merkle_root(SECRET, images ^ np.uint8(1), labels),
    ]
    assert len(set(roots)) == len(roots)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 40])
def test_a_proof_leads_to_the_root_from_its_own_entry_and_place_alone(size):
    entries = [bytes([i]) for i in range(size)]
    tree = Tree(entries)
    assert tree.root == tree_hash(entries)
    for index, entry in enumerate(entries):
        proof = tree.proof(index)
        assert proven_root(entry, index, size, proof) == tree.root
        assert proven_root(b"other", index, size, proof) != tree.root
        assert size == 1 or proven_root(entry, (index + 1) % size, size, proof) != tree.root
        assert proven_root(entry, index, size, [*proof, bytes(32)]) is None
        assert not proof or proven_root(entry, index, size, proof[:-1]) is None
    assert proven_root(b"", size, size, []) is None
    with pytest.raises(IndexError):
        tree.proof(size)


def test_a_proof_of_rfc_9162():
    """Of the eight entries of the standard vectors; the path of entry 5 is worked out by hand."""
    entries = [bytes.fromhex(leaf) for leaf in CT_LEAVES]
    leaf = [hashlib.sha256(b"\0" + entry).digest() for entry in entries]
    six, left = hashlib.sha256(b"\1" + leaf[6] + leaf[7]).digest(), tree_hash(entries[:4])
    assert Tree(entries).proof(5) == [leaf[4], six, left]
    assert proven_root(entries[5], 5, 8, [leaf[4], six, left]).hex() == CT_ROOTS[-1]
