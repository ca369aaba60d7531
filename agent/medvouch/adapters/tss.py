"""The Tpm port on the TCG software stack: tpm2-pytss' ESAPI over any TCTI."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress

from tpm2_pytss import (
    ESYS_TR,
    TCTI,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PRIVATE,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPM2B_SENSITIVE_DATA,
    TPML_DIGEST_VALUES,
    TPMS_SENSITIVE_CREATE,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TSS2_Exception,
)
from tpm2_pytss.constants import TPM2_ALG, TPM2_CC, TPM2_SE

from medvouch.adapters import tss_direct
from medvouch.adapters.tss_direct import NOTHING, pairs, without
from medvouch.adapters.tss_nv import TssNv
from medvouch.adapters.tss_owner import TssOwner
from medvouch.adapters.tss_policy import TssPolicy
from medvouch.adapters.tss_stack import command, unmarshal
from medvouch.attestation.provisioning import EK_TEMPLATE
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import ClockInfo, PcrSelection, SignedAttest
from medvouch.ports import CreatedKey, KeyHandle

MAX_RANDOM_BYTES = 32
"""What every TPM gives in one TPM2_GetRandom."""
PCR_READ_ATTEMPTS = 8
"""How often PCRs are read over again because one of them was extended in between."""
SEALED_TEMPLATE = bytes.fromhex("0008 000b 00000452 0000 0010 0000")
"""TPMT_PUBLIC of sealed data (Part 2, 12.2.4): keyedhash, SHA-256, fixedTPM | fixedParent | userWithAuth | noDA, no
policy, the null scheme."""


class TssTpm(TssNv, TssOwner, TssPolicy):
    """A Tpm (see `ports`) behind a TCTI: a string as tpm2-tools take it (`device:/dev/tpmrm0`), or a TCTI object.

    Every handle that it hands out is let go by `flush` or at the latest by `close`. After `tpm-unreachable` the next
    command connects anew; handles stay good where the TPM still has their keys, or can load them again. `pause` waits
    so many seconds before a command that the TPM put off is given once more.
    """

    def __init__(self, tcti: str | TCTI, *, pause: Callable[[float], None] = time.sleep) -> None:
        os.environ.setdefault("TSS2_LOG", "all+NONE")  # the stack writes to stderr what it also reports to us
        super().__init__(tcti, pause)
        self._persistent: dict[int, KeyHandle] = {}
        self._uses: Counter[KeyHandle] = Counter()

    def __enter__(self) -> TssTpm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def meanwhile(self, work: Callable[[], None]) -> AbstractContextManager[None]:
        """PCR_Read, Quote and Sign can; where there is none of them, it is done at the end."""
        return self._esapi.meanwhile(work)

    def pcr_read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        """TPM2_PCR_Read until all is read, all at one PCR update counter."""
        for _ in range(PCR_READ_ATTEMPTS):
            values = self._pcr_read_once(selection)
            if values is not None:
                return values
        raise TpmFault("tpm-refused", "PCRs kept changing while they were read", place="TPM2_PCR_Read")

    def _pcr_read_once(self, selection: PcrSelection) -> dict[HashAlg, dict[int, bytes]] | None:
        """None where a PCR was extended in between."""
        values: dict[HashAlg, dict[int, bytes]] = {bank: {} for bank, _ in selection.banks}
        missing, counters = without(selection, NOTHING), set()
        while missing.banks:
            with command("TPM2_PCR_Read"):
                counter, read, digests = tss_direct.pcr_read(self._esapi, missing)
            counters.add(counter)
            left = without(missing, read)
            if left == missing or len(counters) > 1:
                break
            for (bank, pcr), digest in zip(pairs(read), digests, strict=True):
                values[bank][pcr] = digest
            missing = left
        if len(counters) > 1:
            return None
        if missing.banks:
            banks = ", ".join(bank.label for bank, _ in missing.banks)
            raise TpmFault(
                "tpm-refused", f"PCRs of the bank {banks} are not there", place="TPM2_PCR_Read",
                remedy="activate the bank in the firmware's set-up, or require another",
            )  # fmt: skip
        return values

    def pcr_extend(self, pcr: int, digests: Mapping[HashAlg, bytes]) -> None:
        """TPM2_PCR_Extend."""
        entries = b"".join(bank.to_bytes(2, "big") + digest for bank, digest in digests.items())
        values = unmarshal(TPML_DIGEST_VALUES, len(digests).to_bytes(4, "big") + entries)
        with command("TPM2_PCR_Extend"):
            self._esapi.pcr_extend(ESYS_TR(pcr), values)

    def quote(self, key: KeyHandle, qualifying_data: bytes, selection: PcrSelection) -> SignedAttest:
        """TPM2_Quote with the key's own scheme."""
        with command("TPM2_Quote"):
            return tss_direct.quote(self._esapi, self._direct(key), qualifying_data, selection)

    def certify(self, subject: KeyHandle, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        """TPM2_Certify; the TCG policy of IDevID and IAK is satisfied where `subject` is one of them."""
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        with command("TPM2_Certify"), self._admin(subject, TPM2_CC.Certify) as session:
            attest, signature = self._esapi.certify(
                self._tr(subject), self._tr(key), qualifying_data, scheme, session1=session
            )
        return SignedAttest(bytes(attest), signature.marshal())

    def sign(self, key: KeyHandle, digest: bytes) -> bytes:
        """TPM2_Sign of a SHA-256 digest by an unrestricted ECDSA P-256 key: r || s."""
        with command("TPM2_Sign"):
            return tss_direct.sign(self._esapi, self._direct(key), digest)

    def create_primary(self, template: bytes) -> KeyHandle:
        """TPM2_CreatePrimary in the endorsement hierarchy."""
        public = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, template))

        def make() -> ESYS_TR:
            with command("TPM2_CreatePrimary"):
                handle, *_ = self._esapi.create_primary(TPM2B_SENSITIVE_CREATE(), public, ESYS_TR.ENDORSEMENT)
            return handle

        return self._hold(make, transient=True)

    def create(self, parent: KeyHandle, template: bytes) -> CreatedKey:
        """TPM2_Create."""
        template_area = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, template))
        with command("TPM2_Create"):
            private, public, *_ = self._esapi.create(self._tr(parent), TPM2B_SENSITIVE_CREATE(), template_area)
        return CreatedKey(public.publicArea.marshal(), bytes(private))

    def seal(self, parent: KeyHandle, data: bytes) -> CreatedKey:
        """TPM2_Create of a sealed data object."""
        template_area = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, SEALED_TEMPLATE))
        sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(data=TPM2B_SENSITIVE_DATA(data)))
        with command("TPM2_Create"):
            private, public, *_ = self._esapi.create(self._tr(parent), sensitive, template_area)
        return CreatedKey(public.publicArea.marshal(), bytes(private))

    def unseal(self, key: KeyHandle) -> bytes:
        """TPM2_Unseal."""
        with command("TPM2_Unseal"):
            return bytes(self._esapi.unseal(self._tr(key)))

    def load(self, parent: KeyHandle, key: CreatedKey) -> KeyHandle:
        """TPM2_Load."""
        private, public = TPM2B_PRIVATE(key.private), TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, key.public))
        self._tr(parent)
        above = self._held[parent]

        def load() -> ESYS_TR:
            with self._above(above) as handle, command("TPM2_Load"):
                return self._esapi.load(handle, private, public)

        return self._hold(load, transient=True)

    def persist(self, key: KeyHandle, handle: int) -> KeyHandle:
        """TPM2_EvictControl with the owner's (empty) auth; the transient key is flushed."""
        with command("TPM2_EvictControl"):
            context = self._esapi
            context.tr_close(context.evict_control(ESYS_TR.OWNER, self._tr(key), handle))
        self.flush(key)
        self._persistent[handle] = self._hold(lambda: self._from_public(handle), transient=False)
        return self._used(handle)

    def evict(self, handle: int) -> None:
        """TPM2_EvictControl of a persistent handle; nothing where it is free."""
        if (key := self.persistent(handle)) is not None:
            with command("TPM2_EvictControl"):
                self._esapi.evict_control(ESYS_TR.OWNER, self._tr(key), handle)
            with suppress(TpmFault):  # a newer stack has let go of it by now
                self._forget_persistent(key)

    def persistent(self, handle: int) -> KeyHandle | None:
        """The key at a persistent handle, or None."""
        if not self._is_there(handle):
            return None
        if handle not in self._persistent:
            self._persistent[handle] = self._hold(lambda: self._from_public(handle), transient=False)
        return self._used(handle)

    def flush(self, key: KeyHandle) -> None:
        """TPM2_FlushContext of a transient key; a persistent one is let go of once nobody uses it."""
        if (held := self._held.get(key)) is not None and held.transient:
            self._let_go(key)
        else:
            self._uses[key] -= 1
            if not self._uses[key]:
                self._forget_persistent(key)

    def activate_credential(
        self, key: KeyHandle, endorsement_key: KeyHandle, credential: bytes, secret: bytes
    ) -> bytes:
        """TPM2_ActivateCredential; EKs of L-1 and L-2 want PolicySecret(endorsement), those of the H-series nothing."""
        blob, encrypted = TPM2B_ID_OBJECT(credential), TPM2B_ENCRYPTED_SECRET(secret)
        with (
            command("TPM2_ActivateCredential"),
            self._admin(key, TPM2_CC.ActivateCredential) as admin,
            self._user(endorsement_key) as user,
        ):
            handles = self._tr(key), self._tr(endorsement_key)
            return bytes(self._esapi.activate_credential(*handles, blob, encrypted, admin, user))

    def read_clock(self) -> ClockInfo:
        """TPM2_ReadClock."""
        with command("TPM2_ReadClock"):
            info = self._esapi.read_clock().clockInfo
        return ClockInfo(int(info.clock), int(info.resetCount), int(info.restartCount), bool(info.safe))

    def random(self, size: int) -> bytes:
        """TPM2_GetRandom until `size` bytes are there."""
        data = b""
        with command("TPM2_GetRandom"):
            while len(data) < size:
                data += bytes(self._esapi.get_random(min(size - len(data), MAX_RANDOM_BYTES)))
        return data

    def close(self) -> None:
        """Flush what was loaded and let go of the TPM; a TPM that is gone has nothing left to flush."""
        with suppress(TpmFault):
            for key in [key for key, held in self._held.items() if held.transient]:
                self._let_go(key)
        if self._context is not None:
            self._context.close()

    def clear(self, lockout: bytes) -> None:
        """TPM2_Clear in a session salted to the EK; the keys handed out are forgotten, for they are gone.

        The command has no parameter that a session could encrypt: the auth is only the key of its HMAC.
        """
        ek = self.create_primary(EK_TEMPLATE)
        self._esapi.tr_set_auth(ESYS_TR.LOCKOUT, lockout)
        try:
            with command("TPM2_Clear"), self._session(TPM2_SE.HMAC, salt=self._tr(ek)) as session:
                self._esapi.clear(ESYS_TR.LOCKOUT, session)
        except TpmFault:
            self.flush(ek)
            raise
        finally:
            self._esapi.tr_set_auth(ESYS_TR.LOCKOUT, b"")
        self._forget()

    def _forget(self) -> None:
        """Let go of all keys and authorisations, here alone: the TPM has none of them any more."""
        context = self._esapi
        for hierarchy in (ESYS_TR.OWNER, ESYS_TR.ENDORSEMENT):
            context.tr_set_auth(hierarchy, b"")
        for held in self._held.values():
            if held.handle is not None:
                with suppress(TSS2_Exception):  # a newer stack has let go of some by now
                    context.tr_close(held.handle)
        self._held.clear()
        self._persistent.clear()
        self._uses.clear()

    def _used(self, handle: int) -> KeyHandle:
        """Versions of the stack differ in whether they count who asked for a persistent key: so it is done here."""
        key = self._persistent[handle]
        self._uses[key] += 1
        return key

    def _forget_persistent(self, key: KeyHandle) -> None:
        self._persistent = {handle: held for handle, held in self._persistent.items() if held != key}
        del self._uses[key]
        self._let_go(key)
