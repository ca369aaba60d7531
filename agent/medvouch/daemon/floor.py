"""The security epoch as the TPM has it (DESIGN §7)."""

from __future__ import annotations

from medvouch.attestation.provisioning import FLOOR_COUNTER
from medvouch.crypto.floor import epoch
from medvouch.formats.identity import DeviceIdentity
from medvouch.ports import Tpm

NAME = "floor"
"""Of the index, in what enrolment agrees on."""


def security_epoch(tpm: Tpm, identity: DeviceIdentity) -> int:
    """The epoch below which nothing is installed. Blocking; raises TpmFault."""
    counter = int.from_bytes(tpm.nv_read(FLOOR_COUNTER, identity.nv_auths[NAME]), "big")
    return epoch(identity.floor, identity.floor_base, counter)
