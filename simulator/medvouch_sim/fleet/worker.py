"""What a process of a fleet does: builds its gateways, switches on those that it is told to, tells what fails.

In: `ports` (of the broker's two listeners), `boot` (a number), `stop`. Out: `built` (a number, with `entry` and
`device`), `failed` (a number, with `code` and `detail`), `stopped`. When the line ends, the power goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from medvouch.errors import MedvouchError
from medvouch_sim.fleet.shard import Channel
from medvouch_sim.gateway import Gateway
from medvouch_sim.site import Site

BOOTING = 16
"""Gateways of a process that are switched on or off at a time."""
BUG = "unexpected"


class Worker:
    """One process's gateways, in folders of `folder`; the TPMs of `rogues` are of a vendor that nobody trusts."""

    def __init__(self, site: Site, folder: Path, rogues: Collection[int]) -> None:
        self._site = site
        self._folder = folder
        self._rogues = rogues
        self._gateways: dict[int, Gateway] = {}
        self._limit = asyncio.Semaphore(BOOTING)

    async def run(self, channel: Channel, indexes: Sequence[int]) -> None:
        """Until the line ends."""
        async with channel.opened():
            await self._serve(channel, indexes)

    async def _serve(self, channel: Channel, indexes: Sequence[int]) -> None:
        lives: list[asyncio.Task[None]] = []
        building = asyncio.create_task(self._build(channel, indexes))
        try:
            async for message in channel.messages():
                if "boot" in message:
                    lives.append(asyncio.create_task(self._live(channel, message["boot"])))
                elif "ports" in message:
                    self._site.broker.service_port, self._site.broker.enrolment_port = message["ports"]
                else:
                    await self._stop(lives)
                    channel.send({"stopped": True})
        finally:
            for task in (building, *lives):
                task.cancel()
            for gateway in self._gateways.values():
                gateway.tpm.kill()
            await asyncio.gather(building, *lives, return_exceptions=True)

    async def _build(self, channel: Channel, indexes: Sequence[int]) -> None:
        for index in indexes:
            with _telling(channel, index):
                gateway = await asyncio.to_thread(self._gateway, index)
                self._gateways[index] = gateway
                channel.send({"built": index, "entry": gateway.entry.encode().hex(), "device": gateway.device})

    def _gateway(self, index: int) -> Gateway:
        site, name = self._site, f"{index:05}"
        return Gateway(
            name, site, self._folder / name, vendor=site.rogue_vendor if index in self._rogues else site.vendor
        )

    async def _live(self, channel: Channel, index: int) -> None:
        gateway = self._gateways[index]
        with _telling(channel, index):
            async with self._limit:
                await gateway.boot()
            await gateway.ended()

    async def _stop(self, lives: Sequence[asyncio.Task[None]]) -> None:
        """Agents say goodbye, then the power goes in order; of what had failed there is nothing more to tell."""
        for life in lives:
            life.cancel()
        await asyncio.gather(*lives, return_exceptions=True)
        await asyncio.gather(*(self._shut_down(gateway) for gateway in self._gateways.values()))

    async def _shut_down(self, gateway: Gateway) -> None:
        async with self._limit:
            with suppress(Exception):  # what had ended it was told when it did
                await gateway.shut_down()


@contextmanager
def _telling(channel: Channel, index: int) -> Iterator[None]:
    """What goes wrong with one gateway is told, and ends no other."""
    try:
        yield
    except MedvouchError as error:
        channel.send({"failed": index, "code": error.code, "detail": error.detail})
    except Exception as error:
        channel.send({"failed": index, "code": BUG, "detail": repr(error)})
