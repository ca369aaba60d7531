"""Messages as an observer hears them, for the life of one gateway."""

from __future__ import annotations

from collections.abc import Sequence

from medvouch.messages import payloads, topics
from medvouch.messages.payloads import Scalar, Stamp
from medvouch.ports import Message, Timestamp
from medvouch_sim.demo.lifeline import Lifeline, lifelines
from medvouch_sim.demo.verdicts import Verdict
from medvouch_sim.observer import Heard

DEVICE = "01c62a09b5355ce196b31e347048f1d0"
COLLECTOR = "collector"
STATES = ("notified", "staged", "activated", "booted", "self_checked", "closed")


def heard(at_s: float, topic: str, schema: str, device: str, boot: str, **fields: Scalar) -> Heard:
    """One JSON message, encoded and parsed as on the wire."""
    data = payloads.encode(schema, Stamp(device, boot, 1, Timestamp(0, False)), fields)
    return Heard(Message(topic, data), topics.parse(topic), payloads.parse(data), at_s)


def online(at_s: float, boot: str, state: str = "online") -> Heard:
    return heard(at_s, topics.status(DEVICE), "status/agent", DEVICE, boot, state=state)


def identity(at_s: float, life: str, **fields: Scalar) -> Heard:
    said = {"owner": "St. Example Hospital", "model": "MV-100", "serial": "SN-gw1", "sw_version": "1.0.0"} | fields
    return heard(at_s, topics.state(DEVICE, "identity"), "state/identity", DEVICE, "3.0", life=life, **said)


def event(at_s: float, kind: str, **fields: Scalar) -> Heard:
    return heard(at_s, topics.event(DEVICE, kind), f"event/{kind}", DEVICE, "3.0", **fields)


def update(at_s: float, state: str, version: str = "1.1.0", **fields: Scalar) -> Heard:
    return event(at_s, "update", state=state, version=version, security_epoch=2, slot="b", **fields)


def collector_says(at_s: float, kind: str, **fields: Scalar) -> Heard:
    return heard(at_s, topics.event(COLLECTOR, kind), f"event/{kind}", COLLECTOR, COLLECTOR, about=DEVICE, **fields)


def appraised(at_s: float, status: str = "affirming", **fields: Scalar) -> Heard:
    return collector_says(at_s, "appraisal", status=status, **fields)


def updating(at_s: float, *states: str) -> list[Heard]:
    """Each state of an update, 0.1 s apart."""
    return [update(at_s + number / 10, state) for number, state in enumerate(states)]


def row(at_s: float, kind: str, step: str, code: str, actual: str = "", detail: str = "") -> Verdict:
    """A row about gw1; as expected unless `actual` says otherwise."""
    return Verdict("gw1", kind, step, code, actual or code, code, detail, at_s)  # type: ignore[arg-type]


def life(messages: Sequence[Heard], rows: Sequence[Verdict] = (), began_s: float = 0.0) -> Lifeline:
    """The life of gw1."""
    (told,) = lifelines([("gw1", DEVICE)], messages, rows, began_s)
    return told


def whole_life() -> tuple[list[Heard], list[Verdict]]:
    """From enrolment to decommissioning, with one update, attacks and faults."""
    messages = [
        collector_says(0.2, "enrolled", serial="SN-gw1"),
        online(0.25, "3.0"),
        identity(0.3, "enrolled", owner=""),
        event(0.4, "commissioned", owner="St. Example Hospital"),
        identity(0.45, "commissioned"),
        appraised(0.5),
        online(0.6, "3.0", "offline"),
        online(0.7, "4.0"),
        appraised(0.8),
        *updating(1.0, "notified", "staged", "activated"),
        online(1.4, "5.0"),
        *updating(1.5, "booted", "self_checked"),
        appraised(1.7),
        update(1.8, "closed"),
        event(1.9, "floor-raised", security_epoch=2),
        online(2.05, "6.0"),
        appraised(2.1, "contraindicated", code="event-unexpected"),
        *updating(2.2, "notified", "staged", "failed"),
        online(2.6, "7.0"),
        appraised(2.7),
        event(3.0, "frozen"),
        identity(3.1, "frozen", sw_version="1.1.0"),
        identity(3.2, "decommissioned", sw_version="1.1.0"),
    ]
    rows = [
        row(0.85, "step", "attested again", "affirming"),
        row(1.95, "step", "updated", "closed"),
        row(2.15, "attack", "modified kernel", "event-unexpected", detail="PCR 4, uefi event 21"),
        row(2.5, "fault", "broken slot at first boot", "slot-fell-back"),
        row(2.65, "fault", "power cut while writing", "slot-fell-back"),
        row(2.75, "step", "healthy after all attacks", "affirming"),
        row(3.3, "step", "decommissioned", "decommissioned"),
    ]
    return messages, rows
