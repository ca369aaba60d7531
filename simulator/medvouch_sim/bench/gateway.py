"""Figures of one gateway: evidence made and judged beside the least that it could cost; its agent's start, and rest."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from medvouch.adapters.credentials import FileCredentials
from medvouch.adapters.logs import FileLogs
from medvouch.adapters.store import SqliteStore
from medvouch.adapters.system import SystemClock
from medvouch.adapters.tss import TssTpm
from medvouch.attestation.appraisal import Anchors, Expectation, appraise
from medvouch.attestation.attester import AttestationKeys, Attester, Description
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.ledger_heads import LedgerExpectation
from medvouch.attestation.policy import RELEASE_POLICY, STATIC_PCRS
from medvouch.cli import wiring
from medvouch.crypto.keys import key_thumbprint
from medvouch.daemon.recording import head_of
from medvouch.daemon.standing import Standing
from medvouch.errors import NetworkFault
from medvouch.formats import eventlog, systemd
from medvouch.formats.claims import LedgerHead
from medvouch.formats.eventlog import Event, EventLog, EventType
from medvouch.formats.uefi import ImageLoad
from medvouch.messages import topics
from medvouch_sim import bare, firmware
from medvouch_sim.bench.figures import IDLE, RESPONSE, START, VERIFY, Effort, Figure
from medvouch_sim.firmware import Machine
from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.installed import pss_kib, running_agent, tcp_tpm
from medvouch_sim.observer import Heard, Observer
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.site import APPRAISER, Site, release_signers
from medvouch_sim.swtpm import SwTpm, SwTpmTcti

NONCE_BYTES = 32
_COMMANDS = {0x158: "Quote", 0x15D: "Sign", 0x17E: "PCR_Read"}
"""TPM 2.0 Library, Part 2, 6.5.2."""


async def measure(names: Sequence[str], effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    """The figures of these names, in the order of ONE_GATEWAY; nothing is left running or on the disk."""
    with tempfile.TemporaryDirectory(prefix="medvouch-bench-") as folder:
        say("a gateway is built and enrolled")
        reference = sign_reference(predict(MODEL, "1.0.0"), *release_signers())
        site = Site(Path(folder) / "site", [reference])
        gateway = Gateway("bench", site, Path(folder) / "bench")
        site.manifest_entries.append(gateway.entry)
        async with site.running() as (_, observer):
            figures = await _in_process(gateway, observer, names, effort, say)
            if {START, IDLE} & set(names):
                say(f"{START}, {IDLE}: {effort.starts} starts, a rest of {effort.rest_s:g} s")
                figures += [figure for figure in await _agent(gateway, observer, effort) if figure.name in names]
    return figures


async def _in_process(
    gateway: Gateway, observer: Observer, names: Sequence[str], effort: Effort, say: Callable[[str], None]
) -> list[Figure]:
    """Enrol, and measure what needs no process of its own; the gateway is off afterwards."""
    figures: list[Figure] = []
    async with gateway.booted():
        await _online(gateway, observer, since=0)
        await gateway.stop_agent()
        with _attesters(gateway) as (bare_attester, attester, tcti, nv_names):
            if RESPONSE in names:
                say(f"{RESPONSE}: {effort.responses} times")
                figures.append(await asyncio.to_thread(_response, bare_attester, tcti, effort))
            if VERIFY in names:
                say(f"{VERIFY}: {effort.evidences} distinct ones, {effort.rounds} times")
                figures.append(await asyncio.to_thread(_verify, attester, gateway, nv_names, effort))
    return figures


async def _online(gateway: Gateway, observer: Observer, *, since: int) -> None:
    """Wait for its agent's word on MQTT."""

    def announced(heard: Heard) -> bool:
        at, payload = heard.topic, heard.payload
        ours = isinstance(at, topics.Status) and at.device == gateway.device
        return ours and payload is not None and payload.fields.get("state") == "online"

    try:
        await observer.first(announced, since=since)
    except TimeoutError as error:
        remedy = "run it by hand with --verbose and a configuration of its own"
        raise NetworkFault("agent-not-online", "the agent did not announce itself", remedy=remedy) from error


class _RecordingTcti(SwTpmTcti):
    """Keeps the commands that it passes on."""

    def __init__(self, tpm: SwTpm) -> None:
        super().__init__(tpm)
        self.tpm = tpm
        self.commands: list[bytes] = []

    def do_transmit(self, command: bytes) -> None:
        """Send a command."""
        self.commands.append(bytes(command))
        super().do_transmit(command)


@dataclass(frozen=True)
class _KeptLedger:
    """The ledger that the agent has left."""

    store: SqliteStore

    def head(self, since: int) -> tuple[LedgerHead, bytes] | None:
        """As the agent's recorder says it."""
        return head_of(self.store, since)


@contextmanager
def _attesters(gateway: Gateway) -> Iterator[tuple[Attester, Attester, _RecordingTcti, Mapping[str, bytes]]]:
    """The enrolled gateway's: without its ledger, and as its agent makes it; the Names of the ledger's NV indexes."""
    config = gateway.config()
    store = SqliteStore(config.database)
    identity = Standing(store).identity
    assert identity is not None
    hardware = wiring.hardware(config)
    description = Description(
        ueid=identity.ueid,
        client_key_thumbprint=_client_key(gateway),
        oem_id=hardware.oem_id,
        hw_model=hardware.model.encode(),
        hw_version=hardware.hw_version,
        sw_name=hardware.sw_name,
        sw_version=hardware.sw_version,
    )
    logs = FileLogs(config.logs.uefi, config.logs.systemd, config.logs.ima)
    tcti = _RecordingTcti(gateway.tpm)
    with closing(store), TssTpm(tcti) as tpm:
        parts = (tpm, logs, SystemClock(), AttestationKeys.load(tpm, identity), description)
        yield Attester(*parts), Attester(*parts, ledger=_KeptLedger(store)), tcti, identity.nv_names


def _client_key(gateway: Gateway) -> bytes:
    return key_thumbprint(FileCredentials(gateway.state_dir).client_key())


def _response(attester: Attester, tcti: _RecordingTcti, effort: Effort) -> Figure:
    pairs = []
    for _ in range(effort.responses):
        nonce = os.urandom(NONCE_BYTES)
        tcti.commands.clear()
        started = time.perf_counter()
        attester.evidence(nonce, APPRAISER, STATIC_PCRS)
        made = time.perf_counter()
        for command in tcti.commands:
            tcti.tpm.raw(command)
        pairs.append((made - started, time.perf_counter() - made))
    commands = (_COMMANDS[int.from_bytes(command[6:10], "big")] for command in tcti.commands)
    return Figure.of_pairs(RESPONSE, pairs, f"the bytes of its TPM commands alone: {', '.join(commands)}")


def _verify(attester: Attester, gateway: Gateway, nv_names: Mapping[str, bytes], effort: Effort) -> Figure:
    root = gateway.site.enrolment_ca.certificate
    anchors = Anchors([root], gateway.site.verified_references())
    now, thumbprint = int(time.time()), _client_key(gateway)
    nonces = [os.urandom(NONCE_BYTES) for _ in range(effort.evidences)]
    ledger = LedgerExpectation(nv_names)
    cases = []
    for number, nonce in enumerate(nonces):
        _vary(gateway.machine, number)
        data = attester.evidence(nonce, APPRAISER, STATIC_PCRS)
        expected = Expectation(APPRAISER, gateway.device, nonce, client_key_thumbprint=thumbprint, ledger=ledger)
        evidence = UnverifiedEvidence.parse(data)
        passed = appraise(evidence, expected, anchors, RELEASE_POLICY, now)
        cases.append((data, expected, bare.BareChecks.of(evidence, passed, root)))
    pairs = []
    for data, expected, checks in cases * effort.rounds:
        started = time.thread_time()  # nothing here waits for anybody, and others who want the processor do not count
        appraise(UnverifiedEvidence.parse(data), expected, anchors, RELEASE_POLICY, now)
        judged = time.thread_time()
        checks.run()
        pairs.append((judged - started, time.thread_time() - judged))
    return Figure.of_pairs(VERIFY, pairs, f"{bare.DESCRIPTION}; {_VARIED}")


_VARIED = "each evidence with its own nonce, load addresses in the firmware's log, and boot and times in systemd's"


def _vary(machine: Machine, number: int) -> None:
    """What no PCR holds and every boot logs anew, so that no two logs are alike and all lead to what the TPM holds."""
    log = eventlog.parse(machine.uefi_log.read_bytes())
    events = tuple(_loaded_at(event, number << 12) for event in log.events)
    machine.uefi_log.write_bytes(EventLog(log.spec, events).encode())
    records = systemd.parse(machine.systemd_log.read_bytes())
    varied = {"bootId": f"{number:032x}", "timestamp": number}
    machine.systemd_log.write_bytes(
        systemd.encode(replace(record, content={**record.content, **varied}) for record in records)
    )


def _loaded_at(event: Event, address: int) -> Event:
    if event.type != EventType.EV_EFI_BOOT_SERVICES_APPLICATION:
        return event
    return event._replace(data=replace(ImageLoad.parse(event.data), location=address).encode())


async def _agent(gateway: Gateway, observer: Observer, effort: Effort) -> list[Figure]:
    """Starts of the enrolled gateway's agent, from the spawned process to its word on MQTT."""
    starts = []
    with tcp_tpm(gateway.tpm.state_dir) as tcti:
        with TssTpm(tcti) as tpm:
            firmware.boot(gateway.machine, tpm)
        gateway.config()
        with gateway.config_path.open("a", encoding="utf-8") as file:
            file.write(f'\n[tpm]\ntcti = "{tcti}"\n')
        for number in range(effort.starts):
            mark = len(observer.heard)
            started = time.perf_counter()
            with running_agent(gateway.config_path, gateway.directory / "agent.log") as process:
                await _online(gateway, observer, since=mark)
                starts.append(time.perf_counter() - started)
                if number == effort.starts - 1:
                    await asyncio.sleep(effort.rest_s)
                    memory = pss_kib(process.pid) / 1024
    return [Figure(START, round(median(starts) * 1e3, 1), "ms"), Figure(IDLE, round(memory, 2), "MiB")]
