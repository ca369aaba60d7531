"""What the stand prepares for a gateway before it is switched on."""

from __future__ import annotations

import os
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509

from medvouch.cli.config import load
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.layout import lay_out
from medvouch_sim.machine.stand import BROKER, MODEL, Gateway, Stand
from medvouch_sim.machine.vm import Vm


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    host = Host(tmp_path)
    return Stand(host, host.work / "stand")


def test_the_broker_is_who_the_gateways_call(stand: Stand) -> None:
    certificate = x509.load_pem_x509_certificate(stand.site.broker._settings.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [IPv4Address("127.0.0.1"), IPv4Address(BROKER)]


@pytest.mark.skipif(os.geteuid() != 0, reason="files are handed to the agent's user, which takes root")
def test_the_data_partition_holds_what_the_agent_reads(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = lay_out([bytes(32)])
    root = stand.host.work / "tree/etc"
    (root / "medvouch/conf.d").mkdir(parents=True)
    (root / "medvouch/conf.d/10-installer.toml").write_text('[logs]\nhelper = "/run/medvouch/installer.sock"\n')
    (root / "passwd").write_text("root:x:0:0::/root:/bin/sh\nmedvouch:x:992:991::/var/lib/medvouch:/bin/false\n")
    vm = Vm(stand.host, stand.directory / "gateway")
    vm.directory.mkdir(parents=True)
    with vm.disk.open("wb") as image:
        image.truncate(disk.size)

    def make_file_system(_host: Host, *words: str | Path) -> str:
        assert words[0] == "mke2fs"
        Path(words[-2]).write_bytes(b"file system")
        return ""

    monkeypatch.setattr(Host, "run", make_file_system)
    stand.site.broker.service_port, stand.site.broker.enrolment_port = 18883, 18884
    Gateway("one", stand.site, vm, disk, device="ab" * 16).configure()
    etc = vm.directory / "data/etc"
    config = load(etc / "medvouch.toml")
    assert (config.device.model, config.device.serial) == (MODEL, "SN-one")
    assert (config.broker.host, config.broker.port) == (BROKER, 18883)
    assert (config.enrolment.port, str(config.enrolment.certificate)) == (18884, "/etc/medvouch/bootstrap.pem")
    assert str(config.logs.helper) == "/run/medvouch/installer.sock"
    assert {(path.stat().st_uid, path.stat().st_gid) for path in etc.rglob("*")} == {(992, 991)}
    assert (etc / "trust.cbor").read_bytes() == stand.site.trust.encode()
    with vm.disk.open("rb") as image:
        image.seek(disk["data"].offset)
        assert image.read(11) == b"file system"
