"""`medvouch explain`: why evidence is judged as it is, for people, as JSON, or as a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from medvouch.attestation.explanation import Explanation, PcrExplanation, State
from medvouch.cli.output import aligned, moment


def document(explained: Explanation) -> dict[str, Any]:
    """For --json."""
    boot = explained.boot
    return {
        "kind": "explanation",
        "status": "affirming" if explained.affirming else "contraindicated",
        "quote_holds": explained.quoted,
        "policy": explained.policy,
        "evidence_digest": explained.evidence_digest.hex(),
        "judged_at": explained.judged_at,
        "device": explained.device,
        "release": explained.release,
        "code": explained.code,
        "detail": explained.detail,
        "place": explained.place,
        "action": explained.action,
        "secure_boot": boot.secure_boot.value if boot else None,
        "firmware_version": boot.firmware_version if boot else None,
        "quirks": list(explained.quirks),
        "phases": list(boot.phases) if boot else [],
        "pcrs": [vars(pcr) for pcr in explained.pcrs],
        "events": [{**vars(each), "state": each.state.value} for each in explained.moments],
    }


def lines(explained: Explanation) -> list[str]:
    """For people: the verdict, each PCR, and what to do about those that are not as they should be."""
    shown = document(explained)
    head = {name: shown[name] for name in ("status", "code", "detail", "place", "action", "device")}
    head |= {"release" if explained.affirming else "nearest": shown["release"], "policy": shown["policy"]}
    head |= {"secure boot": shown["secure_boot"], "firmware": shown["firmware_version"]}
    head |= {"let pass": ", ".join(explained.quirks) or None}
    told = aligned({**head, "judged at": moment(explained.judged_at)})
    if explained.pcrs:
        told += ["", said_of_quote(explained)]
        told += [_row(pcr) for pcr in explained.pcrs]
    for pcr in explained.pcrs:
        if pcr.code is not None:
            told += ["", *_wrong(pcr)]
    return told


def said_of_quote(explained: Explanation) -> str:
    """Whose word PCRs and events are."""
    if explained.quoted:
        return "the TPM's signature holds; of each PCR, what its log comes to:"
    return "the quote does NOT hold; what follows is the evidence's own word:"


def counts(explained: Explanation) -> dict[State, int]:
    """How many events are in each state."""
    states = [each.state for each in explained.moments]
    return {state: states.count(state) for state in State}


def _row(pcr: PcrExplanation) -> str:
    events = "event " if pcr.events == 1 else "events"
    return f"{pcr.bank}:{pcr.pcr:<3} {pcr.status:<11} {pcr.events:>4} {events}  {pcr.meaning}"


def _wrong(pcr: PcrExplanation) -> Sequence[str]:
    facts = {
        "event": pcr.event,
        "expected": pcr.expected or "no such event",
        "found": pcr.found or "no event",
        "do": pcr.action,
    }
    return [f"{pcr.bank}:{pcr.pcr} {pcr.code}", *(f"  {line}" for line in aligned(facts))]
