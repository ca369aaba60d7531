"""Merkle trees of RFC 9162, section 2.1, with SHA-256: roots, and proofs that one tree has grown out of another.

A tree of no leaves has SHA-256 of nothing as its root. All hashes are 32 bytes; a leaf is given by its hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from medvouch.crypto import refusals
from medvouch.errors import Refusal

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf's data (2.1.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node (2.1.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A tree that only grows: `size` leaves, and of those the roots of the largest full subtrees, left to right."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        for leaf in leaves:
            self.append(leaf)

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        node, size = leaf, self.size
        while size & 1:
            node, size = node_hash(self._peaks.pop(), node), size >> 1
        self._peaks.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        """The root of the tree as it is now."""
        if not self._peaks:
            return EMPTY_ROOT
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = node_hash(peak, node)
        return node


def root(leaves: Sequence[bytes]) -> bytes:
    """MTH of 2.1.1 over leaf hashes."""
    return Frontier(leaves).root


def inclusion_proof(leaves: Sequence[bytes], index: int) -> tuple[bytes, ...]:
    """PATH of 2.1.3.1: that leaf number `index` is in the tree of these leaves."""
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    if index < split:
        return (*inclusion_proof(leaves[:split], index), root(leaves[split:]))
    return (*inclusion_proof(leaves[split:], index - split), root(leaves[:split]))


def consistency_proof(leaves: Sequence[bytes], old: int) -> tuple[bytes, ...]:
    """PROOF of 2.1.4.1: that the first `old` leaves are the beginning of this tree; nothing where it proves itself."""
    return () if old in (0, len(leaves)) else _subproof(leaves, old, True)


def _subproof(leaves: Sequence[bytes], old: int, whole: bool) -> tuple[bytes, ...]:
    if old == len(leaves):
        return () if whole else (root(leaves),)
    split = _split(len(leaves))
    if old <= split:
        return (*_subproof(leaves[:split], old, whole), root(leaves[split:]))
    return (*_subproof(leaves[split:], old - split, False), root(leaves[:split]))


def _split(size: int) -> int:
    """The largest power of two smaller than `size`."""
    return 1 << (size - 1).bit_length() - 1


def verify_inclusion(leaf: bytes, index: int, size: int, tree: bytes, proof: Sequence[bytes]) -> None:
    """Check PATH (2.1.3.2): the leaf is number `index` in the tree of `size` with that root.

    Raises Refusal `merkle-inclusion`.
    """
    if not 0 <= index < size:
        raise Refusal(refusals.MERKLE_INCLUSION, f"a tree of {size} has no leaf {index}")
    node, number, last = leaf, index, size - 1
    for sibling in proof:
        if last == 0:
            raise Refusal(refusals.MERKLE_INCLUSION, "the proof is too long")
        if number & 1 or number == last:
            node = node_hash(sibling, node)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        number, last = number >> 1, last >> 1
    if last != 0 or node != tree:
        raise Refusal(refusals.MERKLE_INCLUSION, f"the proof does not lead from leaf {index} to the root")


def verify_consistency(old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check PROOF (2.1.4.2): the tree of `new_size` begins with the tree of `old_size`.

    Raises Refusal `merkle-consistency`.
    """
    if not 0 <= old_size <= new_size or (old_size == 0 and old_root != EMPTY_ROOT):
        raise Refusal(refusals.MERKLE_CONSISTENCY, f"a tree of {new_size} does not grow out of one of {old_size}")
    if old_size in (0, new_size):
        if proof or (old_size == new_size and old_root != new_root):
            raise Refusal(refusals.MERKLE_CONSISTENCY, f"two different trees of {new_size}")
        return
    if _roots(old_size, new_size, old_root, proof) != (old_root, new_root):
        detail = f"the tree of {new_size} has another beginning than that of {old_size}"
        raise Refusal(refusals.MERKLE_CONSISTENCY, detail)


def _roots(old_size: int, new_size: int, old_root: bytes, proof: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Both roots as the proof leads to them; None where it is too short or too long."""
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path:
        return None
    number, last = old_size - 1, new_size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if number & 1 or number == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while not number & 1 and number:
                number, last = number >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        number, last = number >> 1, last >> 1
    return (old, new) if last == 0 else None
