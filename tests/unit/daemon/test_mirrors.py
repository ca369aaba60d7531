from __future__ import annotations

import pytest

from medvouch.daemon.mirrors import Places, folder_url

ORIGIN = "https://updates.example/repository/"
MIRROR = "http://ward.example/medvouch"
PLACES = Places(ORIGIN, [MIRROR, "file:///media/usb/"], ["https://payloads.example/images/", f"{ORIGIN}images/"])


def test_mirrors_come_first_and_a_stick_alone() -> None:
    assert PLACES.bases() == [MIRROR, "file:///media/usb/", ORIGIN]
    assert PLACES.bases("file:///x") == ["file:///x"]
    assert Places(ORIGIN).bases() == [ORIGIN]


@pytest.mark.parametrize(
    ("base", "uri", "found"),
    [
        (ORIGIN, f"{ORIGIN}images/1.img", f"{ORIGIN}images/1.img"),
        (ORIGIN, "https://payloads.example/images/1.img", "https://payloads.example/images/1.img"),
        (MIRROR, f"{ORIGIN}images/1.img", f"{MIRROR}/images/1.img"),
        ("file:///media/usb/", f"{ORIGIN}images/1.img", "file:///media/usb/images/1.img"),
        (MIRROR, "https://payloads.example/images/deep/1.img", f"{MIRROR}/payloads/deep/1.img"),
    ],
)
def test_where_a_payload_stands(base: str, uri: str, found: str) -> None:
    assert PLACES.at(base, uri) == found


def test_a_repository_without_a_slash_at_its_end() -> None:
    places = Places("https://updates.example/repository", [MIRROR])
    assert places.at(MIRROR, "https://updates.example/repository/x") == f"{MIRROR}/x"


def test_a_directory_as_an_address() -> None:
    assert folder_url("/media/usb stick/ü#1") == "file:///media/usb%20stick/%C3%BC%231"
