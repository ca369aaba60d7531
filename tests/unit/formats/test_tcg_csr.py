"""TCG_CSR_IDEVID; that a real TPM's holds is shown by tests/integration/test_swtpm_csr.py."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tcg_csr import CsrContent, IdevidCsr
from support.refusing import assert_input_refused
from support.truncation import assert_every_truncation_refused

VALUES = {name: bytes([number]) * number for number, name in enumerate(CsrContent.ORDER, 1)}
CONTENT = CsrContent(HashAlg.SHA256, **VALUES)
ENCODED = CONTENT.encode()
CSR = IdevidCsr(ENCODED, b"signature")


def changed(offset: int, value: int, data: bytes = ENCODED) -> bytes:
    return data[:offset] + value.to_bytes(4, "big") + data[offset + 4 :]


def rehashed(data: bytes) -> bytes:
    """With the hash that this content should have."""
    return data[:12] + hashlib.sha256(data[44:]).digest() + data[44:]


def test_the_layout() -> None:
    """structVer, hashAlgoId, hashSz, hash, twelve sizes and the padding's, the fields, padding to 16 bytes."""
    assert ENCODED[:12] == bytes.fromhex("00000100 0000000b 00000020")
    assert ENCODED[12:44] == hashlib.sha256(ENCODED[44:]).digest()
    sizes = [int.from_bytes(ENCODED[at : at + 4], "big") for at in range(44, 44 + 4 * 13, 4)]
    assert sizes[:12] == list(range(1, 13))
    assert len(ENCODED) % 16 == 0
    assert len(ENCODED) == 44 + 4 * 13 + sum(sizes)
    assert ENCODED[96 : 96 + 78] == b"".join(VALUES.values())


@pytest.mark.parametrize("algorithm", [HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512], ids=lambda each: each.label)
def test_what_is_written_is_read(algorithm: HashAlg) -> None:
    content = CsrContent(algorithm, **VALUES)
    assert CsrContent.parse(content.encode()) == content
    assert IdevidCsr.parse(CSR.encode()) == CSR
    assert CSR.encode()[:12] == bytes.fromhex("00000100") + len(ENCODED).to_bytes(4, "big") + bytes([0, 0, 0, 9])


def test_every_truncation_is_refused() -> None:
    assert_every_truncation_refused(CsrContent.parse, ENCODED)
    assert_every_truncation_refused(IdevidCsr.parse, CSR.encode())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (ENCODED + b"\0", "csr-trailing"),
        (changed(0, 0x101), "csr-malformed"),
        (changed(4, 0x0F), "csr-malformed"),
        (changed(8, 20), "csr-malformed"),
        (changed(44, 1 << 31), "csr-limit"),
        (changed(92, 16), "csr-limit"),
        (ENCODED[:12] + bytes(32) + ENCODED[44:], "csr-malformed"),
        (rehashed(ENCODED[:-1] + b"\1"), "csr-malformed"),
        (rehashed(changed(92, 0)[:-2]), "csr-malformed"),
    ],
    ids=["trailing", "version", "no hash", "digest size", "huge field", "huge pad", "hash", "pad not zero", "no pad"],
)
def test_malformed_contents(data: bytes, code: str) -> None:
    assert_input_refused(code, CsrContent.parse, data)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (CSR.encode() + b"\0", "csr-trailing"),
        (changed(0, 0, CSR.encode()), "csr-malformed"),
        (changed(4, 1 << 31, CSR.encode()), "csr-limit"),
        (changed(8, 1 << 31, CSR.encode()), "csr-limit"),
    ],
)
def test_malformed_requests(data: bytes, code: str) -> None:
    assert_input_refused(code, IdevidCsr.parse, data)


@given(st.binary(max_size=400), st.integers(0, len(ENCODED)))
def test_any_bytes_end_in_a_declared_error(junk: bytes, at: int) -> None:
    for data in (junk, ENCODED[:at] + junk + ENCODED[at + len(junk) :]):
        with suppress(InputError):
            CsrContent.parse(data)
        with suppress(InputError):
            IdevidCsr.parse(data)
