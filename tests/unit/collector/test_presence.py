"""Who is there, by what was said last on `status/agent`."""

from __future__ import annotations

import asyncio

import pytest

from medvouch.collector.presence import Presence
from medvouch.messages import payloads
from medvouch.ports import Timestamp


def status(state: str) -> bytes:
    return payloads.encode("status/agent", payloads.Stamp("a", "1.0", 1, Timestamp(0, True)), {"state": state})


async def there(presence: Presence, device: str) -> bool:
    try:
        await asyncio.wait_for(presence.online(device), 0.01)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize(
    ("said", "is_there"),
    [
        ([], False),
        ([status("online")], True),
        ([status("online"), status("offline")], False),
        ([status("offline"), status("online")], True),
        ([status("online"), b"online"], False),
    ],
)
async def test_the_last_word_counts(said: list[bytes], is_there: bool) -> None:
    presence = Presence()
    for payload in said:
        presence.heard("a", payload)
    assert await there(presence, "a") is is_there
    assert not await there(presence, "b")


async def test_whoever_waits_is_woken() -> None:
    presence = Presence()
    waiting = asyncio.create_task(presence.online("a"))
    await asyncio.sleep(0)
    presence.heard("a", status("online"))
    await asyncio.wait_for(waiting, 1)
