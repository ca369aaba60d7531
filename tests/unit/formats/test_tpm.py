"""TPMS_ATTEST, TPMT_SIGNATURE and TPML_PCR_SELECTION."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, AttestType, PcrSelection, Signature
from support.tpms import ATTESTS, NAME, QUOTE, SIGNATURES
from support.truncation import assert_every_truncation_refused

QUOTED = next(attest for attest in ATTESTS if attest.type is AttestType.QUOTE)


@pytest.mark.parametrize("attest", ATTESTS, ids=lambda attest: attest.type.name)
def test_attest_round_trip_and_truncations(attest: Attest) -> None:
    assert Attest.parse(attest.encode()) == attest
    assert_every_truncation_refused(Attest.parse, attest.encode())


@pytest.mark.parametrize("signature", SIGNATURES, ids=lambda signature: signature.algorithm.name)
def test_signature_round_trip_and_truncations(signature: Signature) -> None:
    assert Signature.parse(signature.encode()) == signature
    assert_every_truncation_refused(Signature.parse, signature.encode())


def test_selection_round_trip_and_truncations() -> None:
    data = bytes.fromhex("00000002000b03810080000c03000000")
    assert QUOTE.selection.encode() == data
    assert PcrSelection.parse(data) == QUOTE.selection
    assert_every_truncation_refused(PcrSelection.parse, data)


def test_selection_sorts_pcrs() -> None:
    assert PcrSelection.of({HashAlg.SHA256: [7, 0]}).banks == ((HashAlg.SHA256, (0, 7)),)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ("00000011", "tpm-limit"),
        ("00000001000b04000000", "tpm-malformed"),
        ("00000001000903000000", "tpm-malformed"),
        ("00000002000b03000000000b03000000", "tpm-malformed"),
        ("0000000000", "tpm-trailing"),
    ],
    ids=["too many banks", "an unusual bitmap", "an unknown bank", "a bank twice", "trailing"],
)
def test_selections_refused(data: str, code: str) -> None:
    with pytest.raises(InputError) as error:
        PcrSelection.parse(bytes.fromhex(data))
    assert error.value.code == code


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b"\xffTCG", b"\xffTCF", "tpm-malformed"),
        (b"\x80\x18", b"\x80\x19", "tpm-malformed"),
        (b"\x00\x22" + NAME, b"\x00\x21" + NAME[:-1], "tpm-malformed"),
        (b"\x00\x22" + NAME, b"\x00\x04\x40\x00\x00\x07", "tpm-malformed"),
        (b"\x00\x22" + NAME, b"\x00\x43" + bytes(67), "tpm-limit"),
        (b"\x00\x05nonce", b"\x00\x43" + bytes(67), "tpm-limit"),
        (b"\x01\x00\x00\x00\x00\x20\x19\x01\x23", b"\x02\x00\x00\x00\x00\x20\x19\x01\x23", "tpm-malformed"),
    ],
    ids=["magic", "type", "short Name", "a handle for a Name", "long Name", "long extraData", "safe is 2"],
)
def test_attests_refused(old: bytes, new: bytes, code: str) -> None:
    data = QUOTED.encode()
    assert old in data
    with pytest.raises(InputError) as error:
        Attest.parse(data.replace(old, new))
    assert error.value.code == code


def test_trailing_bytes_are_refused() -> None:
    for parse, data in ((Attest.parse, QUOTED.encode()), (Signature.parse, SIGNATURES[0].encode())):
        with pytest.raises(InputError, match="tpm-trailing"):
            parse(data + b"\0")


@pytest.mark.parametrize("data", ["001a000b0001010001 01", "0018000900010100 0101", "00180010"])
def test_signatures_of_other_algorithms_are_refused(data: str) -> None:
    with pytest.raises(InputError, match="tpm-malformed"):
        Signature.parse(bytes.fromhex(data))


def test_oversized_signatures_are_refused() -> None:
    for signature in SIGNATURES:
        with pytest.raises(InputError, match="tpm-limit"):
            Signature.parse(replace(signature, value=(bytes(600),)).encode())
