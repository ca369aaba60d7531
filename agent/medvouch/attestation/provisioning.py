"""The keys and NV indexes that commissioning gives a gateway's TPM, and how the TPM then gets an owner (DESIGN §3).

All of it stands in the endorsement hierarchy's storage and the owner's NV, so it dies with TPM2_Clear; EK, IDevID and
IAK are endorsement primaries, made again from their templates whenever they are wanted, and survive it.

The order makes a crash harmless. `provision` needs the owner's auth to be empty still, removes what an interrupted
earlier run has left, and makes everything anew. `take_ownership` comes last, when its auths are safely in escrow; it
sets what is not set yet, so after a crash in between it is called again with the same auths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from medvouch.crypto.keys import PublicKey, spki
from medvouch.crypto.tpm import name, policy_authorize, public_key, software_public
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.enrolment import ueid
from medvouch.formats.tpm_public import (
    Curve,
    EccParameters,
    NvAttribute,
    NvPublic,
    ObjectAttribute,
    Public,
    Scheme,
    SchemeAlg,
    Symmetric,
)
from medvouch.formats.tuf_versions import NONE_SEEN, VERSIONS_BYTES
from medvouch.ports import CreatedKey, Entropy, KeyHandle, Tpm

EK_CERTIFICATE_INDEX = 0x01C0000A
"""NV index of the P-256 EK's certificate (TCG EK Credential Profile, 2.2.1.4)."""

PARENT_HANDLE = 0x81016D00
"""The storage parent of all in-service keys; an owner's handle in the range for endorsement keys."""
LAK_HANDLE = 0x81016D01
"""The attestation key in service."""

LEDGER_COUNTER = 0x01806D00
"""Counts checkpoints."""
LEDGER_HEAD = 0x01806D01
"""Extended with every checkpoint's root."""
FLOOR_COUNTER = 0x01806D02
"""The security epoch below which no release is installed; only the floor authority's approvals raise it."""

TUF_VERSIONS = 0x01806D03
"""The versions of the update repository that the device has seen (`formats.tuf_versions`)."""

AUTH_BYTES = 32

_BOUND = ObjectAttribute.FIXED_TPM | ObjectAttribute.FIXED_PARENT | ObjectAttribute.SENSITIVE_DATA_ORIGIN
_IN_SERVICE = _BOUND | ObjectAttribute.USER_WITH_AUTH | ObjectAttribute.NO_DA
_IDENTITY = _BOUND | ObjectAttribute.USER_WITH_AUTH | ObjectAttribute.ADMIN_WITH_POLICY | ObjectAttribute.SIGN
_SIGNING = EccParameters(None, Scheme(SchemeAlg.ECDSA, HashAlg.SHA256), Curve.P256)
_STORAGE = EccParameters(Symmetric(128), None, Curve.P256)
_NONE = (b"", b"")


def _template(
    attributes: ObjectAttribute, parameters: EccParameters, policy: str, unique: tuple[bytes, bytes]
) -> bytes:
    return Public(HashAlg.SHA256, attributes, bytes.fromhex(policy), parameters, unique).encode()


EK_TEMPLATE = _template(
    _BOUND | ObjectAttribute.ADMIN_WITH_POLICY | ObjectAttribute.RESTRICTED | ObjectAttribute.DECRYPT,
    _STORAGE,
    "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa",
    (bytes(32), bytes(32)),
)
"""L-2: ECC P-256, SHA-256 (TCG EK Credential Profile, B.3.4); its policy is PolicySecret(endorsement)."""

IDEVID_TEMPLATE = _template(
    _IDENTITY,
    _SIGNING,
    "ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea",
    (b"IDEVID", b"IDEVID"),
)
"""ECC P-256, SHA-256, unrestricted (TCG TPM 2.0 Keys for Device Identity and Attestation, 7.3.4)."""

IAK_TEMPLATE = _template(
    _IDENTITY | ObjectAttribute.RESTRICTED,
    _SIGNING,
    "5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07",
    (b"IAK", b"IAK"),
)
"""ECC P-256, SHA-256, restricted (likewise)."""

PARENT_TEMPLATE = _template(_IN_SERVICE | ObjectAttribute.RESTRICTED | ObjectAttribute.DECRYPT, _STORAGE, "", _NONE)
"""The endorsement storage key above LAK and LDevID: unlike the EK usable without a policy session, and never locked."""

LAK_TEMPLATE = _template(_IN_SERVICE | ObjectAttribute.RESTRICTED | ObjectAttribute.SIGN, _SIGNING, "", _NONE)
"""The attestation key in service: signs only what its TPM itself says."""

LDEVID_TEMPLATE = _template(_IN_SERVICE | ObjectAttribute.SIGN, _SIGNING, "", _NONE)
"""The device key in service: signs the claims."""


def nv_layout(floor_authority: PublicKey, reference: bytes) -> Mapping[str, NvPublic]:
    """The NV indexes as they are defined, by name: `ledger-counter`, `ledger-head`, `floor`, `tuf-versions`.

    None counts for dictionary attacks: power cuts would lock the TPM. All may be read with the auth that is made for
    them; the floor's counter is moved only by policies that the floor authority signed for the device `reference`
    (its UEID).
    """
    read = NvAttribute.AUTHREAD | NvAttribute.OWNERREAD | NvAttribute.NO_DA
    ledger = read | NvAttribute.AUTHWRITE
    floor_policy = policy_authorize(name(software_public(floor_authority)), reference)
    floor = read | NvAttribute.POLICYREAD | NvAttribute.POLICYWRITE | NvAttribute.COUNTER
    return {
        "ledger-counter": NvPublic(LEDGER_COUNTER, HashAlg.SHA256, ledger | NvAttribute.COUNTER, b"", 8),
        "ledger-head": NvPublic(LEDGER_HEAD, HashAlg.SHA256, ledger | NvAttribute.EXTEND, b"", HashAlg.SHA256.size),
        "floor": NvPublic(FLOOR_COUNTER, HashAlg.SHA256, floor, floor_policy, 8),
        "tuf-versions": NvPublic(TUF_VERSIONS, HashAlg.SHA256, ledger, b"", VERSIONS_BYTES),
    }


@dataclass(frozen=True)
class HierarchyAuths:
    """What owns a TPM; sealed to the accountable owner, never kept on the device."""

    owner: bytes = field(repr=False)
    lockout: bytes = field(repr=False)

    @classmethod
    def draw(cls, entropy: Entropy) -> HierarchyAuths:
        """Random ones."""
        return cls(entropy.bytes(AUTH_BYTES), entropy.bytes(AUTH_BYTES))


@dataclass(frozen=True)
class Provisioned:
    """What `provision` made. `*_public` are TPMT_PUBLIC, `nv_publics` TPMS_NV_PUBLIC by the names of `nv_layout`.

    `ldevid` is loaded below PARENT_HANDLE at every start; `nv_auths` by the same names are the agent's to keep.
    """

    ek_public: bytes
    idevid_public: bytes
    iak_public: bytes
    parent_public: bytes
    lak_public: bytes
    ldevid: CreatedKey
    nv_publics: Mapping[str, bytes]
    nv_auths: Mapping[str, bytes] = field(repr=False)


def provision(tpm: Tpm, entropy: Entropy, floor_authority: PublicKey) -> Provisioned:
    """Make the in-service keys and NV indexes in a TPM that nobody owns yet; whatever stands at their handles goes.

    Raises TpmFault `tpm-owned` where somebody owns it, and those of the TPM.
    """
    if tpm.ownership_taken():
        raise TpmFault(
            "tpm-owned",
            "the TPM has an owner already",
            remedy="enrol with the identity it has, or have its owner clear it (TPM2_Clear with the escrowed auth)",
        )
    parent_public, lak_public, ldevid = _make_keys(tpm)
    ek_public = _primary_public(tpm, EK_TEMPLATE)
    nv_publics, nv_auths = _define_indexes(tpm, entropy, nv_layout(floor_authority, ueid(ek_hash(ek_public))))
    tpm.nv_write(TUF_VERSIONS, nv_auths["tuf-versions"], NONE_SEEN.encode())  # so that one defined anew shows
    return Provisioned(
        ek_public=ek_public,
        idevid_public=_primary_public(tpm, IDEVID_TEMPLATE),
        iak_public=_primary_public(tpm, IAK_TEMPLATE),
        parent_public=parent_public,
        lak_public=lak_public,
        ldevid=ldevid,
        nv_publics=nv_publics,
        nv_auths=nv_auths,
    )


def ek_hash(ek_public: bytes) -> bytes:
    """How manifests and identifiers name an EK: SHA-256 of its SubjectPublicKeyInfo."""
    return hashlib.sha256(spki(public_key(Public.parse(ek_public)))).digest()


def take_ownership(tpm: Tpm, auths: HierarchyAuths) -> None:
    """Set owner and lockout auth, those of them that are empty still. Raises TpmFault."""
    tpm.set_hierarchy_auths(auths.owner, auths.lockout)


def load_ldevid(tpm: Tpm, ldevid: CreatedKey) -> KeyHandle:
    """The device key, loaded below its parent. Raises TpmFault `tpm-not-provisioned`, or where it is another TPM's."""
    parent = _standing(tpm, PARENT_HANDLE)
    try:
        return tpm.load(parent, ldevid)
    finally:
        tpm.flush(parent)


def seal_data(tpm: Tpm, data: bytes) -> CreatedKey:
    """`data` sealed below the storage parent: it opens in this TPM alone, and nowhere once that was cleared.

    At most 128 bytes. Raises TpmFault `tpm-not-provisioned`.
    """
    parent = _standing(tpm, PARENT_HANDLE)
    try:
        return tpm.seal(parent, data)
    finally:
        tpm.flush(parent)


def unseal_data(tpm: Tpm, sealed: CreatedKey) -> bytes:
    """What was sealed. Raises TpmFault: `tpm-not-provisioned`, or another TPM sealed it, or this one before a Clear."""
    parent = _standing(tpm, PARENT_HANDLE)
    try:
        key = tpm.load(parent, sealed)
    finally:
        tpm.flush(parent)
    try:
        return tpm.unseal(key)
    finally:
        tpm.flush(key)


def attestation_key(tpm: Tpm) -> KeyHandle:
    """The LAK. Raises TpmFault `tpm-not-provisioned`."""
    return _standing(tpm, LAK_HANDLE)


def _standing(tpm: Tpm, handle: int) -> KeyHandle:
    if (key := tpm.persistent(handle)) is None:
        raise TpmFault(
            "tpm-not-provisioned",
            f"there is no key at 0x{handle:08x}: never provisioned, or cleared since",
            remedy="enrol the device (again)",
        )
    return key


def _make_keys(tpm: Tpm) -> tuple[bytes, bytes, CreatedKey]:
    """Parent and LAK persisted, LDevID made; the public areas of the first two."""
    for handle in (LAK_HANDLE, PARENT_HANDLE):
        tpm.evict(handle)
    parent = tpm.persist(tpm.create_primary(PARENT_TEMPLATE), PARENT_HANDLE)
    lak = tpm.create(parent, LAK_TEMPLATE)
    tpm.flush(tpm.persist(tpm.load(parent, lak), LAK_HANDLE))
    ldevid = tpm.create(parent, LDEVID_TEMPLATE)
    parent_public = tpm.read_public(parent)
    tpm.flush(parent)
    return parent_public, lak.public, ldevid


def _define_indexes(
    tpm: Tpm, entropy: Entropy, layout: Mapping[str, NvPublic]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    publics: dict[str, bytes] = {}
    auths: dict[str, bytes] = {}
    for label, public in layout.items():
        publics[label], auths[label] = public.encode(), entropy.bytes(AUTH_BYTES)
        tpm.nv_undefine(public.index)
        tpm.nv_define(publics[label], auths[label])
    return publics, auths


def _primary_public(tpm: Tpm, template: bytes) -> bytes:
    key = tpm.create_primary(template)
    try:
        return tpm.read_public(key)
    finally:
        tpm.flush(key)
