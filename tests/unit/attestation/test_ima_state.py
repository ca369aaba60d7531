"""A list continued from saved states says what the whole list says, costs what is new, and cannot be forged."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest

from medvouch.attestation import ima_state, log_refusals, refusals
from medvouch.attestation.ima_state import Continued, ImaState, continue_list, first_state
from medvouch.attestation.replay import replay
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import HASHERS
from support.boots import SHA256, SHA384, BootBuilder, full_boot
from support.refusing import assert_input_refused, assert_refused
from support.truncation import assert_every_truncation_refused

BOOT = 7
FIRST, SECOND = b"\1" * 32, b"\2" * 32


def quoted(boot: BootBuilder) -> dict[HashAlg, bytes]:
    return {bank: values[10] for bank, values in boot.pcrs.items()}


def start(boot: BootBuilder) -> ImaState:
    return first_state(replay(boot.logs, boot.pcrs).events, quoted(boot), BOOT, FIRST)


def rest(boot: BootBuilder, state: ImaState) -> bytes:
    return ima.encode(tuple(boot.entries))[state.offset :]


def continued(boot: BootBuilder, state: ImaState, **changes: Any) -> Continued:
    given: dict[str, Any] = {"saved": state, "rest": rest(boot, state), "quoted": quoted(boot)} | changes
    return continue_list(state, given["saved"], given["rest"], given["quoted"], given.get("reset_count", BOOT), SECOND)


def test_a_list_in_three_parts_is_the_whole_list() -> None:
    boot = full_boot(SHA256, SHA384)
    state = start(boot)
    assert (state.offset, state.entries) == (len(ima.encode(tuple(boot.entries))), 2)
    boot.entry("/a", b"\1" * 32).entry("/raced", b"\2" * 32, violation=True)
    one = continued(boot, state)
    assert one.entries == tuple(boot.entries[2:])
    assert [entry.index for entry in one.entries] == [2, 3]
    assert one.state == ImaState(BOOT, len(ima.encode(tuple(boot.entries))), 4, _values(boot), SECOND)
    boot.entry("/b", b"\3" * 32)
    two = continued(boot, one.state)
    assert (two.entries, two.state.entries, two.dropped) == (tuple(boot.entries[4:]), 5, 0)
    boot_again = first_state(replay(boot.logs, boot.pcrs).events, quoted(boot), BOOT, SECOND)
    assert two.state == boot_again
    assert continued(boot, two.state).entries == ()


def _values(boot: BootBuilder) -> dict[str, bytes]:
    return {bank.label: value for bank, value in quoted(boot).items()}


def test_states_are_records() -> None:
    state = start(full_boot())
    assert ImaState.parse(state.encode()) == state
    assert_every_truncation_refused(ImaState.parse, state.encode())


def test_what_came_after_the_quote_is_dropped_and_comes_again() -> None:
    boot = full_boot()
    state = start(boot)
    boot.entry("/a", b"\1" * 32)
    at_quote = quoted(boot)
    boot.entry("/late", b"\2" * 32)
    done = continued(boot, state, quoted=at_quote)
    assert ([entry.path for entry in done.entries], done.dropped) == (["/a"], 1)
    assert [entry.path for entry in continued(boot, done.state).entries] == ["/late"]


@pytest.mark.parametrize(
    "change",
    [
        {"offset": 0},
        {"entries": 1},
        {"values": {"sha256": bytes(32)}},
        {"evidence": SECOND},
        {"reset_count": 8},
    ],
)
def test_only_the_saved_state_is_continued(change: dict[str, Any]) -> None:
    boot = full_boot()
    state = start(boot)
    assert_refused(log_refusals.IMA_STATE_UNKNOWN, continued, boot, state, saved=replace(state, **change))
    assert_refused(log_refusals.IMA_STATE_UNKNOWN, continued, boot, state, saved=None)


def test_another_boot_starts_another_list() -> None:
    boot = full_boot()
    assert_refused(log_refusals.IMA_STATE_OTHER_BOOT, continued, boot, start(boot), reset_count=BOOT + 1)


def test_the_banks_stay_the_same() -> None:
    boot = full_boot(SHA256, SHA384)
    fewer = {SHA256: boot.pcrs[SHA256][10]}
    assert_refused(log_refusals.IMA_STATE_BANKS, continued, boot, start(boot), quoted=fewer)
    one = full_boot()
    assert_refused(log_refusals.IMA_STATE_BANKS, continued, one, start(one), quoted=quoted(one) | {SHA384: bytes(48)})


def test_a_rest_that_leads_elsewhere() -> None:
    boot = full_boot(SHA256, SHA384)
    state = start(boot)
    boot.entry("/a", b"\1" * 32)
    forged = ima.encode((ima.make(2, 10, "ima-ng", (b"sha256:\0" + b"\2" * 32, b"/a\0")),))
    refusal = assert_refused(refusals.PCR_MISMATCH, continued, boot, state, rest=forged)
    assert refusal.place == "sha256 PCR 10"
    wrong = quoted(boot) | {SHA384: b"\1" * 48}
    assert assert_refused(refusals.PCR_MISMATCH, continued, boot, state, quoted=wrong).place == "sha384 PCR 10"
    before = {SHA256: quoted(boot)[SHA256], SHA384: state.values["sha384"]}
    assert assert_refused(refusals.PCR_MISMATCH, continued, boot, state, quoted=before).place == "sha384 PCR 10"


def test_an_altered_template_hash() -> None:
    boot = full_boot()
    state = start(boot)
    boot.entry("/a", b"\1" * 32)
    altered = ima.encode((boot.entries[2]._replace(template_hash=b"\1" * 20),))
    assert assert_refused(refusals.IMA_TEMPLATE_MISMATCH, continued, boot, state, rest=altered).place == "ima entry 2"


def test_a_rest_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = full_boot()
    state = start(boot)
    boot.entry("/a", b"\1" * 32).entry("/b", b"\1" * 32)
    assert_input_refused("ima-truncated", continued, boot, state, rest=rest(boot, state)[:-1])
    monkeypatch.setattr(ima, "MAX_ENTRIES", 2)
    continued(boot, state)
    monkeypatch.setattr(ima, "MAX_ENTRIES", 1)
    assert_input_refused("ima-limit", continued, boot, state)


def test_the_cost_is_that_of_the_new_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[int] = []

    def counting(data: bytes) -> Any:
        hashed.append(len(data))
        return HASHERS[SHA256](data)

    monkeypatch.setattr(ima_state, "HASHERS", MappingProxyType({**HASHERS, SHA256: counting}))
    for before in (10, 300):
        boot = full_boot()
        while len(boot.entries) < before:
            boot.entry(f"/{len(boot.entries)}", b"\1" * 32)
        state = start(boot)
        boot.entry("/a", b"\1" * 32).entry("/b", b"\1" * 32)
        hashed.clear()
        continued(boot, state)
        assert len(hashed) == 4
