"""One MQTT 5 connection: a paho client driven by the asyncio loop, from connect to its end, never used twice.

A client of its own for each connection means that nothing of a broken one is carried over, and that the blocking
connect (where a TPM may sign) shares no state with the loop. What paho 2.x needs to be told or worked around:

- a TLS socket holds decrypted bytes that the selector does not see: read until `pending()` is 0;
- its limit of messages in flight is ignored on reconnect: switched off, `MqttTransport` keeps the window;
- packets are small and answers to one another: TCP must not hold one back until the one before is acknowledged (40 ms);
- incoming QoS 1 messages are acknowledged by us, once they were taken, and the broker sends at most
  RECEIVE_MAXIMUM before that: a slow consumer slows the broker down instead of filling memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from medvouch.adapters import mqtt_faults as faults
from medvouch.errors import EnvironmentFault, NetworkFault
from medvouch.ports import Message

WINDOW = 20
"""QoS 1 messages sent and not yet acknowledged; the broker's Receive Maximum may lower it."""
RECEIVE_MAXIMUM = 20
"""QoS 1 messages received and not yet acknowledged (MQTT 5, 3.1.2.11.3)."""
CLOSE_S = 2.0

_connecting = ThreadPoolExecutor(max_workers=16, thread_name_prefix="mqtt-connect")


@dataclass(frozen=True)
class MqttSettings:
    """Where and as whom to connect.

    `tls` builds the TLS context, in a thread, before each connect: renewed files are picked up by themselves.
    `will`, asked before each connect, is the message that the broker publishes when the session breaks.
    A session outlives its connection by `session_expiry_s`: what others publish meanwhile (QoS 1) arrives later.
    """

    host: str
    port: int
    client_id: str
    tls: Callable[[], ssl.SSLContext]
    will: Callable[[], Message] | None = None
    clean_start: bool = False
    session_expiry_s: int = 3600
    keepalive_s: int = 30
    connect_timeout_s: float = 5.0
    retry_min_s: float = 0.5
    retry_max_s: float = 60.0
    max_packet: int = 40 * 1024 * 1024

    @property
    def broker(self) -> str:
        """host:port, for messages."""
        return f"{self.host}:{self.port}"


class SessionListener(Protocol):
    """What a session tells its transport, always on the loop."""

    def acknowledged(self, mid: int, reason: ReasonCode) -> None:
        """PUBACK of a message published under `mid`."""
        ...

    def received(self, session: Session, message: Message, mid: int, qos: int) -> None:
        """A message of the subscriptions."""
        ...


class Session:
    """One connection. `ended` is set once, with the reason."""

    __slots__ = (
        "_client",
        "_closed_in_order",
        "_last_error",
        "_listener",
        "_loop",
        "_opened",
        "_settings",
        "_timer",
        "_topics",
        "ended",
        "max_packet",
        "window",
    )

    def __init__(self, settings: MqttSettings, listener: SessionListener) -> None:
        self._settings = settings
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[NetworkFault] = self._loop.create_future()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._timer: asyncio.TimerHandle | None = None
        self._topics: Sequence[str] = ()
        self._last_error = ""
        self._closed_in_order = False
        self.window = WINDOW
        self.max_packet = 0xFFFFFFFF
        self._client = self._new_client()

    def _new_client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._settings.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.max_inflight_messages = 0
        client.connect_timeout = self._settings.connect_timeout_s
        client.on_log = self._on_log
        if self._settings.will:
            will = self._settings.will()
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        return client

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self, topics: Sequence[str]) -> None:
        """Connect and subscribe; raises the EnvironmentFault that prevents it."""
        self._topics = topics
        connecting = self._loop.run_in_executor(_connecting, self._connect)
        try:
            await asyncio.shield(connecting)
            self._attach()
            async with asyncio.timeout(self._settings.connect_timeout_s):
                await self._opened
        except asyncio.CancelledError:
            connecting.add_done_callback(self._connected_too_late)
            raise
        except TimeoutError as error:
            self.abort()
            raise faults.silent(self._settings.broker, self._settings.connect_timeout_s) from error
        except EnvironmentFault:
            self.abort()
            raise

    def _connected_too_late(self, connecting: asyncio.Future[None]) -> None:
        if not connecting.cancelled() and not connecting.exception():
            self.abort()

    def _connect(self) -> None:
        """In a thread: TCP, TLS and the CONNECT packet."""
        try:
            self._client.tls_set_context(self._settings.tls())
            self._client.connect(
                self._settings.host,
                self._settings.port,
                self._settings.keepalive_s,
                clean_start=self._settings.clean_start,
                properties=_connect_properties(self._settings.session_expiry_s, self._settings.max_packet),
            )
            _without_delay(self._client.socket())
        except (OSError, ValueError, EnvironmentFault) as error:
            raise faults.connect_failed(self._settings.broker, error) from error

    def _attach(self) -> None:
        """Hand the connected socket to the loop."""
        client = self._client
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_disconnect = self._on_disconnect
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_register_write
        client.on_socket_unregister_write = self._on_unregister_write
        sock = client.socket()
        if sock is None:
            self._end(faults.never_answered(self._settings.broker, self._last_error))
            return
        self._loop.add_reader(sock.fileno(), self._readable)
        if client.want_write():
            self._loop.add_writer(sock.fileno(), client.loop_write)
        self._tick()
        self._readable()

    async def close(self) -> None:
        """Disconnect cleanly: the broker drops the will."""
        self._client.disconnect()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.shield(self.ended)
        self.abort()

    def abort(self) -> None:
        """Let go of the socket without a word."""
        if self._timer:
            self._timer.cancel()
        client = self._client
        client.on_socket_close = client.on_socket_register_write = client.on_socket_unregister_write = None
        sock = client.socket()
        if sock is not None and sock.fileno() >= 0:
            self._on_socket_close(client, None, sock)
            sock.close()

    def _end(self, fault: NetworkFault) -> None:
        if self._timer:
            self._timer.cancel()
        if not self._opened.done():
            self._opened.set_exception(fault)
            self._opened.exception()  # retrieved here where nobody waits for it any more
        if not self.ended.done():
            self.ended.set_result(fault)

    # --- sending -----------------------------------------------------------------------------------------------------

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, correlation: bytes | None) -> int:
        """Hand a message to paho; its packet identifier."""
        properties = None
        if correlation is not None:
            properties = _properties(PacketTypes.PUBLISH, CorrelationData=correlation)
        return self._client.publish(topic, payload, qos, retain, properties).mid

    def acknowledge(self, mid: int, qos: int) -> None:
        """PUBACK of a received message; void when the connection is gone, the broker then sends it again."""
        if qos and not self.ended.done():
            self._client.ack(mid, qos)

    # --- what the loop calls -----------------------------------------------------------------------------------------

    def _readable(self) -> None:
        try:
            self._client.loop_read()
            while (sock := self._client.socket()) is not None and sock.pending():  # type: ignore[attr-defined]
                self._client.loop_read()
        except Exception as error:  # paho would read the same packet again, for ever
            self.abort()
            self._end(faults.not_understood(self._settings.broker, error))

    def _tick(self) -> None:
        if self._client.loop_misc() == MQTTErrorCode.MQTT_ERR_SUCCESS and not self.ended.done():
            self._timer = self._loop.call_later(max(0.1, self._client.keepalive / 4), self._tick)

    # --- what paho calls ---------------------------------------------------------------------------------------------

    def _on_log(self, _client: Client, _userdata: Any, _level: int, text: str) -> None:
        if "[SSL:" in text:
            self._last_error = text

    def _on_register_write(self, client: Client, _userdata: Any, sock: Any) -> None:
        self._loop.add_writer(sock.fileno(), client.loop_write)

    def _on_unregister_write(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._loop.remove_writer(sock.fileno())

    def _on_socket_close(self, _client: Client, _userdata: Any, sock: Any) -> None:
        self._closed_in_order = getattr(sock, "closed_in_order", False)
        self._loop.remove_reader(sock.fileno())
        self._loop.remove_writer(sock.fileno())

    def _on_connect(
        self, client: Client, _userdata: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        client.on_log = None
        self._last_error = ""
        if reason.is_failure:
            self._end(faults.connect_refused(self._settings.broker, reason))
            return
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.max_packet = getattr(properties, "MaximumPacketSize", self.max_packet)
        if self._topics:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._topics])
        elif not self._opened.done():
            self._opened.set_result(None)

    def _on_subscribe(
        self, _client: Client, _userdata: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        for topic, reason in zip(self._topics, reasons, strict=False):
            if reason.is_failure:
                self._end(faults.subscribe_refused(self._settings.broker, topic, reason))
        if not self._opened.done():
            self._opened.set_result(None)

    def _on_publish(self, _client: Client, _userdata: Any, mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._listener.acknowledged(mid, reason)

    def _on_message(self, _client: Client, _userdata: Any, message: MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", None)
        received = Message(message.topic, bytes(message.payload), message.retain, correlation)
        self._listener.received(self, received, message.mid, message.qos)

    def _on_disconnect(self, _client: Client, _userdata: Any, flags: Any, reason: ReasonCode, _properties: Any) -> None:
        broker = self._settings.broker
        if flags.is_disconnect_packet_from_server:
            # paho before 2.2 drops the reason of a DISCONNECT without properties: no reason then
            said = reason.is_failure
            self._end(faults.session_ended(broker, reason) if said else faults.session_closed(broker))
        elif not self._opened.done():
            self._end(faults.never_answered(broker, self._last_error))
        else:
            self._end(faults.session_closed(broker) if self._closed_in_order else faults.connection_lost(broker))


def _without_delay(sock: object) -> None:
    if isinstance(sock, socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _properties(packet: int, **values: Any) -> Properties:
    untyped: Any = Properties
    properties: Properties = untyped(packet)
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


@functools.lru_cache(maxsize=16)
def _connect_properties(session_expiry_s: int, max_packet: int) -> Properties:
    """Each paho client holds on to them: one for all of a fleet."""
    return _properties(
        PacketTypes.CONNECT,
        SessionExpiryInterval=session_expiry_s,
        ReceiveMaximum=RECEIVE_MAXIMUM,
        MaximumPacketSize=max_packet,
    )
