"""All metadata of an authored repository: who may sign what, first made, and read back from what is published."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tuf.api.exceptions import LengthOrHashMismatchError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError, SerializationError

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
        delegator = self.delegator(role)
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

    def delegator(self, role: str) -> Root | Targets:
        """Who says who may sign it."""
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
    """What stands there, each role's metadata signed by those who are named for it: nobody signs anew what whoever can
    write to the directory put there.

    Where a rotation was interrupted, all but the root is still signed by keys of the root before. Raises ConfigFault
    `repository-missing` where nothing stands there, StorageFault `repository-damaged`.
    """
    if files.read("metadata/timestamp.json") is None:
        remedy = "name its directory, or make one with `medvouch release init`"
        raise ConfigFault("repository-missing", "there is no repository", remedy=remedy)
    timestamp = _read(files, Timestamp, "timestamp")
    snapshot = _read(files, Snapshot, "snapshot", timestamp.signed.snapshot_meta.version)
    targets = {
        name.removesuffix(".json"): _read(files, Targets, name.removesuffix(".json"), meta.version)
        for name, meta in snapshot.signed.meta.items()
    }
    *before, root = _roots(files)
    state = State(root, snapshot, timestamp, targets)
    interrupted = before and not _signed(root.signed, "timestamp", timestamp)
    _check_signed(replace(state, root=before[-1]) if interrupted else state)
    return state


def _roots(files: MetadataStore) -> list[Metadata[Root]]:
    """All of them, each signed by the one before."""
    roots = [_read(files, Root, "root", 1)]
    while files.read(f"metadata/{len(roots) + 1}.root.json") is not None:
        following = _read(files, Root, "root", len(roots) + 1)
        if not _signed(roots[-1].signed, "root", following):
            raise _damaged(f"{len(roots) + 1}.root.json", "the root before does not vouch for it")
        roots.append(following)
    return roots


def _check_signed(state: State) -> None:
    if missing := {"targets", "releases", "director"} - state.targets.keys():
        raise _damaged("snapshot", f"it does not name {min(missing)}")
    top: dict[str, Metadata[Any]] = {"root": state.root, "snapshot": state.snapshot, "timestamp": state.timestamp}
    for role, metadata in {**top, **state.targets}.items():
        if not _signed(state.delegator(role), role, metadata):
            raise _damaged(role, "too few of those who are named for it have signed it")
    delegations = state.targets["director"].signed.delegations
    if not (delegations and delegations.succinct_roles and set(state.bins.get_roles()) <= state.targets.keys()):
        raise _damaged("director", "not all of its bins are there")


def _signed(delegator: Root | Targets, role: str, metadata: Metadata[Any]) -> bool:
    try:
        return bool(delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures))
    except ValueError:  # it names nobody for the role
        return False


def required(files: MetadataStore, name: str) -> bytes:
    """A file of the repository; StorageFault `repository-damaged` where it is not there."""
    data = files.read(name)
    if data is None:
        raise _damaged(name, "it is missing")
    return data


def published(files: MetadataStore, name: str, target: TargetFile) -> bytes:
    """The contents of a target; StorageFault `repository-damaged` where they are not there, or others."""
    data = required(files, name)
    try:
        target.verify_length_and_hashes(data)
    except LengthOrHashMismatchError as error:
        raise _damaged(name, "it is not what was published") from error
    return data


def _read(files: MetadataStore, kind: type[_Kind], role: str, version: int | None = None) -> Metadata[_Kind]:
    """A role's metadata, of this version where it has one in its name."""
    name = f"{role}.json" if version is None else f"{version}.{role}.json"
    try:
        metadata = Metadata[_Kind].from_bytes(required(files, f"metadata/{name}"))
        signed: object = metadata.signed
        _ = metadata.signed_bytes
    except (DeserializationError, SerializationError) as error:  # what is signed has no fractions
        raise _damaged(name, str(error.__cause__ or error)) from error
    if not isinstance(signed, kind):
        raise _damaged(name, f"it holds {type(signed).__name__}")
    if version not in (None, metadata.signed.version):
        raise _damaged(name, f"it holds version {metadata.signed.version}")
    return metadata


def _damaged(name: str, detail: str) -> StorageFault:
    return StorageFault("repository-damaged", f"{name}: {detail}", remedy="restore the repository from a backup")
