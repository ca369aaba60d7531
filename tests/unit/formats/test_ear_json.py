"""The JSON twin of an EAR, there and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ear import Ear, Reason, Tier, TrustVector
from medvouch.formats.ear_json import ear_from_json

FULL = Ear(
    issued_at=1_800_000_000,
    verifier_developer="medvouch",
    verifier_build="0.1.0",
    nonce=bytes(range(32)),
    status=Tier.CONTRAINDICATED,
    vector=TrustVector(instance_identity=2, executables=33, runtime_opaque=-1),
    policy_id="medvouch:release:1",
    evidence_digest=bytes(32),
    device="01" * 16,
    boot_count=7,
    reasons=(Reason("event-unexpected", "PCR 4", "another kernel"),),
    ledger_head=LedgerHead(5, b"\1" * 32, 2),
    quirks=("old-shim",),
    release="1.1.0",
)
SHORT = Ear(1, "a", "b", bytes(8), Tier.NONE, TrustVector(executables=-1), "p", bytes(32), "d")


@pytest.mark.parametrize("ear", [FULL, SHORT])
def test_there_and_back(ear: Ear) -> None:
    assert ear_from_json(json.loads(json.dumps(ear.to_json()))) == ear


def appraisal(document: Any) -> Any:
    return document["submods"]["01" * 16]


def assign(where: Callable[[Any], Any], name: str, value: Any) -> Callable[[Any], None]:
    def change(document: Any) -> None:
        where(document)[name] = value

    return change


def top(document: Any) -> Any:
    return document


CHANGES: dict[str, Callable[[Any], None]] = {
    "no time": lambda document: document.pop("iat"),
    "a time of truth": assign(top, "iat", True),
    "a time in words": assign(top, "iat", "now"),
    "a time before 1970": assign(top, "iat", -1),
    "a time beyond all numbers": assign(top, "iat", 10**30),
    "another profile": assign(top, "eat_profile", "tag:other"),
    "more at the top": assign(top, "exp", 1),
    "no submodule": assign(top, "submods", {}),
    "a list of submodules": assign(top, "submods", []),
    "two submodules": lambda document: document["submods"].update(other=appraisal(document)),
    "a nonce with padding": assign(top, "eat_nonce", "AAAAAAAAAAA="),
    "a nonce that is short": assign(top, "eat_nonce", "AAAA"),
    "a nonce that is a number": assign(top, "eat_nonce", 5),
    "an unknown tier": assign(appraisal, "ear_status", "fine"),
    "a tier in capitals": assign(appraisal, "ear_status", "NONE"),
    "no claim": assign(appraisal, "ear_trustworthiness_vector", {}),
    "a claim in words": assign(appraisal, "ear_trustworthiness_vector", {"executables": "good"}),
    "an unknown claim": assign(appraisal, "ear_trustworthiness_vector", {"karma": 2}),
    "a claim beyond a byte": assign(appraisal, "ear_trustworthiness_vector", {"executables": 200}),
    "two policies": assign(appraisal, "ear_appraisal_policy_ids", ["a", "b"]),
    "no policy": assign(appraisal, "ear_appraisal_policy_ids", []),
    "a policy without a name": assign(appraisal, "ear_appraisal_policy_ids", [""]),
    "half a surrogate": assign(appraisal, "ear_appraisal_policy_ids", ["\ud800"]),
    "an empty list of reasons": assign(appraisal, "medvouch_reasons", []),
    "reasons without a code": assign(appraisal, "medvouch_reasons", [{"place": "", "detail": ""}]),
    "an empty list of quirks": assign(appraisal, "medvouch_quirks", []),
    "a quirk by itself": assign(appraisal, "medvouch_quirks", "old-shim"),
    "quirks that are no texts": assign(appraisal, "medvouch_quirks", [1]),
    "a head without a root": assign(appraisal, "medvouch_ledger_head", {"size": 1, "counter": 1}),
    "a head that says more": assign(
        appraisal, "medvouch_ledger_head", {"size": 1, "counter": 1, "root": "A" * 43, "x": 1}
    ),
    "a head with a size of truth": assign(
        appraisal, "medvouch_ledger_head", {"size": True, "counter": 1, "root": "A" * 43}
    ),
    "a short digest": assign(appraisal, "medvouch_evidence_digest", "AAAA"),
    "more of the device": assign(appraisal, "extra", 1),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_no_ear(change: Callable[[Any], None]) -> None:
    document = copy.deepcopy(FULL.to_json())
    change(document)
    with pytest.raises(InputError, match=r"^ear-"):
        ear_from_json(document)
