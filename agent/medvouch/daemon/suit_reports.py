"""The report of an update (draft-ietf-suit-report) as the agent keeps it, from the day it is chosen on.

For an image the agent follows the plan that a manifest comes to, so its report has no records of single commands: it
says what the slot was found to hold, or in which section it ended and why. For parts of which there is one the manifest
is run, and the report has the records of all its runs. Either says that all is done only once the release has been
started and checked itself; until then something is pending.
"""

from __future__ import annotations

from dataclasses import replace

from medvouch.daemon import refusals
from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_commands import Parameters
from medvouch.formats.suit_manifest import Manifest, Member
from medvouch.formats.suit_report import CommandRecord, Failure, Reason, SuitReport, SystemClaims
from medvouch.formats.update import UpdateRecord
from medvouch.update.execution import reason_of
from medvouch.update.processor import SLOT
from medvouch.update.transitions import Update

_SECTIONS = {Update.NOTIFIED: Member.PAYLOAD_FETCH, Update.STAGED: Member.VALIDATE}
"""What an update was about to do where it stood; from then on it is the release itself that has to start."""
_AFTER = {Update.NOTIFIED: Member.INSTALL, Update.STAGED: Member.VALIDATE}
"""For parts: what is left to do once that was done."""


def _pending(section: Member) -> Failure:
    return Failure(0, CommandRecord((), section, 0, 0), Reason.INVOKE_PENDING)


def chosen(envelope: bytes) -> SuitReport:
    """Of an envelope that was verified, and of which nothing has been done yet."""
    parsed = Envelope.parse(envelope)
    uri = Manifest.parse(parsed.manifest).reference_uri or ""
    return SuitReport(uri, parsed.digest, failure=_pending(Member.PAYLOAD_FETCH))


def staged(report: SuitReport, record: UpdateRecord) -> SuitReport:
    """The slot was read back, and holds what was signed; it has not been started."""
    found = SystemClaims((SLOT.encode(),), Parameters(image_digest=record.digest, image_size=record.size))
    return replace(report, records=(found,), failure=_pending(Member.INVOKE))


def done(report: SuitReport) -> SuitReport:
    """All of it: what was started is what was signed."""
    return replace(report, failure=None)


def continued(report: SuitReport, run: SuitReport, record: UpdateRecord) -> SuitReport:
    """What was done before, and now a run of more of the manifest's sections, from where `record` stands."""
    after = _AFTER.get(Update(record.state))
    failure = run.failure or (_pending(after) if after else None)
    return replace(run, records=(*report.records, *run.records), failure=failure).bounded()


def failed(report: SuitReport, record: UpdateRecord, error: MedvouchError) -> SuitReport:
    """It ended where `record` stood."""
    section = _SECTIONS.get(Update(record.state), Member.INVOKE)
    mismatch = isinstance(error, Refusal) and error.kind is refusals.SLOT_MISMATCH
    reason = Reason.CONDITION_FAILED if mismatch else reason_of(error)
    return replace(report, failure=Failure(error.exit_code, CommandRecord((), section, 0, 0), reason))
