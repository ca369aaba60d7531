"""What each condition checks and each directive does, for one component (draft-ietf-suit-manifest, 6.4 and 8.4).

A condition that does not hold is an `Unmet`, the one refusal that alternatives can catch. Everything else that goes
wrong ends the run: a Refusal, an InputError, or the platform's EnvironmentFault.
"""

from __future__ import annotations

import hashlib
import operator
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Protocol, TypeVar

from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.suit_commands import Code, Comparison, Parameters, VersionMatch
from medvouch.formats.suit_manifest import ComponentId, Member, component_name
from medvouch.update import refusals
from medvouch.update.payload import Payload, bounded, checked
from medvouch.update.platform import Platform
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import VerifiedEnvelope, dependency_digest

MAX_UNSIZED_BYTES = 1 << 20
"""Of what is fetched or copied without a size that was signed."""

_T = TypeVar("_T")
_COMPATIBLE = frozenset({Code.VENDOR_IDENTIFIER, Code.CLASS_IDENTIFIER})
"""What has to hold before anything is changed."""


class Unmet(Refusal):
    """A condition does not hold; `found` is what was measured instead, where it has a form of its own."""

    found = Parameters()


@dataclass(frozen=True)
class Frame:
    """A manifest while it is run: `path`, the dependency indexes that lead to it; `prefix`, before its components."""

    envelope: VerifiedEnvelope
    path: tuple[int, ...] = ()
    prefix: ComponentId = ()

    @property
    def indexes(self) -> tuple[int, ...]:
        """Of components and dependencies, as `true` selects them."""
        common = self.envelope.manifest.common
        return tuple(sorted({*range(len(common.components)), *common.dependencies}))

    def component(self, index: int, place: str) -> ComponentId:
        """Its whole id. Refusal `manifest-incomplete` for a dependency without one."""
        common = self.envelope.manifest.common
        if index not in common.dependencies:
            return (*self.prefix, *common.components[index])
        if (below := common.dependencies[index]) is None:
            raise Refusal(refusals.MANIFEST_INCOMPLETE, f"dependency {index} has no prefix", place=place)
        return (*self.prefix, *below)


@dataclass
class Scope:
    """State of one section while it is run.

    `every`: whether all are selected, by `true`. `soft`: within alternatives, whether an Unmet ends only the sequence.
    """

    frame: Frame
    member: Member
    parameters: dict[int, Parameters]
    selected: tuple[int, ...] = (0,)
    every: bool = False
    soft: bool | None = None
    held: set[int] = field(default_factory=set)
    place: str = ""

    def targets(self, code: int) -> tuple[int, ...]:
        """What a command is for: process-dependency of all components is of all that are dependencies."""
        if not self.every or code != Code.PROCESS_DEPENDENCY:
            return self.selected
        return tuple(index for index in self.selected if index in self.frame.envelope.manifest.common.dependencies)


class Machine(Protocol):
    """What commands act through."""

    device: DeviceClass
    platform: Platform

    def dependency(self, scope: Scope, index: int) -> bytes:
        """The envelope that was fetched for a dependency. Refusal `dependency-mismatch` where there is none."""
        ...

    def verified(self, scope: Scope, index: int) -> VerifiedEnvelope:
        """That one, with the signatures that it needs, and the digest that is wanted."""
        ...

    def process(self, scope: Scope, index: int) -> None:
        """Run the same section of a dependency."""
        ...

    def matched(self, scope: Scope, index: int) -> None:
        """A dependency was held against the digest that is set."""
        ...


Handler = Callable[[Machine, Scope, int], None]


def given(value: _T | None, what: str, scope: Scope) -> _T:
    """The value; Refusal `manifest-incomplete` where the manifest has set none."""
    if value is None:
        raise Refusal(refusals.MANIFEST_INCOMPLETE, f"no {what} is set", place=scope.place)
    return value


def unmet(kind: RefusalKind, detail: str, scope: Scope, found: Parameters | None = None) -> Unmet:
    """A condition that does not hold, here."""
    refusal = Unmet(kind, detail, place=scope.place)
    refusal.found = found or Parameters()
    return refusal


# --- conditions ------------------------------------------------------------------------------------------------------


def _identity(scope: Scope, index: int, code: Code, found: bytes, otherwise: RefusalKind) -> None:
    name = code.name.lower().replace("identifier", "id")
    wanted = given(getattr(scope.parameters[index], name), name.replace("_", " "), scope)
    if wanted != found:
        detail = f"{uuid.UUID(bytes=wanted)} where this is {found.hex() or 'nothing'}"
        raise unmet(otherwise, detail, scope, Parameters(**{name: found}) if found else None)  # type: ignore[arg-type]
    scope.held.add(code)


def _vendor(machine: Machine, scope: Scope, index: int) -> None:
    _identity(scope, index, Code.VENDOR_IDENTIFIER, machine.device.vendor_id, refusals.MANIFEST_OTHER_VENDOR)


def _class(machine: Machine, scope: Scope, index: int) -> None:
    _identity(scope, index, Code.CLASS_IDENTIFIER, machine.device.class_id, refusals.MANIFEST_OTHER_CLASS)


def _device(machine: Machine, scope: Scope, index: int) -> None:
    _identity(scope, index, Code.DEVICE_IDENTIFIER, machine.device.device_id, refusals.MANIFEST_OTHER_DEVICE)


def measured(machine: Machine, scope: Scope, index: int) -> bytes:
    """The SHA-256 of what a component holds, in the size that is set; of a dependency that of its manifest."""
    if index in scope.frame.envelope.manifest.common.dependencies:
        return dependency_digest(machine.dependency(scope, index)) or b""
    size, read, digest = scope.parameters[index].image_size, 0, hashlib.sha256()
    for chunk in machine.platform.read(scope.frame.component(index, scope.place), size):
        read += len(chunk)
        digest.update(chunk)
    return digest.digest() if size is None or read == size else b""


def _image_match(machine: Machine, scope: Scope, index: int) -> None:
    wanted = given(scope.parameters[index].image_digest, "image digest", scope)
    if (found := measured(machine, scope, index)) != wanted:
        detail = f"{found.hex() or 'another size'} where {wanted.hex()} is wanted"
        raise unmet(refusals.COMPONENT_MISMATCH, detail, scope, Parameters(image_digest=found) if found else None)
    machine.matched(scope, index)


def _image_not_match(machine: Machine, scope: Scope, index: int) -> None:
    unwanted = given(scope.parameters[index].image_digest, "image digest", scope)
    if measured(machine, scope, index) == unwanted:
        found = Parameters(image_digest=unwanted)
        raise unmet(refusals.COMPONENT_MISMATCH, f"{unwanted.hex()} is what must not be there", scope, found)


def _component_slot(machine: Machine, scope: Scope, index: int) -> None:
    wanted = given(scope.parameters[index].component_slot, "component slot", scope)
    found = machine.platform.slot(scope.frame.component(index, scope.place))
    if found != wanted:
        detail = f"slot {wanted} where {found} is free"
        raise unmet(refusals.COMPONENT_OTHER_SLOT, detail, scope, Parameters(component_slot=found))


def _check_content(machine: Machine, scope: Scope, index: int) -> None:
    wanted = given(scope.parameters[index].content, "content", scope)
    chunks = machine.platform.read(scope.frame.component(index, scope.place), None)
    if bounded(chunks, len(wanted) + 1) != wanted:
        raise unmet(refusals.COMPONENT_MISMATCH, f"other contents than the {len(wanted)} bytes that are set", scope)


_COMPARE: Mapping[Comparison, Callable[[list[int], list[int]], bool]] = {
    Comparison.GREATER: operator.gt,
    Comparison.GREATER_EQUAL: operator.ge,
    Comparison.EQUAL: operator.eq,
    Comparison.LESSER_EQUAL: operator.le,
    Comparison.LESSER: operator.lt,
}


def _version(machine: Machine, scope: Scope, index: int) -> None:
    comparison, wanted = given(scope.parameters[index].version, "version", scope)
    found = machine.platform.version(scope.frame.component(index, scope.place))
    padded = list(zip_longest(found, wanted, fillvalue=0))
    if not _COMPARE[comparison]([left for left, _ in padded], [right for _, right in padded]):
        detail = f"{found} is not {comparison.name} than {wanted}"
        is_version = Parameters(version=VersionMatch(Comparison.EQUAL, found))
        raise unmet(refusals.COMPONENT_OTHER_VERSION, detail, scope, is_version)


def _dependency_integrity(machine: Machine, scope: Scope, index: int) -> None:
    machine.verified(scope, index)


def _is_dependency(_: Machine, scope: Scope, index: int) -> None:
    if index not in scope.frame.envelope.manifest.common.dependencies:
        raise unmet(refusals.DEPENDENCY_NONE, f"component {index} is no dependency", scope)


def _abort(_: Machine, scope: Scope, index: int) -> None:
    raise unmet(refusals.MANIFEST_ABORTED, f"for component {index}", scope)


# --- directives ------------------------------------------------------------------------------------------------------


def _compatible(scope: Scope) -> None:
    if not scope.held >= _COMPATIBLE:
        detail = "vendor and class are not checked before something is changed"
        raise Refusal(refusals.MANIFEST_INCOMPLETE, detail, place=scope.place)


def _source(machine: Machine, scope: Scope, uri: str) -> Iterator[bytes]:
    if not uri.startswith("#"):
        return machine.platform.open(uri)
    if (integrated := scope.frame.envelope.payloads.get(uri)) is None:
        raise Refusal(refusals.MANIFEST_INCOMPLETE, f"the payload {uri} did not come along", place=scope.place)
    return iter([integrated])


def _bring(machine: Machine, scope: Scope, index: int, uri: str, chunks: Iterable[bytes]) -> None:
    """Into the component, never one byte more than was signed, and only if it is what was signed."""
    component, parameters = scope.frame.component(index, scope.place), scope.parameters[index]
    digest, size = given(parameters.image_digest, "image digest", scope), parameters.image_size
    if size is None:  # the draft allows it; what has no stated size is small
        data = bounded(chunks, MAX_UNSIZED_BYTES + 1)
        chunks, size = [data], min(len(data), MAX_UNSIZED_BYTES)
    machine.platform.store(component, checked(chunks, Payload(component_name(component), uri, digest, size)))


def _fetch(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    parameters = scope.parameters[index]
    uri = given(parameters.uri, "uri", scope)
    if index in scope.frame.envelope.manifest.common.dependencies:
        _fetch_dependency(machine, scope, index, uri)
    else:
        _bring(machine, scope, index, uri, _source(machine, scope, uri))


def _fetch_dependency(machine: Machine, scope: Scope, index: int, uri: str) -> None:
    wanted = given(scope.parameters[index].image_digest, "image digest", scope)
    data = bounded(_source(machine, scope, uri), MAX_ENVELOPE_BYTES + 1)
    if dependency_digest(data) != wanted or scope.parameters[index].image_size not in (None, len(data)):
        raise Refusal(refusals.DEPENDENCY_MISMATCH, f"{uri} is not {wanted.hex()}", place=scope.place)
    machine.platform.store(scope.frame.component(index, scope.place), [data])


def _write(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    content = given(scope.parameters[index].content, "content", scope)
    machine.platform.store(scope.frame.component(index, scope.place), [content])


def _copy(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    source = given(scope.parameters[index].source_component, "source component", scope)
    if source not in scope.frame.indexes:
        raise Refusal(refusals.MANIFEST_INCOMPLETE, f"there is no component {source}", place=scope.place)
    origin, size = scope.frame.component(source, scope.place), scope.parameters[index].image_size
    _bring(machine, scope, index, component_name(origin), machine.platform.read(origin, size))


def _invoke(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    machine.platform.invoke(scope.frame.component(index, scope.place), scope.parameters[index].invoke_args or b"")


def _unlink(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    machine.platform.remove(scope.frame.component(index, scope.place))


def _process_dependency(machine: Machine, scope: Scope, index: int) -> None:
    _compatible(scope)
    machine.process(scope, index)


HANDLERS: Mapping[int, Handler] = {
    Code.VENDOR_IDENTIFIER: _vendor,
    Code.CLASS_IDENTIFIER: _class,
    Code.DEVICE_IDENTIFIER: _device,
    Code.IMAGE_MATCH: _image_match,
    Code.IMAGE_NOT_MATCH: _image_not_match,
    Code.COMPONENT_SLOT: _component_slot,
    Code.CHECK_CONTENT: _check_content,
    Code.VERSION: _version,
    Code.DEPENDENCY_INTEGRITY: _dependency_integrity,
    Code.IS_DEPENDENCY: _is_dependency,
    Code.ABORT: _abort,
    Code.FETCH: _fetch,
    Code.WRITE: _write,
    Code.COPY: _copy,
    Code.INVOKE: _invoke,
    Code.UNLINK: _unlink,
    Code.PROCESS_DEPENDENCY: _process_dependency,
}
"""Commands that take a reporting policy, by code."""

PROPERTIES: Mapping[int, tuple[str, ...]] = {
    Code.VENDOR_IDENTIFIER: ("vendor_id",),
    Code.CLASS_IDENTIFIER: ("class_id",),
    Code.DEVICE_IDENTIFIER: ("device_id",),
    Code.IMAGE_MATCH: ("image_digest", "image_size"),
    Code.IMAGE_NOT_MATCH: ("image_digest", "image_size"),
    Code.COMPONENT_SLOT: ("component_slot",),
    Code.VERSION: ("version",),
    Code.DEPENDENCY_INTEGRITY: ("image_digest",),
    Code.FETCH: ("uri", "image_digest", "image_size"),
    Code.COPY: ("source_component", "image_digest", "image_size"),
    Code.INVOKE: ("invoke_args",),
}
"""The parameters that a command goes by. Its record shows them, and of a condition that fails what was found instead
(draft-ietf-suit-report, 3).
"""
