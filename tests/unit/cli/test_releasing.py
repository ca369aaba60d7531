"""`medvouch release`: keys and files in, a repository out that a device believes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
from pathlib import Path

import pytest

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.cli import keys as key_files
from medvouch.cli import publishing, releasing
from medvouch.cli.output import moment
from medvouch.daemon.mirrors import Mirrors, Places
from medvouch.daemon.update_source import Present, UpdateSource
from medvouch.formats.enrolment import device_id
from medvouch.formats.release import ReleaseRecord
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.update import InstalledRelease
from medvouch.lifecycle.roles import TrustedRole
from medvouch.update.directing import resolve
from medvouch.update.repository import Repository
from medvouch_sim.site import Site
from support.authoring import BASE, FromFiles, keys_folder
from support.cli import Caller
from support.release_documents import ENVELOPE, written
from support.suit import DEVICE, QUALITY_KEYS, RELEASE_KEYS, URI, released
from support.tufs import DAY, Shelf

UEID = b"\1" + bytes(31) + b"\7"
NOW = 1_800_000_000


@pytest.fixture(autouse=True)
def at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvouch.cli.publishing.time.time", lambda: NOW + 0.5)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return keys_folder(tmp_path / "keys")


@pytest.fixture
def places(tmp_path: Path, keys: Path) -> tuple[object, ...]:
    return ("--repository", tmp_path / "repository", "--keys", keys)


@pytest.fixture
def made(medvouch: Caller, tmp_path: Path, places: tuple[object, ...]) -> Path:
    called = medvouch("release", "init", "--bins", "2", *places)
    assert (called.code, called.err) == (0, "")
    return tmp_path / "repository"


def device(repository: Path, now: int = NOW) -> Repository:
    files = FileMetadataStore(repository)
    root = (repository / "metadata" / "1.root.json").read_bytes()
    client = Repository(BASE, FromFiles(files), Shelf(), lambda: now, root)
    client.refresh()
    return client


def test_from_keys_to_a_directed_device(
    medvouch: Caller, made: Path, site: Site, places: tuple[object, ...], tmp_path: Path
) -> None:
    files = written(tmp_path)
    called = medvouch("release", "trust", site.trust_path, *places)
    assert (called.code, called.err) == (0, "")
    called = medvouch("release", "publish", "1.1.0", *files, *places, "--json")
    digest = hashlib.sha256(ENVELOPE).hexdigest()
    name = "releases/1.1.0/release.suit"
    assert called.json["targets"][0] == {"name": name, "length": len(ENVELOPE), "sha256": digest}
    called = medvouch("release", "direct", UEID.hex(), "--release", name, "--days", "2", *places)
    assert called.out.splitlines()[-1].startswith("published as version 4; ")
    client = device(made)
    assert client.trust() == site.trust_path.read_bytes()
    found = resolve(client, UEID, device_id(UEID), NOW)
    assert found is not None
    assert found.directive.expires == NOW + 2 * DAY
    assert client.download(found.target, MAX_ENVELOPE_BYTES) == ENVELOPE


def test_a_device_follows_what_is_directed(
    medvouch: Caller, made: Path, places: tuple[object, ...], tmp_path: Path
) -> None:
    """The directive says what the manifest does; whoever directs has nothing to know of it."""
    medvouch("release", "publish", "1.1.0", *written(tmp_path), *places)
    assert medvouch("release", "direct", UEID.hex(), "--release", "releases/1.1.0/release.suit", *places).code == 0
    release, quality = (
        TrustedRole(name, keys.keys, NOW + DAY, NOW + DAY, keys.threshold)
        for name, keys in (("release", RELEASE_KEYS), ("quality", QUALITY_KEYS))
    )
    mirrors = Mirrors(lambda *_: device(made), Places("http://updates.example/"))
    mirrors.refresh()
    source = UpdateSource(mirrors, UEID, device_id(UEID), release, quality, DEVICE, [URI], lambda: NOW)
    offer = source.look(Present(InstalledRelease("", 0, 0), None, None, 0))
    assert offer is not None
    assert (offer.plan.version, offer.plan.sequence) == ("1.1.0", 11)


def test_what_a_directive_is_for_and_until_when_it_may_be_put_off(
    medvouch: Caller, made: Path, places: tuple[object, ...], tmp_path: Path
) -> None:
    medvouch("release", "publish", "1.1.0", *written(tmp_path), *places)
    to = ("release", "direct", UEID.hex(), "--release", "releases/1.1.0/release.suit", *places)

    def directed(*options: object) -> tuple[str, int]:
        assert medvouch(*to, *options).code == 0
        found = resolve(device(made), UEID, device_id(UEID), NOW)
        assert found is not None
        return found.directive.purpose, found.directive.defer_until

    assert directed() == ("update", 0)
    assert directed("--purpose", "rollback") == ("rollback", 0)
    assert directed("--purpose", "recovery", "--defer-days", "30") == ("recovery", NOW + 30 * DAY)


@pytest.mark.parametrize("step", ["publish", "metadata"])
def test_a_release_without_its_record_is_not_published(
    medvouch: Caller, made: Path, places: tuple[object, ...], tmp_path: Path, step: str
) -> None:
    files = written(tmp_path)
    (tmp_path / "other.suit").write_bytes(released())
    to = places if step == "publish" else (*places[:2], "--for", "releases", "--out", tmp_path / "releases.json")
    for wrong in (files[:1], files[:3], [*files, tmp_path / "other.suit"]):
        called = medvouch("release", step, "1.1.0", *wrong, *to)
        assert (called.code, called.err.count("\n")) == (1, 1)
        assert called.err.startswith("medvouch: release-record-missing: ")
    assert "medvouch release gate" in medvouch("release", step, "1.1.0", files[0], *to).err
    assert not (tmp_path / "releases.json").exists()
    assert not (made / "metadata" / "2.releases.json").exists()


@pytest.mark.parametrize("step", ["publish", "metadata"])
def test_an_envelope_is_never_replaced_by_another(
    medvouch: Caller, made: Path, places: tuple[object, ...], tmp_path: Path, step: str
) -> None:
    """The documents beside it may be: a VEX goes on."""
    files = written(tmp_path)
    assert medvouch("release", "publish", "1.1.0", *files, *places).code == 0
    to = places if step == "publish" else (*places[:2], "--for", "releases", "--out", tmp_path / "releases.json")
    newer, vex = released(), json.loads((tmp_path / "vex.json").read_text())
    record = ReleaseRecord.parse((tmp_path / "release.cbor").read_bytes())
    (tmp_path / "vex.json").write_text(json.dumps({**vex, "more": 1}))
    digest = hashlib.sha256((tmp_path / "vex.json").read_bytes()).digest()
    record = dataclasses.replace(record, vex=digest)
    (tmp_path / "release.cbor").write_bytes(record.encode())
    assert medvouch("release", step, "1.1.0", *files, *to).code == 0
    assert newer != ENVELOPE
    (tmp_path / "release.suit").write_bytes(newer)
    record = dataclasses.replace(record, envelope=hashlib.sha256(newer).digest())
    (tmp_path / "release.cbor").write_bytes(record.encode())
    called = medvouch("release", step, "1.1.0", *files, *to)
    assert called.code == 1
    assert called.err.startswith("medvouch: release-envelope-replaced: ")


def test_publishing_nothing_new_keeps_it_from_freezing(
    medvouch: Caller, made: Path, places: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medvouch.cli.publishing.time.time", lambda: NOW + 5 * DAY)
    assert medvouch("release", "publish", *places).out == (
        f"published as version 2; publish again before {moment(NOW + 7 * DAY)}, or devices refuse it as frozen\n"
    )
    assert device(made, NOW + 5 * DAY).testified_time == NOW + 5 * DAY


def test_devices_are_sent_to_an_envelope_and_to_nothing_beside_it(
    medvouch: Caller, made: Path, places: tuple[object, ...], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_bytes(b"what is new")
    medvouch("release", "publish", "1", tmp_path / "notes.txt", *places)
    before = (made / "metadata" / "timestamp.json").read_bytes()
    called = medvouch("release", "direct", UEID.hex(), "--release", "releases/1/notes.txt", *places)
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert "releases/1/notes.txt" in called.err
    assert "name the release's envelope" in called.err
    assert (made / "metadata" / "timestamp.json").read_bytes() == before
    next((made / "targets" / "releases" / "1").iterdir()).unlink()
    called = medvouch("release", "direct", UEID.hex(), "--release", "releases/1/notes.txt", *places)
    assert (called.code, "repository-damaged" in called.err) == (6, True)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["direct", UEID.hex(), "--release", "releases/9/x"], 1, "target-unknown"),
        (["direct", "00", "--release", "x"], 2, "1 bytes where a UEID has 33"),
        (["direct", "zz", "--release", "x"], 2, "not hexadecimal"),
        (["direct", UEID.hex(), "--release", ""], 2, "1 to 256 characters"),
        (["direct", UEID.hex(), "--release", "x", "--days", "0"], 2, "1 to 3650"),
        (["direct", UEID.hex(), "--release", "x", "--days", "9" * 5000], 2, "1 to 3650"),
        (["direct", UEID.hex(), "--release", "x", "--purpose", "sabotage"], 2, "invalid choice: 'sabotage'"),
        (["direct", UEID.hex(), "--release", "x", "--defer-days", "31"], 2, "put off for 31 days and good for 30"),
        (["trust", "KEYS/director.pem"], 3, "director.pem is no trust document"),
        (["trust", "KEYS/none"], 3, "trust-unreadable"),
        (["publish", "1.1.0"], 2, "no files"),
        (["publish", "../1", "KEYS/director.pem"], 1, "target-malformed"),
        (["publish", "1", "KEYS/director.pem", "KEYS/director.pem"], 2, "two files"),
        (["init"], 3, "repository-exists"),
        ([], 2, "STEP"),
    ],
)
def test_mistakes(
    medvouch: Caller,
    made: Path,
    places: tuple[object, ...],
    keys: Path,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    before = (made / "metadata" / "timestamp.json").read_bytes()
    given = [argument.replace("KEYS", str(keys)) for argument in arguments]
    called = medvouch("release", *given, *(places if given else ()))
    assert (called.code, called.out) == (code, "")
    assert said in called.err
    assert called.err.count("\n") == 1
    assert (made / "metadata" / "timestamp.json").read_bytes() == before


def test_no_repository(medvouch: Caller, places: tuple[object, ...]) -> None:
    called = medvouch("release", "publish", *places)
    assert (called.code, "repository-missing" in called.err) == (3, True)


def test_keys_that_are_missing_or_broken(
    medvouch: Caller, made: Path, keys: Path, places: tuple[object, ...], tmp_path: Path
) -> None:
    (keys / "tuf-timestamp.pem").unlink()
    called = medvouch("release", "publish", *places)
    assert (called.code, "key-missing" in called.err) == (3, True)
    (keys / "tuf-timestamp.pem").write_bytes(b"no key")
    called = medvouch("release", "publish", *places, "--json")
    assert (called.code, called.json["error"]["code"]) == (1, "key-malformed")
    assert "tuf-timestamp.pem" in called.json["error"]["detail"]
    called = medvouch("release", "publish", "--repository", made, "--keys", tmp_path / "nowhere")
    assert (called.code, "there is no directory" in called.err) == (2, True)


def test_every_command_shows_an_example(medvouch: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    for name in publishing.COMMANDS:
        with pytest.raises(SystemExit):
            medvouch("release", name, "--help")
        assert f"medvouch release {name}" in capsys.readouterr().out.partition("example")[2]


def test_without_tuf_it_says_what_is_missing(
    medvouch: Caller, places: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "medvouch.cli.publishing", None)
    monkeypatch.delattr("medvouch.cli.publishing", raising=False)
    called = medvouch("release", "publish", *places)
    assert (called.code, "part-missing" in called.err) == (7, True)


def test_the_help_names_every_key_file() -> None:
    assert all(name in releasing.KEYS_HELP for name in key_files.KEY_FILES.values())
