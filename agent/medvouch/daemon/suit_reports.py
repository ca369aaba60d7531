"""The report of an update (draft-ietf-suit-report) as the agent keeps it, from the day it is chosen on.

For an image the agent follows the plan that a manifest comes to, so its report has no records of single commands: it
says what the slot was found to hold, or in which section it ended and why. For parts of which there is one the manifest
is run, and the report has the records of all its runs.
"""

from __future__ import annotations

from dataclasses import replace

from medvouch.errors import MedvouchError
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_commands import Parameters
from medvouch.formats.suit_manifest import Manifest, Member
from medvouch.formats.suit_report import MAX_RECORDS, CommandRecord, Failure, Reason, SuitReport, SystemClaims
from medvouch.formats.update import UpdateRecord
from medvouch.update.execution import reason_of
from medvouch.update.processor import SLOT
from medvouch.update.transitions import Update

_SECTIONS = {Update.NOTIFIED: Member.PAYLOAD_FETCH, Update.STAGED: Member.VALIDATE}
"""What an update was about to do where it stood; from then on it is the release itself that has to start."""


def chosen(envelope: bytes) -> SuitReport:
    """Of an envelope that was verified, and of which nothing has been done yet."""
    parsed = Envelope.parse(envelope)
    uri = Manifest.parse(parsed.manifest).reference_uri or ""
    pending = Failure(0, CommandRecord((), Member.PAYLOAD_FETCH, 0, 0), Reason.INVOKE_PENDING)
    return SuitReport(uri, parsed.digest, failure=pending)


def staged(report: SuitReport, record: UpdateRecord) -> SuitReport:
    """The slot was read back, and holds what was signed."""
    found = SystemClaims((SLOT.encode(),), Parameters(image_digest=record.digest, image_size=record.size))
    return replace(report, records=(found,), failure=None)


def continued(report: SuitReport, run: SuitReport) -> SuitReport:
    """What was done before, and now a run of more of the manifest's sections, which says how it stands."""
    return replace(run, records=(*report.records, *run.records)[:MAX_RECORDS])


def failed(report: SuitReport, record: UpdateRecord, error: MedvouchError) -> SuitReport:
    """It ended where `record` stood."""
    section = _SECTIONS.get(Update(record.state), Member.INVOKE)
    return replace(report, failure=Failure(error.exit_code, CommandRecord((), section, 0, 0), reason_of(error)))
