"""The trust document."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.trust import ROLES, Role, TrustDocument, key_name
from support.truncation import assert_every_truncation_refused

ROLE = Role((b"key one", b"key two"), 2, 1_800_000_000, "Dr. A. Countable")
DOCUMENT = TrustDocument(
    version=3,
    expires=1_800_000_000,
    appraiser="appraiser.example",
    roles={"release": ROLE, "appraiser": dataclasses.replace(ROLE, threshold=1)},
    certificates={"tpm-vendor": (b"root one", b"root two"), "broker-ca": (b"ca",), "enrolment-ca": ()},
    references=(b"reference",),
)


def plain() -> dict[str, Any]:
    value: dict[str, Any] = cbor.decode(DOCUMENT.encode())
    return value


def refused(value: object, fault: str = "malformed") -> None:
    with pytest.raises(InputError) as caught:
        TrustDocument.parse(cbor.encode(value))
    assert caught.value.code == f"trust-{fault}"


def test_round_trip_and_truncation() -> None:
    assert TrustDocument.parse(DOCUMENT.encode()) == DOCUMENT
    assert_every_truncation_refused(TrustDocument.parse, DOCUMENT.encode())


def test_every_role_may_be_filled() -> None:
    full = dataclasses.replace(DOCUMENT, roles=dict.fromkeys(ROLES, ROLE))
    assert TrustDocument.parse(full.encode()) == full


@pytest.mark.parametrize("name", ["version", "expires", "appraiser", "roles", "certificates", "references"])
def test_required_fields(name: str) -> None:
    value = plain()
    del value[name]
    refused(value)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("keys", []),
        ("keys", [b"key one", b"key one"]),
        ("keys", b"key one"),
        ("threshold", 0),
        ("threshold", 3),
        ("expires", None),
        ("owner", ""),
        ("deputy", "nobody"),
    ],
)
def test_roles_that_cannot_be_filled(name: str, wrong: object) -> None:
    value = plain()
    value["roles"]["release"][name] = wrong
    refused(value)


def test_roles_and_certificates_that_nobody_looks_up() -> None:
    value = plain()
    value["roles"]["root"] = value["roles"]["release"]
    refused(value)
    value = plain()
    value["certificates"]["ntp-ca"] = value["certificates"].pop("broker-ca")
    refused(value)
    del value["certificates"]["ntp-ca"]
    refused(value)


def test_components_that_a_key_may_name() -> None:
    limited = dataclasses.replace(DOCUMENT, components={key_name(ROLE.keys[0]): ("slot", "radio/firmware")})
    assert TrustDocument.parse(limited.encode()) == limited
    assert_every_truncation_refused(TrustDocument.parse, limited.encode())
    assert "components" not in plain()
    value = plain()
    value["components"] = {}
    refused(value)
    value["components"] = {key_name(b"a stranger's key"): ["slot"]}
    refused(value)
    value["components"] = {key_name(ROLE.keys[0]): [""]}
    refused(value)
    value["components"] = {key_name(ROLE.keys[0]): ["slot"] * 17}
    refused(value, "limit")
    del value["roles"]["release"]
    value["components"] = {key_name(ROLE.keys[0]): ["slot"]}
    refused(value)


def test_limits() -> None:
    value = plain()
    value["roles"]["release"]["keys"] = [bytes([number]) for number in range(33)]
    refused(value, "limit")
    value = plain()
    value["references"] = [b""] * 257
    refused(value, "limit")
    value = plain()
    value["certificates"]["tpm-vendor"] = [b""] * 513
    refused(value, "limit")
