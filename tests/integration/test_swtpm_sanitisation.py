"""Decommissioning a real (software) TPM, and what proves it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation import refusals
from medvouch.attestation.provisioning import (
    EK_TEMPLATE,
    IAK_TEMPLATE,
    IDEVID_TEMPLATE,
    LAK_HANDLE,
    PARENT_HANDLE,
    HierarchyAuths,
    Provisioned,
    attestation_key,
    ek_hash,
    load_ldevid,
    provision,
    take_ownership,
)
from medvouch.attestation.sanitisation import (
    MAX_SANITISED_CLOCK_MS,
    SELECTION,
    VerifiedSanitisation,
    sanitise,
    verify_sanitisation,
)
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError, RefusalKind, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import device_id, ueid
from medvouch.formats.sanitisation import TPM2_CLEAR, SanitisationCertificate, Sanitised, qualifier
from medvouch.formats.tpm import Attest, Signature, SignatureAlg, SignedAttest
from medvouch.formats.tpm_public import Public
from medvouch.ports import CreatedKey
from medvouch_sim.swtpm import SwTpm, command
from support.authorities import key
from support.refusing import assert_refused
from support.tpms import OsEntropy

NONCE = b"n" * 32
CLOCK_SET, RH_OWNER = 0x128, 0x40000001


@dataclass
class Device:
    """A gateway in service, with data sealed to its TPM."""

    chip: SwTpm
    tpm: TssTpm
    made: Provisioned
    auths: HierarchyAuths
    sealed: CreatedKey
    certificate: SanitisationCertificate

    @property
    def id(self) -> str:
        return self.certificate.device_id

    def sanitise(self) -> bytes:
        return sanitise(self.tpm, self.auths.lockout, self.certificate, NONCE)

    def quoted(self, template: bytes = IAK_TEMPLATE) -> bytes:
        """What `sanitise` says, of a TPM as it is."""
        encoded = self.certificate.encode()
        by = self.tpm.create_primary(template)
        try:
            return Sanitised(encoded, self.tpm.quote(by, qualifier(encoded, NONCE), SELECTION)).encode()
        finally:
            self.tpm.flush(by)

    def verify(self, message: bytes, nonce: bytes = NONCE, resets_in_service: int | None = 1) -> VerifiedSanitisation:
        return verify_sanitisation(message, self.made.iak_public, nonce, self.id, resets_in_service=resets_in_service)

    def refused(self, kind: RefusalKind, message: bytes) -> None:
        assert_refused(kind, self.verify, message)

    def reconnect(self) -> None:
        """The agent after a reset."""
        self.tpm.close()
        self.chip.power_cycle()
        self.tpm = TssTpm(self.chip.tcti())


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with SwTpm(tmp_path / "tpm") as chip:
        tpm, auths = TssTpm(chip.tcti()), HierarchyAuths.draw(OsEntropy())
        made = provision(tpm, OsEntropy(), key("floor").public_key())
        parent = tpm.persistent(PARENT_HANDLE)
        assert parent is not None
        sealed = tpm.seal(parent, b"data key")
        tpm.flush(parent)
        take_ownership(tpm, auths)
        identifier = ueid(ek_hash(made.ek_public))
        certificate = SanitisationCertificate(
            identifier, device_id(identifier), "SN-1", 0, bytes(32), 0, TPM2_CLEAR, 1_800_000_000_000, True, "Owner"
        )
        serving = Device(chip, tpm, made, auths, sealed, certificate)
        yield serving
        serving.tpm.close()


def test_a_sanitised_device_proves_it(device: Device) -> None:
    verified = device.verify(device.sanitise())
    assert verified.certificate == device.certificate
    assert verified.clock.reset_count == 0
    assert verified.clock.clock < 60_000
    assert device.verify(device.quoted(), resets_in_service=None).certificate == device.certificate


def test_nothing_in_service_is_left_and_the_maker_s_keys_are(device: Device) -> None:
    tpm = device.tpm
    device.sanitise()
    assert tpm.persistent(LAK_HANDLE) is tpm.persistent(PARENT_HANDLE) is None
    for use in (lambda: attestation_key(tpm), lambda: load_ldevid(tpm, device.made.ldevid)):
        with pytest.raises(TpmFault, match="tpm-not-provisioned"):
            use()
    for template, public in (
        (EK_TEMPLATE, device.made.ek_public),
        (IDEVID_TEMPLATE, device.made.idevid_public),
        (IAK_TEMPLATE, device.made.iak_public),
    ):
        primary = tpm.create_primary(template)
        assert tpm.read_public(primary) == public
        tpm.flush(primary)
    provision(tpm, OsEntropy(), key("floor").public_key())
    parent = tpm.persistent(PARENT_HANDLE)
    assert parent is not None
    with pytest.raises(TpmFault, match="TPM2_Load"):
        tpm.load(parent, device.sealed)


def test_sealed_data_opens_until_then(device: Device) -> None:
    parent = device.tpm.persistent(PARENT_HANDLE)
    assert parent is not None
    assert device.tpm.unseal(device.tpm.load(parent, device.sealed)) == b"data key"


def test_another_lockout_auth_sanitises_nothing(device: Device) -> None:
    with pytest.raises(TpmFault, match="TPM2_Clear"):
        sanitise(device.tpm, device.auths.owner, device.certificate, NONCE)
    load_ldevid(device.tpm, device.made.ldevid)


def test_a_quote_from_before(device: Device) -> None:
    early = device.quoted()
    device.refused(refusals.SANITISATION_BEFORE_CLEAR, early)
    device.sanitise()
    device.refused(refusals.SANITISATION_BEFORE_CLEAR, early)


def test_a_quote_after_a_further_reset(device: Device) -> None:
    device.sanitise()
    device.reconnect()
    device.refused(refusals.SANITISATION_BEFORE_CLEAR, device.quoted())


def test_power_lost_after_the_clear_is_made_good_by_another(device: Device) -> None:
    device.tpm.clear(device.auths.lockout)
    device.reconnect()
    device.verify(device.sanitise())


def test_a_device_that_was_cleared_before_it_was_enrolled(device: Device) -> None:
    """Its clock says nothing of a second Clear until it is reset; then it does."""
    assert_refused(refusals.SANITISATION_BEFORE_CLEAR, device.verify, device.sanitise(), NONCE, 0)


def test_a_quote_long_after(device: Device) -> None:
    device.sanitise()

    def advance(clock_ms: int) -> None:
        data = command(CLOCK_SET, RH_OWNER, parameters=clock_ms.to_bytes(8, "big"), password=b"")
        assert device.chip.raw(data)[6:10] == bytes(4)

    advance(MAX_SANITISED_CLOCK_MS - 60_000)
    device.verify(device.quoted())
    advance(MAX_SANITISED_CLOCK_MS + 1)
    device.refused(refusals.SANITISATION_TOO_LATE, device.quoted())


def test_another_nonce_or_certificate(device: Device) -> None:
    message = device.sanitise()
    assert_refused(refusals.SANITISATION_BINDING_MISMATCH, device.verify, message, bytes(32))
    sanitised = Sanitised.parse(message)
    other = replace(device.certificate, accountable_owner="Nobody").encode()
    device.refused(refusals.SANITISATION_BINDING_MISMATCH, replace(sanitised, certificate=other).encode())


@pytest.mark.parametrize("change", [{"device_id": "0" * 32}, {"ueid": ueid(bytes(32))}])
def test_another_device(device: Device, change: dict[str, str]) -> None:
    own, asked = device.certificate, device.id
    device.certificate = replace(own, **change)  # type: ignore[arg-type]
    message = device.sanitise()
    assert_refused(
        refusals.SANITISATION_OTHER_DEVICE, verify_sanitisation, message, device.made.iak_public, NONCE, asked
    )
    device.certificate = own
    whole = device.sanitise()
    assert_refused(
        refusals.SANITISATION_OTHER_DEVICE, verify_sanitisation, whole, device.made.iak_public, NONCE, "0" * 32
    )


def test_plain_signatures_and_those_of_other_keys(device: Device) -> None:
    """Even over the very bytes that the IAK quoted."""
    sanitised = Sanitised.parse(device.sanitise())
    attest = sanitised.quote.attest
    raw = SoftwareSigner(key("stranger")).sign(attest)
    strange = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (raw[:32], raw[32:])).encode()
    idevid = device.tpm.create_primary(IDEVID_TEMPLATE)
    plain = device.tpm.sign(idevid, hashlib.sha256(attest).digest())
    device.tpm.flush(idevid)
    by_idevid = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (plain[:32], plain[32:])).encode()
    later = replace(Attest.parse(attest), clock_info=replace(Attest.parse(attest).clock_info, clock=1)).encode()
    for forged in (
        SignedAttest(attest, strange),
        SignedAttest(attest, by_idevid),
        SignedAttest(attest, b""),
        SignedAttest(later, sanitised.quote.signature),
        SignedAttest(qualifier(sanitised.certificate, NONCE), sanitised.quote.signature),
    ):
        device.refused(refusals.SANITISATION_SIGNATURE_INVALID, replace(sanitised, quote=forged).encode())
    device.refused(refusals.SANITISATION_SIGNATURE_INVALID, device.quoted(replace_unique(IAK_TEMPLATE)))


def replace_unique(template: bytes) -> bytes:
    """The template of another key of the same kind and TPM."""
    public = Public.parse(template)
    return replace(public, unique=(b"IAK2", b"IAK2")).encode()


def test_what_the_iak_says_otherwise_is_no_quote(device: Device) -> None:
    encoded = device.certificate.encode()
    device.tpm.clear(device.auths.lockout)
    iak, ek = device.tpm.create_primary(IAK_TEMPLATE), device.tpm.create_primary(IDEVID_TEMPLATE)
    signed = device.tpm.certify(ek, iak, qualifier(encoded, NONCE))
    device.refused(refusals.SANITISATION_SIGNATURE_INVALID, Sanitised(encoded, signed).encode())


def test_malformed_messages_are_input_errors(device: Device) -> None:
    message = device.sanitise()
    for wrong in (b"", message[:-1], message + b"\0"):
        with pytest.raises(InputError):
            device.verify(wrong)
