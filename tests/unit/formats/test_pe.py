from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats import pe
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch_sim import uki

SHA256 = HashAlg.SHA256
CONTENTS = {".osrel": b"ID=test\n", ".cmdline": b"quiet", ".linux": b"kernel" * 200}
IMAGE = uki.build(CONTENTS)
PE = 64
OPTIONAL = PE + 24
CHECKSUM = OPTIONAL + 64
CERTIFICATES = OPTIONAL + 144
SECTION_TABLE = OPTIONAL + 240


def patched(image: bytes, offset: int, data: bytes) -> bytes:
    return image[:offset] + data + image[offset + len(data) :]


def code_of(image: bytes) -> str:
    with pytest.raises(InputError) as caught:
        uki.authenticode(image, SHA256)
    return caught.value.code


def test_sections_come_back_in_order() -> None:
    assert uki.sections(IMAGE)[1:] == list(CONTENTS.items())


def test_the_hash_is_the_one_that_osslsigncode_signs() -> None:
    """`osslsigncode verify` says so of this image, signed and unsigned."""
    image = uki.build({".osrel": b"ID=x\n", ".cmdline": b"quiet", ".linux": b"kernel" * 99})
    expected = "542c0155a798466e72540b98087c0d7fe7ab167f94d200aca66971b1bcb5259c"
    assert uki.authenticode(image, SHA256).hex() == expected


@pytest.mark.parametrize("bank", [SHA256, HashAlg.SHA384])
def test_checksum_and_signature_do_not_change_the_hash(bank: HashAlg) -> None:
    plain = uki.authenticode(IMAGE, bank)
    certificates = b"a signature".ljust(64, b"\0")
    signed = patched(IMAGE, CERTIFICATES, struct.pack("<2I", len(IMAGE), len(certificates))) + certificates
    assert len(plain) == bank.size
    assert uki.authenticode(patched(IMAGE, CHECKSUM, b"\1\2\3\4"), bank) == plain
    assert uki.authenticode(signed, bank) == plain


@pytest.mark.parametrize("name", CONTENTS)
def test_every_section_is_hashed(name: str) -> None:
    tampered = CONTENTS | {name: b"\xff" + CONTENTS[name][1:]}
    assert uki.authenticode(uki.build(tampered), SHA256) != uki.authenticode(IMAGE, SHA256)


def test_every_other_byte_is_hashed() -> None:
    plain = uki.authenticode(IMAGE, SHA256)
    left_out = {*range(CHECKSUM, CHECKSUM + 4), *range(CERTIFICATES, CERTIFICATES + 8)}
    for offset in (2, OPTIONAL + 16, SECTION_TABLE - 8, SECTION_TABLE + 36, 1023, len(IMAGE) - 1):
        assert offset not in left_out
        assert uki.authenticode(patched(IMAGE, offset, bytes([IMAGE[offset] ^ 1])), SHA256) != plain
    assert uki.authenticode(IMAGE + b"appended", SHA256) != plain


def test_sections_are_hashed_by_their_place_in_the_file() -> None:
    first, second = (SECTION_TABLE + 40 * number for number in (1, 2))
    swapped = patched(patched(IMAGE, first, IMAGE[second : second + 40]), second, IMAGE[first : first + 40])
    in_file_order = swapped[:CHECKSUM] + swapped[CHECKSUM + 4 : CERTIFICATES] + swapped[CERTIFICATES + 8 :]
    assert [name for name, _ in uki.sections(swapped)] == [".text", ".cmdline", ".osrel", ".linux"]
    assert uki.authenticode(swapped, SHA256) == digest(SHA256, in_file_order)


def test_memory_beyond_the_file_is_zero() -> None:
    virtual_size = SECTION_TABLE + 40 + 8
    grown = patched(IMAGE, virtual_size, struct.pack("<I", 1000))
    assert dict(uki.sections(grown))[".osrel"] == CONTENTS[".osrel"].ljust(1000, b"\0")


def test_an_image_without_certificate_directory() -> None:
    short = patched(IMAGE, OPTIONAL + 108, struct.pack("<I", 4))
    checksummed = patched(short, CHECKSUM, b"\1\2\3\4")
    assert uki.authenticode(short, SHA256) == uki.authenticode(checksummed, SHA256)
    assert uki.authenticode(short, SHA256) != uki.authenticode(patched(short, CERTIFICATES, b"\1"), SHA256)


@pytest.mark.parametrize(
    ("offset", "data", "code"),
    [
        (0, b"ZM", "pe-malformed"),
        (60, struct.pack("<I", 1 << 30), "pe-truncated"),
        (PE, b"NE", "pe-malformed"),
        (PE + 6, struct.pack("<H", uki.MAX_SECTIONS + 1), "pe-limit"),
        (PE + 20, struct.pack("<H", 60), "pe-truncated"),
        (OPTIONAL, struct.pack("<H", 0x10B), "pe-malformed"),
        (OPTIONAL + 60, struct.pack("<I", 1 << 30), "pe-malformed"),
        (OPTIONAL + 60, struct.pack("<I", 64), "pe-malformed"),
        (OPTIONAL + 108, struct.pack("<I", 17), "pe-limit"),
        (CERTIFICATES + 4, struct.pack("<I", 1024), "pe-malformed"),
        (SECTION_TABLE, b"\xff", "pe-malformed"),
        (SECTION_TABLE + 8, struct.pack("<I", 1 << 30), "pe-limit"),
        (SECTION_TABLE + 20, struct.pack("<I", 1 << 30), "pe-truncated"),
    ],
)
def test_malformed_images_are_refused(offset: int, data: bytes, code: str) -> None:
    assert code_of(patched(IMAGE, offset, data)) == code


def test_a_huge_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pe, "MAX_IMAGE_BYTES", len(IMAGE) - 1)
    assert code_of(IMAGE) == "pe-limit"


@given(st.integers(0, len(IMAGE) - 1))
def test_every_truncation_is_refused(size: int) -> None:
    assert code_of(IMAGE[:size]).startswith("pe-")


@given(st.integers(0, SECTION_TABLE + 160), st.binary(min_size=1, max_size=8))
def test_mutations_raise_nothing_else(offset: int, data: bytes) -> None:
    image = patched(IMAGE, offset, data)
    with suppress(InputError):
        uki.authenticode(image, SHA256)
        uki.sections(image)
