"""What became of releases, out of the ledger of a gateway with a real TPM: only a verdict makes `attested`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.assurance.bundle import VerifiedLife, verify_bundle
from medvouch.assurance.lineage import Installation, Makers, Step, delivered, trace
from medvouch.crypto.keys import key_thumbprint
from medvouch.daemon.recording import Circumstances
from medvouch.daemon.standing import Change
from medvouch.formats.directive import Directive
from medvouch.formats.ledger import Transition
from medvouch.update.transitions import BEGINNINGS, TRANSITIONS, Cause, Update
from medvouch.update.verification import RoleKeys
from support.enrolling import World
from support.lives import AT, TRUST, Life, life, verdict
from support.release_documents import ENVELOPE, passed
from support.suit import QUALITY, QUALITY_KEYS, RELEASE, RELEASE_KEYS, STRANGER, released

MAKERS = Makers(RELEASE_KEYS, QUALITY_KEYS)
INSTALLED = (Cause.NOTIFY, Cause.STAGE, Cause.ACTIVATE, Cause.BOOT, Cause.SELF_CHECK)
DIGEST = hashlib.sha256(ENVELOPE).digest()


@pytest.fixture
def lived(everybody: World, tmp_path: Path) -> Iterator[Life]:
    with life(everybody, tmp_path) as made:
        made.commission()
        yield made


class Updates:
    """Writes the entries of updates as the agent does."""

    def __init__(self, lived: Life) -> None:
        self.lived, self.state = lived, Update.NONE

    def go(self, *causes: Cause, envelope: bytes = ENVELOPE, directive: bytes | None = None) -> None:
        digest = hashlib.sha256(envelope).digest()
        for cause in causes:
            after = TRANSITIONS[self.state, cause]
            ueid = self.lived.identity.ueid
            directed = Directive(ueid, "releases/1.1.0/release.suit", digest, len(envelope), 11, 2_000_000_000).encode()
            begins = cause in BEGINNINGS.values()
            attached = {"directive": directive or directed, "manifest": envelope} if begins else {}
            named = {"envelope": digest, "image": bytes(32)}
            around = Circumstances("agent", "", attached, named, f"{after}")
            change = Change(Transition("update", self.state, after, cause), {})
            asyncio.run(self.lived.recorder.record(change, around, checkpoint=False))
            self.state = after

    def judged(self, *, affirming: bool = True, boots_off: int = 0, runs: str | None = "1.1.0") -> None:
        boot = int(self.lived.pen.boot.partition(".")[0]) + boots_off
        found = verdict(self.lived.device, None, affirming=affirming, boot_count=boot, release=runs)
        self.lived.judged(found, checkpoint=False)

    def traced(self, makers: Makers = MAKERS, strip: str = "") -> list[Installation]:
        bundle = self.lived.bundle(receipt=False)
        entries = [
            replace(e, attachments={k: v for k, v in e.attachments.items() if k != strip}) for e in bundle.entries
        ]
        data = replace(bundle, entries=tuple(entries)).encode()
        return list(trace(verify_bundle(data, TRUST, AT), makers, [passed()]))


@pytest.fixture
def updates(lived: Life) -> Updates:
    return Updates(lived)


def test_from_the_directive_to_the_verdict(updates: Updates) -> None:
    updates.go(*INSTALLED)
    updates.judged()
    updates.go(Cause.CLOSE)
    (found,) = updates.traced()
    assert found.authorised
    assert (found.authorised.version, found.authorised.sequence, found.unproven) == ("1.1.0", 11, "")
    assert found.authorised.release_signers == tuple(key_thumbprint(signer.public_key) for signer in RELEASE[:2])
    assert found.authorised.quality_signers == (key_thumbprint(QUALITY[0].public_key),)
    assert found.directive
    assert found.directive.release == "releases/1.1.0/release.suit"
    assert (found.envelope, found.image, found.fixes) == (DIGEST, bytes(32), passed().fixes)
    assert [step.state for step in found.steps] == [
        "notified", "staged", "activated", "booted", "self_checked", "closed"
    ]  # fmt: skip
    assert found.verdict
    assert found.verdict.entry == found.steps[-1].entry - 1
    assert found.outcome == "attested_fixed"
    (found,) = trace(verify_bundle(updates.lived.bundle().encode(), TRUST, AT), MAKERS)
    assert (found.outcome, found.fixes) == ("attested", None)


def test_closed_only_by_attestation(updates: Updates) -> None:
    """What the device says of itself closes nothing, nor does a bad verdict, nor one on another boot or release."""
    updates.judged()
    updates.go(*INSTALLED, Cause.CLOSE)
    assert [found.outcome for found in updates.traced()] == ["installed_unattested"]
    updates.judged(affirming=False)
    updates.judged(boots_off=1)
    updates.judged(runs="1.0.0")
    updates.judged(runs=None)
    (found,) = updates.traced()
    assert (found.outcome, found.verdict, found.until_attested_ms) == ("installed_unattested", None, None)
    updates.judged()
    assert [found.outcome for found in updates.traced()] == ["attested_fixed"]


def test_what_it_was_delivered_with_is_what_a_verdict_found_before_anything_else_was_started(updates: Updates) -> None:
    def version(life: VerifiedLife) -> str | None:
        found = delivered(life, trace(life, MAKERS))
        return found.ear.release if found else None

    def life() -> VerifiedLife:
        return verify_bundle(updates.lived.bundle(receipt=False).encode(), TRUST, AT)

    assert version(life()) is None
    updates.judged(affirming=False)
    updates.judged(runs=None)
    updates.judged(runs="a vendor's baseline")
    assert version(life()) is None
    updates.go(*INSTALLED[:3])
    updates.judged(runs="1.0.0")
    assert version(life()) == "1.0.0"
    updates.go(*INSTALLED[3:])
    updates.judged()
    assert version(life()) == "1.0.0"


def test_a_verdict_after_the_first_start_says_nothing_of_what_was_before(updates: Updates) -> None:
    updates.go(*INSTALLED)
    updates.judged()
    life = verify_bundle(updates.lived.bundle(receipt=False).encode(), TRUST, AT)
    assert delivered(life, trace(life, MAKERS)) is None


def test_what_failed_and_what_was_overtaken(updates: Updates) -> None:
    other = released()
    updates.go(Cause.NOTIFY, Cause.STAGE, Cause.FAIL)
    updates.go(Cause.NOTIFY)
    updates.go(Cause.NOTIFY, envelope=other)
    updates.judged()
    found = updates.traced()
    assert [each.outcome for each in found] == ["failed", "superseded", "under_way"]
    assert [each.fixes is None for each in found] == [False, False, True]
    assert found[0].detail == "failed"


def test_an_update_that_goes_on_with_another_envelope_is_another(updates: Updates) -> None:
    """Nobody says of which version that is, so that no verdict can prove it."""
    updates.go(*INSTALLED[:3])
    updates.go(*INSTALLED[3:], envelope=released())
    updates.judged()
    found = updates.traced()
    assert [(each.outcome, each.unproven) for each in found] == [
        ("superseded", ""),
        ("installed_unattested", "bundle-attachment-missing"),
    ]
    assert [each.purpose for each in found] == ["update", ""]


def test_ways_back_and_out_are_installations_of_their_own(updates: Updates) -> None:
    """Also to the release that came before, and before any verdict on it."""
    updates.go(*INSTALLED)
    updates.go(Cause.ROLL_BACK, *INSTALLED[1:])
    updates.go(Cause.RECOVER)
    found = updates.traced()
    assert [each.purpose for each in found] == ["update", "rollback", "recovery"]
    assert [each.steps[0].state for each in found] == ["notified"] * 3


@pytest.mark.parametrize(
    ("envelope", "code"),
    [
        (released()[:-1], "cbor-truncated"),
        (b"", "cbor-truncated"),
    ],
)
def test_an_envelope_that_is_none(updates: Updates, envelope: bytes, code: str) -> None:
    updates.go(Cause.NOTIFY, envelope=envelope)
    (found,) = updates.traced()
    assert (found.authorised, found.unproven) == (None, code)


def test_signers_that_the_trust_document_does_not_name(updates: Updates) -> None:
    updates.go(Cause.NOTIFY)
    strangers = Makers(RoleKeys([STRANGER.public_key]), QUALITY_KEYS)
    assert updates.traced(strangers)[0].unproven == "manifest-signatures-too-few"
    assert updates.traced(Makers(RELEASE_KEYS, strangers.release))[0].unproven == "manifest-quality-missing"


def test_what_was_not_kept(updates: Updates) -> None:
    updates.go(Cause.NOTIFY)
    assert updates.traced(strip="manifest")[0].unproven == "bundle-attachment-missing"
    assert updates.traced(strip="directive")[0].directive is None


def test_a_directive_for_another(updates: Updates) -> None:
    updates.go(Cause.NOTIFY, directive=Directive(bytes(33), "releases/1.1.0/x", DIGEST, 1, 1, 1).encode())
    assert updates.traced()[0].directive is None
    ueid = updates.lived.identity.ueid
    updates.go(Cause.NOTIFY, directive=Directive(ueid, "releases/1.1.0/x", bytes(32), 1, 1, 1).encode())
    assert updates.traced()[1].directive is None


def test_latencies_that_the_clock_cannot_tell() -> None:
    steps = [
        Step(4, "notified", 1000, True, "1.0"),
        Step(8, "self_checked", 61_000, True, "2.0"),
        Step(10, "closed", 91_000, False, "2.0"),
    ]
    found = Installation(DIGEST, b"", "", None, "", None, None, tuple(steps), None, "installed_unattested", "")
    assert (found.until_installed_ms, found.until_attested_ms) == (60_000, None)
    proven = replace(found, verdict=object())  # type: ignore[arg-type]
    assert proven.until_attested_ms is None
    steps[2] = replace(steps[2], clock_ok=True)
    assert replace(proven, steps=tuple(steps)).until_attested_ms == 90_000
    assert replace(found, steps=tuple(steps)).until_attested_ms is None
    assert replace(found, steps=tuple(steps[1:])).until_installed_ms is None


def test_a_life_without_updates(lived: Life) -> None:
    assert trace(verify_bundle(lived.bundle().encode(), TRUST, AT), MAKERS) == ()
