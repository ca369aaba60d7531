"""Logs of real machines that break a rule: refused, and with the quirk that is known of them judged right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from medvouch.attestation.appraisal import Appraisal, appraise
from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.explanation import explain
from medvouch.attestation.policy import Policy, parse_policy
from medvouch.attestation.quirks import QUIRKS
from medvouch.attestation.replay import replayed_pcrs
from medvouch.attestation.results import Occasion, affirm
from medvouch.attestation.semantics import Boot, SecureBoot
from medvouch.errors import Refusal
from medvouch.formats import eventlog
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.ear import Ear
from support.authorities import NOW
from support.evidence import DEVICE, NONCE, anchors, evidence, expectation, fix

SHA256 = HashAlg.SHA256


def two_attempts(boot: Boot) -> bool:
    """Two boot options were started, each through shim and GRUB, with Secure Boot on."""
    paths = [application.path for application in boot.applications]
    return boot.secure_boot is SecureBoot.ON and paths[:3] == paths[3:] and len(paths) == 6


def shim_authorities(boot: Boot) -> bool:
    """Shim's own certificate is among what was verified with."""
    return "Shim" in [authority.name for authority in boot.authorities]


def nothing(boot: Boot) -> bool:
    return not boot.applications


MACHINES: dict[str, tuple[str, str, str, Callable[[Boot], bool]]] = {
    "ibmtss/amd635.log": ("measures-twice", "separator-doubled", "0-15", two_attempts),
    "ibmtss/sm1.log": ("old-shim", "authority-cut-short", "0-15", shim_authorities),
    "ibmtss/sm2.log": ("old-shim", "authority-cut-short", "0-15", shim_authorities),
    "ibmtss/ubuntu3.log": ("old-shim", "authority-cut-short", "0-15", shim_authorities),
    "tpm2-tools/event-postcode.bin": ("old-shim", "authority-cut-short", "0-15", shim_authorities),
    "tpm2-tools/specid-vendordata.bin": ("vendor-info-outside", "spec-id-vendor-info", "8-15", nothing),
}
"""By log: quirk, the code without it, the PCRs that are quoted, and what is right to say of the boot."""


def answer(vectors: Path, name: str, pcrs: str) -> bytes:
    """Evidence of a machine with this log, whose TPM holds what it leads to."""
    data = (vectors / "eventlogs" / name).read_bytes()
    first, last = map(int, pcrs.split("-"))
    replayed = replayed_pcrs(eventlog.parse(data))[SHA256]
    quoted = {SHA256: {pcr: replayed.get(pcr, bytes(32)) for pcr in range(first, last + 1)}}
    return evidence(fix("uefi", data), fix("pcrs", quoted), fix("systemd", None), fix("ima", None))


def policy(pcrs: str, quirks: str = "") -> Policy:
    return parse_policy(f'id = "example"\n{quirks}\n[pcrs]\nsha256 = "{pcrs}"')


def judged(data: bytes, by: Policy) -> Appraisal:
    return appraise(UnverifiedEvidence.parse(data), expectation(), anchors(), by, NOW)


@pytest.mark.parametrize("name", MACHINES)
def test_a_quirk_is_asked_for_by_name_and_reported(vectors: Path, name: str) -> None:
    quirk, code, pcrs, right = MACHINES[name]
    data = answer(vectors, name, pcrs)
    for others in ("", "quirks = []", f"quirks = {sorted(QUIRKS.keys() - {quirk})}"):
        with pytest.raises(Refusal) as caught:
            judged(data, policy(pcrs, others))
        assert caught.value.code == code
        assert caught.value.remedy.endswith(f"allow the quirk {quirk}")
    appraisal = judged(data, policy(pcrs, f"quirks = {sorted(QUIRKS)}"))
    assert appraisal.quirks == (quirk,)
    assert right(appraisal.boot)


def test_the_result_names_it(vectors: Path) -> None:
    data, allowing = answer(vectors, "ibmtss/amd635.log", "0-15"), policy("0-15", 'quirks = ["measures-twice"]')
    occasion = Occasion(DEVICE, NONCE, evidence_digest(data), NOW, "medvouch", "0.1", allowing.id)
    ear = affirm(occasion, judged(data, allowing))
    assert Ear.parse(ear.encode()).quirks == ("measures-twice",)
    assert ear.to_json()["submods"][DEVICE]["medvouch_quirks"] == ["measures-twice"]
    explained = explain(data, expectation(), anchors(), allowing, NOW)
    assert (explained.affirming, explained.quirks) == (True, ("measures-twice",))


def test_every_quirk_is_of_a_real_log() -> None:
    assert {quirk for quirk, *_ in MACHINES.values()} == QUIRKS.keys()
