"""The TUF client workflow (specification 1.0, section 5) over the ports: what the repository says may be installed.

Everything that has been verified is stored before it counts, so a power cut at any point leaves a state from which the
next refresh goes on, and none older than the last one verified.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from urllib.parse import quote

from tuf.api.metadata import MetaFile, Root, TargetFile, Targets

from medvouch.errors import InputError, NetworkFault, Refusal
from medvouch.formats.tuf_versions import NONE_SEEN, Versions
from medvouch.ports import Fetcher, MetadataStore
from medvouch.update import metadata, refusals
from medvouch.update.metadata import Delegator, TrustedMetadata
from medvouch.update.payload import bounded

MAX_ROOT_BYTES = 512_000
MAX_TIMESTAMP_BYTES = 16 << 10
MAX_SNAPSHOT_BYTES = 2_000_000
MAX_TARGETS_BYTES = 5_000_000
MAX_ROTATIONS = 64
"""New roots in one refresh; more are for the next."""
MAX_DELEGATIONS = 32
"""Roles visited in one search (5.6.7.1)."""
MAX_TRUST_BYTES = 4 << 20

TRUST = "trust.cbor"
"""The target, of the top-level role alone, that holds the trust document."""


@dataclass(frozen=True)
class _Verified:
    """What one refresh verified, and the targets roles by the path of delegations that leads to them."""

    trusted: TrustedMetadata
    targets: dict[tuple[str, ...], Targets]


class Repository:
    """One TUF repository at `base_url`, with `metadata/` and `targets/` below it.

    `root` is the anchor that the image carries: the stored roots count only as a chain from it. `now` is asked once a
    refresh (seconds since 1970, already made trustworthy). `floor`: lower versions are refused, whatever is stored.

    A root above the floor's that revokes keys of timestamp or snapshot takes the floor of snapshot and targets away:
    whoever had those keys may have named versions that nobody ever reaches (5.3.11).
    """

    def __init__(
        self,
        base_url: str,
        fetcher: Fetcher,
        store: MetadataStore,
        now: Callable[[], int],
        root: bytes,
        *,
        floor: Versions = NONE_SEEN,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._fetcher = fetcher
        self._store = store
        self._now = now
        self._anchor = root
        self._floor = floor
        self._verified: _Verified | None = None

    # --- refresh ------------------------------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Bring all top-level metadata up to date. Raises NetworkFault, StorageFault, InputError `metadata-*`, Refusal.

        After a failed one nothing can be looked up: what was valid before it may have run out.
        """
        self._verified = None
        trusted = TrustedMetadata(self._anchor, self._now())
        floor = self._follow_roots(trusted)
        self._check_floor("root", trusted.root.version, floor.root)
        self._load_timestamp(trusted, floor)
        self._load_snapshot(trusted)
        targets = self._load_targets(trusted, "targets", trusted.root)
        self._check_floor("targets", targets.version, floor.targets)
        self._verified = _Verified(trusted, {("targets",): targets})

    @property
    def versions(self) -> Versions:
        """What the last refresh verified, to be remembered in NV."""
        trusted, targets = self._current.trusted, self._current.targets["targets",]
        return Versions(trusted.root.version, targets.version, trusted.snapshot.version)

    @property
    def testified_time(self) -> int:
        """When the timestamp of the last refresh was issued (s since 1970), 0 where it does not say: now is later."""
        return metadata.testified_time(self._current.trusted.timestamp)

    @property
    def _current(self) -> _Verified:
        assert self._verified is not None, "refresh() comes first"
        return self._verified

    def _follow_roots(self, trusted: TrustedMetadata) -> Versions:
        """5.3: from the anchor along the stored roots, then along the repository's, until there is no next one.

        The floor that holds under the last of them.
        """
        floor = self._floor
        while stored := self._store.read(f"{trusted.root.version + 1}.root.json"):
            try:
                floor = self._below(floor, trusted, revoked=trusted.update_root(stored))
            except (InputError, Refusal):
                break
        for _ in range(MAX_ROTATIONS):
            name = f"{trusted.root.version + 1}.root.json"
            try:
                data = self._fetch_metadata(name, MAX_ROOT_BYTES)
            except NetworkFault as fault:
                if fault.code != "fetch-not-found":
                    raise
                break
            if revoked := trusted.update_root(data):
                self._forget_the_past()
            floor = self._below(floor, trusted, revoked=revoked)
            self._store.write(name, data)
        trusted.check_root()
        return floor

    def _below(self, floor: Versions, trusted: TrustedMetadata, *, revoked: bool) -> Versions:
        return Versions(root=floor.root) if revoked and trusted.root.version > self._floor.root else floor

    def _forget_the_past(self) -> None:
        """5.3.11: keys were revoked, perhaps since somebody used them to name versions that nobody ever reaches."""
        for name in ("timestamp.json", "snapshot.json"):
            self._store.remove(name)

    def _load_timestamp(self, trusted: TrustedMetadata, floor: Versions) -> None:
        if stored := self._store.read("timestamp.json"):
            with suppress(InputError, Refusal):
                trusted.seen_timestamp(stored)
        data = self._fetch_metadata("timestamp.json", MAX_TIMESTAMP_BYTES)
        newer = trusted.update_timestamp(data)
        self._check_floor("snapshot", trusted.timestamp.snapshot_meta.version, floor.snapshot)
        if newer:
            self._store.write("timestamp.json", data)

    def _load_snapshot(self, trusted: TrustedMetadata) -> None:
        if stored := self._store.read("snapshot.json"):
            with suppress(InputError, Refusal):
                trusted.seen_snapshot(stored)
                trusted.update_snapshot(stored)
                return
        named = trusted.timestamp.snapshot_meta
        data = self._fetch_named(trusted.root, "snapshot.json", named, MAX_SNAPSHOT_BYTES)
        trusted.update_snapshot(data)
        self._store.write("snapshot.json", data)

    def _load_targets(self, trusted: TrustedMetadata, role: str, delegator: Delegator) -> Targets:
        name, named = metadata.file_name(role), trusted.named(role)
        if stored := self._store.read(name):
            with suppress(InputError, Refusal):
                return trusted.update_targets(stored, role, delegator)
        data = self._fetch_named(trusted.root, metadata.url_name(role), named, MAX_TARGETS_BYTES)
        targets = trusted.update_targets(data, role, delegator)
        self._store.write(name, data)
        return targets

    def _check_floor(self, role: str, version: int, floor: int) -> None:
        if version < floor:
            detail = f"{role} has version {version}, and {floor} is remembered"
            raise Refusal(refusals.REPOSITORY_ROLLED_BACK, detail, place=role)

    # --- looking up ---------------------------------------------------------------------------------------------------

    def target(self, name: str) -> TargetFile | None:
        """The target that the delegations lead to (5.6.7), or None."""
        return self._search(("targets",), name)

    def role_target(self, role: str, name: str, *, below: bool = False) -> TargetFile | None:
        """The target as `role` lists it, whatever others say: `targets`, or a role that `targets` delegates `name` to.

        `below`: the roles to which it delegates may answer for it.
        """
        path = ("targets",) if role == "targets" else ("targets", role)
        if role != "targets" and role not in dict(_responsible(self._targets(("targets",)), name)):
            return None
        return self._search(path, name) if below else self._targets(path).targets.get(name)

    def trust(self) -> bytes:
        """The trust document as the top-level role signed it. Refusal `target-unknown` where there is none."""
        target = self.role_target("targets", TRUST)
        if target is None:
            raise Refusal(refusals.TARGET_UNKNOWN, f"the repository has no {TRUST}", place=TRUST)
        return self.download(target, MAX_TRUST_BYTES)

    def download(self, target: TargetFile, limit: int) -> bytes:
        """Its contents, verified. InputError `metadata-limit` over `limit` bytes, Refusal `target-mismatch`."""
        if target.length > limit:
            raise _over_limit(target.path, limit)
        data = self._fetch(self.url(target), target.length + 1)
        metadata.check_target(target, data)
        return data

    def url(self, target: TargetFile) -> str:
        """Where it stands; under its hash where snapshots are consistent (5.7.3)."""
        path = target.path
        if self._current.trusted.root.consistent_snapshot:
            folder, slash, name = path.rpartition("/")
            path = f"{folder}{slash}{next(iter(target.hashes.values()))}.{name}"
        return f"{self._base_url}/targets/{quote(path, safe='/')}"

    def _search(self, start: tuple[str, ...], name: str) -> TargetFile | None:
        """Pre-order, depth first, each role once; a terminating delegation ends it (5.6.7)."""
        waiting, visited = [start], set[str]()
        while waiting and len(visited) < MAX_DELEGATIONS:
            path = waiting.pop()
            if path[-1] in visited:
                continue
            visited.add(path[-1])
            targets = self._targets(path)
            if name in targets.targets:
                return targets.targets[name]
            children = []
            for role, terminating in _responsible(targets, name):
                children.append((*path, role))
                if terminating:
                    waiting.clear()
                    break
            waiting += reversed(children)
        return None

    def _targets(self, path: tuple[str, ...]) -> Targets:
        known = self._current.targets
        if path not in known:
            known[path] = self._load_targets(self._current.trusted, path[-1], self._targets(path[:-1]))
        return known[path]

    # --- fetching -----------------------------------------------------------------------------------------------------

    def _fetch_named(self, root: Root, name: str, named: MetaFile, limit: int) -> bytes:
        """What a parent names; one byte more than it states is enough to know that it is another file."""
        name = f"{named.version}.{name}" if root.consistent_snapshot else name
        if named.length is None:
            return self._fetch_metadata(name, limit)
        if named.length > limit:
            raise _over_limit(name, limit)
        return self._fetch(f"{self._base_url}/metadata/{name}", named.length + 1)

    def _fetch_metadata(self, name: str, limit: int) -> bytes:
        data = self._fetch(f"{self._base_url}/metadata/{name}", limit + 1)
        if len(data) > limit:
            raise _over_limit(name, limit)
        return data

    def _fetch(self, url: str, enough: int) -> bytes:
        """All of it, or its first `enough` bytes."""
        with closing(self._fetcher.fetch(url)) as chunks:
            return bounded(chunks, enough)


def _responsible(targets: Targets, name: str) -> Iterator[tuple[str, bool]]:
    """Roles to which a name is delegated, and whether that ends the search."""
    return iter(()) if targets.delegations is None else targets.delegations.get_roles_for_target(name)


def _over_limit(name: str, limit: int) -> InputError:
    return InputError("metadata-limit", f"{name} is larger than {limit} bytes", place=name)
