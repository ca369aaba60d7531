"""The claims of medvouch's EAT profile (RFC 9711): the payload that a device's LDevID signs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from medvouch.formats.claims import SHA256, Between, Claim, Claims, Exactly, LedgerHead, LedgerHeadForm
from medvouch.formats.record import Flag, Place, Text, Uint

__all__ = ["PROFILE", "Eat", "LedgerHead"]

PROFILE = "urn:uuid:157fd125-3352-41e4-9c9c-1a6a7e973da7"
"""Written as an untagged URI, as general-uri of RFC 9711 is in CBOR."""

NONCE_BYTES = (8, 64)
NONCE_SIZES = range(NONCE_BYTES[0], NONCE_BYTES[1] + 1)
"""RFC 9711, 4.1."""
UEID_BYTES = (7, 33)
"""RFC 9711, 4.2.1."""
OEM_ID_BYTES = (3, 16)
"""IEEE and random OEM identifiers (RFC 9711, 4.2.3); the third kind is a private enterprise number."""
HW_MODEL_BYTES = (1, 32)
"""RFC 9711, 4.2.4."""
MAX_DEBUG_STATUS = 4
"""disabled-fully-and-permanently (RFC 9711, 4.2.9)."""
MAX_NAME = 256
"""Characters of names and versions."""


class _OemId:
    def dump(self, value: bytes | int) -> bytes | int:
        return value

    def load(self, value: Any, place: Place) -> bytes | int:
        if isinstance(value, bytes) and len(value) in OEM_ID_BYTES:
            return value
        return Uint(2**32 - 1).load(value, place)


class _Version:
    """[version], without a scheme."""

    def dump(self, value: str) -> list[str]:
        return [value]

    def load(self, value: Any, place: Place) -> str:
        if not isinstance(value, list) or len(value) != 1:
            raise place.malformed("an array of one version")
        return Text(MAX_NAME).load(value[0], place)


class _Confirmation:
    """{5: COSE Key Thumbprint}, of the confirmation methods (RFC 8747, 3.1; ckt of RFC 9679)."""

    def dump(self, value: bytes) -> dict[int, bytes]:
        return {5: value}

    def load(self, value: Any, place: Place) -> bytes:
        if not isinstance(value, dict) or set(value) != {5}:
            raise place.malformed("a key thumbprint")
        return SHA256.load(value[5], place)


@dataclass(frozen=True)
class Eat(Claims):
    """Claims of RFC 8392, RFC 8747, RFC 9711, and ours with labels from -75001 on.

    `issued_at` is in seconds since 1970 and `uptime` in seconds; `boot_count` is the TPM's resetCount;
    `client_key_thumbprint` is that of the MQTT client key; `uefi_log_digest`, `inventory_digest` and
    `suit_report_digest` are SHA-256.
    """

    FORMAT = "eat"

    nonce: Annotated[bytes, Claim(10, Between(*NONCE_BYTES))]
    audience: Annotated[str, Claim(3, Text(MAX_NAME))]
    issued_at: Annotated[int, Claim(6, Uint())]
    client_key_thumbprint: Annotated[bytes, Claim(8, _Confirmation())]
    ueid: Annotated[bytes, Claim(256, Between(*UEID_BYTES))]
    oem_id: Annotated[bytes | int, Claim(258, _OemId())]
    hw_model: Annotated[bytes, Claim(259, Between(*HW_MODEL_BYTES))]
    hw_version: Annotated[str, Claim(260, _Version())]
    uptime: Annotated[int, Claim(261, Uint())]
    boot_count: Annotated[int, Claim(267, Uint(2**32 - 1))]
    sw_name: Annotated[str, Claim(270, Text(MAX_NAME))]
    sw_version: Annotated[str, Claim(271, _Version())]
    uefi_log_digest: Annotated[bytes, Claim(-75001, SHA256)]
    oem_boot: Annotated[bool | None, Claim(262, Flag())] = None
    debug_status: Annotated[int | None, Claim(263, Uint(MAX_DEBUG_STATUS))] = None
    ledger_head: Annotated[LedgerHead | None, Claim(LedgerHeadForm.LABEL, LedgerHeadForm())] = None
    update_state: Annotated[str | None, Claim(-75003, Text(64))] = None
    support_state: Annotated[str | None, Claim(-75004, Text(64))] = None
    inventory_digest: Annotated[bytes | None, Claim(-75005, SHA256)] = None
    suit_report_digest: Annotated[bytes | None, Claim(-75006, SHA256)] = None
    profile: Annotated[str, Claim(265, Exactly(PROFILE))] = PROFILE
