"""Commands to devices: signed, sent, and what becomes of them."""

from __future__ import annotations

import asyncio

from medvouch.collector.presence import Presence
from medvouch.crypto.keys import Signer
from medvouch.errors import NetworkFault
from medvouch.messages import payloads, topics
from medvouch.messages.commands import issue_command
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock, Entropy, Transport

COMMAND_LIFE_MS = 60_000
ANSWER_TIMEOUT_S = 30.0


class CommandRefused(NetworkFault):
    """The device says no; `reason` is its own code."""

    def __init__(self, device: str, name: str, fields: Fields) -> None:
        detail = f"{name} of {device}: {fields.get('code')}: {fields.get('detail')}"
        super().__init__("command-refused", detail, remedy="mend what the device says; its state/health has more")
        self.reason = str(fields.get("code"))


class Commander:
    """Speaks for the role `commander`; answers come in through `answered`."""

    def __init__(
        self, signer: Signer, transport: Transport, clock: Clock, entropy: Entropy, presence: Presence
    ) -> None:
        self._signer = signer
        self._transport = transport
        self._clock = clock
        self._entropy = entropy
        self._presence = presence
        self._asked: dict[tuple[str, str, str], asyncio.Future[Fields]] = {}
        """By device, name and id of a command whose answer is awaited."""

    def new_id(self) -> str:
        """An id that no command had before."""
        return self._entropy.bytes(8).hex()

    async def send(self, device: str, name: str, identifier: str, args: dict[str, object]) -> None:
        """Sign and send one command."""
        now = self._clock.now().ms
        data = issue_command(
            self._signer, name, identifier, device, args, issued_at=now, expires_at=now + COMMAND_LIFE_MS
        )
        await self._transport.publish(topics.command(device, name, identifier), data)

    async def ask(self, device: str, name: str, args: dict[str, object], timeout_s: float = ANSWER_TIMEOUT_S) -> Fields:
        """Send a command as soon as the device is there; the fields of its answer.

        Raises CommandRefused; NetworkFault `command-unanswered` where nothing comes back in time.
        """
        key = (device, name, self.new_id())
        answer: asyncio.Future[Fields] = asyncio.get_running_loop().create_future()
        self._asked[key] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._presence.online(device)
                await self.send(*key, args)
                fields = await answer
        except TimeoutError:
            detail = f"{device} did not answer {name} within {timeout_s:.0f} s"
            raise NetworkFault("command-unanswered", detail, remedy="look at the device's state/health") from None
        finally:
            del self._asked[key]
        if fields.get("outcome") != "done":
            raise CommandRefused(device, name, fields)
        return fields

    def answered(self, topic: topics.Response, payload: bytes) -> None:
        """What a device says on `res/{name}/{id}`. Raises InputError where it is no message."""
        answer = self._asked.get((topic.device, topic.name, topic.id))
        if answer is not None and not answer.done():
            answer.set_result(payloads.parse(payload).fields)
