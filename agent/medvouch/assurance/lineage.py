"""What a device was made to run since it was enrolled: who authorised it, what it fixed, what proved that it booted.

Everything comes out of a verified life. What its maker's keys say of a release is checked here; that a release was
chosen, written and started stands on the device's word, which TPM and appraiser confirm as far as they confirm its
entries. That a release booted is proven by a verdict on the boot in which the device checked it, which names this very
release: meanwhile an appraiser takes old and new. Of the version that a device was delivered with, its ledger tells
nothing but what a verdict found.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from medvouch.assurance.bundle import Verdict, VerifiedLife
from medvouch.assurance.refusals import BUNDLE_ATTACHMENT_MISSING
from medvouch.crypto.keys import PublicKey, key_thumbprint
from medvouch.errors import InputError, Refusal
from medvouch.formats.directive import Directive
from medvouch.formats.ear import Tier
from medvouch.formats.ledger import Statement
from medvouch.formats.release import Fix, ReleaseRecord
from medvouch.formats.version import is_version
from medvouch.ledger.statements import VerifiedEntry
from medvouch.update.transitions import BEGINNINGS, Update
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope

MACHINE = "update"
MANIFEST, DIRECTIVE = "manifest", "directive"
"""What is attached to the entry with which an update begins."""
SKEW_S = 300
"""By which the clocks of device and appraiser may differ."""
ENVELOPE, IMAGE = "envelope", "image"
"""Digests in every entry of an update."""

_PURPOSES = {cause.value: purpose for purpose, cause in BEGINNINGS.items()}
"""Of a directive, by the cause with which an update begins."""

ATTESTED_FIXED, ATTESTED = "attested_fixed", "attested"
UNATTESTED, FAILED, SUPERSEDED, UNDER_WAY = "installed_unattested", "failed", "superseded", "under_way"
WITHDRAWN = "withdrawn"


@dataclass(frozen=True)
class Makers:
    """The keys under which envelopes are judged: those of the roles `release` and `quality`."""

    release: RoleKeys
    quality: RoleKeys


@dataclass(frozen=True)
class Authorised:
    """A manifest that both roles signed, and who did: COSE Key Thumbprints (SHA-256)."""

    version: str
    sequence: int
    release_signers: tuple[bytes, ...]
    quality_signers: tuple[bytes, ...]


@dataclass(frozen=True)
class Step:
    """An update came to `state`: in which entry, when by the device's clock, in which boot.

    `clock_ok`: that was synchronised, as the device says, and no verdict contradicts it.
    """

    entry: int
    state: str
    time_ms: int
    clock_ok: bool
    boot: str


@dataclass(frozen=True)
class Installation:
    """One release that the device was directed to, and what became of it.

    `envelope` and `image` are SHA-256, empty where no entry says. `purpose` is that of the directive, as the device has
    it: `update`, `rollback`, `recovery`, or empty where no entry says. `authorised` is None where `unproven` says why,
    by code. `directive` is None where none came along that is about this device and this envelope. `fixes` are those of
    the release's record, None where none was given. `verdict` is None where nobody says which version it should name.
    `detail` is the device's own account of the last step.
    """

    envelope: bytes
    image: bytes
    purpose: str
    authorised: Authorised | None
    unproven: str
    directive: Directive | None
    fixes: tuple[Fix, ...] | None
    steps: tuple[Step, ...]
    verdict: Verdict | None
    outcome: str
    detail: str

    @property
    def until_installed_ms(self) -> int | None:
        """From the notification until it ran and was self-checked; None where the clock cannot tell."""
        return _between(self._step(Update.NOTIFIED), self._step(Update.SELF_CHECKED))

    @property
    def until_attested_ms(self) -> int | None:
        """From the notification until its closing entry; None where the clock cannot tell, or nothing proves it."""
        return _between(self._step(Update.NOTIFIED), self._step(Update.CLOSED)) if self.verdict else None

    def _step(self, state: Update) -> Step | None:
        return next((step for step in self.steps if step.state == state), None)


def trace(life: VerifiedLife, makers: Makers, records: Collection[ReleaseRecord] = ()) -> tuple[Installation, ...]:
    """The installations of a life, in their order; `records` are believed as they are given, and found by envelope."""
    by_envelope = {record.envelope: record for record in records}
    attempts = list(_attempts(life.entries))
    return tuple(
        _installation(life, attempt, makers, by_envelope, last=number == len(attempts) - 1)
        for number, attempt in enumerate(attempts)
    )


def named(life: VerifiedLife) -> tuple[Verdict, ...]:
    """The good verdicts that name the version that they found, in their order."""
    good = (verdict for verdict in life.verdicts if verdict.ear.status is Tier.AFFIRMING)
    return tuple(verdict for verdict in good if verdict.ear.release and is_version(verdict.ear.release))


def delivered(life: VerifiedLife, installations: Sequence[Installation]) -> Verdict | None:
    """The first of them from before anything else was started: it names the release that the device came with."""
    started = (step.entry for each in installations for step in each.steps if step.state == Update.BOOTED)
    first = next(started, len(life.entries))
    return next((verdict for verdict in named(life) if verdict.entry < first), None)


_Attempt = Sequence[tuple[int, VerifiedEntry]]


def _attempts(entries: Sequence[VerifiedEntry]) -> Iterator[_Attempt]:
    """Entries of updates, one list for each that began; one that goes on with another envelope is another."""
    current: list[tuple[int, VerifiedEntry]] = []
    for number, entry in enumerate(entries):
        statement = entry.statement
        if statement.machine != MACHINE:
            continue
        others = current and _digest(current[0][1].statement, ENVELOPE) != _digest(statement, ENVELOPE)
        if current and (statement.cause in _PURPOSES or others):
            yield current
            current = []
        current.append((number, entry))
    if current:
        yield current


def _installation(
    life: VerifiedLife,
    attempt: _Attempt,
    makers: Makers,
    records: Mapping[bytes, ReleaseRecord],
    *,
    last: bool,
) -> Installation:
    first, final = attempt[0][1], attempt[-1][1].statement
    envelope = _digest(first.statement, ENVELOPE)
    steps = tuple(_step(number, entry.statement, life.verdicts) for number, entry in attempt)
    authorised, unproven = _authorised(first, envelope, makers)
    record = records.get(envelope)
    version = record.version if record else authorised.version if authorised else ""
    verdict = _proof(life.verdicts, steps, version)
    return Installation(
        envelope=envelope,
        image=_digest(first.statement, IMAGE),
        purpose=_PURPOSES.get(first.statement.cause, ""),
        authorised=authorised,
        unproven=unproven,
        directive=_directive(first, life.ueid, envelope),
        fixes=record.fixes if record else None,
        steps=steps,
        verdict=verdict,
        outcome=_outcome(Update(final.after) if final.after in set(Update) else None, verdict, record, last=last),
        detail=final.detail,
    )


def _step(number: int, statement: Statement, verdicts: Sequence[Verdict]) -> Step:
    believed = statement.time_source == "clock" and _possible(number, statement.time_ms // 1000, verdicts)
    return Step(number, statement.after, statement.time_ms, believed, statement.boot)


def _possible(number: int, at: int, verdicts: Sequence[Verdict]) -> bool:
    """An entry is no older than a verdict before it, and no younger than one that confirms a ledger with it."""
    for verdict in verdicts:
        issued, head = verdict.ear.issued_at, verdict.ear.ledger_head
        if (verdict.entry < number and at < issued - SKEW_S) or (head and number < head.size and at > issued + SKEW_S):
            return False
    return True


def _digest(statement: Statement, name: str) -> bytes:
    return statement.digests.get(name, b"")


def _authorised(first: VerifiedEntry, envelope: bytes, makers: Makers) -> tuple[Authorised | None, str]:
    """Who signed, or the code of what keeps us from saying so."""
    data = first.attachments.get(MANIFEST)
    if data is None or _digest(first.statement, MANIFEST) != envelope:
        return None, BUNDLE_ATTACHMENT_MISSING.code
    try:
        verified = verify_envelope(data, makers.release, makers.quality)
    except (Refusal, InputError) as error:
        return None, error.code
    return _signed(verified), ""


def _signed(verified: VerifiedEnvelope) -> Authorised:
    return Authorised(
        ".".join(map(str, verified.manifest.version or ())),
        verified.manifest.sequence_number,
        _thumbprints(verified.release_signers),
        _thumbprints(verified.quality_signers),
    )


def _thumbprints(keys: Sequence[PublicKey]) -> tuple[bytes, ...]:
    return tuple(map(key_thumbprint, keys))


def _directive(first: VerifiedEntry, ueid: bytes, envelope: bytes) -> Directive | None:
    """As the device kept it: the repository's metadata, which its signatures are in, is not in the ledger."""
    try:
        directive = Directive.parse(first.attachments.get(DIRECTIVE, b""))
    except InputError:
        return None
    return directive if (directive.ueid, directive.digest) == (ueid, envelope) else None


def _proof(verdicts: Sequence[Verdict], steps: Sequence[Step], version: str) -> Verdict | None:
    """The first good verdict on the boot in which the release was self-checked, that came after it and names it."""
    checked = next((step for step in steps if step.state == Update.SELF_CHECKED), None)
    if checked is None or not version:
        return None
    boot = checked.boot.partition(".")[0]
    for verdict in verdicts:
        good = verdict.ear.status is Tier.AFFIRMING and str(verdict.ear.boot_count) == boot
        if good and verdict.ear.release == version and verdict.entry > checked.entry:
            return verdict
    return None


def _outcome(state: Update | None, verdict: Verdict | None, record: ReleaseRecord | None, *, last: bool) -> str:
    """Whatever the device says: attested is what a verdict proves, and nothing else."""
    if verdict is not None:
        return ATTESTED_FIXED if record and record.fixes else ATTESTED
    if state in (Update.SELF_CHECKED, Update.CLOSED):
        return UNATTESTED
    if state is Update.FAILED:
        return FAILED
    if state is Update.WITHDRAWN:
        return WITHDRAWN
    return UNDER_WAY if last else SUPERSEDED


def _between(start: Step | None, end: Step | None) -> int | None:
    if start is None or end is None or not (start.clock_ok and end.clock_ok):
        return None
    return end.time_ms - start.time_ms
