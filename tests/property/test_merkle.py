"""Trees of any leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import merkle
from medvouch.errors import Refusal

HASHES = st.binary(min_size=32, max_size=32)
TREES = st.lists(HASHES, min_size=1, max_size=64, unique=True)


@given(TREES, st.data())
def test_a_leaf_is_in_its_tree_and_no_other(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    proof, tree = merkle.inclusion_proof(leaves, index), merkle.root(leaves)
    merkle.verify_inclusion(leaves[index], index, len(leaves), tree, proof)
    other = data.draw(HASHES.filter(lambda found: found != leaves[index]))
    with pytest.raises(Refusal):
        merkle.verify_inclusion(other, index, len(leaves), tree, proof)


@given(TREES, st.data())
def test_a_tree_with_another_beginning(leaves: list[bytes], data: st.DataObject) -> None:
    old = data.draw(st.integers(1, len(leaves)))
    merkle.verify_consistency(
        old, merkle.root(leaves[:old]), len(leaves), merkle.root(leaves), merkle.consistency_proof(leaves, old)
    )
    at = data.draw(st.integers(0, old - 1))
    forked = [*leaves[:at], data.draw(HASHES.filter(lambda found: found != leaves[at])), *leaves[at + 1 :]]
    with pytest.raises(Refusal):
        merkle.verify_consistency(
            old, merkle.root(leaves[:old]), len(leaves), merkle.root(forked), merkle.consistency_proof(forked, old)
        )


@given(st.integers(0, 1 << 32), st.integers(0, 1 << 32), st.lists(HASHES, max_size=64))
def test_any_proof_is_refused(old: int, new: int, proof: list[bytes]) -> None:
    with pytest.raises(Refusal):
        merkle.verify_consistency(old, bytes(32), new, b"\1" * 32, proof)
    with pytest.raises(Refusal):
        merkle.verify_inclusion(bytes(32), old, new, b"\1" * 32, proof)
