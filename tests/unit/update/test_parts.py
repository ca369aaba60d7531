"""Releases for parts of which there is one: what is admitted, what may change, and how they are run."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.boot_loader import BootLoader
from medvouch.adapters.components import DeviceComponents
from medvouch.errors import Refusal
from medvouch.formats.suit_manifest import Member, component_name
from medvouch.release.manifests import build_parts_manifest, integrated, sign_envelope
from medvouch.update import refusals
from medvouch.update.execution import Procedure
from medvouch.update.parts import (
    AFFECTED,
    BOOT_LOADER,
    FIRMWARE,
    Signers,
    check_parts,
    parts_in,
    process,
    staged,
    unaffected,
)
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, InstallPlan, plan
from medvouch_sim.fixtures import loader
from support.executing import Shelf
from support.refusing import assert_refused
from support.suit import DEVICE, QUALITY, QUALITY_KEYS, RELEASE, RELEASE_KEYS, planned

NEW = loader("258")
URI = "https://updates.example/loader"
VALUES = {REFERENCE: b"values"}
SIGNERS = Signers(RELEASE_KEYS, QUALITY_KEYS)
FOUND = Payload("staged/boot-loader", URI, bytes(32), 1)
GOOD = InstallPlan(2, "1.0.1", 1, (FOUND,), VALUES, {"boot-loader": "staged/boot-loader"})


def released(*parts: str, uri: str = URI) -> bytes:
    payloads = [Payload(part, uri, hashlib.sha256(NEW).digest(), len(NEW)) for part in parts]
    manifest = build_parts_manifest(
        sequence=2, version="1.0.1", security_epoch=1, device=DEVICE, parts=payloads, reference=VALUES[REFERENCE]
    )
    return sign_envelope(manifest, RELEASE[:2], QUALITY[:1], integrated(VALUES))


# --- admission -------------------------------------------------------------------------------------------------------


def test_admitted() -> None:
    assert check_parts(GOOD, [BOOT_LOADER]) == (FOUND, b"values")
    names = ("boot-loader", "firmware", "secure-boot-db", "secure-boot-dbx/append")
    envelope = released(*names)
    payload, reference = check_parts(planned(envelope), list(AFFECTED))
    assert (payload.component, reference) == ("staged/boot-loader", b"values")
    assert tuple(map(component_name, parts_in(envelope))) == names


def test_wherever_power_goes_in_between_it_starts() -> None:
    """An old loader that dbx forbids already, and a change of which nobody can tell any more whether it was taken."""
    for names in (
        ("secure-boot-dbx/append", "boot-loader"),
        ("firmware", "secure-boot-db", "boot-loader"),
        ("secure-boot-dbx", "secure-boot-dbx/append"),
    ):
        release = planned(released(*names))
        assert_refused(refusals.MANIFEST_PARTS_CLASH, check_parts, release, list(AFFECTED))


@pytest.mark.parametrize("copies", [{"boot-loader": "staged/boot-loader"}, {"slot": "staged/slot"}])
def test_parts_that_are_not_here(copies: dict[str, str]) -> None:
    assert_refused(refusals.COMPONENT_UNKNOWN, check_parts, replace(GOOD, copies=copies), [FIRMWARE])


@pytest.mark.parametrize(
    "changes",
    [
        {"copies": {"boot-loader": "staged/firmware"}},
        {"payloads": (FOUND, replace(FOUND, component=SLOT))},
        {"payloads": (replace(FOUND, component="staged/firmware"),)},
        {"contents": {}},
        {"contents": {**VALUES, "note": b"more"}},
        {"starts": True},
    ],
)
def test_nothing_else_comes_along(changes: dict[str, object]) -> None:
    """An image for the slot in the same manifest, say, whose invoke nobody would run."""
    assert_refused(refusals.MANIFEST_INCOMPLETE, check_parts, replace(GOOD, **changes), [BOOT_LOADER])


def test_what_stays_as_it_is() -> None:
    assert unaffected([BOOT_LOADER], range(16)) == {*range(16)} - {4, 10}
    assert unaffected([(b"secure-boot-db",), FIRMWARE], [4, 5, 7, 8, 10]) == {4, 8}


# --- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def components(tmp_path: Path) -> DeviceComponents:
    (tmp_path / "loader.efi").write_bytes(loader("257"))
    parts = {BOOT_LOADER: BootLoader(tmp_path / "loader.efi", tmp_path / "previous.efi")}
    shelf = Shelf({URI: NEW, f"{URI}2": NEW[:-1]})
    return DeviceComponents(
        None, shelf, tmp_path / "parts", [(b"reference",)], ["https://updates.example/"], parts=parts
    )  # type: ignore[arg-type]  # it has no slots


def sections(outcome: object) -> set[int]:
    return {record.section for record in outcome.report.records if hasattr(record, "section")} - {3}  # type: ignore[attr-defined]


def test_one_procedure_after_the_other(components: DeviceComponents, tmp_path: Path) -> None:
    envelope = released("boot-loader")
    run = lambda procedure: process(envelope, procedure, SIGNERS, DEVICE, components)  # noqa: E731
    before = (tmp_path / "loader.efi").read_bytes()
    outcome = run(Procedure.STAGE)
    assert (outcome.error, sections(outcome)) == (None, {Member.PAYLOAD_FETCH, Member.CANDIDATE_VERIFICATION})
    assert b"".join(components.read(staged(BOOT_LOADER), None)) == NEW
    assert (tmp_path / "loader.efi").read_bytes() == before
    failed = run(Procedure.BOOT)
    assert isinstance(failed.error, Refusal)
    assert failed.error.kind == refusals.COMPONENT_MISMATCH
    for _ in range(2):
        outcome = run(Procedure.INSTALL)
        assert (outcome.error, sections(outcome)) == (None, {Member.INSTALL})
        assert (tmp_path / "loader.efi").read_bytes() == NEW
    outcome = run(Procedure.BOOT)
    assert (outcome.error, sections(outcome)) == (None, {Member.VALIDATE})


def test_what_ends_a_run(components: DeviceComponents) -> None:
    failed = process(released("boot-loader", uri=f"{URI}2"), Procedure.STAGE, SIGNERS, DEVICE, components)
    assert failed.error is not None
    assert failed.error.code == "payload-too-short"
    assert failed.report.failure is not None
    assert failed.report.failure.record.section == Member.PAYLOAD_FETCH
    assert process(released("firmware"), Procedure.STAGE, SIGNERS, DEVICE, components).error is not None


def test_an_envelope_that_too_few_signed(components: DeviceComponents) -> None:
    few = replace(SIGNERS, release=replace(RELEASE_KEYS, threshold=3))
    assert_refused(
        refusals.MANIFEST_SIGNATURES_TOO_FEW, process, released("boot-loader"), Procedure.STAGE, few, DEVICE, components
    )


def test_keys_may_be_kept_to_some_parts() -> None:
    from medvouch.crypto.keys import spki  # noqa: PLC0415

    only_radio = {spki(signer.public_key): [(b"radio",), (b"staged",), (b"reference",)] for signer in RELEASE[:2]}
    kept = replace(SIGNERS, release=replace(RELEASE_KEYS, components=only_radio))
    assert_refused(refusals.MANIFEST_COMPONENT_UNAUTHORISED, kept.verify, released("boot-loader"))
    some = {spki(RELEASE[0].public_key): [(b"secure-boot-dbx",), (b"staged",), (b"reference",)]}
    kept = replace(SIGNERS, release=replace(RELEASE_KEYS, components=some))
    kept.verify(released("secure-boot-dbx/append"))
    assert_refused(refusals.MANIFEST_COMPONENT_UNAUTHORISED, kept.verify, released("secure-boot-db"))


def test_the_plan_is_the_manifest_s_own() -> None:
    assert plan(SIGNERS.verify(released("boot-loader")), DEVICE).copies == {"boot-loader": "staged/boot-loader"}
