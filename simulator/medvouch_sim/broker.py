"""A real mosquitto on free loopback ports, its topics bound to client certificates.

Two listeners, each with its own CA and access list (DESIGN §3, §9):

- *service*: certificates of devices in service, of the collector and of observers;
- *enrolment*: bootstrap certificates, which reach nothing but `medvouch/v1/enrol/{their name}/...`.

The common name of the certificate is user name and client id on both, so no client can pose as another or throw it
off. The broker dies with the thread that started it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from medvouch.errors import MissingPart, NetworkFault

HOST = "127.0.0.1"
START_S = 10.0
STOP_S = 5.0
MAX_PACKET = 40 * 1024 * 1024
_START_ATTEMPTS = 5
_SBIN = "/usr/local/sbin:/usr/sbin"

_DEVICE_ACL = """\
pattern write medvouch/v1/%u/status/#
pattern write medvouch/v1/%u/state/#
pattern write medvouch/v1/%u/event/#
pattern write medvouch/v1/%u/metric/#
pattern write medvouch/v1/%u/evidence/#
pattern write medvouch/v1/%u/res/#
pattern read medvouch/v1/%u/cmd/#
pattern read medvouch/v1/%u/result/#
"""
_ENROLMENT_ACL = """\
pattern write medvouch/v1/enrol/%u/request
pattern write medvouch/v1/enrol/%u/proof
pattern write medvouch/v1/enrol/%u/sanitised
pattern read medvouch/v1/enrol/%u/challenge
pattern read medvouch/v1/enrol/%u/answer
pattern read medvouch/v1/enrol/%u/released
"""


@dataclass(frozen=True)
class BrokerSettings:
    """Who is who, all in PEM. `service_roots` issue device, collector and observer certificates.

    `collectors` (common names) read and write everything, `observers` read everything. `service_revocations`: the
    list of the one issuer of `service_roots`, empty for none; then none can come later either.
    """

    certificate: bytes
    key: bytes
    service_roots: bytes
    enrolment_roots: bytes
    collectors: Sequence[str] = ("collector",)
    observers: Sequence[str] = ("observer",)
    service_revocations: bytes = b""


class Broker:
    """One mosquitto with its files in `directory`; ports are chosen at the first start and kept."""

    host = HOST

    def __init__(self, directory: Path, settings: BrokerSettings) -> None:
        self.directory = directory
        self.log = directory / "mosquitto.log"
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.service_port = 0
        self.enrolment_port = 0

    def start(self) -> None:
        """Start and wait until both listeners answer.

        Raises MissingPart without mosquitto, NetworkFault with its own words where it does not come up.
        """
        program = _program("mosquitto")
        self._write_files()
        for _ in range(_START_ATTEMPTS):
            fixed = self.service_port != 0
            if not fixed:
                self.service_port, self.enrolment_port = _free_ports(2)
            self._write_configuration()
            self._spawn(program)
            if self._ready():
                return
            self.kill()
            if fixed or "Address already in use" not in self._last_words():
                break
            self.service_port = self.enrolment_port = 0
        raise NetworkFault(
            "broker-not-started", f"mosquitto: {self._last_words()}", place=str(self.log), remedy="look at its log"
        )

    def stop(self) -> None:
        """Ask it to end, and wait; sessions get a DISCONNECT, retained messages and sessions go to its disk."""
        if self._process:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """SIGKILL, and reap."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def revoke(self, revocations: bytes) -> None:
        """Take a new list (PEM) for the service listener: it holds for every connection from now on.

        mosquitto reads it again on SIGHUP (seen in 2.0.11); sessions that stand are left.
        """
        replacement = self._revocations_path.with_suffix(".new")
        replacement.write_bytes(revocations)
        replacement.replace(self._revocations_path)
        if self._process:
            self._process.send_signal(signal.SIGHUP)

    @property
    def _revocations_path(self) -> Path:
        return self.directory / "service-revocations.pem"

    @contextlib.contextmanager
    def running(self) -> Iterator[Broker]:
        """Started inside, stopped after."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def _spawn(self, program: str) -> None:
        self.log.write_bytes(b"")
        command = [_program("setpriv"), "--pdeathsig", "KILL", program, "-c", str(self.directory / "mosquitto.conf")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _ready(self) -> bool:
        deadline = time.monotonic() + START_S
        while self._process and self._process.poll() is None and time.monotonic() < deadline:
            if all(_listens(port) for port in (self.service_port, self.enrolment_port)):
                return True
            time.sleep(0.01)
        return False

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        users = [f"user {name}\ntopic readwrite medvouch/v1/#\n" for name in self._settings.collectors]
        users += [f"user {name}\ntopic read medvouch/v1/#\n" for name in self._settings.observers]
        files = {
            "broker.pem": self._settings.certificate,
            "broker.key": self._settings.key,
            "service-roots.pem": self._settings.service_roots,
            "enrolment-roots.pem": self._settings.enrolment_roots,
            "service.acl": ("".join(users) + _DEVICE_ACL).encode(),
            "enrolment.acl": _ENROLMENT_ACL.encode(),
        }
        if self._settings.service_revocations and not self._revocations_path.exists():
            files[self._revocations_path.name] = self._settings.service_revocations
        for name, content in files.items():
            path = self.directory / name
            path.touch(mode=0o600)
            path.write_bytes(content)

    def _write_configuration(self) -> None:
        lines = [
            "per_listener_settings true",
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            "persistence true",
            f"persistence_location {self.directory}/",
            f"max_packet_size {MAX_PACKET}",
            "max_queued_messages 10000",
            "set_tcp_nodelay true",
            "log_dest stderr",
            "log_type error",
            "log_type warning",
            "log_type notice",
        ]
        lines += self._listener(self.service_port, "service")
        if self._settings.service_revocations:
            lines.append(f"crlfile {self._revocations_path}")
        lines += self._listener(self.enrolment_port, "enrolment")
        (self.directory / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _listener(self, port: int, name: str) -> list[str]:
        return [
            f"listener {port} {HOST}",
            f"cafile {self.directory}/{name}-roots.pem",
            f"certfile {self.directory}/broker.pem",
            f"keyfile {self.directory}/broker.key",
            "tls_version tlsv1.3",
            "require_certificate true",
            "use_identity_as_username true",
            "use_username_as_clientid true",
            "allow_anonymous false",
            f"acl_file {self.directory}/{name}.acl",
        ]


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        package = {"setpriv": "util-linux"}.get(name, name)
        raise MissingPart(f"{name}-missing", f"{name} is not installed", remedy=f"apt install {package}")
    return path


def _free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
