"""The TCG software stack, tpm2-pytss' ESAPI, under the Tpm port: its faults in our words, its structures from bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from tpm2_pytss import ESAPI, ESYS_TR, TPMT_SYM_DEF, TSS2_Exception
from tpm2_pytss.constants import TPM2_ALG, TPM2_CAP, TPM2_SE

from medvouch.errors import TpmFault
from medvouch.ports import KeyHandle

_TCTI_LAYER = 10
_WRONG_AUTH = "an authorisation value is wrong: ownership was taken by someone else, or the NV index was defined anew"
_REMEDIES = {
    0x921: "the TPM is in dictionary-attack lockout: wait for its recovery time or reset it with the lockout auth",
    0x920: "the TPM limits its NV writes: try again later",
    0x923: "the TPM limits its NV writes: try again later",
    0x120: "TPM2_Clear is disabled: only the platform (firmware) can enable it again",
    0x126: "the NV index does not hold what the approval is for: ask for an approval of its present value",
    0x14A: "the NV index was never written",
    0x14B: "the TPM has no NV space left: undefine indexes that nobody needs",
    0x98E: _WRONG_AUTH,
    0x9A2: _WRONG_AUTH,
    0x99B: "the approval is not signed by the floor authority, or is for another device",
    0x99D: "the NV index wants the approval of another floor authority, or for another device",
    0x902: "the TPM is full of loaded objects: use it through a resource manager (device:/dev/tpmrm0)",
}
_FORMAT_ONE, _ERROR_MASK, _RC_BAD_AUTH_BASE = 0x080, 0x0BF, 0x900


def fault(doing: str, error: TSS2_Exception) -> TpmFault:
    """What `error` of the stack comes to; `doing` is the command."""
    code = int(error.rc)
    if code >> 16 == _TCTI_LAYER:
        remedy = "check that the TPM is there, that this user may open it, and the TCTI in the configuration"
        return TpmFault("tpm-unreachable", str(error), place=doing, remedy=remedy)
    bare = (code & _ERROR_MASK) | _RC_BAD_AUTH_BASE if code & _FORMAT_ONE else code & 0xFFF
    return TpmFault("tpm-refused", f"{error} (0x{code:x})", place=doing, remedy=_REMEDIES.get(bare, ""))


@contextmanager
def command(doing: str) -> Iterator[None]:
    """Any failure of the stack within is the TpmFault of `doing`."""
    try:
        yield
    except TSS2_Exception as error:
        raise fault(doing, error) from error


def unmarshal(kind: Any, data: bytes) -> Any:
    """The structure `kind` of all of `data`."""
    value, used = kind.unmarshal(data)
    if used != len(data):
        raise TpmFault("tpm-refused", f"{len(data) - used} bytes after the end of a {kind.__name__}")
    return value


class TssStack:
    """An open stack, and the little that all commands need of it."""

    _esapi: ESAPI

    def read_public(self, key: KeyHandle) -> bytes:
        """TPMT_PUBLIC of a key."""
        with command("TPM2_ReadPublic"):
            public, *_ = self._esapi.read_public(ESYS_TR(key))
        return bytes(public.publicArea.marshal())

    def _from_public(self, handle: int) -> ESYS_TR:
        with command(f"find 0x{handle:08x}"):
            return self._esapi.tr_from_tpmpublic(handle)

    @contextmanager
    def _session(self, kind: TPM2_SE, salt: ESYS_TR = ESYS_TR.NONE) -> Iterator[ESYS_TR]:
        """A SHA-256 session; `salt` is a decryption key under which its secret goes to the TPM."""
        symmetric = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        session = self._esapi.start_auth_session(salt, ESYS_TR.NONE, kind, symmetric, TPM2_ALG.SHA256)
        try:
            yield session
        finally:
            with suppress(TSS2_Exception):  # where the TPM has gone, its going is what shall be told
                self._esapi.flush_context(session)

    def _is_there(self, handle: int) -> bool:
        with command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.HANDLES, handle, 1)
        return any(int(found) == handle for found in answer.data.handles)

    def _property(self, tag: int) -> int:
        with command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, tag, 1)
        return next((int(entry.value) for entry in answer.data.tpmProperties if entry.property == tag), 0)
