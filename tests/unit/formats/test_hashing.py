"""Hashes of banks."""

from __future__ import annotations

import hashlib

import pytest

from medvouch.formats import hashing
from medvouch.formats.algorithms import HashAlg


def test_every_hash_has_its_banks_size() -> None:
    assert set(HashAlg) - {HashAlg.SM3_256} <= set(hashing.HASHERS)
    assert all(len(hashing.digest(bank, b"")) == bank.size for bank in hashing.HASHERS)


def test_without_sm3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "algorithms_available", set())
    assert HashAlg.SM3_256 not in hashing._hashers()
