"""The Tpm port on the TCG software stack: tpm2-pytss' ESAPI over any TCTI."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tpm2_pytss import (
    ESAPI,
    ESYS_TR,
    TCTI,
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_NV_PUBLIC,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPML_DIGEST,
    TPML_DIGEST_VALUES,
    TPML_PCR_SELECTION,
    TPMS_NV_PUBLIC,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SYM_DEF,
    TPMT_TK_HASHCHECK,
    TSS2_Exception,
)
from tpm2_pytss.constants import TPM2_ALG, TPM2_CAP, TPM2_CC, TPM2_RH, TPM2_SE, TPM2_ST, TPMA_PERMANENT

from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.tpm import MAX_DIGEST_BYTES, ClockInfo, PcrSelection, Signature, SignedAttest
from medvouch.formats.tpm_public import NvAttribute, NvPublic, ObjectAttribute, Public
from medvouch.ports import CreatedKey, KeyHandle

MAX_RANDOM_BYTES = 32
"""What every TPM gives in one TPM2_GetRandom."""
PCR_READ_DIGESTS = 8
"""TPML_DIGEST holds no more (Part 2, 10.9.2)."""
PCR_READ_ATTEMPTS = 8
"""How often PCRs are read over again because one of them was extended in between."""
COORDINATE_BYTES = 32

_POLICY_SECRET = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_POLICY_CERTIFY = bytes.fromhex("b2a69e6391e2684a0fe752d39e14acd2e5cb922e4bd035830eea31f2aabe9870")
_POLICY_ACTIVATE = bytes.fromhex("cd9917cf18c3848c3a2e606986a066c68142f9bc2710a278287a650ca3bbf245")
_POLICY_IDEVID_NV = bytes.fromhex("629c50b05f1adb5b4297feb241549d4217a1c792c162feb861022def88fa9501")
_POLICY_IAK_NV = bytes.fromhex("101e689dadf145222412c05b76e14532af1e5c74208e0ae7cdb0cff1906c8a09")
_ADMIN_BRANCHES = {
    bytes.fromhex("ad6b3a2284fd698a0710bf5cc1b9bdf15e2532e3f601fa4b93a6a8fa8de579ea"): _POLICY_IDEVID_NV,
    bytes.fromhex("5437182326e414fca797d5f174615a1641f61255797c3a2b22c21d120b2d1e07"): _POLICY_IAK_NV,
}
"""By authPolicy of IDevID and IAK, the fourth branch of their PolicyOR(secret, secret and Certify, secret and
ActivateCredential, NV), where secret is PolicySecret(endorsement) (TCG TPM 2.0 Keys for Device Identity and
Attestation, 7.3.6)."""

_PT_PERMANENT, _PT_NV_BUFFER_MAX = 0x200, 0x12C
_TCTI_LAYER = 10
_REMEDIES = {
    0x921: "the TPM is in dictionary-attack lockout: wait for its recovery time or reset it with the lockout auth",
    0x923: "the TPM limits its NV writes: try again later",
    0x14B: "the TPM has no NV space left: undefine indexes that nobody needs",
    0x98E: "an authorisation value is wrong: ownership was taken by someone else",
    0x9A2: "an authorisation value is wrong: ownership was taken by someone else",
    0x902: "the TPM is full of loaded objects: use it through a resource manager (device:/dev/tpmrm0)",
}
_FORMAT_ONE, _ERROR_MASK, _RC_BAD_AUTH_BASE = 0x080, 0x0BF, 0x900


def _fault(doing: str, error: TSS2_Exception) -> TpmFault:
    code = int(error.rc)
    if code >> 16 == _TCTI_LAYER:
        remedy = "check that the TPM is there, that this user may open it, and the TCTI in the configuration"
        return TpmFault("tpm-unreachable", str(error), place=doing, remedy=remedy)
    bare = (code & _ERROR_MASK) | _RC_BAD_AUTH_BASE if code & _FORMAT_ONE else code & 0xFFF
    return TpmFault("tpm-refused", f"{error} (0x{code:x})", place=doing, remedy=_REMEDIES.get(bare, ""))


@contextmanager
def _command(doing: str) -> Iterator[None]:
    """Any failure of the stack within is the TpmFault of `doing`."""
    try:
        yield
    except TSS2_Exception as error:
        raise _fault(doing, error) from error


def _unmarshal(kind: Any, data: bytes) -> Any:
    value, used = kind.unmarshal(data)
    if used != len(data):
        raise TpmFault("tpm-refused", f"{len(data) - used} bytes after the end of a {kind.__name__}")
    return value


def _digests(data: bytes) -> list[bytes]:
    """Those of a TPML_DIGEST (Part 2, 10.9.2): one by one the stack hands them out at the cost of a TPM command."""
    cursor = Cursor(data, "tpm")
    return [cursor.sized(2, MAX_DIGEST_BYTES) for _ in range(cursor.count(4, PCR_READ_DIGESTS))]


class TssTpm:
    """A Tpm (see `ports`) behind a TCTI: a string as tpm2-tools take it (`device:/dev/tpmrm0`), or a TCTI object.

    Every handle that it hands out is let go by `flush` or at the latest by `close`. After `tpm-unreachable` it is of no
    further use: close it and connect anew.
    """

    def __init__(self, tcti: str | TCTI) -> None:
        os.environ.setdefault("TSS2_LOG", "all+NONE")  # the stack writes to stderr what it also reports to us
        with _command(f"connect to {tcti}" if isinstance(tcti, str) else "connect"):
            self._esapi = ESAPI(tcti)
        self._transient: set[KeyHandle] = set()
        self._persistent: dict[int, KeyHandle] = {}
        self._uses: Counter[KeyHandle] = Counter()

    def __enter__(self) -> TssTpm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def pcr_read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        """TPM2_PCR_Read until all is read, all at one PCR update counter."""
        for _ in range(PCR_READ_ATTEMPTS):
            values = self._pcr_read_once(selection)
            if values is not None:
                return values
        raise TpmFault("tpm-refused", "PCRs kept changing while they were read", place="TPM2_PCR_Read")

    def _pcr_read_once(self, selection: PcrSelection) -> dict[HashAlg, dict[int, bytes]] | None:
        missing = {bank: list(pcrs) for bank, pcrs in selection.banks}
        values: dict[HashAlg, dict[int, bytes]] = {bank: {} for bank in missing}
        counters = set()
        while any(missing.values()):
            wanted = PcrSelection.of({bank: pcrs for bank, pcrs in missing.items() if pcrs})
            with _command("TPM2_PCR_Read"):
                counter, selected, digests = self._esapi.pcr_read(_unmarshal(TPML_PCR_SELECTION, wanted.encode()))
            counters.add(int(counter))
            read = [(bank, pcr) for bank, pcrs in PcrSelection.parse(selected.marshal()).banks for pcr in pcrs]
            if not read or len(counters) > 1:
                break
            for (bank, pcr), digest in zip(read, _digests(digests.marshal()), strict=True):
                values[bank][pcr] = digest
                missing[bank].remove(pcr)
        if len(counters) > 1:
            return None
        if any(missing.values()):
            banks = ", ".join(bank.label for bank, pcrs in missing.items() if pcrs)
            raise TpmFault(
                "tpm-refused", f"PCRs of the bank {banks} are not there", place="TPM2_PCR_Read",
                remedy="activate the bank in the firmware's set-up, or require another",
            )  # fmt: skip
        return values

    def pcr_extend(self, pcr: int, digests: Mapping[HashAlg, bytes]) -> None:
        """TPM2_PCR_Extend."""
        entries = b"".join(bank.to_bytes(2, "big") + digest for bank, digest in digests.items())
        values = _unmarshal(TPML_DIGEST_VALUES, len(digests).to_bytes(4, "big") + entries)
        with _command("TPM2_PCR_Extend"):
            self._esapi.pcr_extend(ESYS_TR(pcr), values)

    def quote(self, key: KeyHandle, qualifying_data: bytes, selection: PcrSelection) -> SignedAttest:
        """TPM2_Quote with the key's own scheme."""
        pcrs = _unmarshal(TPML_PCR_SELECTION, selection.encode())
        with _command("TPM2_Quote"):
            attest, signature = self._esapi.quote(ESYS_TR(key), pcrs, qualifying_data)
        return SignedAttest(bytes(attest), signature.marshal())

    def certify(self, subject: KeyHandle, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        """TPM2_Certify; the TCG policy of IDevID and IAK is satisfied where `subject` is one of them."""
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        with _command("TPM2_Certify"), self._admin(subject, TPM2_CC.Certify) as session:
            attest, signature = self._esapi.certify(
                ESYS_TR(subject), ESYS_TR(key), qualifying_data, scheme, session1=session
            )
        return SignedAttest(bytes(attest), signature.marshal())

    def sign(self, key: KeyHandle, digest: bytes) -> bytes:
        """TPM2_Sign of a SHA-256 digest by an unrestricted ECDSA P-256 key: r || s."""
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.ECDSA)
        scheme.details.ecdsa.hashAlg = TPM2_ALG.SHA256
        ticket = TPMT_TK_HASHCHECK(tag=TPM2_ST.HASHCHECK, hierarchy=TPM2_RH.NULL)
        with _command("TPM2_Sign"):
            signature = self._esapi.sign(ESYS_TR(key), digest, scheme, ticket)
        return b"".join(part.rjust(COORDINATE_BYTES, b"\0") for part in Signature.parse(signature.marshal()).value)

    def create_primary(self, template: bytes) -> KeyHandle:
        """TPM2_CreatePrimary in the endorsement hierarchy."""
        public = TPM2B_PUBLIC(publicArea=_unmarshal(TPMT_PUBLIC, template))
        with _command("TPM2_CreatePrimary"):
            handle, *_ = self._esapi.create_primary(TPM2B_SENSITIVE_CREATE(), public, ESYS_TR.ENDORSEMENT)
        return self._loaded(handle)

    def create(self, parent: KeyHandle, template: bytes) -> CreatedKey:
        """TPM2_Create."""
        template_area = TPM2B_PUBLIC(publicArea=_unmarshal(TPMT_PUBLIC, template))
        with _command("TPM2_Create"):
            private, public, *_ = self._esapi.create(ESYS_TR(parent), TPM2B_SENSITIVE_CREATE(), template_area)
        return CreatedKey(public.publicArea.marshal(), bytes(private))

    def load(self, parent: KeyHandle, key: CreatedKey) -> KeyHandle:
        """TPM2_Load."""
        private, public = TPM2B_PRIVATE(key.private), TPM2B_PUBLIC(publicArea=_unmarshal(TPMT_PUBLIC, key.public))
        with _command("TPM2_Load"):
            return self._loaded(self._esapi.load(ESYS_TR(parent), private, public))

    def persist(self, key: KeyHandle, handle: int) -> KeyHandle:
        """TPM2_EvictControl with the owner's (empty) auth; the transient key is flushed."""
        with _command("TPM2_EvictControl"):
            kept = self._esapi.evict_control(ESYS_TR.OWNER, ESYS_TR(key), handle)
        self.flush(key)
        self._persistent[handle] = KeyHandle(int(kept))
        return self._used(handle)

    def evict(self, handle: int) -> None:
        """TPM2_EvictControl of a persistent handle; nothing where it is free."""
        if (key := self.persistent(handle)) is not None:
            with _command("TPM2_EvictControl"):
                self._esapi.evict_control(ESYS_TR.OWNER, ESYS_TR(key), handle)
            with suppress(TpmFault):  # a newer stack has let go of it by now
                self._let_go(key)

    def persistent(self, handle: int) -> KeyHandle | None:
        """The key at a persistent handle, or None."""
        if not self._is_there(handle):
            return None
        if handle not in self._persistent:
            self._persistent[handle] = KeyHandle(int(self._from_public(handle)))
        return self._used(handle)

    def flush(self, key: KeyHandle) -> None:
        """TPM2_FlushContext of a transient key; a persistent one is let go of once nobody uses it."""
        if key in self._transient:
            self._transient.discard(key)
            with _command("TPM2_FlushContext"):
                self._esapi.flush_context(ESYS_TR(key))
        else:
            self._uses[key] -= 1
            if not self._uses[key]:
                self._let_go(key)

    def read_public(self, key: KeyHandle) -> bytes:
        """TPMT_PUBLIC of a key."""
        with _command("TPM2_ReadPublic"):
            public, *_ = self._esapi.read_public(ESYS_TR(key))
        return bytes(public.publicArea.marshal())

    def activate_credential(
        self, key: KeyHandle, endorsement_key: KeyHandle, credential: bytes, secret: bytes
    ) -> bytes:
        """TPM2_ActivateCredential; the EK's policy is PolicySecret(endorsement), as in templates L-1 and L-2."""
        blob, encrypted = TPM2B_ID_OBJECT(credential), TPM2B_ENCRYPTED_SECRET(secret)
        with (
            _command("TPM2_ActivateCredential"),
            self._admin(key, TPM2_CC.ActivateCredential) as admin,
            self._policy_session() as user,
        ):
            handles = ESYS_TR(key), ESYS_TR(endorsement_key)
            return bytes(self._esapi.activate_credential(*handles, blob, encrypted, admin, user))

    def nv_define(self, public: bytes, auth: bytes) -> None:
        """TPM2_NV_DefineSpace with the owner's (empty) auth."""
        area = TPM2B_NV_PUBLIC(nvPublic=_unmarshal(TPMS_NV_PUBLIC, public))
        with _command("TPM2_NV_DefineSpace"):
            self._esapi.tr_close(self._esapi.nv_define_space(auth, area))

    def nv_undefine(self, index: int) -> None:
        """TPM2_NV_UndefineSpace with the owner's (empty) auth; nothing where it is not defined."""
        if self._is_there(index):
            with _command("TPM2_NV_UndefineSpace"):
                self._esapi.nv_undefine_space(self._from_public(index))

    def nv_read_public(self, index: int) -> bytes | None:
        """TPMS_NV_PUBLIC of an index, or None."""
        if not self._is_there(index):
            return None
        with self._nv(index) as handle, _command("TPM2_NV_ReadPublic"):
            public, _ = self._esapi.nv_read_public(handle)
            return bytes(public.nvPublic.marshal())

    def nv_read(self, index: int) -> bytes:
        """All bytes of an index, with its own empty auth or else the owner's."""
        if (encoded := self.nv_read_public(index)) is None:
            raise TpmFault("tpm-refused", f"the NV index 0x{index:08x} is not defined", place="TPM2_NV_Read")
        public = NvPublic.parse(encoded)
        step = self._property(_PT_NV_BUFFER_MAX)
        with self._nv(index) as handle, _command("TPM2_NV_Read"):
            auth = handle if public.attributes & NvAttribute.AUTHREAD else ESYS_TR.OWNER
            return b"".join(
                bytes(self._esapi.nv_read(handle, min(step, public.size - offset), offset, auth))
                for offset in range(0, public.size, step)
            )

    def set_hierarchy_auths(self, owner: bytes, lockout: bytes) -> None:
        """TPM2_HierarchyChangeAuth, owner first; an auth that is set already is left."""
        permanent = self._property(_PT_PERMANENT)
        for flag, hierarchy, auth in (
            (TPMA_PERMANENT.OWNERAUTHSET, ESYS_TR.OWNER, owner),
            (TPMA_PERMANENT.LOCKOUTAUTHSET, ESYS_TR.LOCKOUT, lockout),
        ):
            if not permanent & flag:
                with _command("TPM2_HierarchyChangeAuth"):
                    self._esapi.hierarchy_change_auth(hierarchy, auth)

    def ownership_taken(self) -> bool:
        """Whether ownerAuthSet and lockoutAuthSet both stand."""
        both = TPMA_PERMANENT.OWNERAUTHSET | TPMA_PERMANENT.LOCKOUTAUTHSET
        return bool(self._property(_PT_PERMANENT) & both == both)

    def read_clock(self) -> ClockInfo:
        """TPM2_ReadClock."""
        with _command("TPM2_ReadClock"):
            info = self._esapi.read_clock().clockInfo
        return ClockInfo(int(info.clock), int(info.resetCount), int(info.restartCount), bool(info.safe))

    def random(self, size: int) -> bytes:
        """TPM2_GetRandom until `size` bytes are there."""
        data = b""
        with _command("TPM2_GetRandom"):
            while len(data) < size:
                data += bytes(self._esapi.get_random(min(size - len(data), MAX_RANDOM_BYTES)))
        return data

    def close(self) -> None:
        """Flush what was loaded and let go of the TPM; a TPM that is gone has nothing left to flush."""
        with suppress(TpmFault):
            for key in tuple(self._transient):
                self.flush(key)
        self._esapi.close()

    def _loaded(self, handle: ESYS_TR) -> KeyHandle:
        key = KeyHandle(int(handle))
        self._transient.add(key)
        return key

    def _used(self, handle: int) -> KeyHandle:
        """Versions of the stack differ in whether they count who asked for a persistent key: so it is done here."""
        key = self._persistent[handle]
        self._uses[key] += 1
        return key

    def _let_go(self, key: KeyHandle) -> None:
        self._persistent = {handle: held for handle, held in self._persistent.items() if held != key}
        del self._uses[key]
        with _command("let go of a key"):
            self._esapi.tr_close(ESYS_TR(key))

    def _from_public(self, handle: int) -> ESYS_TR:
        with _command(f"find 0x{handle:08x}"):
            return self._esapi.tr_from_tpmpublic(handle)

    @contextmanager
    def _nv(self, index: int) -> Iterator[ESYS_TR]:
        handle = self._from_public(index)
        try:
            yield handle
        finally:
            self._esapi.tr_close(handle)

    @contextmanager
    def _admin(self, key: KeyHandle, code: int) -> Iterator[ESYS_TR]:
        """What authorises the command `code` in the ADMIN role of a key: its empty auth, or its policy."""
        public = Public.parse(self.read_public(key))
        if not public.attributes & ObjectAttribute.ADMIN_WITH_POLICY:
            yield ESYS_TR.PASSWORD
            return
        if public.auth_policy not in _ADMIN_BRANCHES:
            raise TpmFault("tpm-refused", "the key has an administrative policy that is not known")
        branches = _POLICY_SECRET, _POLICY_CERTIFY, _POLICY_ACTIVATE, _ADMIN_BRANCHES[public.auth_policy]
        with self._policy_session() as session:
            self._esapi.policy_command_code(session, code)
            self._esapi.policy_or(session, TPML_DIGEST([TPM2B_DIGEST(branch) for branch in branches]))
            yield session

    @contextmanager
    def _policy_session(self) -> Iterator[ESYS_TR]:
        """A SHA-256 policy session in which PolicySecret(endorsement) holds."""
        symmetric = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        session = self._esapi.start_auth_session(ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, symmetric, TPM2_ALG.SHA256)
        try:
            self._esapi.policy_secret(ESYS_TR.ENDORSEMENT, session, b"", b"", b"", 0)
            yield session
        finally:
            with suppress(TSS2_Exception):  # where the TPM has gone, its going is what shall be told
                self._esapi.flush_context(session)

    def _is_there(self, handle: int) -> bool:
        with _command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.HANDLES, handle, 1)
        return any(int(found) == handle for found in answer.data.handles)

    def _property(self, tag: int) -> int:
        with _command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, tag, 1)
        return next((int(entry.value) for entry in answer.data.tpmProperties if entry.property == tag), 0)
