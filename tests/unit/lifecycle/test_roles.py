from __future__ import annotations

import pytest

from medvouch.crypto.keys import PublicKey
from medvouch.errors import RefusalKind
from medvouch.lifecycle import refusals
from medvouch.lifecycle.roles import TrustedRole
from support.authorities import NOW, key
from support.refusing import assert_refused

KEYS: list[PublicKey] = [key("commander").public_key()]


@pytest.mark.parametrize(
    ("expires", "document_expires", "kind"),
    [
        (NOW, NOW + 1, refusals.ROLE_EXPIRED),
        (NOW + 1, NOW, refusals.TRUST_EXPIRED),
        (0, 0, refusals.TRUST_EXPIRED),
    ],
)
def test_a_role_serves_until_it_or_its_document_expires(expires: int, document_expires: int, kind: RefusalKind) -> None:
    role = TrustedRole("commander", KEYS, expires, document_expires)
    if expires:
        assert role.at(NOW - 1) == KEYS
    assert_refused(kind, role.at, NOW)


def test_one_signature_is_enough_unless_the_role_asks_for_more() -> None:
    assert TrustedRole("commander", KEYS, NOW, NOW).threshold == 1
    assert TrustedRole("release", KEYS, NOW, NOW, 2).threshold == 2


def test_it_is_said_since_when() -> None:
    refusal = assert_refused(refusals.ROLE_EXPIRED, TrustedRole("owner", KEYS, NOW, NOW + 2).at, NOW + 1)
    assert refusal.detail == "the role 'owner' expired on 2027-01-15 08:00:00 UTC"
