"""TPM 2.0 structures of attestation (TPM 2.0 Library, Part 2); keys and NV indexes are in `tpm_public`.

Errors are InputError with codes `tpm-truncated`, `tpm-trailing`, `tpm-limit` and `tpm-malformed`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeVar

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor

FORMAT = "tpm"

MAX_DATA_BYTES = 66
"""TPM2B_DATA and TPM2B_NAME: the size of a TPMT_HA with SHA-512 (Part 2, 10.4.3 and 10.5.3)."""
MAX_DIGEST_BYTES = 64
"""TPM2B_DIGEST: SHA-512 (Part 2, 10.4.2)."""
MAX_NV_BYTES = 2048
"""TPM2B_MAX_NV_BUFFER: the usual MAX_NV_BUFFER_SIZE (Part 2, 10.4.9)."""
MAX_RSA_BYTES = 512
"""TPM2B_PUBLIC_KEY_RSA: 4096 bits (Part 2, 11.2.4.5)."""
MAX_ECC_BYTES = 66
"""TPM2B_ECC_PARAMETER: P-521 (Part 2, 11.2.5.1)."""
MAX_PCR_BANKS = 16
"""TPML_PCR_SELECTION: HASH_COUNT, with room (Part 2, 10.9.7)."""
PCR_SELECT_BYTES = 3
"""sizeofSelect of the PC Client profile: 24 PCRs."""
GENERATED = 0xFF544347
"""TPM_GENERATED_VALUE: leads whatever a TPM signs of itself (Part 2, 6.2)."""

_CLOCK_INFO = struct.Struct(">QIIB")

E = TypeVar("E", bound=IntEnum)


def member(cursor: Cursor, kind: type[E], value: int, what: str) -> E:
    """The member of `kind` with this value; malformed where there is none."""
    try:
        return kind(value)
    except ValueError:
        cursor.fail("malformed", f"{what} 0x{value:x} is not known")


def sized(data: bytes) -> bytes:
    """A TPM2B: 16 bits of size, then the bytes."""
    return len(data).to_bytes(2, "big") + data


def take_name(cursor: Cursor) -> bytes:
    """A TPM2B_NAME that holds a TPMT_HA (Part 2, 10.5.3): nameAlg || digest."""
    name = cursor.sized(2, MAX_DATA_BYTES)
    algorithm = member(cursor, HashAlg, int.from_bytes(name[:2], "big"), "the hash of a Name")
    if len(name) != 2 + algorithm.size:
        cursor.fail("malformed", f"a {algorithm.label} Name of {len(name)} bytes")
    return name


@dataclass(frozen=True)
class SignedAttest:
    """What a TPM signed: `attest` is a TPMS_ATTEST (Part 2, 10.12.8), `signature` a TPMT_SIGNATURE (11.3.4)."""

    attest: bytes
    signature: bytes


@dataclass(frozen=True)
class PcrSelection:
    """TPML_PCR_SELECTION (Part 2, 10.9.7) in its order: (bank, ascending PCR numbers).

    | count u32 | hash u16 | sizeofSelect u8 | bitmap, PCR 0 in the first byte's lowest bit | ...
    """

    banks: tuple[tuple[HashAlg, tuple[int, ...]], ...]

    def __str__(self) -> str:
        """As tpm2-tools write it, e.g. `sha256:0,1,7`."""
        return "+".join(f"{bank.label}:{','.join(map(str, pcrs))}" for bank, pcrs in self.banks)

    @classmethod
    def of(cls, banks: Mapping[HashAlg, Iterable[int]]) -> PcrSelection:
        """From a mapping, PCRs sorted."""
        return cls(tuple((bank, tuple(sorted(pcrs))) for bank, pcrs in banks.items()))

    @classmethod
    def parse(cls, data: bytes) -> PcrSelection:
        """From a TPML_PCR_SELECTION alone."""
        cursor = Cursor(data, FORMAT)
        selection = cls.take(cursor)
        cursor.done()
        return selection

    @classmethod
    def take(cls, cursor: Cursor) -> PcrSelection:
        """The next selection; a bank twice is malformed, and so is a bitmap that is not of the PC Client's size."""
        banks: dict[HashAlg, tuple[int, ...]] = {}
        for _ in range(cursor.count(4, MAX_PCR_BANKS)):
            bank = member(cursor, HashAlg, cursor.u16(), "PCR bank")
            if bank in banks:
                cursor.fail("malformed", f"the bank {bank.label} stands twice")
            if (size := cursor.u8()) != PCR_SELECT_BYTES:
                cursor.fail("malformed", f"a PCR bitmap of {size} bytes where {PCR_SELECT_BYTES} are usual")
            bits = int.from_bytes(cursor.take(size), "little")
            banks[bank] = tuple(pcr for pcr in range(8 * size) if bits >> pcr & 1)
        return cls(tuple(banks.items()))

    def encode(self) -> bytes:
        """TPML_PCR_SELECTION."""
        parts = [len(self.banks).to_bytes(4, "big")]
        for bank, pcrs in self.banks:
            bits = sum(1 << pcr for pcr in set(pcrs)).to_bytes(PCR_SELECT_BYTES, "little")
            parts.append(bank.to_bytes(2, "big") + bytes([PCR_SELECT_BYTES]) + bits)
        return b"".join(parts)


class AttestType(IntEnum):
    """TPM_ST_ATTEST_* that are parsed (Part 2, 6.9)."""

    NV = 0x8014
    CERTIFY = 0x8017
    QUOTE = 0x8018
    NV_DIGEST = 0x801C


@dataclass(frozen=True)
class ClockInfo:
    """TPMS_CLOCK_INFO (Part 2, 10.11.1); `clock` in milliseconds, `safe` is NO after every power cut."""

    clock: int
    reset_count: int
    restart_count: int
    safe: bool

    @property
    def moment(self) -> tuple[int, int, int]:
        """Greater for what is later in the life of one TPM, until TPM2_Clear."""
        return self.reset_count, self.restart_count, self.clock

    @classmethod
    def take(cls, cursor: Cursor) -> ClockInfo:
        """The next 17 bytes."""
        clock, resets, restarts, safe = cursor.unpack(_CLOCK_INFO)
        if safe > 1:
            cursor.fail("malformed", f"a TPMI_YES_NO of {safe}")
        return cls(clock, resets, restarts, bool(safe))

    def encode(self) -> bytes:
        """TPMS_CLOCK_INFO."""
        counts = self.reset_count.to_bytes(4, "big") + self.restart_count.to_bytes(4, "big")
        return self.clock.to_bytes(8, "big") + counts + bytes([self.safe])


@dataclass(frozen=True)
class QuoteInfo:
    """TPMS_QUOTE_INFO (Part 2, 10.12.1): the PCRs, and the digest over their values in this order."""

    selection: PcrSelection
    pcr_digest: bytes

    @classmethod
    def take(cls, cursor: Cursor) -> QuoteInfo:
        """The next TPMS_QUOTE_INFO."""
        return cls(PcrSelection.take(cursor), cursor.sized(2, MAX_DIGEST_BYTES))

    def encode(self) -> bytes:
        """TPMS_QUOTE_INFO."""
        return self.selection.encode() + sized(self.pcr_digest)


@dataclass(frozen=True)
class CertifyInfo:
    """TPMS_CERTIFY_INFO (Part 2, 10.12.3): Name and qualified Name of the certified object, as TPMT_HA."""

    name: bytes
    qualified_name: bytes

    @classmethod
    def take(cls, cursor: Cursor) -> CertifyInfo:
        """The next TPMS_CERTIFY_INFO."""
        return cls(take_name(cursor), take_name(cursor))

    def encode(self) -> bytes:
        """TPMS_CERTIFY_INFO."""
        return sized(self.name) + sized(self.qualified_name)


@dataclass(frozen=True)
class NvInfo:
    """TPMS_NV_CERTIFY_INFO (Part 2, 10.12.7): the Name of the index and `contents` from `offset` on."""

    index_name: bytes
    offset: int
    contents: bytes

    @classmethod
    def take(cls, cursor: Cursor) -> NvInfo:
        """The next TPMS_NV_CERTIFY_INFO."""
        return cls(take_name(cursor), cursor.u16(), cursor.sized(2, MAX_NV_BYTES))

    def encode(self) -> bytes:
        """TPMS_NV_CERTIFY_INFO."""
        return sized(self.index_name) + self.offset.to_bytes(2, "big") + sized(self.contents)


@dataclass(frozen=True)
class NvDigestInfo:
    """TPMS_NV_DIGEST_CERTIFY_INFO (Part 2 of 1.59, 10.12.8): the Name of the index and the digest of its contents."""

    index_name: bytes
    digest: bytes

    @classmethod
    def take(cls, cursor: Cursor) -> NvDigestInfo:
        """The next TPMS_NV_DIGEST_CERTIFY_INFO."""
        return cls(take_name(cursor), cursor.sized(2, MAX_DIGEST_BYTES))

    def encode(self) -> bytes:
        """TPMS_NV_DIGEST_CERTIFY_INFO."""
        return sized(self.index_name) + sized(self.digest)


Attested = QuoteInfo | CertifyInfo | NvInfo | NvDigestInfo
_INFOS: dict[AttestType, type[Attested]] = {
    AttestType.QUOTE: QuoteInfo,
    AttestType.CERTIFY: CertifyInfo,
    AttestType.NV: NvInfo,
    AttestType.NV_DIGEST: NvDigestInfo,
}


@dataclass(frozen=True)
class Attest:
    """TPMS_ATTEST (Part 2, 10.12.12).

    | magic u32 | type u16 | qualifiedSigner 2B | extraData 2B | clockInfo 17 | firmwareVersion u64 | attested |

    Whatever does not begin with TPM_GENERATED_VALUE is malformed: no such bytes came out of a TPM's own making.
    """

    type: AttestType
    qualified_signer: bytes
    extra_data: bytes
    clock_info: ClockInfo
    firmware_version: int
    attested: Attested

    @classmethod
    def parse(cls, data: bytes) -> Attest:
        """From the contents of a TPM2B_ATTEST."""
        cursor = Cursor(data, FORMAT)
        if (magic := cursor.u32()) != GENERATED:
            cursor.fail("malformed", f"magic 0x{magic:08x} is not TPM_GENERATED_VALUE")
        kind = member(cursor, AttestType, cursor.u16(), "attestation type")
        signer = take_name(cursor)
        extra = cursor.sized(2, MAX_DATA_BYTES)
        clock, firmware = ClockInfo.take(cursor), cursor.u64()
        attest = cls(kind, signer, extra, clock, firmware, _INFOS[kind].take(cursor))
        cursor.done()
        return attest

    def encode(self) -> bytes:
        """TPMS_ATTEST."""
        head = GENERATED.to_bytes(4, "big") + self.type.to_bytes(2, "big")
        body = sized(self.qualified_signer) + sized(self.extra_data) + self.clock_info.encode()
        return head + body + self.firmware_version.to_bytes(8, "big") + self.attested.encode()


class SignatureAlg(IntEnum):
    """TPM_ALG_ID of the signing schemes that are parsed (TCG Algorithm Registry)."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018


@dataclass(frozen=True)
class Signature:
    """TPMT_SIGNATURE (Part 2, 11.3.4): | sigAlg u16 | hash u16 | r 2B, s 2B, or the RSA signature 2B |.

    `value` has two parts for ECDSA (r and s, as the TPM gives them) and one for RSA.
    """

    algorithm: SignatureAlg
    hash: HashAlg
    value: tuple[bytes, ...]

    @classmethod
    def parse(cls, data: bytes) -> Signature:
        """From a TPMT_SIGNATURE alone."""
        cursor = Cursor(data, FORMAT)
        algorithm = member(cursor, SignatureAlg, cursor.u16(), "signature algorithm")
        digest = member(cursor, HashAlg, cursor.u16(), "signature hash")
        if algorithm is SignatureAlg.ECDSA:
            value: tuple[bytes, ...] = (cursor.sized(2, MAX_ECC_BYTES), cursor.sized(2, MAX_ECC_BYTES))
        else:
            value = (cursor.sized(2, MAX_RSA_BYTES),)
        cursor.done()
        return cls(algorithm, digest, value)

    def encode(self) -> bytes:
        """TPMT_SIGNATURE."""
        head = self.algorithm.to_bytes(2, "big") + self.hash.to_bytes(2, "big")
        return head + b"".join(sized(part) for part in self.value)
