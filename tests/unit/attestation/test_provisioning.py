"""Templates and indexes say what the TCG's documents and DESIGN say."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.attestation.provisioning import (
    EK_TEMPLATE,
    IAK_TEMPLATE,
    IDEVID_TEMPLATE,
    LAK_TEMPLATE,
    LDEVID_TEMPLATE,
    PARENT_TEMPLATE,
    HierarchyAuths,
    nv_layout,
)
from medvouch.crypto.tpm import name, policy_authorize, software_public
from medvouch.formats.tpm_public import NvAttribute, ObjectAttribute, Public
from support.tpms import OsEntropy

ENDORSEMENT = bytes.fromhex("4000000b")


def test_attributes() -> None:
    wanted = {
        EK_TEMPLATE: 0x000300B2,
        IDEVID_TEMPLATE: 0x000400F2,
        IAK_TEMPLATE: 0x000500F2,
        PARENT_TEMPLATE: 0x00030472,
        LAK_TEMPLATE: 0x00050472,
        LDEVID_TEMPLATE: 0x00040472,
    }
    assert {template: int(Public.parse(template).attributes) for template in wanted} == wanted


def test_uniques() -> None:
    assert Public.parse(EK_TEMPLATE).unique == (bytes(32), bytes(32))
    assert Public.parse(IDEVID_TEMPLATE).unique == (b"IDEVID", b"IDEVID")
    assert Public.parse(IAK_TEMPLATE).unique == (b"IAK", b"IAK")


def test_the_policy_of_the_ek_is_policy_secret_of_the_endorsement_hierarchy() -> None:
    first = hashlib.sha256(bytes(32) + b"\x00\x00\x01\x51" + ENDORSEMENT).digest()
    assert Public.parse(EK_TEMPLATE).auth_policy == hashlib.sha256(first).digest()


def test_power_cuts_never_count_against_what_is_used_in_service() -> None:
    authority = ec.generate_private_key(ec.SECP256R1()).public_key()
    for template in (PARENT_TEMPLATE, LAK_TEMPLATE, LDEVID_TEMPLATE):
        assert Public.parse(template).attributes & ObjectAttribute.NO_DA
    for public in nv_layout(authority, b"ueid").values():
        assert public.attributes & NvAttribute.NO_DA


def test_only_the_floor_authority_raises_the_floor() -> None:
    authority = ec.generate_private_key(ec.SECP384R1()).public_key()
    floor = nv_layout(authority, b"ueid")["floor"]
    assert floor.auth_policy == policy_authorize(name(software_public(authority)), b"ueid")
    assert floor.attributes & NvAttribute.POLICYWRITE
    assert not floor.attributes & (NvAttribute.AUTHWRITE | NvAttribute.OWNERWRITE | NvAttribute.POLICY_DELETE)


def test_auths_are_random_and_never_shown() -> None:
    auths = HierarchyAuths.draw(OsEntropy())
    assert auths != HierarchyAuths.draw(OsEntropy())
    assert auths.owner != auths.lockout
    assert repr(auths) == "HierarchyAuths()"
