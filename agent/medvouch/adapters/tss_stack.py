"""The TCG software stack, tpm2-pytss' ESAPI, under the Tpm port: its faults in our words, its structures from bytes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tpm2_pytss import ESYS_TR, TCTI, TPMT_SYM_DEF, TSS2_Exception
from tpm2_pytss.constants import TPM2_ALG, TPM2_CAP, TPM2_SE

from medvouch.adapters.tss_context import Context
from medvouch.adapters.tss_direct import handle_of
from medvouch.errors import TpmFault
from medvouch.ports import KeyHandle

_TCTI_LAYER = 10
_TRANSIENT_FIRST, _MAX_TRANSIENT = 0x80000000, 64
"""Handles of transient objects (Part 2, 7.4), and more of them than any TPM has room for."""
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


class _Translating:
    """A context manager without a generator, for it stands around every command."""

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TSS2_Exception):
            raise fault(self._doing, error) from error


def command(doing: str) -> _Translating:
    """Any failure of the stack within is the TpmFault of `doing`."""
    return _Translating(doing)


def unmarshal(kind: Any, data: bytes) -> Any:
    """The structure `kind` of all of `data`."""
    value, used = kind.unmarshal(data)
    if used != len(data):
        raise TpmFault("tpm-refused", f"{len(data) - used} bytes after the end of a {kind.__name__}")
    return value


@dataclass
class _Held:
    """A key that somebody uses: what makes its handle, also in a new context; its Name, and its handle in this one.

    `direct` is the TPM's own handle, found out when it is first asked for.
    """

    find: Callable[[], ESYS_TR]
    name: bytes
    transient: bool
    handle: ESYS_TR | None
    direct: bytes = b""


class TssStack:
    """An open stack, and the little that all commands need of it.

    Where the way to the TPM breaks, the next command goes over a new one, and the keys that are held are found or
    loaded again when they are next used.
    """

    def __init__(self, tcti: str | TCTI, pause: Callable[[float], None]) -> None:
        self._tcti = tcti
        self._pause = pause
        self._context: Context | None = None
        self._held: dict[KeyHandle, _Held] = {}
        self._numbers = itertools.count(1)
        self._left: set[bytes] = set()
        """Names of transient keys that nobody uses and that a broken context may have left in the TPM."""
        self._connect()

    @property
    def _esapi(self) -> Context:
        """A context that works, as far as is known; a new one where the last is broken."""
        if self._context is None or self._context.broken:
            self._connect()
        assert self._context is not None
        return self._context

    def _connect(self) -> None:
        last, self._context = self._context, None
        if last is not None:
            last.close()
        with command(f"connect to {self._tcti}" if isinstance(self._tcti, str) else "connect"):
            self._context = Context(self._tcti, self._pause)
        if last is not None or self._held:
            for held in self._held.values():
                held.handle, held.direct = None, b""
            self._sweep(self._context)

    def _sweep(self, context: Context) -> None:
        """Flush what the broken context has left; a resource manager has done so by itself."""
        ours = self._left | {held.name for held in self._held.values() if held.transient}
        try:
            _, answer = context.get_capability(TPM2_CAP.HANDLES, _TRANSIENT_FIRST, _MAX_TRANSIENT)
            for handle in (int(found) for found in answer.data.handles):
                found = context.tr_from_tpmpublic(handle)
                let_go = context.flush_context if bytes(context.tr_get_name(found)) in ours else context.tr_close
                let_go(found)
            self._left.clear()
        except TSS2_Exception as error:
            if context.broken:
                raise fault("connect", error) from error

    def _hold(self, find: Callable[[], ESYS_TR], *, transient: bool) -> KeyHandle:
        handle = find()
        name = bytes(self._esapi.tr_get_name(handle))
        key = KeyHandle(next(self._numbers))
        self._held[key] = _Held(find, name, transient, handle)
        return key

    def _tr(self, key: KeyHandle) -> ESYS_TR:
        """The handle of a key in this context. Raises TpmFault, among others where the TPM has another one now."""
        if (held := self._held.get(key)) is None:
            raise TpmFault("tpm-refused", "the key was let go of", place="handle")
        return self._standing(held)

    def _direct(self, key: KeyHandle) -> bytes:
        """The TPM's own handle of a key; call it after `_esapi`, which may change it."""
        handle = self._tr(key)
        held = self._held[key]
        if not held.direct:
            held.direct = handle_of(self._esapi, handle)
        return held.direct

    def _standing(self, held: _Held) -> ESYS_TR:
        context = self._esapi
        if held.handle is None:
            found = held.find()
            if bytes(context.tr_get_name(found)) != held.name:
                (context.flush_context if held.transient else context.tr_close)(found)
                remedy = "find out who cleared or replaced the TPM, then start the agent again or enrol the device anew"
                raise TpmFault("tpm-changed", "the TPM that came back has another key in its place", remedy=remedy)
            held.handle = found
        return held.handle

    def _let_go(self, key: KeyHandle) -> None:
        """Flush a transient key, close the handle of another; a broken context is left to the next one."""
        held = self._held.pop(key)
        context = self._context
        if held.handle is None or context is None or context.broken:
            self._left |= {held.name} if held.transient else set()
            return
        with command("TPM2_FlushContext" if held.transient else "let go of a key"):
            (context.flush_context if held.transient else context.tr_close)(held.handle)

    @contextmanager
    def _above(self, parent: _Held) -> Iterator[ESYS_TR]:
        """A parent that may have been let go of since its child was loaded."""
        if any(held is parent for held in self._held.values()):
            yield self._standing(parent)
            return
        context = self._esapi
        handle = parent.find()
        try:
            yield handle
        finally:
            with suppress(TSS2_Exception):
                (context.flush_context if parent.transient else context.tr_close)(handle)

    def read_public(self, key: KeyHandle) -> bytes:
        """TPMT_PUBLIC of a key."""
        with command("TPM2_ReadPublic"):
            public, *_ = self._esapi.read_public(self._tr(key))
        return bytes(public.publicArea.marshal())

    def _from_public(self, handle: int) -> ESYS_TR:
        with command(f"find 0x{handle:08x}"):
            return self._esapi.tr_from_tpmpublic(handle)

    @contextmanager
    def _session(self, kind: TPM2_SE, salt: ESYS_TR = ESYS_TR.NONE) -> Iterator[ESYS_TR]:
        """A SHA-256 session; `salt` is a decryption key under which its secret goes to the TPM."""
        symmetric = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        context = self._esapi
        session = context.start_auth_session(salt, ESYS_TR.NONE, kind, symmetric, TPM2_ALG.SHA256)
        try:
            yield session
        finally:
            with suppress(TSS2_Exception):  # where the TPM has gone, its going is what shall be told
                context.flush_context(session)

    def _is_there(self, handle: int) -> bool:
        with command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.HANDLES, handle, 1)
        return any(int(found) == handle for found in answer.data.handles)

    def _property(self, tag: int) -> int:
        with command("TPM2_GetCapability"):
            _, answer = self._esapi.get_capability(TPM2_CAP.TPM_PROPERTIES, tag, 1)
        return next((int(entry.value) for entry in answer.data.tpmProperties if entry.property == tag), 0)
