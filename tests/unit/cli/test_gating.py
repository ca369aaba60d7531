"""`medvouch release gate`: files in, a record out that publishing holds what is published against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medvouch.cli import gating, publishing
from medvouch.formats.release import ReleaseRecord
from support import release_documents as made
from support.authoring import keys_folder
from support.cli import Caller
from support.release_documents import CVE, ENVELOPE, NOW, TOML, encoded


@pytest.fixture(autouse=True)
def at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release with all that goes out with it."""
    folder = tmp_path / "1.1.0"
    folder.mkdir()
    (folder / "release.toml").write_text(TOML)
    (folder / "release.suit").write_bytes(ENVELOPE)
    for name, document in (("sbom.cdx", made.sbom), ("vex", made.vex), ("advisory", made.advisory)):
        (folder / f"{name}.json").write_bytes(encoded(document()))
    (folder / "support.json").write_bytes(encoded(made.support()))
    (tmp_path / "kev.json").write_bytes(encoded(made.known_exploited()))
    return folder


@pytest.fixture
def arguments(folder: Path) -> tuple[object, ...]:
    known = folder.parent / "kev.json"
    return ("release", "gate", folder, "--known-exploited", known, "--out", folder / "release.cbor")


@pytest.fixture
def places(tmp_path: Path, medvouch: Caller) -> tuple[object, ...]:
    """A repository with nothing in it."""
    places = ("--repository", tmp_path / "repository", "--keys", keys_folder(tmp_path / "keys"))
    assert medvouch("release", "init", "--bins", "2", *places).code == 0
    return places


def test_from_a_directory_to_a_published_record(
    medvouch: Caller, folder: Path, arguments: tuple[object, ...], places: tuple[object, ...]
) -> None:
    called = medvouch(*arguments, "--repository", places[1])
    assert (called.code, "no release in" in called.err) == (2, True)
    called = medvouch(*arguments, "--first", "--json")
    assert (called.code, called.json["support_end"]) == (0, "2031-12-31 23:59:59 UTC")
    assert called.json["fixes"][0]["cve"] == CVE
    record = gating.read_record(folder / "release.cbor")
    called = medvouch(*arguments, "--first")
    assert called.out.startswith("1.1.0 may go out; its record is ")

    files = sorted(path for path in folder.iterdir() if path.suffix != ".toml")
    vex = (folder / "vex.json").read_bytes()
    (folder / "vex.json").write_bytes(vex + b"\n")
    called = medvouch("release", "publish", "1.1.0", *files, *places)
    assert (called.code, called.err.split(":")[1]) == (1, " release-document-mismatch")
    (folder / "vex.json").write_bytes(vex)
    called = medvouch("release", "publish", "1.1.0", *files, *places, "--json")
    assert len(called.json["targets"]) == 6
    assert publishing.published_record(folder.parent / "repository") == record

    called = medvouch(*arguments, "--repository", places[1], "--json")
    assert (called.code, called.json["error"]["code"]) == (1, "release-version-not-higher")


def test_against_the_record_of_the_release_before(
    medvouch: Caller, folder: Path, arguments: tuple[object, ...]
) -> None:
    record = made.passed()
    before = folder.parent / "before.cbor"
    before.write_bytes(record.encode())
    called = medvouch(*arguments, "--previous", before)
    assert called.err.startswith("medvouch: release-version-not-higher: 1.1.0 after 1.1.0")
    assert not (folder / "release.cbor").exists()
    before.write_bytes(record.encode()[:-1])
    called = medvouch(*arguments, "--previous", before)
    assert (called.code, f"cbor-truncated: {before}" in called.err) == (1, True)


def test_what_is_wrong_names_its_file(medvouch: Caller, folder: Path, arguments: tuple[object, ...]) -> None:
    (folder / "release.toml").write_text(TOML.replace('"vex.json"', '"gone.json"'))
    called = medvouch(*arguments, "--first")
    assert (called.code, "file-missing" in called.err, "gone.json" in called.err) == (6, True, True)
    (folder / "release.toml").write_text("version = ")
    called = medvouch("release", "gate", folder / "release.toml", *arguments[3:], "--first")
    assert called.err.startswith(f"medvouch: release-malformed: {folder / 'release.toml'}: no TOML")
    (folder.parent / "kev.json").write_text(json.dumps({"vulnerabilities": []}))
    (folder / "release.toml").write_text(TOML)
    called = medvouch(*arguments, "--first")
    assert called.err.startswith("medvouch: kev-malformed: ")
    called = medvouch(*arguments)
    assert called.code == 2


def test_a_record_is_that_of_the_release_alone(medvouch: Caller, folder: Path, arguments: tuple[object, ...]) -> None:
    assert medvouch(*arguments, "--first").code == 0
    record = ReleaseRecord.parse((folder / "release.cbor").read_bytes())
    assert record == made.passed()
