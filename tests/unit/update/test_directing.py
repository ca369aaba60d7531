"""The director chooses; release engineering must have published."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from medvouch.errors import InputError
from medvouch.formats.directive import MAX_DIRECTIVE_BYTES, Directive, directive_name
from medvouch.update import refusals
from medvouch.update.directing import resolve
from support.refusing import assert_refused
from support.tufs import NOW, Tuf

UEID = b"\1" + bytes(range(32))
DEVICE = "gw1"
NAME = directive_name(DEVICE)
ENVELOPE = b"a signed envelope"
RELEASE = "releases/1.1.0/release.suit"
DIRECTIVE = Directive(UEID, RELEASE, hashlib.sha256(ENVELOPE).digest(), len(ENVELOPE), 7, NOW + 100)


@pytest.fixture
def tuf() -> Tuf:
    tuf = Tuf()
    tuf.delegate("releases", ["releases/*/*"], threshold=2, terminating=True)
    tuf.delegate("director", ["directives/*"], terminating=True)
    tuf.bins("director", "directives", 2)
    tuf.add(RELEASE, ENVELOPE, "releases")
    tuf.publish()
    return tuf


def direct(tuf: Tuf, directive: Directive | bytes, role: str = "") -> None:
    data = directive.encode() if isinstance(directive, Directive) else directive
    tuf.add(NAME, data, role or tuf.bin_of("director", NAME))
    tuf.bump(*tuf.targets)


def test_a_directive_and_the_release_it_names(tuf: Tuf) -> None:
    direct(tuf, DIRECTIVE)
    client = tuf.refreshed()
    found = resolve(client, UEID, DEVICE, NOW)
    assert found is not None
    assert found.directive == DIRECTIVE
    assert client.download(found.target, 100) == ENVELOPE


def test_no_directive(tuf: Tuf) -> None:
    direct(tuf, DIRECTIVE)
    assert resolve(tuf.refreshed(), UEID, "gw2", NOW) is None


@pytest.mark.parametrize("role", ["targets", "releases"])
def test_nobody_else_directs(tuf: Tuf, role: str) -> None:
    delegations = tuf.targets["targets"].signed.delegations
    assert delegations is not None
    assert delegations.roles is not None
    delegations.roles["releases"].paths = ["*/*", "*/*/*"]
    direct(tuf, DIRECTIVE, role)
    client = tuf.refreshed()
    assert client.target(NAME) is not None
    assert resolve(client, UEID, DEVICE, NOW) is None


@pytest.mark.parametrize(
    "change",
    [
        {"release": "releases/2.0.0/release.suit"},
        {"digest": bytes(32)},
        {"length": len(ENVELOPE) + 1},
        {"release": "trust.cbor"},
    ],
)
def test_a_release_that_is_not_listed_so(tuf: Tuf, change: dict[str, object]) -> None:
    tuf.add("trust.cbor", ENVELOPE)
    direct(tuf, dataclasses.replace(DIRECTIVE, **change))  # type: ignore[arg-type]
    assert_refused(refusals.DIRECTIVE_UNLISTED, resolve, tuf.refreshed(), UEID, DEVICE, NOW)


@pytest.mark.parametrize(
    "name",
    [
        "releases/../release.suit",
        "releases/1.1.0/..",
        "../releases/release.suit",
        "/releases/1.1.0/release.suit",
        "releases//release.suit",
        "releases/1.1.0/",
        "releases/.hidden/release.suit",
        "releases/..%2f..%2fetc/passwd",
        "releases/..\\..\\etc/passwd",
        "releases/1.1.0/release.suit?x",
        "releases/1.1.0/#",
        "releases/1.1.0/a\0b",
        "releases/1.1.0/\u202e",
    ],
)
def test_a_release_whose_name_leads_elsewhere(tuf: Tuf, name: str) -> None:
    """Path traversal by a name (CVE-2021-41131, CVE-2021-41149), though whoever lists releases has listed it."""
    tuf.add(name, ENVELOPE, "releases")
    direct(tuf, dataclasses.replace(DIRECTIVE, release=name))
    client = tuf.refreshed()
    asked = len(tuf.served.asked)
    assert_refused(refusals.TARGET_NAME_UNSAFE, resolve, client, UEID, DEVICE, NOW)
    assert not any("elease.suit" in path or "passwd" in path for path in tuf.served.asked[asked:])


@pytest.mark.parametrize("role", ["targets", "director"])
def test_nobody_else_publishes_releases(tuf: Tuf, role: str) -> None:
    del tuf.targets["releases"].signed.targets[RELEASE]
    tuf.add(RELEASE, ENVELOPE, role)
    direct(tuf, DIRECTIVE)
    assert_refused(refusals.DIRECTIVE_UNLISTED, resolve, tuf.refreshed(), UEID, DEVICE, NOW)


def test_a_directive_for_another(tuf: Tuf) -> None:
    direct(tuf, DIRECTIVE)
    assert_refused(refusals.DIRECTIVE_MISDIRECTED, resolve, tuf.refreshed(), bytes(33), DEVICE, NOW)


def test_a_directive_whose_time_is_over(tuf: Tuf) -> None:
    direct(tuf, DIRECTIVE)
    client = tuf.refreshed()
    assert resolve(client, UEID, DEVICE, NOW + 99)
    assert_refused(refusals.DIRECTIVE_EXPIRED, resolve, client, UEID, DEVICE, NOW + 100)


@pytest.mark.parametrize(
    ("data", "code"), [(b"\xa0", "directive-malformed"), (bytes(MAX_DIRECTIVE_BYTES + 1), "metadata-limit")]
)
def test_what_is_no_directive(tuf: Tuf, data: bytes, code: str) -> None:
    direct(tuf, data)
    with pytest.raises(InputError) as caught:
        resolve(tuf.refreshed(), UEID, DEVICE, NOW)
    assert caught.value.code == code
