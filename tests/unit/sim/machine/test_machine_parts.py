"""The small parts of the test stand: files that IMA measures, names, verdicts, last words."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from medvouch.errors import MissingPart, NetworkFault
from medvouch_sim.machine.building import COMMAND_LINE, Release, copy_into, kernel_name, write_table
from medvouch_sim.machine.host import BuildFault, Host
from medvouch_sim.machine.layout import Sizes, lay_out
from medvouch_sim.machine.measured_files import measured_files
from medvouch_sim.machine.stand import last_words
from medvouch_sim.machine.trial import Expected, Verdict
from medvouch_sim.machine.vm import Vm

SIZES = Sizes(esp=1 << 20, root=1 << 20, verity=1 << 20, data=1 << 20)
HASH = bytes(range(32))


def test_programs_libraries_and_modules_are_measured(tmp_path: Path) -> None:
    contents = {
        "usr/bin/script": (b"#!/bin/sh\n", 0o755),
        "usr/lib/library.so": (b"\x7fELF rest", 0o644),
        "usr/lib/modules/6/one.ko.xz": (b"xz", 0o644),
        "etc/ima/ima-policy": (b"measure func=BPRM_CHECK\n", 0o644),
        "etc/text": (b"no program", 0o644),
    }
    for name, (data, mode) in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
    (tmp_path / "usr/bin/link").symlink_to("script")
    expected = {f"/{name}": hashlib.sha256(data).digest() for name, (data, _) in contents.items() if name != "etc/text"}
    assert measured_files(tmp_path) == expected


def test_a_release_names_its_kernel_with_tries_and_its_root_hash(tmp_path: Path) -> None:
    (tmp_path / "roothash").write_text(HASH.hex() + "\n")
    release = Release("1.2.3", tmp_path)
    assert kernel_name(release) == "EFI/Linux/gateway_1.2.3+3.efi"
    assert release.root_hash == HASH
    assert release.command_line == COMMAND_LINE.format(root_hash=HASH.hex())
    assert "panic-on-corruption" in release.command_line


def test_what_is_copied_lies_in_its_partition(tmp_path: Path) -> None:
    disk, image, source = lay_out([HASH], SIZES), tmp_path / "disk", tmp_path / "source"
    with image.open("wb") as file:
        file.truncate(disk.size)
    write_table(image, disk)
    source.write_bytes(bytes(4096) + b"data")
    copy_into(image, disk, "root-b", source)
    written, offset = image.read_bytes(), disk["root-b"].offset
    assert written[offset : offset + 4100] == source.read_bytes()
    assert written.startswith(disk.head())
    assert written.endswith(disk.tail())
    assert not any(written[len(disk.head()) : offset])


def test_what_is_too_large_for_a_partition_is_not_copied(tmp_path: Path) -> None:
    disk, source = lay_out([HASH], SIZES), tmp_path / "source"
    source.write_bytes(bytes((1 << 20) + 1))
    with pytest.raises(ValueError, match="larger than the partition data"):
        copy_into(tmp_path / "disk", disk, "data", source)


def test_a_chroot_takes_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(MissingPart) as caught:
        Host(tmp_path).command("true")
    assert (caught.value.code, caught.value.exit_code) == ("not-root", 7)


def test_files_have_another_name_inside(tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.inside(host.work / "boot" / "vmlinuz") == "/bench/boot/vmlinuz"


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the root folder takes root")
def test_a_tool_that_fails_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(BuildFault) as caught:
        Host(tmp_path).run("no-such-program")
    assert caught.value.code == "image-tool-failed"
    assert "no-such-program" in caught.value.detail


@pytest.mark.parametrize(
    ("expected", "error", "failure"),
    [
        (Expected(None), None, None),
        (Expected("no-evidence"), NetworkFault("no-evidence", "nothing", place="here"), None),
        (Expected("no-evidence", "PCR 4"), NetworkFault("no-evidence", "nothing", place="PCR 4, event"), None),
        (Expected(None), NetworkFault("no-evidence", "it"), "boot: expected affirming, found no-evidence  it"),
        (Expected("no-evidence", names="verity"), NetworkFault("no-evidence", "verity: block 5"), None),
        (
            Expected("no-evidence", names="verity"),
            NetworkFault("no-evidence", "late"),
            "boot: expected no-evidence verity, found no-evidence  late",
        ),
        (Expected("no-evidence", "PCR 4"), None, "boot: expected no-evidence PCR 4, found affirming"),
        (
            Expected("no-evidence", "PCR 4"),
            NetworkFault("no-evidence", "nothing", place="PCR 5"),
            "boot: expected no-evidence PCR 4, found no-evidence PCR 5 nothing",
        ),
    ],
)
def test_a_verdict_says_what_differs(expected: Expected, error: NetworkFault | None, failure: str | None) -> None:
    assert Verdict("boot", expected, None, error).failure == failure


@pytest.mark.parametrize(
    ("console", "words"),
    [
        ("boot\nverity: block 5 is corrupted\n verity_work+0x1a\nrebooting\n", "verity: block 5 is corrupted"),
        ("one\ntwo\n", "two"),
        ("", "it said nothing"),
    ],
)
def test_last_words_are_those_that_tell(tmp_path: Path, console: str, words: str) -> None:
    vm = Vm(Host(tmp_path), tmp_path)
    vm.console.write_text(console)
    assert last_words(vm) == words
