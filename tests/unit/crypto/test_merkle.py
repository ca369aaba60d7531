"""Trees held to the recursive definitions of RFC 9162, 2.1, written down once more as they stand there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest

from medvouch.crypto import merkle, refusals
from medvouch.formats.ledger import MAX_PROOF
from support.refusing import assert_refused

SIZES = range(1, 65)
LEAVES = [merkle.leaf_hash(bytes([number])) for number in SIZES]
ROOTS = [merkle.root(LEAVES[:size]) for size in range(65)]

KNOWN_DATA = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"
)  # fmt: skip
KNOWN_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
"""Roots of the first 1, 2, ... leaves, as the implementations of Certificate Transparency test themselves."""


def split(size: int) -> int:
    """`k`: the largest power of two smaller than n."""
    return max(1 << bit for bit in range(8) if 1 << bit < size)


def mth(data: Sequence[bytes]) -> bytes:
    """MTH (2.1.1)."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\0" + data[0]).digest()
    k = split(len(data))
    return hashlib.sha256(b"\1" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: Sequence[bytes]) -> list[bytes]:
    """PATH (2.1.3.1)."""
    if len(data) == 1:
        return []
    k = split(len(data))
    return [*path(m, data[:k]), mth(data[k:])] if m < k else [*path(m - k, data[k:]), mth(data[:k])]


def subproof(m: int, data: Sequence[bytes], b: bool) -> list[bytes]:
    """SUBPROOF (2.1.4.1)."""
    if m == len(data):
        return [] if b else [mth(data)]
    k = split(len(data))
    if m <= k:
        return [*subproof(m, data[:k], b), mth(data[k:])]
    return [*subproof(m - k, data[k:], False), mth(data[:k])]


def altered(proof: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Each hash with a bit flipped, one less at either end, one more at either end."""
    given = [proof[1:], proof[:-1]] if proof else []
    given += [(*proof, bytes(32)), (bytes(32), *proof)]
    for index, node in enumerate(proof):
        given.append((*proof[:index], bytes([node[0] ^ 1]) + node[1:], *proof[index + 1 :]))
    return [tuple(each) for each in given]


def test_published_roots() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(data)) for data in KNOWN_DATA]
    assert [merkle.root(leaves[:size]).hex() for size in range(1, 9)] == list(KNOWN_ROOTS)
    assert merkle.root([]) == merkle.EMPTY_ROOT


@pytest.mark.parametrize("size", range(1, 21))
def test_roots_and_proofs_are_those_of_the_definition(size: int) -> None:
    data, leaves = [bytes([number]) for number in SIZES][:size], LEAVES[:size]
    assert merkle.root(leaves) == mth(data)
    for index in range(size):
        assert list(merkle.inclusion_proof(leaves, index)) == path(index, data)
    for old in range(1, size + 1):
        assert list(merkle.consistency_proof(leaves, old)) == subproof(old, data, True)


def test_a_frontier_has_the_root_of_every_size_on_its_way() -> None:
    tree = merkle.Frontier()
    assert tree.root == merkle.EMPTY_ROOT
    for size, leaf in enumerate(LEAVES, 1):
        tree.append(leaf)
        assert (tree.size, tree.root) == (size, ROOTS[size])


@pytest.mark.parametrize("size", SIZES)
def test_inclusion(size: int) -> None:
    """Every leaf of every tree is shown to be in it, by its proof and by nothing else."""
    leaves, tree = LEAVES[:size], ROOTS[size]
    for index, leaf in enumerate(leaves):
        proof = merkle.inclusion_proof(leaves, index)
        assert len(proof) <= MAX_PROOF
        merkle.verify_inclusion(leaf, index, size, tree, proof)
        for wrong in altered(proof):
            refuse_inclusion(leaf, index, size, tree, wrong)
        refuse_inclusion(bytes(32), index, size, tree, proof)
        refuse_inclusion(leaf, index, size, bytes(32), proof)
        if size > 1:
            refuse_inclusion(leaf, (index + 1) % size, size, tree, proof)


def refuse_inclusion(leaf: bytes, index: int, size: int, tree: bytes, proof: Sequence[bytes]) -> None:
    assert_refused(refusals.MERKLE_INCLUSION, merkle.verify_inclusion, leaf, index, size, tree, proof)


@pytest.mark.parametrize("index", [-1, 3, 4])
def test_a_leaf_that_the_tree_has_not(index: int) -> None:
    found = assert_refused(refusals.MERKLE_INCLUSION, merkle.verify_inclusion, LEAVES[0], index, 3, ROOTS[3], ())
    assert "has no leaf" in found.detail


def test_an_inner_node_is_no_leaf() -> None:
    """The proof leads to the root, but from too high up."""
    refuse_inclusion(ROOTS[4], 0, 4, ROOTS[4], ())
    refuse_inclusion(ROOTS[2], 0, 4, ROOTS[4], merkle.inclusion_proof(LEAVES[:4], 0)[1:])


def test_a_proof_that_goes_on_above_the_root() -> None:
    found = assert_refused(refusals.MERKLE_INCLUSION, merkle.verify_inclusion, LEAVES[0], 0, 1, ROOTS[1], (bytes(32),))
    assert found.detail == "the proof is too long"


def test_no_tree_shrinks() -> None:
    for root in (ROOTS[2], ROOTS[4]):
        refuse(4, root, 2, root, ())


@pytest.mark.parametrize("new", SIZES)
def test_consistency(new: int) -> None:
    """Every tree grows out of every smaller one, by its proof and by nothing else."""
    for old in range(1, new + 1):
        proof = merkle.consistency_proof(LEAVES[:new], old)
        assert len(proof) <= MAX_PROOF
        merkle.verify_consistency(old, ROOTS[old], new, ROOTS[new], proof)
        for wrong in altered(proof):
            refuse(old, ROOTS[old], new, ROOTS[new], wrong)
        refuse(old, bytes(32), new, ROOTS[new], proof)
        refuse(old, ROOTS[old], new, bytes(32), proof)
        if old < new:
            refuse(old, ROOTS[old - 1], new, ROOTS[new], proof)
            refuse(new, ROOTS[new], old, ROOTS[old], proof)


def test_a_tree_of_another_beginning() -> None:
    refuse(3, bytes(32), 5, ROOTS[5], merkle.consistency_proof(LEAVES[:5], 3))


def test_everything_grows_out_of_nothing() -> None:
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 0, merkle.EMPTY_ROOT, ())
    merkle.verify_consistency(0, merkle.EMPTY_ROOT, 5, ROOTS[5], merkle.consistency_proof(LEAVES[:5], 0))
    refuse(0, ROOTS[1], 5, ROOTS[5], ())
    refuse(0, merkle.EMPTY_ROOT, 5, ROOTS[5], (bytes(32),))
    refuse(-1, ROOTS[1], 5, ROOTS[5], ())
    refuse(3, ROOTS[3], 5, ROOTS[5], ())
    refuse(4, ROOTS[4], 5, ROOTS[5], ())


def refuse(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    assert_refused(refusals.MERKLE_CONSISTENCY, merkle.verify_consistency, old, old_root, new, new_root, proof)
