"""The authored repository, as devices and as python-tuf's own client see it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import TargetFile

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import ConfigFault, InputError, Refusal, StorageFault
from medvouch.formats.directive import Directive
from medvouch.formats.tuf_versions import Versions
from medvouch.ports import MetadataStore
from medvouch.release.repository import AuthoredRepository, Periods
from medvouch.release.tuf_signing import RepositoryKeys, SigningKey
from medvouch.update import refusals
from medvouch.update.directing import resolve
from medvouch.update.metadata import published_time
from medvouch.update.repository import Repository
from medvouch_sim.publisher import signer
from support.authoring import BASE, FromFiles, python_tuf_client
from support.refusing import assert_refused
from support.tufs import DAY, NOW, Shelf

UEID = b"\1" + bytes(32)
ENVELOPE = b"an envelope"
RELEASE = "releases/1.1.0/release.suit"


def author(files: MetadataStore, keys: RepositoryKeys, now: int = NOW) -> AuthoredRepository:
    return AuthoredRepository.create(files, keys, now, bin_bits=2)


def device(files: MetadataStore, root: bytes, now: int = NOW) -> Repository:
    return Repository(BASE, FromFiles(files), Shelf(), lambda: now, root)


def directive(expires: int = NOW + DAY) -> Directive:
    return Directive(UEID, RELEASE, hashlib.sha256(ENVELOPE).digest(), len(ENVELOPE), 1, expires)


def test_a_device_finds_all_that_is_published(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE, "rootfs.img": b"image"})
    repository.set_trust(b"trust")
    repository.direct("gw1", directive().encode())
    client = device(files, repository.root)
    client.refresh()
    assert client.versions == Versions(1, 1, 1)
    assert client.target(RELEASE) is None
    repository.publish(NOW + 5)
    client.refresh()
    assert client.versions == Versions(1, 2, 2)
    assert client.testified_time == NOW + 5
    assert client.trust() == b"trust"
    found = resolve(client, UEID, "gw1", NOW)
    assert found is not None
    assert client.download(found.target, 100) == ENVELOPE
    image = client.role_target("releases", "releases/1.1.0/rootfs.img")
    assert image is not None
    assert client.download(image, 100) == b"image"


def test_a_directive_that_is_withdrawn_is_there_no_more(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE})
    assert repository.directive("gw1") is None
    assert not repository.withdraw("gw1")
    for device_id in ("gw1", "gw2"):
        repository.direct(device_id, directive().encode())
        assert repository.directive(device_id) == directive().encode()
    assert repository.withdraw("gw2")
    repository.publish(NOW)
    again = AuthoredRepository.open(files, keys)
    assert again.directive("gw1") == directive().encode()
    assert again.directive("gw2") is None
    client = device(files, repository.root)
    client.refresh()
    assert resolve(client, UEID, "gw1", NOW)
    assert resolve(client, UEID, "gw2", NOW) is None
    assert again.withdraw("gw1")
    again.publish(NOW + 1)
    client.refresh()
    assert resolve(client, UEID, "gw1", NOW + 1) is None


def test_when_a_release_was_published_stands_beside_it(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    """Signed by whom it is listed by, from the first time on that just this was."""
    repository = author(files, keys)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE, "notes": b"old"})
    repository.publish(NOW + 5)
    repository = AuthoredRepository.open(files, keys)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE, "notes": b"new"})
    repository.direct("gw1", directive().encode())
    repository.publish(NOW + 9)
    assert repository.issued == NOW + 9
    client = device(files, repository.root)
    client.refresh()
    found = {name: client.role_target("releases", f"releases/1.1.0/{name}") for name in ("release.suit", "notes")}
    assert {name: target and published_time(target) for name, target in found.items()} == {
        "release.suit": NOW + 5,
        "notes": NOW + 9,
    }
    directed = client.role_target("director", "directives/gw1.cbor", below=True)
    assert directed is not None
    assert published_time(directed) is None


@pytest.mark.parametrize("custom", [None, [], {}, {"published": True}, {"published": -1}, {"published": "1"}])
def test_times_of_publishing_that_are_none(custom: object) -> None:
    target = TargetFile.from_data("releases/1/x", b"x", ["sha256"])
    target.unrecognized_fields["custom"] = custom
    assert published_time(target) is None


def test_python_tuf_s_own_client_agrees(files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path) -> None:
    now = int(time.time())
    repository = author(files, keys, now)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE})
    repository.direct("gw1", directive().encode())
    repository.publish(now)
    repository.rotate(keys, now)
    client = python_tuf_client(files, files.read("metadata/1.root.json") or b"", tmp_path / "client")
    client.refresh()
    for name, data in ((RELEASE, ENVELOPE), ("directives/gw1.cbor", directive().encode())):
        target = client.get_targetinfo(name)
        assert target is not None
        assert Path(client.download_target(target)).read_bytes() == data
    assert client.get_targetinfo("directives/gw2.cbor") is None


def test_the_delegations(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    """Release engineering publishes no directives, and the director no releases."""
    repository = author(files, keys)
    for role in ("releases", "director"):
        for name in ("trust.cbor", "releases/9/x.suit", "directives/gw9.cbor"):
            repository._add(role, name, role.encode())
    repository.publish(NOW)
    client = device(files, repository.root)
    client.refresh()
    found = {name: client.target(name) for name in ("trust.cbor", "releases/9/x.suit", "directives/gw9.cbor")}
    assert found["trust.cbor"] is None
    assert found["releases/9/x.suit"] == repository.release("releases/9/x.suit")
    directed = found["directives/gw9.cbor"]
    assert directed is not None
    assert directed.hashes["sha256"] == hashlib.sha256(b"director").hexdigest()


def test_the_thresholds(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    author(files, keys)
    root = json.loads(files.read("metadata/1.root.json") or b"")["signed"]["roles"]
    roles = json.loads(files.read("metadata/1.targets.json") or b"")["signed"]["delegations"]["roles"]
    bins = json.loads(files.read("metadata/1.director.json") or b"")["signed"]["delegations"]["succinct_roles"]
    found = {**root, **{role["name"]: role for role in roles}, "bins": bins}
    assert {name: (role["threshold"], len(role["keyids"])) for name, role in found.items()} == {
        "root": (2, 3),
        "targets": (1, 1),
        "releases": (2, 3),
        "director": (1, 1),
        "bins": (1, 1),
        "snapshot": (1, 1),
        "timestamp": (1, 1),
    }


@pytest.mark.parametrize(
    ("role", "wanted"),
    [("root", 2), ("targets", 1), ("releases", 2), ("director", 1), ("snapshot", 1), ("timestamp", 1)],
)
def test_each_role_needs_its_keys(
    files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path, role: str, wanted: int
) -> None:
    enough = dataclasses.replace(keys, **{role: getattr(keys, role)[:wanted]})
    author(files, enough)
    too_few = dataclasses.replace(keys, **{role: getattr(keys, role)[: wanted - 1]})
    twice = dataclasses.replace(keys, **{role: [*getattr(too_few, role), *getattr(too_few, role)]})
    for bad in (too_few, twice):
        elsewhere = FileMetadataStore(tmp_path / "elsewhere")
        with pytest.raises(ConfigFault, match="key-missing"):
            author(elsewhere, bad)
        assert not (tmp_path / "elsewhere").exists()


def test_what_is_changed_needs_the_keys_of_its_role_alone(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    author(files, keys)
    online = RepositoryKeys(director=keys.director, snapshot=keys.snapshot, timestamp=keys.timestamp)
    repository = AuthoredRepository.open(files, online)
    repository.direct("gw1", directive().encode())
    repository.publish(NOW)
    before = files.read("metadata/timestamp.json")
    for role in ("targets", "releases"):
        repository = AuthoredRepository.open(files, online)
        repository.set_trust(b"trust") if role == "targets" else repository.add_release("2", {"x": b"x"})
        with pytest.raises(ConfigFault, match="key-missing"):
            repository.publish(NOW)
        assert files.read("metadata/timestamp.json") == before


@pytest.mark.parametrize("role", ["snapshot", "timestamp", "director"])
def test_nothing_is_written_with_a_key_that_the_repository_does_not_name(keys: RepositoryKeys, role: str) -> None:
    files = Shelf()
    author(files, keys)
    files.names.clear()
    repository = AuthoredRepository.open(files, dataclasses.replace(keys, **{role: [signer("quality")]}))
    repository.direct("gw1", directive().encode())
    repository.set_trust(b"trust")
    with pytest.raises(ConfigFault, match="key-missing"):
        repository.publish(NOW)
    assert files.names == []


def test_all_is_read_back(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    author(files, keys).publish(NOW)
    again = AuthoredRepository.open(files, keys)
    assert again.version == 2
    again.add_release("1.1.0", {"release.suit": b"first"})
    again.publish(NOW)
    again = AuthoredRepository.open(files, keys)
    target = again.add_release("1.1.0", {"release.suit": ENVELOPE})[0]
    again.publish(NOW)
    client = device(files, again.root)
    client.refresh()
    assert client.target(RELEASE) == target == AuthoredRepository.open(files, keys).release(RELEASE)


def test_a_published_state_runs_out_and_is_signed_anew(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    client = device(files, repository.root, NOW + 60 * DAY)
    assert_refused(refusals.REPOSITORY_FROZEN, client.refresh)
    repository.publish(NOW + 60 * DAY)
    client.refresh()
    client = device(files, repository.root, NOW + 100 * DAY)
    repository.publish(NOW + 100 * DAY)
    client.refresh()
    assert resolve(client, UEID, "gw1", NOW) is None


def test_roles_offline_are_not_signed_anew_by_themselves(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = AuthoredRepository.create(files, keys, NOW, bin_bits=1, periods=Periods(targets=3 * DAY))
    repository.publish(NOW + 3 * DAY)
    refused = assert_refused(refusals.METADATA_EXPIRED, device(files, repository.root, NOW + 3 * DAY).refresh)
    assert refused.place == "targets"


def test_all_keys_replaced(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    repository.add_release("1.1.0", {"release.suit": ENVELOPE})
    repository.publish(NOW)
    anchor = repository.root
    new = RepositoryKeys(
        **{role: [SoftwareSigner(ec.generate_private_key(ec.SECP256R1())) for _ in has] for role, has in keys.named()}
    )
    repository.rotate(new, NOW)
    assert repository.root != anchor
    client = device(files, anchor)
    client.refresh()
    assert client.versions.root == 2
    assert client.target(RELEASE) == repository.release(RELEASE)
    reopened = AuthoredRepository.open(files, new)
    reopened.publish(NOW)
    client.refresh()
    with pytest.raises(ConfigFault, match="key-missing"):
        AuthoredRepository.open(files, keys).publish(NOW)


class Failing(Shelf):
    """Its disk fills up after `power` writes."""

    def write(self, name: str, data: bytes) -> None:
        if self.power <= 0:
            raise StorageFault("file-not-written", name)
        super().write(name, data)


def test_at_every_write_a_device_sees_the_old_state_or_the_new(keys: RepositoryKeys) -> None:
    files = Failing()
    repository = author(files, keys)
    repository.add_release("1.1.0", {"release.suit": b"old"})
    repository.publish(NOW)
    old, new = (hashlib.sha256(data).hexdigest() for data in (b"old", ENVELOPE))
    before, seen = dict(files.files), []
    for power in range(5):
        files.files, files.power = dict(before), power
        again = AuthoredRepository.open(files, keys)
        again.add_release("1.1.0", {"release.suit": ENVELOPE})
        try:
            again.publish(NOW)
        except StorageFault:
            assert power < 4
        client = device(files, repository.root)
        client.refresh()
        target = client.target(RELEASE)
        assert target is not None
        client.download(target, 100)
        seen.append(target.hashes["sha256"])
        files.power = 100
        AuthoredRepository.open(files, keys).publish(NOW)
    assert seen == [old, old, old, old, new]
    assert files.names[-1] == "metadata/timestamp.json"


def test_a_thousand_devices_directed_are_one_publication(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    shelf = Shelf()
    repository = author(shelf, keys)
    for number in range(1000):
        repository.direct(f"gw{number}", directive().encode())
    repository.publish(NOW)
    assert repository.version == 2
    assert sum(name.endswith(".json") for name in shelf.names) == 1 + 7 + 2 + 4 + 2
    client = device(shelf, repository.root)
    client.refresh()
    for name in ("gw0", "gw999"):
        assert client.role_target("director", f"directives/{name}.cbor", below=True) is not None


# --- what cannot be -----


def test_no_repository_and_one_too_many(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    with pytest.raises(ConfigFault, match="repository-missing"):
        AuthoredRepository.open(files, keys)
    author(files, keys)
    with pytest.raises(ConfigFault, match="repository-exists"):
        author(files, keys)


@pytest.mark.parametrize("bits", [0, 15])
def test_numbers_of_bins(files: FileMetadataStore, keys: RepositoryKeys, bits: int) -> None:
    with pytest.raises(ConfigFault, match="repository-bins"):
        AuthoredRepository.create(files, keys, NOW, bin_bits=bits)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("timestamp", lambda path: path.write_bytes(b"{")),
        ("1.snapshot", lambda path: path.unlink()),
        (
            "1.releases",
            lambda path: path.write_bytes(path.read_bytes().replace(b'"version":1', b'"version":1,"x":1.5')),
        ),
        ("1.targets", lambda path: path.write_bytes((path.parent / "timestamp.json").read_bytes())),
    ],
)
def test_a_damaged_repository(
    files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path, name: str, damage: Callable[[Path], object]
) -> None:
    author(files, keys)
    damage(tmp_path / "repository" / "metadata" / f"{name}.json")
    with pytest.raises(StorageFault, match="repository-damaged"):
        AuthoredRepository.open(files, keys)


def _with_target(metadata: dict[str, Any]) -> None:
    metadata["signed"]["targets"]["forged"] = {"length": 1, "hashes": {"sha256": "00"}}


@pytest.mark.parametrize("name", ["targets", "releases", "director", "directives-0"])
def test_nobody_signs_anew_what_was_put_there(
    files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path, name: str
) -> None:
    """By whoever can write to the directory, and has the keys that are online."""
    author(files, keys)
    path = tmp_path / "repository" / "metadata" / f"1.{name}.json"
    metadata = json.loads(path.read_bytes())
    _with_target(metadata)
    path.write_text(json.dumps(metadata))
    with pytest.raises(StorageFault, match=f"repository-damaged: {name}: too few"):
        AuthoredRepository.open(files, keys)


def test_nobody_goes_on_from_a_root_that_the_one_before_does_not_vouch_for(
    files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path
) -> None:
    author(files, keys)
    stranger = RepositoryKeys(
        **{role: [SoftwareSigner(ec.generate_private_key(ec.SECP256R1())) for _ in has] for role, has in keys.named()}
    )
    other = FileMetadataStore(tmp_path / "other")
    AuthoredRepository.create(other, stranger, NOW, bin_bits=2).rotate(stranger, NOW)
    files.write("metadata/2.root.json", other.read("metadata/2.root.json") or b"")
    with pytest.raises(StorageFault, match=r"repository-damaged: 2\.root\.json: the root before"):
        AuthoredRepository.open(files, keys)


def test_what_was_signed_as_another_version(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    old = files.read("metadata/1.releases.json") or b""
    repository.add_release("1.1.0", {"release.suit": ENVELOPE})
    repository.publish(NOW)
    files.write("metadata/2.releases.json", old)
    with pytest.raises(StorageFault, match=r"repository-damaged: 2\.releases\.json: it holds version 1"):
        AuthoredRepository.open(files, keys)


def test_contents_that_are_not_those_published(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    repository = author(files, keys)
    target = repository.add_release("1.1.0", {"release.suit": ENVELOPE})[0]
    repository.publish(NOW)
    files.write(f"targets/{target.get_prefixed_paths()[0]}", ENVELOPE.upper())
    with pytest.raises(StorageFault, match=r"repository-damaged: .*: it is not what was published"):
        AuthoredRepository.open(files, keys).contents(target)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a b", "a*", "a?", "a[", "a%41", "a#", "ä", "a\\b"])
def test_names_that_are_no_component(files: FileMetadataStore, keys: RepositoryKeys, name: str) -> None:
    repository = author(files, keys)
    for change in (
        lambda: repository.add_release(name, {"x": b""}),
        lambda: repository.add_release("1", {name: b""}),
        lambda: repository.direct(name, b""),
    ):
        with pytest.raises(InputError, match="target-malformed"):
            change()


def test_keys_that_cannot_sign_a_repository(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    other = SoftwareSigner(ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(InputError, match="key-malformed"):
        author(files, dataclasses.replace(keys, snapshot=[other]))
    with pytest.raises(NotImplementedError):
        SigningKey.from_priv_key_uri("file:x", SigningKey(signer("director")).public_key)


def test_another_maker_s_repository(files: FileMetadataStore, keys: RepositoryKeys, tmp_path: Path) -> None:
    stranger = RepositoryKeys(
        **{role: [SoftwareSigner(ec.generate_private_key(ec.SECP256R1())) for _ in has] for role, has in keys.named()}
    )
    root = author(files, keys).root
    author(other := FileMetadataStore(tmp_path / "other"), stranger)
    with pytest.raises(Refusal) as caught:
        device(other, root).refresh()
    assert caught.value.kind == refusals.METADATA_UNTRUSTED
