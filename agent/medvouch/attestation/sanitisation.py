"""Decommissioning a TPM (DESIGN §8), and the proof of it: TPM2_Clear, then in the same boot a quote by the IAK.

TPM2_Clear makes new storage seeds and sets clock, resetCount and restartCount to zero; the IAK, an endorsement primary,
outlives it. A signature by the IAK alone could predate the Clear; a quote with resetCount 0 and a small clock cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.provisioning import IAK_TEMPLATE
from medvouch.crypto import tpm as tpm_checks
from medvouch.errors import InputError, Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import device_id
from medvouch.formats.sanitisation import SanitisationCertificate, Sanitised, qualifier
from medvouch.formats.tpm import Attest, ClockInfo, PcrSelection, QuoteInfo
from medvouch.formats.tpm_public import Public
from medvouch.ports import Tpm

SELECTION = PcrSelection.of({HashAlg.SHA256: [0]})
"""What is quoted. TPM2_Quote wants some PCRs; the proof is in the quote's clock, so their values are of no account."""
MAX_SANITISED_CLOCK_MS = 10 * 60 * 1000
"""How long after TPM2_Clear the quote may come; the device makes it at once."""


@dataclass(frozen=True)
class VerifiedSanitisation:
    """A device that is sanitised: its certificate, and the TPM's clock since the Clear."""

    certificate: SanitisationCertificate
    clock: ClockInfo


def sanitise(tpm: Tpm, lockout: bytes, certificate: SanitisationCertificate, nonce: bytes) -> bytes:
    """TPM2_Clear with the lockout auth, and the message that proves it to whoever gave `nonce`.

    Where power is lost in between, or the message on its way, it is done again, then with another nonce: a TPM that is
    cleared has no owner, and an empty auth clears it. Raises TpmFault.
    """
    tpm.clear(lockout if tpm.ownership_taken() else b"")
    encoded = certificate.encode()
    iak = tpm.create_primary(IAK_TEMPLATE)
    try:
        return Sanitised(encoded, tpm.quote(iak, qualifier(encoded, nonce), SELECTION)).encode()
    finally:
        tpm.flush(iak)


def verify_sanitisation(
    message: bytes, iak_public: bytes, nonce: bytes, device: str, *, resets_in_service: int | None = None
) -> VerifiedSanitisation:
    """Judge a device's last message; `iak_public` is the TPMT_PUBLIC of its enrolment, `device` its id.

    `resets_in_service` is the resetCount of the last evidence accepted, where there was any: zero says that the TPM was
    cleared before it was enrolled and has not been reset since, so its clock proves no second Clear.

    1. The IAK of the enrolment signed a quote.
    2. The quote is over this certificate, for this nonce.
    3. The certificate is this device's.
    4. The TPM was cleared and not reset since.
    5. It was cleared just before.

    Raises InputError, Refusal `sanitisation-*`.
    """
    sanitised = Sanitised.parse(message)
    attest = _quoted(sanitised, iak_public)  # 1
    if attest.extra_data != qualifier(sanitised.certificate, nonce):  # 2
        detail = "the quote is over another certificate, or for another nonce"
        raise Refusal(refusals.SANITISATION_BINDING_MISMATCH, detail)
    certificate = SanitisationCertificate.parse(sanitised.certificate)
    if not certificate.device_id == device_id(certificate.ueid) == device:  # 3
        detail = f"{certificate.device_id} says that it is sanitised, {device} was asked"
        raise Refusal(refusals.SANITISATION_OTHER_DEVICE, detail)
    clock = attest.clock_info
    if clock.reset_count != 0:  # 4
        detail = f"the TPM was reset {clock.reset_count} times since it was last cleared"
        raise Refusal(refusals.SANITISATION_BEFORE_CLEAR, detail)
    if resets_in_service == 0:
        raise Refusal(refusals.SANITISATION_BEFORE_CLEAR, "the TPM was cleared before it was in service already")
    if clock.clock > MAX_SANITISED_CLOCK_MS:  # 5
        raise Refusal(refusals.SANITISATION_TOO_LATE, f"{clock.clock // 1000} s after TPM2_Clear")
    return VerifiedSanitisation(certificate, clock)


def _quoted(sanitised: Sanitised, iak_public: bytes) -> Attest:
    try:
        key = tpm_checks.public_key(Public.parse(iak_public))
        attest = tpm_checks.verify_attest(sanitised.quote, key).attest
    except (Refusal, InputError) as cause:
        raise Refusal(refusals.SANITISATION_SIGNATURE_INVALID, f"{cause.code}: {cause.detail}") from cause
    if not isinstance(attest.attested, QuoteInfo):
        raise Refusal(refusals.SANITISATION_SIGNATURE_INVALID, "the IAK signed something else than a quote")
    return attest
