"""Root and releases signed by people who never meet, as devices see what comes of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tuf.api.metadata import Metadata

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.crypto.keys import Signer, SoftwareSigner
from medvouch.errors import ConfigFault, InputError, StorageFault
from medvouch.ports import MetadataStore
from medvouch.release import apart, refusals
from medvouch.release.apart import Documents, countersign, read_document
from medvouch.release.repository import AuthoredRepository, first_releases, first_root
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.update.metadata import PUBLISHED
from medvouch.update.repository import Repository
from medvouch_sim.publisher import signer
from support.authoring import BASE, FromFiles
from support.refusing import assert_input_refused, assert_refused
from support.tufs import DAY, NOW, Shelf

ENVELOPE = b"an envelope"
FILES = {"release.suit": ENVELOPE}
RELEASE = "releases/1.1.0/release.suit"
STRANGER = signer("quality")
YEAR = 365 * DAY


def device(files: MetadataStore, root: bytes, now: int = NOW) -> Repository:
    client = Repository(BASE, FromFiles(files), Shelf(), lambda: now, root)
    client.refresh()
    return client


def round_trip(data: bytes, signers: Sequence[Signer]) -> Documents:
    for each in signers:
        data = countersign(data, each)
    role, metadata = read_document(data)
    return {role: metadata}


def elsewhere(keys: RepositoryKeys, *roles: str) -> RepositoryKeys:
    """The same keys, those of some roles on other machines."""
    public = {role: [each.public_key for each in getattr(keys, role)] for role in roles}
    return dataclasses.replace(keys, elsewhere=public, **dict.fromkeys(roles, ()))


def fresh(keys: RepositoryKeys, *roles: str) -> RepositoryKeys:
    """New keys for some roles."""
    new = {
        role: [SoftwareSigner(ec.generate_private_key(ec.SECP256R1())) for _ in getattr(keys, role)] for role in roles
    }
    return dataclasses.replace(keys, **new)


@pytest.fixture
def online(keys: RepositoryKeys) -> RepositoryKeys:
    return RepositoryKeys(snapshot=keys.snapshot, timestamp=keys.timestamp)


@pytest.fixture
def made(files: FileMetadataStore, keys: RepositoryKeys) -> AuthoredRepository:
    return AuthoredRepository.create(files, keys, NOW, bin_bits=1)


@pytest.fixture
def releasing(files: FileMetadataStore, made: AuthoredRepository, online: RepositoryKeys) -> AuthoredRepository:
    """The publisher's, without a key of `releases`; a release was added."""
    repository = AuthoredRepository.open(files, online)
    repository.add_release("1.1.0", FILES)
    return repository


# --- releases --------------------------------------------------------------------------------------------------------


def test_a_release_signed_on_two_machines(
    files: FileMetadataStore, releasing: AuthoredRepository, keys: RepositoryKeys
) -> None:
    with pytest.raises(ConfigFault, match="key-missing"):
        releasing.publish(NOW)
    document = round_trip(releasing.to_sign(NOW), keys.releases[1:])
    releasing.publish(NOW + DAY, apart=document)
    client = device(files, releasing.root, NOW + DAY)
    target = client.role_target("releases", RELEASE)
    assert target is not None
    assert client.download(target, 100) == ENVELOPE
    metadata = json.loads(files.read("metadata/2.releases.json") or b"")
    assert (len(metadata["signatures"]), metadata["signed"]["version"]) == (2, 2)


def test_a_key_that_is_here_signs_beside_one_that_is_not(
    files: FileMetadataStore, releasing: AuthoredRepository, keys: RepositoryKeys
) -> None:
    document = round_trip(releasing.to_sign(NOW), keys.releases[:1])
    here = AuthoredRepository.open(files, dataclasses.replace(keys, releases=keys.releases[:2], root=()))
    here.add_release("1.1.0", FILES)
    here.publish(NOW, apart=document)
    assert device(files, here.root).role_target("releases", RELEASE) is not None


def test_what_nothing_was_added_to_is_signed_anew(
    files: FileMetadataStore, made: AuthoredRepository, online: RepositoryKeys, keys: RepositoryKeys
) -> None:
    repository = AuthoredRepository.open(files, online)
    repository.publish(NOW, apart=round_trip(repository.to_sign(NOW), keys.releases[:2]))
    assert json.loads(files.read("metadata/2.releases.json") or b"")["signed"]["version"] == 2


def test_signatures_that_are_too_few(
    files: FileMetadataStore, releasing: AuthoredRepository, keys: RepositoryKeys
) -> None:
    data, before = releasing.to_sign(NOW), files.read("metadata/timestamp.json")
    first, second = keys.releases[:2]
    wrong = Metadata[Any].from_bytes(countersign(countersign(data, first), second))
    one, other = (wrong.signatures[keyid] for keyid in wrong.signatures)
    one.signature = other.signature
    for signers in ((), (first,), (first, STRANGER)):
        document = round_trip(data, signers)
        refused = assert_refused(refusals.COUNTERSIGNED_TOO_FEW, releasing.publish, NOW, apart=document)
        assert refused.place == "releases"
    assert_refused(refusals.COUNTERSIGNED_TOO_FEW, releasing.publish, NOW, apart={"releases": wrong})
    assert files.read("metadata/timestamp.json") == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda repository: repository.add_release("1.1.1", FILES), "other keys, roles or targets"),
        (lambda repository: repository.add_release("1.1.0", {"release.suit": b"another"}), "other keys"),
    ],
)
def test_what_was_signed_is_not_what_is_published(
    releasing: AuthoredRepository, keys: RepositoryKeys, change: Callable[[AuthoredRepository], object], said: str
) -> None:
    document = round_trip(releasing.to_sign(NOW), keys.releases[:2])
    change(releasing)
    refused = assert_refused(refusals.COUNTERSIGNED_OTHER, releasing.publish, NOW, apart=document)
    assert said in refused.detail


def test_what_was_signed_too_long_ago(
    files: FileMetadataStore, releasing: AuthoredRepository, keys: RepositoryKeys
) -> None:
    document = round_trip(releasing.to_sign(NOW), keys.releases[:2])
    refused = assert_refused(refusals.COUNTERSIGNED_OTHER, releasing.publish, NOW + YEAR, apart=document)
    assert "run out" in refused.detail
    between = AuthoredRepository.open(files, keys)
    between.add_release("1.0.9", FILES)
    between.publish(NOW)
    late = AuthoredRepository.open(files, keys)
    late.add_release("1.1.0", FILES)
    refused = assert_refused(refusals.COUNTERSIGNED_OTHER, late.publish, NOW, apart=document)
    assert refused.detail == "it is version 2, and 3 is next"


@pytest.mark.parametrize(("skew", "taken"), [(DAY, True), (DAY + 1, False)])
def test_what_was_signed_for_longer_than_it_may_be(
    releasing: AuthoredRepository, keys: RepositoryKeys, skew: int, taken: bool
) -> None:
    document = round_trip(releasing.to_sign(NOW + skew), keys.releases[:2])
    document["releases"].signed.targets[RELEASE].unrecognized_fields["custom"] = {PUBLISHED: NOW}
    document = round_trip(document["releases"].to_bytes(), keys.releases[:2])
    if taken:
        releasing.publish(NOW, apart=document)
    else:
        refused = assert_refused(refusals.COUNTERSIGNED_OTHER, releasing.publish, NOW, apart=document)
        assert "longer" in refused.detail


# --- root ------------------------------------------------------------------------------------------------------------


def test_a_repository_that_is_made_by_people_apart(files: FileMetadataStore, keys: RepositoryKeys) -> None:
    mine = elsewhere(keys, "root", "releases")
    signed = {
        **round_trip(first_root(mine, NOW), keys.root[:2]),
        **round_trip(first_releases(NOW), keys.releases[1:]),
    }
    with pytest.raises(ConfigFault, match="key-missing"):
        AuthoredRepository.create(files, mine, NOW, bin_bits=1)
    few = {**signed, **round_trip(first_root(mine, NOW), keys.root[:1])}
    for role, wrong in (("root", few), ("releases", {**signed, **round_trip(first_releases(NOW), ())})):
        refused = assert_refused(
            refusals.COUNTERSIGNED_TOO_FEW, AuthoredRepository.create, files, mine, NOW, bin_bits=1, apart=wrong
        )
        assert refused.place == role
    assert files.read("metadata/1.root.json") is None
    repository = AuthoredRepository.create(files, mine, NOW, bin_bits=1, apart=signed)
    assert device(files, repository.root).versions.root == 1


@pytest.mark.parametrize("role", ["root", "targets", "releases", "director", "snapshot", "timestamp"])
def test_a_root_under_which_a_role_could_never_be_signed(
    made: AuthoredRepository, keys: RepositoryKeys, role: str
) -> None:
    few = dataclasses.replace(keys, **{role: getattr(keys, role)[:1] if role in ("root", "releases") else ()})
    for make in (made.next_root, first_root):
        with pytest.raises(ConfigFault, match=f"key-missing: {role} "):
            make(few, NOW)
    made.next_root(elsewhere(keys, role), NOW)


def test_root_keys_replaced_by_people_apart(
    files: FileMetadataStore, made: AuthoredRepository, keys: RepositoryKeys, online: RepositoryKeys
) -> None:
    """Two holders of the old keys and two of the new; what others have signed stays as it is."""
    anchor, new = made.root, fresh(keys, "root")
    named = elsewhere(new, "root", "targets", "releases", "director")
    repository = AuthoredRepository.open(files, online)
    data = repository.next_root(named, NOW)
    signed = round_trip(data, [*keys.root[:2], *new.root[1:]])
    repository.rotate(named, NOW, apart=signed)
    assert device(files, anchor).versions.root == 2
    assert device(files, repository.root).versions.root == 2
    assert files.read("metadata/2.releases.json") is None
    assert files.read("metadata/2.targets.json") is None


@pytest.mark.parametrize(("of_old", "of_new"), [(2, 1), (1, 2), (0, 3)])
def test_a_root_that_too_few_of_the_old_or_the_new_keys_signed(
    made: AuthoredRepository, keys: RepositoryKeys, of_old: int, of_new: int
) -> None:
    new = fresh(keys, "root")
    nobody = dataclasses.replace(keys, root=())
    document = round_trip(made.next_root(new, NOW), [*keys.root[:of_old], *new.root[:of_new], STRANGER])
    repository = AuthoredRepository.open(made._files, nobody)
    refused = assert_refused(
        refusals.COUNTERSIGNED_TOO_FEW, repository.rotate, elsewhere(new, "root"), NOW, apart=document
    )
    assert refused.place == "root"
    assert made._files.read("metadata/2.root.json") is None


def test_a_root_for_other_keys_than_are_to_count(
    files: FileMetadataStore, made: AuthoredRepository, keys: RepositoryKeys
) -> None:
    document = round_trip(made.next_root(keys, NOW), keys.root)
    assert_refused(refusals.COUNTERSIGNED_OTHER, made.rotate, fresh(keys, "targets"), NOW, apart=document)


def test_a_root_is_renewed_with_the_keys_that_it_has(
    files: FileMetadataStore, made: AuthoredRepository, keys: RepositoryKeys
) -> None:
    made.rotate(keys, NOW + 300 * DAY)
    root = json.loads(made.root)["signed"]
    assert (root["version"], root["expires"]) == (2, "2028-11-10T08:00:00Z")
    for role in ("targets", "releases", "director"):
        assert json.loads(files.read(f"metadata/2.{role}.json") or b"")["signed"]["version"] == 2, "its keys are here"


def test_releases_keys_replaced_while_their_holders_are_elsewhere(
    files: FileMetadataStore, made: AuthoredRepository, keys: RepositoryKeys
) -> None:
    new = fresh(keys, "releases")
    named = elsewhere(new, "releases")
    with pytest.raises(ConfigFault, match="key-missing"):
        AuthoredRepository.open(files, keys).rotate(named, NOW)
    assert files.read("metadata/2.root.json") is None
    repository = AuthoredRepository.open(files, keys)
    document = round_trip(repository.to_sign(NOW), new.releases[:2])
    repository.rotate(named, NOW, apart=document)
    repository.add_release("1.1.0", FILES)
    repository.publish(NOW, apart=round_trip(repository.to_sign(NOW), new.releases[1:]))
    assert device(files, repository.root).role_target("releases", RELEASE) is not None


class Failing(Shelf):
    """Its disk fills up after `power` writes."""

    def write(self, name: str, data: bytes) -> None:
        if self.power <= 0:
            raise StorageFault("file-not-written", name)
        super().write(name, data)


def test_a_rotation_that_was_interrupted_is_made_again(keys: RepositoryKeys) -> None:
    """By the same command, which opens it with the old keys; till then devices see the old root, but at one write."""
    files = Failing()
    anchor = AuthoredRepository.create(files, keys, NOW, bin_bits=1).root
    new, before = fresh(keys, *(role for role, _ in keys.named())), dict(files.files)
    for power in range(8):
        files.files, files.power = dict(before), power
        with suppress(StorageFault):
            AuthoredRepository.open(files, keys).rotate(new, NOW)
        root = 2 if files.read("metadata/2.root.json") else 1
        assert (root, files.power) == (2 if power >= 7 else 1, 0)
        if root == 1:
            assert device(files, anchor).versions.root == 1
        files.power = 100
        AuthoredRepository.open(files, keys).rotate(new, NOW)
        client = device(files, anchor)
        assert client.versions.root == root + 1
        assert client.role_target("releases", RELEASE) is None


# --- the file that is handed round -----------------------------------------------------------------------------------


def test_a_key_signs_once(made: AuthoredRepository, keys: RepositoryKeys) -> None:
    signed = countersign(made.to_sign(NOW), keys.releases[0])
    assert_refused(refusals.COUNTERSIGNED_ALREADY, countersign, signed, keys.releases[0])
    forged = Metadata[Any].from_bytes(signed)
    next(iter(forged.signatures.values())).signature = "00"
    _, mended = read_document(countersign(forged.to_bytes(), keys.releases[0]))
    assert next(iter(mended.signatures.values())).signature != "00"


def test_keys_that_sign_no_repository(made: AuthoredRepository) -> None:
    other = SoftwareSigner(ec.generate_private_key(ec.SECP384R1()))
    assert_input_refused("key-malformed", countersign, made.to_sign(NOW), other)


@pytest.mark.parametrize("name", ["timestamp", "1.snapshot"])
def test_metadata_that_is_signed_where_it_is_published(
    files: FileMetadataStore, made: AuthoredRepository, name: str
) -> None:
    assert_input_refused("countersigned-malformed", read_document, files.read(f"metadata/{name}.json") or b"")


def test_what_cannot_be_signed(made: AuthoredRepository, keys: RepositoryKeys) -> None:
    data = made.to_sign(NOW).replace(b'"targets":{}', b'"targets":{},"x":1.5')
    assert b"1.5" in data
    assert_input_refused("countersigned-malformed", countersign, data, keys.releases[0])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"signed": {"_type": "root"}, "signatures": []}'])
def test_what_is_no_metadata(data: bytes) -> None:
    assert_input_refused("countersigned-malformed", read_document, data)


def test_a_file_larger_than_any_device_reads(monkeypatch: pytest.MonkeyPatch, made: AuthoredRepository) -> None:
    data = made.to_sign(NOW)
    monkeypatch.setattr(apart, "MAX_DOCUMENT_BYTES", len(data))
    read_document(data)
    with pytest.raises(InputError, match="countersigned-limit"):
        read_document(data + b" ")
