"""Lives of devices as they are once verified, put together entry by entry: what they became of an advisory follows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from medvouch.assurance.bundle import Verdict as LifeVerdict
from medvouch.assurance.bundle import VerifiedLife
from medvouch.assurance.lineage import Makers, trace
from medvouch.assurance.remediation_case import Heard
from medvouch.attestation.results import AFFIRMING_VECTOR, Occasion, contraindicate
from medvouch.errors import InputError
from medvouch.formats.claims import LedgerHead
from medvouch.formats.directive import UPDATE, Directive
from medvouch.formats.ear import Ear, Tier
from medvouch.formats.enrolment import device_id
from medvouch.formats.ledger import Statement
from medvouch.ledger.statements import VerifiedEntry
from medvouch.release.manifests import build_manifest
from medvouch.update import consent
from medvouch.update.consent import Cause as Wish
from medvouch.update.transitions import TRANSITIONS, Cause, Update
from support.rollouts import NOW, UNTIL, ueid
from support.suit import CONTENTS, DEVICE, PAYLOAD, QUALITY_KEYS, RELEASE_KEYS, released

MAKERS = Makers(RELEASE_KEYS, QUALITY_KEYS)
INSTALLED = (Cause.NOTIFY, Cause.STAGE, Cause.ACTIVATE, Cause.BOOT, Cause.SELF_CHECK)


def envelope(version: str, sequence: int) -> bytes:
    return released(
        build_manifest(
            sequence=sequence, version=version, security_epoch=2, device=DEVICE, image=PAYLOAD, contents=CONTENTS
        )
    )


FIX = released()
"""1.1.0, sequence 11."""
NEXT = envelope("1.2.0", 12)
BAD = envelope("1.0.0", 10)


VERSIONS = {FIX: "1.1.0", NEXT: "1.2.0", BAD: "1.0.0"}


def ear(at: int, boot: int, release: str, *, good: bool = True) -> Ear:
    occasion = Occasion("device", bytes(16), bytes(32), at, "medvouch", "0.1", "release-1")
    made = contraindicate(occasion, InputError("event-unexpected", "an unknown kernel"))
    if not good:
        return made
    return replace(
        made, status=Tier.AFFIRMING, vector=AFFIRMING_VECTOR, boot_count=boot, reasons=(), release=release or None
    )


@dataclass
class Story:
    """One device's, from its enrolment at `now` on; each step takes a minute, by a clock that is synchronised."""

    number: int = 0
    now: int = NOW
    boot: int = 1
    clock: str = "clock"
    entries: list[VerifiedEntry] = field(default_factory=list)
    verdicts: list[LifeVerdict] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    sanitised: bool = False
    runs: str = "1.0.0"

    def say(self, machine: str, after: str, cause: str, *, detail: str = "", **attached: bytes) -> None:
        digests = {name: value if name in {"envelope", "image"} else hashlib.sha256(value).digest()
                   for name, value in attached.items()}  # fmt: skip
        statement = Statement(
            index=len(self.entries), machine=machine, before=self.states.get(machine, ""), after=after, cause=cause,
            actor="agent", owner="", time_ms=self.now * 1000, time_source=self.clock, boot=f"{self.boot}.0",
            detail=detail, digests=digests,
        )  # fmt: skip
        attachments = {name: value for name, value in attached.items() if name not in {"envelope", "image"}}
        self.entries.append(VerifiedEntry(statement, attachments, b""))
        self.states[machine] = after
        self.now += 60

    def enrolled(self) -> Story:
        self.say("life", "enrolled", "enrol")
        return self

    def update(self, manifest: bytes, *causes: Cause, detail: str = "", purpose: str = UPDATE) -> Story:
        """As the agent writes it; a boot comes before BOOT."""
        digest = hashlib.sha256(manifest).digest()
        for cause in causes:
            if cause is Cause.BOOT:
                self.boot, self.runs = self.boot + 1, VERSIONS.get(manifest, "")
            before = Update(self.states.get("update", "none"))
            directive = Directive(ueid(self.number), "releases/x", digest, len(manifest), 11, UNTIL, purpose)
            attached = {"manifest": manifest, "directive": directive.encode()} if cause is Cause.NOTIFY else {}
            self.say("update", TRANSITIONS[before, cause], cause, detail=detail, envelope=digest, **attached)
        return self

    def judged(self, *, good: bool = True, runs: str | None = None) -> Story:
        """By what it was found to run: what it says, or something else; all entries before are confirmed."""
        release = self.runs if runs is None else runs
        found = ear(self.now, self.boot, release, good=good)
        head = LedgerHead(len(self.entries), bytes(32), 1) if good else None
        self.verdicts.append(LifeVerdict(len(self.entries), replace(found, ledger_head=head)))
        self.say("attestation", "affirming" if good else "contraindicated", "result")
        return self

    def wishes(self, cause: Wish, about: bytes | None = None) -> Story:
        """What its user says, perhaps of the release that waits."""
        named = {} if about is None else {"envelope": hashlib.sha256(about).digest()}
        before = consent.Wish(self.states.get("consent", "automatic"))
        self.say("consent", consent.TRANSITIONS[before, cause], cause, **named)
        return self

    def waits(self, reason: str, manifest: bytes) -> Story:
        """What holds an update up."""
        self.say("hold", reason, "wait", envelope=hashlib.sha256(manifest).digest())
        return self

    def wait(self, seconds: int) -> Story:
        self.now += seconds
        return self

    @property
    def life(self) -> VerifiedLife:
        given: dict[str, Any] = {"sanitisation": object() if self.sanitised else None}
        return VerifiedLife(
            device=device_id(ueid(self.number)), ueid=ueid(self.number), serial="SN", owner="owner",
            entries=tuple(self.entries), checkpoints=(), verdicts=tuple(self.verdicts), commands=(), by_tpm=0,
            by_appraiser=0, receipt=None, **given,
        )  # fmt: skip

    @property
    def heard(self) -> Heard:
        return Heard(self.life, trace(self.life, MAKERS))
