"""What the public area of a key must say for the role the key is to play."""

from __future__ import annotations

from medvouch.attestation import refusals
from medvouch.errors import Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm_public import Curve, EccParameters, ObjectAttribute, Public, Scheme, SchemeAlg

_BOUND = ObjectAttribute.FIXED_TPM | ObjectAttribute.FIXED_PARENT | ObjectAttribute.SENSITIVE_DATA_ORIGIN
"""Made by its TPM and never to leave it."""
_OTHER_USES = ObjectAttribute.DECRYPT | ObjectAttribute.X509_SIGN
_PARAMETERS = EccParameters(None, Scheme(SchemeAlg.ECDSA, HashAlg.SHA256), Curve.P256)


def check_attestation_key(key: Public, *, name: str) -> None:
    """An attestation key of ours (IAK, LAK): `check_any_attestation_key`, ECDSA P-256 with SHA-256.

    Raises Refusal `key-not-tpm-bound`, `ak-not-restricted`, `key-attributes-wrong`.
    """
    check_any_attestation_key(key, name=name)
    _check_parameters(key, name)


def check_device_key(key: Public, *, name: str) -> None:
    """A device key of ours (IDevID, LDevID): `check_any_device_key`, ECDSA P-256 with SHA-256.

    Raises Refusal `key-not-tpm-bound`, `key-attributes-wrong`.
    """
    check_any_device_key(key, name=name)
    _check_parameters(key, name)


def check_any_attestation_key(key: Public, *, name: str) -> None:
    """An attestation key is bound to its TPM and signs only what that TPM itself says, by whatever algorithm.

    Raises as `check_attestation_key`.
    """
    _check_signing_key(key, name)
    if not key.attributes & ObjectAttribute.RESTRICTED:
        raise Refusal(refusals.AK_NOT_RESTRICTED, "its attributes lack `restricted`", place=name)


def check_any_device_key(key: Public, *, name: str) -> None:
    """A device key is bound to its TPM and signs what the device says, unlike an attestation key.

    Raises as `check_device_key`.
    """
    _check_signing_key(key, name)
    if key.attributes & ObjectAttribute.RESTRICTED:
        raise Refusal(refusals.KEY_ATTRIBUTES_WRONG, "a restricted key signs no messages", place=name)


def check_bound(key: Public, *, name: str) -> None:
    """A key of any use was made in its TPM and stays there. Raises Refusal `key-not-tpm-bound`."""
    if key.attributes & _BOUND != _BOUND:
        raise Refusal(refusals.KEY_NOT_TPM_BOUND, f"its attributes lack {_BOUND & ~key.attributes!r}", place=name)


def _check_signing_key(key: Public, name: str) -> None:
    """In the TPM for good, and for nothing but signing."""
    check_bound(key, name=name)
    if not key.attributes & ObjectAttribute.SIGN or key.attributes & _OTHER_USES:
        raise Refusal(refusals.KEY_ATTRIBUTES_WRONG, "not for signing alone", place=name)


def _check_parameters(key: Public, name: str) -> None:
    if key.name_alg is not HashAlg.SHA256 or key.parameters != _PARAMETERS:
        raise Refusal(refusals.KEY_ATTRIBUTES_WRONG, "not ECDSA P-256 with SHA-256", place=name)
