"""The demo from beginning to end: build, enrol, commission, attest, reboot, attack, recover."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.endorsements import read_certificate, read_ek_chain
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX
from medvouch.crypto.certificates import EK
from medvouch.crypto.x509 import verify_chain
from medvouch.errors import MissingPart
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.messages import topics
from medvouch_sim.demo.attacks import ENROLMENT_ATTACKS, SERVICE_ATTACKS, carry_out
from medvouch_sim.demo.lifeline_terminal import show_lives
from medvouch_sim.demo.narrator import Narrator
from medvouch_sim.demo.report import Report, installed_versions, write_report
from medvouch_sim.demo.stage import Stage
from medvouch_sim.demo.verdicts import write_verdicts
from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.observer import Heard
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.site import OWNER, WATCHER, Site, release_signers

GATEWAYS = ("gw1", "gw2", "gw3")
STEPS = (
    "manufactured",
    "measured boot",
    "enrolled",
    "commissioned",
    "attested",
    "verdict at home",
    "rebooted",
    "attested again",
    "healthy after all attacks",
)
CERTIFIED = "TPM of a trusted vendor"
REPLAYED = "as tpm2_eventlog says"
FIRMWARE_PCRS = range(8)
"""What the firmware alone extends; tpm2_eventlog knows nothing of IMA and systemd."""


async def run_demo(out: Path, console: Console) -> int:
    """Play it, write everything to `out`; 0 where every verdict was as expected, else 1."""
    if shutil.which("tpm2_eventlog") is None:
        raise MissingPart("tpm2-tools-missing", "tpm2_eventlog is not installed", remedy="run `make setup`")
    await asyncio.to_thread(_empty, out)
    total = len(GATEWAYS) * len(STEPS) + len(ENROLMENT_ATTACKS) + len(SERVICE_ATTACKS)
    narrator = Narrator(console, total)
    reference = sign_reference(predict(MODEL, "1.0.0"), *release_signers())
    site = Site(out / "site", [reference])
    narrator.chapter("Three gateways are built, and three that no good will come of")
    gateways, rogues = _build(site, out)
    async with site.running() as (collector, observer):
        stage = Stage(site, collector, observer, narrator, gateways, out)
        narrator.say(f"listen along: {listen_command(site)}")
        try:
            await _play(stage, rogues)
        finally:
            for gateway in gateways:
                await gateway.shut_down()
            _write(stage)
    show_lives(console, stage.lives)
    narrator.table()
    console.print(f"report: {_report(stage)}", soft_wrap=True, highlight=False)
    return closing(narrator, out, console)


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _build(site: Site, out: Path) -> tuple[list[Gateway], dict[str, Gateway]]:
    folder = out / "gateways"
    gateways = [Gateway(name, site, folder / name) for name in GATEWAYS]
    rogues = {
        "wrong-vendor": Gateway("wrong-vendor", site, folder / "wrong-vendor", vendor=site.rogue_vendor),
        "unlisted": Gateway("unlisted", site, folder / "unlisted"),
        "liar": Gateway("liar", site, folder / "liar"),
    }
    listed = [*gateways, rogues["wrong-vendor"], rogues["liar"]]
    site.manifest_entries.extend(gateway.entry for gateway in listed)
    return gateways, rogues


async def _play(stage: Stage, rogues: dict[str, Gateway]) -> None:
    for gateway in stage.gateways:
        stage.narrator.chapter(f"{gateway.name}, {gateway.order.model} {gateway.order.serial}, is {gateway.device}")
        await _life(stage, gateway)
    stage.narrator.chapter("Attackers want to be enrolled")
    for name, attack in ENROLMENT_ATTACKS:
        await carry_out(attack, stage, rogues[name])
    stage.narrator.chapter("Attackers go for gateways in service")
    for number, attack in SERVICE_ATTACKS:
        await carry_out(attack, stage, stage.gateways[number])
    stage.narrator.chapter("Afterwards")
    for gateway in stage.gateways:
        outcome = await stage.challenge(gateway, STEPS[8])
        status, code = outcome.ear.status.name.lower(), _code(outcome.error)
        stage.record(gateway.name, "step", STEPS[8], "affirming", status, code=code)


async def _life(stage: Stage, gateway: Gateway) -> None:
    def step(name: str, expected: str, actual: str, *, code: str = "", detail: str = "") -> None:
        stage.record(gateway.name, "step", name, expected, actual, code=code, detail=detail)

    mark = stage.mark
    await gateway.boot()
    step("manufactured", CERTIFIED, await asyncio.to_thread(_manufactured, gateway))
    step("measured boot", REPLAYED, await asyncio.to_thread(_measured, gateway))
    enrolled = await stage.observer.first(lambda heard: _enrolment(heard, gateway), since=mark)
    step("enrolled", "enrolled", enrolled.code or "enrolled", code=enrolled.code)
    await stage.online(gateway, since=mark)
    mark = stage.mark
    await stage.collector.challenger.command(gateway.device, "commission", {"owner": OWNER})
    commissioned = await stage.observer.first(lambda heard: _answered(heard, gateway), since=mark)
    owner = commissioned.payload.fields.get("owner") if commissioned.payload else None
    step("commissioned", OWNER, str(owner))
    outcome = await stage.challenge(gateway, "attested")
    boots = outcome.ear.boot_count or 0
    step("attested", "affirming", outcome.ear.status.name.lower(), code=_code(outcome.error))
    step("verdict at home", "affirming", _verdict_at_home(gateway))
    await gateway.reboot()
    outcome = await stage.challenge(gateway, "attested again")
    step("rebooted", "resetCount up", "resetCount up" if (outcome.ear.boot_count or 0) > boots else "resetCount not up")
    step("attested again", "affirming", outcome.ear.status.name.lower(), code=_code(outcome.error))


def _manufactured(gateway: Gateway) -> str:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        leaf, chain = read_certificate(tpm, EK_CERTIFICATE_INDEX), read_ek_chain(tpm)
    roots = [gateway.site.vendor.root.certificate]
    verify_chain(leaf, chain, roots, gateway.site.started_at, profile=EK)
    return CERTIFIED


def _measured(gateway: Gateway) -> str:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        present = tpm.pcr_read(PcrSelection.of({HashAlg.SHA256: FIRMWARE_PCRS}))[HashAlg.SHA256]
    command = ["tpm2_eventlog", str(gateway.machine.uefi_log)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    replayed = told[told.index("\npcrs:") :].partition("sha256:")[2]
    values = {int(pcr): bytes.fromhex(value) for pcr, value in re.findall(r"(\d+)\s*: 0x([0-9a-f]{64})\b", replayed)}
    differing = [pcr for pcr in FIRMWARE_PCRS if values.get(pcr) != present[pcr]]
    return f"PCRs {differing} differ" if differing else REPLAYED


def _verdict_at_home(gateway: Gateway) -> str:
    service = gateway.agent.service if gateway.agent else None
    verdict = service.status()["attestation"] if service else None
    return str(verdict["status"]) if isinstance(verdict, dict) else "none"


def _enrolment(heard: Heard, gateway: Gateway) -> bool:
    payload = heard.payload
    if payload is None or payload.schema not in {"event/enrolled", "event/enrolment-refused"}:
        return False
    return payload.fields.get("about") == gateway.device


def _answered(heard: Heard, gateway: Gateway) -> bool:
    topic = heard.topic
    return isinstance(topic, topics.Response) and (topic.device, topic.name) == (gateway.device, "commission")


def _code(error: object) -> str:
    return str(getattr(error, "code", "") or "")


def listen_command(site: Site) -> str:
    """What a person types to hear everything on the broker of this site, with a credential made for it."""
    watcher = site.service_credential(WATCHER)
    folder = watcher.certificate.parent
    (folder / "broker-ca.pem").write_bytes(site.broker_ca_pem)
    files = f"--cafile {folder}/broker-ca.pem --cert {watcher.certificate} --key {watcher.key}"
    return f"mosquitto_sub -h {site.broker.host} -p {site.broker.service_port} {files} -V 5 -v -t 'medvouch/v1/#'"


def _write(stage: Stage) -> None:
    """Verdicts, and every message that was heard; binary ones by their size."""
    write_verdicts(stage.out / "verdicts.json", stage.narrator.verdicts)
    with (stage.out / "mqtt.jsonl").open("w", encoding="utf-8") as file:
        for heard in stage.observer.heard:
            payload: object = {"bytes": len(heard.message.payload)}
            if heard.payload is not None:
                payload = json.loads(heard.message.payload)
            at_s = round(heard.at_s - stage.narrator.started_s, 3)
            line = {"at_s": at_s, "topic": heard.message.topic, "payload": payload}
            file.write(json.dumps(line) + "\n")


def _report(stage: Stage) -> Path:
    narrator = stage.narrator
    report = Report(stage.lives, narrator.verdicts, narrator.elapsed_s, int(time.time()), installed_versions())
    return write_report(stage.out, report)


def closing(narrator: Narrator, out: Path, console: Console) -> int:
    """The last line; the exit code: 0 where every verdict was as expected, else 1."""
    wrong = [verdict for verdict in narrator.verdicts if not verdict.as_expected]
    rows, seconds = len(narrator.verdicts), narrator.elapsed_s
    console.print(f"{rows - len(wrong)} of {rows} as expected, in {seconds:.1f} s; all files are in {out}")
    return 1 if wrong else 0


def attack_rows() -> Sequence[tuple[str, str]]:
    """(attack, code) of the demo, for the documentation."""
    return [(attack.name, attack.code) for _, attack in (*ENROLMENT_ATTACKS, *SERVICE_ATTACKS)]
