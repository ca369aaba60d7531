"""What a device says of its update is kept, newest first, and is told apart from what was proven of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.assurance.reports import DeviceReport
from medvouch.attestation.appraisal import BootClock
from medvouch.collector.claims import ClaimDesk, report
from medvouch.collector.registry import Claimed, Ended, EnrolledDevice, GivenAnswer, Judged, LastKnown, Registry
from medvouch.formats.ear import Tier
from medvouch.messages import payloads
from medvouch.ports import Timestamp
from support.refusing import assert_input_refused

DEVICE = "ab" * 16
NOW = 1_800_000_000
GOOD = Judged("affirming", "", "1.1.0", NOW)


class StoppedClock:
    def now(self) -> Timestamp:
        return Timestamp(NOW * 1000 + 999, True)

    def uptime_s(self) -> int:
        return 0


def enrolled(device: str = DEVICE) -> EnrolledDevice:
    return EnrolledDevice(
        device=device,
        serial="SN-1",
        ek_hash=bytes(32),
        attestation_key=b"",
        qualified_name=b"",
        client_key_thumbprint=bytes(32),
        accountable_owner="owner",
        escrow=b"",
        nv_names={},
        floor=1,
        floor_base=0,
        iak_public=b"",
        ldevid_public=b"",
        certificates=(),
    )


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with closing(SqliteStore(tmp_path / "state.db")) as store:
        made = Registry(store)
        made.add(enrolled(), "new", GivenAnswer(bytes(32), b""))
        yield made


@pytest.fixture
def desk(registry: Registry) -> ClaimDesk:
    return ClaimDesk(registry, StoppedClock())


def message(seq: int = 1, device: str = DEVICE, **fields: Any) -> bytes:
    said = {"state": "staged", "version": "1.1.0", "sequence": 3, "wish": "postponed", **fields}
    return payloads.encode("state/update", payloads.Stamp(device, "1.0", seq, Timestamp(1, True)), said)


def test_the_newest_claim_is_kept(registry: Registry, desk: ClaimDesk) -> None:
    assert registry.known(DEVICE) == LastKnown()
    assert report(registry, DEVICE) == DeviceReport()
    desk.heard(DEVICE, message(5))
    first = Claimed("staged", "1.1.0", 3, "", "postponed", 5, NOW)
    assert registry.known(DEVICE).claimed == first
    for late in (5, 4):
        desk.heard(DEVICE, message(late, state="failed"))
        assert registry.known(DEVICE).claimed == first
    desk.heard(DEVICE, message(6, state="failed", reason="slot-fell-back"))
    found = report(registry, DEVICE)
    assert (found.state, found.sequence, found.reason, found.said_at, found.heard_at) == (
        "failed", 3, "slot-fell-back", NOW, NOW,
    )  # fmt: skip
    assert (found.verdict, found.proven, found.consent) == (Tier.NONE, "", "postponed")
    assert found.quarantined == "update failed: slot-fell-back"


def test_a_device_without_an_update_says_little(registry: Registry, desk: ClaimDesk) -> None:
    stamp = payloads.Stamp(DEVICE, "1.0", 1, Timestamp(1, True))
    desk.heard(DEVICE, payloads.encode("state/update", stamp, {"state": "none"}))
    assert registry.known(DEVICE).claimed == Claimed("none", "", 0, "", "", 1, NOW)


def test_verdicts_stand_beside_it(registry: Registry, desk: ClaimDesk) -> None:
    desk.heard(DEVICE, message())
    registry.accepted(DEVICE, BootClock(4, 0, 0), None, GOOD)
    known = registry.known(DEVICE)
    assert (known.judged, known.claimed and known.claimed.state) == (GOOD, "staged")
    found = report(registry, DEVICE)
    assert (found.verdict, found.proven, found.judged_at, found.quarantined) == (Tier.AFFIRMING, "1.1.0", NOW, "")
    registry.refused(DEVICE, Judged("contraindicated", "event-unexpected", "", NOW + 5))
    found = report(registry, DEVICE)
    assert (found.proven, found.heard_at) == ("", NOW + 5)
    assert found.quarantined == "verdict contraindicated: event-unexpected"
    assert registry.find(DEVICE) is not None
    registry.accepted(DEVICE, BootClock(5, 0, 0), None)
    assert report(registry, DEVICE) == found


def test_nothing_is_kept_of_a_stranger(registry: Registry, desk: ClaimDesk) -> None:
    stranger = "cd" * 16
    desk.heard(stranger, message(device=stranger))
    registry.refused(stranger, GOOD)
    assert registry.known(stranger) == LastKnown()
    assert_input_refused("message-malformed", desk.heard, DEVICE, message(device=stranger))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"state": ""}, "message-malformed"),
        ({"state": 7}, "message-malformed"),
        ({"state": "s" * 65}, "message-limit"),
        ({"version": "v" * 65}, "message-limit"),
        ({"sequence": -1}, "message-malformed"),
        ({"sequence": "3"}, "message-malformed"),
        ({"reason": "r" * 65}, "message-limit"),
        ({"wish": 1}, "message-malformed"),
    ],
)
def test_claims_that_are_none(registry: Registry, desk: ClaimDesk, fields: dict[str, Any], code: str) -> None:
    assert_input_refused(code, desk.heard, DEVICE, message(**fields))
    assert_input_refused("message-malformed", desk.heard, DEVICE, json.dumps(fields).encode())
    assert registry.known(DEVICE) == LastKnown()


def test_an_enrolment_begins_with_nothing_known(registry: Registry, desk: ClaimDesk) -> None:
    """The device's state was lost, and its messages are numbered anew."""
    desk.heard(DEVICE, message(900))
    registry.add(enrolled(), "new", GivenAnswer(bytes(32), b""))
    desk.heard(DEVICE, message(1, state="notified"))
    assert report(registry, DEVICE).state == "notified"
    registry.decommissioned(Ended(enrolled(), b"", b"", bytes(32), NOW * 1000))
    assert registry.known(DEVICE) == LastKnown()
