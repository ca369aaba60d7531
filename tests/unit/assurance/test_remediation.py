"""What became of an advisory: each outcome, each time, the totals, and what closes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from medvouch.assurance import refusals
from medvouch.assurance.affectedness import Affectedness, PublishedRelease, Status
from medvouch.assurance.lineage import SKEW_S, trace
from medvouch.assurance.remediation import LATENCIES, OUTCOMES, DeviceRecord, Latency, Remediation, Times, remediate
from medvouch.assurance.remediation_case import Advised, Heard, aware_of
from medvouch.assurance.reports import DeviceReport, report_of
from medvouch.formats.csaf import ADVISORY, VEX, Csaf
from medvouch.formats.ear import Tier
from medvouch.formats.fleet import Fleet
from medvouch.formats.release import Fix
from medvouch.update.consent import Cause as Wish
from medvouch.update.transitions import Cause
from support import release_documents as documents
from support.refusing import assert_refused
from support.release_documents import AWARE, BEFORE, CVE, PRODUCT, encoded, passed
from support.remediations import BAD, FIX, INSTALLED, MAKERS, NEXT, Story
from support.rollouts import DAY, HOUR, NOW, entry, fleet_file, ueid

PUBLIC = 1_793_491_200
AVAILABLE = NOW + HOUR
LATER = AVAILABLE + DAY


def published(version: str, envelope: bytes, *, fixes: bool = True, **changes: Any) -> PublishedRelease:
    record = replace(passed(), version=version, envelope=hashlib.sha256(envelope).digest())
    record = record if fixes else replace(record, fixes=())
    return replace(PublishedRelease(record, None, AVAILABLE), **changes)


def advisory(**status: list[str]) -> Csaf:
    """The one of the documents, or with another product status."""
    document = documents.advisory()
    if status:
        document["vulnerabilities"][0]["product_status"] = status
    return Csaf.parse(encoded(document), ADVISORY)


RELEASES = (published("1.1.0", FIX), published("1.2.0", NEXT, fixes=False, available=AVAILABLE + DAY))


def advised(of: Csaf | None = None, releases: tuple[PublishedRelease, ...] = RELEASES, **changes: Any) -> Advised:
    return replace(Advised(Affectedness(of or advisory(), releases), AWARE, None), **changes)


def fleet(count: int = 1, **fields: Any) -> Fleet:
    return Fleet.parse(fleet_file(*(entry(number, **fields) for number in range(count))))


def found(heard: Heard | None, of: Advised | None = None, **delivered: Any) -> DeviceRecord:
    """The record of the only device of a fleet."""
    known = {} if heard is None else {ueid(0): heard}
    return remediate(of or advised(), fleet(**delivered), known).devices[0]


def story() -> Story:
    return Story().enrolled()


def fixed() -> Story:
    return story().wait(2 * HOUR).update(FIX, *INSTALLED)


# --- outcomes --------------------------------------------------------------------------------------------------------


def decommissioned() -> Story:
    made = story()
    made.sanitised = True
    return made


OUTCOME_ROWS: list[tuple[str, Callable[[], Story], str, str]] = [
    ("proven", lambda: fixed().judged(), "attested_fixed", "a verdict proves that 1.1.0 booted"),
    ("said", fixed, "installed_unattested", "it says that it runs 1.1.0, and nothing proves it"),
    ("closed by itself", lambda: fixed().update(FIX, Cause.CLOSE), "installed_unattested",
     "it says that it runs 1.1.0, and nothing proves it"),
    ("a bad verdict", lambda: fixed().judged(good=False), "installed_unattested",
     "it says that it runs 1.1.0, and nothing proves it"),
    ("the verdict names another release", lambda: fixed().judged(runs="1.0.0"), "installed_unattested",
     "it says that it runs 1.1.0, and the last verdict found 1.0.0"),
    ("proven, and left in secret", lambda: fixed().judged().wait(DAY).judged(runs="1.0.0"), "installed_unattested",
     "it says that it runs 1.1.0, and the last verdict found 1.0.0"),
    ("proven, left and back again", lambda: fixed().judged().judged(runs="1.0.0").judged(), "attested_fixed",
     "a verdict proves that 1.1.0 booted"),
    ("proven, and found with a later one", lambda: fixed().judged().judged(runs="1.2.0"), "attested_fixed",
     "a verdict proves that 1.1.0 booted"),
    ("the verdict names none", lambda: fixed().judged(runs=""), "installed_unattested",
     "it says that it runs 1.1.0, and nothing proves it"),
    ("a later one proven", lambda: fixed().update(FIX, Cause.CLOSE).update(NEXT, *INSTALLED).judged(), "attested_fixed",
     "a verdict proves that 1.2.0 booted"),
    ("proven, and gone on", lambda: fixed().judged().update(FIX, Cause.CLOSE).update(NEXT, *INSTALLED),
     "attested_fixed", "a verdict proves that 1.1.0 booted"),
    ("gone back", lambda: fixed().judged().update(FIX, Cause.CLOSE).update(BAD, *INSTALLED).judged(), "open",
     "it has left the fix, and runs 1.0.0"),
    ("postponed", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY).wishes(Wish.POSTPONE, FIX), "postponed",
     "its user put it off"),
    ("postponed before, and so this", lambda: story().wishes(Wish.POSTPONE, BAD).wait(DAY).update(FIX, Cause.NOTIFY),
     "postponed", "its user put it off"),
    ("postponed, and the ledger was cut", lambda: story().wait(DAY).wishes(Wish.POSTPONE, FIX), "postponed",
     "its user put it off"),
    ("postponed another, not notified", lambda: story().wait(DAY).wishes(Wish.POSTPONE, BAD), "open",
     "it has not been notified of a fix"),
    ("postponed no more", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY).wishes(Wish.POSTPONE, FIX)
     .wishes(Wish.LAPSE, FIX), "open", "the fix is notified"),
    ("opted out", lambda: story().wait(DAY).wishes(Wish.OPT_OUT), "opted_out", "its user opted out"),
    ("opted out of all but this", lambda: story().wishes(Wish.OPT_OUT).wait(DAY).update(FIX, Cause.NOTIFY)
     .wishes(Wish.INSTALL_NOW, FIX), "open", "the fix is notified"),
    ("opted out of all but another", lambda: story().wishes(Wish.OPT_OUT).wait(DAY).update(BAD, Cause.NOTIFY)
     .wishes(Wish.INSTALL_NOW, BAD), "opted_out", "its user opted out"),
    ("opted out, silent since", lambda: story().wishes(Wish.OPT_OUT), "unreachable",
     "nothing was heard of it since the fix was available"),
    ("opted out after a failure", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.FAIL).wishes(Wish.OPT_OUT),
     "opted_out", "its user opted out"),
    ("failed", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.FAIL, detail="payload-mismatch: no"), "failed",
     "payload-mismatch: no"),
    ("withdrawn", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY).wishes(Wish.POSTPONE, FIX)
     .update(FIX, Cause.WITHDRAW), "open", "the fix is withdrawn"),
    ("withdrawn, and directed again", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.WITHDRAW, Cause.NOTIFY)
     .wishes(Wish.POSTPONE, FIX), "postponed", "its user put it off"),
    ("failed without a word", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.FAIL), "failed",
     "it says no more"),
    ("failed once", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.FAIL).update(FIX, *INSTALLED).judged(),
     "attested_fixed", "a verdict proves that 1.1.0 booted"),
    ("failed, trying again", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.FAIL, Cause.NOTIFY), "open",
     "the fix is notified"),
    ("under way", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.STAGE), "open", "the fix is staged"),
    ("held up", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY, Cause.STAGE).waits("busy", FIX)
     .waits("window-closed", FIX), "open", "the fix is staged, and waits: window-closed"),
    ("held up no more", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY).waits("opted-out", FIX)
     .update(FIX, Cause.STAGE), "open", "the fix is staged"),
    ("held up with another", lambda: story().wait(DAY).update(FIX, Cause.NOTIFY).waits("busy", NEXT), "open",
     "the fix is notified"),
    ("heard of", lambda: story().wait(DAY).judged(), "open", "it has not been notified of a fix"),
    ("silent", story, "unreachable", "nothing was heard of it since the fix was available"),
    ("failed with what is no fix", lambda: story().update(BAD, Cause.NOTIFY, Cause.FAIL), "unreachable",
     "nothing was heard of it since the fix was available"),
    ("decommissioned", decommissioned, "not_affected", "it is decommissioned, and its keys are gone"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("made", "outcome", "reason"), [row[1:] for row in OUTCOME_ROWS], ids=[r[0] for r in OUTCOME_ROWS]
)
def test_outcomes(made: Callable[[], Story], outcome: str, reason: str) -> None:
    record = found(made().heard)
    assert (record.outcome, record.reason) == (outcome, reason)
    assert outcome in (*OUTCOMES, "open")


def test_every_outcome_is_tried() -> None:
    assert {row[2] for row in OUTCOME_ROWS} >= set(OUTCOMES) - {"unsupported"}


def test_without_a_ledger() -> None:
    assert (found(None).outcome, found(None).reason) == ("unreachable", "there is no ledger of it")
    broken = found(Heard(broken="ledger-entry-forged"))
    assert (broken.outcome, broken.reason) == ("unreachable", "its ledger does not hold: ledger-entry-forged")
    assert found(Heard(at=AVAILABLE - 1)).outcome == "unreachable"
    record = found(Heard(at=AVAILABLE))
    assert (record.outcome, record.reason) == ("open", "it was heard of, and its ledger is not at hand")
    assert record.running == ""


def test_what_else_was_heard_of_counts() -> None:
    assert found(replace(story().heard, at=AVAILABLE)).outcome == "open"


def test_a_clock_that_is_not_synchronised_keeps_nobody_from_being_heard_of() -> None:
    made = story()
    made.clock = "unsynchronised"
    record = found(made.wait(DAY).update(FIX, Cause.NOTIFY).heard)
    assert (record.outcome, record.times.notified) == ("open", None)
    assert found(made.wait(DAY).wishes(Wish.OPT_OUT).heard).outcome == "opted_out"
    silent = Story(clock="unsynchronised").enrolled().wait(DAY).wishes(Wish.OPT_OUT)
    assert found(silent.heard).outcome == "unreachable", "nothing proves that this was since then"


# --- which versions --------------------------------------------------------------------------------------------------


def test_a_device_that_never_ran_what_is_affected() -> None:
    for delivered in ("1.1.0", "1.2.0"):
        record = found(story().heard, version=delivered)
        assert (record.outcome, record.running, record.times) == ("not_affected", delivered, Times())
    of = advised(advisory(known_affected=[PRODUCT], known_not_affected=[BEFORE]))
    assert found(story().heard, of).outcome == "not_affected"
    record = found(fixed().judged().heard, of)
    assert (record.outcome, record.reason) == ("open", "no release fixes it yet"), "the fix was none"


def test_what_a_verdict_found_counts_more_than_the_list() -> None:
    """By the fleet file it was delivered with the fix."""
    assert found(story().wait(DAY).judged().heard, version="1.1.0").outcome == "open"
    for runs in ("1.1.0", "a vendor's baseline"):
        assert found(story().wait(DAY).judged(runs=runs).heard, version="1.1.0").outcome == "not_affected"


def test_silence_is_no_all_clear() -> None:
    for fields in ({"version": "0.9"}, {"model": "MV-200"}, {"model": "MV-200", "version": "1.0.5"}):
        assert found(story().wait(DAY).judged().heard, **fields).outcome == "open"
    of = advised(advisory(under_investigation=[BEFORE, PRODUCT]))
    assert found(story().wait(DAY).judged().heard, of).outcome == "open"


def test_who_may_have_been_updated_since_is_not_called_unaffected() -> None:
    """It was delivered with what is not affected, and no ledger tells what it runs."""
    of = advised(advisory(known_affected=[PRODUCT], known_not_affected=[BEFORE]))
    assert found(None, of).outcome == "unreachable"
    assert found(None, of, version="1.3.0").outcome == "unreachable"
    assert found(None, version="1.1.0").outcome == "not_affected"


def test_a_release_that_nobody_signed_is_no_fix() -> None:
    made = story().wait(DAY).update(FIX, *INSTALLED).judged()
    life = made.life
    stripped = tuple(replace(each, attachments={}) for each in life.entries)
    stripped_life = replace(life, entries=stripped)
    installations = trace(stripped_life, MAKERS, [RELEASES[0].record])
    assert installations[0].authorised is None
    record = found(Heard(life, installations))
    assert (record.outcome, record.fixed_by) == ("attested_fixed", "1.1.0"), (
        "the repository's record names the envelope"
    )
    record = found(Heard(life, installations), advised(releases=()))
    assert (record.outcome, record.running) == ("open", "")
    (unknown,) = trace(stripped_life, MAKERS)
    assert (unknown.verdict, unknown.outcome) == (None, "installed_unattested"), "of what, nobody can say"


def test_what_a_version_has_is_said_by_the_first_who_says_it() -> None:
    vulnerability = advisory().vulnerabilities[0]

    def vex(**status: list[str]) -> Csaf:
        document = documents.vex()
        document["vulnerabilities"][0]["product_status"] = status
        return Csaf.parse(encoded(document), VEX)

    old = published("1.1.0", FIX, vex=vex(known_affected=[BEFORE], fixed=[PRODUCT]))
    new = published("1.2.0", NEXT, fixes=False, vex=vex(known_not_affected=[BEFORE], known_affected=[PRODUCT]))
    silent = advisory(under_investigation=[BEFORE])
    rows = [
        (advisory(), (old, new), "1.0.0", Status.AFFECTED),
        (advisory(), (old, new), "1.1.0", Status.FIXED),
        (silent, (old, new), "1.0.0", Status.NOT_AFFECTED),
        (silent, (new, old), "1.1.0", Status.AFFECTED),
        (silent, (old,), "1.0.0", Status.AFFECTED),
        (silent, (old,), "1.1.0", Status.FIXED),
        (silent, RELEASES, "1.0.9", Status.AFFECTED),
        (silent, RELEASES, "1.1", Status.AFFECTED),
        (silent, RELEASES, "1.1.0", Status.FIXED),
        (silent, RELEASES, "1.10.0", Status.FIXED),
        (silent, (), "1.1.0", Status.AFFECTED),
        (silent, RELEASES, "", Status.AFFECTED),
    ]
    for of, releases, version, status in rows:
        assert Affectedness(of, releases).status("MV-100", version, vulnerability) is status, (version, status)


def test_an_advisory_that_speaks_of_ranges() -> None:
    """`ranged` says of which product ids which versions are; what it cannot say for certain counts as affected."""

    def ranged(affected: str, fixed: str) -> Csaf:
        document = documents.advisory()
        named = {BEFORE: affected, PRODUCT: fixed}
        branches = [
            {"category": "product_version_range", "name": text, "product": {"name": name, "product_id": name}}
            for name, text in named.items()
        ]
        document["product_tree"]["branches"][0]["branches"] = branches
        return Csaf.parse(encoded(document), ADVISORY)

    of = ranged("vers:generic/>=1.0.0|<1.1.0", "vers:generic/<1.0.0|>=1.1.0")
    vulnerability = of.vulnerabilities[0]
    rows = [
        (of, "0.9", Status.FIXED),
        (of, "1.0.0", Status.AFFECTED),
        (of, "1.0.9", Status.AFFECTED),
        (of, "1.1.0", Status.FIXED),
        (of, "1.1", Status.AFFECTED),
        (of, "", Status.AFFECTED),
        (ranged("<1.1.0", ">=1.1.0"), "1.1.0", Status.AFFECTED),
        (ranged("vers:all/*", "vers:generic/>=1.1.0"), "1.1.0", Status.AFFECTED),
    ]
    for document, version, status in rows:
        assert Affectedness(document, ()).status("MV-100", version, vulnerability) is status, version
        assert Affectedness(document, ()).status("MV-200", version, vulnerability) is Status.AFFECTED
    assert found(story().heard, advised(of), version="0.9").outcome == "not_affected"
    assert found(story().heard, advised(of), version="1.0.7").outcome == "unreachable"
    assert found(fixed().judged().heard, advised(of)).outcome == "attested_fixed"


def test_a_fix_of_one_hole_of_two_is_none() -> None:
    document = documents.advisory()
    other = {"cve": "CVE-2026-0002", "notes": [], "product_status": {"known_affected": [BEFORE, PRODUCT]}}
    document["vulnerabilities"].append(other)
    of = Csaf.parse(encoded(document), ADVISORY)
    both = published("1.2.0", NEXT)
    both = replace(both, record=replace(both.record, fixes=(*both.record.fixes, Fix("CVE-2026-0002", "", ""))))
    releases = (RELEASES[0], replace(both, available=LATER))
    record = found(fixed().judged().heard, advised(of, releases))
    assert (record.outcome, record.reason) == ("unreachable", "nothing was heard of it since the fix was available")
    made = fixed().update(FIX, Cause.CLOSE).wait(2 * DAY).update(NEXT, *INSTALLED).judged()
    record = found(made.heard, advised(of, releases))
    assert (record.outcome, record.fixed_by, record.times.available) == ("attested_fixed", "1.2.0", LATER)


def test_nothing_fixes_it_yet() -> None:
    record = found(story().heard, advised(releases=()))
    assert (record.outcome, record.reason) == ("open", "no release fixes it yet")
    assert record.times == Times(aware=AWARE, public=PUBLIC)


def test_a_remedy_is_newer_than_what_is_affected() -> None:
    """An older version that was never affected is no way out, and was available long before."""
    older = published("0.9", b"older", fixes=False, available=NOW - DAY)
    of = advised(releases=(older, *RELEASES))
    assert found(fixed().judged().heard, of).times.available == AVAILABLE
    made = Story(now=NOW - 2 * DAY).enrolled()
    assert found(made.heard, of, version="0.9").times.available == AVAILABLE


def test_support_that_had_ended_before() -> None:
    for made, end, outcome in (
        (story(), PUBLIC, "unsupported"),
        (story(), PUBLIC + 1, "unreachable"),
        (story(), None, "unreachable"),
        (fixed().judged(), PUBLIC, "attested_fixed"),
    ):
        assert found(made.heard, advised(support_end=end)).outcome == outcome
    assert found(None, advised(support_end=PUBLIC)).outcome == "unsupported"


# --- times -----------------------------------------------------------------------------------------------------------


def test_seven_times() -> None:
    record = found(fixed().wait(HOUR).judged().heard)
    start = NOW + 60 + 2 * HOUR
    assert record.times == Times(
        aware=AWARE,
        public=PUBLIC,
        available=AVAILABLE,
        notified=start,
        downloaded=start + 60,
        installed=start + 240,
        attested=start + 300 + HOUR,
    )
    assert (record.running, record.fixed_by) == ("1.1.0", "1.1.0")


def test_times_of_what_brought_the_fix_first() -> None:
    made = fixed().judged().update(FIX, Cause.CLOSE).wait(DAY).update(NEXT, *INSTALLED).judged()
    record = found(made.heard)
    assert (record.running, record.fixed_by) == ("1.2.0", "1.1.0")
    assert record.times.notified == NOW + 60 + 2 * HOUR


def test_times_of_an_attempt() -> None:
    record = found(story().wait(2 * HOUR).update(FIX, Cause.NOTIFY, Cause.STAGE, Cause.FAIL).heard)
    start = NOW + 60 + 2 * HOUR
    assert record.times == Times(AWARE, PUBLIC, AVAILABLE, start, start + 60)


def test_what_nothing_proves_is_not_known() -> None:
    of = advised(releases=(replace(RELEASES[0], available=None),), aware=None)
    times = found(fixed().judged().heard, of).times
    assert (times.aware, times.available) == (None, None)
    assert found(story().heard, of).outcome == "open", "nobody knows since when he is silent"
    made = Story(clock="unsynchronised").enrolled().update(FIX, *INSTALLED).judged()
    times = found(made.heard).times
    assert (times.notified, times.downloaded, times.installed) == (None, None, None)
    assert times.attested is not None, "that is the appraiser's clock"


def test_times_that_a_verdict_contradicts_are_not_known() -> None:
    """A clock that was believed to be synchronised, and jumped by ten years, or was a day behind."""
    made = story().wait(2 * HOUR).update(FIX, *INSTALLED[:4]).wait(3650 * DAY).update(FIX, Cause.SELF_CHECK)
    times = found(made.wait(-3650 * DAY).judged().heard).times
    assert (times.notified is None, times.installed, times.attested) == (False, None, made.now - 60)
    made = story().wait(2 * DAY).judged().wait(-DAY).update(FIX, *INSTALLED).wait(DAY).judged()
    times = found(made.heard).times
    assert (times.notified, times.downloaded, times.installed, times.attested) == (None, None, None, made.now - 60)
    made = story().wait(2 * DAY).judged().wait(-60 - SKEW_S).update(FIX, *INSTALLED).judged()
    assert found(made.heard).times.notified == NOW + 60 + 2 * DAY - SKEW_S
    made = story().wait(2 * DAY).update(FIX, *INSTALLED).wait(-60 - SKEW_S).judged()
    assert found(made.heard).times.installed == made.now - 60 + SKEW_S


def test_since_when_its_maker_knew() -> None:
    assert aware_of(Affectedness(advisory(), RELEASES)) == AWARE
    earlier = replace(RELEASES[1], record=replace(passed(), version="1.2.0", fixes=(Fix(CVE, "", "", AWARE - 1),)))
    assert aware_of(Affectedness(advisory(), (RELEASES[0], earlier))) == AWARE - 1
    other = replace(earlier, record=replace(earlier.record, fixes=(Fix("CVE-2026-0002", "", "", 1), Fix(CVE, "", ""))))
    assert aware_of(Affectedness(advisory(), (RELEASES[0], other))) == AWARE
    assert aware_of(Affectedness(advisory(), (other,))) is None
    assert aware_of(Affectedness(advisory(), ())) is None


# --- the fleet -------------------------------------------------------------------------------------------------------


def lives(*made: Story) -> dict[bytes, Heard]:
    result = {}
    for number, each in enumerate(made):
        each.number = number
        result[ueid(number)] = replace(each.heard, life=replace(each.life, ueid=ueid(number)))
    return result


def attested_after(seconds: int) -> Story:
    return Story(now=AVAILABLE + seconds - 300).update(FIX, *INSTALLED).judged()


def latency(record: Remediation, start: str, end: str) -> Latency:
    return next(each for each in record.latencies if (each.start, each.end) == (start, end))


def test_totals_and_latencies_with_their_denominators() -> None:
    made = [attested_after(1000 * (number + 1)) for number in range(8)]
    record = remediate(advised(), fleet(12), lives(*made, fixed(), story()))
    assert record.counts == {
        **dict.fromkeys((*OUTCOMES, "open"), 0),
        "attested_fixed": 8,
        "installed_unattested": 1,
        "unreachable": 3,
    }
    assert (record.concerned, record.closed, record.closed_at) == (12, False, None)
    assert latency(record, "available", "attested") == Latency("available", "attested", 8, 12, 4000, 8000, 8000)
    assert latency(record, "public", "available") == Latency("public", "available", 12, 12, *[AVAILABLE - PUBLIC] * 3)
    assert (latency(record, "available", "installed").known, latency(record, "aware", "attested").known) == (9, 8)
    assert [(each.start, each.end) for each in record.latencies] == list(LATENCIES)


def test_the_unaffected_and_the_unsupported_are_in_no_denominator() -> None:
    devices = Fleet.parse(fleet_file(entry(0), entry(1, version="1.1.0")))
    record = remediate(advised(), devices, lives(attested_after(100)))
    assert (record.concerned, record.closed, record.counts["not_affected"]) == (1, True, 1)
    assert record.closed_at == AVAILABLE + 100
    nobody = remediate(advised(support_end=PUBLIC), fleet(3), {})
    assert (nobody.counts["unsupported"], nobody.concerned, nobody.closed, nobody.closed_at) == (3, 0, True, None)
    assert latency(nobody, "available", "attested") == Latency("available", "attested", 0, 0, None, None, None)


def test_closed_by_attestation_alone() -> None:
    proven = lives(attested_after(100), attested_after(200))
    record = remediate(advised(), fleet(2), proven)
    assert (record.closed, record.closed_at) == (True, AVAILABLE + 200)
    said = remediate(advised(), fleet(2), lives(attested_after(100), fixed()))
    assert (said.closed, said.closed_at, said.counts["installed_unattested"]) == (False, None, 1)
    assert not remediate(advised(), fleet(3), proven).closed


def test_what_came_before_it_was_awaited_took_no_time() -> None:
    early = remediate(advised(), fleet(), lives(Story(now=AVAILABLE - HOUR).update(FIX, *INSTALLED).judged()))
    assert latency(early, "available", "notified") == Latency("available", "notified", 1, 1, 0, 0, 0)


def test_a_device_that_is_not_on_the_list() -> None:
    heard = lives(attested_after(1), attested_after(2))
    assert ueid(1).hex() in assert_refused(refusals.FLEET_INCOMPLETE, remediate, advised(), fleet(), heard).detail


# --- reports ---------------------------------------------------------------------------------------------------------


def reported(made: Story) -> DeviceReport:
    heard = made.heard
    assert heard.life
    return report_of(heard.life, heard.installations)


def test_what_a_rollout_is_told_of_a_life() -> None:
    assert reported(Story()) == DeviceReport()
    made = fixed().judged()
    report = reported(made)
    assert (report.verdict, report.proven, report.state, report.sequence) == (
        Tier.AFFIRMING, "1.1.0", "self_checked", 11,
    )  # fmt: skip
    assert (report.judged_at, report.heard_at, report.said_at) == (made.now - 60, made.now - 60, made.now - 120)
    assert report.directive
    assert report.directive.ueid == ueid(0)
    assert reported(made.judged(good=False)).proven == ""
    assert reported(made).code == "event-unexpected"
    failed = reported(story().update(FIX, Cause.NOTIFY, Cause.FAIL, detail="payload-mismatch: no"))
    assert (failed.state, failed.reason, failed.proven) == ("failed", "payload-mismatch", "")
    assert reported(story().wishes(Wish.OPT_OUT).judged()).consent == "opted_out"
    unsure = Story(clock="unsynchronised").enrolled().update(FIX, Cause.NOTIFY)
    assert (reported(unsure).said_at, reported(unsure).heard_at) == (0, 0)
