"""`medvouch doctor` on a gateway with a real TPM and a real broker: beside its agent, without one, and with faults."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.policy import Policy, parse_policy, shipped
from medvouch.cli.config import Config
from medvouch.cli.doctor import Doctor, Finding, Surroundings
from medvouch.cli.doctoring import surroundings
from medvouch.errors import TpmFault
from medvouch.formats import eventlog
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType
from medvouch.formats.hashing import digest
from medvouch.ports import Timestamp
from support.sites import Scene

RELEASE = shipped("release")


class GoodClock:
    """Containers are not synchronised by anybody."""

    ok = True

    def now(self) -> Timestamp:
        return Timestamp(1_800_000_000_000, self.ok)

    def uptime_s(self) -> int:
        return 60


def around(scene: Scene, config: Config | None = None) -> Surroundings:
    """As the command makes them, with the gateway's own TPM."""
    made = surroundings(config or scene.gateway.config())
    return replace(made, tpm=lambda: TssTpm(scene.gateway.tpm.tcti()), clock=GoodClock())


async def findings(at: Surroundings, policy: Policy = RELEASE) -> dict[str, Finding]:
    found = await asyncio.to_thread(lambda: list(Doctor(at, policy).findings()))
    assert [each.component for each in found] == [
        "tpm", "ek", "banks", "logs", "replay", "secure-boot", "slots", "clock", "broker", "agent", "verdict",
    ]  # fmt: skip
    return {each.component: each for each in found}


def problems(found: dict[str, Finding]) -> dict[str, str]:
    return {name: each.error.code for name, each in found.items() if each.error is not None}


async def test_beside_an_agent_at_work(serving: Scene) -> None:
    found = await findings(around(serving))
    assert problems(found) == {}
    said = {name: each.said for name, each in found.items()}
    assert said["ek"] is not None
    assert said["ek"].startswith("certified by a trusted vendor: ")
    assert said["banks"] == "active: sha256, sha384"
    assert said["secure-boot"] == "on, as measured"
    assert "for service" in (said["broker"] or "")
    assert said["agent"] == "not running; all of this was looked at without it", "a simulated agent has no socket"
    assert said["verdict"] == "affirming under medvouch:release:1, release 1.0.0, by PCRs as they are read, unsigned"
    assert said["slots"] is None
    assert found["slots"].line() == "-        slots        not looked at: no update repository is configured"
    outcome = await serving.collector.challenger.challenge(serving.device)
    assert outcome.error is None, "the agent goes on undisturbed"


async def test_before_enrolment(scene: Scene) -> None:
    scene.gateway.config()
    scene.gateway.power_on()
    found = await findings(around(scene))
    assert problems(found) == {}
    assert "for enrolment" in (found["broker"].said or "")
    assert "not owned yet" in (found["tpm"].said or "")


def unplugged() -> TssTpm:
    raise TpmFault("tpm-unreachable", "it is not there", remedy="plug it in")


async def test_what_stands_on_the_tpm_is_left_out_without_one(serving: Scene) -> None:
    found = await findings(replace(around(serving), tpm=unplugged))
    assert problems(found) == {"tpm": "tpm-unreachable"}
    assert found["tpm"].exit_code == 4
    for name in ("ek", "banks", "replay", "secure-boot", "verdict"):
        assert found[name].said is None
        assert "cannot be read" in found[name].line()
    assert found["logs"].said is not None


async def test_an_ek_of_a_stranger(serving: Scene) -> None:
    rogue = (serving.site.rogue_vendor.root.certificate,)
    found = await findings(replace(around(serving), vendor_roots=lambda: rogue))
    assert problems(found) == {"ek": "certificate-untrusted"}
    assert found["ek"].exit_code == 1


async def test_a_bank_that_is_not_active(serving: Scene) -> None:
    policy = parse_policy('id = "x"\n[pcrs]\nsha512 = "0-7"')
    found = await findings(around(serving), policy)
    assert problems(found) == {"banks": "bank-missing"}
    assert found["verdict"].said is None


async def test_a_log_that_is_not_there_or_unreadable(serving: Scene) -> None:
    log = serving.gateway.machine.uefi_log
    config = serving.gateway.config()
    found = await findings(around(serving, replace(config, logs=replace(config.logs, uefi=log.with_name("none")))))
    assert problems(found) == {"logs": "eventlog-missing"}
    assert found["logs"].exit_code == 6
    log.write_bytes(log.read_bytes()[:-1])
    assert problems(await findings(around(serving))) == {"logs": "eventlog-truncated"}


async def test_something_that_no_log_explains(serving: Scene) -> None:
    with TssTpm(serving.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(12, {HashAlg.SHA256: bytes(32)})
    assert problems(await findings(around(serving))) == {"replay": "pcr-unexplained", "verdict": "pcr-unexplained"}
    with TssTpm(serving.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(7, {HashAlg.SHA256: bytes(32)})
    found = problems(await findings(around(serving)))
    assert found == {"replay": "pcr-mismatch", "secure-boot": "secure-boot-unknown", "verdict": "pcr-mismatch"}


async def test_another_release_is_foretold(serving: Scene) -> None:
    await serving.gateway.shut_down()
    serving.gateway.machine.install("1.1.0")
    serving.gateway.power_on()
    found = await findings(around(serving))
    assert problems(found) == {"verdict": "event-unexpected"}
    assert found["verdict"].exit_code == 1
    assert problems(await findings(around(serving), shipped("secure-boot"))) == {}


async def test_secure_boot_off(serving: Scene) -> None:
    await serving.gateway.shut_down()
    (serving.gateway.machine.nvram / "SecureBoot.var").write_bytes(b"\0")
    serving.gateway.power_on()
    assert problems(await findings(around(serving))) == {"secure-boot": "secure-boot-off", "verdict": "secure-boot-off"}


async def test_a_quirk_that_the_policy_lets_pass_or_not(serving: Scene) -> None:
    path = serving.gateway.machine.uefi_log
    log = eventlog.parse(path.read_bytes())
    again = {bank: digest(bank, bytes(4)) for bank in log.banks}
    separator = Event(len(log.events) + 1, 4, EventType.EV_SEPARATOR, again, bytes(4), 0)
    with TssTpm(serving.gateway.tpm.tcti()) as tpm:
        tpm.pcr_extend(4, again)
    path.write_bytes(EventLog(log.spec, (*log.events, separator)).encode())
    firmware = 'id = "firmware"\n{}[pcrs]\nsha256 = "0-7"'
    found = problems(await findings(around(serving), parse_policy(firmware.format(""))))
    assert found == {"replay": "separator-doubled", "verdict": "separator-doubled"}
    lenient = parse_policy(firmware.format('quirks = ["measures-twice"]\n'))
    told = await findings(around(serving), lenient)
    assert problems(told) == {}
    assert (told["replay"].said or "").endswith("; measures-twice let pass")


async def test_a_clock_that_nobody_sets(serving: Scene) -> None:
    clock = GoodClock()
    clock.ok = False
    found = await findings(replace(around(serving), clock=clock))
    assert problems(found) == {"clock": "clock-unsynchronised"}


async def test_brokers(serving: Scene, tmp_path: Path) -> None:
    config = serving.gateway.config()
    away = replace(config, broker=replace(config.broker, port=1))
    found = await findings(around(serving, away))
    assert problems(found) == {"broker": "broker-unreachable"}
    assert found["broker"].exit_code == 5
    other = replace(config, broker=replace(config.broker, host="127.0.0.2"))
    assert problems(await findings(around(serving, other)))["broker"] in {"broker-untrusted", "broker-unreachable"}


async def test_slots(serving: Scene) -> None:
    slots = serving.gateway.machine.slots
    found = await findings(replace(around(serving), slots=slots))
    assert (found["slots"].said or "").startswith("a is running, b takes the next release of up to ")
    at = replace(around(serving), slots=slots)
    shutil.move(slots.directory, slots.directory.with_name("gone"))
    assert problems(await findings(at)) == {"slots": "slot-corrupt"}
    shutil.move(slots.directory.with_name("gone"), slots.directory)


def test_a_finding_in_json() -> None:
    error = TpmFault("tpm-unreachable", "no answer", place="here", remedy="look")
    assert Finding("tpm", error=error).as_json() == {
        "component": "tpm",
        "state": "problem",
        "code": "tpm-unreachable",
        "detail": "no answer",
        "place": "here",
        "remedy": "look",
        "exit_code": 4,
    }
    assert Finding("tpm", "fine").as_json() == {"component": "tpm", "state": "ok", "said": "fine"}
    assert Finding("tpm", why="no").as_json() == {"component": "tpm", "state": "not looked at", "said": "no"}
    assert Finding("tpm", error=error).line() == "PROBLEM  tpm          tpm-unreachable: no answer (here); look"


async def test_logs_of_the_helper_are_root_s_to_read_directly(serving: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    config = serving.gateway.config()
    with_helper = replace(config, logs=replace(config.logs, helper=str(config.run_dir / "none.sock")))
    for user, found in ((0, {}), (1000, {"logs": "helper-unreachable"})):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert problems(await findings(around(serving, with_helper))) == found
