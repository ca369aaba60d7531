"""A TPM that is hard to reach, or puts off what it is asked."""

from __future__ import annotations

from medvouch.errors import TpmFault
from medvouch_sim.swtpm import SwTpm, SwTpmTcti


class UnsteadyTcti(SwTpmTcti):
    """A way to the TPM that can be cut, before a command arrives or after; and a TPM that puts commands off."""

    def __init__(self, chip: SwTpm) -> None:
        super().__init__(chip)
        self.chip = chip
        self.cut = False
        self.swallow = b""
        self.answers: dict[bytes, list[int]] = {}
        self.sent: list[bytes] = []

    def do_transmit(self, command: bytes) -> None:
        code = bytes(command[6:10])
        self.sent.append(code)
        if self.cut:
            raise TpmFault("tpm-unreachable", "the line is cut")
        if self.answers.get(code):
            refused = b"\x80\x01\0\0\0\x0a" + self.answers[code].pop(0).to_bytes(4, "big")
            self._response = lambda: refused
            return
        super().do_transmit(command)
        if code == self.swallow:
            self.cut = True
            raise TpmFault("tpm-unreachable", "the answer was lost")
