"""A SUIT manifest run as far as a plan: what to fetch, how long it is and its digest; nothing is fetched here.

Understood are the commands that install whole images and start them (draft-ietf-suit-manifest, 6): set-component-index,
override-parameters, the conditions vendor-identifier, class-identifier and image-match, fetch, in the install sequence
copy of what was fetched and, in the invoke sequence, invoke of the slot. A manifest with any other command is refused
as a whole: nothing may be reported as done that whoever carries out the plan does not do.

Sequences run in the order of the draft, payload-fetch, candidate-verification, install, validate, invoke; each begins
with the shared sequence and with no parameters set, so it depends on nothing but the shared one.

An image-match holds once the payload that was fetched for its component is the signed one, which whoever carries out
the plan has to see to (`payload.checked`); for integrated payloads it is seen to here.

The version is the manifest's suit-set-version (draft-ietf-suit-update-management), numbers joined by dots. The security
epoch is a parameter of a private label, EPOCH_LABEL.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from medvouch.errors import InputError, Refusal
from medvouch.formats.reference import MAX_SECURITY_EPOCH
from medvouch.formats.suit_commands import Argument, Code, Command, Parameters
from medvouch.formats.suit_manifest import Member, component_name, member_name
from medvouch.update import refusals
from medvouch.update.payload import Payload
from medvouch.update.verification import VerifiedEnvelope

EPOCH_LABEL = -75020
"""suit-parameter-custom of ours: the security epoch that the release belongs to, 0 to 2^32 - 1 (DESIGN §7)."""
MAX_STEPS = 1024
"""Commands run in all, each counted once for every component it acts on."""

_SOFT_FAILURE, _FETCH_ARGUMENTS = 13, 25

SLOT = "slot"
"""The component that the image of the whole system goes to: the inactive slot."""
REFERENCE = "reference"
"""The component that holds the release's signed reference values."""

_ORDER = (Member.PAYLOAD_FETCH, Member.CANDIDATE_VERIFICATION, Member.INSTALL, Member.VALIDATE, Member.INVOKE)
_WHERE = {
    Code.FETCH: frozenset({Member.PAYLOAD_FETCH, Member.INSTALL}),
    Code.COPY: frozenset({Member.INSTALL}),
    Code.INVOKE: frozenset({Member.INVOKE}),
}
"""The sequences that a directive may stand in."""


_T = TypeVar("_T")


@dataclass(frozen=True)
class DeviceClass:
    """What a device is, as UUIDs of 16 bytes; `device_id` is empty where releases know it only by its class."""

    vendor_id: bytes
    class_id: bytes
    device_id: bytes = b""

    @classmethod
    def named(cls, vendor_domain: str, class_text: str) -> DeviceClass:
        """Of a vendor's domain and its own words for the class."""
        vendor = vendor_id(vendor_domain)
        return cls(vendor, class_id(vendor, class_text))


def vendor_id(domain: str) -> bytes:
    """UUIDv5 of the vendor's domain name in the DNS namespace (draft-ietf-suit-manifest, 8.4.8.2)."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, domain).bytes


def class_id(vendor: bytes, text: str) -> bytes:
    """UUIDv5 of the vendor's words for the class in the namespace of its vendor id (8.4.8.2)."""
    return uuid.uuid5(uuid.UUID(bytes=vendor), text).bytes


@dataclass(frozen=True)
class InstallPlan:
    """What a manifest comes to on this device: payloads to fetch, and contents that came along, by component.

    `copies`: what is copied once all is there, the source by the component that it goes to, in their order. `starts`:
    whether the slot is started then.
    """

    sequence: int
    version: str
    security_epoch: int
    payloads: tuple[Payload, ...]
    contents: Mapping[str, bytes]
    copies: Mapping[str, str] = field(default_factory=dict)
    starts: bool = False


def plan(envelope: VerifiedEnvelope, device: DeviceClass) -> InstallPlan:
    """Run the manifest for this device.

    Raises Refusal `manifest-other-vendor`, `manifest-other-class`, `manifest-command-unsupported`,
    `manifest-incomplete`, `manifest-member-mismatch`; InputError `suit-limit` for more than MAX_STEPS.
    """
    processor = _Processor(envelope, device)
    _check_members(envelope)
    for member in _ORDER:
        if commands := envelope.sequences.get(member):
            processor.run(member, (*envelope.manifest.common.shared, *commands))
    return processor.result()


def _check_members(envelope: VerifiedEnvelope) -> None:
    if envelope.manifest.common.dependencies:
        raise Refusal(refusals.MANIFEST_COMMAND_UNSUPPORTED, "dependencies, which a plan cannot have", place="common")
    for member in envelope.sequences:
        if member not in _ORDER:
            raise Refusal(
                refusals.MANIFEST_COMMAND_UNSUPPORTED, "a sequence of a kind that is not run", place=member_name(member)
            )
    for member in envelope.manifest.severed:
        if member is not Member.TEXT and member not in envelope.sequences:
            raise _incomplete("the sequence was severed and did not come along", member_name(member))


@dataclass
class _Run:
    """State of one sequence while it runs."""

    member: Member
    parameters: list[Parameters]
    selected: tuple[int, ...] = (0,)
    place: str = ""
    compatible: set[Code] = field(default_factory=set)
    """The conditions that have held so far, of those that say for which devices this is."""


class _Processor:
    def __init__(self, envelope: VerifiedEnvelope, device: DeviceClass) -> None:
        self._envelope, self._device = envelope, device
        self._components = envelope.manifest.common.components
        self._steps = 0
        self._epochs: set[int] = set()
        self._fetched: dict[int, Payload] = {}
        self._copied: dict[int, int] = {}
        self._matched: set[int] = set()
        self._starts = False

    def run(self, member: Member, commands: tuple[Command, ...]) -> None:
        if not self._components:
            raise _incomplete("there are no components", "common")
        run = _Run(member, [Parameters()] * len(self._components))
        for number, command in enumerate(commands):
            run.place = f"{member_name(member)}, command {number}"
            handler = _HANDLERS.get(command.code)
            if handler is None or member not in _WHERE.get(Code(command.code), _ORDER):
                raise _unsupported(f"command {command.code} is not for this place", run)
            handler(self, run, command.argument)

    def result(self) -> InstallPlan:
        contents = {each.component: self._content(each) for each in self._fetched.values() if each.uri.startswith("#")}
        payloads = tuple(each for each in self._fetched.values() if not each.uri.startswith("#"))
        if not payloads:
            raise _incomplete("no payload is fetched", "manifest")
        for index in self._fetched.keys() - self._matched:
            raise _incomplete(
                "nothing holds what is fetched against its digest", component_name(self._components[index])
            )
        if len(self._epochs) != 1:
            raise _incomplete(f"security epochs {sorted(self._epochs)} where one is needed", "manifest")
        sequence = self._envelope.manifest.sequence_number
        names = [component_name(each) for each in self._components]
        copies = {names[index]: names[source] for index, source in self._copied.items()}
        return InstallPlan(sequence, self._version(), self._epochs.pop(), payloads, contents, copies, self._starts)

    def _version(self) -> str:
        numbers = self._envelope.manifest.version
        if numbers is None or min(numbers) < 0:
            raise _incomplete("the manifest has no version of plain numbers", "set version")
        return ".".join(map(str, numbers))

    def _content(self, wanted: Payload) -> bytes:
        content = self._envelope.payloads.get(wanted.uri)
        if content is None:
            raise _incomplete(f"the payload {wanted.uri} did not come along", wanted.component)
        if len(content) != wanted.size or hashlib.sha256(content).digest() != wanted.digest:
            detail = f"the payload {wanted.uri} is not the one that was signed"
            raise Refusal(refusals.MANIFEST_MEMBER_MISMATCH, detail, place=wanted.component)
        return content

    def _each(self, run: _Run) -> Iterator[tuple[int, Parameters]]:
        """The selected components with their parameters; each counts as a step."""
        for index in run.selected:
            self._steps += 1
            if self._steps > MAX_STEPS:
                raise InputError("suit-limit", f"more than {MAX_STEPS} steps", place=run.place)
            yield index, run.parameters[index]

    def _select(self, run: _Run, argument: Argument) -> None:
        everything = tuple(range(len(self._components)))
        if argument is True:
            run.selected = everything
        else:
            run.selected = argument if isinstance(argument, tuple) else (argument,)  # type: ignore[assignment]
        if not set(run.selected) <= set(everything):
            raise _incomplete(f"component {max(run.selected)} of {len(everything)}", run.place)

    def _override(self, run: _Run, argument: Argument) -> None:
        assert isinstance(argument, Parameters)
        if labels := unsupported_parameters(argument):
            detail = f"parameters {labels}"
            raise Refusal(refusals.MANIFEST_PARAMETER_UNSUPPORTED, detail, place=run.place)
        self._epochs |= {int(value) for value in argument.private.values()}
        for index, parameters in self._each(run):
            run.parameters[index] = parameters.overridden(argument)

    def _vendor(self, run: _Run, _: Argument) -> None:
        for _index, parameters in self._each(run):
            if _given(parameters.vendor_id, "vendor identifier", run) != self._device.vendor_id:
                detail = f"{_uuid(parameters.vendor_id)} where this device is {_uuid(self._device.vendor_id)}"
                raise Refusal(refusals.MANIFEST_OTHER_VENDOR, detail, place=run.place)
        run.compatible.add(Code.VENDOR_IDENTIFIER)

    def _class(self, run: _Run, _: Argument) -> None:
        for _index, parameters in self._each(run):
            if _given(parameters.class_id, "class identifier", run) != self._device.class_id:
                detail = f"{_uuid(parameters.class_id)} where this device is {_uuid(self._device.class_id)}"
                raise Refusal(refusals.MANIFEST_OTHER_CLASS, detail, place=run.place)
        run.compatible.add(Code.CLASS_IDENTIFIER)

    def _fetch(self, run: _Run, _: Argument) -> None:
        _check_compatible(run)
        for index, parameters in self._each(run):
            if index in self._fetched or index in self._copied:
                raise _unsupported("a second fetch for one component", run)
            self._fetched[index] = Payload(
                component_name(self._components[index]),
                _given(parameters.uri, "uri", run),
                _given(parameters.image_digest, "image digest", run),
                _given(parameters.image_size, "image size", run),
            )

    def _copy(self, run: _Run, _: Argument) -> None:
        """What is copied is what was fetched and held against its digest, and goes where nothing else goes."""
        _check_compatible(run)
        for index, parameters in self._each(run):
            source = _given(parameters.source_component, "source component", run)
            if source not in self._matched or index in self._fetched or index in self._copied:
                raise _unsupported(f"a copy of component {source} to component {index}", run)
            payload = self._fetched[source]
            if (parameters.image_digest, parameters.image_size) != (payload.digest, payload.size):
                raise _incomplete("another digest or size than those of what is copied", run.place)
            self._copied[index] = source

    def _match(self, run: _Run, _: Argument) -> None:
        for index, parameters in self._each(run):
            if index not in self._fetched and index not in self._copied:
                raise _unsupported("an image-match of what is not fetched", run)
            payload = self._fetched[self._copied.get(index, index)]
            _given(parameters.image_digest, "image digest", run)
            if (parameters.image_digest, parameters.image_size) != (payload.digest, payload.size):
                raise _incomplete("another digest or size than those it is fetched by", run.place)
            self._matched.add(index)

    def _invoke(self, run: _Run, _: Argument) -> None:
        """Only what a boot starts, and as a boot does it: the slot, and nothing takes arguments."""
        _check_compatible(run)
        for index, parameters in self._each(run):
            name = component_name(self._components[index])
            if name != SLOT or parameters.invoke_args is not None or self._starts:
                raise _unsupported(f"an invoke of {name}, with arguments, or once more", run)
            self._starts = True


_HANDLERS: Mapping[int, Callable[[_Processor, _Run, Argument], None]] = {
    Code.SET_COMPONENT_INDEX: _Processor._select,
    Code.OVERRIDE_PARAMETERS: _Processor._override,
    Code.VENDOR_IDENTIFIER: _Processor._vendor,
    Code.CLASS_IDENTIFIER: _Processor._class,
    Code.IMAGE_MATCH: _Processor._match,
    Code.FETCH: _Processor._fetch,
    Code.COPY: _Processor._copy,
    Code.INVOKE: _Processor._invoke,
}


COMMANDS = frozenset(_HANDLERS)
"""Those that a plan may have."""
SECTIONS = frozenset(_ORDER)


def _check_compatible(run: _Run) -> None:
    if len(run.compatible) < 2:
        raise _incomplete("vendor and class are not checked before a change", run.place)


def _given(value: _T | None, what: str, run: _Run) -> _T:
    if value is None:
        raise _incomplete(f"no {what} is set", run.place)
    return value


def unsupported_parameters(parameters: Parameters, *, within: bool = False) -> list[int]:
    """The labels of those that nobody here acts upon; `within` a sequence in another there is one more that is."""
    private = [label for label, value in parameters.private.items() if label != EPOCH_LABEL or not is_epoch(value)]
    arguments = [] if parameters.fetch_arguments is None else [_FETCH_ARGUMENTS]
    soft = [] if within or parameters.soft_failure is None else [_SOFT_FAILURE]
    return sorted([*private, *parameters.foreign, *arguments, *soft])


def is_epoch(value: object) -> bool:
    """Whether this is a security epoch."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SECURITY_EPOCH


def _uuid(value: bytes | None) -> str:
    return str(uuid.UUID(bytes=value))


def _incomplete(detail: str, place: str) -> Refusal:
    return Refusal(refusals.MANIFEST_INCOMPLETE, detail, place=place)


def _unsupported(detail: str, run: _Run) -> Refusal:
    return Refusal(refusals.MANIFEST_COMMAND_UNSUPPORTED, detail, place=run.place)
