"""The TUF repository that devices update from, as its publisher keeps it (DESIGN §7).

    root 2 of 3 -> targets 1 -> releases 2 of 3, terminating, `releases/*/*`
                             -> director 1, terminating, `directives/*` -> hash bins, signed by the director
                snapshot 1, timestamp 1

The published files are the whole state: `open` reads them back. What is changed is held in memory until `publish`,
which writes contents first, then what names them, timestamp.json last: who reads meanwhile sees the old or the new.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError

from medvouch.crypto.keys import Signer
from medvouch.errors import ConfigFault, InputError, StorageFault
from medvouch.formats.directive import directive_name
from medvouch.ports import MetadataStore
from medvouch.release.tuf_signing import RepositoryKeys, SigningKey, tuf_key
from medvouch.update.metadata import ISSUED

TOP_LEVEL = ("root", "targets", "snapshot", "timestamp")
THRESHOLDS = {"root": 2, "targets": 1, "releases": 2, "director": 1, "snapshot": 1, "timestamp": 1}
BIN_PREFIX = "directives"
TRUST = "trust.cbor"
MAX_BIN_BITS = 14
"""16,384 bins: every one is named in the snapshot, which devices read up to 2 MB of."""

_DAY = 86_400
_Kind = TypeVar("_Kind", Root, Targets, Snapshot, Timestamp)


@dataclass(frozen=True)
class Periods:
    """For how many seconds what is signed now is good. Roles that are offline get long ones."""

    root: int = 365 * _DAY
    targets: int = 365 * _DAY
    releases: int = 365 * _DAY
    director: int = 90 * _DAY
    snapshot: int = 7 * _DAY
    timestamp: int = 2 * _DAY


class AuthoredRepository:
    """A repository in `files`, with `metadata/` and `targets/`; one process at a time writes it."""

    def __init__(self, files: MetadataStore, keys: RepositoryKeys, periods: Periods, state: _State) -> None:
        self._files = files
        self._keys = keys
        self._periods = periods
        self._state = state
        self._contents: dict[str, bytes] = {}
        self._changed: set[str] = set()

    @classmethod
    def create(
        cls,
        files: MetadataStore,
        keys: RepositoryKeys,
        now: int,
        *,
        periods: Periods = Periods(),
        bin_bits: int = 8,
    ) -> AuthoredRepository:
        """A first version of everything, published: 2 ** `bin_bits` bins of directives. `now` in seconds since 1970.

        Raises ConfigFault `repository-exists`, and `key-missing` where a role has too few keys.
        """
        if files.read("metadata/timestamp.json") is not None:
            raise ConfigFault("repository-exists", "there is a repository already", remedy="name another directory")
        if not 1 <= bin_bits <= MAX_BIN_BITS:
            raise ConfigFault("repository-bins", f"{bin_bits} bits of bins", remedy=f"1 to {MAX_BIN_BITS} are possible")
        repository = cls(files, keys, periods, _first_state(keys, bin_bits))
        repository._check_keys(THRESHOLDS)
        repository._sign_root(now)
        repository._changed |= set(repository._state.targets)
        repository.publish(now)
        return repository

    @classmethod
    def open(cls, files: MetadataStore, keys: RepositoryKeys, *, periods: Periods = Periods()) -> AuthoredRepository:
        """What stands there. ConfigFault `repository-missing` where nothing does, StorageFault where it is damaged."""
        return cls(files, keys, periods, _read_state(files))

    @property
    def root(self) -> bytes:
        """The newest root as it is published: the anchor for new images."""
        return _required(self._files, f"metadata/{self._state.root.signed.version}.root.json")

    @property
    def version(self) -> int:
        """Of the newest snapshot."""
        return self._state.snapshot.signed.version

    # --- changes ------------------------------------------------------------------------------------------------------

    def add_release(self, version: str, files: Mapping[str, bytes]) -> Sequence[TargetFile]:
        """List `releases/VERSION/NAME` for each file, in place of what had that name; needs two of `releases`."""
        _plain("version", version)
        return [self._add("releases", f"releases/{version}/{_plain('name', n)}", data) for n, data in files.items()]

    def direct(self, device_id: str, directive: bytes) -> TargetFile:
        """List a device's directive (an encoded `Directive`) in its bin, in place of the last; needs `director`."""
        name = directive_name(_plain("device", device_id))
        return self._add(self._state.bins.get_role_for_target(name), name, directive)

    def set_trust(self, document: bytes) -> TargetFile:
        """List the trust document; needs `targets`."""
        return self._add("targets", TRUST, document)

    def release(self, name: str) -> TargetFile | None:
        """A target that `releases` lists, published or about to be."""
        return self._state.targets["releases"].signed.targets.get(name)

    def releases(self) -> Sequence[TargetFile]:
        """All targets that `releases` lists, published or about to be."""
        return list(self._state.targets["releases"].signed.targets.values())

    def contents(self, target: TargetFile) -> bytes:
        """What was published as a target; StorageFault `repository-damaged` where that is not there any more."""
        name = f"targets/{target.get_prefixed_paths()[0]}"
        data = self._contents.get(name)
        return _required(self._files, name) if data is None else data

    def rotate(self, keys: RepositoryKeys, now: int) -> None:
        """A new root that names `keys` for all roles, signed by old and new root keys; everything is signed anew.

        Publishes at once. Where that was interrupted, devices refuse the repository until it is opened with `keys` and
        rotated to them again.
        """
        state, old = self._state, self._signers("root")
        _name_keys(state.root.signed, state.targets, keys, state.bins)
        self._keys = keys
        self._check_keys(THRESHOLDS)
        state.root.signed.version += 1
        self._sign_root(now, *old)
        self._changed |= set(state.targets)
        self.publish(now)

    def publish(self, now: int) -> None:
        """Sign and write all changes, then snapshot and timestamp, which are new each time.

        Directives' roles are signed anew when half of their time is over, if their key is here. ConfigFault
        `key-missing` before anything is written.
        """
        state = self._state
        self._changed |= set(self._due(now))
        self._check_keys({"snapshot", "timestamp", *map(_signing_role, self._changed)})
        signed = {role: self._sign(role, state.targets[role], now) for role in sorted(self._changed)}
        for name, data in self._contents.items():
            self._files.write(name, data)
        for name, data in signed.items():
            self._files.write(f"metadata/{state.targets[name].signed.version}.{name}.json", data)
        self._publish_top(now, signed)
        self._contents, self._changed = {}, set()

    # --- signing ------------------------------------------------------------------------------------------------------

    def _publish_top(self, now: int, signed: Mapping[str, bytes]) -> None:
        state = self._state
        snapshot, timestamp = state.snapshot.signed, state.timestamp.signed
        for name, data in signed.items():
            snapshot.meta[f"{name}.json"] = MetaFile.from_data(state.targets[name].signed.version, data, ["sha256"])
        data = self._sign("snapshot", state.snapshot, now)
        timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, data, ["sha256"])
        timestamp.unrecognized_fields[ISSUED] = now
        self._files.write(f"metadata/{snapshot.version}.snapshot.json", data)
        self._files.write("metadata/timestamp.json", self._sign("timestamp", state.timestamp, now))

    def _add(self, role: str, name: str, data: bytes) -> TargetFile:
        target = TargetFile.from_data(name, data, ["sha256"])
        self._state.targets[role].signed.targets[name] = target
        self._changed.add(role)
        self._contents[f"targets/{target.get_prefixed_paths()[0]}"] = data
        return target

    def _due(self, now: int) -> Iterator[str]:
        if self._keys.director:
            for role, metadata in self._state.targets.items():
                left = metadata.signed.expires.timestamp() - now
                if _signing_role(role) == "director" and left < self._periods.director / 2:
                    yield role

    def _sign(self, role: str, metadata: Metadata[Any], now: int) -> bytes:
        by = _signing_role(role)
        if metadata.signatures:
            metadata.signed.version += 1
        metadata.signed.expires = _moment(now + getattr(self._periods, by))
        return _signed_by(metadata, self._signers(by))

    def _sign_root(self, now: int, *others: Signer) -> None:
        root = self._state.root
        root.signed.expires = _moment(now + self._periods.root)
        data = _signed_by(root, (*others, *self._signers("root")))
        self._files.write(f"metadata/{root.signed.version}.root.json", data)

    def _check_keys(self, roles: Iterable[str]) -> None:
        for role in roles:
            self._signers(role)

    def _signers(self, role: str) -> Sequence[Signer]:
        """Those that the repository names for the role; ConfigFault `key-missing` where they are too few."""
        named = self._state.keyids(role)
        signers = {key.keyid: each for each in getattr(self._keys, role) if (key := tuf_key(each)).keyid in named}
        if len(signers) < THRESHOLDS[role]:
            detail = f"{role} is signed by {THRESHOLDS[role]} of its keys, and {len(signers)} of them are here"
            raise ConfigFault("key-missing", detail, remedy=f"bring the keys that the repository names for {role}")
        return list(signers.values())


@dataclass(frozen=True)
class _State:
    """All metadata, as last signed; `targets` by role, delegated ones too."""

    root: Metadata[Root]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]
    targets: dict[str, Metadata[Targets]]

    @property
    def bins(self) -> SuccinctRoles:
        delegations = self.targets["director"].signed.delegations
        assert delegations is not None
        assert delegations.succinct_roles is not None
        return delegations.succinct_roles

    def keyids(self, role: str) -> Collection[str]:
        """Who may sign it."""
        if role in TOP_LEVEL:
            return self.root.signed.roles[role].keyids
        return self.targets["targets"].signed.get_delegated_role(role).keyids


def _first_state(keys: RepositoryKeys, bin_bits: int) -> _State:
    root = Root(consistent_snapshot=True)
    bins = SuccinctRoles([], 1, bin_bits, BIN_PREFIX)
    targets = {role: Targets() for role in ("targets", "releases", "director", *bins.get_roles())}
    metadata = {role: Metadata(signed) for role, signed in targets.items()}
    _name_keys(root, metadata, keys, bins)
    return _State(Metadata(root), Metadata(Snapshot(meta={})), Metadata(Timestamp()), metadata)


def _name_keys(root: Root, targets: Mapping[str, Metadata[Targets]], keys: RepositoryKeys, bins: SuccinctRoles) -> None:
    """Write who may sign what into root, targets and director."""
    of = {role: {key.keyid: key for key in map(tuf_key, signers)} for role, signers in keys.named()}
    root.keys = {keyid: key for role in TOP_LEVEL for keyid, key in of[role].items()}
    root.roles = {role: Role(list(of[role]), THRESHOLDS[role]) for role in TOP_LEVEL}
    delegated = [
        DelegatedRole("releases", list(of["releases"]), THRESHOLDS["releases"], True, ["releases/*/*"]),
        DelegatedRole("director", list(of["director"]), THRESHOLDS["director"], True, ["directives/*"]),
    ]
    targets["targets"].signed.delegations = Delegations(
        {**of["releases"], **of["director"]}, {role.name: role for role in delegated}
    )
    binned = SuccinctRoles(list(of["director"]), THRESHOLDS["director"], bins.bit_length, bins.name_prefix)
    targets["director"].signed.delegations = Delegations(of["director"], succinct_roles=binned)


def _read_state(files: MetadataStore) -> _State:
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
    return _State(_read(files, Root, f"{version}.root.json"), snapshot, timestamp, targets)


def _read(files: MetadataStore, kind: type[_Kind], name: str) -> Metadata[_Kind]:
    try:
        metadata = Metadata[_Kind].from_bytes(_required(files, f"metadata/{name}"))
        signed: object = metadata.signed
    except DeserializationError as error:
        raise _damaged(name, str(error.__cause__ or error)) from error
    if not isinstance(signed, kind):
        raise _damaged(name, f"it holds {type(signed).__name__}")
    return metadata


def _required(files: MetadataStore, name: str) -> bytes:
    data = files.read(name)
    if data is None:
        raise _damaged(name, "it is missing")
    return data


def _signing_role(role: str) -> str:
    """Bins are signed by the director."""
    return "director" if role.startswith(f"{BIN_PREFIX}-") else role


def _signed_by(metadata: Metadata[Any], signers: Sequence[Signer]) -> bytes:
    metadata.signatures.clear()
    for signer in map(SigningKey, signers):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


def _plain(what: str, text: str) -> str:
    """One component of a target's name."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set("/ \\%?#*[") or text[0] == ".":
        raise InputError("target-malformed", f"{text!r} is no {what} of a target", remedy="use letters, digits, . - _")
    return text


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _damaged(name: str, detail: str) -> StorageFault:
    return StorageFault("repository-damaged", f"{name}: {detail}", remedy="restore the repository from a backup")
