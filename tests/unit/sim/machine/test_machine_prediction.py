"""Reference values of the gateway image: what each is computed from, and what it takes to meet them."""

from __future__ import annotations

import dataclasses
from itertools import chain

import pytest

from medvouch.attestation.reference import VerifiedReference, match
from medvouch.attestation.replay import Logs, VerifiedEvents, boot_aggregate, replay, reset_value
from medvouch.errors import Refusal
from medvouch.formats import eventlog, ima, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.hashing import digest
from medvouch.formats.reference import Mode, ReferenceValues
from medvouch.formats.systemd import PHASE, Record
from medvouch_sim import uki
from medvouch_sim.firmware import PHASES
from medvouch_sim.machine.prediction import BANK, Installed, predict, stub_initrd

SECTIONS = {
    ".linux": b"kernel" * 100,
    ".osrel": b"IMAGE_VERSION=1\n",
    ".cmdline": b"roothash=00 quiet",
    ".initrd": b"initrd",
    ".uname": b"6.12",
    ".sbat": b"sbat,1\n",
}
LOADER, KERNEL = uki.build({".sdmagic": b"#### LoaderInfo"}), uki.build(SECTIONS)
LOADER_TAG, OPTIONS_TAG, INITRD_TAG = 0xF5BC582A, 0x8F3B22ED, 0x8F3B22EC
LOADER_CONF = b"timeout 0\n"
FILES = {"/usr/bin/one": digest(BANK, b"one"), "/usr/lib/two.so": digest(BANK, b"two")}
INSTALLED = Installed("model", "1", 0, LOADER, LOADER_CONF, KERNEL, b"EFI PART table", FILES)
ACTION, SEPARATOR, TAG = EventType.EV_EFI_ACTION, EventType.EV_SEPARATOR, EventType.EV_EVENT_TAG
APPLICATION, GPT, IPL = EventType.EV_EFI_BOOT_SERVICES_APPLICATION, EventType.EV_EFI_GPT_EVENT, EventType.EV_IPL


def _log(installed: Installed, *, secure_boot: bytes = b"\1") -> EventLog:
    """As OVMF, systemd-boot, systemd-stub and Linux write it."""
    rows: list[tuple[int, int, bytes, bytes]] = []

    def measured(pcr: int, kind: int, data: bytes, what: bytes | None = None) -> None:
        rows.append((pcr, kind, data, digest(BANK, data if what is None else what)))

    measured(0, EventType.EV_S_CRTM_VERSION, b"1")
    variable = uefi.Variable(uefi.GLOBAL_VARIABLE, "SecureBoot", secure_boot).encode()
    measured(7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable)
    measured(7, SEPARATOR, bytes(4))
    measured(1, EventType.EV_EFI_VARIABLE_BOOT, b"order")
    measured(4, ACTION, b"Calling EFI Application from Boot Option")
    for pcr in range(7):
        measured(pcr, SEPARATOR, bytes(4))
    measured(5, GPT, installed.partition_table)
    rows.append((4, APPLICATION, b"", uki.authenticode(installed.loader, BANK)))
    measured(5, TAG, uefi.TaggedEvent(LOADER_TAG, b"loader.conf").encode(), installed.loader_conf)
    rows.append((4, APPLICATION, b"", uki.authenticode(installed.kernel, BANK)))
    sections = dict(uki.sections(installed.kernel))
    for name in SECTIONS:
        measured(11, IPL, name.encode(), name.encode() + b"\0")
        measured(11, IPL, name.encode(), sections[name])
    wide = (sections[".cmdline"].decode() + "\0").encode("utf-16-le")
    measured(9, TAG, uefi.TaggedEvent(OPTIONS_TAG, b"").encode(), wide)
    measured(9, TAG, uefi.TaggedEvent(INITRD_TAG, b"").encode(), stub_initrd(sections))
    measured(5, ACTION, b"Exit Boot Services Invocation")
    events = (Event(n + 1, pcr, kind, {BANK: value}, data, 0) for n, (pcr, kind, data, value) in enumerate(rows))
    return eventlog.parse(EventLog(SpecId((BANK,)), tuple(events)).encode())


def _boot(log: EventLog, files: dict[str, bytes], phases: tuple[str, ...] = PHASES) -> VerifiedEvents:
    aggregate = boot_aggregate(log, BANK.label)
    assert aggregate is not None
    named = {ima.BOOT_AGGREGATE: aggregate, **files}
    entries = tuple(
        ima.make(number, 10, "ima-sig", (b"sha256:\0" + value, name.encode() + b"\0", b""))
        for number, (name, value) in enumerate(named.items())
    )
    records = tuple(
        Record(n, {BANK: digest(BANK, text.encode())}, pcr=11, content={"string": text, "eventType": PHASE})
        for n, text in enumerate(phases)
    )
    values = {pcr: reset_value(BANK, pcr) for pcr in range(16)}
    firmware = ((event.pcr, event.digests[BANK]) for event in log.events if event.measured)
    later = [(10, digest(BANK, e.hashed)) for e in entries] + [(11, r.digests[BANK]) for r in records]
    for pcr, value in chain(firmware, later):
        values[pcr] = digest(BANK, values[pcr] + value)
    return replay(Logs(log, records, entries), {BANK: values}).events


def _baseline() -> EventLog:
    """Of a machine with another table, loader.conf and kernel: these are not taken from it."""
    other = dataclasses.replace(
        INSTALLED, partition_table=b"other", loader_conf=b"other", kernel=uki.build({**SECTIONS, ".cmdline": b"other"})
    )
    return _log(other)


EXPECTED = predict(INSTALLED, _baseline())


def _place(log: EventLog, files: dict[str, bytes] = FILES) -> str:
    with pytest.raises(Refusal) as caught:
        match(_boot(log, files), [VerifiedReference(EXPECTED)])
    assert caught.value.code == "event-unexpected"
    return caught.value.place


def test_a_boot_is_predicted_from_files_and_another_machines_firmware() -> None:
    assert match(_boot(_log(INSTALLED), FILES), [VerifiedReference(EXPECTED)]) == EXPECTED
    assert ReferenceValues.parse(EXPECTED.encode()) == EXPECTED
    assert EXPECTED.command_lines == ("roothash=00 quiet",)


def test_programs_that_did_not_run_and_phases_to_come_are_not_missed() -> None:
    assert match(_boot(_log(INSTALLED), {}, PHASES[:1]), [VerifiedReference(EXPECTED)]) == EXPECTED


def test_what_firmware_measures_of_itself_is_marked_as_recorded() -> None:
    rows = {row.pcr: row for row in EXPECTED.pcrs}
    assert {row.mode for pcr, row in rows.items() if pcr not in (10, 11)} == {Mode.EXACT}
    recorded = {pcr for pcr, row in rows.items() if any(e.description.startswith("recorded ") for e in row.events)}
    assert recorded == {0, 1, 2, 3, 5, 6, 7}
    computed = [e.description for e in rows[5].events if not e.description.startswith("recorded ")]
    assert computed == ["the partition table", "loader.conf"]
    assert not rows.keys() & {8, 12, 13, 14, 15}


@pytest.mark.parametrize(
    ("changed", "pcr"),
    [
        (dataclasses.replace(INSTALLED, kernel=uki.build({**SECTIONS, ".cmdline": b"roothash=00 quiet debug"})), 4),
        (dataclasses.replace(INSTALLED, loader=uki.build({".sdmagic": b"another"})), 4),
        (dataclasses.replace(INSTALLED, partition_table=b"EFI PART other"), 5),
        (dataclasses.replace(INSTALLED, loader_conf=b"timeout 9\n"), 5),
    ],
)
def test_a_changed_disk_is_named(changed: Installed, pcr: int) -> None:
    assert _place(_log(changed)).startswith(f"PCR {pcr}, uefi event ")


def test_another_firmware_state_is_named() -> None:
    assert _place(_log(INSTALLED, secure_boot=b"\0")).startswith("PCR 7, uefi event ")


def test_a_program_that_is_not_of_the_root_is_named() -> None:
    assert _place(_log(INSTALLED), {"/usr/bin/one": digest(BANK, b"another")}).startswith("PCR 10, ima event ")


def test_the_stubs_archive_follows_the_padded_initrd() -> None:
    """As `cpio -t` reads it: a folder and a file in the new ASCII format, each part padded to 4."""
    initrd = stub_initrd(SECTIONS)
    assert initrd[:14] == b"initrd" + bytes(2) + b"070701"
    archive = initrd[8:]
    names, offset = [], 0
    while True:
        fields = [int(archive[offset + 6 + 8 * n : offset + 14 + 8 * n], 16) for n in range(13)]
        name = archive[offset + 110 : offset + 110 + fields[11] - 1]
        start = offset + -(-(110 + fields[11]) // 4) * 4
        if name == b"TRAILER!!!":
            break
        names.append((name, fields[0], fields[1], archive[start : start + fields[6]]))
        offset = start + -(-fields[6] // 4) * 4
    assert names == [(b".extra", 1, 0o40555, b""), (b".extra/os-release", 2, 0o100444, SECTIONS[".osrel"])]
    assert len(archive) == start


def test_an_initrd_without_os_release_gets_no_archive() -> None:
    assert stub_initrd({".initrd": b"1234"}) == b"1234"


def test_a_signed_policy_has_archives_before_os_release() -> None:
    initrd = stub_initrd({".osrel": b"o", ".pcrpkey": b"p", ".pcrsig": b"s"})
    order = [initrd.index(name) for name in (b"tpm2-pcr-signature.json", b"tpm2-pcr-public-key.pem", b"os-release")]
    assert order == sorted(order)


def test_the_aggregate_starts_from_the_locality_of_the_baseline() -> None:
    """TPM2_Startup from locality 3 leaves another PCR 0, which boot_aggregate covers."""
    baseline = _baseline()
    startup = Event(1, 0, EventType.EV_NO_ACTION, {BANK: bytes(32)}, b"StartupLocality\0\3", 0)
    with_locality = EventLog(baseline.spec, (startup, *baseline.events))
    aggregates = {
        next(row for row in predict(INSTALLED, log).pcrs if row.pcr == 10).events[0].digests["sha256"]
        for log in (baseline, with_locality)
    }
    assert len(aggregates) == 2
    assert HashAlg.SHA256 is BANK
