"""The demo from beginning to end: build, enrol, commission, attest, update, attack, recover."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from medvouch.errors import MissingPart
from medvouch_sim.demo.acts import ACTS, SPARE
from medvouch_sim.demo.attacks.base import Attack, Trial, carry_out
from medvouch_sim.demo.chapters import GATEWAYS, LIFE, RECOVERY, step_rows
from medvouch_sim.demo.endings import ENDING
from medvouch_sim.demo.lifeline_terminal import show_lives
from medvouch_sim.demo.narrator import Narrator
from medvouch_sim.demo.report import Report, installed_versions, write_report
from medvouch_sim.demo.stage import Stage
from medvouch_sim.demo.verdicts import Kind, write_verdicts
from medvouch_sim.fixtures import RELEASES
from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.output_folder import emptied
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.publisher import Publisher
from medvouch_sim.site import WATCHER, Site, release_signers

FLOOR = 1
"""The security epoch of the release that the gateways are delivered with."""
LEFTOVERS = frozenset(
    {"bundles", "evidence", "gateways", "mqtt.jsonl", "report.html", "site", "updates", "updates-before"}
    | {"verdicts.json"}
)
"""All that a demo leaves in its folder."""


async def run_demo(out: Path, console: Console) -> int:
    """Play it, write everything to `out`; 0 where every verdict was as expected, else 1."""
    if shutil.which("tpm2_eventlog") is None:
        raise MissingPart("tpm2-tools-missing", "tpm2_eventlog is not installed", remedy="run `make setup`")
    await asyncio.to_thread(emptied, out, LEFTOVERS)
    narrator = Narrator(console, len(step_rows(LIFE, RECOVERY, ENDING)) + len(rows()))
    references = {version: sign_reference(predict(MODEL, version), *release_signers()) for version in RELEASES}
    site = Site(out / "site", list(references.values()), floor=FLOOR)
    narrator.chapter("Three gateways are built, a spare one to be broken, and three that no good will come of")
    with _publishing(site, out) as publisher:
        gateways, others = _build(site, out)
        async with site.running() as (collector, observer):
            stage = Stage(site, publisher, references, collector, observer, narrator, gateways, out)
            narrator.say(f"listen along: {listen_command(site)}")
            try:
                await _play(stage, others)
            finally:
                for gateway in (*gateways, others[SPARE]):
                    await gateway.shut_down()
                _write(stage)
    show_lives(console, stage.lives)
    narrator.table()
    console.print(f"report: {_report(stage)}", soft_wrap=True, highlight=False)
    return closing(narrator, out, console)


@contextmanager
def _publishing(site: Site, out: Path) -> Iterator[Publisher]:
    publisher = Publisher(out / "updates", site.started_at)
    try:
        site.publisher = publisher
        publisher.trust(site.trust.encode())
        yield publisher
    finally:
        publisher.close()


def _build(site: Site, out: Path) -> tuple[list[Gateway], dict[str, Gateway]]:
    folder = out / "gateways"
    gateways = [Gateway(name, site, folder / name) for name in GATEWAYS]
    others = {
        SPARE: Gateway(SPARE, site, folder / SPARE),
        "wrong-vendor": Gateway("wrong-vendor", site, folder / "wrong-vendor", vendor=site.rogue_vendor),
        "unlisted": Gateway("unlisted", site, folder / "unlisted"),
        "liar": Gateway("liar", site, folder / "liar"),
    }
    listed = [*gateways, *(others[name] for name in (SPARE, "wrong-vendor", "liar"))]
    site.manifest_entries.extend(gateway.entry for gateway in listed)
    return gateways, others


async def _play(stage: Stage, others: dict[str, Gateway]) -> None:
    for gateway in stage.gateways:
        stage.narrator.chapter(f"{gateway.name}, {gateway.order.model} {gateway.order.serial}, is {gateway.device}")
        for chapter in LIFE:
            await chapter.played(stage, gateway)
    cast = {gateway.name: gateway for gateway in stage.gateways} | others
    for act in ACTS:
        stage.narrator.chapter(act.title)
        if act.entrance:
            await act.entrance(stage, cast)
        for name, row in act.rows:
            await carry_out(row, stage, cast[name])
    for title, part in (("Afterwards", RECOVERY), ("A life ends, and every life can be shown", ENDING)):
        stage.narrator.chapter(title)
        for gateway in stage.gateways:
            for chapter in part:
                await chapter.played(stage, gateway)


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


def rows() -> Sequence[Attack | Trial]:
    """All attacks and faults in order."""
    return [row for act in ACTS for _, row in act.rows]


def told_rows(kind: Kind) -> Sequence[tuple[str, str]]:
    """(name, what it meets or comes to) of all attacks, or of all faults, for the documentation."""
    return [(row.name, row.expected) for row in rows() if row.kind == kind]
