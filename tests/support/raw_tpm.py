"""The TPM commands that an attester needs, byte by byte over a socket: for where no TPM software stack is installed.

tag u16 | size u32 | code u32 | handles u32... | [size u32 | password sessions] | parameters (TPM 2.0 Part 1, 18)
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cursor import Cursor
from medvouch.formats.tpm import ClockInfo, PcrSelection, SignedAttest
from medvouch.ports import CreatedKey, KeyHandle

NO_SESSIONS, SESSIONS = 0x8001, 0x8002
CERTIFY, LOAD, QUOTE, SIGN, FLUSH = 0x148, 0x157, 0x158, 0x15D, 0x165
READ_PUBLIC, PCR_READ, READ_CLOCK = 0x173, 0x17E, 0x181
NULL_SCHEME = bytes.fromhex("0010")
NO_TICKET = bytes.fromhex("8024 40000007 0000")
PASSWORD = bytes.fromhex("40000009 0000 01 0000")
"""A session of the empty password."""
HEADER_BYTES = 10


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


class RawTpm:
    """`medvouch.ports.Tpm`, as much of it as `Attester` calls."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read_clock(self) -> ClockInfo:
        fields = self._command(READ_CLOCK)
        fields.take(8)
        clock, resets, restarts = fields.u64(), fields.u32(), fields.u32()
        return ClockInfo(clock=clock, reset_count=resets, restart_count=restarts, safe=bool(fields.u8()))

    @contextmanager
    def meanwhile(self, work: Callable[[], None]) -> Iterator[None]:
        yield
        work()

    def pcr_read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        values: dict[HashAlg, dict[int, bytes]] = {bank: {} for bank, _ in selection.banks}
        while missing := {b: [pcr for pcr in pcrs if pcr not in values[b]] for b, pcrs in selection.banks}:
            if not any(missing.values()):
                break
            wanted = PcrSelection.of({bank: pcrs for bank, pcrs in missing.items() if pcrs})
            fields = self._command(PCR_READ, parameters=wanted.encode())
            fields.u32()
            read = [(bank, pcr) for bank, pcrs in PcrSelection.take(fields).banks for pcr in pcrs]
            for (bank, pcr), _ in zip(read, range(fields.u32()), strict=True):
                values[bank][pcr] = fields.sized(2, 64)
        return values

    def persistent(self, handle: int) -> KeyHandle | None:
        try:
            self.read_public(KeyHandle(handle))
        except TpmFault:
            return None
        return KeyHandle(handle)

    def read_public(self, key: KeyHandle) -> bytes:
        return self._command(READ_PUBLIC, key).sized(2, 4096)

    def load(self, parent: KeyHandle, key: CreatedKey) -> KeyHandle:
        parameters = sized(key.private) + sized(key.public)
        return KeyHandle(self._command(LOAD, parent, parameters=parameters, sessions=1, handles=1).u32())

    def flush(self, key: KeyHandle) -> None:
        if key >> 24 == 0x80:
            self._command(FLUSH, key)

    def quote(self, key: KeyHandle, qualifying_data: bytes, selection: PcrSelection) -> SignedAttest:
        parameters = sized(qualifying_data) + NULL_SCHEME + selection.encode()
        return self._attested(self._command(QUOTE, key, parameters=parameters, sessions=1))

    def certify(self, subject: KeyHandle, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        parameters = sized(qualifying_data) + NULL_SCHEME
        return self._attested(self._command(CERTIFY, subject, key, parameters=parameters, sessions=2))

    def sign(self, key: KeyHandle, digest: bytes) -> bytes:
        fields = self._command(SIGN, key, parameters=sized(digest) + NULL_SCHEME + NO_TICKET, sessions=1)
        fields.take(4)
        return b"".join(fields.sized(2, 32).rjust(32, b"\0") for _ in "rs")

    def close(self) -> None:
        self._socket.close()

    def _attested(self, fields: Cursor) -> SignedAttest:
        attest = fields.sized(2, 4096)
        return SignedAttest(attest, fields.rest())

    def _command(self, code: int, *keys: int, parameters: bytes = b"", sessions: int = 0, handles: int = 0) -> Cursor:
        """The parameters of the response, with `handles` handles before them."""
        body = b"".join(key.to_bytes(4, "big") for key in keys)
        if sessions:
            body += (sessions * len(PASSWORD)).to_bytes(4, "big") + sessions * PASSWORD
        body += parameters
        tag = SESSIONS if sessions else NO_SESSIONS
        size = HEADER_BYTES + len(body)
        self._socket.sendall(tag.to_bytes(2, "big") + size.to_bytes(4, "big") + code.to_bytes(4, "big") + body)
        header = self._receive(HEADER_BYTES)
        answer = self._receive(int.from_bytes(header[2:6], "big") - HEADER_BYTES)
        if failed := int.from_bytes(header[6:], "big"):
            raise TpmFault("tpm-refused", f"command 0x{code:x}: response code 0x{failed:x}")
        if not sessions:
            return Cursor(answer, "tpm")
        fields = Cursor(answer, "tpm")
        before = fields.take(4 * handles)
        return Cursor(before + fields.take(fields.u32()), "tpm")

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (chunk := self._socket.recv(size - len(data))):
                raise TpmFault("tpm-unreachable", "it has ended")
            data += chunk
        return data
