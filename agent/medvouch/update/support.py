"""Whether all that a manifest asks for is something that is run, and stands where it may, before any of it is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from medvouch.errors import Refusal
from medvouch.formats.suit_commands import Code, Command, CommandSequence, Parameters
from medvouch.formats.suit_manifest import Member, member_name
from medvouch.update import refusals
from medvouch.update.processor import unsupported_parameters
from medvouch.update.verification import VerifiedEnvelope

_UPDATE = frozenset({Member.DEPENDENCY_RESOLUTION, Member.PAYLOAD_FETCH, Member.INSTALL})
_EVERYWHERE = frozenset(Member)
_WHERE: Mapping[int, frozenset[Member]] = {
    Code.VENDOR_IDENTIFIER: _EVERYWHERE,
    Code.CLASS_IDENTIFIER: _EVERYWHERE,
    Code.IMAGE_MATCH: _EVERYWHERE,
    Code.COMPONENT_SLOT: _EVERYWHERE,
    Code.CHECK_CONTENT: _EVERYWHERE,
    Code.DEPENDENCY_INTEGRITY: _EVERYWHERE,
    Code.IS_DEPENDENCY: _EVERYWHERE,
    Code.ABORT: _EVERYWHERE,
    Code.DEVICE_IDENTIFIER: _EVERYWHERE,
    Code.IMAGE_NOT_MATCH: _EVERYWHERE,
    Code.VERSION: _EVERYWHERE,
    Code.PROCESS_DEPENDENCY: _EVERYWHERE,
    Code.SET_COMPONENT_INDEX: _EVERYWHERE,
    Code.TRY_EACH: _EVERYWHERE,
    Code.SET_PARAMETERS: _EVERYWHERE,
    Code.OVERRIDE_PARAMETERS: _EVERYWHERE,
    Code.RUN_SEQUENCE: _EVERYWHERE,
    Code.FETCH: _UPDATE,
    Code.WRITE: frozenset({Member.PAYLOAD_FETCH, Member.INSTALL, Member.LOAD}),
    Code.COPY: frozenset({Member.PAYLOAD_FETCH, Member.INSTALL, Member.LOAD}),
    Code.INVOKE: frozenset({Member.INVOKE}),
    Code.UNLINK: frozenset({Member.UNINSTALL}),
}
"""The commands that are run, and in which sections."""
_NOT_SHARED = frozenset(
    {Code.FETCH, Code.WRITE, Code.COPY, Code.INVOKE, Code.UNLINK, Code.PROCESS_DEPENDENCY, Code.SET_PARAMETERS}
)
"""What the shared sequence may not have (8.4.6 of the draft): it runs in every section."""


def check_supported(envelope: VerifiedEnvelope) -> None:
    """Refusal `manifest-command-unsupported`, `manifest-parameter-unsupported`, `manifest-incomplete`."""
    common = envelope.manifest.common
    if not common.components and 0 not in common.dependencies:  # the one that is selected where a section begins
        raise Refusal(refusals.MANIFEST_INCOMPLETE, "there is no component 0", place="common")
    _check(common.shared, None, 0)
    for member, sequence in envelope.sequences.items():
        _check(sequence, member, 0)


def _check(sequence: CommandSequence, member: Member | None, depth: int) -> None:
    place = "common" if member is None else member_name(member)
    for number, command in enumerate(sequence):
        _check_command(command, member, depth, f"{place}, command {number}")


def _check_command(command: Command, member: Member | None, depth: int, place: str) -> None:
    allowed = _WHERE.get(command.code, frozenset())
    if not allowed or (command.code in _NOT_SHARED if member is None else member not in allowed):
        detail = f"command {command.code} is not for this place"
        raise Refusal(refusals.MANIFEST_COMMAND_UNSUPPORTED, detail, place=place)
    match command.code:
        case Code.OVERRIDE_PARAMETERS | Code.SET_PARAMETERS:
            _check_parameters(cast(Parameters, command.argument), depth, place)
        case Code.RUN_SEQUENCE:
            _check(cast(CommandSequence, command.argument), member, depth + 1)
        case Code.TRY_EACH:
            for each in cast(tuple[CommandSequence | None, ...], command.argument):
                _check(each or (), member, depth + 1)


def _check_parameters(parameters: Parameters, depth: int, place: str) -> None:
    if labels := unsupported_parameters(parameters, within=depth > 0):
        raise Refusal(refusals.MANIFEST_PARAMETER_UNSUPPORTED, f"parameters {labels}", place=place)
