"""The hash functions of the TPM's banks, where this machine's OpenSSL has them (SM3 is not everywhere)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from medvouch.formats.algorithms import HashAlg

Hasher = Callable[[bytes], Any]
"""A hashlib constructor."""


def _hashers() -> dict[HashAlg, Hasher]:
    named: dict[HashAlg, Hasher] = {bank: getattr(hashlib, bank.label) for bank in HashAlg if bank != HashAlg.SM3_256}
    if "sm3" in hashlib.algorithms_available:
        named[HashAlg.SM3_256] = partial(hashlib.new, "sm3")
    return named


HASHERS: Mapping[HashAlg, Hasher] = _hashers()


def digest(bank: HashAlg, data: bytes) -> bytes:
    """The digest of `data`; KeyError where this machine has no such hash."""
    value: bytes = HASHERS[bank](data).digest()
    return value
