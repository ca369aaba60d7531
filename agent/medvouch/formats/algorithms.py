"""Hash algorithms by their TCG identifiers (TCG Algorithm Registry 1.34, table 3)."""

from __future__ import annotations

import enum


class HashAlg(enum.IntEnum):
    """A TPM_ALG_ID of a hash; `size` is its digest in bytes, `label` its name as hashlib and tpm2-tools write it."""

    SHA1 = 0x0004
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D
    SM3_256 = 0x0012
    SHA3_256 = 0x0027
    SHA3_384 = 0x0028
    SHA3_512 = 0x0029

    @property
    def label(self) -> str:
        """Lower-case name, e.g. `sha256`."""
        return self.name.lower()

    @property
    def size(self) -> int:
        """Digest size in bytes."""
        return _SIZES[self]

    @classmethod
    def of(cls, label: str) -> HashAlg:
        """The algorithm with this label; KeyError where there is none."""
        return cls[label.upper()]


_SIZES = {
    HashAlg.SHA1: 20,
    HashAlg.SHA256: 32,
    HashAlg.SHA384: 48,
    HashAlg.SHA512: 64,
    HashAlg.SM3_256: 32,
    HashAlg.SHA3_256: 32,
    HashAlg.SHA3_384: 48,
    HashAlg.SHA3_512: 64,
}
