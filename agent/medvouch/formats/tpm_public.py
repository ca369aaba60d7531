"""The public areas of TPM keys and NV indexes (TPM 2.0 Library, Part 2, clauses 12 and 13)."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import TypeVar

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.tpm import FORMAT, MAX_DIGEST_BYTES, MAX_ECC_BYTES, MAX_NV_BYTES, MAX_RSA_BYTES, member, sized

NULL = 0x0010
"""TPM_ALG_NULL."""

F = TypeVar("F", bound=IntFlag)


class ObjectAttribute(IntFlag):
    """TPMA_OBJECT (Part 2, 8.3)."""

    FIXED_TPM = 1 << 1
    ST_CLEAR = 1 << 2
    FIXED_PARENT = 1 << 4
    SENSITIVE_DATA_ORIGIN = 1 << 5
    USER_WITH_AUTH = 1 << 6
    ADMIN_WITH_POLICY = 1 << 7
    FIRMWARE_LIMITED = 1 << 8
    SVN_LIMITED = 1 << 9
    NO_DA = 1 << 10
    ENCRYPTED_DUPLICATION = 1 << 11
    RESTRICTED = 1 << 16
    DECRYPT = 1 << 17
    SIGN = 1 << 18
    X509_SIGN = 1 << 19


class NvAttribute(IntFlag):
    """TPMA_NV (Part 2, 13.4); COUNTER to PIN are the bits of the TPM_NT field, none of them is an ordinary index."""

    PPWRITE = 1 << 0
    OWNERWRITE = 1 << 1
    AUTHWRITE = 1 << 2
    POLICYWRITE = 1 << 3
    COUNTER = 1 << 4
    BITS = 1 << 5
    EXTEND = 1 << 6
    PIN = 1 << 7
    POLICY_DELETE = 1 << 10
    WRITELOCKED = 1 << 11
    WRITEALL = 1 << 12
    WRITEDEFINE = 1 << 13
    WRITE_STCLEAR = 1 << 14
    GLOBALLOCK = 1 << 15
    PPREAD = 1 << 16
    OWNERREAD = 1 << 17
    AUTHREAD = 1 << 18
    POLICYREAD = 1 << 19
    NO_DA = 1 << 25
    ORDERLY = 1 << 26
    CLEAR_STCLEAR = 1 << 27
    READLOCKED = 1 << 28
    WRITTEN = 1 << 29
    PLATFORMCREATE = 1 << 30
    READ_STCLEAR = 1 << 31


class KeyType(IntEnum):
    """TPMI_ALG_PUBLIC of asymmetric keys."""

    RSA = 0x0001
    ECC = 0x0023


class Curve(IntEnum):
    """TPM_ECC_CURVE (TCG Algorithm Registry): the NIST curves; `size` of a coordinate in bytes."""

    P256 = 0x0003
    P384 = 0x0004
    P521 = 0x0005

    @property
    def size(self) -> int:
        """Bytes of a coordinate."""
        return {Curve.P256: 32, Curve.P384: 48, Curve.P521: 66}[self]


class SchemeAlg(IntEnum):
    """TPM_ALG_ID of the schemes a key may be bound to, each with one hash."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    OAEP = 0x0017
    ECDSA = 0x0018


@dataclass(frozen=True)
class Symmetric:
    """TPMT_SYM_DEF_OBJECT of a storage key (Part 2, 11.1.7): AES in CFB mode; `key_bits` is 128, 192 or 256."""

    key_bits: int

    AES = 0x0006
    CFB = 0x0043

    def encode(self) -> bytes:
        """TPMT_SYM_DEF_OBJECT."""
        return b"".join(value.to_bytes(2, "big") for value in (self.AES, self.key_bits, self.CFB))


@dataclass(frozen=True)
class Scheme:
    """TPMT_RSA_SCHEME or TPMT_ECC_SCHEME that is not null (Part 2, 11.2.4.2 and 11.2.5.6)."""

    algorithm: SchemeAlg
    hash: HashAlg

    def encode(self) -> bytes:
        """The scheme."""
        return self.algorithm.to_bytes(2, "big") + self.hash.to_bytes(2, "big")


@dataclass(frozen=True)
class RsaParameters:
    """TPMS_RSA_PARMS (Part 2, 12.2.3.5); exponent 0 stands for 65537."""

    symmetric: Symmetric | None
    scheme: Scheme | None
    key_bits: int
    exponent: int

    @classmethod
    def take(cls, cursor: Cursor) -> RsaParameters:
        """The next TPMS_RSA_PARMS."""
        return cls(_take_symmetric(cursor), _take_scheme(cursor), cursor.u16(), cursor.u32())

    def encode(self) -> bytes:
        """TPMS_RSA_PARMS."""
        sizes = self.key_bits.to_bytes(2, "big") + self.exponent.to_bytes(4, "big")
        return _optional(self.symmetric) + _optional(self.scheme) + sizes


@dataclass(frozen=True)
class EccParameters:
    """TPMS_ECC_PARMS (Part 2, 12.2.3.6); the key derivation scheme is always null."""

    symmetric: Symmetric | None
    scheme: Scheme | None
    curve: Curve

    @classmethod
    def take(cls, cursor: Cursor) -> EccParameters:
        """The next TPMS_ECC_PARMS."""
        symmetric, scheme = _take_symmetric(cursor), _take_scheme(cursor)
        curve = member(cursor, Curve, cursor.u16(), "curve")
        if (kdf := cursor.u16()) != NULL:
            cursor.fail("malformed", f"key derivation scheme 0x{kdf:04x} is not null")
        return cls(symmetric, scheme, curve)

    def encode(self) -> bytes:
        """TPMS_ECC_PARMS."""
        tail = self.curve.to_bytes(2, "big") + NULL.to_bytes(2, "big")
        return _optional(self.symmetric) + _optional(self.scheme) + tail


def _optional(part: Symmetric | Scheme | None) -> bytes:
    return NULL.to_bytes(2, "big") if part is None else part.encode()


def _take_symmetric(cursor: Cursor) -> Symmetric | None:
    if (algorithm := cursor.u16()) == NULL:
        return None
    bits, mode = cursor.u16(), cursor.u16()
    if algorithm != Symmetric.AES or mode != Symmetric.CFB or bits not in (128, 192, 256):
        cursor.fail(
            "malformed", f"symmetric algorithm 0x{algorithm:04x} ({bits} bits, mode 0x{mode:04x}) is not AES-CFB"
        )
    return Symmetric(bits)


def _take_scheme(cursor: Cursor) -> Scheme | None:
    if (algorithm := cursor.u16()) == NULL:
        return None
    scheme = member(cursor, SchemeAlg, algorithm, "scheme")
    return Scheme(scheme, member(cursor, HashAlg, cursor.u16(), "hash of the scheme"))


@functools.cache
def _known_bits(kind: type[IntFlag]) -> int:
    return sum(int(flag) for flag in kind)


def _take_flags(cursor: Cursor, kind: type[F]) -> F:
    value = cursor.u32()
    if reserved := value & ~_known_bits(kind):
        cursor.fail("malformed", f"reserved bits 0x{reserved:08x} in {kind.__name__}")
    return kind(value)


@dataclass(frozen=True)
class Public:
    """TPMT_PUBLIC of an asymmetric key (Part 2, 12.2.4), also the template of one.

    | type u16 | nameAlg u16 | objectAttributes u32 | authPolicy 2B | parameters | unique |

    `unique` is (n,) for RSA and (x, y) for ECC, as the TPM gives them.
    """

    name_alg: HashAlg
    attributes: ObjectAttribute
    auth_policy: bytes
    parameters: RsaParameters | EccParameters
    unique: tuple[bytes, ...]

    @property
    def type(self) -> KeyType:
        """RSA or ECC."""
        return KeyType.RSA if isinstance(self.parameters, RsaParameters) else KeyType.ECC

    @classmethod
    def parse(cls, data: bytes) -> Public:
        """From a TPMT_PUBLIC alone (the contents of a TPM2B_PUBLIC)."""
        cursor = Cursor(data, FORMAT)
        kind = member(cursor, KeyType, cursor.u16(), "key type")
        name_alg = member(cursor, HashAlg, cursor.u16(), "nameAlg")
        attributes = _take_flags(cursor, ObjectAttribute)
        policy = cursor.sized(2, MAX_DIGEST_BYTES)
        if kind is KeyType.RSA:
            public = cls(name_alg, attributes, policy, RsaParameters.take(cursor), (cursor.sized(2, MAX_RSA_BYTES),))
        else:
            parameters = EccParameters.take(cursor)
            point = (cursor.sized(2, MAX_ECC_BYTES), cursor.sized(2, MAX_ECC_BYTES))
            public = cls(name_alg, attributes, policy, parameters, point)
        cursor.done()
        return public

    def encode(self) -> bytes:
        """TPMT_PUBLIC."""
        head = self.type.to_bytes(2, "big") + self.name_alg.to_bytes(2, "big") + self.attributes.to_bytes(4, "big")
        unique = b"".join(sized(part) for part in self.unique)
        return head + sized(self.auth_policy) + self.parameters.encode() + unique


@dataclass(frozen=True)
class NvPublic:
    """TPMS_NV_PUBLIC (Part 2, 13.5): | nvIndex u32 | nameAlg u16 | attributes u32 | authPolicy 2B | dataSize u16 |."""

    index: int
    name_alg: HashAlg
    attributes: NvAttribute
    auth_policy: bytes
    size: int

    @classmethod
    def parse(cls, data: bytes) -> NvPublic:
        """From a TPMS_NV_PUBLIC alone (the contents of a TPM2B_NV_PUBLIC)."""
        cursor = Cursor(data, FORMAT)
        if (index := cursor.u32()) >> 24 != 0x01:
            cursor.fail("malformed", f"0x{index:08x} is not the handle of an NV index")
        name_alg = member(cursor, HashAlg, cursor.u16(), "nameAlg")
        attributes = _take_flags(cursor, NvAttribute)
        policy = cursor.sized(2, MAX_DIGEST_BYTES)
        if (size := cursor.u16()) > MAX_NV_BYTES:
            cursor.fail("limit", f"an NV index of {size} bytes where at most {MAX_NV_BYTES} are allowed")
        cursor.done()
        return cls(index, name_alg, attributes, policy, size)

    def encode(self) -> bytes:
        """TPMS_NV_PUBLIC."""
        head = self.index.to_bytes(4, "big") + self.name_alg.to_bytes(2, "big") + self.attributes.to_bytes(4, "big")
        return head + sized(self.auth_policy) + self.size.to_bytes(2, "big")
