"""`medvouch doctor` as a program: its lines, its JSON, its exit code, with the agent running and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.programs import Installation
from support.sites import Scene


def states(document: dict[str, Any]) -> dict[str, str]:
    """By component; the clock apart, which is the machine's that runs the test."""
    return {each["component"]: each["state"] for each in document["findings"] if each["component"] != "clock"}


async def test_without_an_agent(scene: Scene, device: Installation) -> None:
    config = device.gateway.config_path
    called = await device.call("doctor", "--config", config, "--json")
    assert set(states(called.json).values()) == {"ok", "not looked at"}
    assert [name for name, state in states(called.json).items() if state != "ok"] == ["slots"]
    assert called.code == called.json["exit_code"]
    text = await device.call("doctor", "--config", config)
    assert [line[9:].split()[0] for line in text.out.splitlines()] == [
        each["component"] for each in called.json["findings"]
    ]
    assert text.out.startswith("ok       trust        version ")

    scene.site.broker.stop()
    called = await device.call("doctor", "--config", config, "--json")
    assert states(called.json)["broker"] == "problem"
    scene.site.broker.start()


async def test_beside_an_agent(device: Installation) -> None:
    """Its TPM takes one connection at a time here, and the agent has it."""
    await device.start()
    await device.healthy()
    other = device.gateway.directory / "other.toml"
    other.write_text(
        device.gateway.config_path.read_text().rpartition("[tpm]")[0] + '[tpm]\ntcti = "device:/dev/none"\n'
    )
    called = await device.call("doctor", "--config", other, "--json")
    assert called.code == 4
    assert states(called.json)["tpm"] == "problem"
    (agent,) = (each for each in called.json["findings"] if each["component"] == "agent")
    assert agent["said"] == "running, without problems"


async def test_what_it_cannot_begin_without(device: Installation, tmp_path: Path) -> None:
    assert (await device.call("doctor", "--config", tmp_path / "none.toml")).code == 3
    config = device.gateway.config_path
    assert (await device.call("doctor", "--config", config, "--policy", "lax")).code == 3
    trust = device.gateway.site.trust_path
    trust.write_bytes(b"no trust")
    called = await device.call("doctor", "--config", config, "--json")
    assert called.code == 3
    assert {name for name, state in states(called.json).items() if state == "problem"} == {
        "trust", "ek", "broker", "verdict",
    }  # fmt: skip
