"""What a refresh fetches, keeps and remembers."""

from __future__ import annotations

import pytest

from medvouch.errors import Refusal
from medvouch.formats.tuf_versions import Versions
from medvouch.update import refusals
from medvouch.update.metadata import ISSUED
from support.refusing import assert_refused
from support.tufs import LATER, NOW, PowerCut, Tuf

# --- a refresh that finds all well -----------------------------------------------------------------------------------


def test_a_first_refresh_fetches_and_stores_each_role_once(tuf: Tuf) -> None:
    client = tuf.refreshed()
    assert tuf.served.asked == [f"metadata/{name}.json" for name in ("2.root", "timestamp", "1.snapshot", "1.targets")]
    assert tuf.shelf.names == ["timestamp.json", "snapshot.json", "targets.json"]
    assert client.versions == Versions(1, 1, 1)


def test_a_second_refresh_fetches_only_what_may_be_new(tuf: Tuf) -> None:
    tuf.refreshed()
    tuf.served.asked.clear()
    tuf.shelf.names.clear()
    tuf.refreshed()
    assert tuf.served.asked == ["metadata/2.root.json", "metadata/timestamp.json"]
    assert tuf.shelf.names == []


def test_a_new_version_is_followed(tuf: Tuf) -> None:
    tuf.refreshed()
    tuf.bump("targets")
    assert tuf.refreshed().versions == Versions(1, 2, 2)


def test_nothing_is_looked_up_before_a_refresh_or_after_a_failed_one(tuf: Tuf) -> None:
    client = tuf.client()
    with pytest.raises(AssertionError):
        client.target("x")
    client.refresh()
    tuf.now = LATER
    with pytest.raises(Refusal):
        client.refresh()
    with pytest.raises(AssertionError):
        client.target("x")


def test_repositories_without_consistent_snapshots(tuf: Tuf) -> None:
    tuf.root.signed.consistent_snapshot = False
    tuf.root.signed.version = 2
    tuf.write_root()
    target = tuf.add("folder/file", b"contents")
    tuf.publish()
    for name in ("snapshot", "targets"):
        tuf.files[f"metadata/{name}.json"] = tuf.files.pop(f"metadata/1.{name}.json")
    tuf.files["targets/folder/file"] = b"contents"
    client = tuf.refreshed()
    assert client.download(target, 100) == b"contents"
    assert tuf.served.asked[-1] == "targets/folder/file"


# --- what is remembered ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", [Versions(root=2), Versions(targets=2), Versions(snapshot=2)])
def test_versions_that_nv_remembers(tuf: Tuf, floor: Versions) -> None:
    """The disk was restored to yesterday, and so is what is served."""
    tuf.client(Versions(1, 1, 1)).refresh()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client(floor).refresh)


def test_keys_that_were_revoked_take_the_floor_of_what_they_signed_along(tuf: Tuf) -> None:
    """5.3.11, for whoever had them may have named versions that nobody reaches: once, with the root that revokes."""
    tuf.rotate("snapshot")
    tuf.bump("targets")
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client(Versions(2, 9, 9)).refresh)
    client = tuf.client(Versions(1, 2**70, 2**70))
    client.refresh()
    assert client.versions == Versions(2, 2, 2)
    again = tuf.client(Versions(1, 9, 9))  # power went before NV was written: the root is stored
    again.refresh()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client(Versions(3)).refresh)


@pytest.mark.parametrize("role", ["root", "targets"])
def test_other_keys_take_no_floor_along(tuf: Tuf, role: str) -> None:
    tuf.rotate(role)
    tuf.bump("targets")
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client(Versions(1, 2, 3)).refresh)
    tuf.client(Versions(1, 2, 2)).refresh()


@pytest.mark.parametrize(
    ("issued", "testified"),
    [(None, 0), (NOW - 5, NOW - 5), (LATER, 0), (-1, 0), (True, 0), ("now", 0)],
)
def test_the_time_that_a_timestamp_testifies(tuf: Tuf, issued: object, testified: int) -> None:
    if issued is not None:
        tuf.timestamp.signed.unrecognized_fields[ISSUED] = issued
    tuf.write_timestamp()
    assert tuf.refreshed().testified_time == testified


def test_power_cuts_at_any_write_leave_a_state_to_go_on_from(tuf: Tuf) -> None:
    tuf.refreshed()
    tuf.rotate("snapshot")
    tuf.bump("targets")
    before = dict(tuf.shelf.files)
    for power in range(6):
        tuf.shelf.files, tuf.shelf.power = dict(before), power
        with pytest.raises(PowerCut):
            tuf.client().refresh()
        tuf.shelf.power = 6
        assert tuf.refreshed().versions == Versions(2, 2, 2)
