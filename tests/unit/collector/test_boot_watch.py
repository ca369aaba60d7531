"""Which word of a device on `status/agent` is a reason to challenge it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.attestation.appraisal import BootClock
from medvouch.collector.boot_watch import BootWatch
from medvouch.collector.registry import EnrolledDevice, GivenAnswer, Registry
from medvouch.errors import MedvouchError, NetworkFault, UsageFault
from medvouch.messages import payloads
from medvouch.ports import Timestamp

DEVICE = "01" * 16
OTHER = "02" * 16


def status(boot: str, state: str = "online") -> bytes:
    return payloads.encode("status/agent", payloads.Stamp(DEVICE, boot, 1, Timestamp(0, True)), {"state": state})


class Challenges:
    """What was challenged, and how it ends."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fault: MedvouchError | None = None

    async def __call__(self, device: str) -> None:
        self.asked.append(device)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """It has enrolled DEVICE, of which no evidence was accepted yet."""
    store = SqliteStore(tmp_path / "state.db")
    registry = Registry(store)
    record = EnrolledDevice(
        device=DEVICE,
        serial="SN-1",
        ek_hash=bytes(32),
        attestation_key=b"",
        qualified_name=b"",
        client_key_thumbprint=bytes(32),
        accountable_owner="hospital",
        escrow=b"",
        nv_names={},
        floor=0,
        floor_base=0,
        iak_public=b"",
        ldevid_public=b"",
        certificates=(),
    )
    registry.add(record, "gateway", GivenAnswer(bytes(32), b""))
    yield registry
    store.close()


def test_a_device_without_a_verdict_is_asked_once_a_boot(registry: Registry) -> None:
    watch = BootWatch(registry, Challenges())
    assert watch.heard(DEVICE, status("0.0"))
    assert not watch.heard(DEVICE, status("0.0"))
    assert not watch.heard(DEVICE, status("0.1"))
    assert watch.heard(DEVICE, status("1.0"))


def test_a_boot_that_was_accepted_is_not_asked_about(registry: Registry) -> None:
    registry.accepted(DEVICE, BootClock(7, 0, 1000), None)
    watch = BootWatch(registry, Challenges())
    assert not watch.heard(DEVICE, status("7.3"))
    assert watch.heard(DEVICE, status("8.0"))
    registry.accepted(DEVICE, BootClock(8, 0, 2000), None)
    assert not watch.heard(DEVICE, status("8.0"))
    assert watch.heard(DEVICE, status("6.0")), "a TPM that was cleared, or a lie: the quote will tell"


@pytest.mark.parametrize(
    "payload",
    [status("9.0", "offline"), b"online", status("boot"), status(""), status("-1.0"), status("1" * 11), status("²")],
)
def test_words_that_are_no_reason(registry: Registry, payload: bytes) -> None:
    assert not BootWatch(registry, Challenges()).heard(DEVICE, payload)


def test_strangers_are_no_reason(registry: Registry) -> None:
    assert not BootWatch(registry, Challenges()).heard(OTHER, status("9.0"))


async def test_it_is_asked_again_where_nothing_came(registry: Registry) -> None:
    challenges = Challenges()
    watch = BootWatch(registry, challenges)
    for fault, again in (
        (NetworkFault("no-evidence", "nothing came"), True),
        (UsageFault("challenge-under-way", "somebody else asks"), False),
        (None, False),
    ):
        boot = f"{len(challenges.asked) + 1}.0"
        challenges.fault = fault
        assert watch.heard(DEVICE, status(boot))
        await watch.appraise(DEVICE)
        assert watch.heard(DEVICE, status(boot)) is again
    assert challenges.asked == [DEVICE] * 3
