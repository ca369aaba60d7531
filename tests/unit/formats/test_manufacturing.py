"""The maker's manifest as bytes."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats.manufacturing import MAX_ENTRIES, Manifest, ManifestEntry
from support.truncation import assert_every_truncation_refused


def entry(number: int) -> ManifestEntry:
    return ManifestEntry(number.to_bytes(32, "big"), f"S{number}", "gateway", "1")


def test_there_and_back() -> None:
    manifest = Manifest("Maker", 1, (entry(1), entry(2)))
    assert Manifest.parse(manifest.encode()) == manifest
    assert_every_truncation_refused(Manifest.parse, manifest.encode())


def test_the_largest_manifest() -> None:
    manifest = Manifest("Maker", 1, tuple(entry(number) for number in range(MAX_ENTRIES)))
    assert Manifest.parse(manifest.encode()) == manifest


@pytest.mark.parametrize("numbers", [(1, 1), (2, 1)])
def test_each_ek_once_and_in_order(numbers: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="manifest-malformed"):
        Manifest.parse(Manifest("Maker", 1, tuple(entry(number) for number in numbers)).encode())
