"""How payloads of parts come from several places, and what is done where the state has lost them."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.store import SqliteStore
from medvouch.daemon import refusals as daemon_refusals
from medvouch.daemon import suit_reports
from medvouch.daemon.mirrors import Places
from medvouch.daemon.parts import Parts, PartsWay, PlacedFetcher
from medvouch.daemon.standing import PARTS_KEY, Standing
from medvouch.errors import NetworkFault, Refusal, RefusalKind, StorageFault
from medvouch.formats.suit_manifest import Member
from medvouch.formats.suit_report import MAX_RECORDS, CommandRecord, Failure, Reason, SuitReport
from medvouch.formats.update import PARTS, PartsRecord, UpdateRecord
from medvouch.ports import Source
from medvouch.update import refusals
from medvouch.update.parts import Outcome
from medvouch.update.payload import SPOILED

STEP = CommandRecord((), 16, 0, 1)
LAST = SuitReport("", bytes(32), (STEP,) * 200)
URL = "https://updates.example/repository/loader"
PLACES = Places("https://updates.example/repository/", ["http://ward.example/", "file:///media/usb/"])


class Line:
    """A Fetcher of what a few places have; the pieces of a value, or the fault in it."""

    def __init__(self, found: dict[str, list[bytes | NetworkFault]]) -> None:
        self.found = found
        self.closed: list[str] = []

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        try:
            for piece in self.found.get(url, [NetworkFault("fetch-not-found", url)]):
                if isinstance(piece, NetworkFault):
                    raise piece
                yield piece
        finally:
            self.closed.append(url)

    def open(self, url: str, validator: str = "") -> Any:
        raise AssertionError("nothing is read in pieces")


def test_the_first_place_that_has_it() -> None:
    line = Line({"file:///media/usb/loader": [b"ab", b"c"], URL: [b"other"]})
    assert list(PlacedFetcher(line, PLACES).fetch(URL)) == [b"ab", b"c"]
    assert line.closed == ["http://ward.example/loader", "file:///media/usb/loader"]


def test_the_repository_last_and_one_place_alone() -> None:
    line = Line({URL: [b"abc"], "http://ward.example/loader": []})
    assert list(PlacedFetcher(Line({URL: [b"abc"]}), PLACES).fetch(URL)) == [b"abc"]
    assert b"".join(PlacedFetcher(line, PLACES).fetch(URL)) == b""
    with pytest.raises(NetworkFault, match="file:///stick/loader"):
        list(PlacedFetcher(line, PLACES, "file:///stick").fetch(URL))


def test_a_place_that_breaks_off_is_not_made_up_for() -> None:
    broken = [b"ab", NetworkFault("fetch-unreachable", "gone")]
    with pytest.raises(NetworkFault, match="gone"):
        list(PlacedFetcher(Line({"http://ward.example/loader": broken, URL: [b"abc"]}), PLACES).fetch(URL))


# --- what is remembered ----------------------------------------------------------------------------------------------

KEPT = PartsRecord(b"an envelope", 7)
RECORD = UpdateRecord(
    "activated", "1.0.1", 2, 1, KEPT.manifest, URL, bytes(32), 1, b"values", PARTS, 1, ""
)  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "state.db")
    yield store
    store.close()


def way(store: SqliteStore) -> PartsWay:
    nothing: Any = None
    return PartsWay(nothing, nothing, nothing, Standing(store), store)


async def test_a_manifest_that_was_lost_is_no_reason_to_install_another(store: SqliteStore) -> None:
    for kept in (None, replace(KEPT, envelope=b"another"), b"no record"):
        store.put({PARTS_KEY: kept.encode() if isinstance(kept, PartsRecord) else kept})
        with pytest.raises(StorageFault, match="state-corrupt"):
            await way(store).tried(RECORD)


async def test_only_what_was_installed_was_tried(store: SqliteStore) -> None:
    for state in ("notified", "staged", "failed", "self_checked"):
        assert not await way(store).tried(replace(RECORD, state=state))


# --- mirrors ---------------------------------------------------------------------------------------------------------


def staging_way(store: SqliteStore, tried: list[str], *refused: RefusalKind) -> PartsWay:
    """Whose stagings are refused with these, one after another, then good; `tried`: what each may fetch from."""
    outcomes = iter([*(Outcome(LAST, Refusal(kind, "1")) for kind in refused), Outcome(LAST)])

    def stage(_: bytes, source: Source) -> Outcome:
        assert isinstance(source, PlacedFetcher)
        tried.append(source.only)
        return next(outcomes)

    nothing: Any = None
    parts = Parts([], nothing, stage, nothing)
    return PartsWay(parts, lambda only: PlacedFetcher(Line({}), PLACES, only), nothing, Standing(store), store)


@pytest.mark.parametrize("kind", SPOILED, ids=lambda kind: kind.code)
async def test_where_a_mirror_has_something_else_all_comes_from_the_repository(
    store: SqliteStore, kind: RefusalKind
) -> None:
    store.put({PARTS_KEY: KEPT.encode()})
    tried: list[str] = []
    await staging_way(store, tried, kind).stage(RECORD, "")
    assert tried == ["", PLACES.repository]
    for only, refused in (("file:///stick", [kind]), ("", [kind, kind]), ("", [refusals.URL_NOT_ALLOWED])):
        with pytest.raises(Refusal):
            await staging_way(store, tried, *refused).stage(RECORD, only)
    assert tried[2:] == ["file:///stick", "", PLACES.repository, ""]


# --- reports ---------------------------------------------------------------------------------------------------------


def test_a_report_goes_on_with_each_run_and_is_bounded() -> None:
    failure = Failure(1, replace(STEP, section=20), Reason.CONDITION_FAILED)
    run = SuitReport("", bytes(32), (replace(STEP, section=20),) * 100, failure)
    joined = suit_reports.continued(LAST, run, RECORD)
    assert (joined.failure, len(joined.records)) == (failure, MAX_RECORDS)
    assert SuitReport.parse(joined.encode()) == joined


@pytest.mark.parametrize(
    ("state", "section"), [("notified", Member.INSTALL), ("staged", Member.VALIDATE), ("booted", None)]
)
def test_nothing_is_reported_as_done_before_all_of_it_is(state: str, section: Member | None) -> None:
    found = suit_reports.continued(LAST, LAST, replace(RECORD, state=state)).failure
    assert found == (section and Failure(0, CommandRecord((), section, 0, 0), Reason.INVOKE_PENDING))


def test_a_slot_that_holds_something_else_is_a_condition_that_does_not_hold() -> None:
    error = Refusal(daemon_refusals.SLOT_MISMATCH, "1")
    failure = suit_reports.failed(LAST, RECORD, error).failure
    assert failure is not None
    assert failure.reason is Reason.CONDITION_FAILED


def test_what_fails_outside_of_a_run_is_said_by_its_section(store: SqliteStore) -> None:
    error = Refusal(refusals.EPOCH_BELOW_FLOOR, "1")
    assert way(store).failure(LAST, RECORD, error) == suit_reports.failed(LAST, RECORD, error)
    assert way(store).report(LAST, RECORD) is None
