"""What confirmed measurements say of a boot, and that the log's unmeasured words say nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from medvouch.attestation.findings import Finding, Ground
from medvouch.attestation.replay import Logs, replay
from medvouch.attestation.semantics import Boot, CommandLineSource, Found, SecureBoot, understand
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.sbat import SbatEntry
from medvouch.formats.uefi import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, Variable
from support.boots import COMMAND_LINE, SHA256, SHA384, BootBuilder, full_boot, sha

POLICY = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
SECURE = Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1").encode()


def boot_of(boot: BootBuilder, logs: Logs | None = None, *known: str) -> Boot:
    return understand(replay(logs or boot.logs, boot.pcrs).events, command_lines=known)


def relabelled(boot: BootBuilder, victim: Event, **changes: Any) -> Logs:
    events = tuple(e._replace(**changes) if e is victim else e for e in boot.events)
    return replace(boot.logs, uefi=EventLog(SpecId(boot.banks), events))


def test_a_whole_boot() -> None:
    builder = full_boot(SHA256, SHA384)
    boot = boot_of(builder, None, "something else", COMMAND_LINE)
    assert boot.secure_boot is SecureBoot.ON
    assert [variable.name for variable in boot.variables] == ["SecureBoot", "PK"]
    assert [variable.data for variable in boot.authorities] == [b"owner and certificate"]
    (application,) = boot.applications
    assert application.path == "\\EFI\\BOOT\\BOOTX64.EFI"
    assert application.digests == {bank: sha(bank, b"the image") for bank in (SHA256, SHA384)}
    assert [(s.name, s.digests[SHA256]) for s in boot.sections] == [
        (".linux", sha(SHA256, b"kernel")),
        (".cmdline", sha(SHA256, COMMAND_LINE.encode())),
    ]
    assert [(line.source, line.text) for line in boot.command_lines] == [
        (CommandLineSource.UKI, COMMAND_LINE),
        (CommandLineSource.KERNEL, COMMAND_LINE),
    ]
    assert boot.root_hash == bytes.fromhex("ab" * 32)
    assert boot.firmware_version == "1.2.3"
    assert boot.phases == ("enter-initrd", "leave-initrd")


def test_nothing_measured_says_nothing() -> None:
    boot = boot_of(BootBuilder())
    assert boot == Boot(Found(Finding(SecureBoot.UNKNOWN, (), covered=False)))
    assert boot.root_hash is None


@pytest.mark.parametrize(
    ("value", "state"),
    [(b"\0", SecureBoot.OFF), (b"", SecureBoot.OFF), (b"\1", SecureBoot.ON), (b"\2", SecureBoot.UNKNOWN)],
)
def test_secure_boot_values(value: bytes, state: SecureBoot) -> None:
    assert boot_of(BootBuilder().firmware(value)).secure_boot is state


def test_secure_boot_data_that_no_digest_covers() -> None:
    """An edited log: the digest of "off" stays, the data says "on"."""
    builder = BootBuilder().firmware(b"\0")
    victim = next(event for event in builder.events if event.pcr == 7)
    assert boot_of(builder, relabelled(builder, victim, data=SECURE)).secure_boot is SecureBoot.UNKNOWN


def test_secure_boot_measured_later_by_anyone_counts_for_nothing() -> None:
    builder = BootBuilder().firmware(b"\0")
    victim = next(event for event in builder.events if event.pcr == 7)
    builder.event(7, POLICY, SECURE)
    hidden = relabelled(builder, victim, type=EventType.EV_EFI_ACTION, data=b"nothing to see")
    assert boot_of(builder, hidden).secure_boot is SecureBoot.UNKNOWN
    assert boot_of(builder).secure_boot is SecureBoot.OFF


def test_secure_boot_must_be_the_variable_of_the_firmware() -> None:
    other = Variable(GLOBAL_VARIABLE, "SecureBoots", b"\1").encode()
    assert boot_of(BootBuilder().event(7, POLICY, other)).secure_boot is SecureBoot.UNKNOWN
    assert boot_of(BootBuilder().event(7, POLICY, b"no variable")).secure_boot is SecureBoot.UNKNOWN


def test_policy_hidden_behind_a_relabelled_separator_is_still_told_from_authorities() -> None:
    builder = BootBuilder().firmware()
    separator = next(e for e in builder.events if e.pcr == 7 and e.type == EventType.EV_SEPARATOR)
    logs = relabelled(builder, separator, type=EventType.EV_EFI_VARIABLE_AUTHORITY, data=b"x")
    boot = boot_of(builder, logs)
    assert ([v.name for v in boot.variables], [v.name for v in boot.authorities]) == (["SecureBoot", "PK"], ["db"])


def test_application_is_not_hidden_by_its_label() -> None:
    builder = BootBuilder().firmware()
    victim = next(e for e in builder.events if e.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION)
    action = b"Calling EFI Application from Boot Option"
    for changes in ({"type": EventType.EV_EFI_ACTION, "data": action}, {"type": EventType.EV_SEPARATOR}):
        boot = boot_of(builder, relabelled(builder, victim, **changes))
        assert [application.digests[SHA256] for application in boot.applications] == [sha(SHA256, b"the image")]


def test_section_name_must_be_measured() -> None:
    builder = BootBuilder().firmware()
    name = next(e for e in builder.events if e.pcr == 11)
    boot = boot_of(builder, relabelled(builder, name, data=".cmdline\0".encode("utf-16-le")))
    assert boot.sections == ()


def test_command_line_that_nobody_knows() -> None:
    boot = boot_of(BootBuilder().firmware(), None, "other")
    assert [line.text for line in boot.command_lines] == [None, None]
    assert boot.root_hash is None


def test_override_of_the_command_line_shows() -> None:
    wide = "init=/bin/sh".encode("utf-16-le")
    boot = boot_of(BootBuilder().firmware().event(12, EventType.EV_IPL, wide), None, COMMAND_LINE)
    assert [(line.source, line.text) for line in boot.command_lines][-1] == (CommandLineSource.OVERRIDE, "init=/bin/sh")
    assert boot.root_hash is not None


@pytest.mark.parametrize("text", ["roothash=" + "cd" * 32, "a roothash=short", "roothash="])
def test_command_lines_that_disagree_name_no_root(text: str) -> None:
    builder = BootBuilder().firmware().event(12, EventType.EV_IPL, text.encode("utf-16-le"))
    assert boot_of(builder, None, COMMAND_LINE).root_hash is None


def test_root_hash_must_be_one() -> None:
    builder = BootBuilder().event(12, EventType.EV_IPL, b"roothash=xyz")
    assert boot_of(builder).root_hash is None


def test_override_that_is_no_text_leaves_the_root_unknown() -> None:
    builder = BootBuilder().firmware().event(12, EventType.EV_IPL, b"credential", b"\0\1secret")
    assert boot_of(builder, None, COMMAND_LINE).root_hash is None
    covered = BootBuilder().firmware().event(12, EventType.EV_IPL, b"\xff\xfe\xfd")
    assert boot_of(covered, None, COMMAND_LINE).command_lines[-1].text is None


def test_grub_command_line() -> None:
    line = "/vmlinuz root=/dev/sda quiet"
    data = b"kernel_cmdline: " + line.encode() + b"\0"
    builder = BootBuilder().event(8, EventType.EV_IPL, data, line.encode())
    builder.event(8, EventType.EV_IPL, b"grub_cmd: boot\0", b"boot")
    (found,) = boot_of(builder).command_lines
    assert (found.source, found.text) == (CommandLineSource.GRUB, line)
    (forged,) = boot_of(builder, relabelled(builder, builder.events[0], data=data + b"x")).command_lines
    assert forged.text is None


def test_other_kernel_tags_are_no_command_line() -> None:
    tag = bytes.fromhex("ec223b8f0d000000") + b"Linux initrd\0"
    assert boot_of(BootBuilder().event(9, EventType.EV_EVENT_TAG, tag, b"initrd")).command_lines == ()


def test_firmware_version_must_be_measured_before_the_separator() -> None:
    version = "9.9\0".encode("utf-16-le")
    late = BootBuilder().event(0, EventType.EV_SEPARATOR, bytes(4)).event(0, EventType.EV_S_CRTM_VERSION, version)
    assert boot_of(late).firmware_version is None
    uncovered = BootBuilder().event(0, EventType.EV_S_CRTM_VERSION, version, b"other")
    assert boot_of(uncovered).firmware_version is None


def test_phase_must_be_measured() -> None:
    builder = full_boot()
    forged = replace(builder.records[0], content={"string": "ready", "eventType": "phase"})
    logs = replace(builder.logs, systemd=(forged, *builder.records[1:]))
    assert boot_of(builder, logs).phases == ("leave-initrd",)


def test_every_value_says_what_it_rests_on() -> None:
    builder = full_boot()
    found = boot_of(builder, None, COMMAND_LINE).found
    assert (found.secure_boot.grounds, found.secure_boot.covered) == ((Ground(7, "uefi", 2),), True)
    assert [(each.grounds, each.covered) for each in found.applications] == [((Ground(4, "uefi", 14),), False)]
    linux, line = found.sections
    assert linux.grounds == (Ground(11, "uefi", 15), Ground(11, "uefi", 16))
    assert line.covered is False
    assert found.root_hash is not None
    assert found.root_hash.grounds == (*line.grounds, Ground(9, "uefi", 19))
    assert [line.covered for line in found.command_lines] == [True, True]
    assert [line.covered for line in boot_of(builder).found.command_lines] == [False, False]
    assert [phase.grounds for phase in found.phases] == [(Ground(11, "systemd", 0),), (Ground(11, "systemd", 1),)]
    assert found.firmware_version == Finding("1.2.3", (Ground(0, "uefi", 1),), covered=True)


def test_nothing_rests_on_nothing() -> None:
    secure_boot = boot_of(BootBuilder()).found.secure_boot
    assert (secure_boot.grounds, secure_boot.covered) == ((), False)


LEVEL = Variable(SHIM_LOCK, "SbatLevel", b"sbat,1,2024010900\nshim,4\n").encode()


def test_what_shim_and_grub_measure() -> None:
    builder = BootBuilder().firmware()
    builder.event(14, EventType.EV_IPL, b"MokList\0", b"keys").event(14, EventType.EV_IPL, b"other\0", b"x")
    builder.event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, LEVEL)
    shim = Variable(SHIM_LOCK, "Shim", b"certificate").encode() + bytes(6)
    builder.event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, shim, shim[:-1])
    builder.event(8, EventType.EV_IPL, b"grub_cmd: set a=b\0", b"set a=b")
    builder.event(8, EventType.EV_IPL, b"grub_cmd set c=d\0", b"set c=d")
    builder.event(8, EventType.EV_IPL, b"grub_cmd: forged\0", b"something else")
    builder.event(9, EventType.EV_IPL, b"(hd0,gpt1)/grub.cfg\0", b"contents")
    boot = boot_of(builder)
    assert [(each.name, each.digests[SHA256]) for each in boot.shim_lists] == [("MokList", sha(SHA256, b"keys"))]
    assert boot.sbat_level == (SbatEntry("sbat", 1, ("2024010900",)), SbatEntry("shim", 4))
    assert [variable.name for variable in boot.authorities] == ["db", "SbatLevel", "Shim"]
    assert boot.authorities[-1].data == b"certificate"
    assert boot.grub_commands == ("set a=b", "set c=d")
    assert [each.name for each in boot.loader_files] == ["(hd0,gpt1)/grub.cfg"]
    assert not any(each.covered for each in (*boot.found.shim_lists, *boot.found.loader_files))


def test_a_revocation_level_that_is_none_says_nothing() -> None:
    broken = Variable(SHIM_LOCK, "SbatLevel", b"?").encode()
    boot = boot_of(BootBuilder().firmware().event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, broken))
    assert (boot.sbat_level, boot.found.sbat_level) == ((), None)
    assert boot_of(BootBuilder().firmware()).sbat_level == ()


def test_authorities_with_a_tail_are_shims_alone() -> None:
    other = Variable(IMAGE_SECURITY_DATABASE, "db", b"x").encode() + bytes(6)
    boot = boot_of(BootBuilder().firmware().event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, other, other[:-1]))
    assert [variable.data for variable in boot.authorities] == [b"owner and certificate"]


def test_a_known_text_must_have_all_digests_in_one_form() -> None:
    """SHA-256 of the plain text beside SHA-384 of the one with NUL is nothing that anybody measures."""
    builder = BootBuilder((SHA256, SHA384))
    mixed = {SHA256: sha(SHA256, b"x"), SHA384: sha(SHA384, b"x\0")}
    builder.events.append(Event(1, 12, EventType.EV_IPL, mixed, b"?", 0))
    builder.extend(12, mixed)
    assert [line.text for line in boot_of(builder, None, "x").command_lines] == [None]
