"""The manifest processor: runs a verified manifest's sequences on a Platform (draft-ietf-suit-manifest, 6).

Three occasions: an update (dependency-resolution, payload-fetch, candidate-verification, install; where there is one of
something, the last by itself and later), a boot (validate, load, invoke), an uninstallation. Each section begins with
the shared sequence and no parameters set. Nothing is changed before vendor and class have been checked, and a manifest
that has a command or a parameter which is not run, or one in the wrong place, is refused before its first command.

Within try-each and run-sequence each selected component has its turn. A sequence that fails there leaves no parameter
behind; what it has written stays written. Dependencies are run like what depends on them: signed by the same roles,
their components below their prefix, at most MAX_DEPENDENCY_DEPTH deep; all commands count towards one limit. None is
passed over: a section that a dependency has and nobody processed ends the run (draft-ietf-suit-trust-domains, 6.2).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from medvouch.errors import EnvironmentFault, InputError, MedvouchError, Refusal
from medvouch.formats import cbor
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.suit_commands import Argument, Code, Command, CommandSequence, Parameters, dump_arguments
from medvouch.formats.suit_manifest import ComponentId, Member, member_name
from medvouch.formats.suit_report import (
    MAX_DEPENDENCY_DEPTH,
    MAX_RECORDS,
    CommandRecord,
    Failure,
    Reason,
    SuitReport,
    SystemClaims,
)
from medvouch.update import refusals
from medvouch.update.commands import HANDLERS, PROPERTIES, Frame, Scope, Unmet, measured, unmet
from medvouch.update.payload import bounded
from medvouch.update.platform import Platform
from medvouch.update.processor import MAX_STEPS, DeviceClass
from medvouch.update.support import check_supported
from medvouch.update.verification import VerifiedEnvelope, dependency_digest

Verify = Callable[[bytes, ComponentId], VerifiedEnvelope]
"""Checks the envelope of a dependency whose components are below a prefix, as `verification.verify_envelope` does."""

_SHARED = 3
"""The section of the shared sequence in reports: suit-common."""
_ON_SUCCESS, _ON_FAILURE = (1, 4), (2, 8)
"""Bits of a reporting policy: a record, and what the component was found to be."""


class Procedure(enum.Enum):
    """On which occasion a manifest is run, and the sections that are run then, in this order."""

    UPDATE = (Member.DEPENDENCY_RESOLUTION, Member.PAYLOAD_FETCH, Member.CANDIDATE_VERIFICATION, Member.INSTALL)
    STAGE = (Member.DEPENDENCY_RESOLUTION, Member.PAYLOAD_FETCH, Member.CANDIDATE_VERIFICATION)
    INSTALL = (Member.INSTALL,)
    """The two halves of an update of which the second comes just before the restart."""
    BOOT = (Member.VALIDATE, Member.LOAD, Member.INVOKE)
    UNINSTALL = (Member.UNINSTALL,)


class Execution:
    """One run of a manifest; `report` says afterwards what it came to, whether it ended well or not."""

    def __init__(self, envelope: VerifiedEnvelope, device: DeviceClass, platform: Platform, verify: Verify) -> None:
        self.device = device
        self.platform = platform
        self._envelope = envelope
        self._verify = verify
        self._steps = 0
        self._digests: dict[tuple[int, ...], bytes] = {}
        self._processed: set[tuple[tuple[int, ...], Member]] = set()
        self._records: list[CommandRecord | SystemClaims] = []
        self._at = CommandRecord((), _SHARED, 0, 0)
        self._failure: Failure | None = None

    def run(self, procedure: Procedure) -> None:
        """Raises Refusal, of this package's table or the platform's; InputError; EnvironmentFault of the platform."""
        try:
            frame = Frame(self._envelope)
            check_supported(self._envelope)
            for number, member in enumerate(procedure.value, 1):
                self._section(frame, member)
                self._check_processed(frame, procedure.value[:number], last=number == len(procedure.value))
        except MedvouchError as error:
            self._failure = Failure(error.exit_code, self._at, reason_of(error))
            raise

    def report(self, nonce: bytes | None = None) -> SuitReport:
        """What was done so far, for whoever asked with `nonce`."""
        uri = self._envelope.manifest.reference_uri or ""
        return SuitReport(uri, self._envelope.digest, tuple(self._records), self._failure, nonce).bounded()

    # --- sequences ----------------------------------------------------------------------------------------------------

    def _section(self, frame: Frame, member: Member) -> None:
        commands = frame.envelope.sequences.get(member)
        if commands is None:
            if member in frame.envelope.manifest.severed:
                detail = "the sequence was severed and did not come along"
                raise Refusal(refusals.MANIFEST_INCOMPLETE, detail, place=member_name(member))
            return
        scope = Scope(frame, member, {index: Parameters() for index in frame.indexes})
        for section, sequence in ((_SHARED, frame.envelope.manifest.common.shared), (int(member), commands)):
            self._outermost(scope, section, sequence)

    def _outermost(self, scope: Scope, section: int, sequence: CommandSequence) -> None:
        path, offset = scope.frame.path, len(cbor.encode([None] * 2 * len(sequence))) - 2 * len(sequence)
        for number, command in enumerate(sequence):
            scope.place = "/".join([*map(str, path), f"{member_name(scope.member)}, command {number}"])
            if section == _SHARED:
                scope.place += " of the shared"
            self._at = CommandRecord(path, section, offset, scope.selected[0])
            self._command(scope, command)
            offset += len(cbor.encode(command.code)) + len(cbor.encode(dump_arguments(command)))

    def _command(self, scope: Scope, command: Command) -> None:
        if block := _BLOCKS.get(command.code):
            self._step(scope)
            block(self, scope, command.argument)
            return
        policy = cast(int, command.argument)
        for index in scope.targets(command.code):
            self._step(scope)
            names = PROPERTIES.get(command.code, ())
            known = Parameters(**{name: getattr(scope.parameters[index], name) for name in names})
            self._at = replace(self._at, component=index, properties=known)
            try:
                HANDLERS[command.code](self, scope, index)
            except MedvouchError as error:
                if isinstance(error, Unmet):
                    self._at = replace(self._at, properties=error.found)
                self._record(scope, index, policy, _ON_FAILURE)
                raise
            self._record(scope, index, policy, _ON_SUCCESS)

    def _step(self, scope: Scope) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise InputError("suit-limit", f"more than {MAX_STEPS} steps", place=scope.place)

    def _record(self, scope: Scope, index: int, policy: int, bits: tuple[int, int]) -> None:
        if policy & bits[0] and len(self._records) < MAX_RECORDS:
            self._records.append(self._at)
        if policy & bits[1] and len(self._records) < MAX_RECORDS and scope.parameters[index].image_size is not None:
            try:
                found = measured(self, scope, index)
            except MedvouchError:
                return  # what cannot be read has no claims
            if found:
                component = scope.frame.component(index, scope.place)
                self._records.append(SystemClaims(component, Parameters(image_digest=found)))

    # --- commands that hold others, or say for what -------------------------------------------------------------------

    def _select(self, scope: Scope, argument: Argument) -> None:
        indexes, scope.every = scope.frame.indexes, argument is True
        if scope.every:
            scope.selected = indexes
        else:
            scope.selected = argument if isinstance(argument, tuple) else (argument,)  # type: ignore[assignment]
        if not set(scope.selected) <= set(indexes):
            detail = f"component {max(scope.selected)} of {len(indexes)}"
            raise Refusal(refusals.MANIFEST_INCOMPLETE, detail, place=scope.place)

    def _override(self, scope: Scope, argument: Argument) -> None:
        self._set(scope, cast(Parameters, argument), overriding=True)

    def _set_parameters(self, scope: Scope, argument: Argument) -> None:
        self._set(scope, cast(Parameters, argument), overriding=False)

    def _set(self, scope: Scope, new: Parameters, *, overriding: bool) -> None:
        if new.soft_failure is not None:
            scope.soft = new.soft_failure
        for index in scope.selected:
            self._step(scope)
            old = scope.parameters[index]
            scope.parameters[index] = old.overridden(new) if overriding else new.overridden(old)

    def _try_each(self, scope: Scope, argument: Argument) -> None:
        alternatives = cast(tuple[CommandSequence | None, ...], argument)
        for index in scope.selected:
            if not any(each is None or self._attempt(scope, index, each, soft=True) for each in alternatives):
                raise unmet(refusals.MANIFEST_NO_ALTERNATIVE, f"for component {index}", scope)

    def _run_sequence(self, scope: Scope, argument: Argument) -> None:
        for index in scope.selected:
            self._attempt(scope, index, cast(CommandSequence, argument), soft=False)

    def _attempt(self, scope: Scope, index: int, sequence: CommandSequence, *, soft: bool) -> bool:
        """Whether all of it held; what an Unmet ended leaves selection and parameters as they were."""
        selected, every, outer = scope.selected, scope.every, scope.soft
        parameters, held = dict(scope.parameters), set(scope.held)
        scope.selected, scope.every, scope.soft = (index,), False, soft
        try:
            for command in sequence:
                self._command(scope, command)
        except Unmet:
            if not scope.soft:
                raise
            scope.parameters, scope.held = parameters, held
            return False
        finally:
            scope.selected, scope.every, scope.soft = selected, every, outer
        return True

    # --- dependencies -------------------------------------------------------------------------------------------------

    def dependency(self, scope: Scope, index: int) -> bytes:
        """The envelope of a dependency, as the platform keeps it."""
        if index not in scope.frame.envelope.manifest.common.dependencies:
            raise unmet(refusals.DEPENDENCY_NONE, f"component {index} is no dependency", scope)
        return bounded(self.platform.read(scope.frame.component(index, scope.place), None), MAX_ENVELOPE_BYTES + 1)

    def matched(self, scope: Scope, index: int) -> None:
        """Remembered, so that a later section may go by it."""
        if index in scope.frame.envelope.manifest.common.dependencies:
            self._digests[*scope.frame.path, index] = cast(bytes, scope.parameters[index].image_digest)

    def verified(self, scope: Scope, index: int) -> VerifiedEnvelope:
        """The dependency, if it is the one whose digest is set, or was held against it before, and signed enough."""
        data = self.dependency(scope, index)
        wanted = scope.parameters[index].image_digest or self._digests.get((*scope.frame.path, index))
        if wanted is None or dependency_digest(data) != wanted:
            detail = f"{wanted.hex() if wanted else 'no digest'} is wanted"
            raise unmet(refusals.DEPENDENCY_MISMATCH, detail, scope)
        self._digests[*scope.frame.path, index] = wanted
        return self._verify(data, scope.frame.component(index, scope.place))

    def process(self, scope: Scope, index: int) -> None:
        """Run this section of the dependency; one that fails is no condition of what depends on it."""
        here, at = scope.place, self._at
        try:
            self._process(scope, index)
        except Unmet as error:
            raise Refusal(error.kind, error.detail, place=error.place) from error
        scope.place, self._at = here, at

    def _process(self, scope: Scope, index: int) -> None:
        envelope, path = self.verified(scope, index), (*scope.frame.path, index)
        if len(path) > MAX_DEPENDENCY_DEPTH:
            raise InputError("suit-limit", f"dependencies more than {MAX_DEPENDENCY_DEPTH} deep", place=scope.place)
        check_supported(envelope)
        self._section(Frame(envelope, path, scope.frame.component(index, scope.place)), scope.member)
        self._processed.add((path, scope.member))

    def _check_processed(self, frame: Frame, members: Sequence[Member], *, last: bool) -> None:
        """Of each dependency, and of theirs, all that it has for these sections was run; of the last all are known."""
        for index in sorted(frame.envelope.manifest.common.dependencies):
            path = (*frame.path, index)
            self._at, place = CommandRecord(frame.path, members[-1], 0, index), "/".join(map(str, path))
            if (digest := self._digests.get(path)) is None:
                if last:
                    detail = "it was never held against a digest"
                    raise Refusal(refusals.DEPENDENCY_UNPROCESSED, detail, place=place)
                continue
            below = self._kept(frame, index, digest, place)
            has = below.envelope.sequences.keys() | below.envelope.manifest.severed.keys()
            for member in members:
                if member in has and (path, member) not in self._processed:
                    detail = f"its section {member_name(member)} was not run"
                    raise Refusal(refusals.DEPENDENCY_UNPROCESSED, detail, place=place)
            self._check_processed(below, members, last=last)

    def _kept(self, frame: Frame, index: int, digest: bytes, place: str) -> Frame:
        component = frame.component(index, place)
        data = bounded(self.platform.read(component, None), MAX_ENVELOPE_BYTES + 1)
        if dependency_digest(data) != digest:
            raise Refusal(refusals.DEPENDENCY_MISMATCH, f"{digest.hex()} was there before", place=place)
        return Frame(self._verify(data, component), (*frame.path, index), component)


_BLOCKS: Mapping[int, Callable[[Execution, Scope, Argument], None]] = {
    Code.SET_COMPONENT_INDEX: Execution._select,
    Code.OVERRIDE_PARAMETERS: Execution._override,
    Code.SET_PARAMETERS: Execution._set_parameters,
    Code.TRY_EACH: Execution._try_each,
    Code.RUN_SEQUENCE: Execution._run_sequence,
}
"""Commands that take something else than a reporting policy."""

_REASONS = {
    refusals.MANIFEST_COMMAND_UNSUPPORTED: Reason.COMMAND_UNSUPPORTED,
    refusals.MANIFEST_PARAMETER_UNSUPPORTED: Reason.PARAMETER_UNSUPPORTED,
    refusals.COMPONENT_UNKNOWN: Reason.COMPONENT_UNSUPPORTED,
    refusals.MANIFEST_COMPONENT_UNAUTHORISED: Reason.COMPONENT_UNAUTHORISED,
    refusals.MANIFEST_SIGNATURES_TOO_FEW: Reason.UNAUTHORISED,
    refusals.MANIFEST_QUALITY_MISSING: Reason.UNAUTHORISED,
    refusals.MANIFEST_KEY_REPEATED: Reason.UNAUTHORISED,
    refusals.MANIFEST_DIGEST_MISMATCH: Reason.UNAUTHORISED,
}


def reason_of(error: MedvouchError) -> Reason:
    """As a report has it."""
    if isinstance(error, InputError):
        return Reason.CBOR_PARSE
    if isinstance(error, EnvironmentFault) or not isinstance(error, Refusal):
        return Reason.OPERATION_FAILED
    otherwise = Reason.CONDITION_FAILED if isinstance(error, Unmet) else Reason.OPERATION_FAILED
    return _REASONS.get(error.kind, otherwise)
