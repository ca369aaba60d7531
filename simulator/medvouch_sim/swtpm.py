"""A real software TPM for one gateway: a swtpm process over a socketpair, no port and no file but its state.

The process ends with the other end of its socket (`--terminate`), and where that goes in the middle of a command, which
makes swtpm wait for another for ever, with the thread that powered it on: nothing is left running when the simulator
dies, however it dies.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tpm2_pytss.TCTI import PyTCTI

from medvouch.errors import MissingPart, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection, sized
from medvouch.formats.tpm_public import NvAttribute, NvPublic

BANKS = (HashAlg.SHA256, HashAlg.SHA384)
"""The PCR banks that are active from manufacture on."""
ANSWER_TIMEOUT_S = 60.0
"""No command of swtpm takes longer; RSA primaries are the slowest."""
HEADER_BYTES = 10
MAX_RESPONSE_BYTES = 4096

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_RH_PLATFORM, _RS_PASSWORD = 0x4000000C, 0x40000009
_CC_CLEAR = 0x126
_CC_HIERARCHY_CHANGE_AUTH, _CC_NV_DEFINE, _CC_PCR_ALLOCATE, _CC_NV_WRITE = 0x129, 0x12A, 0x12B, 0x137
_CC_STARTUP, _CC_SHUTDOWN = 0x144, 0x145
_SU_CLEAR = b"\x00\x00"
_NV_WRITE_CHUNK = 1024


def command(code: int, *handles: int, parameters: bytes = b"", password: bytes | None = None) -> bytes:
    """A TPM command; `password` authorises its first handle (Part 1, 18.4)."""
    area = b""
    if password is not None:
        session = _RS_PASSWORD.to_bytes(4, "big") + sized(b"") + b"\x01" + sized(password)
        area = len(session).to_bytes(4, "big") + session
    body = b"".join(handle.to_bytes(4, "big") for handle in handles) + area + parameters
    tag = _NO_SESSIONS if password is None else _SESSIONS
    return tag.to_bytes(2, "big") + (HEADER_BYTES + len(body)).to_bytes(4, "big") + code.to_bytes(4, "big") + body


def command_code(command: bytes) -> int:
    """The TPM_CC of a command (Part 1, 18.2)."""
    return int.from_bytes(command[6:HEADER_BYTES], "big")


def platform_clear(platform_auth: bytes) -> bytes:
    """TPM2_Clear by the platform, which needs nobody's leave but the firmware's."""
    return command(_CC_CLEAR, _RH_PLATFORM, password=platform_auth)


class SwTpm:
    """One TPM; its identity is `state_dir` (absolute or not), which outlives the process and may be copied.

    Powered off when made. Commands may come from any thread, one after the other: whoever comes next takes the answer
    in for whom it is. The thread that powers it on has to live as long as it (those of an executor do).
    Raises MissingPart where swtpm is not installed, TpmFault `tpm-unreachable` where it does not answer.
    """

    __slots__ = ("_lock", "_process", "_socket", "_under_way", "platform_auth", "state_dir", "tap")

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.platform_auth = b""
        self.tap: Callable[[bytes], None] | None = None
        """Sees each command on the bus before the TPM does."""
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._under_way: _Exchange | None = None

    def __enter__(self) -> SwTpm:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._process is not None

    def start(self) -> None:
        """Power on: _TPM_Init and TPM2_Startup(CLEAR), then a random platform auth, as firmware does.

        A TPM without state is manufactured first: new seeds, PCR banks BANKS.
        """
        try:
            if not any(self.state_dir.glob("tpm2-*.permall")):
                self.state_dir.mkdir(parents=True, exist_ok=True)
                self._spawn()
                self._allocate_banks()
                self.stop()
            self._spawn()
            auth = os.urandom(32)
            self._checked(command(_CC_HIERARCHY_CHANGE_AUTH, _RH_PLATFORM, parameters=sized(auth), password=b""))
        except BaseException:
            self.kill()
            raise
        self.platform_auth = auth

    def stop(self) -> None:
        """Orderly power off: TPM2_Shutdown(CLEAR), then the power goes."""
        if self.running:
            self._checked(command(_CC_SHUTDOWN, parameters=_SU_CLEAR))
            self.kill()

    def kill(self) -> None:
        """The power goes, without a word to the TPM."""
        process, self._process = self._process, None
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def power_cycle(self, *, orderly: bool = True) -> None:
        """A TPM Reset: resetCount rises, PCRs are zero again; `orderly=False` is a power cut (`safe` = NO)."""
        if orderly:
            self.stop()
        else:
            self.kill()
        self.start()

    def raw(self, data: bytes) -> bytes:
        """One command's bytes to the TPM, and its response's bytes."""
        return self.begin(data)()

    def begin(self, data: bytes) -> Callable[[], bytes]:
        """Likewise; what is returned waits for the response, and both together raise what `raw` does."""
        if self.tap:
            self.tap(data)
        with self._answering():
            if self._socket is None:
                raise OSError("it has no power")
            if self._under_way:
                self._under_way.take_in()
            self._socket.sendall(data)
            exchange = self._under_way = _Exchange(self._socket)

        def response() -> bytes:
            with self._answering():
                return exchange.take_in()

        return response

    def tcti(self) -> PyTCTI:
        """A fresh TCTI to this TPM, for TssTpm."""
        return SwTpmTcti(self)

    def define_platform_nv(self, index: int, data: bytes) -> None:
        """As a TPM's vendor does with EK certificates: an index of the platform, readable by all, never cleared."""
        attributes = (
            NvAttribute.PLATFORMCREATE | NvAttribute.PPWRITE | NvAttribute.WRITEDEFINE
            | NvAttribute.PPREAD | NvAttribute.OWNERREAD | NvAttribute.AUTHREAD | NvAttribute.NO_DA
        )  # fmt: skip
        public = NvPublic(index, HashAlg.SHA256, attributes, b"", len(data)).encode()
        auth = self.platform_auth
        self._checked(command(_CC_NV_DEFINE, _RH_PLATFORM, parameters=sized(b"") + sized(public), password=auth))
        for offset in range(0, len(data), _NV_WRITE_CHUNK):
            chunk = sized(data[offset : offset + _NV_WRITE_CHUNK]) + offset.to_bytes(2, "big")
            self._checked(command(_CC_NV_WRITE, _RH_PLATFORM, index, parameters=chunk, password=auth))

    def _spawn(self) -> None:
        for program, package in (("swtpm", "swtpm"), ("setpriv", "util-linux")):
            if shutil.which(program) is None:
                raise MissingPart(f"{program}-missing", f"{program} is not installed", remedy=f"apt install {package}")
        ours, theirs = socket.socketpair()
        with theirs, (self.state_dir / "swtpm.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "swtpm", "socket", "--tpm2", "--fd", str(theirs.fileno()),
                 "--terminate", "--flags", "not-need-init", "--tpmstate", f"dir={self.state_dir.absolute()}"],
                pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        ours.settimeout(ANSWER_TIMEOUT_S)
        self._socket, self._under_way = ours, None
        self._checked(command(_CC_STARTUP, parameters=_SU_CLEAR))

    def _allocate_banks(self) -> None:
        pcrs = range(24)
        wanted = {bank: pcrs if bank in BANKS else () for bank in (HashAlg.SHA1, *BANKS, HashAlg.SHA512)}
        selection = PcrSelection.of(wanted).encode()
        self._checked(command(_CC_PCR_ALLOCATE, _RH_PLATFORM, parameters=selection, password=b""))

    def _checked(self, data: bytes) -> bytes:
        answer = self.raw(data)
        if code := int.from_bytes(answer[6:10], "big"):
            raise TpmFault("tpm-refused", f"response code 0x{code:x}", place=str(self.state_dir))
        return answer

    @contextmanager
    def _answering(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError as error:
                raise TpmFault(
                    "tpm-unreachable",
                    f"swtpm does not answer: {error.strerror or error}",
                    place=str(self.state_dir),
                    remedy="power the gateway on; the reason is in swtpm.log there",
                ) from error


class _Exchange:
    """A command that was sent, and its response once that was taken in."""

    __slots__ = ("_response", "_socket")

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._response = b""

    def take_in(self) -> bytes:
        if not self._response:
            header = self._receive(HEADER_BYTES)
            self._response = header + self._receive(int.from_bytes(header[2:6], "big") - HEADER_BYTES)
        return self._response

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            if not (chunk := self._socket.recv(size - len(data))):
                raise OSError("it has ended")
            data += chunk
        return data


class SwTpmTcti(PyTCTI):  # type: ignore[misc]
    """The way from the TSS to a SwTpm."""

    def __init__(self, tpm: SwTpm) -> None:
        super().__init__(max_size=MAX_RESPONSE_BYTES)
        self._tpm = tpm
        self._response: Callable[[], bytes] = bytes

    def do_transmit(self, command: bytes) -> None:
        """Send a command."""
        self._response = self._tpm.begin(command)

    def do_receive(self, timeout: int) -> bytes:  # noqa: ARG002
        """Its response; swtpm is never long, whatever `timeout`."""
        return self._response()
