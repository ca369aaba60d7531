"""The trust document on the disk, and what the commands need of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from medvouch.adapters.files import read_bounded
from medvouch.crypto.keys import PublicKey, load_spki
from medvouch.errors import ConfigFault, InputError, Refusal, StorageFault
from medvouch.formats.trust import TrustDocument, key_name
from medvouch.lifecycle.roles import TrustedRole

MAX_TRUST_BYTES = 4 * 1024 * 1024
AGENT_ROLES = ("appraiser", "commander", "enrolment", "owner")
"""Whom a device must know: who judges it, commands it, enrols it and owns it."""
JOINT_ROLES = ("release", "quality")
"""Whose messages carry several signatures, so that any threshold can be met."""


def read_trust(path: Path) -> TrustDocument:
    """A trust document; ConfigFault `trust-unreadable` where there is none."""
    try:
        return TrustDocument.parse(read_bounded(path, MAX_TRUST_BYTES))
    except StorageFault as error:
        remedy = "install the trust document of your fleet there"
        raise ConfigFault("trust-unreadable", error.detail, remedy=remedy) from error
    except InputError as error:
        detail = f"{path} is no trust document: {error.detail}"
        raise ConfigFault("trust-unreadable", detail, place=error.place, remedy="get a whole one, unaltered") from error


def role_of(trust: TrustDocument, role: str) -> TrustedRole:
    """A role of it; ConfigFault where nobody fills it, a key is not usable, or one signature is not enough for a role
    whose messages carry one.
    """
    found = trust.roles.get(role)
    if found is None:
        raise _incomplete(f"the role {role!r} is not filled", f"name the keys of the role {role!r} in it")
    if found.threshold != 1 and role not in JOINT_ROLES:
        detail = f"the role {role!r} wants {found.threshold} signatures, and messages carry one"
        raise _incomplete(detail, "set its threshold to 1")
    try:
        keys = [load_spki(key) for key in found.keys]
    except InputError as error:
        raise _incomplete(f"the role {role!r} has an unusable key: {error.detail}", "replace that key in it") from error
    limited = {key: trust.components[name] for key in found.keys if (name := key_name(key)) in trust.components}
    components = {key: [tuple(each.encode().split(b"/")) for each in names] for key, names in limited.items()}
    return TrustedRole(role, keys, found.expires, trust.expires, found.threshold, components)


def keys_of(trust: TrustDocument, role: str) -> Sequence[PublicKey]:
    """The public keys of a role, whether or not it has expired. Raises as `role_of`."""
    return role_of(trust, role).keys


def keys_at(trust: TrustDocument, role: str, at: int) -> Sequence[PublicKey]:
    """Those in force at a time (s since 1970). Raises as `role_of`, ConfigFault `trust-expired`, `role-expired`."""
    try:
        return role_of(trust, role).at(at)
    except Refusal as error:
        remedy = "get the current trust document, or judge at an earlier time (--at)"
        raise ConfigFault(error.code, error.detail, remedy=remedy) from error


def owner_key(trust: TrustDocument) -> EllipticCurvePublicKey:
    """What the TPM's authorisations are sealed to: the accountable owner's key (ECDH, so an EC one)."""
    for key in keys_of(trust, "owner"):
        if isinstance(key, EllipticCurvePublicKey):
            return key
    raise _incomplete("the role 'owner' has no ECC key", "put an ECC key of the accountable owner into it")


def check_agent_trust(path: Path) -> TrustDocument:
    """A trust document with all that an agent needs; ConfigFault names what is missing."""
    return _serving(read_trust(path))


def _serving(trust: TrustDocument) -> TrustDocument:
    for role in AGENT_ROLES:
        keys_of(trust, role)
    owner_key(trust)
    return trust


def parse_agent_trust(data: bytes) -> TrustDocument:
    """The same of one that the update repository brought: it must name who releases, too."""
    try:
        trust = _serving(TrustDocument.parse(data))
    except InputError as error:
        remedy = "publish a whole one"
        detail = f"the repository's is no trust document: {error.detail}"
        raise ConfigFault("trust-unreadable", detail, place=error.place, remedy=remedy) from error
    for role in JOINT_ROLES:
        keys_of(trust, role)
    return trust


def _incomplete(detail: str, remedy: str) -> ConfigFault:
    return ConfigFault("trust-incomplete", f"the trust document cannot be used: {detail}", remedy=remedy)
