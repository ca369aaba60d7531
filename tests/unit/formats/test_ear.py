"""EAR: CBOR and its JSON twin."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from medvouch.errors import MAX_DETAIL, MAX_PLACE, InputError
from medvouch.formats import cbor
from medvouch.formats.ear import PROFILE, Ear, Reason, Tier, TrustVector
from medvouch.formats.eat import LedgerHead
from support.truncation import assert_every_truncation_refused

DEVICE = "0123456789abcdef0123456789abcdef"
GOOD = Ear(
    issued_at=1_700_000_000,
    verifier_developer="https://appraiser.example",
    verifier_build="medvouch 0.1.0",
    nonce=bytes(range(32)),
    status=Tier.AFFIRMING,
    vector=TrustVector(instance_identity=2, configuration=2, executables=2, hardware=2),
    policy_id="urn:example:policy:1",
    evidence_digest=b"\x07" * 32,
    device=DEVICE,
    boot_count=3,
    ledger_head=LedgerHead(2, b"\x08" * 32, 1),
    release="1.1.0",
)
QUIRKY = dataclasses.replace(GOOD, quirks=("measures-twice", "old-shim"))
BAD = dataclasses.replace(
    GOOD,
    status=Tier.CONTRAINDICATED,
    vector=TrustVector(executables=-33, sourced_data=96),
    boot_count=None,
    ledger_head=None,
    release=None,
    reasons=(Reason("event-unexpected", "sha256 PCR 4", "kernel"), Reason("nonce-mismatch", "", "")),
)


def claims(ear: Ear = BAD) -> dict[Any, Any]:
    decoded: dict[Any, Any] = cbor.decode(ear.encode())
    return decoded


@pytest.mark.parametrize("ear", [GOOD, QUIRKY, BAD])
def test_round_trip_and_truncation(ear: Ear) -> None:
    assert Ear.parse(ear.encode()) == ear
    assert_every_truncation_refused(Ear.parse, ear.encode())


def test_claims_stand_under_their_labels() -> None:
    assert claims(GOOD) == {
        6: 1_700_000_000,
        10: bytes(range(32)),
        265: PROFILE,
        266: {
            DEVICE: {
                267: 3,
                1000: 2,
                1001: {0: 2, 1: 2, 2: 2, 4: 2},
                1003: ["urn:example:policy:1"],
                -75002: [2, b"\x08" * 32, 1],
                -75010: b"\x07" * 32,
                -75013: "1.1.0",
            }
        },
        1004: {0: "https://appraiser.example", 1: "medvouch 0.1.0"},
    }
    assert claims(QUIRKY)[266][DEVICE][-75012] == ["measures-twice", "old-shim"]
    assert claims(BAD)[266][DEVICE][-75011] == [
        ["event-unexpected", "sha256 PCR 4", "kernel"],
        ["nonce-mismatch", "", ""],
    ]


def test_json_twin() -> None:
    good, bad = (json.loads(json.dumps(ear.to_json())) for ear in (GOOD, BAD))
    assert good == {
        "eat_profile": PROFILE,
        "iat": 1_700_000_000,
        "eat_nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
        "ear_verifier_id": {"developer": "https://appraiser.example", "build": "medvouch 0.1.0"},
        "submods": {
            DEVICE: {
                "ear_status": "affirming",
                "ear_trustworthiness_vector": {
                    "instance-identity": 2,
                    "configuration": 2,
                    "executables": 2,
                    "hardware": 2,
                },
                "ear_appraisal_policy_ids": ["urn:example:policy:1"],
                "bootcount": 3,
                "medvouch_evidence_digest": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
                "medvouch_ledger_head": {
                    "size": 2,
                    "root": "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg",
                    "counter": 1,
                },
                "medvouch_release": "1.1.0",
            }
        },
    }
    appraisal = bad["submods"][DEVICE]
    assert appraisal["ear_status"] == "contraindicated"
    assert appraisal["ear_trustworthiness_vector"] == {"executables": -33, "sourced-data": 96}
    assert appraisal["medvouch_reasons"][0] == {"code": "event-unexpected", "place": "sha256 PCR 4", "detail": "kernel"}
    assert "bootcount" not in appraisal
    assert "medvouch_ledger_head" not in appraisal
    assert "medvouch_quirks" not in appraisal
    assert "medvouch_release" not in appraisal


def test_long_reasons_are_cut_so_that_a_result_is_never_refused_for_them() -> None:
    long = dataclasses.replace(BAD, reasons=(Reason("code", "p" * 5000, "d" * 5000),))
    assert Ear.parse(long.encode()).reasons == (Reason("code", "p" * MAX_PLACE, "d" * MAX_DETAIL),)


@pytest.mark.parametrize("label", [6, 10, 265, 266, 1004])
def test_required_claims(label: int) -> None:
    value = claims()
    del value[label]
    refused(value)


@pytest.mark.parametrize("label", [1000, 1001, 1003, -75010])
def test_required_claims_of_the_device(label: int) -> None:
    value = claims()
    del value[266][DEVICE][label]
    refused(value)


def refused(value: object, fault: str = "malformed") -> None:
    with pytest.raises(InputError) as caught:
        Ear.parse(cbor.encode(value))
    assert caught.value.code == f"ear-{fault}"


@pytest.mark.parametrize(
    ("label", "wrong"),
    [
        (1000, 1),
        (1000, True),
        (1000, "affirming"),
        (1001, {}),
        (1001, {8: 2}),
        (1001, {0: 128}),
        (1001, {0: -129}),
        (1001, {0: True}),
        (1001, [2]),
        (1003, []),
        (1003, "policy"),
        (1003, [1]),
        (-75010, bytes(31)),
        (-75011, []),
        (-75011, [["code", "place"]]),
        (-75011, [["", "place", "detail"]]),
        (-75011, [["code", 1, "detail"]]),
        (-75011, [["code", "place", b"detail"]]),
        (-75011, [{}]),
        (-75012, []),
        (-75012, "old-shim"),
        (-75012, [""]),
        (-75012, [1]),
        (-75002, [1]),
        (267, -1),
        (1002, b"raw evidence"),
    ],
    ids=str,
)
def test_wrong_claims_of_the_device(label: int, wrong: object) -> None:
    value = claims()
    value[266][DEVICE][label] = wrong
    refused(value)


@pytest.mark.parametrize(
    ("label", "wrong"),
    [
        (6, -1),
        (10, bytes(7)),
        (265, "tag:github.com,2023:veraison/ear"),
        (266, {}),
        (266, []),
        (266, {1: {}}),
        (266, {"": {}}),
        (266, {DEVICE: []}),
        (1004, {0: "developer"}),
        (1004, {0: "developer", 1: "build", 2: "more"}),
        (1002, b"raw evidence"),
        (4, 1_800_000_000),
    ],
    ids=str,
)
def test_wrong_claims(label: int, wrong: object) -> None:
    refused({**claims(), label: wrong})


def test_limits() -> None:
    appraisal = claims()[266][DEVICE]
    refused({**claims(), 266: {DEVICE: appraisal, "second": appraisal}}, "limit")
    for label, wrong in {
        1003: ["one", "two"],
        -75011: [["code", "", ""]] * 65,
        -75012: ["old-shim"] * 17,
        267: 1 << 32,
    }.items():
        refused({**claims(), 266: {DEVICE: {**appraisal, label: wrong}}}, "limit")
    for reason in (["c" * 65, "", ""], ["c", "p" * 257, ""], ["c", "", "d" * 1025]):
        refused({**claims(), 266: {DEVICE: {**appraisal, -75011: [reason]}}}, "limit")
