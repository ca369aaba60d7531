"""The signature that IMA finds at a file and puts into its list, signature_v2_hdr (Linux, integrity.h).

    type u8 | version u8 | hash algorithm u8 | key id u32 | size u16 | signature            all big endian

Type 3, version 2 signs the file's digest; type 6, version 3 signs SHA-x(6 | hash algorithm | fs-verity digest). A file
that has none of these is listed with EVM's signature of its metadata (type 5), which no list has enough to check.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor

FORMAT = "ima-signature"
OF_FILE, OF_METADATA, OF_VERITY = 3, 5, 6
"""EVM_IMA_XATTR_DIGSIG, EVM_XATTR_PORTABLE_DIGSIG and IMA_VERITY_DIGSIG."""
MAX_SIGNATURE_BYTES = 1024
"""An RSA key of 8192 bits."""
KEY_ID_BYTES = 4

_VERSIONS = {OF_FILE: 2, OF_VERITY: 3}
_ALGORITHMS: Mapping[int, HashAlg] = {
    2: HashAlg.SHA1,
    4: HashAlg.SHA256,
    5: HashAlg.SHA384,
    6: HashAlg.SHA512,
    17: HashAlg.SM3_256,
    20: HashAlg.SHA3_256,
    21: HashAlg.SHA3_384,
    22: HashAlg.SHA3_512,
}
"""enum hash_algo of the kernel, hash_info.h."""
_NUMBERS = {algorithm: number for number, algorithm in _ALGORITHMS.items()}


@dataclass(frozen=True)
class ImaSignature:
    """`value` is PKCS#1 v1.5 for RSA keys and DER for ECDSA; `key_id` the end of the key's subject key identifier."""

    type: int
    algorithm: HashAlg
    key_id: bytes
    value: bytes

    @classmethod
    def parse(cls, data: bytes) -> ImaSignature:
        """Raises InputError `ima-signature-*`."""
        cursor = Cursor(data, FORMAT)
        kind, version, number = cursor.u8(), cursor.u8(), cursor.u8()
        if _VERSIONS.get(kind) != version or number not in _ALGORITHMS:
            cursor.fail("malformed", f"type {kind}, version {version}, hash algorithm {number}")
        key_id, value = cursor.take(KEY_ID_BYTES), cursor.sized(2, MAX_SIGNATURE_BYTES)
        cursor.done()
        return cls(kind, _ALGORITHMS[number], key_id, value)

    def encode(self) -> bytes:
        """The extended attribute's value."""
        head = bytes((self.type, _VERSIONS[self.type], _NUMBERS[self.algorithm]))
        return head + self.key_id + len(self.value).to_bytes(2, "big") + self.value

    def verity_input(self, digest: bytes) -> bytes:
        """What is hashed to make the digest that is signed, where this signs a file by its fs-verity digest."""
        return bytes((OF_VERITY, _NUMBERS[self.algorithm])) + digest
