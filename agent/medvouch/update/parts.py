"""Parts of a device of which there is one: boot loader, Secure Boot databases, firmware; and releases that bring them.

Such a release has no image for a slot. Its manifest fetches each payload into `staged`, and copies it from there into
the part when it is installed, just before the restart. What they may measure otherwise afterwards stands in one table;
all else has to stay as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from medvouch.errors import MedvouchError, Refusal
from medvouch.formats.secure_boot import APPENDING, REPLACING
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_manifest import ComponentId, Manifest, component_name
from medvouch.formats.suit_report import SuitReport
from medvouch.update import refusals
from medvouch.update.execution import Execution, Procedure
from medvouch.update.payload import Payload
from medvouch.update.platform import Platform
from medvouch.update.processor import REFERENCE, DeviceClass, InstallPlan
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope

BOOT_LOADER: ComponentId = (b"boot-loader",)
FIRMWARE: ComponentId = (b"firmware",)
SECURE_BOOT: Mapping[ComponentId, tuple[str, int]] = {
    (b"secure-boot-db",): ("db", REPLACING),
    (b"secure-boot-db", b"append"): ("db", APPENDING),
    (b"secure-boot-dbx",): ("dbx", REPLACING),
    (b"secure-boot-dbx", b"append"): ("dbx", APPENDING),
}
"""The variable that each is, and the attributes that it is written with: how stands in the id, so that it is signed."""
STAGED = b"staged"
"""Before the id of a part: its payload until it is installed."""
REFERENCE_FILE: ComponentId = (REFERENCE.encode(),)

_AGGREGATE = 10
"""IMA's boot_aggregate, over PCRs 0 to 9."""
AFFECTED: Mapping[ComponentId, frozenset[int]] = {
    BOOT_LOADER: frozenset({4, _AGGREGATE}),
    FIRMWARE: frozenset({0, 1, 2, 3, 5, 6, 7, _AGGREGATE}),
    **{part: frozenset({7, _AGGREGATE}) for part in SECURE_BOOT},
}
"""The PCRs in which a part shows."""
BY_NAME: Mapping[str, ComponentId] = {component_name(part): part for part in AFFECTED}


def staged(part: ComponentId) -> ComponentId:
    """Where its payload waits."""
    return (STAGED, *part)


def parts_of(planned: InstallPlan) -> tuple[ComponentId, ...]:
    """The parts that a release brings, in the order of its manifest; none where it is no such release.

    Raises Refusal `manifest-component-unknown` for a part that no device has.
    """
    return tuple(_part(name) for name in planned.copies)


def _part(name: str) -> ComponentId:
    if (part := BY_NAME.get(name)) is None:
        raise Refusal(refusals.COMPONENT_UNKNOWN, "there is no part of this name", place=name)
    return part


def check_parts(planned: InstallPlan, here: Collection[ComponentId]) -> tuple[Payload, bytes]:
    """The first payload and the reference values of a release that brings parts, and nothing else.

    `here` are the parts that this device has. Raises Refusal `manifest-component-unknown`, `manifest-incomplete`,
    `manifest-parts-clash`.
    """
    parts = parts_of(planned)
    check_order(parts)
    for part in parts:
        if part not in here:
            raise Refusal(refusals.COMPONENT_UNKNOWN, "this device has no such component", place=component_name(part))
    wanted = {component_name(part): component_name(staged(part)) for part in parts}
    fetched = {payload.component for payload in planned.payloads}
    reference = planned.contents.get(REFERENCE)
    others = set(planned.contents) != {REFERENCE} or planned.starts
    if planned.copies != wanted or fetched != set(wanted.values()) or others:
        detail = f"it copies {dict(planned.copies)}, fetches {sorted(fetched)} and brings {sorted(planned.contents)}"
        raise Refusal(refusals.MANIFEST_INCOMPLETE, detail, place=planned.version)
    assert reference is not None
    return planned.payloads[0], reference


def check_order(parts: Sequence[ComponentId]) -> None:
    """Whether a device starts wherever in this order the power goes. Refusal `manifest-parts-clash`.

    1. The boot loader comes before db and dbx: there is another one under its second name until it is there, and none
       for a device whose databases do not let the old one start any more;
    2. each database is changed once: what the first change did is hidden by the second, which would be taken for it.
    """
    before = parts[: parts.index(BOOT_LOADER)] if BOOT_LOADER in parts else ()
    if early := [component_name(part) for part in before if part in SECURE_BOOT]:  # 1
        raise _clash(f"{early[0]} comes before the boot loader")
    changed = [SECURE_BOOT[part][0] for part in parts if part in SECURE_BOOT]
    if len(changed) != len(set(changed)):  # 2
        raise _clash(f"changes of {', '.join(changed)}")


def _clash(detail: str) -> Refusal:
    return Refusal(refusals.MANIFEST_PARTS_CLASH, detail)


def parts_in(envelope: bytes) -> tuple[ComponentId, ...]:
    """The parts that the manifest of a release, which was admitted as such, has among its components."""
    manifest = Manifest.parse(Envelope.parse(envelope).manifest)
    return tuple(each for each in manifest.common.components if each in AFFECTED)


def unaffected(parts: Collection[ComponentId], pcrs: Collection[int]) -> frozenset[int]:
    """Those of `pcrs` that measure after such an update what they measure now."""
    return frozenset(pcrs) - frozenset().union(*(AFFECTED[part] for part in parts))


@dataclass(frozen=True)
class Signers:
    """The roles whose signatures a release needs."""

    release: RoleKeys
    quality: RoleKeys

    def verify(self, envelope: bytes, prefix: ComponentId = ()) -> VerifiedEnvelope:
        """As `verification.verify_envelope`."""
        return verify_envelope(envelope, self.release, self.quality, prefix=prefix)


@dataclass(frozen=True)
class Outcome:
    """What a run of a manifest came to: its report, and what ended it, if anything did."""

    report: SuitReport
    error: MedvouchError | None = None


def process(
    envelope: bytes, procedure: Procedure, signers: Signers, device: DeviceClass, platform: Platform
) -> Outcome:
    """Run one procedure of a release's manifest, command by command.

    INSTALL is rehearsed first: a part that is refused leaves those before it as they were. Raises Refusal `manifest-*`,
    InputError where the envelope is not one that enough have signed.
    """
    verified = signers.verify(envelope)
    if procedure is Procedure.INSTALL:
        rehearsed = _run(Execution(verified, device, platform.rehearsal(), signers.verify), procedure)
        if rehearsed.error:
            return replace(rehearsed, report=replace(rehearsed.report, records=()))  # of what was not done
    return _run(Execution(verified, device, platform, signers.verify), procedure)


def _run(execution: Execution, procedure: Procedure) -> Outcome:
    try:
        execution.run(procedure)
    except MedvouchError as error:
        return Outcome(execution.report(), error)
    return Outcome(execution.report())
