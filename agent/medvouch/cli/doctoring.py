"""`medvouch doctor`: wires what it looks at, with a running agent or without one."""

from __future__ import annotations

import argparse
import os
import socket
import ssl
from pathlib import Path

from medvouch.adapters.control import ControlClient
from medvouch.adapters.credentials import FileCredentials
from medvouch.adapters.helper import HelperLogs
from medvouch.adapters.logs import FileLogs
from medvouch.adapters.slots import FileSlots
from medvouch.adapters.system import SystemClock
from medvouch.adapters.tls import client_context
from medvouch.attestation.reference import VerifiedReference, verify_references
from medvouch.cli.config import Config, LogsConfig, load
from medvouch.cli.doctor import Doctor, Finding, Surroundings, no_tpm, not_running
from medvouch.cli.judging import read_policy
from medvouch.cli.output import show
from medvouch.cli.trusting import keys_at, read_trust, role_of
from medvouch.errors import MedvouchError, NetworkFault
from medvouch.formats.trust import TrustDocument
from medvouch.ports import Clock, MeasurementLogs, Tpm

CONNECT_S = 5.0


def doctor(options: argparse.Namespace) -> int:
    """0 where all is well, else the exit code of the first problem; ConfigFault where there is nothing to go by."""
    config, policy = load(options.config), read_policy(options.policy)
    findings = list(Doctor(surroundings(config), policy).findings())
    trust = _trust_finding(config.trust)
    findings.insert(0, trust)
    code = next((each.exit_code for each in findings if each.error is not None), 0)
    document = {"policy": policy.id, "findings": [each.as_json() for each in findings], "exit_code": code}
    show(document, [each.line() for each in findings], as_json=options.json)
    return code


def surroundings(config: Config) -> Surroundings:
    """Of a configuration; nothing is opened yet."""
    clock = SystemClock()
    return Surroundings(
        tpm=lambda: _tpm(config.tpm.tcti),
        logs=_logs(config.logs),
        clock=clock,
        slots=FileSlots(config.update.slots) if config.update.repository else None,
        broker=lambda: _broker(config),
        vendor_roots=lambda: read_trust(config.trust).certificates["tpm-vendor"],
        references=lambda: _references(read_trust(config.trust), clock),
        agent=lambda: _agent(config),
    )


def _logs(settings: LogsConfig) -> MeasurementLogs:
    """From the helper, as the agent has them; root reads the files, since the helper answers the agent's user alone."""
    if settings.helper and os.geteuid() != 0:
        return HelperLogs(Path(settings.helper))
    return FileLogs(settings.uefi, settings.systemd, settings.ima)


def _trust_finding(path: Path) -> Finding:
    try:
        trust = read_trust(path)
    except MedvouchError as error:
        return Finding("trust", error=error)
    return Finding("trust", f"version {trust.version}, {len(trust.references)} sets of reference values")


def _tpm(tcti: str) -> Tpm:
    try:
        from medvouch.adapters.tss import TssTpm  # noqa: PLC0415 - all else is looked at in the base install, too
    except ImportError as error:
        raise no_tpm(error) from error
    return TssTpm(tcti)


def _references(trust: TrustDocument, clock: Clock) -> tuple[VerifiedReference, ...]:
    keys = keys_at(trust, "release", clock.now().ms // 1000)
    return verify_references(trust.references, keys, role_of(trust, "release").threshold)


def _broker(config: Config) -> str:
    """The broker that the device would use now, by TLS alone: in service once it has a certificate for it."""
    credentials = FileCredentials(config.state_dir)
    enrolled = credentials.certificate_path.exists()
    at = config.broker if enrolled else config.enrolment
    shown = (
        (credentials.certificate_path, credentials.key_path)
        if enrolled
        else (config.enrolment.certificate, config.enrolment.key)
    )
    context = client_context(read_trust(config.trust).certificates["broker-ca"], *shown)
    name = f"{at.host}:{at.port}"
    try:
        with (
            socket.create_connection((at.host, at.port), CONNECT_S) as plain,
            context.wrap_socket(plain, server_hostname=at.host) as secured,
        ):
            version = secured.version()
    except ssl.SSLError as error:
        remedy = "check that this is the right broker, and the broker CA in the trust document"
        raise NetworkFault("broker-untrusted", f"{name}: {error.reason or error}", remedy=remedy) from error
    except OSError as error:
        remedy = "check that the broker runs, and host, port and firewall between here and there"
        raise NetworkFault("broker-unreachable", f"{name}: {error.strerror or error}", remedy=remedy) from error
    return f"{name} is there and is who it should be ({version}), for {'service' if enrolled else 'enrolment'}"


def _agent(config: Config) -> str:
    try:
        document = ControlClient(config.control_socket).call("status")
    except MedvouchError as error:
        return not_running(error)
    problems = document.get("problems") or []
    return "running" + (f", with {len(problems)} problems: see `medvouch status`" if problems else ", without problems")
