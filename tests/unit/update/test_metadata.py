"""Timestamp, snapshot and targets (TUF 5.4 to 5.6), and bytes that are none of them."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from tuf.api.metadata import MetaFile

from medvouch.errors import InputError, Refusal
from medvouch.formats.tuf_versions import Versions
from medvouch.update import refusals
from medvouch.update.repository import (
    MAX_ROOT_BYTES,
    MAX_SNAPSHOT_BYTES,
    MAX_TARGETS_BYTES,
    MAX_TIMESTAMP_BYTES,
)
from support.refusing import assert_input_refused, assert_refused
from support.tufs import DAY, NOW, Tuf, moment

# --- 5.4: timestamp --------------------------------------------------------------------------------------------------


def test_a_timestamp_that_goes_back(tuf: Tuf) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.timestamp.signed.version = 1
    tuf.write_timestamp()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)


def test_a_new_timestamp_that_names_an_older_snapshot(tuf: Tuf) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.timestamp.signed.version = 3
    tuf.timestamp.signed.snapshot_meta = MetaFile(1)
    tuf.write_timestamp()
    refused = assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)
    assert "timestamp's snapshot" in refused.detail
    assert b'"version":2' in tuf.shelf.files["timestamp.json"]


@pytest.mark.parametrize("snapshot", [1, 7])
def test_another_timestamp_of_the_same_version_is_passed_over(tuf: Tuf, snapshot: int) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.timestamp.signed.snapshot_meta = MetaFile(snapshot)
    tuf.write_timestamp()
    assert tuf.refreshed().versions.snapshot == 2


def test_another_timestamp_of_the_same_version_does_not_live_longer(tuf: Tuf) -> None:
    tuf.timestamp.signed.expires = moment(NOW + DAY)
    tuf.write_timestamp()
    tuf.refreshed()
    tuf.now = NOW + DAY
    tuf.timestamp.signed.expires = moment(NOW + 2 * DAY)
    tuf.write_timestamp()
    assert_refused(refusals.REPOSITORY_FROZEN, tuf.client().refresh)


@pytest.mark.parametrize("seen", [False, True])
def test_a_frozen_repository(tuf: Tuf, seen: bool) -> None:
    tuf.timestamp.signed.expires = moment(NOW + DAY)
    tuf.write_timestamp()
    if seen:
        tuf.refreshed()
    tuf.now = NOW + DAY - 1
    tuf.client().refresh()
    tuf.now += 1
    assert_refused(refusals.REPOSITORY_FROZEN, tuf.client().refresh)


def test_a_store_that_holds_rubbish_is_an_empty_one(tuf: Tuf) -> None:
    tuf.refreshed()
    for name in list(tuf.shelf.files):
        tuf.shelf.files[name] = b"rubbish"
    assert tuf.refreshed().versions == Versions(1, 1, 1)


# --- 5.5: snapshot ---------------------------------------------------------------------------------------------------


def test_a_snapshot_that_is_not_the_one_named(tuf: Tuf) -> None:
    tuf.files["metadata/1.snapshot.json"] = tuf.files["metadata/1.snapshot.json"].replace(b'"version"', b' "version"')
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


def test_a_snapshot_of_another_length_with_nothing_else_stated(tuf: Tuf) -> None:
    tuf.timestamp.signed.snapshot_meta = MetaFile(1, length=len(tuf.files["metadata/1.snapshot.json"]) - 1)
    tuf.write_timestamp()
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


def test_a_hash_that_anyone_can_forge_is_none(tuf: Tuf) -> None:
    data = tuf.files["metadata/1.snapshot.json"]
    tuf.timestamp.signed.snapshot_meta = MetaFile.from_data(1, data, ["md5"])
    tuf.write_timestamp()
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


def test_a_snapshot_of_another_version(tuf: Tuf) -> None:
    tuf.snapshot.signed.version = 2
    data = tuf.sign(tuf.snapshot, tuf.signers["snapshot"])
    tuf.files["metadata/1.snapshot.json"] = data
    tuf.timestamp.signed.snapshot_meta = MetaFile.from_data(1, data, ["sha256"])
    tuf.write_timestamp()
    refused = assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)
    assert "version 2 where 1" in refused.detail


def test_a_snapshot_that_names_an_older_role(tuf: Tuf) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.targets["targets"].signed.version = 1
    tuf.snapshot.signed.version = tuf.timestamp.signed.version = 3
    tuf.publish()
    assert assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh).place == "targets.json"
    assert b'"version":2' in tuf.shelf.files["snapshot.json"]


def test_a_snapshot_that_no_longer_names_a_role(tuf: Tuf) -> None:
    tuf.delegate("releases", ["releases/*/*"])
    tuf.bump("targets", "releases")
    tuf.refreshed()
    del tuf.snapshot.signed.meta["releases.json"]
    tuf.bump("targets")
    refused = assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)
    assert refused.place == "releases.json"


def test_an_expired_snapshot(tuf: Tuf) -> None:
    tuf.refreshed()
    tuf.snapshot.signed.expires = moment(NOW)
    tuf.bump("targets")
    assert assert_refused(refusals.METADATA_EXPIRED, tuf.client().refresh).place == "snapshot"
    assert b'"version":1' in tuf.shelf.files["snapshot.json"]


def test_an_old_snapshot_still_serves_to_notice_a_rollback(tuf: Tuf) -> None:
    tuf.targets["targets"].signed.version = 5
    tuf.publish()
    tuf.refreshed()
    tuf.targets["targets"].signed.version = 4
    tuf.snapshot.signed.version = tuf.timestamp.signed.version = 2
    tuf.publish()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)


# --- 5.6: targets ----------------------------------------------------------------------------------------------------


def test_targets_that_are_not_the_ones_named(tuf: Tuf) -> None:
    tuf.files["metadata/1.targets.json"] += b" "
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


def test_targets_of_another_version(tuf: Tuf) -> None:
    tuf.targets["targets"].signed.version = 2
    tuf.write_targets(stated=False)
    tuf.snapshot.signed.meta["targets.json"].version = 1
    tuf.files["metadata/1.targets.json"] = tuf.files["metadata/2.targets.json"]
    tuf.write_snapshot()
    tuf.write_timestamp()
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


def test_targets_that_the_snapshot_does_not_name(tuf: Tuf) -> None:
    del tuf.snapshot.signed.meta["targets.json"]
    tuf.write_snapshot()
    tuf.write_timestamp()
    assert_refused(refusals.METADATA_MISMATCH, tuf.client().refresh)


@pytest.mark.parametrize("role", ["targets", "releases"])
def test_expired_targets(tuf: Tuf, role: str) -> None:
    tuf.delegate("releases", ["releases/*/*"])
    tuf.targets[role].signed.expires = moment(NOW)
    tuf.publish()
    client = tuf.client()

    def use() -> None:
        client.refresh()
        client.target("releases/1/a")

    assert assert_refused(refusals.METADATA_EXPIRED, use).place == role


# --- bytes that are no metadata --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "limit"),
    [
        ("2.root", MAX_ROOT_BYTES),
        ("timestamp", MAX_TIMESTAMP_BYTES),
        ("1.snapshot", MAX_SNAPSHOT_BYTES),
        ("1.targets", MAX_TARGETS_BYTES),
    ],
)
def test_metadata_over_its_limit(tuf: Tuf, name: str, limit: int) -> None:
    tuf.write_targets(stated=False)
    tuf.write_snapshot(stated=False)
    tuf.write_timestamp()
    original = tuf.files.get(f"metadata/{name}.json") or tuf.anchor
    tuf.files[f"metadata/{name}.json"] = original + b" " * (limit - len(original) + 1)
    assert_input_refused("metadata-limit", tuf.client().refresh)


def test_a_stated_length_over_the_limit(tuf: Tuf) -> None:
    tuf.timestamp.signed.snapshot_meta = MetaFile(1, length=MAX_SNAPSHOT_BYTES + 1)
    tuf.write_timestamp()
    assert_input_refused("metadata-limit", tuf.client().refresh)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 10_000, b'{"signed": {}}', b'{"signed": {"_type": "odd"}}'],
)
def test_rubbish(tuf: Tuf, data: bytes) -> None:
    tuf.files["metadata/timestamp.json"] = data
    assert_input_refused("metadata-malformed", tuf.client().refresh)


@pytest.mark.parametrize("name", ["2.root", "timestamp", "1.snapshot", "1.targets"])
def test_another_kind_of_metadata(tuf: Tuf, name: str) -> None:
    tuf.write_targets(stated=False)
    other = "1.targets" if name == "timestamp" else "timestamp"
    tuf.write_snapshot(stated=False)
    tuf.write_timestamp()
    tuf.files[f"metadata/{name}.json"] = tuf.files[f"metadata/{other}.json"]
    assert_input_refused("metadata-malformed", tuf.client().refresh)


@pytest.mark.parametrize("version", ["true", "1.5", '"1"', "0", "1" * 5000])
def test_versions_that_are_no_numbers(tuf: Tuf, version: str) -> None:
    data = tuf.files["metadata/timestamp.json"].replace(b'"version":1}', f'"version":{version}}}'.encode())
    assert data.count(version.encode()) >= 1
    tuf.files["metadata/timestamp.json"] = data
    assert_input_refused("metadata-malformed", tuf.client().refresh)


def test_every_truncation_and_flipped_byte_is_refused_as_ours(tuf: Tuf) -> None:
    good = tuf.files["metadata/timestamp.json"]
    signed = json.loads(good)["signed"]
    for at in range(len(good)):
        for data in (good[:at], good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :]):
            tuf.files["metadata/timestamp.json"] = data
            with suppress(InputError, Refusal):
                tuf.client().refresh()
                assert json.loads(data)["signed"] == signed
            tuf.shelf.files.clear()


def test_numbers_that_have_no_one_form(tuf: Tuf) -> None:
    """Fractions cannot be signed: canonical JSON has none."""
    document = json.loads(tuf.files["metadata/timestamp.json"])
    document["signed"]["x"] = 1.5
    tuf.files["metadata/timestamp.json"] = json.dumps(document).encode()
    assert_input_refused("metadata-malformed", tuf.client().refresh)
