"""An explanation as a page: the verdict, the measured boot as a timeline, each PCR and each event."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medvouch.attestation.explanation import Explanation, Moment, PcrExplanation, State
from medvouch.attestation.pcrs import meaning
from medvouch.cli.explaining import counts, said_of_quote
from medvouch.cli.output import moment
from medvouch.cli.page import page, section, table, text

MAX_DRAWN = 160
"""Events on the timeline; of a longer boot the first ones of each log and PCR, and all that are not confirmed."""
MAX_LISTED = 2000
"""Events in the table, likewise."""
LABEL, STEP, LANE, TOP, FOOT = 340, 15, 26, 12, 26
"""Pixels: for the names of the PCRs, for an event, for a PCR, above and beneath."""

_SHAPES = {
    State.CONFIRMED: '<circle r="5" class="good solid"/>',
    State.DIFFERS: '<path d="M0-8l8 8-8 8-8-8z" class="bad solid"/><path d="M0-4v4.5m0 2v1.5" class="inverse"/>',
    State.UNCONFIRMED: '<circle r="6.5" class="bad hollow"/><path d="M-3-3l6 6m0-6l-6 6" class="bad stroke"/>',
    State.AFTER: '<circle r="5" class="soft hollow"/>',
}
"""Each differs in shape, not in colour alone; around (0, 0)."""
_MEANT = {
    State.CONFIRMED: "confirmed by the quote",
    State.DIFFERS: "confirmed, and not what the release measures",
    State.UNCONFIRMED: "not confirmed",
    State.AFTER: "came after the quote",
}
_LOGS = {"uefi": "firmware", "ima": "files", "systemd": "system"}


def explanation_page(explained: Explanation) -> str:
    """The whole document."""
    parts = [_head(explained)]
    if explained.moments:
        parts += [_timeline(explained), _pcrs(explained), _events(explained)]
    return page(f"medvouch: {_verdict(explained)}, {explained.device or 'unknown device'}", parts)


def _verdict(explained: Explanation) -> str:
    return "affirming" if explained.affirming else "contraindicated"


def _head(explained: Explanation) -> str:
    mark, style = ("✓", "") if explained.affirming else ("✗", " bad")
    because = f": {explained.code}" if explained.code else ""
    boot = explained.boot
    facts = {
        "What": explained.detail,
        "Where": explained.place,
        "Device": explained.device,
        "Release" if explained.affirming else "Nearest release": explained.release,
        "Policy": explained.policy,
        "Secure Boot": boot.secure_boot.value if boot else None,
        "Firmware": boot.firmware_version if boot else None,
        "Let pass": ", ".join(explained.quirks) or None,
        "Boot phases": ", ".join(boot.phases) if boot else None,
        "Judged at": moment(explained.judged_at),
        "Evidence": explained.evidence_digest.hex(),
    }
    listed = "".join(f"<dt>{name}</dt><dd>{text(value)}</dd>" for name, value in facts.items() if value)
    action = "" if explained.affirming else f"<p><strong>What to do:</strong> {text(explained.action)}.</p>\n"
    return (
        "<header>\n<h1>Why this device is judged as it is</h1>\n"
        f'<p class="summary{style}">{mark} {_verdict(explained)}{text(because)}</p>\n{action}<dl>{listed}</dl>\n'
        '<p class="soft">An explanation is signed by nobody. Whoever doubts it makes it again from the evidence: '
        "<code>medvouch explain FILE --trust FILE --html OUT</code></p>\n</header>"
    )


def _timeline(explained: Explanation) -> str:
    drawn = _chosen(explained.moments, MAX_DRAWN)
    left_out = len(explained.moments) - len(drawn)
    used = {each.state for each in drawn}
    legend = "".join(f"<li>{_icon(state)} {_MEANT[state]}</li>" for state in State if state in used)
    more = f" {left_out} confirmed events are left out." if left_out else ""
    return section(
        "boot",
        "The boot as it was measured",
        "<p>Each log from left to right in its order; each line is a PCR. The order of events in different PCRs is "
        f"the log's word.{more}</p>",
        f'<ul class="legend">{legend}</ul>',
        f'<div class="wide" tabindex="0" role="group" aria-labelledby="boot">{_drawn(explained, drawn)}</div>',
    )


def _chosen(moments: Sequence[Moment], limit: int) -> Sequence[Moment]:
    """At most `limit`: all that are amiss first, then the firmware's and the system's, then files."""
    if len(moments) <= limit:
        return moments
    amiss = (State.DIFFERS, State.UNCONFIRMED)
    order = sorted(range(len(moments)), key=lambda at: (moments[at].state not in amiss, moments[at].log == "ima", at))
    return [moments[at] for at in sorted(order[:limit])]


def _drawn(explained: Explanation, moments: Sequence[Moment]) -> str:
    pcrs = sorted({each.pcr for each in moments})
    lanes = {pcr: TOP + LANE * row + LANE // 2 for row, pcr in enumerate(pcrs)}
    places = list(_places(moments))
    width, height = round(LABEL + (places[-1] if places else 0) + STEP), TOP + LANE * len(pcrs) + FOOT
    told = ", ".join(f"{count} {state.value}" for state, count in counts(explained).items() if count)
    parts = [
        f'<svg class="life boot" role="img" aria-labelledby="timeline-title timeline-text" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" style="--natural: {width}px">',
        '<title id="timeline-title">The measured boot, event by event</title>'
        f'<desc id="timeline-text">{len(explained.moments)} events: {told}</desc>',
        *(_lane(pcr, y, width) for pcr, y in lanes.items()),
        *_stages(moments, places, height),
    ]
    for each, x in zip(moments, places, strict=True):
        tip = f"<title>{text(_tip(each))}</title>"
        parts.append(f'<g transform="translate({LABEL + x:.0f} {lanes[each.pcr]})">{tip}{_SHAPES[each.state]}</g>')
    return "".join(parts) + "</svg>"


def _places(moments: Sequence[Moment]) -> Iterator[float]:
    """Where on the line each event stands; a gap before another log begins."""
    x, log = 0.0, None
    for each in moments:
        x += STEP if each.log == log else 2 * STEP
        log = each.log
        yield x


def _stages(moments: Sequence[Moment], places: Sequence[float], height: int) -> Iterator[str]:
    """The name of each log beneath its events."""
    for log, name in _LOGS.items():
        found = [x for each, x in zip(moments, places, strict=True) if each.log == log]
        if found:
            start, end = LABEL + found[0] - STEP / 2, LABEL + found[-1] + STEP / 2
            yield f'<path d="M{start:.0f} {height - FOOT + 2}v4h{end - start:.0f}v-4" class="bracket"/>'
            yield f'<text x="{(start + end) / 2:.0f}" y="{height - 5}">{name}</text>'


def _lane(pcr: int, y: int, width: int) -> str:
    name = f"PCR {pcr}, {meaning(pcr)}".removesuffix(", ")
    return (
        f'<path d="M{LABEL} {y}h{width - LABEL}" class="lane"/><text x="0" y="{y + 4}" class="pcr">{text(name)}</text>'
    )


def _tip(each: Moment) -> str:
    return f"PCR {each.pcr}, {each.what}\n{each.digest}\n{_MEANT[each.state]}"


def _icon(state: State) -> str:
    return f'<svg class="icon" aria-hidden="true" width="20" height="20" viewBox="-10 -10 20 20">{_SHAPES[state]}</svg>'


def _pcrs(explained: Explanation) -> str:
    headings = [("PCR", ""), ("what it is for", ""), ("it is", ""), ("events", "number"), ("first difference", "")]
    rows = [_pcr(pcr) for pcr in explained.pcrs]
    said = said_of_quote(explained).rstrip(":")
    return section(
        "pcrs", "Each PCR", f"<p>{text(said[0].upper() + said[1:])}.</p>", table("pcrs", headings, rows, stacks=True)
    )


def _pcr(pcr: PcrExplanation) -> str:
    wrong = pcr.code is not None
    mark, style = ("✗ ", "bad") if wrong else ("", "")
    cells = f'<td>{text(pcr.meaning)}</td><td class="whole"><span class="{style}">{mark}{text(pcr.status)}</span></td>'
    difference = _difference(pcr) if wrong else ""
    return (
        f"<tr{' class=wrong' if wrong else ''}>"
        f'<th scope="row" class="code whole">{text(pcr.bank)}:{pcr.pcr}</th>{cells}'
        f'<td class="number" data-label="events">{pcr.events}</td><td class="difference">{difference}</td></tr>'
    )


def _difference(pcr: PcrExplanation) -> str:
    facts = {"event": pcr.event, "expected": pcr.expected or "no such event", "found": pcr.found or "no event"}
    listed = "".join(
        f'<dt>{name}</dt><dd class="code">{text(value)}</dd>' for name, value in facts.items() if value is not None
    )
    return f"<strong>{text(pcr.code)}</strong><dl>{listed}<dt>to do</dt><dd>{text(pcr.action)}</dd></dl>"


def _events(explained: Explanation) -> str:
    listed = _chosen(explained.moments, MAX_LISTED)
    left_out = len(explained.moments) - len(listed)
    headings = [("log", ""), ("#", "number"), ("PCR", "number"), ("event", ""), ("digest", ""), ("it is", "")]
    more = f"<p>{left_out} confirmed events are left out.</p>" if left_out else ""
    return section("events", "Each event", more, table("events", headings, map(_event, listed), stacks=True))


def _event(each: Moment) -> str:
    style = {State.CONFIRMED: "good", State.AFTER: "soft"}.get(each.state, "bad")
    wrong = " class=wrong" if style == "bad" else ""
    return (
        f'<tr{wrong}><td>{_LOGS[each.log]}</td><td class="number">{each.index}</td>'
        f'<td class="number" data-label="PCR">{each.pcr}</td>'
        f'<td class="event">{text(each.what)}</td><td class="code digest">{text(each.digest)}</td>'
        f'<td><span class="{style}">{each.state.value}</span></td></tr>'
    )
