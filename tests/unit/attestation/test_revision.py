"""Reference values after a change, from those before it: the same that a machine measures that has the change."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from medvouch.attestation import prediction
from medvouch.attestation.prediction import Change, PcrChange, compare, rows
from medvouch.attestation.revision import revised
from medvouch.formats import uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventType
from medvouch.formats.reference import ReferenceEvent, ReferenceValues
from medvouch.formats.secure_boot import APPENDING, SignedUpdate
from medvouch_sim.firmware import Machine
from medvouch_sim.fixtures import FIXTURES, loader
from medvouch_sim.gateway import MODEL
from medvouch_sim.prediction import predict
from support.parts import forbids, left
from support.refusing import assert_input_refused

BANKS = (HashAlg.SHA256,)
OLD, NEW = loader("257"), loader("258")
BEFORE = predict(MODEL, "1.0.0", loader=OLD)


def digests(values: ReferenceValues) -> dict[int, list[bytes]]:
    return {row.pcr: [event.digests["sha256"] for event in row.events] for row in values.pcrs}


def revision(old: object, new: object, values: ReferenceValues = BEFORE) -> ReferenceValues:
    return revised(values, compare(rows(old), rows(new)), release="1.0.0.2", security_epoch=2)


def test_a_boot_loader() -> None:
    found = revision(*([prediction.application(image, b"", BANKS)] for image in (OLD, NEW)))
    assert digests(found) == digests(predict(MODEL, "1.0.0", loader=NEW))
    assert (found.release, found.security_epoch, found.command_lines) == ("1.0.0.2", 2, BEFORE.command_lines)
    changed = [row.pcr for row, other in zip(found.pcrs, BEFORE.pcrs, strict=True) if row != other]
    assert changed == [4, 10]


def dbx(value: bytes) -> list[object]:
    data = uefi.Variable(uefi.IMAGE_SECURITY_DATABASE, "dbx", value).encode()
    return [prediction.hashed(BANKS, 7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, data)]


def test_dbx() -> None:
    change = forbids(NEW)
    value = (FIXTURES / "machine" / "dbx.var").read_bytes()
    found = revision(dbx(value), dbx(SignedUpdate.parse(change).applied(value, APPENDING)))
    assert digests(found) == digests(predict(MODEL, "1.0.0", loader=OLD, change=left("dbx", APPENDING, change)))


def test_firmware(tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in (FIXTURES / "machine").iterdir()}
    volumes = {name[:-4]: data for name, data in files.items() if name.endswith(".bin")}
    changed = {**volumes, "firmware-volume-dxe": b"another"}

    def flash(machine: Machine) -> None:
        (machine.firmware / "firmware-version.txt").write_text("9.9")
        (machine.firmware / "firmware-volume-dxe.bin").write_bytes(b"another")

    old, new = (
        [event for event in prediction.firmware(version, held, {}, BANKS) if event.pcr == 0]
        for version, held in ((files["firmware-version.txt"].decode(), volumes), ("9.9", changed))
    )
    found = revision(old, new)
    assert digests(found) == digests(predict(MODEL, "1.0.0", loader=OLD, change=flash))
    assert "9.9" in next(row for row in found.pcrs if row.pcr == 0).events[0].description


def test_what_is_not_there_cannot_be_changed() -> None:
    changes = [prediction.application(image, b"", BANKS) for image in (NEW, OLD)]
    assert_input_refused("prediction-incomplete", revision, changes[:1], changes[1:])
    one, other = (ReferenceEvent(name, {"sha256": name.encode() * 32}) for name in "ab")
    for pcr, change in (
        (4, Change(one, None)),
        (4, Change(None, one)),
        (3, Change(one, other)),
        (20, Change(one, other)),
    ):
        assert_input_refused(
            "prediction-incomplete", revised, BEFORE, [PcrChange(pcr, (change,))], release="x", security_epoch=1
        )


def test_what_follows_from_what_changes_has_to_be_known() -> None:
    """IMA's list without boot_aggregate, or PCRs whose SHA-256 nobody knows; without IMA nothing follows."""
    events = [[prediction.application(image, b"", BANKS)] for image in (OLD, NEW)]
    by_pcr = {row.pcr: row for row in BEFORE.pcrs}
    first = by_pcr[4].events[0]
    for changed in (
        replace(by_pcr[10], events=by_pcr[10].events[1:]),
        replace(by_pcr[4], events=(replace(first, digests={"sha384": first.digests["sha384"]}), *by_pcr[4].events[1:])),
    ):
        values = replace(BEFORE, pcrs=tuple(({**by_pcr, changed.pcr: changed}).values()))
        assert_input_refused("prediction-incomplete", revision, *events, values)
    without = replace(BEFORE, pcrs=tuple(row for row in BEFORE.pcrs if row.pcr != 10))
    found = revision(*events, without)
    assert [row.pcr for row, other in zip(found.pcrs, without.pcrs, strict=True) if row != other] == [4]


def test_what_ima_does_not_aggregate() -> None:
    """PCR 11 changes, and boot_aggregate stays."""
    old = next(row for row in BEFORE.pcrs if row.pcr == 11).events[0]
    change = PcrChange(11, (Change(old, ReferenceEvent("another", dict.fromkeys(old.digests, bytes(32)))),))
    found = revised(BEFORE, [change], release="1.0.0", security_epoch=1)
    assert [row.pcr for row, other in zip(found.pcrs, BEFORE.pcrs, strict=True) if row != other] == [11]
