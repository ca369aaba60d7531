"""Lives from messages: which moments they make, and what becomes of them on one line."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from medvouch_sim.demo.lifeline import Facts, Lifeline, Sign, runs
from medvouch_sim.demo.lifeline_terminal import line, show_lives
from support.hearing import (
    STATES,
    appraised,
    collector_says,
    event,
    identity,
    life,
    online,
    row,
    update,
    updating,
    whole_life,
)


def signs(told: Lifeline) -> list[tuple[Sign, str]]:
    return [(moment.sign, moment.label) for moment in told.moments]


def wordy(told: Lifeline, width: int = 500) -> str:
    return line(told, width).plain.strip()


def test_the_life_of_one_gateway_is_one_line() -> None:
    told = life(*whole_life())
    assert wordy(told) == (
        "gw1 ●enrolled ●commissioned ✓ ↻ ✓ ⇧1.1.0(notified→closed) ▲epoch 2 ⚔×1 ↯×2 ✓ ●frozen ■decommissioned"
    )
    assert told.facts == Facts(
        "St. Example Hospital", "MV-100", "SN-gw1", "1.1.0", "decommissioned", "affirming", "2", "2"
    )


def test_a_stage_of_life_is_told_once_whoever_says_it() -> None:
    told = life([collector_says(1, "enrolled"), identity(2, "enrolled"), identity(3, "enrolled")])
    assert signs(told) == [(Sign.LIFE, "enrolled")]
    assert told.moments[0].at_s == 1


def test_enrolled_again_is_told_again() -> None:
    told = life([identity(1, "commissioned"), collector_says(2, "enrolled"), event(3, "commissioned", owner="x")])
    assert [label for _, label in signs(told)] == ["commissioned", "enrolled", "commissioned"]


@pytest.mark.parametrize("kind", ["sanitised", "decommissioned"])
def test_the_collector_may_say_that_a_life_is_over(kind: str) -> None:
    assert signs(life([collector_says(1, kind)])) == [(Sign.END, "decommissioned")]


def test_before_it_is_enrolled_there_is_nothing_to_tell() -> None:
    assert life([identity(1, "manufactured")]).moments == ()


def test_a_boot_that_differs_is_a_reboot() -> None:
    told = life([online(1, "3.0"), online(2, "3.0"), online(3, "4.0"), online(4, "4.0")])
    assert [(moment.at_s, moment.sign) for moment in told.moments] == [(3, Sign.REBOOTED)]


def test_a_will_of_the_boot_before_is_no_reboot() -> None:
    assert signs(life([online(1, "4.0"), online(2, "3.0", "offline"), online(3, "4.0")])) == []


def test_what_is_said_of_others_is_not_heard() -> None:
    other = collector_says(1, "appraisal", status="affirming")
    (told,) = (life([other]),)
    assert signs(told) == [(Sign.AFFIRMING, "affirming")]
    assert other.payload is not None
    stranger = type(other)(
        other.message, other.topic, type(other.payload)("event/appraisal", other.payload.stamp, {}), 1
    )
    assert signs(life([stranger])) == []


def test_a_verdict_that_is_not_affirming_says_why() -> None:
    (moment,) = life([appraised(1, "contraindicated", code="pcr-mismatch")]).moments
    assert (moment.sign, moment.label, moment.detail) == (Sign.NOT_AFFIRMING, "contraindicated", "pcr-mismatch")
    assert life([appraised(1, "none")]).moments[0].sign is Sign.NOT_AFFIRMING


def test_an_update_is_one_run_across_its_reboot_and_its_verdict() -> None:
    told = life(
        [online(0, "3.0"), *updating(1, *STATES[:3]), online(1.25, "4.0"), *updating(2, *STATES[3:]), appraised(3)]
    )
    assert wordy(told) == "gw1 ⇧1.1.0(notified→closed) ✓"


def test_the_next_update_is_another_run() -> None:
    told = life(
        [*updating(1, *STATES), update(2, "notified", "1.2.0"), update(3, "failed", "1.2.0", reason="payload-long")]
    )
    assert wordy(told) == "gw1 ⇧1.1.0(notified→closed) ⇧1.2.0(notified→failed: payload-long)"


def test_the_same_release_once_more_is_another_run() -> None:
    told = life([*updating(1, *STATES), update(2, "notified")])
    assert wordy(told) == "gw1 ⇧1.1.0(notified→closed) ⇧1.1.0(notified)"


def test_a_stage_of_life_ends_an_update() -> None:
    assert wordy(life([update(1, "notified"), event(2, "frozen"), update(3, "staged")])).count("⇧") == 2


def test_the_floor_is_raised_only_when_it_rises() -> None:
    said = [identity(0, "enrolled", security_epoch=1), event(1, "floor-raised", security_epoch=2)]
    told = life([*said, event(2, "floor-raised", security_epoch=2), event(3, "floor-refused", code="x", epoch=3)])
    assert signs(told) == [(Sign.LIFE, "enrolled"), (Sign.FLOOR, "epoch 2")]
    assert told.facts.floor == "2"


def test_what_an_attack_brings_about_is_part_of_it() -> None:
    messages = [online(0, "3.0"), appraised(1), online(2, "4.0"), appraised(3, "contraindicated"), online(5, "5.0")]
    rows = [row(1.5, "step", "attested", "affirming"), row(4, "attack", "modified kernel", "event-unexpected")]
    told = life(messages, rows)
    assert [moment.during for moment in told.moments] == ["", "modified kernel", "modified kernel", "", ""]
    assert [run.first.sign for run in runs(told)] == [Sign.AFFIRMING, Sign.ATTACK, Sign.REBOOTED]
    assert told.moments[3].row == 2


def test_an_update_that_is_closed_during_a_fault_is_told_all_the_same() -> None:
    told = life(updating(1, *STATES), [row(2, "fault", "EAR withheld", "installed_unattested")])
    assert wordy(told) == "gw1 ⇧1.1.0(closed) ↯×1"


def test_attacks_of_other_gateways_are_not_its_own() -> None:
    other = row(1, "attack", "wrong vendor root", "ek-chain-untrusted")
    assert life([], [type(other)(**{**vars(other), "gateway": "liar"})]).moments == ()


@pytest.mark.parametrize("kind", ["step", "attack", "fault"])
def test_a_row_that_is_not_as_expected_cannot_be_overlooked(kind: str) -> None:
    told = life(
        [], [row(1, "attack", "one", "a"), row(2, kind, "two", "b", "unnoticed"), row(3, "attack", "three", "c")]
    )
    assert wordy(told) == "gw1 ⚔×1 ‼two ⚔×1"
    assert "‼" in wordy(told, 5)


def test_times_count_from_the_beginning_of_the_demo() -> None:
    assert life([appraised(100.5)], began_s=100).moments[0].at_s == 0.5


@pytest.mark.parametrize("width", [20, 30, 40, 60, 80, 100, 132])
def test_a_life_is_one_line_at_any_width(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    show_lives(console, [life(*whole_life())])
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert sum("gw1" in each for each in lines) == 1
    assert all(len(each.rstrip()) <= width for each in lines)
    told = next(each for each in lines if "gw1" in each)
    assert "✓" in told
    assert ("…" in told) == (width < 40)


def test_the_legend_names_every_mark_that_is_used() -> None:
    console = Console(file=io.StringIO(), width=100)
    show_lives(console, [life(*whole_life())])
    text = console.file.getvalue()  # type: ignore[attr-defined]
    used = {moment.sign for run in runs(life(*whole_life())) for moment in run.moments}
    assert all(f"{sign.mark} {sign.meaning}" in text for sign in used)
    assert Sign.AMISS.meaning not in text


def test_a_version_does_not_steer_the_terminal() -> None:
    assert "\x1b" not in wordy(life([update(1, "notified", "\x1b[2J")]))
