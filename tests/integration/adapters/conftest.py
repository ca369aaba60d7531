"""A real mosquitto and clients with certificates."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.mqtt import MqttSettings, MqttTransport
from medvouch.adapters.tls import client_context
from medvouch.ports import Message
from medvouch_sim.broker import Broker, BrokerSettings
from medvouch_sim.repository_server import RepositoryServer
from support import pki

DEVICE = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"


@dataclass
class Net:
    broker: Broker
    directory: Path
    broker_ca: pki.Credential
    service_ca: pki.Credential
    bootstrap_ca: pki.Credential
    credentials: dict[str, pki.Credential] = field(default_factory=dict)

    def settings(self, name: str, *, bootstrap: bool = False, **changes: Any) -> MqttSettings:
        authority = self.bootstrap_ca if bootstrap else self.service_ca
        credential = self.credentials.setdefault(f"{name}{bootstrap}", pki.issue(authority, name))
        folder = self.directory / ("bootstrap" if bootstrap else "service")
        folder.mkdir(exist_ok=True)
        certificate, key = credential.write(folder)
        port = self.broker.enrolment_port if bootstrap else self.broker.service_port
        basic = MqttSettings(
            self.broker.host,
            port,
            name,
            lambda: client_context([self.broker_ca.der], certificate, key),
            retry_min_s=0.05,
            retry_max_s=0.3,
            connect_timeout_s=2,
        )
        return replace(basic, **changes)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Net]:
    broker_ca, service_ca, bootstrap_ca = (pki.authority(name) for name in ("broker", "service", "bootstrap"))
    server = pki.issue(broker_ca, "server")
    settings = BrokerSettings(server.pem, server.key_pem, service_ca.pem, bootstrap_ca.pem)
    with Broker(tmp_path / "broker", settings).running() as broker:
        yield Net(broker, tmp_path, broker_ca, service_ca, bootstrap_ca)


class Reader:
    """Collects what a transport receives."""

    def __init__(self, transport: MqttTransport) -> None:
        self.messages: list[Message] = []
        self.arrived = asyncio.Condition()
        self.task = asyncio.create_task(self._read(transport))

    async def _read(self, transport: MqttTransport) -> None:
        async for message in transport.messages():
            async with self.arrived:
                self.messages.append(message)
                self.arrived.notify_all()

    async def until(self, wanted: Callable[[Message], bool], count: int = 1) -> list[Message]:
        def found() -> list[Message]:
            return [message for message in self.messages if wanted(message)]

        async with asyncio.timeout(15), self.arrived:
            await self.arrived.wait_for(lambda: len(found()) >= count)
        return found()

    async def session(self, change: bytes, count: int = 1) -> None:
        await self.until(lambda message: message == Message("$session", change), count)


Connect = Callable[..., contextlib.AbstractAsyncContextManager[tuple[MqttTransport, Reader]]]


@pytest.fixture
def connect() -> Connect:
    @contextlib.asynccontextmanager
    async def connected(
        settings: MqttSettings, *topics: str, wait: bool = True
    ) -> AsyncIterator[tuple[MqttTransport, Reader]]:
        transport = MqttTransport(settings)
        reader = Reader(transport)
        await transport.start(topics)
        try:
            if wait:
                await reader.session(b"connected")
            yield transport, reader
        finally:
            await transport.close()
            await reader.task

    return connected


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RepositoryServer]:
    folder = tmp_path / "served"
    folder.mkdir()
    with RepositoryServer(folder) as server:
        yield server
