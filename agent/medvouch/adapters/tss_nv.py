"""NV indexes of a TPM."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tpm2_pytss import (
    ESYS_TR,
    TPM2B_NV_PUBLIC,
    TPM2B_OPERAND,
    TPM2B_PUBLIC,
    TPMS_NV_PUBLIC,
    TPMT_PUBLIC,
    TPMT_SIG_SCHEME,
    TPMT_SIGNATURE,
    TSS2_Exception,
)
from tpm2_pytss.constants import TPM2_ALG, TPM2_CC, TPM2_EO, TPM2_SE

from medvouch.adapters.tss_stack import TssStack, command, unmarshal
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.floor import FloorApproval
from medvouch.formats.tpm import Signature, SignatureAlg, SignedAttest
from medvouch.formats.tpm_public import NvAttribute, NvPublic
from medvouch.ports import KeyHandle

_COUNTER_BYTES = 8
"""Of an NV counter (Part 2, 13.4: TPM_NT_COUNTER)."""
_PT_NV_BUFFER_MAX = 0x12C


class TssNv(TssStack):
    """The NV commands of the Tpm port."""

    def nv_define(self, public: bytes, auth: bytes) -> None:
        """TPM2_NV_DefineSpace with the owner's (empty) auth."""
        area = TPM2B_NV_PUBLIC(nvPublic=unmarshal(TPMS_NV_PUBLIC, public))
        with command("TPM2_NV_DefineSpace"):
            self._esapi.tr_close(self._esapi.nv_define_space(auth, area))

    def nv_undefine(self, index: int) -> None:
        """TPM2_NV_UndefineSpace with the owner's (empty) auth; nothing where it is not defined."""
        if self._is_there(index):
            with command("TPM2_NV_UndefineSpace"):
                self._esapi.nv_undefine_space(self._from_public(index))

    def nv_read_public(self, index: int) -> bytes | None:
        """TPMS_NV_PUBLIC of an index, or None."""
        if not self._is_there(index):
            return None
        with self._nv(index) as handle, command("TPM2_NV_ReadPublic"):
            public, _ = self._esapi.nv_read_public(handle)
            return bytes(public.nvPublic.marshal())

    def nv_read(self, index: int, auth: bytes = b"") -> bytes:
        """All bytes of an index, with its own auth or else the owner's (empty) one."""
        public = self._defined(index, "TPM2_NV_Read")
        step = self._property(_PT_NV_BUFFER_MAX)
        with self._nv(index, auth) as handle, command("TPM2_NV_Read"):
            reader = handle if public.attributes & NvAttribute.AUTHREAD else ESYS_TR.OWNER
            return b"".join(
                bytes(self._esapi.nv_read(handle, min(step, public.size - offset), offset, reader))
                for offset in range(0, public.size, step)
            )

    def nv_write(self, index: int, auth: bytes, data: bytes) -> None:
        """TPM2_NV_Write."""
        with self._nv(index, auth) as handle, command("TPM2_NV_Write"):
            self._esapi.nv_write(handle, data)

    def nv_extend(self, index: int, auth: bytes, data: bytes) -> None:
        """TPM2_NV_Extend."""
        with self._nv(index, auth) as handle, command("TPM2_NV_Extend"):
            self._esapi.nv_extend(handle, data)

    def nv_increment(self, index: int, auth: bytes) -> None:
        """TPM2_NV_Increment."""
        with self._nv(index, auth) as handle, command("TPM2_NV_Increment"):
            self._esapi.nv_increment(handle)

    def nv_increment_approved(
        self, index: int, auth: bytes, approval: FloorApproval, authority: bytes, reference: bytes
    ) -> None:
        """TPM2_NV_Increment under the approved policy; each step is a command of the TPM's."""
        with (
            self._nv(index, auth) as handle,
            command("TPM2_NV_Increment by approval"),
            self._session(TPM2_SE.POLICY) as session,
        ):
            if approval.counter is None:
                self._esapi.policy_nv_written(session, written_set=False)
            else:
                operand = TPM2B_OPERAND(approval.counter.to_bytes(_COUNTER_BYTES, "big"))
                self._esapi.policy_nv(handle, handle, session, operand, TPM2_EO.EQ)
            self._esapi.policy_command_code(session, TPM2_CC.NV_Increment)
            self._authorize(session, approval.signature, authority, reference)
            self._esapi.nv_increment(handle, session1=session)

    def nv_certify(self, index: int, auth: bytes, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        """TPM2_NV_Certify of all bytes of an index."""
        size = self._defined(index, "TPM2_NV_Certify").size
        scheme = TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
        with self._nv(index, auth) as handle, command("TPM2_NV_Certify"):
            attest, signature = self._esapi.nv_certify(self._tr(key), handle, qualifying_data, scheme, size)
        return SignedAttest(bytes(attest), signature.marshal())

    def _authorize(self, session: ESYS_TR, signature: bytes, authority: bytes, reference: bytes) -> None:
        """PolicyAuthorize of what the session holds so far (Part 3, 23.16); `signature` is r || s by `authority`."""
        approved = bytes(self._esapi.policy_get_digest(session))
        half = len(signature) // 2
        signed = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (signature[:half], signature[half:])).encode()
        public = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, authority))
        context = self._esapi
        key = context.load_external(public, hierarchy=ESYS_TR.OWNER)  # a ticket of the null hierarchy is worth none
        try:
            digest = hashlib.sha256(approved + reference).digest()
            ticket = self._esapi.verify_signature(key, digest, unmarshal(TPMT_SIGNATURE, signed))
            name = self._esapi.tr_get_name(key)
            rest = {"policy_ref": reference, "key_sign": name, "check_ticket": ticket}  # 2.3 and 3.0 differ in order
            self._esapi.policy_authorize(session, approved, **rest)
        finally:
            with suppress(TSS2_Exception):  # likewise as with sessions
                context.flush_context(key)

    def _defined(self, index: int, doing: str) -> NvPublic:
        if (encoded := self.nv_read_public(index)) is None:
            raise TpmFault("tpm-refused", f"the NV index 0x{index:08x} is not defined", place=doing)
        return NvPublic.parse(encoded)

    @contextmanager
    def _nv(self, index: int, auth: bytes = b"") -> Iterator[ESYS_TR]:
        handle, context = self._from_public(index), self._esapi
        try:
            context.tr_set_auth(handle, auth)
            yield handle
        finally:
            with suppress(TSS2_Exception):  # likewise
                context.tr_close(handle)
