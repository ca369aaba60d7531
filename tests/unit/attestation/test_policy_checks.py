"""Each demand of a policy on whole evidence: met, it passes; not met, it is refused with a code of its own."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from medvouch.attestation import refusals
from medvouch.attestation.appraisal import Appraisal, appraise
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.policy import STATIC_PCRS, Policy
from medvouch.attestation.policy_checks import authority_digest
from medvouch.crypto.ima_signatures import ImaKey
from medvouch.crypto.keys import spki
from medvouch.errors import Refusal
from medvouch.formats import der, ima
from medvouch.formats.cms import Algorithm, SignedData
from medvouch.formats.eventlog import EventType
from medvouch.formats.uefi import (
    CERT_SHA256,
    CERT_X509,
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    SignatureList,
    Variable,
)
from support.authorities import NOW, key
from support.boots import BootBuilder, full_boot, sha
from support.evidence import CLOCK, anchors, evidence, expectation, fields, fix, reference

LENIENT = Policy("lenient", STATIC_PCRS, match_reference=False)
CERTIFICATE, OTHER = b"a certificate", b"another one"
FORBIDDEN = bytes(range(32))
INIT = b"\7" * 32
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_ID, RSA_ID = (ImaKey.of_key(each.public_key()).id for each in (key("ima"), RSA_KEY))


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def signatures(kind: Any, *entries: bytes) -> bytes:
    lists = (SignatureList(kind, b"", 16 + len(data), ((GLOBAL_VARIABLE, data),)) for data in entries)
    return b"".join(each.encode() for each in lists)


def booted(*, db: bytes = b"", dbx: bytes = b"", authority: Variable | None = None) -> BootBuilder:
    """A boot whose PCR 7 holds these."""
    boot = BootBuilder()
    policy = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    boot.event(7, policy, Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1").encode())
    for name, value in (("db", db), ("dbx", dbx)):
        if value:
            boot.event(7, policy, Variable(IMAGE_SECURITY_DATABASE, name, value).encode())
    boot.separators()
    if authority is not None:
        boot.event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, authority.encode())
    return boot


def judged(boot: BootBuilder, policy: Policy = LENIENT, *changes: Any, **known: Any) -> Appraisal:
    parsed = UnverifiedEvidence.parse(evidence(fix("boot", boot), *changes))
    return appraise(parsed, expectation(**known), anchors(reference(full_boot())), policy, NOW)


def refused(boot: BootBuilder, policy: Policy, *changes: Any, **known: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        judged(boot, policy, *changes, **known)
    return caught.value


def demand(**changes: Any) -> Policy:
    return replace(LENIENT, **changes)


def test_without_a_release_there_is_none_in_the_appraisal() -> None:
    appraisal = judged(booted())
    assert (appraisal.release, appraisal.security_epoch) == (None, None)


def test_only_some_pcrs_are_held_against_the_reference() -> None:
    changed = BootBuilder().firmware().event(5, EventType.EV_EFI_ACTION, b"something new").system()
    policy = demand(match_reference=True)
    assert refused(changed, policy).kind == refusals.EVENT_UNEXPECTED
    some = judged(changed, replace(policy, reference_pcrs=frozenset({4, 11})))
    assert (some.release, some.security_epoch) == (None, None), "another release may have the same events there"
    assert refused(changed, replace(policy, reference_pcrs=frozenset({5}))).place == "PCR 5, uefi event 20"


def test_a_challenge() -> None:
    policy = demand(require_nonce=True)
    judged(booted(), policy)
    assert refused(booted(), policy, nonce=None).kind == refusals.NONCE_NOT_DEMANDED


def test_a_safe_clock() -> None:
    policy = demand(require_clock_safe=True)
    judged(booted(), policy)
    unsafe = fields("quote", clock_info=replace(CLOCK, safe=False))
    judged(booted(), LENIENT, unsafe)
    assert refused(booted(), policy, unsafe).kind == refusals.CLOCK_NOT_SAFE


def test_a_ledger_that_is_known() -> None:
    judged(booted(), LENIENT)
    assert refused(booted(), demand(require_ledger=True)).kind == refusals.LEDGER_NOT_JUDGED


def test_authorities() -> None:
    authority = Variable(IMAGE_SECURITY_DATABASE, "db", GLOBAL_VARIABLE.bytes_le + CERTIFICATE)
    boot = booted(authority=authority)
    judged(boot, demand(authorities=frozenset({sha256(CERTIFICATE)})))
    error = refused(boot, demand(authorities=frozenset({sha256(OTHER)})))
    assert (error.kind, error.place) == (refusals.AUTHORITY_NOT_ALLOWED, "PCR 7")
    assert sha256(CERTIFICATE).hex() in error.detail
    assert refused(booted(), demand(authorities=frozenset({sha256(OTHER)}))).kind == refusals.AUTHORITY_NOT_ALLOWED


def test_an_authority_that_is_not_of_db_counts_as_a_whole() -> None:
    shim = Variable(GLOBAL_VARIABLE, "SbatLevel", b"sbat,1,2022052400\n")
    assert authority_digest(shim) == sha256(shim.data)


def test_what_db_may_hold() -> None:
    boot = booted(db=signatures(CERT_X509, CERTIFICATE, OTHER))
    both = frozenset({sha256(CERTIFICATE), sha256(OTHER)})
    judged(boot, demand(db=both))
    judged(booted(db=signatures(CERT_X509, CERTIFICATE)), demand(db=both))
    for other in (both - {sha256(CERTIFICATE)}, both - {sha256(OTHER)}, frozenset[bytes]()):
        assert refused(boot, demand(db=other)).kind == refusals.DB_NOT_ALLOWED
    assert refused(booted(), demand(db=both)).kind == refusals.DB_NOT_ALLOWED
    assert refused(booted(db=b"no signature list at all"), demand(db=both)).code == "signature-list-malformed"


def test_what_dbx_must_hold() -> None:
    policy = demand(dbx=frozenset({FORBIDDEN}))
    judged(booted(dbx=signatures(CERT_SHA256, FORBIDDEN, bytes(32))), policy)
    error = refused(booted(dbx=signatures(CERT_SHA256, bytes(32))), policy)
    assert (error.kind, error.place) == (refusals.DBX_INCOMPLETE, "PCR 7")
    assert "1 of 1" in error.detail
    assert refused(booted(), policy).kind == refusals.DBX_INCOMPLETE


def test_a_database_that_is_measured_after_the_separator_is_refused() -> None:
    late = booted().event(
        7,
        EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
        Variable(IMAGE_SECURITY_DATABASE, "dbx", signatures(CERT_SHA256, FORBIDDEN)).encode(),
    )
    assert refused(late, demand(dbx=frozenset({FORBIDDEN}))).code == "variable-late"


def test_the_floor() -> None:
    judged(full_boot(), demand(match_reference=True, floor=1))
    judged(full_boot(), demand(floor=2))  # of no release
    error = refused(full_boot(), demand(match_reference=True, floor=2))
    assert error.kind == refusals.RELEASE_BELOW_FLOOR
    assert error.detail == "release 1.0.0 is of epoch 1, the floor is 2"


def test_the_higher_of_two_floors_counts() -> None:
    for known, own in ((0, 2), (2, 0), (2, 1)):
        error = refused(full_boot(), demand(match_reference=True, floor=own), floor=known)
        assert error.detail == "release 1.0.0 is of epoch 1, the floor is 2"


def test_an_ima_list() -> None:
    judged(full_boot(), demand(require_ima=True))
    assert refused(booted(), demand(require_ima=True)).kind == refusals.IMA_MISSING


def test_a_violation() -> None:
    boot = full_boot().entry("/etc/log", INIT, violation=True)
    judged(boot, LENIENT)
    error = refused(boot, demand(require_ima=True))
    assert (error.kind, error.place) == (refusals.IMA_VIOLATION, "PCR 10, ima entry 2")


def test_files_that_are_allowed() -> None:
    judged(full_boot(), demand(ima_allow=frozenset({INIT})))
    error = refused(full_boot().entry("/usr/bin/evil", b"\6" * 32), demand(ima_allow=frozenset({INIT})))
    assert (error.kind, error.place) == (refusals.IMA_FILE_NOT_ALLOWED, "PCR 10, ima entry 2")
    assert "/usr/bin/evil" in error.detail


def test_paths_that_are_left_out() -> None:
    policy = demand(ima_allow=frozenset({INIT}), ima_exclude=("/tmp/",))
    judged(full_boot().entry("/tmp/x", b"\6" * 32), policy)
    for path in ("/tmp", "/usr/tmp/x", "/tmp/../usr/bin/evil"):
        assert refused(full_boot().entry(path, b"\6" * 32), policy).kind == refusals.IMA_FILE_NOT_ALLOWED


def test_the_name_of_the_boot_aggregate_excuses_nobody_else() -> None:
    boot = full_boot().entry(ima.BOOT_AGGREGATE, b"\6" * 32)
    assert refused(boot, demand(ima_allow=frozenset({INIT}))).kind == refusals.IMA_FILE_NOT_ALLOWED


def header(signature: bytes, *, algorithm: int = 4, kind: int = 3, version: int = 2, key_id: bytes = EC_ID) -> bytes:
    return bytes([kind, version, algorithm]) + key_id + len(signature).to_bytes(2, "big") + signature


def by_ec(digest: bytes) -> bytes:
    return key("ima").sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def by_rsa(digest: bytes) -> bytes:
    return RSA_KEY.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))


def with_file(
    signature: bytes, *, label: str = "sha256", digest: bytes = INIT, template: str = "ima-sig"
) -> BootBuilder:
    """A boot whose only file carries this signature."""
    boot = full_boot()
    boot.entries.pop()
    boot.pcrs = {bank: {**values, 10: bytes(32)} for bank, values in boot.pcrs.items()}
    parts: tuple[bytes, ...] = (label.encode() + b":\0" + digest, b"/init\0", signature)
    if template == "ima-modsig":
        parts = (*parts[:2], b"", b"sha256:\0" + UNSIGNED, signature)
    boot.entries.append(ima.make(1, 10, template, parts if template != "ima-ng" else parts[:2]))
    for entry in boot.entries:
        boot.extend(10, {bank: sha(bank, entry.data) for bank in boot.banks})
    return boot


SIGNED = demand(ima_signed_by=frozenset({spki(key("ima").public_key()), spki(RSA_KEY.public_key())}))


UNSIGNED = b"\5" * 32
"""Of /init without the signature at its end."""
_DIGEST, _ECDSA = der.oid("2.16.840.1.101.3.4.2.1"), der.oid("1.2.840.10045.4.3.2")


def at_the_end(signature: bytes, attributes: bytes = b"") -> bytes:
    """As the kernel's sign-file writes it with -k."""
    return SignedData(EC_ID, Algorithm(_DIGEST), Algorithm(_ECDSA), signature, attributes).encode()


@pytest.mark.parametrize(("sign", "key_id"), [(by_ec, EC_ID), (by_rsa, RSA_ID)], ids=["EC", "RSA"])
def test_files_that_are_signed(sign: Any, key_id: bytes) -> None:
    judged(with_file(header(sign(INIT), key_id=key_id)), SIGNED)


def test_files_that_are_signed_at_their_end() -> None:
    judged(with_file(at_the_end(by_ec(UNSIGNED)), template="ima-modsig"), SIGNED)


NOT_SIGNED = {
    "no signature": (b"", {}),
    "another template": (b"", {"template": "ima-ng"}),
    "over another file": (header(by_ec(bytes(32))), {}),
    "over another file, RSA": (header(by_rsa(bytes(32)), key_id=RSA_ID), {}),
    "by a key of another id": (header(by_ec(INIT), key_id=b"\1\2\3\4"), {}),
    "by a stranger": (header(key("stranger").sign(INIT, ec.ECDSA(Prehashed(hashes.SHA256())))), {}),
    "cut short": (header(by_ec(INIT))[:-1], {}),
    "with more behind it": (header(by_ec(INIT)) + b"\0", {}),
    "of another kind": (header(by_ec(INIT), kind=1), {}),
    "of another version": (header(by_ec(INIT), version=3), {}),
    "of another algorithm": (header(by_ec(INIT), algorithm=6), {}),
    "of a forgotten algorithm": (header(by_ec(INIT), algorithm=2), {}),
    "over a digest that names another": (header(by_ec(INIT)), {"label": "sha512"}),
    "over a digest of another length": (header(by_ec(INIT)), {"digest": INIT[:20]}),
    "at its end, over the whole file": (at_the_end(by_ec(INIT)), {"template": "ima-modsig"}),
    "at its end, over attributes": (at_the_end(by_ec(UNSIGNED), der.encode(0xA0)), {"template": "ima-modsig"}),
    "at its end, cut short": (at_the_end(by_ec(UNSIGNED))[:-1], {"template": "ima-modsig"}),
}


@pytest.mark.parametrize(("signature", "changes"), NOT_SIGNED.values(), ids=NOT_SIGNED)
def test_files_that_are_not_signed(signature: bytes, changes: dict[str, Any]) -> None:
    error = refused(with_file(signature, **changes), SIGNED)
    assert (error.kind, error.place) == (refusals.IMA_FILE_NOT_SIGNED, "PCR 10, ima entry 1")


def test_a_key_of_another_kind_signs_nothing() -> None:
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    policy = demand(ima_signed_by=frozenset({spki(edwards.public_key())}))
    signed = header(edwards.sign(INIT), key_id=ImaKey.of_key(edwards.public_key()).id)
    assert refused(with_file(signed), policy).kind == refusals.IMA_FILE_NOT_SIGNED
