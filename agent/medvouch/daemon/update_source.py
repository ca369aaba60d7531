"""Where updates come from: the repository, the directive, the manifest, in this order and each checked. Blocking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from medvouch.daemon.mirrors import Mirrors
from medvouch.errors import Refusal
from medvouch.formats.blocks import MAX_INDEX_BYTES
from medvouch.formats.directive import ROLLBACK, UPDATE, Directive
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.suit_manifest import ComponentId
from medvouch.formats.update import FetchJournal, IndexPayload, InstalledRelease, UpdateRecord
from medvouch.lifecycle.roles import TrustedRole
from medvouch.update.admission import Installed, admit, check_url
from medvouch.update.blocks import BLOCKS
from medvouch.update.data_formats import DATA
from medvouch.update.directing import resolve
from medvouch.update.parts import check_parts
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass, InstallPlan, plan
from medvouch.update.refusals import BLOCKS_MISMATCH, DIRECTIVE_MISMATCH, MANIFEST_INCOMPLETE, UPDATE_WITHDRAWN
from medvouch.update.repository import Repository
from medvouch.update.transitions import BEGINNINGS, Cause, Update
from medvouch.update.verification import RoleKeys, verify_envelope


@dataclass(frozen=True)
class Offer:
    """A release that was directed to this device and may be installed; `cause`: as what."""

    plan: InstallPlan
    image: Payload
    index: Payload | None
    reference: bytes
    directive: bytes
    envelope: bytes
    cause: Cause

    @property
    def for_parts(self) -> bool:
        """Whether it brings parts of which there is one, and no image."""
        return bool(self.plan.copies)

    @property
    def manifest(self) -> bytes:
        """SHA-256 of the envelope."""
        return hashlib.sha256(self.envelope).digest()

    def record(self, slot: str) -> UpdateRecord:
        """As it is remembered. Raises InputError `update-limit` where it could not be read back."""
        payload = self.image
        record = UpdateRecord(
            state=Update.NONE,
            version=self.plan.version,
            sequence=self.plan.sequence,
            security_epoch=self.plan.security_epoch,
            manifest=self.manifest,
            uri=payload.uri,
            digest=payload.digest,
            size=payload.size,
            reference=self.reference,
            slot=slot,
            tries=0,
            code="",
        )
        return UpdateRecord.parse(record.encode())

    def journal(self, slot: str) -> FetchJournal:
        """Of its image, of which nothing is there yet."""
        index = None if self.index is None else IndexPayload(self.index.uri, self.index.digest, self.index.size)
        return FetchJournal(self.manifest, slot, 0, "", "", index)


@dataclass(frozen=True)
class Present:
    """What a device has and went through.

    `last` is the update under way or the last one, `followed` the directive that it came of, `floor` the security epoch
    of the TPM.
    """

    installed: InstalledRelease
    last: UpdateRecord | None
    followed: Directive | None
    floor: int

    def done(self, directive: Directive) -> bool:
        """Whether there is nothing in it for this device: it has the release, waits for a verdict, or failed with it.

        After a failure only a rollback or a recovery is another try, one for each directive.
        """
        if directive.sequence == self.installed.sequence:
            return True
        last = self.last
        if last is None:
            return False
        if directive.purpose == UPDATE and last.state == Update.SELF_CHECKED:
            return True
        failed = last.state == Update.FAILED and last.manifest == directive.digest
        return failed and (directive.purpose == UPDATE or self.followed == directive)

    def withdrawn(self, directive: Directive | None) -> str:
        """Why what is under way must not be gone on with, where nothing is directed any more, or back; else nothing."""
        if self.last is None or self.last.state not in (Update.NOTIFIED, Update.STAGED):
            return ""
        if directive is None:
            return "nothing is directed to this device any more"
        back = directive.purpose == ROLLBACK and directive.sequence == self.installed.sequence
        return f"sequence {directive.sequence} is installed, and what it is sent back to" if back else ""


@dataclass(frozen=True)
class UpdateSource:
    """The repository, whose signatures a release needs, and what this device is.

    `now` is trusted time (s since 1970); `allowed` are URL prefixes; `parts` those of which this device has one.
    """

    mirrors: Mirrors
    ueid: bytes
    device: str
    release: TrustedRole
    quality: TrustedRole
    device_class: DeviceClass
    allowed: Sequence[str]
    now: Callable[[], int]
    parts: Collection[ComponentId] = ()

    def look(self, present: Present) -> Offer | None:
        """What this device is to install; None where there is nothing in it for it. After `mirrors.refresh`.

        Raises Refusal, InputError where the directive or the manifest must not be followed, `update-withdrawn` where
        what is under way must not be gone on with; NetworkFault.
        """
        return self.mirrors.ask(lambda repository: self._look(repository, present))

    def _look(self, repository: Repository, present: Present) -> Offer | None:
        now = self.now()
        found = resolve(repository, self.ueid, self.device, now)
        if withdrawn := present.withdrawn(found.directive if found else None):
            raise Refusal(UPDATE_WITHDRAWN, withdrawn, place=present.last.version if present.last else "")
        if found is None or present.done(found.directive):
            return None
        envelope = repository.download(found.target, MAX_ENVELOPE_BYTES)
        keys = [RoleKeys(role.at(now), role.threshold, role.components) for role in (self.release, self.quality)]
        planned = plan(verify_envelope(envelope, *keys), self.device_class)
        if planned.sequence != found.directive.sequence:
            detail = f"it says sequence {found.directive.sequence}, the manifest {planned.sequence}"
            raise Refusal(DIRECTIVE_MISMATCH, detail, place=found.directive.release)
        purpose, has = found.directive.purpose, present.installed
        admit(planned, Installed(has.sequence, has.security_epoch, present.floor), purpose)
        if planned.copies:
            (image, reference), index = check_parts(planned, self.parts), None
        else:
            image, index, reference = _system(planned)
        for payload in planned.payloads:
            check_url(payload.uri, self.allowed)
        cause = BEGINNINGS[purpose]
        return Offer(planned, image, index, reference, found.directive.encode(), envelope, cause)


def _system(planned: InstallPlan) -> tuple[Payload, Payload | None, bytes]:
    """The image of the whole system, its block index if it has one, and its reference values; nothing besides."""
    payloads = {payload.component: payload for payload in planned.payloads}
    image, index, reference = payloads.get(SLOT), payloads.get(BLOCKS), planned.contents.get(REFERENCE)
    known = payloads.keys() <= {SLOT, BLOCKS} and planned.contents.keys() <= {REFERENCE, DATA}
    if image is None or reference is None or not known or not planned.starts:
        started = "starts the slot" if planned.starts else "starts nothing"
        detail = f"it brings {[*payloads]} and {sorted(planned.contents)}, and {started}"
        raise Refusal(MANIFEST_INCOMPLETE, detail, place=planned.version)
    if index is not None and index.size > MAX_INDEX_BYTES:
        detail = f"it has {index.size} bytes where an index has at most {MAX_INDEX_BYTES}"
        raise Refusal(BLOCKS_MISMATCH, detail, place=index.component)
    return image, index, reference
