"""Structures in event data, and their description."""

from __future__ import annotations

from uuid import UUID

import pytest

from medvouch.errors import InputError
from medvouch.formats import uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.uefi import ImageLoad, SignatureList, TaggedEvent, Variable, parse_signature_lists
from support.truncation import assert_every_truncation_refused

OWNER = UUID("a3a8baa0-1d04-a848-bc87-c36d121b5e3d")
VARIABLE = Variable(uefi.GLOBAL_VARIABLE, "SecureBoot", b"\1")
HASHES = SignatureList(uefi.CERT_SHA256, b"", 48, ((OWNER, b"1" * 32), (OWNER, b"2" * 32)))
CERTIFICATE = SignatureList(uefi.CERT_X509, b"head", 20, ((OWNER, b"cert"),))
FILE = "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le")
PATH = b"\4\4" + (4 + len(FILE)).to_bytes(2, "little") + FILE + b"\x7f\xff\4\0"


def test_round_trips_and_truncations() -> None:
    image, tagged = ImageLoad(1, 2, 3, PATH), TaggedEvent(0x8F3B22ED, b"LoadOptions\0")
    assert Variable.parse(VARIABLE.encode()) == VARIABLE
    assert ImageLoad.parse(image.encode()) == image
    assert TaggedEvent.parse(tagged.encode()) == tagged
    assert_every_truncation_refused(Variable.parse, VARIABLE.encode())
    assert_every_truncation_refused(ImageLoad.parse, image.encode())
    assert_every_truncation_refused(TaggedEvent.parse, tagged.encode())


def test_signature_lists() -> None:
    data = HASHES.encode() + CERTIFICATE.encode()
    assert parse_signature_lists(data) == (HASHES, CERTIFICATE)
    assert parse_signature_lists(b"") == ()
    for size in set(range(1, len(data))) - {len(HASHES.encode())}:
        with pytest.raises(InputError):
            parse_signature_lists(data[:size])


def test_signature_list_sizes_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = SignatureList(uefi.CERT_SHA256, b"", 47, HASHES.signatures).encode()
    small = SignatureList(uefi.CERT_SHA256, b"", 15, ()).encode()
    for data in (odd, small):
        with pytest.raises(InputError, match="uefi-malformed"):
            parse_signature_lists(data)
    monkeypatch.setattr(uefi, "MAX_SIGNATURE_LISTS", 1)
    with pytest.raises(InputError, match="uefi-limit"):
        parse_signature_lists(HASHES.encode() * 2)


def test_variable_refusals() -> None:
    broken = VARIABLE.encode().replace("S".encode("utf-16-le"), b"\x00\xd8", 1)
    for data, fault in ((broken, "malformed"), (VARIABLE.encode() + b"x", "trailing")):
        with pytest.raises(InputError, match=f"uefi-{fault}"):
            Variable.parse(data)
    huge = VARIABLE.encode()[:16] + (1 << 60).to_bytes(8, "little") + bytes(100)
    with pytest.raises(InputError, match="uefi-limit"):
        Variable.parse(huge)


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        (EventType.EV_S_CRTM_VERSION, "v1\0".encode("utf-16-le"), "v1"),
        (EventType.EV_SEPARATOR, bytes(4), ""),
        (EventType.EV_SEPARATOR, b"WBCL", "WBCL"),
        (EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, VARIABLE.encode(), "SecureBoot = 01"),
        (EventType.EV_EFI_VARIABLE_BOOT, Variable(OWNER, "db", bytes(17)).encode(), "db = 17 bytes"),
        (EventType.EV_EFI_VARIABLE_BOOT, b"\xff\xfe", "fffe"),
        (EventType.EV_EFI_BOOT_SERVICES_APPLICATION, ImageLoad(0, 9, 0, PATH).encode(), "\\EFI\\BOOT\\BOOTX64.EFI"),
        (EventType.EV_EFI_BOOT_SERVICES_DRIVER, ImageLoad(0, 9, 0, b"").encode(), "9 bytes without a device path"),
        (EventType.EV_EVENT_TAG, TaggedEvent(5, b"Linux initrd\0").encode(), "0x00000005 Linux initrd"),
        (EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB, b"\1" + bytes(7) + b"\2" + bytes(7), "0x2 bytes at 0x1"),
        (EventType.EV_EFI_PLATFORM_FIRMWARE_BLOB2, b"\3rom" + b"\1" + bytes(15), "rom: 0x0 bytes at 0x1"),
        (EventType.EV_NO_ACTION, b"StartupLocality\0\3", "TPM2_Startup from locality 3"),
        (EventType.EV_IPL, b"grub_cmd: \x1b[31m\0", "677275625f636d643a201b5b33316d00"),
        (EventType.EV_IPL, b"two\nlines", "two\\nlines"),
        (0x12345, b"x" * 300, "x" * 240 + "..."),
    ],
)
def test_describe(kind: int, data: bytes, expected: str) -> None:
    assert uefi.describe(Event(1, 0, kind, {HashAlg.SHA1: bytes(20)}, data, 0)) == expected


def test_titles() -> None:
    event = Event(3, 0, EventType.EV_SEPARATOR, {}, bytes(4), 0)
    assert uefi.title(event) == "event 3 EV_SEPARATOR"
    assert uefi.title(Event(4, 0, EventType.EV_ACTION, {}, b"go", 0)) == "event 4 EV_ACTION: go"


def test_device_path_nodes() -> None:
    disk = b"\4\1\x2a\0" + (2).to_bytes(4, "little") + bytes(16) + OWNER.bytes_le + b"\2\2"
    path = b"\1\1\6\0\3\1" + disk + b"\4\7\x14\0" + OWNER.bytes_le + b"\3\5\4\0"
    assert uefi.device_path_text(path) == f"Pci(0x1,0x3)/HD(2,{OWNER})/Fv({OWNER})/Path(3,5,)"


def test_claimed_secure_boot() -> None:
    kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    other = Event(1, 7, kind, {}, Variable(uefi.GLOBAL_VARIABLE, "PK", b"").encode(), 0)
    broken = Event(1, 7, kind, {}, b"?", 0)
    found = Event(2, 7, kind, {}, VARIABLE.encode(), 0)
    assert uefi.claimed_secure_boot((other, broken, found)) == b"\1"
    assert uefi.claimed_secure_boot((other, broken)) is None
