"""Hash algorithms by their TCG identifiers (TCG Algorithm Registry 1.34, table 3)."""

from __future__ import annotations

import enum


class HashAlg(enum.IntEnum):
    """A TPM_ALG_ID of a hash; `size` is its digest in bytes, `label` its name as hashlib and tpm2-tools write it."""

    size: int
    label: str

    SHA1 = 0x0004, 20
    SHA256 = 0x000B, 32
    SHA384 = 0x000C, 48
    SHA512 = 0x000D, 64
    SM3_256 = 0x0012, 32
    SHA3_256 = 0x0027, 32
    SHA3_384 = 0x0028, 48
    SHA3_512 = 0x0029, 64

    def __new__(cls, identifier: int, size: int) -> HashAlg:
        """Plain attributes: properties that look the name up cost more than many a hash."""
        member = int.__new__(cls, identifier)
        member._value_ = identifier
        member.size = size
        return member

    def __init__(self, *_: int) -> None:
        self.label = self._name_.lower()

    @classmethod
    def of(cls, label: str) -> HashAlg:
        """The algorithm with this label; KeyError where there is none."""
        return cls[label.upper()]
