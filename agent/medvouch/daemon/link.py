"""The link to the broker as a component of the agent's health."""

from __future__ import annotations

import asyncio

from medvouch.daemon.health import Health
from medvouch.ports import Transport

COMPONENT = "broker"
LINK_CHECK_S = 1.0


async def watch_link(transport: Transport, health: Health) -> None:
    """Keep `health` as the transport's fault says, until cancelled."""
    while True:
        if transport.fault:
            health.report(COMPONENT, transport.fault)
        elif transport.connected:
            health.clear(COMPONENT)
        await asyncio.sleep(LINK_CHECK_S)
