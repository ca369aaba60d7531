"""Which attack or fault meets which gateway, in which order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from medvouch_sim.demo.attacks.base import Attack, Trial
from medvouch_sim.demo.attacks.booting import BOOT_ATTACKS, RESTORED_TPM
from medvouch_sim.demo.attacks.bundles import BUNDLE_ATTACKS
from medvouch_sim.demo.attacks.enrolling import ENROLMENT_ATTACKS, SECOND_ENROLMENT
from medvouch_sim.demo.attacks.evidence import EVIDENCE_ATTACKS
from medvouch_sim.demo.attacks.ledger import CLEARED, FORKED, RESTORED_DISK
from medvouch_sim.demo.attacks.network import NETWORK_ATTACKS
from medvouch_sim.demo.attacks.power import CUT_WHILE_WRITING, FULL_DISK, POWER_FAULTS
from medvouch_sim.demo.attacks.repository import REPOSITORY_ATTACKS, REPOSITORY_FAULTS
from medvouch_sim.demo.attacks.updating import PAYLOAD_ATTACKS, UPDATE_ATTACKS
from medvouch_sim.demo.attacks.verdicts import FORGED_VERDICT, WITHHELD
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway

SPARE = "spare"
"""The gateway that is there to be broken."""

Cast = Mapping[str, Gateway]


@dataclass(frozen=True)
class Act:
    """Rows in order, each with the name of the gateway it is for; `entrance`: who has to be there first."""

    title: str
    rows: Sequence[tuple[str, Attack | Trial]]
    entrance: Callable[[Stage, Cast], Awaitable[None]] | None = None


def _all(gateway: str, *rows: Attack | Trial) -> Sequence[tuple[str, Attack | Trial]]:
    return [(gateway, row) for row in rows]


async def spare_enters(stage: Stage, cast: Cast) -> None:
    """It is enrolled on the first release, and known to be good."""
    mark, spare = stage.mark, cast[SPARE]
    await spare.boot()
    await stage.online(spare, since=mark)
    await stage.challenge(spare, "before it is broken")


async def spare_closes(stage: Stage, cast: Cast) -> None:
    """The verdict that was kept from it comes at last."""
    mark = stage.mark
    await stage.challenge(cast[SPARE], "the verdict at last")
    await stage.update(cast[SPARE], "closed", since=mark)


ACTS: Sequence[Act] = (
    Act("Releases that nobody should install", _all("gw1", *UPDATE_ATTACKS)),
    Act("The update repository in other hands", _all("gw2", *REPOSITORY_ATTACKS, *REPOSITORY_FAULTS)),
    Act(
        "A spare gateway is updated against all odds",
        _all(SPARE, *PAYLOAD_ATTACKS, FULL_DISK, CUT_WHILE_WRITING, WITHHELD, FORGED_VERDICT),
        spare_enters,
    ),
    Act("Power goes, again and again", _all(SPARE, *POWER_FAULTS), spare_closes),
    Act("Attackers want to be enrolled", ENROLMENT_ATTACKS),
    Act(
        "Attackers go for gateways in service",
        [
            *_all("gw1", SECOND_ENROLMENT, *BOOT_ATTACKS),
            *_all("gw2", *EVIDENCE_ATTACKS),
            *_all("gw3", RESTORED_TPM, *NETWORK_ATTACKS),
        ],
    ),
    Act("Attackers rewrite history", [*_all("gw2", *BUNDLE_ATTACKS), *_all(SPARE, RESTORED_DISK, FORKED, CLEARED)]),
)
