"""Software known to break rules of the log, by name: what a policy may let pass, and says so where it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.attestation import log_refusals
from medvouch.errors import RefusalKind


@dataclass(frozen=True)
class Quirk:
    """What it does wrong, where that was seen, and the codes of the rules that are waived for it; opt-in."""

    name: str
    what: str
    seen: str
    waives: frozenset[str]


def _codes(*kinds: RefusalKind) -> frozenset[str]:
    return frozenset(kind.code for kind in kinds)


QUIRKS: Mapping[str, Quirk] = {
    quirk.name: quirk
    for quirk in (
        Quirk(
            "measures-twice",
            "The firmware starts its boot options anew after one of them failed, and closes its PCRs once more.",
            "AMD reference firmware (Lenovo servers)",
            _codes(log_refusals.SEPARATOR_DOUBLED),
        ),
        Quirk(
            "vendor-info-outside",
            "The size of the log's header leaves its vendor information out.",
            "a log among the tests of tpm2-tools",
            _codes(log_refusals.SPEC_ID_VENDOR_INFO),
        ),
        Quirk(
            "old-shim",
            "Shim hashes all but the last byte of the authorities that it logs.",
            "shim before 15.3",
            _codes(log_refusals.AUTHORITY_CUT_SHORT),
        ),
    )
}
