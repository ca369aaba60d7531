"""Structures in event data, and their description."""

from __future__ import annotations

from uuid import UUID

import pytest

from medvouch.errors import InputError
from medvouch.formats import uefi
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


def test_claimed_secure_boot() -> None:
    kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    other = Event(1, 7, kind, {}, Variable(uefi.GLOBAL_VARIABLE, "PK", b"").encode(), 0)
    broken = Event(1, 7, kind, {}, b"?", 0)
    found = Event(2, 7, kind, {}, VARIABLE.encode(), 0)
    assert uefi.claimed_secure_boot((other, broken, found)) == b"\1"
    assert uefi.claimed_secure_boot((other, broken)) is None
