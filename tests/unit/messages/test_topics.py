from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.messages import topics

DEVICE = "0123456789abcdef0123456789abcdef"
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True)
STEPS: list[topics.EnrolmentStep] = ["request", "challenge", "proof", "answer", "sanitised", "released"]
DEVICES = NAMES.filter(lambda name: name != "enrol")


@given(
    DEVICES,
    NAMES,
    NAMES,
    st.binary(min_size=8, max_size=64),
    st.sampled_from(STEPS),
)
def test_what_is_built_is_parsed(
    device: str, kind: str, identifier: str, nonce: bytes, step: topics.EnrolmentStep
) -> None:
    assert topics.parse(topics.status(device)) == topics.Status(device, "agent")
    assert topics.parse(topics.state(device, kind)) == topics.State(device, kind)
    assert topics.parse(topics.event(device, kind)) == topics.Event(device, kind)
    assert topics.parse(topics.evidence(device, kind)) == topics.Evidence(device, kind)
    assert topics.parse(topics.result(device, nonce)) == topics.Result(device, nonce)
    assert topics.parse(topics.command(device, kind, identifier)) == topics.Command(device, kind, identifier)
    assert topics.parse(topics.response(device, kind, identifier)) == topics.Response(device, kind, identifier)
    assert topics.parse(topics.enrolment(device, step)) == topics.Enrolment(device, step)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "medvouch/v1",
        "medvouch/v1/",
        f"medvouch/v2/{DEVICE}/status/agent",
        f"/medvouch/v1/{DEVICE}/status/agent",
        f"medvouch/v1/{DEVICE}",
        f"medvouch/v1/{DEVICE}/status",
        f"medvouch/v1/{DEVICE}/status/agent/",
        f"medvouch/v1/{DEVICE}/other/agent",
        f"medvouch/v1/{DEVICE}/cmd/attest",
        f"medvouch/v1/{DEVICE}/cmd/attest/1/2",
        f"medvouch/v1/{DEVICE}/result/zz",
        f"medvouch/v1/{DEVICE}/result/00",
        f"medvouch/v1/{DEVICE}/result/{'0' * 17}",
        f"medvouch/v1/{DEVICE}/result/{'00' * 65}",
        f"medvouch/v1/{DEVICE}/event/Boot",
        f"medvouch/v1/{DEVICE}/event/-boot",
        f"medvouch/v1/{DEVICE}/event/boot\n",
        f"medvouch/v1/{DEVICE}/event/{'x' * 65}",
        "medvouch/v1/+/status/agent",
        "medvouch/v1/enrol/x/other",
        "medvouch/v1/enrol/+/request",
        "medvouch/v1/ünit/status/agent",
        "$session",
    ],
)
def test_what_is_not_of_the_grammar(topic: str) -> None:
    with pytest.raises(InputError) as caught:
        topics.parse(topic)
    assert caught.value.code == "topic-malformed"


@given(st.text(max_size=100))
def test_any_text(text: str) -> None:
    for topic in (text, f"{topics.ROOT}/{text}"):
        with contextlib.suppress(InputError):
            topics.parse(topic)


def test_filters() -> None:
    assert topics.commands(DEVICE) == f"medvouch/v1/{DEVICE}/cmd/+/+"
    assert topics.results(DEVICE) == f"medvouch/v1/{DEVICE}/result/+"
    assert topics.enrolment("+", "proof") == "medvouch/v1/enrol/+/proof"
