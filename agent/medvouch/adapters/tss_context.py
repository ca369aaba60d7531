"""A context of the TCG software stack: repeats what the TPM puts off, and knows when the way to the TPM has broken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tpm2_pytss import ESAPI, TCTI, TSS2_Exception
from tpm2_pytss.TCTI import PyTCTI

PAUSES_S = tuple(0.02 * 2**attempt for attempt in range(8))
"""Between the attempts at one command: 5 s in all, which outlasts a self-test and most limits of NV writes."""

_PUT_OFF = {
    0x908,  # TPM_RC_YIELDED
    0x909,  # TPM_RC_CANCELED
    0x90A,  # TPM_RC_TESTING
    0x920,  # TPM_RC_NV_RATE
    0x922,  # TPM_RC_RETRY
    0x923,  # TPM_RC_NV_UNAVAILABLE
}
"""Answers to a command that was not carried out and may be given again as it is (Part 2, 6.6.3)."""
_HEADER_BYTES = 10
_FOR_EVER = -1
_TCTI_FAILURE = 0xA0001
"""TSS2_TCTI_RC_GENERAL_FAILURE."""
_ANSWER_LAYERS = {0, 11, 12}
"""Of a TSS2_RC: the TPM itself, and a resource manager for it; whatever else fails leaves the context in between."""


class Context:
    """An ESAPI whose methods may be called as they are; `broken` once it is of no further use.

    Commands that failed on the way are never repeated: nobody knows whether the TPM has carried them out.
    """

    broken: bool

    def __init__(self, tcti: str | TCTI, pause: Callable[[float], None] = time.sleep) -> None:
        self._inner = ESAPI(tcti)
        self._pause = pause
        self.broken = False
        self._tcti: TCTI = self._inner.tcti
        self._directly = self._command(self._exchange)
        self._work: Callable[[], None] | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """A command, found once and kept."""
        method = getattr(self._inner, name)
        call: Callable[..., Any] = method if name.startswith("tr_") else self._command(method)
        self.__dict__[name] = call
        return call

    def close(self) -> None:
        """Let go of the TPM."""
        self._inner.close()

    def tr_from_tpmpublic(self, handle: int) -> Any:
        """The one of the `tr_` functions that asks the TPM."""
        return self._command(self._inner.tr_from_tpmpublic)(handle)

    @contextmanager
    def meanwhile(self, work: Callable[[], None]) -> Iterator[None]:
        """Do `work` once: while the TPM is at the first command given to `direct` within, or else at the end."""
        raised: list[Exception] = []

        def once() -> None:
            try:
                work()
            except Exception as error:
                raised.append(error)

        self._work = once
        try:
            yield
        finally:
            self._do_work()
        if raised:
            raise raised[0]

    def _do_work(self) -> None:
        work, self._work = self._work, None
        if work:
            work()

    def direct(self, data: bytes) -> bytes:
        """One command's bytes, and its answer's; while no other is under way. Raises TSS2_Exception as methods do."""
        return bytes(self._directly(data))

    def _exchange(self, data: bytes) -> bytes:
        tcti = self._tcti
        try:
            if isinstance(tcti, PyTCTI):  # without the detour from Python through C to Python
                tcti.do_transmit(data)
                self._do_work()
                answer = tcti.do_receive(_FOR_EVER)
            else:
                tcti.transmit(data)
                self._do_work()
                answer = tcti.receive()
        except TSS2_Exception:
            raise
        except Exception as error:  # of a TCTI in Python, which may raise what it likes
            raise TSS2_Exception(_TCTI_FAILURE) from error
        if len(answer) < _HEADER_BYTES or int.from_bytes(answer[2:6], "big") != len(answer):
            raise TSS2_Exception(_TCTI_FAILURE)
        if code := int.from_bytes(answer[6:10], "big"):
            raise TSS2_Exception(code)
        return bytes(answer)

    def _command(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            pauses = iter(PAUSES_S)
            while True:
                try:
                    return method(*arguments, **named)
                except TSS2_Exception as error:
                    if not self._is_put_off(int(error.rc)) or (wait := next(pauses, None)) is None:
                        raise
                self._pause(wait)

        return call

    def _is_put_off(self, code: int) -> bool:
        answered = code >> 16 in _ANSWER_LAYERS
        self.broken = self.broken or not answered
        return answered and code & 0xFFFF in _PUT_OFF
