"""The TUF repository that devices update from, as its publisher keeps it (DESIGN §7).

    root 2 of 3 -> targets 1 -> releases 2 of 3, terminating, `releases/*/*`
                             -> director 1, terminating, `directives/*` -> hash bins, signed by the director
                snapshot 1, timestamp 1

The published files are the whole state: `open` reads them back. What is changed is held in memory until `publish`,
which writes contents first, then what names them, timestamp.json last: who reads meanwhile sees the old or the new.

Root and releases may be signed apart: `to_sign` and `next_root` give what is to be signed, and what comes back is taken
by `create`, `publish` and `rotate` where it says the very same (ADR 49). When each target of `releases` was first
published stands beside it, signed by that role.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tuf.api.metadata import Metadata, MetaFile, TargetFile, Targets

from medvouch.crypto.keys import Signer
from medvouch.errors import ConfigFault, InputError, Refusal
from medvouch.formats.directive import directive_name
from medvouch.ports import MetadataStore
from medvouch.release import refusals
from medvouch.release.apart import NONE_APART, RELEASES, ROOT, Documents, add_signature, same_contents
from medvouch.release.tuf_signing import RepositoryKeys, tuf_key
from medvouch.release.tuf_state import THRESHOLDS, State, first_state, published, read_state, required, signing_role
from medvouch.update.metadata import ISSUED, PUBLISHED, published_time, testified_time

TRUST = "trust.cbor"
MAX_BIN_BITS = 14
"""16,384 bins: every one is named in the snapshot, which devices read up to 2 MB of."""

_DAY = 86_400


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

    def __init__(self, files: MetadataStore, keys: RepositoryKeys, periods: Periods, state: State) -> None:
        self._files = files
        self._keys = keys
        self._periods = periods
        self._state = state
        self._contents: dict[str, bytes] = {}
        self._changed: set[str] = set()
        self._undated: set[str] = set()
        """New targets of releases, which do not say yet when they were published."""

    @classmethod
    def create(
        cls,
        files: MetadataStore,
        keys: RepositoryKeys,
        now: int,
        *,
        periods: Periods = Periods(),
        bin_bits: int = 8,
        apart: Documents = NONE_APART,
    ) -> AuthoredRepository:
        """A first version of everything, published: 2 ** `bin_bits` bins of directives. `now` in seconds since 1970.

        Raises ConfigFault `repository-exists`, and `key-missing` where a role has too few keys; Refusal
        `countersigned-*`.
        """
        if files.read("metadata/timestamp.json") is not None:
            raise ConfigFault("repository-exists", "there is a repository already", remedy="name another directory")
        if not 1 <= bin_bits <= MAX_BIN_BITS:
            raise ConfigFault("repository-bins", f"{bin_bits} bits of bins", remedy=f"1 to {MAX_BIN_BITS} are possible")
        repository = cls(files, keys, periods, first_state(keys, bin_bits))
        repository._check_keys(THRESHOLDS.keys() - apart.keys())
        repository._changed |= set(repository._state.targets)
        repository._publish(now, apart, repository._signed_root(now, apart))
        return repository

    @classmethod
    def open(cls, files: MetadataStore, keys: RepositoryKeys, *, periods: Periods = Periods()) -> AuthoredRepository:
        """What stands there. ConfigFault `repository-missing` where nothing does, StorageFault where it is damaged."""
        return cls(files, keys, periods, read_state(files))

    @property
    def root(self) -> bytes:
        """The newest root as it is published: the anchor for new images."""
        return required(self._files, f"metadata/{self.root_version}.root.json")

    @property
    def root_version(self) -> int:
        """Of the newest root."""
        return self._state.root.signed.version

    @property
    def version(self) -> int:
        """Of the newest snapshot."""
        return self._state.snapshot.signed.version

    @property
    def issued(self) -> int:
        """When the timestamp was signed (s since 1970), 0 where it does not say."""
        return testified_time(self._state.timestamp.signed)

    @property
    def until(self) -> int:
        """When devices begin to refuse it as frozen, unless the timestamp is signed anew (s since 1970)."""
        return int(self._state.timestamp.signed.expires.timestamp())

    # --- changes ------------------------------------------------------------------------------------------------------

    def add_release(self, version: str, files: Mapping[str, bytes]) -> Sequence[TargetFile]:
        """List `releases/VERSION/NAME` for each file, in place of what had that name; needs two of `releases`."""
        _plain("version", version)
        return [self._add(RELEASES, f"releases/{version}/{_plain('name', n)}", data) for n, data in files.items()]

    def direct(self, device_id: str, directive: bytes) -> TargetFile:
        """List a device's directive (an encoded `Directive`) in its bin, in place of the last; needs `director`."""
        role, name = self._bin(device_id)
        return self._add(role, name, directive)

    def withdraw(self, device_id: str) -> bool:
        """List no directive for a device any more, and whether there was one; needs `director`."""
        role, name = self._bin(device_id)
        target = self._state.targets[role].signed.targets.pop(name, None)
        if target is None:
            return False
        self._contents.pop(_content(target), None)
        self._changed.add(role)
        return True

    def directive(self, device_id: str) -> bytes | None:
        """A device's directive, published or about to be; StorageFault `repository-damaged` where it is gone."""
        role, name = self._bin(device_id)
        target = self._state.targets[role].signed.targets.get(name)
        return None if target is None else self.contents(target)

    def set_trust(self, document: bytes) -> TargetFile:
        """List the trust document; needs `targets`."""
        return self._add("targets", TRUST, document)

    def release(self, name: str) -> TargetFile | None:
        """A target that `releases` lists, published or about to be."""
        return self._state.targets[RELEASES].signed.targets.get(name)

    def releases(self) -> Sequence[TargetFile]:
        """All targets that `releases` lists, published or about to be."""
        return list(self._state.targets[RELEASES].signed.targets.values())

    def contents(self, target: TargetFile) -> bytes:
        """What was published as a target; StorageFault `repository-damaged` where that is not there any more."""
        name = _content(target)
        data = self._contents.get(name)
        return published(self._files, name, target) if data is None else data

    def rotate(self, keys: RepositoryKeys, now: int, *, apart: Documents = NONE_APART) -> None:
        """A new root that names `keys` for all roles, signed by old and new root keys.

        Signed anew is what others signed till now, what says who may sign, and what there are keys for here.
        Publishes at once, the root last but for the timestamp. Where it is interrupted between these two, devices
        refuse the repository until it is rotated to `keys` again. Raises as `publish` does.
        """
        _check_named(keys)
        old, before = self._state, self._keys
        self._state, self._keys = copy.deepcopy(old), keys
        self._state.name(keys)
        named = {role for role in ("targets", "director") if not _same(old, self._state, role)}
        self._changed |= named | set(self._state.unsigned()) | {r for r in self._state.targets if self._signable(r)}
        self._check_keys(self._signing(apart))
        self._publish(now, apart, self._signed_root(now, apart, (old, before)))

    def publish(self, now: int, *, apart: Documents = NONE_APART) -> None:
        """Sign and write all changes, then snapshot and timestamp, which are new each time.

        Directives' roles are signed anew when half of their time is over, if their key is here. ConfigFault
        `key-missing`, Refusal `countersigned-*` before anything is written.
        """
        self._changed |= set(self._due(now)) | (apart.keys() - {ROOT})
        self._check_keys(self._signing(apart))
        self._publish(now, apart)

    # --- what others sign ---------------------------------------------------------------------------------------------

    def to_sign(self, now: int) -> bytes:
        """The next metadata of `releases`, with all that was added."""
        self._date(now)
        return self._next(RELEASES, self._state.targets[RELEASES], now).to_bytes()

    def next_root(self, keys: RepositoryKeys, now: int) -> bytes:
        """The root that `create` or `rotate` would make with these keys; the old ones' holders sign it, too.

        ConfigFault `key-missing` where too few are named for a role.
        """
        _check_named(keys)
        state = copy.deepcopy(self._state)
        state.name(keys)
        return self._next(ROOT, state.root, now).to_bytes()

    def _next(self, role: str, metadata: Metadata[Any], now: int) -> Metadata[Any]:
        return _following(role, metadata, self._periods, now)

    # --- signing ------------------------------------------------------------------------------------------------------

    def _publish(self, now: int, apart: Documents, root: bytes | None = None) -> None:
        state = self._state
        self._date(now, apart)
        signed = {role: self._signed(role, now, apart.get(role)) for role in sorted(self._changed)}
        for name, data in self._contents.items():
            self._files.write(name, data)
        for name, data in signed.items():
            self._files.write(f"metadata/{state.targets[name].signed.version}.{name}.json", data)
        self._publish_top(now, signed, root)
        self._contents, self._changed, self._undated = {}, set(), set()

    def _date(self, now: int, apart: Documents = NONE_APART) -> None:
        """Say when each new target was first published; where that was signed apart, as it was said there."""
        document = apart.get(RELEASES)
        for name in self._undated:
            given = document.signed.targets.get(name) if document else None
            said = published_time(given) if given else None
            time = said if said is not None and said <= now else now
            self._state.targets[RELEASES].signed.targets[name].unrecognized_fields["custom"] = {PUBLISHED: time}

    def _signing(self, apart: Documents) -> set[str]:
        """Roles whose keys have to be here."""
        return {"snapshot", "timestamp", *map(signing_role, self._changed)} - apart.keys()

    def _signable(self, role: str) -> bool:
        by = signing_role(role)
        return len(_here(self._state, self._keys, by)) >= THRESHOLDS[by]

    def _signed(self, role: str, now: int, document: Metadata[Any] | None) -> bytes:
        """A role below the root, from what came back where somebody signed it apart."""
        metadata = self._state.targets[role]
        if document is None:
            return self._sign(role, metadata, now)
        _check_agreed(role, self._next(role, metadata, now), document, now)
        for signer in _here(self._state, self._keys, role):
            add_signature(document, signer)
        _check_enough(self._state, role, document)
        self._state.targets[role] = document
        return document.to_bytes()

    def _signed_root(self, now: int, apart: Documents, before: tuple[State, RepositoryKeys] | None = None) -> bytes:
        """By enough of the keys that it names, and of those that the root `before` does."""
        states, here = [self._state], self._keys
        if before is not None:
            states, here = [*states, before[0]], replace(here, root=(*here.root, *before[1].root))
        document, root = apart.get(ROOT), self._next(ROOT, self._state.root, now)
        if document is not None:
            _check_agreed(ROOT, root, document, now)
            root = document
        for state in states:
            for signer in _here(state, here, ROOT) if document is not None else _signers(state, here, ROOT):
                add_signature(root, signer)
        for state in states:
            _check_enough(state, ROOT, root)
        self._state = replace(self._state, root=root)
        return root.to_bytes()

    def _publish_top(self, now: int, signed: Mapping[str, bytes], root: bytes | None) -> None:
        state = self._state
        snapshot, timestamp = state.snapshot.signed, state.timestamp.signed
        for name, data in signed.items():
            snapshot.meta[f"{name}.json"] = MetaFile.from_data(state.targets[name].signed.version, data, ["sha256"])
        data = self._sign("snapshot", state.snapshot, now)
        timestamp.snapshot_meta = MetaFile.from_data(snapshot.version, data, ["sha256"])
        timestamp.unrecognized_fields[ISSUED] = now
        self._files.write(f"metadata/{snapshot.version}.snapshot.json", data)
        if root is not None:
            self._files.write(f"metadata/{state.root.signed.version}.root.json", root)
        self._files.write("metadata/timestamp.json", self._sign("timestamp", state.timestamp, now))

    def _bin(self, device_id: str) -> tuple[str, str]:
        """The role that lists a device's directive, and the name of that target."""
        name = directive_name(_plain("device", device_id))
        return self._state.bins.get_role_for_target(name), name

    def _add(self, role: str, name: str, data: bytes) -> TargetFile:
        """What is listed already stays as it is, with when it was published."""
        target, listed = TargetFile.from_data(name, data, ["sha256"]), self._state.targets[role].signed.targets
        if name not in listed or listed[name].hashes != target.hashes:
            listed[name] = target
            self._undated |= {name} if role == RELEASES else set()
        self._changed.add(role)
        self._contents[_content(target)] = data
        return listed[name]

    def _due(self, now: int) -> Iterator[str]:
        if self._keys.director:
            for role, metadata in self._state.targets.items():
                left = metadata.signed.expires.timestamp() - now
                if signing_role(role) == "director" and left < self._periods.director / 2:
                    yield role

    def _sign(self, role: str, metadata: Metadata[Any], now: int) -> bytes:
        by = signing_role(role)
        if metadata.signatures:
            metadata.signed.version += 1
        metadata.signed.expires = _moment(now + getattr(self._periods, by))
        metadata.signatures.clear()
        for signer in _signers(self._state, self._keys, by):
            add_signature(metadata, signer)
        return metadata.to_bytes()

    def _check_keys(self, roles: Iterable[str]) -> None:
        for role in sorted(roles):
            _signers(self._state, self._keys, role)


def first_root(keys: RepositoryKeys, now: int, periods: Periods = Periods()) -> bytes:
    """The root that `create` would make with these keys, to be signed apart beforehand. ConfigFault `key-missing`."""
    _check_named(keys)
    return _following(ROOT, first_state(keys, 1).root, periods, now).to_bytes()


def first_releases(now: int, periods: Periods = Periods()) -> bytes:
    """The metadata of `releases` that `create` would make, likewise: nothing is released yet."""
    return _following(RELEASES, Metadata(Targets()), periods, now).to_bytes()


def _following(role: str, metadata: Metadata[Any], periods: Periods, now: int) -> Metadata[Any]:
    """Its next version, which nobody has signed."""
    following: Metadata[Any] = Metadata(copy.deepcopy(metadata.signed))
    following.signed.version += 1 if metadata.signatures else 0
    following.signed.expires = _moment(now + getattr(periods, role))
    return following


def _here(state: State, keys: RepositoryKeys, role: str) -> list[Signer]:
    """Those that are named for the role, each once."""
    named = state.keyids(role)
    here = {key.keyid: each for each in getattr(keys, role) if (key := tuf_key(each.public_key)).keyid in named}
    return list(here.values())


def _signers(state: State, keys: RepositoryKeys, role: str) -> Sequence[Signer]:
    """The same; ConfigFault `key-missing` where they are too few."""
    if len(signers := _here(state, keys, role)) < THRESHOLDS[role]:
        detail = f"{role} is signed by {THRESHOLDS[role]} of its keys, and {len(signers)} of them are here"
        raise ConfigFault("key-missing", detail, remedy=f"bring the keys that the repository names for {role}")
    return signers


def _check_named(keys: RepositoryKeys) -> None:
    """That nobody signs a root under which a role could never be signed."""
    for role, threshold in THRESHOLDS.items():
        if (named := len(keys.public(role))) < threshold:
            detail = f"{role} is signed by {threshold} of its keys, and {named} of them are named"
            raise ConfigFault("key-missing", detail, remedy=f"name {threshold} keys for {role}, private or public")


def _check_agreed(role: str, following: Metadata[Any], document: Metadata[Any], now: int) -> None:
    """That what was signed apart is what would be signed here."""
    if document.signed.version != following.signed.version:
        detail = f"it is version {document.signed.version}, and {following.signed.version} is next"
        raise Refusal(refusals.COUNTERSIGNED_OTHER, detail, place=role)
    if document.signed.expires <= _moment(now):
        raise Refusal(refusals.COUNTERSIGNED_OTHER, "it has run out before it was published", place=role)
    if document.signed.expires > following.signed.expires + timedelta(days=1):  # of clocks that differ
        raise Refusal(refusals.COUNTERSIGNED_OTHER, "it is good for longer than it may be", place=role)
    if not same_contents(following, document):
        raise Refusal(refusals.COUNTERSIGNED_OTHER, "it names other keys, roles or targets", place=role)


def _check_enough(state: State, role: str, document: Metadata[Any]) -> None:
    if (signed := state.signed_by(role, document)) < THRESHOLDS[role]:
        detail = f"{signed} of the {THRESHOLDS[role]} that it takes"
        raise Refusal(refusals.COUNTERSIGNED_TOO_FEW, detail, place=role)


def _same(one: State, other: State, role: str) -> bool:
    return same_contents(one.targets[role], other.targets[role])


def _content(target: TargetFile) -> str:
    """The file that holds it: one name for one content, so that devices never see half of a change."""
    return f"targets/{target.get_prefixed_paths()[0]}"


def _plain(what: str, text: str) -> str:
    """One component of a target's name."""
    if not text or not text.isascii() or not text.isprintable() or set(text) & set("/ \\%?#*[") or text[0] == ".":
        raise InputError("target-malformed", f"{text!r} is no {what} of a target", remedy="use letters, digits, . - _")
    return text


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
