"""Commands that are answered, refused, or left without an answer."""

from __future__ import annotations

from typing import Any, cast

import pytest

from medvouch.collector.commanding import Commander, CommandRefused
from medvouch.collector.presence import Presence
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import NetworkFault
from medvouch.messages import payloads, topics
from medvouch.ports import Timestamp
from support.authorities import NOW, key
from support.tpms import OsEntropy

STAMP = payloads.Stamp("a", "1.0", 1, Timestamp(0, True))


class Time:
    def now(self) -> Timestamp:
        return Timestamp(NOW * 1000, True)

    def uptime_s(self) -> int:
        return 0


class Line:
    """To a device that answers each command with `fields` (None: not at all), and some other command with `done`."""

    def __init__(self, fields: payloads.Fields | None) -> None:
        self.fields = fields
        self.commander: Commander | None = None
        self.sent: list[str] = []

    async def publish(self, topic: str, payload: bytes) -> None:
        self.sent.append(topic)
        parsed = topics.parse(topic)
        assert isinstance(parsed, topics.Command)
        assert self.commander is not None
        assert payload
        stray = topics.Response(parsed.device, parsed.name, "another")
        self.commander.answered(stray, payloads.encode("res", STAMP, {"outcome": "done"}))
        if self.fields is not None:
            for _ in range(2):
                answer = payloads.encode("res", STAMP, self.fields)
                self.commander.answered(topics.Response(parsed.device, parsed.name, parsed.id), answer)


def commander(line: Line, *, there: bool = True) -> Commander:
    presence = Presence()
    if there:
        presence.heard("a", payloads.encode("status/agent", STAMP, {"state": "online"}))
    made = Commander(SoftwareSigner(key("commander")), cast("Any", line), Time(), OsEntropy(), presence)
    line.commander = made
    return made


async def test_an_answer_comes_to_whoever_asked() -> None:
    made = commander(Line({"outcome": "done", "counter": 7}))
    assert (await made.ask("a", "floor", {}))["counter"] == 7
    assert not made._asked


@pytest.mark.parametrize("fields", [{"outcome": "refused", "code": "device-frozen", "detail": "no"}, {"code": "x"}])
async def test_a_refusal_bears_the_code_of_the_device(fields: payloads.Fields) -> None:
    with pytest.raises(CommandRefused) as caught:
        await commander(Line(fields)).ask("a", "freeze", {})
    assert (caught.value.code, caught.value.reason) == ("command-refused", fields["code"])


@pytest.mark.parametrize(("there", "sent"), [(True, 1), (False, 0)])
async def test_no_answer(there: bool, sent: int) -> None:
    line = Line(None)
    made = commander(line, there=there)
    with pytest.raises(NetworkFault) as caught:
        await made.ask("a", "freeze", {}, 0.02)
    assert caught.value.code == "command-unanswered"
    assert len(line.sent) == sent
    assert not made._asked
