"""`medvouch ledger remediation`: what is signed in, a record out; ledgers of gateways come in the tests of a site."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.cli.keys import opened_folder
from medvouch.cli.remediating import _span
from medvouch.release.repository import AuthoredRepository
from medvouch_sim import fixtures
from medvouch_sim.site import Site
from support import release_documents as documents
from support.authoring import keys_folder
from support.cli import Called, Caller
from support.release_documents import AWARE, ENVELOPE, encoded, passed
from support.rollouts import DAY, NOW, entry, fleet_file

PUBLIC = 1_793_491_200

LATER = "2027-02-01"
"""After NOW."""


@dataclass
class Archive:
    """A copy of a repository, and all else that is asked for; no device has been heard of."""

    folder: Path
    medvouch: Caller
    trust: Path

    def __call__(self, *more: object, **others: Path) -> Called:
        files = {
            "advisory": self.folder / "advisory.json",
            "fleet": self.folder / "fleet.json",
            "bundles": self.folder / "lives",
            "trust": self.trust,
            "repository": self.folder / "repository",
            "root": self.folder / "repository" / "metadata" / "1.root.json",
            **others,
        }
        options = [word for name, path in files.items() for word in (f"--{name}", path)]
        return self.medvouch("ledger", "remediation", *options, *more)

    def publish(self, version: str, record: Any, *left_out: str) -> Called:
        folder = self.folder / version
        folder.mkdir()
        made = {"sbom": documents.sbom(), "vex": documents.vex(), "advisory": documents.advisory(),
                "support": documents.support()}  # fmt: skip
        files = {f"{name}.json": encoded(document) for name, document in made.items()}
        files |= {"release.suit": ENVELOPE, "release.cbor": record.encode()}
        for name in files.keys() - set(left_out):
            (folder / name).write_bytes(files[name])
        places = ("--repository", self.folder / "repository", "--keys", self.folder / "keys")
        return self.medvouch("release", "publish", version, *sorted(folder.iterdir()), *places)


@pytest.fixture
def archive(tmp_path: Path, medvouch: Caller, monkeypatch: pytest.MonkeyPatch) -> Archive:
    monkeypatch.setattr("time.time", lambda: NOW + 0.5)
    made = Archive(tmp_path, medvouch, Site(tmp_path / "site", ()).trust_path)
    places = ("--repository", tmp_path / "repository", "--keys", keys_folder(tmp_path / "keys"))
    assert medvouch("release", "init", "--bins", "1", *places).code == 0
    assert made.publish("1.1.0", passed()).code == 0
    (tmp_path / "advisory.json").write_bytes(encoded(documents.advisory()))
    (tmp_path / "fleet.json").write_bytes(fleet_file(entry(0), entry(1, version="1.1.0")))
    (tmp_path / "lives").mkdir()
    return made


def test_nobody_was_heard_of(archive: Archive) -> None:
    out = archive.folder / "record.json"
    called = archive("--json", "--out", out)
    assert (called.code, called.err) == (1, "")
    assert json.loads(out.read_text()) == called.json
    found = called.json
    assert (found["kind"], found["advisory"], found["closed"]) == ("medvouch-remediation", "DEV-2026-001", False)
    assert (found["aware"], found["aware_from"], found["public"]) == (AWARE, "release", PUBLIC)
    assert found["releases"] == [
        {
            "version": "1.1.0",
            "envelope": hashlib.sha256(ENVELOPE).hexdigest(),
            "available": NOW,
            "fixes": [sorted(passed().fixes[0].names)],
        }
    ]
    assert [each["outcome"] for each in found["devices"]] == ["unreachable", "not_affected"]
    assert found["totals"]["affected_supported"] == 1
    assert (found["judged_at"], found["repository_as_of"]) == (NOW, NOW)
    called = archive()
    assert called.out.startswith(
        "DEV-2026-001: not closed: 1 of 1 affected and supported devices have not proved a fix\n"
    )
    assert "SN-0    MV-100  ?     unreachable   " in called.out
    assert "available  attested    -         -         -         0 of 1\n" in called.out


def test_the_same_again_is_the_same_in_every_byte(archive: Archive) -> None:
    assert archive("--at", LATER, "--json").out == archive("--at", LATER, "--json").out


def test_an_archive_is_judged_as_it_was_signed(archive: Archive) -> None:
    """Its timestamp ran out long ago."""
    called = archive("--at", "2027-12-31", "--json")
    assert (called.code, called.json["repository_as_of"]) == (1, NOW)


def test_what_was_published_after_the_judged_time_was_not_there(archive: Archive) -> None:
    found = archive("--at", "2027-01-15T07:59:59", "--json", "--aware", "2026-10-01").json
    assert (found["releases"], found["aware_from"], found["aware"]) == ([], "argument", 1_790_812_800)
    assert [each["reason"] for each in found["devices"]] == [
        "there is no ledger of it",
        "no version that it ran was affected",
    ]
    called = archive("--at", "2027-01-15T07:59:59")
    assert "aware          not known\n" in called.out
    assert "available      no release fixes anything\n" in called.out


def test_support_as_a_statement_says(archive: Archive) -> None:
    statement = {**documents.support(), "end_of_security_support": "2026-10-31T00:00:00Z"}
    (archive.folder / "support.json").write_bytes(encoded(statement))
    called = archive("--support", archive.folder / "support.json")
    assert called.code == 0
    assert called.out.startswith("DEV-2026-001: closed: 0 of 0 affected and supported devices proved")
    assert "its support had ended before the advisory" in called.out


def test_what_does_not_hold(archive: Archive) -> None:
    stranger = archive.folder / "stranger"
    places = ("--repository", stranger, "--keys", archive.folder / "keys")
    key = fixtures.key_pem(fixtures.private_key("owner"))
    (archive.folder / "keys" / "tuf-timestamp.pem").write_bytes(key)
    assert archive.medvouch("release", "init", "--bins", "1", *places).code == 0
    called = archive(root=stranger / "metadata" / "1.root.json")
    assert called.code == 1
    assert called.err.startswith("medvouch: metadata-untrusted: ")
    vex = next((archive.folder / "repository" / "targets" / "releases" / "1.1.0").glob("*.vex.json"))
    vex.write_bytes(vex.read_bytes().replace(b"known_affected", b"known_affectes"))
    assert archive().err.startswith("medvouch: target-mismatch: ")
    called = archive(advisory=archive.folder / "1.1.0" / "vex.json")
    assert called.err.startswith("medvouch: csaf-malformed: ")
    called = archive(fleet=archive.folder / "advisory.json")
    assert called.err.startswith("medvouch: fleet-malformed: ")


def test_a_record_whose_documents_are_not_there(archive: Archive) -> None:
    """Nothing that passed the gate is published so; whoever holds the keys can."""
    record = replace(passed(), version="1.2.0", vex=bytes(32))
    called = archive.publish("1.2.0", record, "vex.json")
    assert (called.code, "release-document-mismatch" in called.err) == (1, True)
    with opened_folder(archive.folder / "keys") as keys:
        repository = AuthoredRepository.open(FileMetadataStore(archive.folder / "repository"), keys)
        repository.add_release("1.2.0", {"release.cbor": record.encode(), "release.suit": ENVELOPE})
        repository.publish(NOW)
    called = archive()
    assert (called.code, called.err.startswith("medvouch: release-document-mismatch: ")) == (1, True)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3599, "59 min 59 s"), (7260, "2 h 1 min"),
     (DAY + 3600, "1 d 1 h"), (400 * DAY, "400 d 0 h")],
)  # fmt: skip
def test_spans(seconds: int | None, said: str) -> None:
    assert _span(seconds) == said
