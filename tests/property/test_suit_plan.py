"""A plan and a run of one manifest come to the same, whatever its commands: what is planned is what would be done."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from medvouch.adapters.components import SYSTEM
from medvouch.errors import InputError, Refusal
from medvouch.formats.suit_commands import Code, Command, CommandSequence
from medvouch.formats.suit_manifest import Common, Manifest, Member
from medvouch.update.execution import Procedure
from medvouch.update.processor import InstallPlan, plan
from medvouch.update.verification import VerifiedEnvelope
from medvouch_sim.suit_setting import override, select
from support.executing import NOTE, Device
from support.suit import CHECKS, DEVICE, FETCH, IDENTITY, IMAGE, IMAGE_PARAMETERS, INVOKE, MATCH, URI

TEXT = b"a note"
TEXT_PARAMETERS = {"image_digest": hashlib.sha256(TEXT).digest(), "image_size": len(TEXT)}
SHARED = (
    select(True), override(**IDENTITY), *CHECKS,
    select(0), override(**IMAGE_PARAMETERS), select(1), override(**TEXT_PARAMETERS),
)  # fmt: skip
SECTIONS: Mapping[Member | None, CommandSequence] = {
    None: SHARED,
    Member.PAYLOAD_FETCH: (select(0), override(uri=URI), FETCH, MATCH, select(1), override(uri="#note"), FETCH, MATCH),
    Member.VALIDATE: (select(True), MATCH),
    Member.INVOKE: (select(0), INVOKE),
}
POOL = (
    *CHECKS, FETCH, MATCH, INVOKE, Command(Code.COPY, 2), Command(Code.ABORT, 0),
    Command(Code.TRY_EACH, ((MATCH,),) * 2), Command(Code.RUN_SEQUENCE, (MATCH,)),
    select(0), select(1), select(True), select((1, 0)),
    override(uri=URI), override(uri="#note"), override(source_component=0), override(invoke_args=b"x"),
    override(image_size=1), override(**IMAGE_PARAMETERS), override(**TEXT_PARAMETERS), override(**IDENTITY),
    override(vendor_id=bytes(16)), override(class_id=bytes(16)), override(image_digest=bytes(32)),
    override(strict_order=False), override(soft_failure=True), override(component_slot=0), override(content=b"x"),
)  # fmt: skip
members = st.sampled_from([*SECTIONS, Member.CANDIDATE_VERIFICATION, Member.INSTALL])
edits = st.lists(st.tuples(members, st.integers(0, 9), st.booleans(), st.sampled_from(POOL)), max_size=4)


def edited(changes: list[tuple[Member | None, int, bool, Command]]) -> VerifiedEnvelope:
    """A good manifest with some commands taken out, and others put in."""
    sections = {member: list(commands) for member, commands in SECTIONS.items()}
    for member, place, taken, command in changes:
        commands = sections.setdefault(member, [])
        if taken and commands:
            del commands[place % len(commands)]
        else:
            commands.insert(place, command)
    shared = tuple(sections.pop(None))
    sequences = {member: tuple(commands) for member, commands in sections.items() if member and commands}
    manifest = Manifest(11, Common((SYSTEM, NOTE), shared), sequences, version=(1, 1, 0))
    assert Manifest.parse(manifest.encode()) == manifest
    return VerifiedEnvelope(bytes(32), manifest, sequences, {"#note": TEXT}, (), ())


def served(planned: InstallPlan) -> bool:
    """Whether the server has what the plan would fetch: that is found out when it comes, in both cases."""
    there = IMAGE_PARAMETERS["image_digest"], IMAGE_PARAMETERS["image_size"]
    return all((payload.digest, payload.size) == there for payload in planned.payloads)


@given(edits)
@settings(max_examples=300, deadline=None)
def test_what_is_planned_is_what_a_run_does(changes: list[tuple[Member | None, int, bool, Command]]) -> None:
    envelope = edited(changes)
    try:
        planned = plan(envelope, DEVICE)
    except (Refusal, InputError):
        return
    if not served(planned):
        return
    with tempfile.TemporaryDirectory() as folder:
        device = Device(Path(folder))
        for procedure in (Procedure.UPDATE, Procedure.BOOT):
            device.execution(envelope).run(procedure)
        for payload in planned.payloads:
            assert device.holds((payload.component.encode(),))[: payload.size] == IMAGE
        for component, content in planned.contents.items():
            assert device.holds((component.encode(),))[: len(content)] == content
        for component, source in planned.copies.items():
            assert device.holds((component.encode(),))[: len(TEXT)] == device.holds((source.encode(),))[: len(TEXT)]
        assert (device.slots.activated() == "b") is planned.starts


def test_the_good_one_makes_a_plan() -> None:
    planned = plan(edited([]), DEVICE)
    assert planned.starts
    assert served(planned)
