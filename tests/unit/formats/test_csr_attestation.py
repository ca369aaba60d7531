"""Attestation in PKCS#10; the drafts' example is in tests/conformance/test_csr_vectors.py."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import der
from medvouch.formats.csr_attestation import (
    ID_AA_ATTESTATION,
    MAX_CERTIFICATES,
    MAX_STATEMENTS,
    Bundle,
    CertifyStatement,
    Request,
    request_info,
)
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

SEQUENCE, SET, OCTETS, ATTRIBUTES = 0x30, 0x31, 0x04, 0xA0
NAME = der.encode(SEQUENCE)
KEY = der.encode(SEQUENCE, der.encode(SEQUENCE), der.encode(0x03, b"\0key"))
ALGORITHM = der.encode(SEQUENCE, der.oid("1.2.840.10045.4.3.2"))
CERTIFICATE = der.encode(SEQUENCE, b"\x02\x01\x07")
STATEMENT = CertifyStatement(b"attest" * 40, b"signature", b"public", "verifier.example")
BUNDLE = Bundle((STATEMENT,), (CERTIFICATE,))


def request(attributes: bytes) -> bytes:
    info = der.encode(SEQUENCE, b"\x02\x01\x00", NAME, KEY, der.encode(ATTRIBUTES, attributes))
    return Request(info, NAME, KEY, ALGORITHM, b"sig", None).encode()


def attribute(bundle: bytes, oid: bytes = ID_AA_ATTESTATION) -> bytes:
    return der.encode(SEQUENCE, oid, der.encode(SET, bundle))


def whole(bundle: Bundle) -> bytes:
    return Request(request_info(NAME, KEY, bundle), NAME, KEY, ALGORITHM, b"sig", None).encode()


@pytest.mark.parametrize(
    "bundle",
    [
        BUNDLE,
        Bundle((CertifyStatement(b"a", b"s", None),)),
        Bundle((STATEMENT, CertifyStatement(b"", b"", b"")), (CERTIFICATE,) * 3),
    ],
)
def test_what_is_written_is_read(bundle: Bundle) -> None:
    parsed = Request.parse(whole(bundle))
    assert parsed.bundle == bundle
    assert (parsed.subject, parsed.key, parsed.algorithm, parsed.signature) == (NAME, KEY, ALGORITHM, b"sig")
    assert parsed.encode() == whole(bundle)


def test_lengths_and_identifiers_are_those_of_der() -> None:
    assert der.oid("2.23.133.20.1") == bytes.fromhex("0605 6781051401")
    assert der.oid("1.2.840.113549.1.9.16.2.59") == bytes.fromhex("060b 2a864886f70d010910023b")
    for size, head in ((0x7F, "047f"), (0x80, "048180"), (0xFF, "0481ff"), (0x100, "04820100")):
        assert der.encode(OCTETS, bytes(size)) == bytes.fromhex(head) + bytes(size)
        assert der.trim(der.encode(OCTETS, bytes(size)) + b"\xff") == der.encode(OCTETS, bytes(size))


def test_requests_without_a_bundle_and_with_other_attributes() -> None:
    assert Request.parse(request(b"")).bundle is None
    other = attribute(der.encode(SEQUENCE), der.oid("1.2.840.113549.1.9.14"))
    assert Request.parse(request(other)).bundle is None
    assert Request.parse(request(other + attribute(BUNDLE.encode()))).bundle == BUNDLE


def test_statements_of_other_kinds_are_counted() -> None:
    other = der.encode(SEQUENCE, der.oid("1.2.3.4"), der.encode(SEQUENCE))
    bundle = der.encode(SEQUENCE, der.encode(SEQUENCE, other, STATEMENT.encode()))
    assert Request.parse(request(attribute(bundle))).bundle == Bundle((STATEMENT,), (), 1)


def test_every_truncation_is_refused() -> None:
    assert_every_truncation_refused(Request.parse, whole(BUNDLE))


def statements(*encoded: bytes) -> bytes:
    return request(attribute(der.encode(SEQUENCE, der.encode(SEQUENCE, *encoded))))


def statement(*parts: bytes, hint: bytes = b"") -> bytes:
    octets = der.encode(SEQUENCE, *(der.encode(OCTETS, part) for part in parts))
    return der.encode(SEQUENCE, der.oid("2.23.133.20.1"), octets, hint)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (whole(BUNDLE) + b"\0", "certificate-trailing"),
        (request(attribute(BUNDLE.encode()) * 2), "certificate-malformed"),
        (
            request(der.encode(SEQUENCE, ID_AA_ATTESTATION, der.encode(SET, BUNDLE.encode() * 2))),
            "certificate-trailing",
        ),
        (request(der.encode(SEQUENCE, ID_AA_ATTESTATION)), "certificate-truncated"),
        (statements(*[statement(b"a", b"s")] * (MAX_STATEMENTS + 1)), "certificate-limit"),
        (whole(Bundle((STATEMENT,), (CERTIFICATE,) * (MAX_CERTIFICATES + 1))), "certificate-limit"),
        (statements(statement(b"a")), "certificate-malformed"),
        (statements(statement(b"a", b"s", b"p", b"more")), "certificate-limit"),
        (statements(statement(b"a", b"s", hint=der.encode(0x16, b"\xff"))), "certificate-malformed"),
        (statements(statement(b"a", b"s", hint=der.encode(0x0C, b"utf-8"))), "certificate-malformed"),
        (request(attribute(der.encode(SET))), "certificate-malformed"),
        (whole(BUNDLE).replace(b"\x02\x01\x00", b"\x02\x01\x01", 1), "certificate-malformed"),
        (whole(BUNDLE).replace(b"\x00sig", b"\x01sig", 1), "certificate-malformed"),
        (der.encode(OCTETS, whole(BUNDLE)), "certificate-malformed"),
    ],
)
def test_malformed(data: bytes, code: str) -> None:
    assert_input_refused(code, Request.parse, data)


@given(st.binary(max_size=60), st.integers(0, len(whole(BUNDLE))))
def test_any_bytes_end_in_a_declared_error(junk: bytes, at: int) -> None:
    good = whole(BUNDLE)
    for data in (junk, good[:at] + junk + good[at + len(junk) :]):
        with suppress(InputError):
            Request.parse(data)
