"""All metadata of an authored repository: who may sign what, first made, and read back from what is published."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from medvouch.errors import ConfigFault, StorageFault
from medvouch.ports import MetadataStore
from medvouch.release.tuf_signing import RepositoryKeys

TOP_LEVEL = ("root", "targets", "snapshot", "timestamp")
THRESHOLDS = {"root": 2, "targets": 1, "releases": 2, "director": 1, "snapshot": 1, "timestamp": 1}
BIN_PREFIX = "directives"

_Kind = TypeVar("_Kind", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class State:
    """All metadata, as last signed; `targets` by role, delegated ones too."""

    root: Metadata[Root]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    targets: dict[str, Metadata[Targets]]

    @property
    def bins(self) -> SuccinctRoles:
        """Of directives."""
        delegations = self.targets["director"].signed.delegations
        assert delegations is not None
        assert delegations.succinct_roles is not None
        return delegations.succinct_roles

    def keyids(self, role: str) -> Collection[str]:
        """Who may sign it."""
        if role in TOP_LEVEL:
            return self.root.signed.roles[role].keyids
        return self.targets["targets"].signed.get_delegated_role(role).keyids

    def signed_by(self, role: str, metadata: Metadata[Any]) -> int:
        """How many of the keys that are named for the role have signed it."""
        delegator = self._delegator(role)
        return len(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures).signed)

    def unsigned(self) -> Iterator[str]:
        """Roles below the root whose metadata is not signed by as many of the keys that are named for it now."""
        for role, metadata in self.targets.items():
            if self.signed_by(role, metadata) < THRESHOLDS[signing_role(role)]:
                yield role

    def name(self, keys: RepositoryKeys) -> None:
        """Write who may sign what into root, targets and director."""
        of = {role: keys.public(role) for role in THRESHOLDS}
        root, targets, bins = self.root.signed, self.targets["targets"].signed, self.bins
        root.keys = {keyid: key for role in TOP_LEVEL for keyid, key in of[role].items()}
        root.roles = {role: Role(list(of[role]), THRESHOLDS[role]) for role in TOP_LEVEL}
        delegated = [
            DelegatedRole("releases", list(of["releases"]), THRESHOLDS["releases"], True, ["releases/*/*"]),
            DelegatedRole("director", list(of["director"]), THRESHOLDS["director"], True, ["directives/*"]),
        ]
        both = {**of["releases"], **of["director"]}
        targets.delegations = Delegations(both, {role.name: role for role in delegated})
        binned = SuccinctRoles(list(of["director"]), THRESHOLDS["director"], bins.bit_length, bins.name_prefix)
        self.targets["director"].signed.delegations = Delegations(of["director"], succinct_roles=binned)

    def _delegator(self, role: str) -> Root | Targets:
        if role in TOP_LEVEL:
            return self.root.signed
        return self.targets["director" if role.startswith(f"{BIN_PREFIX}-") else "targets"].signed


def signing_role(role: str) -> str:
    """Bins are signed by the director."""
    return "director" if role.startswith(f"{BIN_PREFIX}-") else role


def first_state(keys: RepositoryKeys, bin_bits: int) -> State:
    """Nothing in it, and nobody has signed it."""
    bins = SuccinctRoles([], 1, bin_bits, BIN_PREFIX)
    targets = {role: Metadata(Targets()) for role in ("targets", "releases", "director", *bins.get_roles())}
    targets["director"].signed.delegations = Delegations({}, succinct_roles=bins)
    state = State(Metadata(Root(consistent_snapshot=True)), Metadata(Snapshot(meta={})), Metadata(Timestamp()), targets)
    state.name(keys)
    return state


def read_state(files: MetadataStore) -> State:
    """What stands there. ConfigFault `repository-missing` where nothing does, StorageFault where it is damaged."""
    if files.read("metadata/timestamp.json") is None:
        remedy = "name its directory, or make one with `medvouch release init`"
        raise ConfigFault("repository-missing", "there is no repository", remedy=remedy)
    timestamp = _read(files, Timestamp, "timestamp.json")
    snapshot = _read(files, Snapshot, f"{timestamp.signed.snapshot_meta.version}.snapshot.json")
    targets = {
        name.removesuffix(".json"): _read(files, Targets, f"{meta.version}.{name}")
        for name, meta in snapshot.signed.meta.items()
    }
    version = 1
    while files.read(f"metadata/{version + 1}.root.json") is not None:
        version += 1
    return State(_read(files, Root, f"{version}.root.json"), snapshot, timestamp, targets)


def required(files: MetadataStore, name: str) -> bytes:
    """A file of the repository; StorageFault `repository-damaged` where it is not there."""
    data = files.read(name)
    if data is None:
        raise _damaged(name, "it is missing")
    return data


def _read(files: MetadataStore, kind: type[_Kind], name: str) -> Metadata[_Kind]:
    try:
        metadata = Metadata[_Kind].from_bytes(required(files, f"metadata/{name}"))
        signed: object = metadata.signed
    except DeserializationError as error:
        raise _damaged(name, str(error.__cause__ or error)) from error
    if not isinstance(signed, kind):
        raise _damaged(name, f"it holds {type(signed).__name__}")
    return metadata


def _damaged(name: str, detail: str) -> StorageFault:
    return StorageFault("repository-damaged", f"{name}: {detail}", remedy="restore the repository from a backup")
