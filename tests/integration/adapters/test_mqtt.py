from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medvouch.adapters.mqtt import MqttTransport
from medvouch.adapters.tls import client_context
from medvouch.errors import NetworkFault, Refusal
from medvouch.ports import Message
from support import pki

if TYPE_CHECKING:
    from conftest import Connect, Net  # pragma: no cover

DEVICE = "0123456789abcdef0123456789abcdef"
OTHER = "fedcba9876543210fedcba9876543210"
ALL = "medvouch/v1/#"


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(15):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.01)


async def test_messages_arrive_with_correlation_and_order(net: Net, connect: Connect) -> None:
    async with connect(net.settings("collector"), ALL) as (_, inbox), connect(net.settings(DEVICE)) as (device, _):
        topic = f"medvouch/v1/{DEVICE}/event/boot"
        await asyncio.gather(*(device.publish(topic, b"%d" % n, correlation=b"c%d" % n) for n in range(200)))
        received = await inbox.until(lambda message: message.topic == topic, 200)
    assert [message.payload for message in received] == [b"%d" % n for n in range(200)]
    assert received[7] == Message(topic, b"7", False, b"c7")


async def test_large_evidence_passes_and_qos_0_too(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/evidence/boot"
    async with connect(net.settings("collector"), ALL) as (_, inbox), connect(net.settings(DEVICE)) as (device, _):
        payload = bytes(range(256)) * 32768
        await device.publish(topic, payload)
        await device.publish(f"medvouch/v1/{DEVICE}/metric/agent", b"m", qos=0)
        (evidence,) = await inbox.until(lambda message: message.topic == topic)
        await inbox.until(lambda message: message.payload == b"m")
    assert evidence.payload == payload


async def test_commands_reach_only_their_device(net: Net, connect: Connect) -> None:
    filters = (f"medvouch/v1/{DEVICE}/cmd/#", f"medvouch/v1/{OTHER}/cmd/#")
    async with (
        connect(net.settings(DEVICE), *filters) as (_, inbox),
        connect(net.settings("collector")) as (collector, _),
    ):
        await collector.publish(f"medvouch/v1/{OTHER}/cmd/attest/1", b"theirs")
        await collector.publish(f"medvouch/v1/{DEVICE}/cmd/attest/2", b"mine")
        await inbox.until(lambda message: message.payload == b"mine")
        assert b"theirs" not in [message.payload for message in inbox.messages]


@pytest.mark.parametrize(
    "topic",
    [
        f"medvouch/v1/{DEVICE}/cmd/attest/1",
        f"medvouch/v1/{DEVICE}/result/00",
        f"medvouch/v1/{OTHER}/event/boot",
        "medvouch/v1/enrol/bootstrap-1/answer",
    ],
)
async def test_the_access_list_refuses(net: Net, connect: Connect, topic: str) -> None:
    async with connect(net.settings(DEVICE)) as (device, _):
        with pytest.raises(Refusal) as caught:
            await device.publish(topic, b"x")
        assert caught.value.code == "publish-refused"
        assert caught.value.place == topic
        assert device.connected


async def test_the_bootstrap_credential_only_enrols(net: Net, connect: Connect) -> None:
    async with (
        connect(net.settings("collector"), "medvouch/v1/enrol/#") as (collector, requests),
        connect(net.settings("unit-7", bootstrap=True), "medvouch/v1/enrol/unit-7/#") as (device, answers),
    ):
        await device.publish("medvouch/v1/enrol/unit-7/request", b"hello")
        await requests.until(lambda message: message.payload == b"hello")
        await collector.publish("medvouch/v1/enrol/unit-7/challenge", b"prove")
        await answers.until(lambda message: message.payload == b"prove")
        for topic in (
            "medvouch/v1/enrol/unit-8/request",
            "medvouch/v1/unit-7/event/x",
            "medvouch/v1/enrol/unit-7/answer",
        ):
            with pytest.raises(Refusal, match="publish-refused"):
                await device.publish(topic, b"x")


async def test_a_service_certificate_is_refused_by_the_other_listener(net: Net, connect: Connect) -> None:
    settings = net.settings(DEVICE)
    certificate, key = net.credentials[f"{DEVICE}False"].write(net.directory)
    wrong = net.settings(
        "x", bootstrap=True, tls=lambda: client_context([net.broker_ca.der], certificate, key), client_id=DEVICE
    )
    assert settings.port != wrong.port
    async with connect(wrong, wait=False) as (device, _):
        await until(lambda: device.fault)
        assert str(device.fault).startswith("client-certificate-refused: 127.0.0.1:")
        assert "\n" not in str(device.fault)
        assert not device.connected


async def test_a_client_id_is_of_no_use_against_another_device(net: Net, connect: Connect) -> None:
    async with connect(net.settings(DEVICE)) as (_, victim):
        async with connect(net.settings(OTHER, client_id=DEVICE)) as (intruder, _):
            await intruder.publish(f"medvouch/v1/{OTHER}/event/x", b"as myself")
        assert [message.payload for message in victim.messages] == [b"connected"]


async def test_two_clients_of_one_identity_notice(net: Net, connect: Connect) -> None:
    async with connect(net.settings(DEVICE)) as (_, inbox), connect(net.settings(DEVICE)) as (_, copy):
        await inbox.session(b"taken-over")
        await copy.session(b"taken-over")


CONNACK = "2003000000"


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (CONNACK + "e0068e041f000178", "session-taken-over: "),
        (CONNACK + "e0018e", "session-taken-over: "),  # as mosquitto from 2.0.13 on says it
        (CONNACK + "e00689041f000178", "session-ended: 127.0.0.1:"),
        (CONNACK + "e000", "session-closed: 127.0.0.1:"),
        (CONNACK + "900400010087", "subscribe-refused: 127.0.0.1:"),
        ("2003008700", "connect-refused: 127.0.0.1:"),
        ("", "broker-silent: 127.0.0.1:"),
    ],
)
async def test_what_other_brokers_say(net: Net, connect: Connect, answer: str, fault: str) -> None:
    """Byte for byte, for what mosquitto 2.0.11 does not say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.issue(net.broker_ca, "another").write(net.directory))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes.fromhex(answer))
        await writer.drain()
        writer.close()

    topics = ["a"] if "9004" in answer else []
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(net.settings(DEVICE, port=port), *topics, wait=False) as (device, inbox):
            await until(lambda: str(device.fault).startswith(fault))
            assert "; " in str(device.fault)
            if "taken-over" in fault:
                await inbox.session(b"taken-over")


@contextlib.asynccontextmanager
async def broker_that_sends(net: Net, *packets: bytes) -> AsyncIterator[int]:
    """To whoever connects: CONNACK, then these. Its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pki.issue(net.broker_ca, "another").write(net.directory))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(bytes.fromhex("2003000000") + b"".join(packets))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def published(topic: bytes, payload: bytes) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + b"\0\1\0" + payload
    return bytes([0x32, len(body)]) + body


async def test_a_topic_that_is_no_text_ends_the_session(net: Net, connect: Connect) -> None:
    async with (
        broker_that_sends(net, published(b"\xff", b"")) as port,
        connect(net.settings(DEVICE, port=port)) as (device, inbox),
    ):
        await inbox.session(b"lost", 2)
        await until(lambda: device.fault)
        assert str(device.fault).startswith(f"broker-not-understood: 127.0.0.1:{port} sent what is no MQTT 5: ")


async def test_nobody_else_speaks_of_the_session(net: Net, connect: Connect) -> None:
    async with (
        broker_that_sends(net, published(b"$session", b"\xff"), published(b"a", b"x")) as port,
        connect(net.settings(DEVICE, port=port)) as (_, inbox),
    ):
        await inbox.until(lambda message: message.topic == "a")
        assert [message.payload for message in inbox.messages if message.topic == "$session"] == [b"connected"]


async def test_a_broker_that_stops_is_not_taken_for_an_intruder(net: Net, connect: Connect) -> None:
    async with connect(net.settings(DEVICE)) as (_, changes):
        net.broker.stop()
        net.broker.start()
        await changes.session(b"connected", 2)
    assert [message.payload for message in changes.messages] == [b"connected", b"lost", b"connected"]


async def test_the_will_is_published_and_a_clean_close_drops_it(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/status/agent"
    settings = net.settings(DEVICE, will=lambda: Message(topic, b"offline", retain=True), session_expiry_s=0)
    async with connect(net.settings("collector"), ALL) as (_, inbox):
        async with connect(settings) as (device, _):
            await device.publish(topic, b"online", retain=True)
        await inbox.until(lambda message: message.payload == b"online")
        async with connect(settings, wait=False) as (device, reader):
            await reader.session(b"connected")
            assert all(message.payload != b"offline" for message in inbox.messages)
            async with connect(settings):  # a takeover is no clean end of the first session
                await inbox.until(lambda message: message.payload == b"offline")


async def test_an_aborted_session_leaves_its_will_and_does_not_come_back(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/status/agent"
    settings = net.settings(DEVICE, will=lambda: Message(topic, b"offline"), session_expiry_s=0, retry_max_s=0.1)
    async with connect(net.settings("collector"), ALL) as (_, inbox), connect(settings) as (device, changes):
        device.abort()
        await inbox.until(lambda message: message.payload == b"offline")
        with pytest.raises(NetworkFault, match="publish-unacknowledged"):
            await device.publish(topic, b"after the end")
        await asyncio.sleep(0.5)
        assert not device.connected
        assert [message.payload for message in changes.messages] == [b"connected"]


async def test_nothing_is_lost_when_the_broker_is_killed(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/event/n"
    async with (
        connect(net.settings("collector"), ALL) as (_, inbox),
        connect(net.settings(DEVICE)) as (device, changes),
    ):
        await device.publish(topic, b"before")
        await inbox.until(lambda message: message.payload == b"before")
        net.broker.kill()
        publishing = [asyncio.create_task(device.publish(topic, b"%d" % n)) for n in range(50)]
        await changes.session(b"lost")
        await until(lambda: str(device.fault).startswith("broker-unreachable: "))
        assert not any(task.done() for task in publishing)
        net.broker.start()
        await inbox.session(b"connected", 2)
        await asyncio.gather(*publishing)
        await changes.session(b"connected", 2)
        assert device.fault is None


async def test_messages_in_flight_are_sent_again_first_and_in_order(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/event/n"
    async with connect(net.settings(DEVICE)) as (device, changes):
        publishing = [asyncio.create_task(device.publish(topic, b"%d" % n, retain=True)) for n in range(60)]
        await asyncio.sleep(0)  # handed to paho, on the wire at the earliest
        net.broker.kill()
        await changes.session(b"lost")
        net.broker.start()
        await asyncio.gather(*publishing)
        async with connect(net.settings("collector"), topic) as (_, inbox):
            (last,) = await inbox.until(lambda message: message.topic == topic)
            assert last.payload == b"59"


async def test_a_message_not_taken_is_delivered_again(net: Net, connect: Connect) -> None:
    topic = f"medvouch/v1/{DEVICE}/cmd/attest/1"
    settings = net.settings(DEVICE)
    first = MqttTransport(settings)
    await first.start([topic])
    incoming = first.messages()
    assert (await anext(incoming)).payload == b"connected"
    async with connect(net.settings("collector")) as (collector, _):
        await collector.publish(topic, b"do it")
    assert (await anext(incoming)).payload == b"do it"
    await first.close()  # before the next was asked for
    async with connect(settings, topic) as (_, inbox):
        await inbox.until(lambda message: message.payload == b"do it")


async def test_a_slow_reader_holds_the_broker_back(net: Net, connect: Connect) -> None:
    slow = MqttTransport(net.settings(DEVICE))
    await slow.start([f"medvouch/v1/{DEVICE}/cmd/#"])
    await until(lambda: slow.connected)
    async with connect(net.settings("collector")) as (collector, _):
        await asyncio.gather(*(collector.publish(f"medvouch/v1/{DEVICE}/cmd/n/{n}", b"") for n in range(100)))
        await until(lambda: slow._inbox.qsize() >= 21)
        await asyncio.sleep(0.2)  # for more, if the broker would send it
        assert slow._inbox.qsize() == 21
        seen = 0
        async for message in slow.messages():
            seen += message.topic != "$session"
            if seen == 100:
                break
    await slow.close()


async def test_wrong_ca_is_one_line_and_retried_until_mended(net: Net, connect: Connect, tmp_path: Path) -> None:
    stranger = pki.authority("stranger")
    certificate, key = pki.issue(net.service_ca, DEVICE).write(tmp_path)
    roots = [stranger.der]
    tries = 0

    def tls() -> ssl.SSLContext:
        nonlocal tries
        tries += 1
        return client_context(roots, certificate, key)

    async with connect(net.settings(DEVICE, tls=tls), wait=False) as (device, inbox):
        publishing = asyncio.create_task(device.publish(f"medvouch/v1/{DEVICE}/event/x", b"kept"))
        await until(lambda: tries >= 3)
        assert str(device.fault).startswith("broker-untrusted: 127.0.0.1:")
        assert str(device.fault).count("\n") == 0
        assert "; check " in str(device.fault)
        roots[:] = [net.broker_ca.der]
        await inbox.session(b"connected")
        await publishing


async def test_missing_credential_is_a_fault(net: Net, connect: Connect, tmp_path: Path) -> None:
    nowhere = tmp_path / "none"
    settings = net.settings(DEVICE, tls=lambda: client_context([net.broker_ca.der], nowhere, nowhere))
    async with connect(settings, wait=False) as (device, _):
        await until(lambda: device.fault)
        assert str(device.fault).startswith("credential-unusable: ")
        assert "No such file" in str(device.fault)


@contextlib.contextmanager
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


async def test_a_port_that_never_speaks_tls(net: Net, connect: Connect) -> None:
    with listening() as port:
        async with connect(net.settings(DEVICE, port=port, connect_timeout_s=0.2), wait=False) as (device, _):
            await until(lambda: device.fault)
            assert str(device.fault).startswith("broker-unreachable: ")
            assert "no answer in time" in str(device.fault)


async def test_a_tls_server_that_never_speaks_mqtt(net: Net, connect: Connect, tmp_path: Path) -> None:
    server = pki.issue(net.broker_ca, "mute")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.write(tmp_path))

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(mute, "127.0.0.1", 0, ssl=context) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with connect(net.settings(DEVICE, port=port, connect_timeout_s=0.3), wait=False) as (device, _):
            await until(lambda: device.fault)
            assert str(device.fault).startswith("broker-silent: ")


async def test_a_broker_without_tls_1_3(net: Net, connect: Connect, tmp_path: Path) -> None:
    server = pki.issue(net.broker_ca, "old")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server.write(tmp_path))
    context.maximum_version = ssl.TLSVersion.TLSv1_2

    async with await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0, ssl=context) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with connect(net.settings(DEVICE, port=port), wait=False) as (device, _):
            await until(lambda: device.fault)
            assert str(device.fault).startswith("broker-tls-failed: ")


async def test_a_message_beyond_the_brokers_limit_is_refused_not_retried(net: Net, connect: Connect) -> None:
    async with connect(net.settings(DEVICE)) as (device, _):
        with pytest.raises(Refusal, match="the broker takes 41943040"):
            await device.publish(f"medvouch/v1/{DEVICE}/evidence/x", bytes(40 * 1024 * 1024))
        assert device.connected


async def test_closing_unconnected_tells_the_publisher(net: Net, connect: Connect) -> None:
    net.broker.kill()
    async with connect(net.settings(DEVICE), wait=False) as (device, _):
        cancelled = asyncio.create_task(device.publish("a", b""))
        publishing = asyncio.create_task(device.publish("b", b""))
        await until(lambda: device.fault)
        cancelled.cancel()
    with pytest.raises(NetworkFault, match="publish-unacknowledged"):
        await publishing
    with pytest.raises(NetworkFault, match="publish-unacknowledged"):
        await device.publish("c", b"")


async def test_keepalive_notices_a_frozen_broker(net: Net, connect: Connect) -> None:
    async with connect(net.settings(DEVICE, keepalive_s=1)) as (_, changes):
        process = net.broker._process
        assert process is not None
        process.send_signal(signal.SIGSTOP)
        try:
            await changes.session(b"lost")
        finally:
            process.send_signal(signal.SIGCONT)
        await changes.session(b"connected", 2)


async def test_no_usable_broker_ca(net: Net, connect: Connect) -> None:
    certificate, key = pki.issue(net.service_ca, DEVICE).write(net.directory)
    settings = net.settings(DEVICE, tls=lambda: client_context([b"no certificate"], certificate, key))
    async with connect(settings, wait=False) as (device, _):
        await until(lambda: str(device.fault).startswith("broker-ca-unusable: "))


async def test_closing_while_a_connect_blocks(net: Net, connect: Connect) -> None:
    with listening() as port:
        async with connect(net.settings(DEVICE, port=port, connect_timeout_s=0.3), wait=False):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.4)  # the thread ends, and leaves nothing open


async def test_closing_right_after_a_connect_began(net: Net, connect: Connect) -> None:
    for delay in (0, 0.001, 0.003, 0.01, 0.02):
        async with connect(net.settings(DEVICE), wait=False):
            await asyncio.sleep(delay)
    await asyncio.sleep(0.1)
