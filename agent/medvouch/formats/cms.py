"""The signature that stands at the end of a file: CMS SignedData (RFC 5652) as the kernel's `sign-file` makes it.

::

    ContentInfo  SEQUENCE { id-signedData, [0] SignedData }
    SignedData   SEQUENCE { version, SET { digest algorithm }, SEQUENCE { id-data }, SET { SignerInfo } }
    SignerInfo   SEQUENCE { version, signer, digest algorithm, [0] signed attributes OPTIONAL, signature algorithm,
                            OCTET STRING }
    signer       SEQUENCE { issuer Name, serial INTEGER } in version 1, [0] subject key identifier in version 3

One signer, in DER, detached: certificates, revocation lists, a content inside and unsigned attributes have no place
here and are malformed. Errors are InputError with codes `cms-truncated`, `cms-trailing`, `cms-limit`, `cms-malformed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from medvouch.errors import InputError
from medvouch.formats import der
from medvouch.formats.text import printable

FORMAT = "cms"
MAX_SIGNATURE_BYTES = 1024
"""An RSA key of 8192 bits."""
MAX_KEY_ID_BYTES = 64
_MAX_NAMES = 16
"""Attributes of an issuer's name that are shown."""

_OCTET_STRING, _NULL, _OID, _SEQUENCE, _SET = 0x04, 0x05, 0x06, 0x30, 0x31
_KEY_ID, _INSIDE = 0x80, 0xA0
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_DATA = der.encode(_SEQUENCE, der.oid("1.2.840.113549.1.7.1"))
_BY_ISSUER, _BY_KEY_ID = 1, 3
"""Versions of SignerInfo, and with them of SignedData (5.1, 5.3)."""


class Algorithm(NamedTuple):
    """AlgorithmIdentifier: both parts are DER elements, `parameters` empty where there are none."""

    oid: bytes
    parameters: bytes = b""

    @property
    def is_plain(self) -> bool:
        """Whether there are no parameters, or NULL, which says the same."""
        return self.parameters in (b"", bytes((_NULL, 0)))

    def encode(self) -> bytes:
        """AlgorithmIdentifier."""
        return der.encode(_SEQUENCE, *self)


class IssuerAndSerial(NamedTuple):
    """Which certificate the signer's key has; `issuer` is a Name in DER."""

    issuer: bytes
    serial: int

    def describe(self) -> str:
        """One printable line: the values of the issuer's name, or all of it as bytes where it is none."""
        try:
            texts = list(self._values())
        except InputError:
            texts = [self.issuer.hex()]
        return printable(f"serial {self.serial:x} of {', '.join(texts)}")

    def _values(self) -> Iterator[str]:
        for part in der.Row(self.issuer, _SEQUENCE, FORMAT).rest(_SET, _MAX_NAMES):
            for attribute in der.Row(part.encoded, _SET, FORMAT).rest(_SEQUENCE, _MAX_NAMES):
                row = _row(attribute)
                row.take(_OID)
                yield der.take(row.cursor).content.decode("utf-8", "backslashreplace")


Signer = IssuerAndSerial | bytes
"""Or the key's subject key identifier."""


@dataclass(frozen=True)
class SignedData:
    """`signature` is PKCS#1 v1.5 for RSA keys and DER for ECDSA, over the digest of the content where there are no
    `signed_attributes` (their DER, tag [0]; empty where there are none), and over theirs where there are.
    """

    signer: Signer
    digest: Algorithm
    algorithm: Algorithm
    signature: bytes
    signed_attributes: bytes = b""

    @classmethod
    def parse(cls, data: bytes) -> SignedData:
        """Raises InputError `cms-*`."""
        outer = der.Row(data, _SEQUENCE, FORMAT)
        _expect(outer, outer.take(_OID).encoded, _SIGNED_DATA, "SignedData")
        inside = der.Row(outer.take(_INSIDE).encoded, _INSIDE, FORMAT)
        outer.done()
        row = _row(inside.take(_SEQUENCE))
        inside.done()
        version, digests = row.integer(), row.take(_SET)
        _expect(row, row.take(_SEQUENCE).encoded, _DATA, "a content of type data that stands elsewhere")
        signers = der.Row(row.take(_SET).encoded, _SET, FORMAT)
        row.done()
        parsed = cls._of_signer(_row(signers.take(_SEQUENCE)))
        signers.done()
        _expect(
            row, digests.encoded, der.encode(_SET, parsed.digest.encode()), "the signer's digest algorithm and no other"
        )
        if version != parsed._version:
            row.cursor.fail("malformed", f"version {version} of SignedData")
        return parsed

    @classmethod
    def _of_signer(cls, row: der.Row) -> SignedData:
        version = row.integer()
        signer = _signer(row)
        digest = _algorithm(row)
        attributes = row.take(_INSIDE).encoded if row.next_is(_INSIDE) else b""
        algorithm = _algorithm(row)
        signature = row.take(_OCTET_STRING).content
        row.done()
        if len(signature) > MAX_SIGNATURE_BYTES:
            row.cursor.fail("limit", f"{len(signature)} bytes where at most {MAX_SIGNATURE_BYTES} are allowed")
        parsed = cls(signer, digest, algorithm, signature, attributes)
        if version != parsed._version:
            row.cursor.fail("malformed", f"version {version} of SignerInfo")
        return parsed

    @property
    def _version(self) -> int:
        return _BY_KEY_ID if isinstance(self.signer, bytes) else _BY_ISSUER

    def describe_signer(self) -> str:
        """One printable line."""
        return self.signer.hex() if isinstance(self.signer, bytes) else self.signer.describe()

    def encode(self) -> bytes:
        """ContentInfo."""
        version, digest = der.integer(self._version), self.digest.encode()
        if isinstance(self.signer, bytes):
            signer = der.encode(_KEY_ID, self.signer)
        else:
            signer = der.encode(_SEQUENCE, self.signer.issuer, der.integer(self.signer.serial))
        value = der.encode(_OCTET_STRING, self.signature)
        info = der.encode(_SEQUENCE, version, signer, digest, self.signed_attributes, self.algorithm.encode(), value)
        signed = der.encode(_SEQUENCE, version, der.encode(_SET, digest), _DATA, der.encode(_SET, info))
        return der.encode(_SEQUENCE, _SIGNED_DATA, der.encode(_INSIDE, signed))


def _row(element: der.Element) -> der.Row:
    return der.Row(element.encoded, _SEQUENCE, FORMAT)


def _expect(row: der.Row, found: bytes, wanted: bytes, what: str) -> None:
    if found != wanted:
        row.cursor.fail("malformed", f"{what} is wanted")


def _signer(row: der.Row) -> Signer:
    if not row.next_is(_KEY_ID):
        named = _row(row.take(_SEQUENCE))
        signer = IssuerAndSerial(named.take(_SEQUENCE).encoded, named.integer())
        named.done()
        return signer
    key_id = row.take(_KEY_ID).content
    if not 0 < len(key_id) <= MAX_KEY_ID_BYTES:
        row.cursor.fail("limit", f"a key identifier of {len(key_id)} bytes")
    return key_id


def _algorithm(row: der.Row) -> Algorithm:
    inner = _row(row.take(_SEQUENCE))
    oid = inner.take(_OID).encoded
    parameters = der.take(inner.cursor).encoded if inner.cursor.remaining else b""
    inner.done()
    return Algorithm(oid, parameters)
