"""Which refusal code an event carries."""

from __future__ import annotations

from typing import Any

import pytest

from medvouch.messages import topics
from medvouch.messages.payloads import Stamp, encode, parse
from medvouch.ports import Message, Timestamp
from medvouch_sim.observer import Heard

DEVICE = "01" + "ab" * 15


def heard(kind: str, **fields: Any) -> Heard:
    data = encode(f"event/{kind}", Stamp(DEVICE, "1.0", 1, Timestamp(1, True)), fields)
    topic = topics.event(DEVICE, kind)
    return Heard(Message(topic, data), topics.parse(topic), parse(data))


@pytest.mark.parametrize(
    ("event", "code"),
    [
        (heard("update-refused", code="manifest-other-class"), "manifest-other-class"),
        (heard("update", state="failed", tries=1, reason="slot-fell-back"), "slot-fell-back"),
        (heard("update", state="failed", tries=0, reason="payload-mismatch"), ""),
        (heard("update", state="staged", tries=1), ""),
        (heard("attestation", status="affirming", tries=1, reason="none"), ""),
    ],
)
def test_an_update_that_failed_is_told_of_once(event: Heard, code: str) -> None:
    assert event.code == code
    assert event.is_event(DEVICE, event.message.topic.rsplit("/", 1)[1])
    assert not event.is_event(DEVICE, "other")
