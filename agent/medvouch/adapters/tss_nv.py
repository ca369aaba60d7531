"""NV indexes of a TPM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tpm2_pytss import ESYS_TR, TPM2B_NV_PUBLIC, TPMS_NV_PUBLIC

from medvouch.adapters.tss_stack import TssStack, command, unmarshal
from medvouch.errors import TpmFault
from medvouch.formats.tpm_public import NvAttribute, NvPublic

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

    def nv_read(self, index: int) -> bytes:
        """All bytes of an index, with its own empty auth or else the owner's."""
        if (encoded := self.nv_read_public(index)) is None:
            raise TpmFault("tpm-refused", f"the NV index 0x{index:08x} is not defined", place="TPM2_NV_Read")
        public = NvPublic.parse(encoded)
        step = self._property(_PT_NV_BUFFER_MAX)
        with self._nv(index) as handle, command("TPM2_NV_Read"):
            auth = handle if public.attributes & NvAttribute.AUTHREAD else ESYS_TR.OWNER
            return b"".join(
                bytes(self._esapi.nv_read(handle, min(step, public.size - offset), offset, auth))
                for offset in range(0, public.size, step)
            )

    @contextmanager
    def _nv(self, index: int) -> Iterator[ESYS_TR]:
        handle = self._from_public(index)
        try:
            yield handle
        finally:
            self._esapi.tr_close(handle)
