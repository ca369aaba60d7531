"""`medvouch release metadata|countersign|rotate`: keys on several machines, one folder each."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from medvouch.adapters.metadata import FileMetadataStore
from medvouch.update.repository import Repository
from medvouch_sim import fixtures
from support.authoring import BASE, FromFiles
from support.cli import Called, Caller
from support.tufs import Shelf

NOW = 1_800_000_000
NOTES = "releases/1.1.0/notes.txt"


@pytest.fixture(autouse=True)
def at_a_fixed_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvouch.cli.publishing.time.time", lambda: NOW)


def make_public(pem: Path) -> None:
    """Its holder has taken the private half away."""
    key = load_pem_private_key(pem.read_bytes(), None)
    pem.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


class Desk:
    """The publisher's directory, with the private keys of root and releases in `holders/` elsewhere."""

    def __init__(self, medvouch: Caller, folder: Path) -> None:
        self.medvouch, self.folder = medvouch, folder
        self.keys, self.repository, self.holders = folder / "keys", folder / "repository", folder / "holders"
        self.keys.mkdir()
        for role in fixtures.ROLES:
            if role.startswith("tuf-") or role == "director":
                (self.keys / f"{role}.pem").write_bytes(fixtures.key_pem(fixtures.private_key(role)))
        shutil.copytree(self.keys, self.holders)
        for path in (*self.keys.glob("tuf-root-*"), *self.keys.glob("tuf-releases-*")):
            make_public(path)
        (folder / "notes.txt").write_text("what is new")

    def release(self, *arguments: object) -> Called:
        return self.medvouch("release", *arguments)

    def countersigned(self, out: Path, *keys: str, folder: Path | None = None) -> Path:
        for key in keys:
            called = self.release("countersign", out, "--key", (folder or self.holders) / f"{key}.pem")
            assert (called.code, called.err) == (0, "")
        return out

    def prepared(self, role: str, *arguments: object) -> Path:
        out = self.folder / f"{role}.json"
        called = self.release("metadata", *arguments, "--for", role, "--out", out)
        assert (called.code, called.err) == (0, "")
        return out

    def made(self) -> None:
        root = self.prepared("root", "--new-keys", self.keys)
        releases = self.prepared("releases")
        self.countersigned(root, "tuf-root-1", "tuf-root-3")
        self.countersigned(releases, "tuf-releases-1", "tuf-releases-2")
        places = ("--repository", self.repository, "--keys", self.keys)
        called = self.release("init", "--bins", 1, *places, "--signed", root, "--signed", releases)
        assert (called.code, called.err) == (0, "")

    def device(self) -> Repository:
        root = (self.repository / "metadata" / "1.root.json").read_bytes()
        client = Repository(BASE, FromFiles(FileMetadataStore(self.repository)), Shelf(), lambda: NOW, root)
        client.refresh()
        return client


@pytest.fixture
def desk(medvouch: Caller, tmp_path: Path) -> Desk:
    desk = Desk(medvouch, tmp_path)
    desk.made()
    return desk


def test_a_release_that_nobody_could_publish_alone(desk: Desk) -> None:
    places = ("--repository", desk.repository, "--keys", desk.keys)
    notes = ("1.1.0", desk.folder / "notes.txt")
    called = desk.release("publish", *notes, *places)
    assert (called.code, "key-missing" in called.err) == (3, True)
    out = desk.prepared("releases", *notes, "--repository", desk.repository)
    called = desk.release("publish", *notes, *places, "--signed", out)
    assert (called.code, "countersigned-too-few" in called.err) == (1, True)
    called = desk.release("countersign", out, "--key", desk.holders / "tuf-releases-3.pem", "--json")
    shown = called.json
    assert (shown["role"], shown["version"], len(shown["signed_by"])) == ("releases", 2, 1)
    assert [target["name"] for target in shown["targets"]] == [NOTES]
    called = desk.release("countersign", out, "--key", desk.holders / "tuf-releases-3.pem")
    assert (called.code, "countersigned-already" in called.err) == (1, True)
    called = desk.release("countersign", out, "--key", desk.holders / "tuf-releases-1.pem")
    assert f"{NOTES}  11 bytes  " in called.out
    assert called.out.count("signed by key") == 2
    called = desk.release("publish", *notes, *places, "--signed", out)
    assert (called.code, called.err) == (0, "")
    assert desk.device().role_target("releases", NOTES) is not None


def test_keys_are_replaced(desk: Desk) -> None:
    """Of root on machines of their own, of the director here."""
    new, young = desk.folder / "new", desk.folder / "young"
    shutil.copytree(desk.keys, new)
    young.mkdir()
    for name in ("tuf-root-2", "director"):
        pem = fixtures.key_pem(ec.generate_private_key(ec.SECP256R1()))
        (new / f"{name}.pem").write_bytes(pem)
        (young / f"{name}.pem").write_bytes(pem)
    make_public(new / "tuf-root-2.pem")
    root = desk.prepared("root", "--repository", desk.repository, "--new-keys", new)
    desk.countersigned(root, "tuf-root-1", "tuf-root-3")
    desk.countersigned(root, "tuf-root-2", folder=young)
    shown = desk.release("countersign", root, "--key", desk.holders / "tuf-root-2.pem").out
    assert "root: 2 of\n" in shown
    places = ("--repository", desk.repository, "--keys", desk.keys)
    called = desk.release("rotate", *places, "--new-keys", new, "--signed", root, "--json")
    assert called.json == {"repository": str(desk.repository), "version": 2, "root": 2, "until": NOW + 2 * 86_400}
    assert desk.device().versions.root == 2
    called = desk.release("publish", "--repository", desk.repository, "--keys", new)
    assert (called.code, called.err) == (0, "")


def test_keys_are_replaced_in_one_place(desk: Desk) -> None:
    called = desk.release("rotate", "--repository", desk.repository, "--keys", desk.holders, "--new-keys", desk.holders)
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith("published as version 2, under root 2; ")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("metadata --for root --out X", 2, "with --new-keys"),
        ("metadata 1 notes.txt --for root --new-keys keys --out X", 2, "a root has no files"),
        ("metadata 1 notes.txt --for releases --out X", 2, "begins without releases"),
        ("metadata --for snapshot --out X", 2, "invalid choice"),
        ("metadata --for releases --repository keys --out X", 3, "repository-missing"),
        ("publish PLACES --signed root.json", 2, "medvouch release rotate"),
        ("publish PLACES --signed notes.txt", 1, "notes.txt: no metadata to be signed apart"),
        ("rotate PLACES --new-keys keys --signed root.json --signed root.json", 2, "two files are of root"),
        ("rotate PLACES --new-keys keys", 3, "key-missing"),
        ("countersign notes.txt --key holders/tuf-root-1.pem", 1, "notes.txt: no metadata to be signed apart"),
        ("countersign root.json --key keys/tuf-root-1.pem", 3, "key-unusable"),
    ],
)
def test_mistakes(desk: Desk, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, said: str) -> None:
    monkeypatch.chdir(desk.folder)
    before = (desk.repository / "metadata" / "timestamp.json").read_bytes()
    called = desk.release(*arguments.replace("PLACES", "--repository repository --keys keys").split())
    assert (called.code, called.out) == (code, "")
    assert said in called.err
    assert called.err.count("\n") == 1
    assert (desk.repository / "metadata" / "timestamp.json").read_bytes() == before
    assert not (desk.folder / "X").exists()


def test_a_key_on_another_curve(desk: Desk) -> None:
    path = desk.folder / "p384.pem"
    path.write_bytes(fixtures.key_pem(ec.generate_private_key(ec.SECP384R1())))
    called = desk.release("countersign", desk.prepared("releases"), "--key", path)
    assert (called.code, "P-256" in called.err) == (1, True)
    shutil.copy(path, desk.keys / "tuf-snapshot.pem")
    called = desk.release("publish", "--repository", desk.repository, "--keys", desk.keys)
    assert (called.code, "P-256" in called.err) == (1, True)
