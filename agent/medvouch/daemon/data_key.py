"""The key of the device's data: made when it is commissioned, sealed by the TPM, gone when it is decommissioned."""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.attestation.provisioning import seal_data, unseal_data
from medvouch.errors import InputError, StorageFault
from medvouch.formats.enrolment import TpmPublic
from medvouch.formats.record import Record
from medvouch.ports import CreatedKey, Entropy, Tpm

DATA_KEY = "data-key"
"""Where the store keeps it."""
KEY_BYTES = 32


@dataclass(frozen=True)
class SealedKey(Record):
    """The TPMT_PUBLIC of a sealed data object, and what only its TPM can open."""

    FORMAT = "data-key"

    public: TpmPublic
    private: TpmPublic


def make(tpm: Tpm, entropy: Entropy) -> bytes:
    """A new random key, sealed, as the store keeps it. Blocking; raises TpmFault."""
    sealed = seal_data(tpm, entropy.bytes(KEY_BYTES))
    return SealedKey(sealed.public, sealed.private).encode()


def unseal(tpm: Tpm, stored: bytes) -> bytes:
    """The key. Blocking; raises TpmFault, among others where the TPM was cleared; StorageFault `state-corrupt`."""
    try:
        sealed = SealedKey.parse(stored)
    except InputError as error:
        remedy = "restore the state directory from a backup"
        raise StorageFault("state-corrupt", f"the stored data key: {error}", remedy=remedy) from error
    return unseal_data(tpm, CreatedKey(sealed.public, sealed.private))
