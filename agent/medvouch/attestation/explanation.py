"""Why a verdict is what it is, in terms that a person can act on: PCR by PCR, event by event.

An explanation is made from the evidence and what the verdict rested on; nobody signs it, and whoever doubts one makes
it again. Where the quote does not hold, PCRs and events are what the evidence claims, and `quoted` says so.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.appraisal import (
    Anchors,
    Expectation,
    appraise,
    parsed_logs,
    quoted_pcrs,
    verify_evidence,
)
from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.log_rules import check_log
from medvouch.attestation.pcrs import meaning
from medvouch.attestation.policy import Policy
from medvouch.attestation.reference import Difference, nearest
from medvouch.attestation.replay import Account, LogName, Measurement, Row, Status, account
from medvouch.attestation.semantics import Boot, understand
from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventLog
from medvouch.formats.ima import BOOT_AGGREGATE, Entry

ASK_AGAIN = "ask the device for new evidence; if it stays malformed, treat the device as compromised"
NOTHING_TO_DO = "nothing"


class State(enum.StrEnum):
    """What is known of one event."""

    CONFIRMED = "confirmed"
    """The quoted value of its PCR confirms it."""
    DIFFERS = "differs"
    """Confirmed, and not what the release measures there."""
    UNCONFIRMED = "unconfirmed"
    """The log's word: its PCR was quoted with another value, was not quoted, or the quote itself does not hold."""
    AFTER = "after the quote"
    """It may have been measured after the quote was made."""


@dataclass(frozen=True)
class Moment:
    """One event of the measured boot, in the order of the logs; `digest` as BANK:HEX."""

    log: LogName
    index: int
    pcr: int
    what: str
    digest: str
    state: State


@dataclass(frozen=True)
class PcrExplanation:
    """One PCR of one bank. `event`, `expected` and `found` tell the first that differs, None where nothing does.

    `status` is that of the replay, or `differs` where the replay holds and the release's events are others. `expected`
    and `found` are digests of an event, or values of the PCR where the log does not lead to the quoted one.
    """

    bank: str
    pcr: int
    meaning: str
    status: str
    events: int
    code: str | None = None
    event: str | None = None
    expected: str | None = None
    found: str | None = None
    action: str | None = None


@dataclass(frozen=True)
class Explanation:
    """A verdict and what it rests on. `release` is the one whose events the boot has, or comes nearest to.

    `quoted`: steps 1 to 12 of the appraisal hold, so PCR values and confirmed events are this TPM's. `boot` is what
    the confirmed events say, None where they may not be believed. `code`, `detail`, `place` are of the first refusal.
    `quirks` are those that the policy allows and the log needs, by name.
    """

    affirming: bool
    quoted: bool
    policy: str
    evidence_digest: bytes
    judged_at: int
    device: str | None
    release: str | None
    code: str | None
    detail: str | None
    place: str | None
    action: str
    boot: Boot | None
    pcrs: tuple[PcrExplanation, ...]
    moments: tuple[Moment, ...]
    quirks: tuple[str, ...] = ()


def explain(data: bytes, expected: Expectation, anchors: Anchors, policy: Policy, judged_at: int) -> Explanation:
    """Judge encoded evidence as `appraise` does, and say why; it raises nothing for what is wrong with the evidence."""
    device, quoted, release, error = None, False, None, None
    told: _Told | None = None
    try:
        evidence = UnverifiedEvidence.parse(data)
        told = _Told.of(evidence)
        device = verify_evidence(evidence, expected, anchors, policy, judged_at).device
        quoted = True
        release = appraise(evidence, expected, anchors, policy, judged_at).release
    except MedvouchError as raised:
        error = raised
    differences: Mapping[int, Difference] = {}
    if quoted and told is not None and error is not None and policy.match_reference:
        release, differences = told.nearest(anchors, policy)
    texts = [text for reference in anchors.references for text in reference.values.command_lines]
    return Explanation(
        affirming=error is None,
        quoted=quoted,
        policy=policy.id,
        evidence_digest=evidence_digest(data),
        judged_at=judged_at,
        device=device,
        release=release,
        code=error.code if error else None,
        detail=error.detail if error else None,
        place=error.place or None if error else None,
        action=_action(error),
        boot=understand(told.account.confirmed, command_lines=texts) if quoted and told else None,
        pcrs=tuple(told.pcrs(differences)) if told else (),
        moments=tuple(told.moments(differences, quoted=quoted)) if told else (),
        quirks=told.quirks(policy) if quoted and told else (),
    )


def _action(error: MedvouchError | None) -> str:
    if error is None:
        return NOTHING_TO_DO
    return error.remedy or ASK_AGAIN


@dataclass(frozen=True)
class _Told:
    """What the logs tell, held against the values that came with the quote."""

    account: Account
    log: EventLog
    quoted: frozenset[int]

    @classmethod
    def of(cls, evidence: UnverifiedEvidence) -> _Told | None:
        """None where the logs cannot be read."""
        with suppress(MedvouchError):
            logs, pcrs = parsed_logs(evidence), evidence.quote.pcrs
            return cls(account(logs, pcrs), logs.uefi, quoted_pcrs(pcrs))
        return None

    def quirks(self, policy: Policy) -> tuple[str, ...]:
        """Those without which the log would break a rule; none where it breaks one all the same."""
        with suppress(Refusal):
            needed = check_log(self.log, self.account.confirmed, self.quoted, policy.quirks or ())
            return tuple(quirk.name for quirk in needed)
        return ()

    def nearest(self, anchors: Anchors, policy: Policy) -> tuple[str | None, Mapping[int, Difference]]:
        """The release that the explained PCRs come nearest to, and how they differ."""
        wrong = {row.pcr for row in self.account.table.rows if row.status in (Status.MISMATCH, Status.NO_EVENTS)}
        judged = {pcr for pcr in range(24) if pcr not in wrong and pcr in _all_or(policy.reference_pcrs)}
        try:
            values, differences = nearest(self.account.confirmed, anchors.references, judged)
        except Refusal:
            return None, {}
        return values.release, {difference.pcr: difference for difference in differences}

    def pcrs(self, differences: Mapping[int, Difference]) -> Iterator[PcrExplanation]:
        """Every PCR that is quoted or measured; banks that are not quoted only where no other bank is."""
        quoted = {row.pcr for row in self.account.table.rows if row.status is not Status.NOT_QUOTED}
        wrong = {row.pcr for row in self.account.table.rows if row.status in _WRONG}
        for row in self.account.table.rows:
            difference = differences.get(row.pcr)
            if row.status is Status.NOT_QUOTED and row.pcr in quoted:
                continue
            if row.status in _WRONG:
                yield _wrong(row)
            elif difference is not None and row.status is not Status.NOT_QUOTED:
                yield _different(row, difference, sorted(differences.keys() | wrong))
            else:
                yield PcrExplanation(row.bank.label, row.pcr, meaning(row.pcr), row.status.value, row.events)

    def moments(self, differences: Mapping[int, Difference], *, quoted: bool) -> Iterator[Moment]:
        """Every event that the logs claim, in their order."""
        confirmed = {(event.log, event.index) for event in self.account.confirmed} if quoted else set()
        found = [difference.found for difference in differences.values() if difference.found is not None]
        differing = {(event.log, event.index) for event in found}
        banks = {row.bank for row in self.account.table.rows if row.status is not Status.NOT_QUOTED}
        for event in self.account.claimed:
            name = (event.log, event.index)
            if name in differing:
                state = State.DIFFERS
            elif name in confirmed:
                state = State.CONFIRMED
            else:
                state = State.AFTER if quoted and name in self.account.after else State.UNCONFIRMED
            yield Moment(event.log, event.index, event.pcr, event.describe(), _digest(event, banks), state)


def _all_or(pcrs: Collection[int] | None) -> Collection[int]:
    return range(24) if pcrs is None else pcrs


def _digest(event: Measurement, quoted: Collection[HashAlg]) -> str:
    """Of the strongest bank, a quoted one if there is one."""
    bank = max(event.digests, key=lambda bank: (bank in quoted, bank.size), default=None)
    return "" if bank is None else f"{bank.label}:{event.digests[bank].hex()}"


_AGGREGATED = range(10)
_WRONG = {Status.MISMATCH: refusals.PCR_MISMATCH, Status.NO_EVENTS: refusals.PCR_UNEXPLAINED}


def _wrong(row: Row) -> PcrExplanation:
    """A PCR that its log does not explain: expected is the quoted value, found what the log leads to."""
    kind = _WRONG[row.status]
    return PcrExplanation(
        bank=row.bank.label,
        pcr=row.pcr,
        meaning=meaning(row.pcr),
        status=row.status.value,
        events=row.events,
        code=kind.code,
        event=row.last.describe() if row.last else None,
        expected=row.quoted.hex() if row.quoted else None,
        found=row.replayed.hex() if row.replayed else None,
        action=kind.remedy,
    )


def _different(row: Row, difference: Difference, differing: Sequence[int]) -> PcrExplanation:
    found, wanted, bank = difference.found, difference.wanted, row.bank
    action = difference.remedy
    causes = [pcr for pcr in differing if pcr in _AGGREGATED]
    if found is not None and isinstance(found.source, Entry) and found.source.path == BOOT_AGGREGATE and causes:
        action = f"nothing by itself: it is a hash over PCRs 0 to 9, and PCR {causes[0]} differs"
    digest = wanted.digests.get(bank.label) if wanted else None
    return PcrExplanation(
        bank=bank.label,
        pcr=row.pcr,
        meaning=meaning(row.pcr),
        status=State.DIFFERS.value,
        events=row.events,
        code=difference.code,
        event=found.describe() if found else wanted.description if wanted else None,
        expected=digest.hex() if digest else None,
        found=found.digests[bank].hex() if found and bank in found.digests else None,
        action=action,
    )
