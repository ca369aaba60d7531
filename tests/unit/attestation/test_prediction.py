"""What an update changes, event by event; that predictions hold for boots is tested where machines boot."""

from __future__ import annotations

import pytest

from medvouch.attestation.pcrs import MEANINGS, meaning
from medvouch.attestation.prediction import Change, PcrChange, application, compare, firmware, rows, unified_kernel
from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventType
from medvouch.formats.hashing import digest
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent
from medvouch_sim import uki

SHA256, SHA384 = HashAlg.SHA256, HashAlg.SHA384


def event(name: str, *, of: str = "", **digests: bytes) -> ReferenceEvent:
    return ReferenceEvent(name, digests or {"sha256": digest(SHA256, (of or name).encode())})


def row(*events: ReferenceEvent, pcr: int = 4, mode: Mode = Mode.EXACT) -> PcrReference:
    return PcrReference(pcr, mode, events)


A, B, C, D = (event(name) for name in "abcd")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ((A, B), (A, B), ()),
        ((A, B), (event("another name", of="a"), B), ()),
        ((A, B, C), (A, D, C), (Change(B, D),)),
        ((A, C), (A, B, C), (Change(None, B),)),
        ((A, B, C), (A, C), (Change(B, None),)),
        ((A, B), (), (Change(A, None), Change(B, None))),
        ((A, B), (C,), (Change(A, C), Change(B, None))),
    ],
)
def test_events_that_differ(
    old: tuple[ReferenceEvent, ...], new: tuple[ReferenceEvent, ...], changes: tuple[Change, ...]
) -> None:
    assert compare([row(*old)], [row(*new)]) == (PcrChange(4, changes),)
    assert {change.kind for change in changes} <= {"changed", "added", "removed"}


def test_what_a_change_is() -> None:
    assert [each.kind for each in (Change(A, B), Change(None, B), Change(A, None))] == ["changed", "added", "removed"]


def test_pcrs_of_one_side_only() -> None:
    assert compare([row(A, pcr=1)], [row(B, pcr=0)]) == (
        PcrChange(0, (Change(None, B),)),
        PcrChange(1, (Change(A, None),)),
    )


def test_only_banks_that_both_have_are_compared() -> None:
    both = event("a", sha256=A.digests["sha256"], sha384=bytes(48))
    assert compare([row(A)], [row(both)]) == (PcrChange(4, ()),)
    assert compare([row(A)], [row(event("a", sha256=bytes(32), sha384=bytes(48)))])[0].changes


def test_where_the_order_does_not_count_a_file_stands_beside_its_successor() -> None:
    def files(*named: tuple[str, str]) -> PcrReference:
        entries = (event(f"ima entry {n} ima-ng {path}", of=of) for n, (path, of) in enumerate(named))
        return row(*entries, pcr=10, mode=Mode.ALLOWED)

    old = files(("/a", "1"), ("/b", "2"), ("/c", "3"))
    assert compare([old], [files(("/c", "3"), ("/b", "2"), ("/a", "1"))])[0].changes == ()
    (change,) = compare([old], [files(("/c", "3"), ("/b", "new"), ("/a", "1"))])[0].changes
    assert change.old is not None
    assert change.new is not None
    assert (change.old.description[-2:], change.new.description[-2:]) == ("/b", "/b")


def test_a_kernel_image() -> None:
    sections = {".initrd": b"initrd", ".cmdline": b"quiet", ".linux": b"kernel", ".profile": b"not measured by itself"}
    events = list(unified_kernel(uki.build(sections), (SHA256, SHA384)))
    assert [(each.pcr, each.digests[SHA256]) for each in events] == [
        (pcr, digest(SHA256, data))
        for pcr, data in (
            (11, b".linux\0"),
            (11, b"kernel"),
            (11, b".cmdline\0"),
            (11, b"quiet"),
            (11, b".initrd\0"),
            (11, b"initrd"),
            (9, "quiet\0".encode("utf-16-le")),
            (9, b"initrd"),
        )
    ]
    assert all(set(each.digests) == {SHA256, SHA384} for each in events)
    loaded = application(uki.build(sections), b"", (SHA384,))
    assert loaded.digests == {SHA384: uki.authenticode(uki.build(sections), SHA384)}
    with pytest.raises(InputError, match="pe-truncated"):
        application(b"MZ", b"", (SHA256,))


def test_a_firmware() -> None:
    events = list(firmware("1.2", {"pei": b"one", "dxe": b"two"}, {"SecureBoot": b"\1", "Boot0001": b"x"}, (SHA256,)))
    assert [(each.pcr, EventType(each.type).name) for each in events] == [
        (0, "EV_S_CRTM_VERSION"),
        (0, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
        (0, "EV_EFI_PLATFORM_FIRMWARE_BLOB2"),
        *[(7, "EV_EFI_VARIABLE_DRIVER_CONFIG")] * 5,
        (7, "EV_SEPARATOR"),
        *[(1, "EV_EFI_VARIABLE_BOOT")] * 2,
    ]
    assert [each.digests[SHA256] for each in events[:3]] == [
        digest(SHA256, data) for data in ("1.2\0".encode("utf-16-le"), b"two", b"one")
    ]
    assert events[-1].digests[SHA256] == digest(SHA256, b"x")


def test_a_firmware_update_changes_its_own_pcr_alone() -> None:
    old, new = (rows(firmware(version, {"pei": b"one"}, {}, (SHA256,))) for version in ("1.2", "1.3"))
    assert [each.pcr for each in compare(old, new) if each.changes] == [0]
    assert old[0].events[0].description == "EV_S_CRTM_VERSION: 1.2"


def test_every_static_pcr_has_a_meaning() -> None:
    assert set(MEANINGS) == set(range(16))
    assert (meaning(7), meaning(23)) == ("Secure Boot policy", "")
