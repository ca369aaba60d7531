"""TPMT_PUBLIC and TPMS_NV_PUBLIC."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medvouch.errors import InputError
from medvouch.formats.tpm_public import Curve, KeyType, NvPublic, Public
from support.tpms import ECC_KEY, NV_INDEX, RSA_KEY
from support.truncation import assert_every_truncation_refused


@pytest.mark.parametrize("key", [ECC_KEY, RSA_KEY], ids=["ecc", "rsa"])
def test_public_round_trip_and_truncations(key: Public) -> None:
    assert Public.parse(key.encode()) == key
    assert_every_truncation_refused(Public.parse, key.encode())


def test_nv_public_round_trip_and_truncations() -> None:
    assert NvPublic.parse(NV_INDEX.encode()) == NV_INDEX
    assert_every_truncation_refused(NvPublic.parse, NV_INDEX.encode())


def test_types_and_sizes() -> None:
    assert (ECC_KEY.type, RSA_KEY.type) == (KeyType.ECC, KeyType.RSA)
    assert [curve.size for curve in Curve] == [32, 48, 66]


@pytest.mark.parametrize("data", [ECC_KEY.encode() + b"\0", RSA_KEY.encode() + b"\0"])
def test_trailing_bytes_of_keys(data: bytes) -> None:
    with pytest.raises(InputError, match="tpm-trailing"):
        Public.parse(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("0023000b", "0008000b"),
        ("0023000b", "00230010"),
        ("00050400", "00050401"),
        ("0018000b", "001a000b"),
        ("0018000b", "00180010"),
        ("00030010", "00200010"),
        ("00030010", "00030007"),
    ],
    ids=["a keyed hash", "no nameAlg", "a reserved bit", "ECDAA", "no hash", "a BN curve", "a KDF"],
)
def test_ecc_keys_refused(old: str, new: str) -> None:
    data = ECC_KEY.encode().hex()
    assert old in data
    with pytest.raises(InputError, match="tpm-malformed"):
        Public.parse(bytes.fromhex(data.replace(old, new, 1)))


@pytest.mark.parametrize("symmetric", ["000600800044", "001200800043", "000600810043"], ids=["CBC", "SM4", "129 bits"])
def test_only_aes_cfb_protects_children(symmetric: str) -> None:
    data = RSA_KEY.encode().hex()
    with pytest.raises(InputError, match="tpm-malformed"):
        Public.parse(bytes.fromhex(data.replace("000601000043", symmetric, 1)))


@pytest.mark.parametrize(
    ("public", "code"),
    [
        (replace(NV_INDEX, index=0x81000000).encode(), "tpm-malformed"),
        (NV_INDEX.encode().replace(bytes.fromhex("02000001"), bytes.fromhex("02100001")), "tpm-malformed"),
        (replace(NV_INDEX, size=2049).encode(), "tpm-limit"),
        (replace(NV_INDEX, auth_policy=bytes(65)).encode(), "tpm-limit"),
        (NV_INDEX.encode() + b"\0", "tpm-trailing"),
    ],
    ids=["no NV handle", "a reserved bit", "too large", "policy too long", "trailing"],
)
def test_nv_publics_refused(public: bytes, code: str) -> None:
    with pytest.raises(InputError) as error:
        NvPublic.parse(public)
    assert error.value.code == code
