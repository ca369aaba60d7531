"""Signatures as firmware checks them: PKCS #7 SignedData over changed variables and over capsules, by a key of KEK.

The test certificates have Ed25519 keys, whose signatures are deterministic (RFC 8419); RSA is checked, too, since that
is what real tools make.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from medvouch.errors import InputError
from medvouch.formats import der
from medvouch.formats.cursor import Cursor
from medvouch.formats.secure_boot import SignedUpdate
from medvouch.formats.uefi import CERT_SHA256, CERT_X509, SignatureList, parse_signature_lists
from medvouch_sim.fixtures import certificate, certificate_key, owner

_SEQUENCE, _SET, _INTEGER, _OCTETS, _CERTIFICATES = 0x30, 0x31, 0x02, 0x04, 0xA0
_DATA, _SHA512, _ED25519 = "1.2.840.113549.1.7.1", "2.16.840.1.101.3.4.2.3", "1.3.101.112"
KEK = "medvouch test KEK"
"""Common name of the certificate in KEK, whose key is known."""


def sign(content: bytes, name: str = KEK) -> bytes:
    """SignedData without attributes and without the content, by the test key of a common name."""
    issued = x509.load_der_x509_certificate(certificate(name))
    issuer = issued.issuer.public_bytes()
    identifier = der.encode(_SEQUENCE, issuer, der.encode(_INTEGER, bytes([issued.serial_number])))
    digest, algorithm = (der.encode(_SEQUENCE, der.oid(each)) for each in (_SHA512, _ED25519))
    signature = der.encode(_OCTETS, certificate_key(name).sign(content))
    version = der.encode(_INTEGER, b"\1")
    signer = der.encode(_SEQUENCE, version, identifier, digest, algorithm, signature)
    return der.encode(
        _SEQUENCE, version, der.encode(_SET, digest), der.encode(_SEQUENCE, der.oid(_DATA)),
        der.encode(_CERTIFICATES, certificate(name)), der.encode(_SET, signer),
    )  # fmt: skip


def signed_update(
    name: str, attributes: int, time: datetime, lists: Iterable[SignatureList], *, by: str = KEK
) -> bytes:
    """A change of db or dbx as whoever holds that key signs it."""
    unsigned = SignedUpdate(time, b"", tuple(lists))
    signature = sign(unsigned.covered(name, attributes), by)
    return SignedUpdate(time, signature, unsigned.lists).encode()


def signed_by(signature: bytes, content: bytes, database: bytes) -> bool:
    """Whether a key of this signature database (KEK, say) made SignedData over the content."""
    try:
        made = _signature(signature)
    except InputError:
        return False
    return any(_verifies(key, made, content) for key in _keys(database))


def _signature(data: bytes) -> bytes:
    """Of the last signer; with or without the ContentInfo around it."""
    members = _members(data)
    if members[0].tag != _INTEGER:
        members = _members(_members(members[1].encoded)[0].encoded)
    signers = _members(members[-1].encoded)
    return next(each.content for each in reversed(_members(signers[-1].encoded)) if each.tag == _OCTETS)


def _members(data: bytes) -> list[der.Element]:
    cursor = Cursor(der.take(Cursor(data, "pkcs7")).content, "pkcs7")
    found = []
    while cursor.remaining:
        found.append(der.take(cursor))
    return found


def _keys(database: bytes) -> Iterator[object]:
    for each in parse_signature_lists(database):
        if each.type == CERT_X509:
            yield from (x509.load_der_x509_certificate(data).public_key() for _, data in each.signatures)


def _verifies(key: object, signature: bytes, content: bytes) -> bool:
    with suppress(InvalidSignature):
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
            return True
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, content, padding.PKCS1v15(), SHA256())
            return True
    return False


def forbidding(*images: bytes) -> SignatureList:
    """The entries of dbx for the Authenticode hashes (SHA-256) of images."""
    return SignatureList(CERT_SHA256, b"", 48, tuple((owner(), image) for image in images))
