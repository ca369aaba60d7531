"""The certificates that vendor and maker left in the TPM (TCG EK Credential Profile, 2.2.1; TCG handle registry)."""

from __future__ import annotations

from medvouch.errors import TpmFault
from medvouch.formats import der
from medvouch.ports import Tpm

EK_CHAIN_INDEXES = range(0x01C00100, 0x01C00200)
"""Certificates of the EK's issuers, one after another, from index to index."""
IDEVID_CERTIFICATE_INDEX = 0x01C90000


def read_certificate(tpm: Tpm, index: int) -> bytes:
    """The DER certificate at an NV index, its padding cut off. Raises TpmFault, InputError `certificate-*`."""
    if tpm.nv_read_public(index) is None:
        raise TpmFault(
            "certificate-missing",
            "the TPM holds no certificate",
            place=f"NV index 0x{index:08x}",
            remedy="ask the maker of the gateway: its TPM was not prepared for enrolment",
        )
    return der.trim(tpm.nv_read(index))


def read_ek_chain(tpm: Tpm) -> tuple[bytes, ...]:
    """The issuers' certificates that the vendor put beside the EK's; none where it put none."""
    data = b""
    for index in EK_CHAIN_INDEXES:
        if tpm.nv_read_public(index) is None:
            break
        data += tpm.nv_read(index)
    chain = []
    while data[:1] == der.SEQUENCE:
        chain.append(der.trim(data))
        data = data[len(chain[-1]) :]
    return tuple(chain)
