"""Rollouts for people and programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medvouch.assurance.rollout import Decision, Orders
from medvouch.assurance.rollout_results import Reports, Result, Tally, results, tallies
from medvouch.cli.output import aligned, columns, moment
from medvouch.formats.rollout import Rollout

Row = dict[str, Any]
SHOWN_NOTES = 20


def described(
    rollout: Rollout,
    reports: Reports | None,
    now: int,
    *,
    decision: Decision | None = None,
    orders: Orders | None = None,
) -> Row:
    """All of it; what became of devices is None where nothing tells (`reports` None)."""
    target, terms = rollout.target, rollout.terms
    found = None if reports is None else results(rollout, reports, now)
    counted: list[Tally | None] = [] if reports is None else [*tallies(rollout, reports, now)]
    counted += [None] * (len(rollout.waves) - len(counted))
    return {
        "name": rollout.name,
        "stage": rollout.stage,
        "release": target.release,
        "version": target.version,
        "purpose": target.purpose,
        "until": terms.until,
        "terms": vars(terms),
        "decision": decision and {
            "act": decision.act, "because": decision.because, "devices": [ueid.hex() for ueid in decision.devices],
        },
        "published": orders and {
            "directed": [each.ueid.hex() for each in orders.direct],
            "withdrawn": [ueid.hex() for ueid in orders.withdraw],
            "elsewhere": [ueid.hex() for ueid in orders.elsewhere],
        },
        "waves": [_wave(rollout, number, tally) for number, tally in enumerate(counted)],
        "totals": None if found is None else _counted(Tally.of(found.values())),
        "devices": None if found is None else {ueid.hex(): result for ueid, result in found.items()},
        "beyond": len(rollout.devices) - sum(rollout.waves[-1].sizes),
        "log": [vars(note) for note in rollout.log],
    }  # fmt: skip


def _wave(rollout: Rollout, number: int, tally: Tally | None) -> Row:
    wave = rollout.waves[number]
    return {
        "wave": number + 1,
        "devices": len(rollout.of_wave(number)),
        "directed": wave.directed or None,
        "counts_since": wave.passed or None,
        **(_counted(tally) if tally else {"results": None}),
    }


def _counted(tally: Tally) -> Row:
    return {
        "results": {result: tally.counts.get(result, 0) for result in Result},
        "directed_devices": tally.directed,
        "reported": tally.reported,
        "failed": tally.failed,
    }


def lines(document: Mapping[str, Any]) -> list[str]:
    """The same as text."""
    devices = sum(wave["devices"] for wave in document["waves"]) + document["beyond"]
    decision = document["decision"]
    told = {
        "release": document["release"],
        "purpose": document["purpose"],
        "devices": f"{devices}" + (f", {document['beyond']} of them in no wave" if document["beyond"] else ""),
        "until": moment(document["until"]),
        "failed": _rate(document["totals"], document["terms"]),
        "decided" if document["published"] else "next step": decision and f"{decision['act']}: {decision['because']}",
        "published": _published(document["published"]),
    }
    result = [f"{document['name']}: {document['stage']}", *(f"  {line}" for line in aligned(told)), ""]
    result += [f"  {line}" for line in _waves(document)]
    notes = document["log"][-SHOWN_NOTES:]
    rows = [(moment(note["time"]), note["actor"], note["deed"], note["reason"]) for note in notes]
    return [*result, "", *(f"  {line}" for line in columns(("when", "who", "did", "because"), rows))]


def _rate(totals: Mapping[str, Any] | None, terms: Mapping[str, Any]) -> str | None:
    if totals is None:
        return None
    limit = f"at most {terms['max_failures'] / 100:g} % may"
    return (
        f"{totals['failed']} of {totals['reported']} that reported, of {totals['directed_devices']} directed; {limit}"
    )


def _published(published: Mapping[str, Any] | None) -> str:
    counts = {name: len(devices) for name, devices in (published or {}).items() if devices}
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _waves(document: Mapping[str, Any]) -> list[str]:
    """A column for each result that some device has."""
    waves = document["waves"]
    shown = [result for result in Result if any((wave["results"] or {}).get(result) for wave in waves)]
    heads = ("wave", "devices", "directed", "counts since", *(result.replace("_", " ") for result in shown))
    rows = [
        (
            f"{wave['wave']}",
            f"{wave['devices']}",
            *(moment(wave[name]) if wave[name] else "-" for name in ("directed", "counts_since")),
            *(f"{wave['results'][result]}" if wave["results"] else "-" for result in shown),
        )
        for wave in waves
    ]
    return columns(heads, rows)
