"""Manifests that are run on a device: what each command does, and that nothing is done where one must not be."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.components import SYSTEM
from medvouch.errors import InputError, MedvouchError, NetworkFault, RefusalKind
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_codes import COMMAND, PARAMETER, TABLE, Kind
from medvouch.formats.suit_commands import Code, Command, CommandSequence, Comparison, Parameters, VersionMatch
from medvouch.formats.suit_manifest import MAX_MANIFEST_BYTES, ComponentId, Manifest, Member
from medvouch.formats.suit_report import CommandRecord, Reason, SuitReport, SystemClaims
from medvouch.update import refusals
from medvouch.update.commands import MAX_UNSIZED_BYTES
from medvouch.update.execution import Procedure
from medvouch.update.processor import EPOCH_LABEL, MAX_STEPS, plan
from medvouch_sim.suit_setting import override, select
from support.executing import (
    BELOW,
    COPY,
    IDENTITY,
    NOTE,
    SHARED,
    Device,
    installing,
)
from support.refusing import assert_refused
from support.suit import (
    CHECKS,
    DEVICE,
    FETCH,
    IMAGE,
    IMAGE_PARAMETERS,
    MATCH,
    URI,
    enclosed,
    released,
    signed,
    verified,
)

WRITE, TAKE, RUN = Command(Code.WRITE, 15), Command(Code.COPY, 15), Command(Code.INVOKE, 15)
PROCESS, INTEGRITY = Command(Code.PROCESS_DEPENDENCY, 15), Command(Code.DEPENDENCY_INTEGRITY, 15)
IS_DEPENDENCY, ABORT, UNLINK = (
    Command(Code.IS_DEPENDENCY, 15),
    Command(Code.ABORT, 15),
    Command(Code.UNLINK, 15),
)
TEXT = b"a note"
TEXT_PARAMETERS = {"image_digest": hashlib.sha256(TEXT).digest(), "image_size": len(TEXT)}
WRITTEN = (select(1), override(content=TEXT), WRITE)
FETCHED = (override(uri=URI, **IMAGE_PARAMETERS), FETCH, MATCH)


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def try_each(*alternatives: CommandSequence | None) -> Command:
    return Command(Code.TRY_EACH, alternatives)


def sequence(*commands: Command) -> Command:
    return Command(Code.RUN_SEQUENCE, commands)


def refused(device: Device, kind: RefusalKind, content: Manifest, *rest: Any, **payloads: bytes) -> str:
    return assert_refused(kind, device.run, content, *rest, **payloads).detail


# --- a whole release -------------------------------------------------------------------------------------------------


def test_a_release_is_fetched_checked_and_started(device: Device) -> None:
    content = installing(
        *FETCHED,
        *WRITTEN,
        more={
            Member.CANDIDATE_VERIFICATION: (override(component_slot=1), Command(Code.COMPONENT_SLOT, 15)),
            Member.VALIDATE: (override(**IMAGE_PARAMETERS), MATCH),
            Member.INVOKE: (RUN,),
        },
    )
    assert device.run(content).report().failure is None
    assert device.holds(SYSTEM) == IMAGE
    assert device.holds(NOTE) == TEXT
    assert device.slots.activated() is None
    device.run(content, Procedure.BOOT)
    assert device.slots.activated() == "b"


def test_a_release_as_it_is_built_comes_to_what_its_plan_says(device: Device) -> None:
    envelope = verified(released())
    device.execution(envelope).run(Procedure.UPDATE)
    planned = plan(envelope, DEVICE)
    assert [payload.component for payload in planned.payloads] == ["slot"]
    assert hashlib.sha256(device.holds(SYSTEM)).digest() == planned.payloads[0].digest
    assert device.holds((b"reference",)) == planned.contents["reference"]
    device.execution(envelope).run(Procedure.BOOT)
    assert device.slots.activated() == "b"


def test_the_occasions_have_their_sections(device: Device) -> None:
    order = [member for procedure in Procedure for member in procedure.value]
    sections = {member: (override(content=bytes([member])),) for member in order}
    content = installing(more=sections)
    for procedure in Procedure:
        execution = device.run(content, procedure)
        assert execution._at.section == procedure.value[-1]
    assert set(order) == set(Member) - {Member.TEXT}


def test_a_section_that_was_severed_and_left_behind(device: Device) -> None:
    content = replace(installing(), severed={Member.INSTALL: bytes(32)})
    assert refused(device, refusals.MANIFEST_INCOMPLETE, content).startswith("the sequence was severed")


# --- conditions ------------------------------------------------------------------------------------------------------

HOLDING = {
    "vendor": (CHECKS[0], {"vendor_id": DEVICE.vendor_id}, {"vendor_id": bytes(16)}, refusals.MANIFEST_OTHER_VENDOR),
    "class": (CHECKS[1], {"class_id": DEVICE.class_id}, {"class_id": bytes(16)}, refusals.MANIFEST_OTHER_CLASS),
    "device": (
        Command(Code.DEVICE_IDENTIFIER, 15), {"device_id": b"i" * 16}, {"device_id": b"j" * 16},
        refusals.MANIFEST_OTHER_DEVICE,
    ),
    "image": (MATCH, TEXT_PARAMETERS, {"image_digest": bytes(32)}, refusals.COMPONENT_MISMATCH),
    "image size": (
        MATCH, {"image_digest": TEXT_PARAMETERS["image_digest"]}, {**TEXT_PARAMETERS, "image_size": 5},
        refusals.COMPONENT_MISMATCH,
    ),
    "no image": (
        Command(Code.IMAGE_NOT_MATCH, 15), {"image_digest": bytes(32)}, TEXT_PARAMETERS, refusals.COMPONENT_MISMATCH,
    ),
    "slot": (
        Command(Code.COMPONENT_SLOT, 15), {"component_slot": 0}, {"component_slot": 1}, refusals.COMPONENT_OTHER_SLOT,
    ),
    "content": (
        Command(Code.CHECK_CONTENT, 15), {"content": TEXT}, {"content": TEXT[:-1]}, refusals.COMPONENT_MISMATCH,
    ),
    "more content": (
        Command(Code.CHECK_CONTENT, 15), {"content": TEXT}, {"content": TEXT + b"!"}, refusals.COMPONENT_MISMATCH,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("command", "good", "bad", "kind"), HOLDING.values(), ids=HOLDING)
def test_conditions(
    tmp_path: Path, command: Command, good: dict[str, Any], bad: dict[str, Any], kind: RefusalKind
) -> None:
    device = Device(tmp_path, identity=replace(DEVICE, device_id=b"i" * 16))
    device.components.store(NOTE, [TEXT])
    device.run(installing(select(1), override(**good), command))
    refused(device, kind, installing(select(1), override(**bad), command))


@pytest.mark.parametrize("command", [command for command, *_ in HOLDING.values()], ids=HOLDING)
def test_conditions_on_what_is_not_set(device: Device, command: Command) -> None:
    bare = installing(select(1), command, shared=())
    assert refused(device, refusals.MANIFEST_INCOMPLETE, bare).startswith("no ")


@pytest.mark.parametrize(
    ("comparison", "numbers", "holds"),
    [
        (Comparison.GREATER, (2, 0), True), (Comparison.GREATER, (2, 1, -1), False),
        (Comparison.GREATER, (2, 1), False),
        (Comparison.GREATER_EQUAL, (2, 1, -1), True), (Comparison.GREATER_EQUAL, (2, 1), False),
        (Comparison.EQUAL, (2, 1, -1, 0), True), (Comparison.EQUAL, (2, 1), False),
        (Comparison.LESSER_EQUAL, (2, 1), True), (Comparison.LESSER_EQUAL, (2, 0, 9), False),
        (Comparison.LESSER, (2, 1), True), (Comparison.LESSER, (2, 1, -1), False),
    ],
)  # fmt: skip
def test_versions(device: Device, comparison: Comparison, numbers: tuple[int, ...], holds: bool) -> None:
    """Of what is installed, 2.1.-1: a pre-release of 2.1."""
    wanted = override(version=VersionMatch(comparison, numbers))
    content = installing(select(1), wanted, Command(Code.VERSION, 15))
    if holds:
        device.run(content)
    else:
        refused(device, refusals.COMPONENT_OTHER_VERSION, content)


def test_abort(device: Device) -> None:
    refused(device, refusals.MANIFEST_ABORTED, installing(ABORT, *WRITTEN))
    assert device.holds(NOTE) == b""


# --- directives ------------------------------------------------------------------------------------------------------

SPOILED = {
    "longer": (IMAGE + b"!", refusals.PAYLOAD_TOO_LONG),
    "shorter": (IMAGE[:-1], refusals.PAYLOAD_TOO_SHORT),
    "another": (IMAGE[:-1] + b"!", refusals.PAYLOAD_MISMATCH),
}


@pytest.mark.parametrize(("served", "kind"), SPOILED.values(), ids=SPOILED)
def test_only_what_was_signed_is_fetched(tmp_path: Path, served: bytes, kind: RefusalKind) -> None:
    device = Device(tmp_path, {URI: served})
    refused(device, kind, installing(*FETCHED))
    assert device.slots.record().states["b"] == "empty"


@pytest.mark.parametrize("uri", ["https://elsewhere.example/x", "https://updates.example/../x", "file:///etc/passwd"])
def test_only_from_where_it_is_allowed(device: Device, uri: str) -> None:
    content = installing(override(uri=uri, **IMAGE_PARAMETERS), FETCH)
    refused(device, refusals.URL_NOT_ALLOWED, content)


def test_integrated_payloads(device: Device) -> None:
    content = installing(select(1), override(uri="#note", **TEXT_PARAMETERS), FETCH, MATCH)
    device.run(content, note=TEXT)
    assert device.holds(NOTE) == TEXT
    refused(device, refusals.MANIFEST_INCOMPLETE, content)


def test_copies(device: Device) -> None:
    device.components.store(NOTE, [TEXT])
    device.run(installing(select(2), override(source_component=1, **TEXT_PARAMETERS), TAKE, MATCH))
    assert device.holds(COPY) == TEXT
    device.components.store(NOTE, [b"others"])
    refused(
        device, refusals.PAYLOAD_MISMATCH, installing(select(2), override(source_component=1, **TEXT_PARAMETERS), TAKE)
    )
    assert device.holds(COPY) == TEXT
    refused(device, refusals.MANIFEST_INCOMPLETE, installing(override(source_component=3, **TEXT_PARAMETERS), TAKE))


@pytest.mark.parametrize(("excess", "fits"), [(0, True), (1, False)])
def test_a_fetch_without_a_size_is_of_something_small(tmp_path: Path, excess: int, fits: bool) -> None:
    content, uri = bytes(MAX_UNSIZED_BYTES + excess), "https://updates.example/note"
    device = Device(tmp_path, {uri: content})
    known = override(uri=uri, image_digest=hashlib.sha256(content).digest())
    fetching = installing(select(1), known, FETCH, MATCH)
    if fits:
        device.run(fetching)
        assert device.holds(NOTE) == content
    else:
        refused(device, refusals.PAYLOAD_TOO_LONG, fetching)


@pytest.mark.parametrize("missing", ["uri", "image_digest"])
def test_a_fetch_without_all_it_needs(device: Device, missing: str) -> None:
    known = {"uri": URI, **IMAGE_PARAMETERS}
    del known[missing]
    assert refused(device, refusals.MANIFEST_INCOMPLETE, installing(override(**known), FETCH)).startswith("no ")


def test_uninstallation(device: Device) -> None:
    device.run(installing(*FETCHED, *WRITTEN))
    device.run(installing(more={Member.UNINSTALL: (UNLINK, select(1), UNLINK)}), Procedure.UNINSTALL)
    assert device.holds(NOTE) == b""
    assert device.slots.record().states["b"] == "bad"


def test_a_component_that_is_not_this_device_s(device: Device) -> None:
    content = installing(override(content=TEXT), WRITE, components=((b"boiler",),))
    refused(device, refusals.COMPONENT_UNKNOWN, content)
    refused(device, refusals.COMPONENT_UNKNOWN, installing(more={Member.INVOKE: (select(1), RUN)}), Procedure.BOOT)
    with_arguments = installing(more={Member.INVOKE: (override(invoke_args=b"single"), RUN)})
    refused(device, refusals.COMPONENT_UNKNOWN, with_arguments, Procedure.BOOT)


@pytest.mark.parametrize("shared", [(), (IDENTITY,), (IDENTITY, CHECKS[0]), (IDENTITY, CHECKS[1], CHECKS[1])])
@pytest.mark.parametrize("directive", [FETCH, WRITE, TAKE, PROCESS, UNLINK, RUN])
def test_nothing_changes_before_vendor_and_class_hold(
    device: Device, directive: Command, shared: CommandSequence
) -> None:
    member = {Code.UNLINK: Member.UNINSTALL, Code.INVOKE: Member.INVOKE}.get(Code(directive.code), Member.INSTALL)
    procedure = next(each for each in Procedure if member in each.value)
    parameters = override(uri=URI, content=TEXT, source_component=1, **IMAGE_PARAMETERS)
    content = installing(shared=shared, more={member: (parameters, directive)})
    assert "vendor and class" in refused(device, refusals.MANIFEST_INCOMPLETE, content, procedure)


# --- selection, alternatives, sequences ------------------------------------------------------------------------------


def test_parameters_are_set_for_what_is_selected(device: Device) -> None:
    device.run(
        installing(
            select((1, 2)), override(content=b"both"), select(2), override(content=b"copy"), select((1, 2)), WRITE
        )
    )
    assert (device.holds(NOTE), device.holds(COPY)) == (b"both", b"copy")


def test_set_parameters_override_none(device: Device) -> None:
    set_content = Command(Code.SET_PARAMETERS, Parameters(content=b"second"))
    device.run(
        installing(select(1), override(content=b"first"), set_content, select(2), set_content, select((1, 2)), WRITE)
    )
    assert (device.holds(NOTE), device.holds(COPY)) == (b"first", b"second")


def test_the_first_alternative_that_holds(device: Device) -> None:
    slots = [(override(component_slot=number), Command(Code.COMPONENT_SLOT, 15), *FETCHED) for number in (0, 1)]
    device.run(installing(try_each(*slots)))
    assert device.holds(SYSTEM) == IMAGE
    assert (
        refused(device, refusals.MANIFEST_NO_ALTERNATIVE, installing(try_each(slots[0], slots[0]))) == "for component 0"
    )
    device.run(installing(try_each(slots[0], slots[0], None)))


def test_an_alternative_that_fails_leaves_no_parameter_behind(device: Device) -> None:
    left = (override(content=b"left behind"), ABORT)
    device.run(installing(select(1), override(content=TEXT), try_each(left, (override(uri=URI),)), WRITE))
    assert device.holds(NOTE) == TEXT
    unbound = try_each((IDENTITY, *CHECKS, ABORT), (IDENTITY,))
    content = installing(unbound, select(1), override(content=TEXT), WRITE, shared=())
    refused(device, refusals.MANIFEST_INCOMPLETE, content)


def test_alternatives_are_for_conditions_alone(device: Device) -> None:
    """What fails otherwise is no question of which release fits."""
    broken = (override(uri="https://updates.example/none", **IMAGE_PARAMETERS), FETCH)
    with pytest.raises(NetworkFault):
        device.run(installing(try_each(broken, FETCHED)))


@pytest.mark.parametrize(
    ("command", "held"),
    [
        (sequence(ABORT), False),
        (sequence(override(soft_failure=True), ABORT), True),
        (sequence(override(soft_failure=True), sequence(ABORT)), True),
        (sequence(sequence(override(soft_failure=True), ABORT), ABORT), False),
        (try_each((override(soft_failure=False), ABORT), (override(uri=URI),)), False),
    ],
)
def test_soft_failures(device: Device, command: Command, held: bool) -> None:
    content = installing(command, *WRITTEN)
    if held:
        device.run(content)
    else:
        refused(device, refusals.MANIFEST_ABORTED, content)
    assert device.holds(NOTE) == (TEXT if held else b"")


def test_each_component_has_its_turn(device: Device) -> None:
    """Within, one is selected; afterwards those that were before."""
    device.components.store(NOTE, [TEXT])
    kept = (override(content=TEXT), Command(Code.CHECK_CONTENT, 0), override(content=b"was a note"))
    otherwise = (override(content=b"was none"),)
    device.run(installing(select((1, 2)), try_each(kept, otherwise), WRITE))
    assert (device.holds(NOTE), device.holds(COPY)) == (b"was a note", b"was none")
    within = sequence(select(1), override(content=b"x"))
    device.run(installing(select((1, 2)), override(content=b"both"), within, WRITE))
    assert (device.holds(NOTE), device.holds(COPY)) == (b"x", b"both")


@pytest.mark.parametrize("index", [3, (0, 3)])
def test_components_that_there_are_not(device: Device, index: Any) -> None:
    refused(device, refusals.MANIFEST_INCOMPLETE, installing(select(index)))


def test_no_components(device: Device) -> None:
    refused(device, refusals.MANIFEST_INCOMPLETE, installing(override(uri=URI), components=(), shared=()))


def test_a_section_begins_with_component_0(device: Device) -> None:
    """Where there is none, as where dependencies alone have numbers, nothing begins."""
    content = installing(override(uri=URI), components=(), shared=(), dependencies={1: BELOW})
    assert refused(device, refusals.MANIFEST_INCOMPLETE, content) == "there is no component 0"


def test_steps_are_bounded(device: Device) -> None:
    many = sequence(*[override(strict_order=True)] * 60)
    device.run(installing(*[many] * 7))
    with pytest.raises(InputError, match="suit-limit"):
        device.run(installing(*[many] * (MAX_STEPS // 60)))


# --- dependencies ----------------------------------------------------------------------------------------------------


def dependent(*commands: Command, **kwargs: Any) -> bytes:
    content = installing(*(commands or (override(content=TEXT), WRITE)), components=(NOTE,), **kwargs)
    return signed(enclosed(content))


def depending(data: bytes, *commands: Command, uri: str = "#below", **kwargs: Any) -> Manifest:
    """Fetches a dependency, checks it and has it install itself."""
    known = override(image_digest=Envelope.parse(data).digest, image_size=len(data), uri=uri)
    resolving = (select(1), known, FETCH, MATCH, PROCESS)
    sections = {Member.DEPENDENCY_RESOLUTION: resolving, **kwargs.pop("more", {})}
    return installing(
        *(commands or (select(1), PROCESS)), components=(SYSTEM,), dependencies={1: BELOW}, more=sections, **kwargs
    )


def test_a_dependency_installs_itself_below_its_prefix(device: Device) -> None:
    data = dependent()
    device.run(depending(data), below=data)
    assert device.holds((*BELOW, *NOTE)) == TEXT
    assert device.holds(NOTE) == b""
    assert device.holds(BELOW) == data


def test_a_dependency_from_the_server(tmp_path: Path) -> None:
    data, uri = dependent(), "https://updates.example/below.suit"
    device = Device(tmp_path, {uri: data})
    device.run(depending(data, uri=uri))
    assert device.holds((*BELOW, *NOTE)) == TEXT


def test_the_boot_goes_by_the_dependency_that_was_installed(device: Device) -> None:
    """Later, from what the device keeps; its digest has to be set again."""
    data = dependent()
    device.run(depending(data), below=data)
    checked = {Member.VALIDATE: (select(1), override(image_digest=Envelope.parse(data).digest), INTEGRITY, PROCESS)}
    device.run(depending(data, more=checked), Procedure.BOOT, below=data)
    unsaid = {Member.VALIDATE: (select(1), PROCESS)}
    content = depending(data, more=unsaid)
    assert refused(device, refusals.DEPENDENCY_MISMATCH, content, Procedure.BOOT, below=data) == "no digest is wanted"


def test_a_dependency_that_is_another(tmp_path: Path) -> None:
    data, other, uri = dependent(), dependent(override(content=b"other"), WRITE), "https://updates.example/below.suit"
    device = Device(tmp_path, {uri: other})
    refused(device, refusals.DEPENDENCY_MISMATCH, depending(data, uri=uri))
    assert device.holds(BELOW) == b""
    device.components.store(BELOW, [other])
    wanted = override(image_digest=Envelope.parse(data).digest)
    content = installing(select(1), wanted, INTEGRITY, components=(SYSTEM,), dependencies={1: BELOW})
    refused(device, refusals.DEPENDENCY_MISMATCH, content)
    refused(
        device, refusals.COMPONENT_MISMATCH, replace(content, sequences={Member.INSTALL: (select(1), wanted, MATCH)})
    )


def test_a_dependency_of_another_size(tmp_path: Path) -> None:
    data, uri = dependent(), "https://updates.example/below.suit"
    known = override(image_digest=Envelope.parse(data).digest, image_size=len(data) + 1, uri=uri)
    content = installing(select(1), known, FETCH, components=(SYSTEM,), dependencies={1: BELOW})
    refused(Device(tmp_path, {uri: data}), refusals.DEPENDENCY_MISMATCH, content)


def test_a_dependency_needs_the_same_signatures(device: Device) -> None:
    unsigned = enclosed(installing(override(content=TEXT), WRITE, components=(NOTE,))).encode()
    refused(device, refusals.MANIFEST_SIGNATURES_TOO_FEW, depending(unsigned), below=unsigned)
    assert device.holds((*BELOW, *NOTE)) == b""


def test_a_dependency_has_to_be_for_this_device_itself(device: Device) -> None:
    data = dependent(shared=(override(vendor_id=bytes(16)), CHECKS[0]))
    refused(device, refusals.MANIFEST_OTHER_VENDOR, depending(data), below=data)
    unbound = dependent(shared=())
    refused(device, refusals.MANIFEST_INCOMPLETE, depending(unbound), below=unbound)


def test_a_dependency_with_what_is_not_run(device: Device) -> None:
    data = dependent(override(content=TEXT), WRITE, Command(Code.SWAP, 0))
    refused(device, refusals.MANIFEST_COMMAND_UNSUPPORTED, depending(data), below=data)
    assert device.holds((*BELOW, *NOTE)) == b""


def test_what_is_no_dependency(device: Device) -> None:
    data = dependent()
    for command in (IS_DEPENDENCY, INTEGRITY, PROCESS):
        refused(device, refusals.DEPENDENCY_NONE, depending(data, select(0), command), below=data)
    each = try_each((IS_DEPENDENCY, PROCESS), (override(uri=URI),))
    device.run(depending(data, select(True), each), below=data)
    assert device.holds((*BELOW, *NOTE)) == TEXT


def test_all_dependencies_are_processed_where_everything_is_selected(device: Device) -> None:
    data = dependent()
    device.run(depending(data, select(True), PROCESS), below=data)
    assert device.holds((*BELOW, *NOTE)) == TEXT
    for named in (select((0, 1)), select(0)):
        refused(device, refusals.DEPENDENCY_NONE, depending(data, named, PROCESS), below=data)
    one_by_one = sequence(PROCESS)
    refused(device, refusals.DEPENDENCY_NONE, depending(data, select(True), one_by_one), below=data)
    again = (select(True), sequence(override(uri=URI)), PROCESS)
    device.run(depending(data, *again), below=data)


def test_a_dependency_without_a_prefix(device: Device) -> None:
    content = replace(depending(dependent()))
    content = replace(content, common=replace(content.common, dependencies={1: None}))
    assert refused(device, refusals.MANIFEST_INCOMPLETE, content, below=dependent()) == "dependency 1 has no prefix"


def test_a_dependency_that_fails_is_no_question_of_alternatives(device: Device) -> None:
    data = dependent(ABORT)
    either = try_each((select(1), PROCESS), (override(uri=URI),))
    refused(device, refusals.MANIFEST_ABORTED, depending(data, either), below=data)


CHECKED = {Member.CANDIDATE_VERIFICATION: (override(uri=URI),)}


def test_nothing_of_a_dependency_is_passed_over(device: Device) -> None:
    """A run that ends well has run all that each dependency has, of every section (trust-domains, 6.2)."""
    data = dependent()
    nothing = (select(1), override(uri=URI))
    assert refused(device, refusals.DEPENDENCY_UNPROCESSED, depending(data, *nothing), below=data) == (
        "its section install was not run"
    )
    assert device.holds((*BELOW, *NOTE)) == b""
    more = dependent(override(content=TEXT), WRITE, more=CHECKED)
    detail = refused(device, refusals.DEPENDENCY_UNPROCESSED, depending(more), below=more)
    assert detail == "its section candidate-verification was not run"
    device.run(depending(more, more={Member.CANDIDATE_VERIFICATION: (select(1), PROCESS)}), below=more)


def test_a_dependency_that_nobody_looked_at(device: Device) -> None:
    """Named, and nothing else; with number 0 as well, where there are no components."""
    for components, index in (((SYSTEM,), 1), ((), 0)):
        content = installing(override(uri=URI), components=components, shared=(), dependencies={index: BELOW})
        assert refused(device, refusals.DEPENDENCY_UNPROCESSED, content) == "it was never held against a digest"


def test_a_section_that_a_dependency_has_severed_is_not_passed_over(device: Device) -> None:
    content = installing(override(content=TEXT), WRITE, components=(NOTE,))
    data = signed(enclosed(replace(content, severed={Member.PAYLOAD_FETCH: bytes(32)})))
    refused(device, refusals.DEPENDENCY_UNPROCESSED, depending(data), below=data)


def test_nothing_of_a_dependency_s_dependency_is_passed_over(device: Device) -> None:
    inmost = dependent(override(content=TEXT), WRITE, more=CHECKED)
    for checking, told in (((select(1), PROCESS), None), ((override(uri=URI),), "its section candidate-verification")):
        inner = signed(enclosed(depending(inmost, more={Member.CANDIDATE_VERIFICATION: checking}), below=inmost))
        outer = depending(inner, more={Member.CANDIDATE_VERIFICATION: (select(1), PROCESS)})
        if told is None:
            device.run(outer, below=inner)
        else:
            assert refused(device, refusals.DEPENDENCY_UNPROCESSED, outer, below=inner).startswith(told)


def test_a_dependency_that_is_overwritten_meanwhile(device: Device) -> None:
    data = dependent()
    over = (select(1), PROCESS, override(content=dependent(override(content=b"other"), WRITE)), WRITE)
    assert refused(device, refusals.DEPENDENCY_MISMATCH, depending(data, *over), below=data).endswith(
        "was there before"
    )


def test_a_dependency_that_was_passed_over_is_told_where(device: Device) -> None:
    data = dependent()
    execution = device.execution(verified(signed(enclosed(depending(data, override(uri=URI)), below=data))))
    assert_refused(refusals.DEPENDENCY_UNPROCESSED, execution.run, Procedure.UPDATE)
    failure = execution.report().failure
    assert failure is not None
    assert failure.record == CommandRecord((), Member.INSTALL, 0, 1)
    assert failure.reason is Reason.OPERATION_FAILED


def test_dependencies_of_dependencies(device: Device) -> None:
    inmost = dependent()
    inner = signed(enclosed(depending(inmost), below=inmost))
    device.run(depending(inner), below=inner)
    assert device.holds((*BELOW, *BELOW, *NOTE)) == TEXT


def test_dependencies_that_are_too_deep(device: Device) -> None:
    data = dependent()
    deep: list[ComponentId] = [BELOW * depth for depth in range(1, 6)]
    device.components = replace(device.components, files=[*deep, *((*each, *NOTE) for each in deep)])
    for _ in range(3):
        data = signed(enclosed(depending(data), below=data))
    with pytest.raises(InputError, match="suit-limit"):
        device.run(depending(data), below=data)


# --- what is not run -------------------------------------------------------------------------------------------------

SPECIAL: dict[int, Any] = {
    Code.OVERRIDE_MULTIPLE: {0: {21: URI}},
    Code.COPY_PARAMS: {0: [21]},
}


@pytest.mark.parametrize(
    "code",
    [
        -1,
        *(
            row.code
            for row in TABLE
            if row.kind in (Kind.CONDITION, Kind.DIRECTIVE) and isinstance(row.code, int) and row.refused
        ),
    ],
)
@pytest.mark.parametrize("within", [False, True])
def test_commands_that_the_table_refuses(device: Device, code: int, within: bool) -> None:
    """Before anything is done, wherever they stand."""
    command = Command(code, SPECIAL.get(code, 2))
    late = {Member.INVOKE: (try_each((command,), (RUN,)) if within else command,)}
    content = installing(*WRITTEN, more=late)
    assert assert_refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, device.run, content).code == COMMAND
    assert device.holds(NOTE) == b""


@pytest.mark.parametrize(
    "parameters",
    [
        {"foreign": {label: b"x"}}
        for label in (row.code for row in TABLE if row.kind is Kind.PARAMETER and row.refused and row.code != 25)
        if isinstance(label, int)
    ]
    + [
        {"fetch_arguments": b"--insecure"}, {"private": {-1: 0}}, {"private": {EPOCH_LABEL: -1}},
        {"private": {EPOCH_LABEL: True}}, {"soft_failure": True},
    ],
    ids=str,
)  # fmt: skip
def test_parameters_that_the_table_refuses(device: Device, parameters: dict[str, Any]) -> None:
    content = installing(*WRITTEN, more={Member.INVOKE: (override(**parameters),)})
    assert assert_refused(refusals.MANIFEST_PARAMETER_UNSUPPORTED, device.run, content).code == PARAMETER
    assert device.holds(NOTE) == b""


@pytest.mark.parametrize(
    "row",
    [
        row
        for row in TABLE
        if row.kind in (Kind.CONDITION, Kind.DIRECTIVE) and isinstance(row.code, int) and not row.refused
    ],
    ids=lambda row: row.name,
)
def test_commands_that_the_table_says_are_run(device: Device, row: Any) -> None:
    """They are let through; what they do, the tests above say."""
    arguments: dict[int, Any] = {
        12: 0, 15: ((ABORT,), (override(uri=URI),)), 19: Parameters(uri=URI), 20: Parameters(uri=URI),
        32: (override(uri=URI),),
    }  # fmt: skip
    member = {Code.UNLINK: Member.UNINSTALL, Code.INVOKE: Member.INVOKE}.get(Code(row.code), Member.INSTALL)
    never = Member.VALIDATE if member is Member.INSTALL else Member.INSTALL
    procedure = next(each for each in Procedure if never in each.value)
    content = installing(more={never: (override(uri=URI),), member: (Command(row.code, arguments.get(row.code, 0)),)})
    device.run(content, procedure)


@pytest.mark.parametrize(
    ("command", "member"),
    [
        (FETCH, Member.VALIDATE), (FETCH, Member.CANDIDATE_VERIFICATION), (FETCH, Member.INVOKE), (FETCH, Member.LOAD),
        (WRITE, Member.VALIDATE), (WRITE, Member.DEPENDENCY_RESOLUTION), (TAKE, Member.INVOKE), (RUN, Member.INSTALL),
        (RUN, Member.LOAD), (UNLINK, Member.INSTALL), (UNLINK, Member.VALIDATE),
    ],
)  # fmt: skip
def test_commands_in_the_wrong_place(device: Device, command: Command, member: Member) -> None:
    content = installing(more={member: (command,)})
    refused(device, refusals.MANIFEST_COMMAND_UNSUPPORTED, content)


@pytest.mark.parametrize(
    "command", [FETCH, WRITE, TAKE, RUN, UNLINK, PROCESS, Command(Code.SET_PARAMETERS, Parameters(uri=URI))]
)
def test_the_shared_sequence_changes_nothing(device: Device, command: Command) -> None:
    content = installing(override(uri=URI), shared=(*SHARED, command))
    refused(device, refusals.MANIFEST_COMMAND_UNSUPPORTED, content)


# --- reports ---------------------------------------------------------------------------------------------------------


def test_the_report_of_a_run(device: Device) -> None:
    content = replace(installing(*FETCHED, shared=(IDENTITY, *CHECKS)), reference_uri="https://a.example/manifest")
    envelope = verified(signed(enclosed(content)))
    execution = device.execution(envelope)
    execution.run(Procedure.UPDATE)
    report = execution.report(b"nonce")
    digest = IMAGE_PARAMETERS["image_digest"]
    assert (report.uri, report.digest, report.nonce) == ("https://a.example/manifest", envelope.digest, b"nonce")
    assert report.failure is None
    shared = len(b"\x86") + len(b"\x14\xa2\x01\x50\x02\x50") + 32
    assert report.records[:2] == (
        CommandRecord((), 3, shared, 0, Parameters(vendor_id=DEVICE.vendor_id)),
        CommandRecord((), 3, shared + 2, 0, Parameters(class_id=DEVICE.class_id)),
    )
    match = report.records[-2]
    assert isinstance(match, CommandRecord)
    assert (match.section, match.component, match.properties.image_digest) == (Member.INSTALL, 0, digest)
    assert report.records[-1] == SystemClaims(SYSTEM, Parameters(image_digest=digest))
    assert SuitReport.parse(report.encode()) == report


@pytest.mark.parametrize(("policy", "records"), [(0, 0), (1, 0), (2, 1), (4, 0), (8, 1), (15, 2)])
def test_what_is_recorded_of_a_failure(device: Device, policy: int, records: int) -> None:
    device.components.store(NOTE, [TEXT])
    quiet = tuple(replace(each, argument=0) for each in CHECKS)
    wrong = override(image_digest=bytes(32), image_size=len(TEXT))
    content = installing(select(1), wrong, Command(Code.IMAGE_MATCH, policy), shared=(IDENTITY, *quiet))
    execution = device.execution(verified(signed(enclosed(content))))
    assert_refused(refusals.COMPONENT_MISMATCH, execution.run, Procedure.UPDATE)
    report = execution.report()
    assert len(report.records) == records
    assert report.failure is not None
    assert (report.failure.reason, report.failure.code, report.failure.record.component) == (
        Reason.CONDITION_FAILED,
        1,
        1,
    )
    assert report.failure.record.section == Member.INSTALL
    assert SuitReport.parse(report.encode()) == report


FOUND = {
    "vendor": Parameters(vendor_id=DEVICE.vendor_id),
    "class": Parameters(class_id=DEVICE.class_id),
    "device": Parameters(device_id=b"i" * 16),
    "image": Parameters(image_digest=TEXT_PARAMETERS["image_digest"]),  # type: ignore[arg-type]
    "image size": Parameters(),
    "no image": Parameters(image_digest=TEXT_PARAMETERS["image_digest"]),  # type: ignore[arg-type]
    "slot": Parameters(component_slot=0),
    "content": Parameters(),
    "more content": Parameters(),
}


@pytest.mark.parametrize("name", HOLDING)
def test_a_condition_that_fails_is_told_with_what_was_found(tmp_path: Path, name: str) -> None:
    """As the draft has it: the actual value of a digest or a class, which is no secret, and not the one wanted."""
    command, _, bad, kind = HOLDING[name]
    device = Device(tmp_path, identity=replace(DEVICE, device_id=b"i" * 16))
    device.components.store(NOTE, [TEXT])
    execution = device.execution(verified(signed(enclosed(installing(select(1), override(**bad), command)))))
    assert_refused(kind, execution.run, Procedure.UPDATE)
    report = execution.report()
    assert report.failure is not None
    assert report.failure.record.properties == FOUND[name]
    assert report.failure.record in report.records
    assert SuitReport.parse(report.encode()) == report


def test_a_version_that_fails_is_told_with_the_one_found(device: Device) -> None:
    wanted = override(version=VersionMatch(Comparison.GREATER, (3,)))
    content = installing(select(1), wanted, Command(Code.VERSION, 15))
    execution = device.execution(verified(signed(enclosed(content))))
    assert_refused(refusals.COMPONENT_OTHER_VERSION, execution.run, Procedure.UPDATE)
    failure = execution.report().failure
    assert failure is not None
    assert failure.record.properties.version == VersionMatch(Comparison.EQUAL, (2, 1, -1))


@pytest.mark.parametrize(
    ("content", "reason", "code"),
    [
        (installing(Command(Code.SWAP, 0)), Reason.COMMAND_UNSUPPORTED, 1),
        (installing(override(fetch_arguments=b"x")), Reason.PARAMETER_UNSUPPORTED, 1),
        (installing(override(content=b""), WRITE, components=((b"boiler",),)), Reason.COMPONENT_UNSUPPORTED, 1),
        (installing(override(uri=f"{URI}/none", **IMAGE_PARAMETERS), FETCH), Reason.OPERATION_FAILED, 5),
        (installing(*[sequence(*[override(strict_order=True)] * 250)] * 5), Reason.CBOR_PARSE, 1),
        (installing(FETCH), Reason.OPERATION_FAILED, 1),
    ],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_why_a_run_ended(device: Device, content: Manifest, reason: Reason, code: int) -> None:
    execution = device.execution(verified(signed(enclosed(content))))
    with pytest.raises(MedvouchError):
        execution.run(Procedure.UPDATE)
    failure = execution.report().failure
    assert failure is not None
    assert (failure.reason, failure.code) == (reason, code)


def test_a_report_can_be_read_whatever_a_command_was_given(device: Device) -> None:
    arguments = override(invoke_args=bytes(MAX_MANIFEST_BYTES - 1000))
    content = installing(more={Member.INVOKE: (arguments, RUN)})
    execution = device.execution(verified(signed(enclosed(content))))
    assert_refused(refusals.COMPONENT_UNKNOWN, execution.run, Procedure.BOOT)
    report = execution.report(b"nonce")
    assert SuitReport.parse(report.encode()) == report


def test_a_failure_in_a_dependency_is_told_where_it_was(device: Device) -> None:
    data = dependent(ABORT)
    execution = device.execution(verified(signed(enclosed(depending(data), below=data))))
    assert_refused(refusals.MANIFEST_ABORTED, execution.run, Procedure.UPDATE)
    failure = execution.report().failure
    assert failure is not None
    assert failure.record.manifest == (1,)


def test_a_slot_is_read_in_the_size_that_is_set(device: Device) -> None:
    device.run(installing(*FETCHED))
    unsized = installing(override(image_digest=bytes(32)), MATCH)
    refused(device, refusals.MANIFEST_INCOMPLETE, unsized)
    content = installing(override(content=IMAGE), Command(Code.CHECK_CONTENT, 0))
    refused(device, refusals.MANIFEST_INCOMPLETE, content)
