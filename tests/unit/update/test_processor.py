"""What a manifest comes to on a device."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import replace
from typing import Any

import pytest

from medvouch.errors import InputError, RefusalKind
from medvouch.formats.suit import wrapped_digest
from medvouch.formats.suit_commands import Code, Command, CommandSequence, dump_sequence
from medvouch.formats.suit_manifest import Manifest, Member
from medvouch.update import refusals
from medvouch.update.processor import COMMANDS, EPOCH_LABEL, MAX_STEPS, DeviceClass, InstallPlan, plan
from medvouch_sim.suit_setting import override, select
from support.refusing import assert_refused
from support.suit import (
    CHECKS,
    CONTENTS,
    DEVICE,
    FETCH,
    FETCHING,
    IDENTITY,
    IMAGE_PARAMETERS,
    INVOKE,
    MATCH,
    PAYLOAD,
    SHARED,
    URI,
    enclosed,
    manifest,
    planned,
    released,
    signed,
    verified,
)

TWO = ((b"slot",), (b"reference",))
NOTE = b"a note"
NOTE_PARAMETERS = {"image_digest": hashlib.sha256(NOTE).digest(), "image_size": len(NOTE)}
COPY = Command(Code.COPY, 3)
EVERY_COMMAND_OF_ANOTHER_DAY = (
    Command(Code.COMPONENT_SLOT, 15),
    Command(Code.CHECK_CONTENT, 15),
    Command(Code.DEPENDENCY_INTEGRITY, 15),
    Command(Code.IS_DEPENDENCY, 15),
    Command(Code.PROCESS_DEPENDENCY, 0),
    Command(Code.ABORT, 15),
    Command(Code.TRY_EACH, ((MATCH,), (MATCH,))),
    Command(Code.WRITE, 2),
    Command(Code.SET_PARAMETERS, override(uri=URI).argument),
    Command(Code.COPY, 2),
    Command(Code.DEVICE_IDENTIFIER, 15),
    Command(Code.SWAP, 2),
    Command(Code.RUN_SEQUENCE, (MATCH,)),
    Command(Code.UNLINK, 2),
    Command(Code.VERSION, 2),
    Command(Code.WAIT, 2),
    Command(Code.OVERRIDE_MULTIPLE, {0: {21: URI}}),
    Command(Code.COPY_PARAMS, {0: [21]}),
    Command(Code.IMAGE_NOT_MATCH, 15),
    Command(Code.USE_BEFORE, 15),
    Command(Code.MINIMUM_BATTERY, 15),
    Command(Code.UPDATE_AUTHORIZED, 15),
    Command(-1, None),
)


def run(content: Manifest, **payloads: bytes) -> InstallPlan:
    return planned(signed(enclosed(content, **payloads)))


def refused(kind: RefusalKind, content: Manifest, **payloads: bytes) -> str:
    return assert_refused(kind, run, content, **payloads).detail


def test_a_release() -> None:
    assert planned(released()) == InstallPlan(11, "1.1.0", 2, (PAYLOAD,), CONTENTS, starts=True)


def test_the_smallest_manifest() -> None:
    assert run(manifest()) == InstallPlan(11, "1.1.0", 2, (PAYLOAD,), {})


def test_device_classes_are_named_as_the_draft_names_them() -> None:
    vendor = uuid.uuid5(uuid.NAMESPACE_DNS, "devices.example")
    device_class = uuid.uuid5(vendor, "gateway-1")
    assert (DEVICE.vendor_id, DEVICE.class_id) == (vendor.bytes, device_class.bytes)


def test_fetched_in_the_install_sequence_and_matched_later() -> None:
    sequences = {
        Member.INSTALL: (override(uri=URI), FETCH),
        Member.VALIDATE: (MATCH,),
        Member.INVOKE: (INVOKE,),
    }
    assert run(replace(manifest(), sequences=sequences)).payloads == (PAYLOAD,)


def test_a_severed_sequence_that_came_along_is_run() -> None:
    install = dump_sequence(FETCHING)
    content = replace(
        manifest(), sequences={}, severed={Member.INSTALL: wrapped_digest(install), Member.TEXT: bytes(32)}
    )
    data = signed(enclosed(content, {Member.INSTALL: install}))
    assert planned(data).payloads == (PAYLOAD,)
    assert refused(refusals.MANIFEST_INCOMPLETE, content) == "the sequence was severed and did not come along"


def test_several_components_by_index() -> None:
    shared = (
        select(True), override(**IDENTITY), *CHECKS,
        select(0), override(**IMAGE_PARAMETERS), select(1), override(**NOTE_PARAMETERS),
    )  # fmt: skip
    fetching = (select(0), override(uri=URI), select((1,)), override(uri="#note"), select((0, 1)), FETCH, MATCH)
    content = manifest(shared, fetching, TWO)
    assert run(content, note=NOTE) == InstallPlan(11, "1.1.0", 2, (PAYLOAD,), {"reference": NOTE})


def test_payloads_of_several_components() -> None:
    shared = (select(True), override(**IDENTITY, **IMAGE_PARAMETERS), *CHECKS)
    fetching = (select(True), override(uri=URI), FETCH, MATCH)
    payloads = run(manifest(shared, fetching, ((b"slot",), (b"\0",)))).payloads
    assert payloads == (PAYLOAD, replace(PAYLOAD, component="h'00'"))


def test_parameters_do_not_outlive_their_sequence() -> None:
    sequences = {Member.PAYLOAD_FETCH: (override(uri=URI), FETCH, MATCH), Member.VALIDATE: (MATCH,)}
    apart = (override(**IDENTITY), *CHECKS)
    fetching = (override(**IMAGE_PARAMETERS), *sequences[Member.PAYLOAD_FETCH])
    content = replace(manifest(apart), sequences={**sequences, Member.PAYLOAD_FETCH: fetching})
    assert refused(refusals.MANIFEST_INCOMPLETE, content) == "no image digest is set"


def test_another_vendor() -> None:
    other = DeviceClass.named("other.example", "gateway-1")
    assert_refused(refusals.MANIFEST_OTHER_VENDOR, plan, verified(released()), other)


def test_another_class() -> None:
    same_vendor = DeviceClass.named("devices.example", "gateway-2")
    refusal = assert_refused(refusals.MANIFEST_OTHER_CLASS, plan, verified(released()), same_vendor)
    assert str(uuid.UUID(bytes=same_vendor.class_id)) in refusal.detail
    assert refusal.place == "payload-fetch, command 3"


def test_each_command_that_a_plan_cannot_have_is_tried() -> None:
    tried = {command.code for command in EVERY_COMMAND_OF_ANOTHER_DAY}
    assert tried - {-1, Code.COPY} == set(Code) - COMMANDS


@pytest.mark.parametrize("command", EVERY_COMMAND_OF_ANOTHER_DAY, ids=lambda command: str(command.code))
@pytest.mark.parametrize("member", [Member.PAYLOAD_FETCH, Member.VALIDATE, Member.INVOKE])
def test_commands_that_are_not_run(command: Command, member: Member) -> None:
    content = manifest()
    sequences = {**content.sequences, member: (*content.sequences.get(member, ()), command)}
    detail = refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, replace(content, sequences=sequences))
    assert detail == f"command {command.code} is not for this place"


@pytest.mark.parametrize(
    ("member", "command"),
    [
        *((member, INVOKE) for member in (Member.PAYLOAD_FETCH, Member.INSTALL, Member.VALIDATE)),
        *((member, FETCH) for member in (Member.CANDIDATE_VERIFICATION, Member.VALIDATE, Member.INVOKE)),
        *((member, COPY) for member in (Member.CANDIDATE_VERIFICATION, Member.VALIDATE, Member.INVOKE)),
    ],
)
def test_commands_in_the_wrong_place(member: Member, command: Command) -> None:
    content = manifest()
    sequences = {**content.sequences, member: (*content.sequences.get(member, ()), command)}
    refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, replace(content, sequences=sequences))


@pytest.mark.parametrize("member", [Member.LOAD, Member.DEPENDENCY_RESOLUTION, Member.UNINSTALL])
def test_sequences_that_are_not_run(member: Member) -> None:
    content = manifest(more={member: (MATCH,)})
    assert refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, content) == "a sequence of a kind that is not run"


@pytest.mark.parametrize(
    "parameters",
    [
        {"private": {-75021: 1}},
        {"private": {EPOCH_LABEL: "2"}},
        {"private": {EPOCH_LABEL: True}},
        {"private": {EPOCH_LABEL: -1}},
        {"private": {EPOCH_LABEL: 2**32}},
        {"fetch_arguments": b"--insecure"},
        {"foreign": {26: 50}},
        {"soft_failure": True},
    ],
)
def test_parameters_that_we_do_not_know(parameters: dict[str, Any]) -> None:
    refused(refusals.MANIFEST_PARAMETER_UNSUPPORTED, manifest(fetching=(override(**parameters), *FETCHING)))


@pytest.mark.parametrize(
    "fetching", [(*FETCHING, FETCH), (override(uri=URI), FETCH, FETCH, MATCH), (select((0, 0)), *FETCHING)]
)
def test_fetched_twice(fetching: CommandSequence) -> None:
    detail = refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, manifest(fetching=fetching))
    assert detail == "a second fetch for one component"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"components": ()}, "there are no components"),
        ({"version": None}, "the manifest has no version of plain numbers"),
        ({"version": (1, 2, -1, 4)}, "the manifest has no version of plain numbers"),
        ({"sequences": {}}, "no payload is fetched"),
        ({"fetching": (override(uri=URI), FETCH)}, "nothing holds what is fetched against its digest"),
        ({"fetching": (FETCH, MATCH)}, "no uri is set"),
        ({"fetching": (select(1), *FETCHING)}, "component 1 of 1"),
        ({"fetching": (*FETCHING, override(image_digest=bytes(32)), MATCH)},
         "another digest or size than those it is fetched by"),
        ({"shared": (override(**IDENTITY, image_size=1), *CHECKS)}, "no image digest is set"),
        ({"shared": (override(**IDENTITY, image_digest=bytes(32)), *CHECKS)}, "no image size is set"),
        ({"shared": (*SHARED[:1], CHECKS[0])}, "vendor and class are not checked before a change"),
        ({"shared": (*SHARED[:1], CHECKS[1])}, "vendor and class are not checked before a change"),
        ({"shared": (*SHARED[:1], CHECKS[1], CHECKS[1])}, "vendor and class are not checked before a change"),
        ({"shared": (CHECKS[0], *SHARED)}, "no vendor identifier is set"),
        ({"shared": (CHECKS[1], *SHARED)}, "no class identifier is set"),
        ({"shared": (override(**{**IDENTITY, "private": {}}, **IMAGE_PARAMETERS), *CHECKS)},
         "security epochs [] where one is needed"),
        ({"shared": (*SHARED, override(private={EPOCH_LABEL: 3}))}, "security epochs [2, 3] where one is needed"),
        ({"fetching": (*FETCHING, override(image_size=1), MATCH)},
         "another digest or size than those it is fetched by"),
    ],
)  # fmt: skip
def test_what_is_missing(changes: dict[str, Any], detail: str) -> None:
    assert refused(refusals.MANIFEST_INCOMPLETE, manifest(**changes)) == detail


def test_an_image_match_of_what_is_not_fetched() -> None:
    content = manifest(fetching=(MATCH, *FETCHING))
    assert refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, content) == "an image-match of what is not fetched"


def test_only_integrated_contents_are_no_release() -> None:
    shared = (override(**IDENTITY, **NOTE_PARAMETERS), *CHECKS)
    content = manifest(shared, (override(uri="#note"), FETCH, MATCH))
    assert refused(refusals.MANIFEST_INCOMPLETE, content, note=NOTE) == "no payload is fetched"


def two_with_note(**parameters: Any) -> Manifest:
    shared = (
        select(True), override(**IDENTITY), *CHECKS,
        select(0), override(**IMAGE_PARAMETERS), select(1), override(**{**NOTE_PARAMETERS, **parameters}),
    )  # fmt: skip
    return manifest(shared, (select(0), *FETCHING, select(1), override(uri="#note"), FETCH, MATCH), TWO)


def test_an_integrated_payload_that_did_not_come_along() -> None:
    assert run(two_with_note(), note=NOTE).contents == {"reference": NOTE}
    assert refused(refusals.MANIFEST_INCOMPLETE, two_with_note()) == "the payload #note did not come along"


def test_an_integrated_payload_that_is_another_component_s() -> None:
    """Its name and its digest are both signed, but not together."""
    other = NOTE.upper()
    digest = hashlib.sha256(other).digest()
    shared = (
        select(True), override(**IDENTITY), *CHECKS,
        select(0), override(image_digest=digest, image_size=len(other)), select(1), override(**NOTE_PARAMETERS),
    )  # fmt: skip
    content = manifest(shared, (select(0), *FETCHING, select(1), override(uri="#note"), FETCH, MATCH), TWO)
    refused(refusals.MANIFEST_MEMBER_MISMATCH, content, note=other)


def test_an_integrated_payload_of_another_size() -> None:
    refused(refusals.MANIFEST_MEMBER_MISMATCH, two_with_note(image_size=len(NOTE) + 1), note=NOTE)


def test_a_size_that_only_a_later_section_sets() -> None:
    """What is run command by command reads so many bytes, and no others."""
    content = manifest(more={Member.VALIDATE: (override(image_size=PAYLOAD.size - 1), MATCH)})
    assert refused(refusals.MANIFEST_INCOMPLETE, content) == "another digest or size than those it is fetched by"


# --- what is started -------------------------------------------------------------------------------------------------


def invoking(*commands: Command) -> Manifest:
    return manifest(components=TWO, more={Member.INVOKE: commands})


def test_the_slot_is_started() -> None:
    assert run(invoking(INVOKE)).starts
    assert not run(manifest()).starts


@pytest.mark.parametrize(
    "commands",
    [
        (select(1), INVOKE),
        (select(True), INVOKE),
        (override(invoke_args=b"single"), INVOKE),
        (override(invoke_args=b""), INVOKE),
        (INVOKE, INVOKE),
    ],
)
def test_what_no_boot_starts(commands: CommandSequence) -> None:
    """To report as done what nobody does would be a lie, so it is refused."""
    refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, invoking(*commands))


def test_nothing_is_started_before_vendor_and_class_hold() -> None:
    content = manifest(SHARED[:1], (*CHECKS, *FETCHING), more={Member.INVOKE: (INVOKE,)})
    assert "vendor and class" in refused(refusals.MANIFEST_INCOMPLETE, content)


@pytest.mark.parametrize(("overrides", "allowed"), [(63, True), (64, False)])
def test_steps_are_bounded(overrides: int, allowed: bool) -> None:
    """Three of the shared sequence, three of the fetch, and sixteen for each override of all components."""
    components = tuple((bytes([number]),) for number in range(16))
    shared = (*SHARED, select(True), *[override(strict_order=True)] * overrides)
    content = manifest(shared, (select(0), *FETCHING), components)
    assert (6 + 16 * overrides <= MAX_STEPS) is allowed
    if allowed:
        run(content)
    else:
        with pytest.raises(InputError, match="suit-limit"):
            run(content)


def test_dependencies_are_for_who_can_run_them() -> None:
    content = manifest()
    content = replace(content, common=replace(content.common, dependencies={1: (b"below",)}))
    assert refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, content) == "dependencies, which a plan cannot have"


# --- copies ----------------------------------------------------------------------------------------------------------

PART_AND_STAGED = ((b"boot-loader",), (b"staged", b"boot-loader"))
FROM_ONE = override(source_component=1)
OTHERWISE = "another digest or size than those of what is copied"


def copying(*install: Command, validate: CommandSequence = (), **parameters: Any) -> Manifest:
    """Component 1 is fetched; 0 has its digest and size, or these."""
    shared = (
        select(True), override(**IDENTITY, **IMAGE_PARAMETERS), *CHECKS,
        select(0), override(strict_order=True, **parameters),
    )  # fmt: skip
    more = {Member.INSTALL: install, **({Member.VALIDATE: validate} if validate else {})}
    return manifest(shared, (select(1), *FETCHING), PART_AND_STAGED, more=more)


def test_what_is_copied_once_it_was_fetched() -> None:
    found = run(copying(select(0), FROM_ONE, COPY, MATCH, validate=(select(0), MATCH)))
    assert found.copies == {"boot-loader": "staged/boot-loader"}
    assert found.payloads == (replace(PAYLOAD, component="staged/boot-loader"),)


@pytest.mark.parametrize(
    "install",
    [
        (select(0), override(source_component=0), COPY),
        (select(1), FROM_ONE, COPY),
        (select(0), FROM_ONE, COPY, COPY),
        (select(0), FROM_ONE, COPY, override(uri=URI), FETCH),
        (select(0), MATCH),
    ],
)
def test_copies_of_something_else(install: CommandSequence) -> None:
    refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, copying(*install))


def test_nothing_is_copied_before_vendor_and_class_hold() -> None:
    content = copying(select(0), FROM_ONE, COPY)
    shared = tuple(command for command in content.common.shared if command not in CHECKS)
    fetching = (*CHECKS, *content.sequences[Member.PAYLOAD_FETCH])
    apart = replace(content, common=replace(content.common, shared=shared))
    apart = replace(apart, sequences={**content.sequences, Member.PAYLOAD_FETCH: fetching})
    assert "vendor and class" in refused(refusals.MANIFEST_INCOMPLETE, apart)


def test_a_copy_of_what_nothing_was_held_against() -> None:
    content = copying(select(0), FROM_ONE, COPY)
    fetching = {**content.sequences, Member.PAYLOAD_FETCH: (select(1), override(uri=URI), FETCH)}
    refused(refusals.MANIFEST_COMMAND_UNSUPPORTED, replace(content, sequences=fetching))


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (copying(select(0), COPY), "no source component is set"),
        (copying(select(0), FROM_ONE, COPY, image_digest=bytes(32)), OTHERWISE),
        (copying(select(0), FROM_ONE, COPY, image_size=1), OTHERWISE),
        (copying(select(0), FROM_ONE, COPY, override(image_digest=bytes(32)), MATCH),
         "another digest or size than those it is fetched by"),
    ],
)  # fmt: skip
def test_what_a_copy_lacks(content: Manifest, detail: str) -> None:
    assert refused(refusals.MANIFEST_INCOMPLETE, content) == detail
