"""Anybody with Debian's own MQTT client can listen to a site and read what it hears."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path

from medvouch.messages import topics
from medvouch_sim.demo.run import listen_command
from medvouch_sim.gateway import MODEL, Gateway
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.site import Site, release_signers

SECONDS = 3


async def test_mosquitto_sub_shows_readable_json(tmp_path: Path) -> None:
    reference = sign_reference(predict(MODEL, "1.0.0"), *release_signers())
    site = Site(tmp_path / "site", [reference])
    gateway = Gateway("gw1", site, tmp_path / "gw1")
    site.manifest_entries.append(gateway.entry)
    async with site.running() as (collector, observer), gateway.booted():
        await observer.first(lambda heard: heard.topic == topics.Status(gateway.device, "agent"), since=0)
        arguments = [*shlex.split(listen_command(site)), "-W", str(SECONDS)]
        listener = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
        await collector.challenger.challenge(gateway.device)
        told, _ = await listener.communicate()
    lines = [line.partition(b" ") for line in told.split(b"\n") if line.startswith(b"medvouch/v1/")]
    heard = {topic.decode().split("/", 3)[3]: json.loads(text) for topic, _, text in lines if text.startswith(b"{")}
    assert {"status/agent", "state/identity", "state/health", "state/config", "state/attestation"} <= heard.keys()
    assert heard["status/agent"]["state"] == "online"
    assert heard["state/attestation"]["status"] == "affirming"
    assert all(document["device"] in (gateway.device, "collector") for document in heard.values())
