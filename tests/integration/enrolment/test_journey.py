"""From manufacture to an identity in service, on a real TPM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.enrolment import Enrolled
from medvouch.attestation.provisioning import (
    FLOOR_COUNTER,
    IAK_TEMPLATE,
    TUF_VERSIONS,
    attestation_key,
    load_ldevid,
    nv_layout,
)
from medvouch.crypto import escrow
from medvouch.crypto.certificates import DEVICE_ID, TLS_CLIENT
from medvouch.crypto.floor import approve, epoch
from medvouch.crypto.keys import SoftwareSigner, key_thumbprint, spki
from medvouch.crypto.tpm import nv_name, public_key, software_public
from medvouch.crypto.x509 import verify_chain, verify_lak_certificate
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import ueid
from medvouch.formats.identity import DeviceIdentity, OwnershipAuths
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm_public import NvAttribute, Public
from medvouch.formats.tuf_versions import NONE_SEEN, Versions
from medvouch.ports import CreatedKey
from medvouch_sim.swtpm import SwTpm
from support.authorities import NOW, key, root
from support.enrolling import ORDER, OWNER, Gateway, World


def test_from_manufacture_to_an_identity_in_service(everybody: World, tmp_path: Path) -> None:
    with everybody.gateway(tmp_path / "tpm") as gateway:
        authority, enrollee = everybody.authority(gateway.entry), gateway.enrollee()
        kept: list[DeviceIdentity] = []

        def keep(identity: DeviceIdentity) -> None:
            assert not gateway.tpm.ownership_taken(), "the identity is durable before the authorisations are gone"
            kept.append(DeviceIdentity.parse(identity.encode()))

        challenge, pending = authority.challenge(enrollee.request(), NOW)
        enrolled = authority.answer(pending, enrollee.proof(challenge), NOW + 1)
        identity = enrollee.accept(enrolled.answer, keep)

        assert kept == [identity]
        assert identity.device_id == enrollee.device_id()
        assert_same_device(identity, enrolled, gateway)
        assert_certificates(everybody, identity, gateway)
        assert_names(identity)
        assert_floor(gateway, identity, enrolled)
        assert_owned(gateway, enrolled)
    assert_in_service_after_a_reset(gateway.swtpm, identity)


def assert_same_device(identity: DeviceIdentity, enrolled: Enrolled, gateway: Gateway) -> None:
    entry = gateway.entry
    assert identity.ueid == enrolled.ueid == ueid(entry.ek_hash)
    assert identity.device_id == enrolled.device_id == identity.ueid.hex()[:32]
    assert identity.ek_hash == enrolled.ek_hash == entry.ek_hash
    assert (identity.serial, identity.model, identity.hw_version) == (ORDER.serial, ORDER.model, ORDER.hw_version)
    assert (enrolled.serial, enrolled.model, enrolled.hw_version) == (ORDER.serial, ORDER.model, ORDER.hw_version)
    assert (identity.floor, identity.accountable_owner) == (3, "Clinic Engineering")
    assert (enrolled.tpm_model.model, enrolled.quirks) == ("swtpm", ())
    assert enrolled.client_key_thumbprint == key_thumbprint(key("client").public_key())


def assert_certificates(everybody: World, identity: DeviceIdentity, gateway: Gateway) -> None:
    lak = verify_lak_certificate(identity.lak_certificate, [everybody.issuer.certificate], NOW)
    held = attestation_key(gateway.tpm)
    assert spki(lak.public_key) == spki(public_key(Public.parse(gateway.tpm.read_public(held))))
    gateway.tpm.flush(held)
    assert lak.device_id == identity.device_id
    roots = [root("enrolment").certificate]
    verify_chain(identity.ldevid_certificate, identity.chain, roots, NOW, profile=DEVICE_ID)
    client = verify_chain(identity.client_certificate, identity.chain, roots, NOW, profile=TLS_CLIENT)
    assert (client.common_name, client.serial) == (identity.device_id, identity.serial)
    assert client.not_after == NOW + 1 + 86_400
    assert identity.client_chain == (identity.client_certificate, everybody.issuer.certificate)


def assert_names(identity: DeviceIdentity) -> None:
    """Those of the first write on."""
    layout = nv_layout(key("floor").public_key(), identity.ueid)
    assert identity.nv_names.keys() == identity.nv_auths.keys() == layout.keys()
    for label, public in layout.items():
        written = replace(public, attributes=public.attributes | NvAttribute.WRITTEN)
        assert identity.nv_names[label] == nv_name(written.encode())


def assert_floor(gateway: Gateway, identity: DeviceIdentity, enrolled: Enrolled) -> None:
    """The counter stands at its base, and rises from there with the next approval; the answer is kept as it came."""
    assert (identity.floor_base, identity.iak_public) == (enrolled.floor_base, enrolled.iak_public)
    assert identity.answer == enrolled.answer
    iak = gateway.tpm.create_primary(IAK_TEMPLATE)
    assert gateway.tpm.read_public(iak) == identity.iak_public
    gateway.tpm.flush(iak)
    assert enrolled.ldevid_public == identity.ldevid_public
    auth, authority = identity.nv_auths["floor"], SoftwareSigner(key("floor"))
    assert gateway.tpm.nv_read(FLOOR_COUNTER, auth) == identity.floor_base.to_bytes(8, "big")
    approval = approve(authority, identity.nv_names["floor"], identity.floor_base, identity.ueid)
    public = software_public(authority.public_key)
    gateway.tpm.nv_increment_approved(FLOOR_COUNTER, auth, approval, public, identity.ueid)
    counter = int.from_bytes(gateway.tpm.nv_read(FLOOR_COUNTER, auth), "big")
    assert epoch(identity.floor, identity.floor_base, counter) == identity.floor + 1


def assert_owned(gateway: Gateway, enrolled: Enrolled) -> None:
    """By whoever opens the escrow; a second request has to wait until the owner clears the TPM."""
    assert gateway.tpm.ownership_taken()
    auths = OwnershipAuths.parse(escrow.open_sealed(enrolled.escrow, OWNER, context=enrolled.ueid))
    assert len({auths.owner, auths.lockout}) == 2
    assert (len(auths.owner), len(auths.lockout)) == (32, 32)
    with pytest.raises(TpmFault, match="tpm-owned"):
        gateway.enrollee().request()


def assert_in_service_after_a_reset(swtpm: SwTpm, identity: DeviceIdentity) -> None:
    with swtpm, TssTpm(swtpm.tcti()) as tpm:
        assert Versions.parse(tpm.nv_read(TUF_VERSIONS, identity.nv_auths["tuf-versions"])) == NONE_SEEN
        lak = attestation_key(tpm)
        ldevid = load_ldevid(tpm, CreatedKey(identity.ldevid_public, identity.ldevid_private))
        tpm.quote(lak, b"q", PcrSelection.of({HashAlg.SHA256: [0]}))
        assert len(tpm.sign(ldevid, bytes(32))) == 64


def test_an_identity_that_could_not_be_kept_leaves_the_tpm_without_an_owner(everybody: World, tmp_path: Path) -> None:
    def full(identity: DeviceIdentity) -> None:
        raise OSError("disk full")

    with everybody.gateway(tmp_path / "tpm") as gateway:
        authority, enrollee = everybody.authority(gateway.entry), gateway.enrollee()
        challenge, pending = authority.challenge(enrollee.request(), NOW)
        answer = authority.answer(pending, enrollee.proof(challenge), NOW).answer
        with pytest.raises(OSError, match="disk full"):
            enrollee.accept(answer, full)
        assert not gateway.tpm.ownership_taken()


def test_a_tpm_that_was_not_prepared(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as swtpm, TssTpm(swtpm.tcti()) as tpm:
        with pytest.raises(TpmFault, match="certificate-missing") as caught:
            Gateway(swtpm, tpm, ORDER.entry(bytes(32))).enrollee().request()
        assert "0x01c0000a" in caught.value.place
