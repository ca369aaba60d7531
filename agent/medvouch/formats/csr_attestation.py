"""Attestation inside a PKCS#10 request (draft-ietf-lamps-csr-attestation) with the TCG's statement of TPM2_Certify.

::

    CertificationRequest  SEQUENCE { info, algorithm SEQUENCE, signature BIT STRING }               RFC 2986
    info                  SEQUENCE { 0, subject Name, key SubjectPublicKeyInfo, [0] attributes }
    id-aa-attestation     AttestationBundle ::= SEQUENCE { SEQUENCE OF statement, SEQUENCE OF certificate OPTIONAL }
    statement             SEQUENCE { type OBJECT IDENTIFIER, stmt, hint IA5String OPTIONAL }
    tcg-attest-tpm-certify SEQUENCE { TPMS_ATTEST, signature, TPMT_PUBLIC OPTIONAL } each an OCTET STRING

(`hint` is of earlier drafts, which are in use.) Errors are InputError with codes `certificate-*`: it is their DER.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medvouch.formats import der

ID_AA_ATTESTATION = der.oid("1.2.840.113549.1.9.16.2.59")
TCG_ATTEST_CERTIFY = der.oid("2.23.133.20.1")
MAX_STATEMENTS = 8
MAX_CERTIFICATES = 8
_BIT_STRING, _OCTET_STRING, _OID, _IA5_STRING, _SEQUENCE, _SET, _ATTRIBUTES = 0x03, 0x04, 0x06, 0x16, 0x30, 0x31, 0xA0
_VERSION = b"\x02\x01\x00"
_FORMAT = "certificate"


@dataclass(frozen=True)
class CertifyStatement:
    """What TPM2_Certify says of the key that the request is for; `signature` is a TPMT_SIGNATURE or a plain one."""

    attest: bytes
    signature: bytes
    public: bytes | None
    hint: str = ""

    def encode(self) -> bytes:
        """AttestationStatement."""
        parts = [self.attest, self.signature, *([] if self.public is None else [self.public])]
        statement = der.encode(_SEQUENCE, *(der.encode(_OCTET_STRING, part) for part in parts))
        hint = der.encode(_IA5_STRING, self.hint.encode("ascii")) if self.hint else b""
        return der.encode(_SEQUENCE, TCG_ATTEST_CERTIFY, statement, hint)


@dataclass(frozen=True)
class Bundle:
    """AttestationBundle: statements that are understood, how many others there are, and certificates (DER)."""

    statements: tuple[CertifyStatement, ...]
    certificates: tuple[bytes, ...] = ()
    others: int = 0

    def encode(self) -> bytes:
        """AttestationBundle; `others` are not known well enough to be written."""
        statements = der.encode(_SEQUENCE, *(statement.encode() for statement in self.statements))
        certificates = der.encode(_SEQUENCE, *self.certificates) if self.certificates else b""
        return der.encode(_SEQUENCE, statements, certificates)


@dataclass(frozen=True)
class Request:
    """A certification request: `info` is what is signed; `key` a SubjectPublicKeyInfo, `subject` a Name, both DER."""

    info: bytes
    subject: bytes
    key: bytes
    algorithm: bytes
    signature: bytes
    bundle: Bundle | None

    def encode(self) -> bytes:
        """CertificationRequest."""
        return der.encode(_SEQUENCE, self.info, self.algorithm, der.encode(_BIT_STRING, b"\0" + self.signature))

    @classmethod
    def parse(cls, data: bytes) -> Request:
        """From DER; a bundle twice is malformed, and other attributes are passed over."""
        outer = _row(data)
        info, algorithm, signature = outer.take(_SEQUENCE), outer.take(_SEQUENCE), outer.take(_BIT_STRING)
        outer.done()
        if signature.content[:1] != b"\0":
            outer.cursor.fail("malformed", "a signature of bits that are no bytes")
        inner = _row(info)
        if inner.cursor.take(len(_VERSION)) != _VERSION:
            inner.cursor.fail("malformed", "not version 0")
        subject, key, attributes = inner.take(_SEQUENCE), inner.take(_SEQUENCE), inner.take(_ATTRIBUTES)
        inner.done()
        bundle = _bundle(attributes)
        parts = info.encoded, subject.encoded, key.encoded, algorithm.encoded, signature.content[1:]
        return cls(*parts, bundle)


def request_info(subject: bytes, key: bytes, bundle: Bundle) -> bytes:
    """CertificationRequestInfo: what the key signs."""
    attribute = der.encode(_SEQUENCE, ID_AA_ATTESTATION, der.encode(_SET, bundle.encode()))
    return der.encode(_SEQUENCE, _VERSION, subject, key, der.encode(_ATTRIBUTES, attribute))


def _row(element: der.Element | bytes, outer: int = _SEQUENCE) -> der.Row:
    return der.Row(element if isinstance(element, bytes) else element.encoded, outer, _FORMAT)


def _bundle(attributes: der.Element) -> Bundle | None:
    found: Bundle | None = None
    for attribute in _row(attributes, _ATTRIBUTES).rest(_SEQUENCE, 64):
        row = _row(attribute)
        name, values = row.take(_OID), row.take(_SET)
        row.done()
        if name.encoded == ID_AA_ATTESTATION:
            chosen = _row(values, _SET)
            bundle = _parse_bundle(chosen.take(_SEQUENCE))
            chosen.done()
            if found is not None:
                row.cursor.fail("malformed", "an attestation bundle stands twice")
            found = bundle
    return found


def _parse_bundle(element: der.Element) -> Bundle:
    row = _row(element)
    statements = _row(row.take(_SEQUENCE)).rest(_SEQUENCE, MAX_STATEMENTS)
    certificates: Sequence[der.Element] = ()
    if row.cursor.remaining:
        certificates = _row(row.take(_SEQUENCE)).rest(_SEQUENCE, MAX_CERTIFICATES)
        row.done()
    understood = [parsed for parsed in map(_statement, statements) if parsed is not None]
    encoded = tuple(certificate.encoded for certificate in certificates)
    return Bundle(tuple(understood), encoded, len(statements) - len(understood))


def _statement(element: der.Element) -> CertifyStatement | None:
    row = _row(element)
    if row.take(_OID).encoded != TCG_ATTEST_CERTIFY:
        return None
    parts = [part.content for part in _row(row.take(_SEQUENCE)).rest(_OCTET_STRING, 3)]
    hint = row.take(_IA5_STRING).content if row.cursor.remaining else b""
    row.done()
    if len(parts) < 2 or not hint.isascii():
        row.cursor.fail("malformed", "a TPM2_Certify statement has an attestation and its signature")
    return CertifyStatement(parts[0], parts[1], parts[2] if len(parts) == 3 else None, hint.decode("ascii"))
