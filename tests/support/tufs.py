"""TUF repositories made by tuf.api itself, document by document, so that each can be made wrongly."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from typing import Any

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from medvouch.errors import NetworkFault
from medvouch.formats.tuf_versions import Versions
from medvouch.update.repository import Repository

BASE = "http://repository.example/tuf"
NOW = 1_800_000_000
"""Seconds since 1970."""
DAY = 86_400
LATER = NOW + 30 * DAY
"""When everything expires that is not told otherwise."""
CHUNK = 16 << 10
NO_FLOOR = Versions()


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


class Served:
    """A Fetcher of what a dictionary holds, and what it was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.asked: list[str] = []
        self.broken: set[str] = set()

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        name = url.removeprefix(f"{BASE}/")
        self.asked.append(name)
        if name in self.broken:
            raise NetworkFault("fetch-failed", url)
        if name not in self.files:
            raise NetworkFault("fetch-not-found", url)
        for at in range(0, len(self.files[name]), CHUNK):
            yield self.files[name][at : at + CHUNK]


class PowerCut(Exception):
    pass


class Shelf:
    """A MetadataStore in memory; `names` in the order of writing and removing. After `power` of them it goes out."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.names: list[str] = []
        self.power = 1_000_000

    def read(self, name: str) -> bytes | None:
        return self.files.get(name)

    def write(self, name: str, data: bytes) -> None:
        self._spend()
        self.names.append(name)
        self.files[name] = data

    def remove(self, name: str) -> None:
        self._spend()
        self.names.append(f"-{name}")
        self.files.pop(name, None)

    def _spend(self) -> None:
        self.power -= 1
        if self.power < 0:
            raise PowerCut


class Tuf:
    """One repository: root 2 of 3, `targets`, snapshot, timestamp; further roles by `delegate`."""

    def __init__(self, now: int = NOW) -> None:
        self.files: dict[str, bytes] = {}
        self.served = Served(self.files)
        self.shelf = Shelf()
        self.now = now
        self.later = moment(now + LATER - NOW)
        self.signers: dict[str, list[CryptoSigner]] = {
            role: [CryptoSigner.generate_ecdsa() for _ in range(3 if role == "root" else 1)]
            for role in ("root", "targets", "snapshot", "timestamp")
        }
        expires = self.later
        self.root = Metadata(Root(expires=expires, consistent_snapshot=True))
        self.snapshot = Metadata(Snapshot(expires=expires))
        self.timestamp = Metadata(Timestamp(expires=expires))
        self.targets: dict[str, Metadata[Targets]] = {"targets": Metadata(Targets(expires=expires))}
        for role, signers in self.signers.items():
            for signer in signers:
                self.root.signed.add_key(signer.public_key, role)
        self.root.signed.roles["root"].threshold = 2
        self.write_root()
        self.anchor = self.files["metadata/1.root.json"]
        self.publish()

    # --- the client ---------------------------------------------------------------------------------------------------

    def client(self, floor: Versions = NO_FLOOR, anchor: bytes | None = None) -> Repository:
        """One that begins with what the shelf holds."""
        return Repository(BASE, self.served, self.shelf, lambda: self.now, anchor or self.anchor, floor=floor)

    def refreshed(self) -> Repository:
        client = self.client()
        client.refresh()
        return client

    # --- the repository -----------------------------------------------------------------------------------------------

    @property
    def all(self) -> dict[str, Metadata[Any]]:
        """What is prepared for each role."""
        return {"root": self.root, "snapshot": self.snapshot, "timestamp": self.timestamp, **self.targets}

    def sign(self, metadata: Metadata[Any], signers: Sequence[CryptoSigner]) -> bytes:
        metadata.signatures.clear()
        for signer in signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes()

    def write_root(self, *others: CryptoSigner) -> None:
        data = self.sign(self.root, (*others, *self.signers["root"]))
        self.files[f"metadata/{self.root.signed.version}.root.json"] = data

    def write_targets(self, role: str = "targets", *, stated: bool = True) -> None:
        metadata = self.targets[role]
        data = self.sign(metadata, self.signers[self._key_of(role)])
        version = metadata.signed.version
        self.files[f"metadata/{version}.{role}.json"] = data
        named = MetaFile.from_data(version, data, ["sha256"]) if stated else MetaFile(version)
        self.snapshot.signed.meta[f"{role}.json"] = named

    def write_snapshot(self, *, stated: bool = True) -> None:
        data = self.sign(self.snapshot, self.signers["snapshot"])
        version = self.snapshot.signed.version
        self.files[f"metadata/{version}.snapshot.json"] = data
        self.timestamp.signed.snapshot_meta = (
            MetaFile.from_data(version, data, ["sha256"]) if stated else MetaFile(version)
        )

    def write_timestamp(self) -> None:
        self.files["metadata/timestamp.json"] = self.sign(self.timestamp, self.signers["timestamp"])

    def publish(self, *roles: str) -> None:
        """All targets roles (or these) signed, then snapshot and timestamp."""
        for role in roles or self.targets:
            self.write_targets(role)
        self.write_snapshot()
        self.write_timestamp()

    def bump(self, *roles: str) -> None:
        """A new version of these roles, of snapshot and timestamp."""
        for metadata in (self.snapshot, self.timestamp, *(self.targets[role] for role in roles)):
            metadata.signed.version += 1
        self.publish(*roles)

    def rotate(self, role: str) -> None:
        """One key of a top-level role replaced in the next root, which old and new root keys sign."""
        old, new = self.signers[role][0], CryptoSigner.generate_ecdsa()
        self.root.signed.revoke_key(old.public_key.keyid, role)
        self.root.signed.add_key(new.public_key, role)
        self.signers[role][0] = new
        self.root.signed.version += 1
        self.write_root(*([old] if role == "root" else []))

    def delegate(
        self, role: str, paths: Sequence[str], by: str = "targets", *, threshold: int = 1, terminating: bool = False
    ) -> None:
        """A new role; `publish` is the caller's."""
        self.signers[role] = [CryptoSigner.generate_ecdsa() for _ in range(threshold)]
        self.targets[role] = Metadata(Targets(expires=self.later))
        signed = self.targets[by].signed
        if signed.delegations is None:
            signed.delegations = Delegations({}, {})
        assert signed.delegations.roles is not None
        signed.delegations.roles[role] = DelegatedRole(role, [], threshold, terminating, list(paths))
        for signer in self.signers[role]:
            signed.add_key(signer.public_key, role)

    def bins(self, by: str, prefix: str, bit_length: int) -> None:
        """Succinct hash bins below a role, signed by a key of their own."""
        self.signers[prefix] = [CryptoSigner.generate_ecdsa()]
        roles = SuccinctRoles([], 1, bit_length, prefix)
        self.targets[by].signed.delegations = Delegations({}, succinct_roles=roles)
        self.targets[by].signed.add_key(self.signers[prefix][0].public_key)
        self.targets |= {role: Metadata(Targets(expires=self.later)) for role in roles.get_roles()}

    def add(self, name: str, data: bytes, role: str = "targets") -> TargetFile:
        """A target; `publish` is the caller's."""
        target = TargetFile.from_data(name, data, ["sha256"])
        self.targets[role].signed.targets[name] = target
        self.files[f"targets/{target.get_prefixed_paths()[0]}"] = data
        return target

    def bin_of(self, by: str, name: str) -> str:
        delegations = self.targets[by].signed.delegations
        assert delegations is not None
        ((role, _),) = delegations.get_roles_for_target(name)
        return role

    def _key_of(self, role: str) -> str:
        return role if role in self.signers else role.rpartition("-")[0]
