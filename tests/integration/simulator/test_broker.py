from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import medvouch
import medvouch_sim
from medvouch.crypto.ca import CertificateAuthority
from medvouch.errors import MissingPart, NetworkFault
from medvouch_sim import broker as module
from medvouch_sim.broker import Broker, BrokerSettings
from support import pki


@pytest.fixture
def settings() -> BrokerSettings:
    authority = pki.authority("ca")
    server = pki.issue(authority, "server")
    return BrokerSettings(server.pem, server.key_pem, authority.pem, authority.pem)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ports_stay_over_restarts_and_nothing_is_left_running(tmp_path: Path, settings: BrokerSettings) -> None:
    broker = Broker(tmp_path / "broker", settings)
    with broker.running():
        ports = broker.service_port, broker.enrolment_port
        assert broker._process is not None
        pid = broker._process.pid
        broker.kill()
        assert not alive(pid)
        broker.start()
        assert (broker.service_port, broker.enrolment_port) == ports
        pid = broker._process.pid
    assert not alive(pid)
    broker.stop()  # once more does no harm


def test_only_its_owner_reads_the_key(tmp_path: Path, settings: BrokerSettings) -> None:
    with Broker(tmp_path, settings).running():
        assert (tmp_path / "broker.key").stat().st_mode & 0o777 == 0o600


def test_tls_1_3_and_a_client_certificate_are_required(tmp_path: Path, settings: BrokerSettings) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=settings.service_roots.decode())
    with Broker(tmp_path, settings).running() as broker:
        for port in (broker.service_port, broker.enrolment_port):
            with (
                socket.create_connection((broker.host, port)) as plain,
                context.wrap_socket(plain, server_hostname=broker.host) as tls,
            ):
                assert tls.version() == "TLSv1.3"
                with pytest.raises(OSError, match="certificate required"):
                    tls.recv(1)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with socket.create_connection((broker.host, broker.service_port)) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname=broker.host)


def test_a_broken_configuration_is_told_in_its_own_words(tmp_path: Path, settings: BrokerSettings) -> None:
    broken = BrokerSettings(b"no certificate", settings.key, settings.service_roots, settings.enrolment_roots)
    with pytest.raises(NetworkFault) as caught:
        Broker(tmp_path, broken).start()
    assert caught.value.code == "broker-not-started"
    assert "mosquitto.log" in caught.value.place
    assert caught.value.detail != "mosquitto: it said nothing"


def greeted(broker: Broker, roots: bytes, credential: pki.Credential, folder: Path) -> bool:
    """Whether the service listener keeps a TLS client with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=roots.decode())
    context.load_cert_chain(*credential.write(folder))
    with (
        socket.create_connection((broker.host, broker.service_port)) as plain,
        context.wrap_socket(plain, server_hostname=broker.host) as tls,
    ):
        tls.settimeout(0.5)
        try:
            tls.recv(1)
        except TimeoutError:
            return True
        except OSError:
            pass
        return False


def test_a_revoked_certificate_is_refused_once_the_list_says_so(tmp_path: Path) -> None:
    root = pki.authority("ca")
    server, good, bad = (pki.issue(root, name) for name in ("server", "good", "bad"))
    authority = CertificateAuthority(root.der, root.key)
    now = int(pki.NOW.timestamp())

    def revoked(*credentials: pki.Credential, at: int) -> bytes:
        serials = {each.certificate.serial_number: now for each in credentials}
        return x509.load_der_x509_crl(authority.revocation_list(serials, at)).public_bytes(Encoding.PEM)

    settings = BrokerSettings(server.pem, server.key_pem, root.pem, root.pem, service_revocations=revoked(at=now))
    broker = Broker(tmp_path, settings)
    with broker.running():
        assert [greeted(broker, root.pem, each, tmp_path) for each in (good, bad)] == [True, True]
        broker.revoke(revoked(bad, at=now + 1))
        time.sleep(0.3)
        assert [greeted(broker, root.pem, each, tmp_path) for each in (good, bad)] == [True, False]
    with broker.running():
        assert [greeted(broker, root.pem, each, tmp_path) for each in (good, bad)] == [True, False]


def test_a_port_taken_meanwhile_is_replaced(
    tmp_path: Path, settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = module._free_ports
    with socket.socket() as squatter:
        squatter.bind((module.HOST, 0))
        squatter.listen()
        taken = squatter.getsockname()[1]
        offers = [[taken, *free(1)], free(2)]
        monkeypatch.setattr(module, "_free_ports", lambda _: offers.pop(0))
        with Broker(tmp_path, settings).running() as broker:
            assert broker.service_port != taken


def test_a_kept_port_that_is_taken_is_a_fault(tmp_path: Path, settings: BrokerSettings) -> None:
    broker = Broker(tmp_path, settings)
    with broker.running():
        pass
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind((module.HOST, broker.service_port))
        squatter.listen()
        with pytest.raises(NetworkFault, match="in use"):
            broker.start()


def test_without_mosquitto(tmp_path: Path, settings: BrokerSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(module, "_SBIN", str(tmp_path))
    with pytest.raises(MissingPart) as caught:
        Broker(tmp_path, settings).start()
    assert str(caught.value) == "mosquitto-missing: mosquitto is not installed; apt install mosquitto"
    assert caught.value.exit_code == 7


PARENT = """
import sys
from pathlib import Path
from medvouch_sim.broker import Broker, BrokerSettings
parts = [Path(name).read_bytes() for name in sys.argv[2:]]
broker = Broker(Path(sys.argv[1]), BrokerSettings(*parts))
broker.start()
print(broker._process.pid, flush=True)
sys.stdin.read()
"""


def test_it_dies_with_its_parent(tmp_path: Path, settings: BrokerSettings) -> None:
    files = []
    for number, part in enumerate(
        (settings.certificate, settings.key, settings.service_roots, settings.enrolment_roots)
    ):
        files.append(tmp_path / str(number))
        files[-1].write_bytes(part)
    roots = {str(Path(package.__file__).parents[1]) for package in (medvouch, medvouch_sim) if package.__file__}
    environment = {**os.environ, "PYTHONPATH": ":".join(roots)}
    command = [sys.executable, "-c", PARENT, str(tmp_path / "broker"), *map(str, files)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)
