"""The Transport: an MQTT 5 session over TLS 1.3 that comes back by itself and forgets no message.

A message stays in the outbox until its PUBACK; those under way when a connection breaks are sent again, first and in
order, on the next one. There is no thread except while a connect blocks, so thousands run on one loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from paho.mqtt.reasoncodes import ReasonCode

from medvouch.adapters import refusals
from medvouch.adapters.mqtt_faults import SESSION_CLOSED, taken_over
from medvouch.adapters.mqtt_session import MqttSettings, Session
from medvouch.errors import EnvironmentFault, NetworkFault, Refusal
from medvouch.messages import topics
from medvouch.ports import Message

__all__ = ["MqttSettings", "MqttTransport"]

SETTLED_S = 10.0
"""A session that stood this long was a good one: the next retry comes soon again."""
DRAIN_S = 5.0
"""How long `close` waits for the acknowledgements of what is queued."""
MAX_INBOX = 1024
"""QoS 0 messages beyond this many that nobody has read yet are dropped; QoS 1 is held back by the broker."""
_HEADER_ALLOWANCE = 64
"""More than fixed header, packet identifier and the properties that we send need, without topic and payload."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Outgoing:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    correlation: bytes | None
    acknowledged: asyncio.Future[None]

    @property
    def size(self) -> int:
        return len(self.topic.encode()) + len(self.payload) + len(self.correlation or b"") + _HEADER_ALLOWANCE


@dataclass(slots=True, eq=False)
class _Incoming:
    message: Message
    session: Session | None = None
    mid: int = 0
    qos: int = 0


class MqttTransport:
    """`medvouch.ports.Transport`; all methods belong to the loop that called `start`."""

    __slots__ = (
        "_closed_before",
        "_closing",
        "_fault",
        "_in_flight",
        "_inbox",
        "_outbox",
        "_session",
        "_settings",
        "_subscriptions",
        "_task",
    )

    def __init__(self, settings: MqttSettings) -> None:
        self._settings = settings
        self._subscriptions: tuple[str, ...] = ()
        self._session: Session | None = None
        self._task: asyncio.Task[None] | None = None
        self._fault: EnvironmentFault | None = None
        self._closing = False
        self._closed_before = False
        self._outbox: deque[_Outgoing] = deque()
        self._in_flight: dict[int, _Outgoing] = {}
        self._inbox: asyncio.Queue[_Incoming | None] = asyncio.Queue()

    @property
    def connected(self) -> bool:
        """Whether the session stands and its subscriptions are in force."""
        return self._session is not None

    @property
    def fault(self) -> EnvironmentFault | None:
        """Why it does not; None while it stands, and before the first attempt has ended."""
        return self._fault

    async def start(self, subscriptions: Sequence[str]) -> None:
        """Begin connecting; subscriptions (QoS 1) are renewed on every connect."""
        self._subscriptions = tuple(subscriptions)
        self._task = asyncio.create_task(self._keep_connected())

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, correlation: bytes | None = None
    ) -> None:
        """Returns once the broker acknowledged (QoS 0: once sent), however many connections that takes.

        Raises Refusal `publish-refused` where the broker says no (PUBACK >= 0x80), NetworkFault
        `publish-unacknowledged` where the transport is closed before. Cancelled before it was sent, it is not sent.
        """
        if self._closing:
            raise _unacknowledged(topic)
        acknowledged = asyncio.get_running_loop().create_future()
        self._outbox.append(_Outgoing(topic, payload, qos, retain, correlation, acknowledged))
        self._send()
        await acknowledged

    async def messages(self) -> AsyncIterator[Message]:
        """Messages of the subscriptions and of `$session`; ends after `close`.

        A message is acknowledged to the broker when the next one is asked for: what was not is delivered again.
        """
        while (incoming := await self._inbox.get()) is not None:
            yield incoming.message
            if incoming.session:
                incoming.session.acknowledge(incoming.mid, incoming.qos)

    async def close(self) -> None:
        """Publish what is queued, disconnect cleanly."""
        self._closing = True
        waiting = [item.acknowledged for item in (*self._in_flight.values(), *self._outbox)]
        if waiting and self._session:
            await asyncio.wait(waiting, timeout=DRAIN_S)
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for item in (*self._in_flight.values(), *self._outbox):
            if not item.acknowledged.done():
                item.acknowledged.set_exception(_unacknowledged(item.topic))
        self._inbox.put_nowait(None)

    def abort(self) -> None:
        """Let go of the connection without a word, as when power goes; the broker publishes the will. Then `close`."""
        self._closing = True
        session, self._session = self._session, None
        if session:
            session.abort()
        if self._task:
            self._task.cancel()

    # --- connection --------------------------------------------------------------------------------------------------

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            since = loop.time()
            fault = await self._one_session()
            if str(fault) != str(self._fault):
                _log.warning("%s", fault)
            self._fault = fault
            attempt = 0 if loop.time() - since >= SETTLED_S else attempt + 1
            ceiling = min(self._settings.retry_max_s, self._settings.retry_min_s * 2 ** min(attempt, 16))
            await asyncio.sleep(random.uniform(ceiling / 2, ceiling))  # noqa: S311 (spreads load, keeps no secret)

    async def _one_session(self) -> EnvironmentFault:
        session = Session(self._settings, self)
        try:
            await session.open(self._subscriptions)
        except EnvironmentFault as error:
            self._closed_before = False
            return error
        since = session.ended.get_loop().time()
        self._session, self._fault = session, None
        self._announce(b"connected")
        self._send()
        try:
            fault = await session.ended
        except asyncio.CancelledError:
            if self._session:
                self._session = None
                await session.close()
            raise
        self._session = None
        self._outbox.extendleft(reversed(self._in_flight.values()))
        self._in_flight.clear()
        fault = self._suspect(fault, session.ended.get_loop().time() - since)
        self._announce(b"taken-over" if fault.code == refusals.SESSION_TAKEN_OVER.code else b"lost")
        return fault

    def _suspect(self, fault: NetworkFault, stood_s: float) -> NetworkFault:
        """Two clients of one identity throw each other off in turn; mosquitto before 2.0.13 says no 0x8E then.

        It closes in order and without a reason, takes us back at once, and soon does it again.
        """
        closed = fault.code == SESSION_CLOSED
        again = closed and self._closed_before and stood_s < SETTLED_S
        self._closed_before = closed
        return taken_over(self._settings.broker) if again else fault

    def _announce(self, change: bytes) -> None:
        self._inbox.put_nowait(_Incoming(Message(topics.SESSION, change)))

    # --- out ---------------------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Feed the session as much as its window takes."""
        session = self._session
        while session and self._outbox and len(self._in_flight) < session.window:
            item = self._outbox.popleft()
            if item.acknowledged.done():
                continue
            if item.size > session.max_packet:
                detail = f"{len(item.payload)} bytes to {item.topic}: the broker takes {session.max_packet}"
                item.acknowledged.set_exception(Refusal(refusals.PUBLISH_REFUSED, detail, place=item.topic))
                continue
            mid = session.publish(item.topic, item.payload, item.qos, item.retain, item.correlation)
            if item.qos:
                self._in_flight[mid] = item
            else:
                item.acknowledged.set_result(None)

    def acknowledged(self, mid: int, reason: ReasonCode) -> None:
        """PUBACK (called by the session)."""
        item = self._in_flight.pop(mid, None)
        if item and not item.acknowledged.done():
            if reason.is_failure:
                detail = f"{reason} (0x{reason.value:02X})"
                item.acknowledged.set_exception(Refusal(refusals.PUBLISH_REFUSED, detail, place=item.topic))
            else:
                item.acknowledged.set_result(None)
        self._send()

    # --- in ----------------------------------------------------------------------------------------------------------

    def received(self, session: Session, message: Message, mid: int, qos: int) -> None:
        """A message came in (called by the session); of the session itself only we speak, whatever a broker sends."""
        if message.topic == topics.SESSION:
            session.acknowledge(mid, qos)
        elif qos or self._inbox.qsize() < MAX_INBOX:
            self._inbox.put_nowait(_Incoming(message, session, mid, qos))


def _unacknowledged(topic: str) -> NetworkFault:
    return NetworkFault(
        "publish-unacknowledged",
        f"the transport was closed before the broker acknowledged a message to {topic}",
        remedy="keep the message and publish it on the next connection",
    )
