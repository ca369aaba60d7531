"""`medvouch run` and the commands beside it, as an installer has them: processes, a TCTI string, a real broker."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import subprocess
from pathlib import Path

import pytest
import pytest_asyncio

from medvouch.messages import topics
from support import pki, programs
from support.programs import Installation
from support.sites import Scene

NONCE = "00112233445566778899aabbccddeeff"
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@pytest_asyncio.fixture
async def serving(device: Installation) -> Installation:
    """Enrolled, and in service."""
    await device.start()
    await device.healthy()
    return device


async def challenge(scene: Scene) -> str:
    """Have the collector challenge; the code of the verdict, or of the answer where no evidence came."""
    args: dict[str, object] = {"nonce": bytes(16), "appraiser": "collector"}
    mark = scene.mark
    identifier = await scene.collector.challenger.command(scene.device, "attest", args)
    answer = await scene.answer("attest", identifier, since=mark)
    return str(answer["code"] if answer["outcome"] == "refused" else answer["outcome"])


async def test_a_life(scene: Scene, device: Installation, tmp_path: Path) -> None:
    await device.start()
    told = await device.healthy()
    assert (told["device"], told["life"], told["attestation"]) == (scene.device, "enrolled", None)

    config, trust, evidence = device.gateway.config_path, scene.site.trust_path, tmp_path / "evidence.cbor"
    text = await device.call("status", "--config", config)
    assert (text.code, text.err) == (0, "")
    assert f"device          {scene.device}\n" in text.out
    assert "attestation     never judged\n" in text.out

    made = await device.call("attest", "--config", config, "--nonce", NONCE, "--out", evidence)
    assert (made.code, made.err) == (0, "")
    assert made.out == f"{evidence.stat().st_size} bytes of evidence for collector in {evidence}\n"
    checked = await device.call("verify", evidence, "--trust", trust, "--nonce", NONCE, "--device", scene.device)
    assert (checked.code, checked.err) == (0, "")
    assert "status       affirming\n" in checked.out
    assert "release      1.0.0\n" in checked.out
    other = await device.call("verify", evidence, "--trust", trust, "--nonce", NONCE[::-1], "--json")
    assert (other.code, other.json["code"]) == (1, "nonce-mismatch")
    shown = await device.call("inspect", "cmw", evidence, "--json")
    assert {"eat", "quote", "checkpoint", "uefi", "systemd", "ima"} == {row["label"] for row in shown.json["records"]}
    evidence.write_bytes(evidence.read_bytes()[:-1])
    assert (await device.call("verify", evidence, "--trust", trust)).code == 1

    assert (await scene.collector.challenger.challenge(scene.device)).error is None
    _, told = await device.status(lambda status: status["attestation"])
    assert told["attestation"]["status"] == "affirming"

    mark = scene.mark
    assert await device.stop() == 0
    assert device.said == ""
    await scene.status("offline", since=mark)
    await device.start()
    assert (await device.healthy())["attestation"]["status"] == "affirming"
    assert await device.stop() == 0


async def test_a_result_is_checked_offline(scene: Scene, serving: Installation, tmp_path: Path) -> None:
    outcome = await scene.collector.challenger.challenge(scene.device)
    result = tmp_path / "result.cbor"
    result.write_bytes(outcome.result)
    checked = await serving.call("verify", result, "--trust", scene.site.trust_path, "--nonce", outcome.nonce.hex())
    assert (checked.code, checked.err) == (0, "")


async def test_one_agent_at_a_time(serving: Installation, tmp_path: Path) -> None:
    """The second one fails, the first one goes on."""
    another = dataclasses.replace(serving, log=tmp_path / "another.log")
    await another.start()
    assert await another.ended() == 6
    assert another.said.startswith("medvouch: control-socket: another agent listens on ")
    await serving.healthy()


async def test_a_stop_before_enrolment(scene: Scene, device: Installation) -> None:
    scene.site.broker.stop()
    await device.start()
    assert await device.degraded("broker-unreachable") == 5
    asked = await device.call("update", "--config", device.gateway.config_path)
    assert (asked.code, asked.err.startswith("medvouch: not-enrolled: ")) == (1, True)
    called = await device.call("attest", "--config", device.gateway.config_path, "--nonce", NONCE, "--out", "e")
    assert called.code == 1
    assert called.err.startswith("medvouch: not-enrolled: ")
    assert await device.stop() == 0
    assert device.said.startswith("medvouch: broker-unreachable: 127.0.0.1:")


async def test_the_tpm_goes_missing(scene: Scene) -> None:
    async with programs.installed(scene.gateway) as device:
        await device.start()
        await device.healthy()
        await device.stop()
    await device.start()
    assert await device.ended() == 4
    assert device.said.count("\n") == 1
    assert device.said.startswith("medvouch: tpm-unreachable: ")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda state: (state / "state.db").write_bytes(b"garbage" * 1000), "state-corrupt"),
        (lambda state: (state / "client-key.pem").write_bytes(b"garbage"), "credential-corrupt"),
        (lambda state: ((state / "state.db").unlink(), (state / "state.db").mkdir()), "state-unusable"),
    ],
)
async def test_the_state_is_damaged(device: Installation, damage: object, code: str) -> None:
    await device.start()
    await device.healthy()
    await device.stop()
    for left in device.gateway.state_dir.glob("state.db-*"):
        left.unlink()
    assert callable(damage)
    damage(device.gateway.state_dir)
    await device.start()
    assert await device.ended() == 6
    assert device.said.count("\n") == 1
    assert device.said.startswith(f"medvouch: {code}: ")
    assert "; " in device.said


async def test_the_broker_goes_and_comes_back(scene: Scene, serving: Installation) -> None:
    scene.site.broker.stop()
    assert await serving.degraded("broker-unreachable") == 5
    text = await serving.call("status", "--config", serving.gateway.config_path)
    assert text.code == 5
    assert "state           degraded\n" in text.out
    assert "broker: broker-unreachable: 127.0.0.1:" in text.out
    assert "; check that the broker runs" in text.out
    scene.site.broker.start()
    await serving.healthy()


async def test_a_broker_of_another_authority(scene: Scene, serving: Installation) -> None:
    broker, server = scene.site.broker, pki.issue(pki.authority("another"), "server")
    broker.stop()
    ours = broker._settings
    broker._settings = dataclasses.replace(ours, certificate=server.pem, key=server.key_pem)
    broker.start()
    assert await serving.degraded("broker-untrusted") == 5
    broker.stop()
    broker._settings = ours
    broker.start()
    await serving.healthy()


async def test_the_event_log_cannot_be_read(scene: Scene, serving: Installation) -> None:
    log = scene.gateway.machine.uefi_log
    honest = log.read_bytes()

    log.unlink()
    log.mkdir()
    assert await challenge(scene) == "eventlog-unreadable"
    assert await serving.degraded("eventlog-unreadable") == 6
    await scene.event("attestation-failed", code="eventlog-unreadable")
    await scene.state("health", state="degraded", code="eventlog-unreadable")
    log.rmdir()

    assert await challenge(scene) == "eventlog-missing"
    with log.open("wb") as file:
        file.truncate(1 << 30)
    assert await challenge(scene) == "eventlog-too-large"
    assert await serving.degraded("eventlog-too-large") == 6
    called = await serving.call(
        "attest", "--config", serving.gateway.config_path, "--nonce", NONCE, "--out", log.parent / "e"
    )
    assert called.code == 6
    assert called.err.startswith("medvouch: eventlog-too-large: ")

    log.write_bytes(honest)
    assert await challenge(scene) == "done"
    await serving.healthy()


async def test_nothing_can_be_written_for_a_while(scene: Scene, serving: Installation) -> None:
    """A command is either done and remembered, or refused with the reason; never taken and forgotten."""
    resource.prlimit(serving.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    assert await challenge(scene) == "state-unusable"
    assert await serving.degraded("state-unusable") == 6
    resource.prlimit(serving.pid, resource.RLIMIT_FSIZE, UNLIMITED)
    await serving.healthy()
    assert await challenge(scene) == "done"
    assert await serving.stop() == 0
    assert "Traceback" not in serving.said


def _fill(file: Path) -> None:
    """Take all the space that is left on its file system."""
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as open_file:
        while open_file.write(bytes(1024)):
            pass


def _empty(file: Path) -> None:
    file.unlink()


def _may_mount() -> bool:
    command = ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _may_mount(), reason="no user namespaces here")
async def test_the_disk_is_full(scene: Scene, device: Installation) -> None:
    """Full at first: storage is the problem. Then full while it serves: what was acknowledged is still there."""
    state = device.gateway.state_dir
    state.mkdir()
    mount = f"mount -t tmpfs -o size=1m none {state} && cat /dev/zero >{state}/full 2>/dev/null; exec "
    device.before = ("unshare", "-Urm", "sh", "-c", f'{mount}"$@"', "sh")
    await device.start()
    assert await device.ended() == 6
    assert device.said.count("\n") == 1
    assert device.said.startswith("medvouch: state-")

    device.before = ("unshare", "-Urm", "sh", "-c", f'mount -t tmpfs -o size=1m none {state} && exec "$@"', "sh")
    await device.start()
    await device.healthy()
    full = Path(f"/proc/{device.pid}/root{state}/full")
    _fill(full)
    codes = [await challenge(scene) for _ in range(40)]
    assert codes[-1] == "state-full"
    assert set(codes) <= {"done", "state-full"}
    assert await device.degraded("state-full") == 6
    commission = scene.command("commission", "c1", {"owner": "Ward 7"})
    mark = scene.mark
    await scene.send(topics.command(scene.device, "commission", "c1"), commission)
    assert (await scene.answer("commission", "c1", since=mark))["code"] == "state-full"
    _empty(full)
    await device.healthy()
    commission = scene.command("commission", "c2", {"owner": "Ward 7"})
    await scene.send(topics.command(scene.device, "commission", "c2"), commission)
    assert (await scene.answer("commission", "c2"))["outcome"] == "done"
    assert (await device.healthy())["owner"] == "Ward 7"
    assert await device.stop() == 0
