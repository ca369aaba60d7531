"""TUF metadata and what makes it trusted: the checks of the TUF specification 1.0, sections 5.3 to 5.6. No I/O.

The names of the steps are the specification's. Nothing of tuf escapes: InputError `metadata-malformed` where bytes are
no such metadata, else Refusal. Three things are stricter than in tuf itself: a threshold counts keys, not key ids; at
least one hash that is stated has to be SHA-256 or better; the time is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TypeVar
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from tuf.api.metadata import Key, Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp
from tuf.api.serialization import DeserializationError, SerializationError

from medvouch.crypto.keys import PublicKey, spki
from medvouch.errors import InputError, Refusal
from medvouch.update import refusals

MAX_ROLE_NAME = 160
"""Characters of a role's name once escaped, so that it is a file name everywhere."""
ISSUED = "x-medvouch-issued"
"""Our field of the timestamp: when it was signed (s since 1970)."""

PUBLISHED = "published"
"""Our custom member of a target of a release: when it was first published (s since 1970)."""

_STRONG = frozenset({"sha256", "sha384", "sha512"})

Delegator = Root | Targets
Role = TypeVar("Role", Root, Timestamp, Snapshot, Targets)


class TrustedMetadata:
    """What has been verified so far, from `anchor` (a root that is trusted as it is), judged at `now` (s since 1970).

    Calls come in the order of the workflow: roots, timestamp, snapshot, targets. `seen_*` take what was verified in an
    earlier refresh and serve only to notice a rollback.
    """

    def __init__(self, anchor: bytes, now: int) -> None:
        self._now = now
        metadata = _parse(Root, "root", anchor)
        self.root = metadata.signed
        _check_signatures(self.root, "root", metadata)
        self._timestamp: Timestamp | None = None
        self._seen_snapshot: Snapshot | None = None
        self._snapshot: Snapshot | None = None

    # --- root (5.3) ---------------------------------------------------------------------------------------------------

    def update_root(self, data: bytes) -> bool:
        """The next root; whether it revokes keys of timestamp or snapshot, so that their past no longer counts."""
        metadata, old = _parse(Root, "root", data), self.root
        _check_signatures(old, "root", metadata)  # 5.3.4, by the old keys and by the new
        _check_signatures(metadata.signed, "root", metadata)
        _check_version("root", metadata.signed.version, old.version + 1)  # 5.3.5
        self.root = metadata.signed
        return any(_keys(old, role) - _keys(self.root, role) for role in ("timestamp", "snapshot"))  # 5.3.11

    def check_root(self) -> None:
        """5.3.10: the last root has not expired."""
        self._check_expiry("root", self.root)

    # --- timestamp (5.4) ----------------------------------------------------------------------------------------------

    @property
    def timestamp(self) -> Timestamp:
        """Verified."""
        assert self._timestamp is not None
        return self._timestamp

    def seen_timestamp(self, data: bytes) -> None:
        """What an earlier refresh accepted."""
        self._timestamp = self._verified(Timestamp, "timestamp", data)

    def update_timestamp(self, data: bytes) -> bool:
        """Whether it is newer than the one seen."""
        new, old = self._verified(Timestamp, "timestamp", data), self._timestamp  # 5.4.2
        newer = old is None or new.version > old.version
        if old is not None:  # 5.4.3
            _check_not_lower("timestamp", new.version, old.version)
            if newer:
                _check_not_lower("timestamp's snapshot", new.snapshot_meta.version, old.snapshot_meta.version)
        current = new if old is None or newer else old
        if self._now >= _expires(current):  # 5.4.4
            raise Refusal(refusals.REPOSITORY_FROZEN, f"the timestamp expired at {current.expires:%Y-%m-%d %H:%M:%S}")
        self._timestamp = current
        return newer

    # --- snapshot (5.5) -----------------------------------------------------------------------------------------------

    @property
    def snapshot(self) -> Snapshot:
        """Verified."""
        assert self._snapshot is not None
        return self._snapshot

    def seen_snapshot(self, data: bytes) -> None:
        """What an earlier refresh accepted."""
        self._seen_snapshot = self._verified(Snapshot, "snapshot", data)

    def update_snapshot(self, data: bytes) -> None:
        """The snapshot that the timestamp names."""
        named = self.timestamp.snapshot_meta
        _check_named("snapshot", named, data)  # 5.5.2
        new = self._verified(Snapshot, "snapshot", data)  # 5.5.3
        _check_same_version("snapshot", new.version, named.version)  # 5.5.4
        for name, old in self._seen_snapshot.meta.items() if self._seen_snapshot else ():  # 5.5.5
            if name not in new.meta:
                raise Refusal(refusals.REPOSITORY_ROLLED_BACK, f"the snapshot no longer names {name}", place=name)
            _check_not_lower(name, new.meta[name].version, old.version)
        self._check_expiry("snapshot", new)  # 5.5.6
        self._snapshot = new

    # --- targets (5.6) ------------------------------------------------------------------------------------------------

    def named(self, role: str) -> MetaFile:
        """How the snapshot names a targets role; Refusal `metadata-mismatch` where it does not."""
        found = self.snapshot.meta.get(f"{role}.json")
        if found is None:
            raise Refusal(refusals.METADATA_MISMATCH, f"the snapshot does not name {role}.json", place=role)
        return found

    def update_targets(self, data: bytes, role: str, delegator: Delegator) -> Targets:
        """The top-level targets by `root`, or a role that verified targets delegate to."""
        named = self.named(role)
        _check_named(role, named, data)  # 5.6.2
        metadata = _parse(Targets, role, data)
        _check_signatures(delegator, role, metadata)  # 5.6.3
        _check_same_version(role, metadata.signed.version, named.version)  # 5.6.4
        self._check_expiry(role, metadata.signed)  # 5.6.5
        return metadata.signed

    def _verified(self, kind: type[Role], role: str, data: bytes) -> Role:
        metadata = _parse(kind, role, data)
        _check_signatures(self.root, role, metadata)
        return metadata.signed

    def _check_expiry(self, role: str, signed: Root | Snapshot | Targets) -> None:
        if self._now >= _expires(signed):
            detail = f"{role} expired at {signed.expires:%Y-%m-%d %H:%M:%S} UTC"
            raise Refusal(refusals.METADATA_EXPIRED, detail, place=role)


def check_target(target: TargetFile, data: bytes) -> None:
    """Refusal `target-mismatch` where `data` is not what was signed."""
    if not _fits(data, target.length, target.hashes):
        detail = f"{len(data)} bytes are not the {target.length} that were signed"
        raise Refusal(refusals.TARGET_MISMATCH, detail, place=target.path)


def url_name(role: str) -> str:
    """A role's metadata file in a URL, whatever the role is called; InputError `metadata-limit` if that is too long."""
    escaped = quote(role, safe="")
    if len(escaped) > MAX_ROLE_NAME:
        raise InputError("metadata-limit", f"a role's name of {len(role)} characters", place=role)
    return f"{escaped}.json"


def file_name(role: str) -> str:
    """A role's metadata file in the store: no role's is hidden, above the folder, or one of the roots (`2.root`)."""
    return f"{url_name(role).removesuffix('.json').replace('.', '%2E')}.json"


def testified_time(timestamp: Timestamp) -> int:
    """When the timestamp says it was issued, in seconds since 1970; 0 where it does not say, or is at odds with itself.

    The field is ours and signed; other repositories do not have it, and then the time they testify is unknown.
    """
    issued = timestamp.unrecognized_fields.get(ISSUED)
    if isinstance(issued, bool) or not isinstance(issued, int):
        return 0
    return issued if 0 <= issued < _expires(timestamp) else 0


def published_time(target: TargetFile) -> int | None:
    """When a release's target was first published, as who signed it says; None where that is not said."""
    custom = target.custom
    said = custom.get(PUBLISHED) if isinstance(custom, dict) else None
    return said if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else None


def _parse(kind: type[Role], role: str, data: bytes) -> Metadata[Role]:
    try:
        metadata = Metadata[Role].from_bytes(data)
        signed: object = metadata.signed
    except DeserializationError as error:
        raise _malformed(role, str(error.__cause__ or error)) from error
    if not isinstance(signed, kind):
        raise _malformed(role, f"{type(signed).__name__} where {kind.__name__} is wanted")
    if isinstance(signed.version, bool) or not isinstance(signed.version, int):
        raise _malformed(role, "the version is no whole number")
    return metadata


def _check_signatures(delegator: Delegator, role: str, metadata: Metadata[Role]) -> None:
    """Valid signatures of `threshold` different keys: one key under two ids is one key."""
    try:
        result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    except SerializationError as error:
        raise _malformed(role, str(error.__cause__ or error)) from error
    signed = len({_identity(key) for key in result.signed.values()})
    if signed < result.threshold:
        detail = f"{role} is signed by {signed} of the {result.threshold} keys that it takes"
        raise Refusal(refusals.METADATA_UNTRUSTED, detail, place=role)


def _keys(root: Root, role: str) -> frozenset[bytes]:
    keys = (root.keys.get(keyid) for keyid in root.roles[role].keyids)
    return frozenset(_identity(key) for key in keys if key)


def _identity(key: Key) -> bytes:
    """What two ids of one key have in common; of a key that cannot be read, and so verifies nothing, its text."""
    public = str(key.keyval.get("public"))
    with suppress(ValueError, UnsupportedAlgorithm):
        if "BEGIN" not in public:
            return bytes.fromhex(public)
        loaded = load_pem_public_key(public.encode())
        if isinstance(loaded, PublicKey):
            return spki(loaded)
    return public.encode()


def _check_named(role: str, named: MetaFile, data: bytes) -> None:
    if not _fits(data, named.length, named.hashes):
        raise Refusal(refusals.METADATA_MISMATCH, f"{role} is not the file that its parent names", place=role)


def _fits(data: bytes, length: int | None, hashes: Mapping[str, str] | None) -> bool:
    """Length and hashes where stated; hashes that nobody here knows or believes are passed over, all must not be so."""
    if length is not None and len(data) != length:
        return False
    strong = {name: value for name, value in (hashes or {}).items() if name in _STRONG}
    return (not hashes or bool(strong)) and all(
        hashlib.new(name, data).hexdigest() == value.lower() for name, value in strong.items()
    )


def _check_version(role: str, version: int, wanted: int) -> None:
    _check_not_lower(role, version, wanted)
    _check_same_version(role, version, wanted)


def _check_not_lower(role: str, version: int, seen: int) -> None:
    if version < seen:
        detail = f"{role} has version {version}, and {seen} has been reached"
        raise Refusal(refusals.REPOSITORY_ROLLED_BACK, detail, place=role)


def _check_same_version(role: str, version: int, wanted: int) -> None:
    if version != wanted:
        detail = f"{role} has version {version} where {wanted} is named"
        raise Refusal(refusals.METADATA_MISMATCH, detail, place=role)


def _expires(signed: Root | Timestamp | Snapshot | Targets) -> int:
    return int(signed.expires.timestamp())


def _malformed(role: str, detail: str) -> InputError:
    return InputError("metadata-malformed", f"no {role} metadata: {detail}", place=role)
