"""Signing messages with a key that never leaves its TPM."""

from __future__ import annotations

import hashlib

from medvouch.crypto.keys import ES256, PublicKey
from medvouch.crypto.tpm import public_key
from medvouch.formats.tpm_public import Public
from medvouch.ports import KeyHandle, Tpm


class TpmSigner:
    """A `crypto.keys.Signer` over an unrestricted ECDSA P-256 key of a TPM; `public` is its TPMT_PUBLIC."""

    alg = ES256

    def __init__(self, tpm: Tpm, key: KeyHandle, public: bytes) -> None:
        self._tpm = tpm
        self._key = key
        self.public_key: PublicKey = public_key(Public.parse(public))

    def sign(self, message: bytes) -> bytes:
        """ECDSA with SHA-256: r || s, 64 bytes. Raises TpmFault."""
        return self._tpm.sign(self._key, hashlib.sha256(message).digest())
