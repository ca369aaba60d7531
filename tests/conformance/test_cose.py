"""COSE_Sign1 and COSE_Sign against the examples of the COSE working group."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from medvouch.crypto import cose
from medvouch.errors import InputError, MedvouchError, Refusal
from medvouch.formats.cose import Sign, Sign1
from support.cose_vectors import load_vector
from support.truncation import assert_every_truncation_refused

SIGN1 = [
    "CWT/A_3",
    "RFC8152/Appendix_C_2_1",
    *(f"ecdsa-examples/ecdsa-sig-0{number}" for number in range(1, 5)),
    "eddsa-examples/eddsa-sig-01",
    "eddsa-examples/eddsa-sig-02",
    "sign1-tests/sign-pass-02",
    "sign1-tests/sign-pass-03",
]
SIGN = [
    "RFC8152/Appendix_C_1_1",
    "RFC8152/Appendix_C_1_2",
    "RFC8152/Appendix_C_1_3",
    *(f"ecdsa-examples/ecdsa-0{number}" for number in range(1, 5)),
    "eddsa-examples/eddsa-01",
    "eddsa-examples/eddsa-02",
    "sign-tests/ecdsa-01",
    "sign-tests/sign-pass-01",
    "sign-tests/sign-pass-02",
    "sign-tests/sign-pass-03",
    *(f"x509-examples/signed-0{number}" for number in range(1, 6)),
]
FAILING = {
    "01": "cose-malformed",
    "02": "cose-signature-invalid",
    "03": "cose-algorithm",
    "04": "cose-algorithm",
    "06": "cose-signature-invalid",
    "07": "cose-signature-invalid",
}


@pytest.mark.parametrize("name", SIGN1)
def test_sign1_accepted(vectors: Path, name: str) -> None:
    vector = load_vector(vectors / "cose" / f"{name}.json")
    verified = cose.verify1(vector.data, vector.keys[0], external_aad=vector.external, tagged=vector.tagged)
    message = Sign1.parse(vector.data, tagged=vector.tagged)
    assert message.to_be_signed(verified.payload, vector.external) == vector.to_be_signed[0]
    if vector.tagged:
        assert message.encode() == vector.data
        assert_every_truncation_refused(Sign1.parse, vector.data)


def test_sign1_with_an_empty_map_as_protected_header(vectors: Path) -> None:
    """Its algorithm stands in the unprotected header: refused, unless both sides agreed on it beforehand."""
    vector = load_vector(vectors / "cose" / "sign1-tests" / "sign-pass-01.json")
    message = Sign1.parse(vector.data)
    assert message.protected_bytes == b"\xa0"
    assert message.to_be_signed(b"This is the content.") == vector.to_be_signed[0]
    assert cose.verify1(vector.data, vector.keys[0], algorithm=-7).payload == b"This is the content."
    with pytest.raises(Refusal) as caught:
        cose.verify1(vector.data, vector.keys[0])
    assert caught.value.code == "cose-algorithm"


@pytest.mark.parametrize("name", SIGN)
def test_sign_accepted(vectors: Path, name: str) -> None:
    vector = load_vector(vectors / "cose" / f"{name}.json")
    wanted = len(vector.keys)
    verified = cose.verify(
        vector.data, vector.keys, threshold=wanted, external_aad=vector.external, tagged=vector.tagged
    )
    message = Sign.parse(vector.data, tagged=vector.tagged)
    covered = [message.to_be_signed(block, verified.payload, vector.external) for block in message.signatures]
    assert tuple(covered) == vector.to_be_signed
    assert verified.signers == vector.keys
    if vector.tagged:
        assert_every_truncation_refused(Sign.parse, vector.data)


@pytest.mark.parametrize(("number", "code"), FAILING.items())
def test_sign1_refused(vectors: Path, number: str, code: str) -> None:
    vector = load_vector(vectors / "cose" / "sign1-tests" / f"sign-fail-{number}.json")
    assert vector.fail
    with pytest.raises(MedvouchError) as caught:
        cose.verify1(vector.data, vector.keys[0])
    assert caught.value.code == code


@pytest.mark.parametrize("number", FAILING)
def test_sign_refused(vectors: Path, number: str) -> None:
    vector = load_vector(vectors / "cose" / "sign-tests" / f"sign-fail-{number}.json")
    assert vector.fail
    with pytest.raises(MedvouchError) as caught:
        cose.verify(vector.data, vector.keys)
    assert caught.value.code == ("cose-malformed" if number == "01" else "cose-too-few-signatures")


def test_critical_header_refused(vectors: Path) -> None:
    vector = load_vector(vectors / "cose" / "RFC8152" / "Appendix_C_1_4.json")
    with pytest.raises(Refusal) as caught:
        cose.verify(vector.data, vector.keys)
    assert caught.value.code == "cose-critical-header"


JUDGED = {
    *SIGN1, *SIGN, "sign1-tests/sign-pass-01", "RFC8152/Appendix_C_1_4",
    *(f"{folder}/sign-fail-{number}" for folder in ("sign1-tests", "sign-tests") for number in FAILING),
}  # fmt: skip
"""Those of the tests above; all others are encrypted, or carry a MAC."""


def test_all_other_messages_are_no_signatures(vectors: Path) -> None:
    names = {
        path.relative_to(vectors / "cose").with_suffix("").as_posix() for path in (vectors / "cose").rglob("*.json")
    }
    assert names > JUDGED
    for name in sorted(names - JUDGED):
        text = (vectors / "cose" / f"{name}.json").read_text()
        data = bytes.fromhex(re.findall(r'"cbor"\s*:\s*"([0-9A-Fa-f]*)"', text)[-1])
        for parse in (Sign1.parse, Sign.parse):
            with pytest.raises(InputError):
                parse(data)
