"""Where updates come from: the repository, the directive, the manifest, in this order and each checked. Blocking."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medvouch.errors import Refusal
from medvouch.formats.directive import Directive
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.update import InstalledRelease, UpdateRecord
from medvouch.lifecycle.roles import TrustedRole
from medvouch.update.admission import Installed, admit, check_url
from medvouch.update.directing import resolve
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass, InstallPlan, plan
from medvouch.update.refusals import DIRECTIVE_MISMATCH, MANIFEST_INCOMPLETE
from medvouch.update.repository import Repository
from medvouch.update.transitions import Update
from medvouch.update.verification import RoleKeys, verify_envelope


@dataclass(frozen=True)
class Offer:
    """A release that was directed to this device and may be installed."""

    plan: InstallPlan
    image: Payload
    reference: bytes
    directive: bytes
    envelope: bytes

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


@dataclass(frozen=True)
class UpdateSource:
    """The repository, whose signatures a release needs, and what this device is.

    `now` is trusted time (s since 1970); `allowed` are URL prefixes.
    """

    repository: Repository
    ueid: bytes
    device: str
    release: TrustedRole
    quality: TrustedRole
    device_class: DeviceClass
    allowed: Sequence[str]
    now: Callable[[], int]

    def refresh(self) -> int:
        """Bring the repository up to date; the time (s since 1970) that it testifies has passed.

        Raises Refusal, InputError where it must not be believed; NetworkFault, StorageFault.
        """
        self.repository.refresh()
        return self.repository.testified_time

    def look(self, installed: InstalledRelease, last: UpdateRecord | None, floor: int) -> Offer | None:
        """What this device is to install; None where it has that, or has failed with it. After `refresh`.

        `floor` is the security epoch of the device. Raises Refusal, InputError where the directive or the manifest must
        not be followed; NetworkFault.
        """
        now = self.now()
        found = resolve(self.repository, self.ueid, self.device, now)
        if found is None or self._done(found.directive, installed, last):
            return None
        envelope = self.repository.download(found.target, MAX_ENVELOPE_BYTES)
        keys = [RoleKeys(role.at(now), role.threshold) for role in (self.release, self.quality)]
        planned = plan(verify_envelope(envelope, *keys), self.device_class)
        if planned.sequence != found.directive.sequence:
            detail = f"it says sequence {found.directive.sequence}, the manifest {planned.sequence}"
            raise Refusal(DIRECTIVE_MISMATCH, detail, place=found.directive.release)
        admit(planned, Installed(installed.sequence, floor))
        image, reference = _system(planned)
        check_url(image.uri, self.allowed)
        return Offer(planned, image, reference, found.directive.encode(), envelope)

    @staticmethod
    def _done(directive: Directive, installed: InstalledRelease, last: UpdateRecord | None) -> bool:
        if directive.sequence == installed.sequence:
            return True
        return last is not None and last.state == Update.FAILED and last.manifest == directive.digest


def _system(planned: InstallPlan) -> tuple[Payload, bytes]:
    """The image of the whole system, and its reference values."""
    images = [payload for payload in planned.payloads if payload.component == SLOT]
    reference = planned.contents.get(REFERENCE)
    if len(images) != 1 or len(planned.payloads) != 1 or reference is None:
        detail = f"it brings {[payload.component for payload in planned.payloads]} and {sorted(planned.contents)}"
        raise Refusal(MANIFEST_INCOMPLETE, detail, place=planned.version)
    return images[0], reference
