"""What devices say of their updates, kept beside the last verdict on each, and never taken for one."""

from __future__ import annotations

from medvouch.assurance.reports import DeviceReport
from medvouch.collector.registry import Claimed, Registry
from medvouch.errors import InputError
from medvouch.formats.ear import Tier
from medvouch.formats.record import Place
from medvouch.messages import payloads
from medvouch.ports import Clock

KIND = "update"
"""Of the state that is listened to."""


class ClaimDesk:
    """Keeps the last claim of each enrolled device."""

    def __init__(self, registry: Registry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock

    def heard(self, device: str, payload: bytes) -> None:
        """A message on the device's `state/update`. Raises InputError `message-*` where it is not one of its own.

        The broker hands out the last one again to whoever comes: what is not newer is passed over.
        """
        said = payloads.parse(payload)
        if said.stamp.device != device:
            raise InputError("message-malformed", f"it says that it is of {said.stamp.device[:64]}", place="device")
        place, fields = Place("message"), said.fields
        claim = {
            "state": fields.get("state"),
            "version": fields.get("version", ""),
            "sequence": fields.get("sequence", 0),
            "reason": fields.get("reason", ""),
            "wish": fields.get("wish", ""),
            "seq": said.stamp.seq,
            "received": self._clock.now().ms // 1000,
        }
        self._registry.claimed(device, Claimed.from_map(claim, place))


def report(registry: Registry, device: str) -> DeviceReport:
    """What is known of a device, for whoever decides on rollouts."""
    known = registry.known(device)
    judged, claimed = known.judged, known.claimed
    return DeviceReport(
        verdict=Tier[judged.status.upper()] if judged else Tier.NONE,
        judged_at=judged.issued if judged else 0,
        code=judged.code if judged else "",
        proven=judged.release if judged else "",
        state=claimed.state if claimed else "",
        sequence=claimed.sequence if claimed else 0,
        reason=claimed.reason if claimed else "",
        said_at=claimed.received if claimed else 0,
        consent=claimed.wish if claimed else "",
        heard_at=max(judged.issued if judged else 0, claimed.received if claimed else 0),
    )
