"""TCG_CSR_IDEVID: how a device asks a maker's CA for its IDevID and IAK certificates.

(TCG TPM 2.0 Keys for Device Identity and Attestation, 1.1, 13.) Errors are InputError with codes `csr-truncated`,
`csr-trailing`, `csr-limit` and `csr-malformed`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.hashing import HASHERS
from medvouch.formats.tpm import member

FORMAT = "csr"
VERSION = 0x00000100
MAX_FIELD_BYTES = 64 * 1024
"""The largest is a boot event log or a certificate."""
MAX_CSR_BYTES = 1024 * 1024
PAD_BYTES = 16
"""The content is a multiple of so many bytes."""


@dataclass(frozen=True)
class CsrContent:
    """TCG_CSR_IDEVID_CONTENT; numbers are 32 bits, big-endian.

    ::

        | structVer | hashAlgoId | hashSz | hash | sizes of the twelve fields and the padding | fields | padding |

    `hash` is over everything after it. `attest_public` (the IAK) and `signing_public` (the IDevID) are TPMT_PUBLIC,
    `*_certify_info` TPMS_ATTEST and `*_certify_signature` TPMT_SIGNATURE of their TPM2_Certify, `create_ticket` a
    TPMT_TK_CREATION. `ek_certificate` is as the maker's CA takes it: DER or PEM.
    """

    ORDER: ClassVar[tuple[str, ...]]

    hash_alg: HashAlg
    product_model: bytes
    product_serial: bytes
    ca_data: bytes
    boot_event_log: bytes
    ek_certificate: bytes
    attest_public: bytes
    create_ticket: bytes
    attest_certify_info: bytes
    attest_certify_signature: bytes
    signing_public: bytes
    signing_certify_info: bytes
    signing_certify_signature: bytes

    @property
    def claimed(self) -> bytes:
        """What the hash is over."""
        values: list[bytes] = [getattr(self, name) for name in self.ORDER]
        head = 4 * (4 + len(self.ORDER)) + self.hash_alg.size
        pad = -(head + sum(map(len, values))) % PAD_BYTES
        sizes = b"".join(len(value).to_bytes(4, "big") for value in values)
        return sizes + pad.to_bytes(4, "big") + b"".join(values) + bytes(pad)

    @property
    def hash(self) -> bytes:
        """The one that stands in it."""
        value: bytes = HASHERS[self.hash_alg](self.claimed).digest()
        return value

    def encode(self) -> bytes:
        """TCG_CSR_IDEVID_CONTENT."""
        head = VERSION.to_bytes(4, "big") + self.hash_alg.to_bytes(4, "big") + self.hash_alg.size.to_bytes(4, "big")
        return head + self.hash + self.claimed

    @classmethod
    def parse(cls, data: bytes) -> CsrContent:
        """The inverse of `encode`; a hash that is not of what follows is malformed, and so is padding that is not 0."""
        cursor = Cursor(data, FORMAT)
        content = cls._take(cursor)
        cursor.done()
        if content.encode() != data:
            cursor.fail("malformed", "the hash is of something else, or the padding is not the usual one")
        return content

    @classmethod
    def _take(cls, cursor: Cursor) -> CsrContent:
        if (version := cursor.u32()) != VERSION:
            cursor.fail("malformed", f"version 0x{version:08x}")
        algorithm = member(cursor, HashAlg, cursor.u32(), "hash")
        if algorithm not in HASHERS or cursor.u32() != algorithm.size:
            cursor.fail("malformed", f"not the size of a {algorithm.label} digest")
        cursor.take(algorithm.size)
        sizes = [cursor.count(4, MAX_FIELD_BYTES) for _ in cls.ORDER]
        pad = cursor.count(4, PAD_BYTES - 1)
        values = [cursor.take(size) for size in sizes]
        cursor.take(pad)
        return cls(algorithm, **dict(zip(cls.ORDER, values, strict=True)))


CsrContent.ORDER = tuple(field.name for field in fields(CsrContent))[1:]


@dataclass(frozen=True)
class IdevidCsr:
    """TCG_CSR_IDEVID: | structVer | size of the content | size of the signature | content | signature |.

    `content` is a CsrContent encoded, `signature` the IDevID's TPMT_SIGNATURE over it.
    """

    content: bytes
    signature: bytes

    def encode(self) -> bytes:
        """TCG_CSR_IDEVID."""
        sizes = (VERSION, len(self.content), len(self.signature))
        return b"".join(number.to_bytes(4, "big") for number in sizes) + self.content + self.signature

    @classmethod
    def parse(cls, data: bytes) -> IdevidCsr:
        """The inverse of `encode`; the content is not read yet."""
        cursor = Cursor(data, FORMAT)
        if (version := cursor.u32()) != VERSION:
            cursor.fail("malformed", f"version 0x{version:08x}")
        content, signature = cursor.count(4, MAX_CSR_BYTES), cursor.count(4, MAX_FIELD_BYTES)
        csr = cls(cursor.take(content), cursor.take(signature))
        cursor.done()
        return csr
