"""What the cores need of the world, as protocols; `adapters` holds the real ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NewType, Protocol

from medvouch.errors import EnvironmentFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.floor import FloorApproval
from medvouch.formats.tpm import ClockInfo, PcrSelection, SignedAttest

KeyHandle = NewType("KeyHandle", int)
"""A key that the Tpm holds loaded or persistent; only meaningful to the adapter that returned it."""


@dataclass(frozen=True)
class CreatedKey:
    """A key or sealed data, made by TPM2_Create: `public` is a TPMT_PUBLIC, `private` the wrapped TPM2B_PRIVATE."""

    public: bytes
    private: bytes


class Tpm(Protocol):
    """The TPM 2.0 commands that medvouch needs. Blocking; one thread owns it. All failures raise TpmFault."""

    def meanwhile(self, work: Callable[[], None]) -> AbstractContextManager[None]:
        """`work` is done once: where it can be, while the TPM is at the first command within.

        It must not use the TPM; what it raises is raised at the end.
        """
        ...

    def pcr_read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        """TPM2_PCR_Read, repeated until all of `selection` is read."""
        ...

    def pcr_extend(self, pcr: int, digests: Mapping[HashAlg, bytes]) -> None:
        """TPM2_PCR_Extend."""
        ...

    def quote(self, key: KeyHandle, qualifying_data: bytes, selection: PcrSelection) -> SignedAttest:
        """TPM2_Quote with the key's own scheme."""
        ...

    def certify(self, subject: KeyHandle, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        """TPM2_Certify of `subject` by `key`; for IDevID and IAK as `subject` their templates' policy is satisfied."""
        ...

    def sign(self, key: KeyHandle, digest: bytes) -> bytes:
        """TPM2_Sign of a SHA-256 digest by an unrestricted ECDSA P-256 key: r || s, each left-padded to 32 bytes."""
        ...

    def create_primary(self, template: bytes) -> KeyHandle:
        """TPM2_CreatePrimary in the endorsement hierarchy from a TPMT_PUBLIC."""
        ...

    def create(self, parent: KeyHandle, template: bytes) -> CreatedKey:
        """TPM2_Create below `parent` from a TPMT_PUBLIC."""
        ...

    def load(self, parent: KeyHandle, key: CreatedKey) -> KeyHandle:
        """TPM2_Load."""
        ...

    def persist(self, key: KeyHandle, handle: int) -> KeyHandle:
        """TPM2_EvictControl to a persistent handle with the owner's empty auth; the transient one is flushed."""
        ...

    def evict(self, handle: int) -> None:
        """TPM2_EvictControl of a persistent handle with the owner's empty auth; nothing where it is free."""
        ...

    def persistent(self, handle: int) -> KeyHandle | None:
        """The key at a persistent handle, or None where it is free."""
        ...

    def flush(self, key: KeyHandle) -> None:
        """TPM2_FlushContext of a transient key; a persistent one is only let go of."""
        ...

    def read_public(self, key: KeyHandle) -> bytes:
        """TPMT_PUBLIC of a key."""
        ...

    def activate_credential(
        self, key: KeyHandle, endorsement_key: KeyHandle, credential: bytes, secret: bytes
    ) -> bytes:
        """TPM2_ActivateCredential with the EK's policy session (PolicySecret of the endorsement hierarchy).

        `credential` is the contents of a TPM2B_ID_OBJECT, `secret` of a TPM2B_ENCRYPTED_SECRET.
        """
        ...

    def nv_define(self, public: bytes, auth: bytes) -> None:
        """TPM2_NV_DefineSpace of a TPMS_NV_PUBLIC with the owner's empty auth."""
        ...

    def nv_undefine(self, index: int) -> None:
        """TPM2_NV_UndefineSpace with the owner's empty auth; nothing where it is not defined."""
        ...

    def nv_read_public(self, index: int) -> bytes | None:
        """TPMS_NV_PUBLIC of an index, or None where it is not defined."""
        ...

    def nv_read(self, index: int, auth: bytes = b"") -> bytes:
        """All bytes of an index: with `auth`, its own, where it is AUTHREAD, or else with the owner's empty auth.

        A TpmFault where it was never written; `NvAttribute.WRITTEN` in `nv_read_public` tells beforehand.
        """
        ...

    def nv_write(self, index: int, auth: bytes, data: bytes) -> None:
        """TPM2_NV_Write from the first byte on, with the index's own auth; at most what one command takes."""
        ...

    def nv_extend(self, index: int, auth: bytes, data: bytes) -> None:
        """TPM2_NV_Extend with the index's own auth."""
        ...

    def nv_increment(self, index: int, auth: bytes) -> None:
        """TPM2_NV_Increment with the index's own auth."""
        ...

    def nv_increment_approved(
        self, index: int, auth: bytes, approval: FloorApproval, authority: bytes, reference: bytes
    ) -> None:
        """TPM2_NV_Increment under a policy that `authority` (a TPMT_PUBLIC) approved; the TPM itself checks all of it.

        PolicyNV(counter = approval's), or PolicyNvWritten(NO) where it has none; PolicyCommandCode(NV_Increment);
        PolicyAuthorize with `reference` as policyRef. `auth` is the index's own, for PolicyNV to read it.
        """
        ...

    def nv_certify(self, index: int, auth: bytes, key: KeyHandle, qualifying_data: bytes) -> SignedAttest:
        """TPM2_NV_Certify by `key` of all bytes of an index, read with its own auth."""
        ...

    def seal(self, parent: KeyHandle, data: bytes) -> CreatedKey:
        """TPM2_Create of a sealed data object below `parent`; at most 128 bytes."""
        ...

    def unseal(self, key: KeyHandle) -> bytes:
        """TPM2_Unseal of a sealed data object that is loaded."""
        ...

    def clear(self, lockout: bytes) -> None:
        """TPM2_Clear with the lockout auth, which proves itself by HMAC and so never crosses in plain.

        Every key handed out so far, persistent ones too, is gone with it; EK, IDevID and IAK can be made again.
        """
        ...

    def set_hierarchy_auths(self, owner: bytes, lockout: bytes) -> None:
        """TPM2_HierarchyChangeAuth of owner, then lockout, from empty; one that is set already is left as it is."""
        ...

    def ownership_taken(self) -> bool:
        """Whether ownerAuthSet and lockoutAuthSet stand in TPM_PT_PERMANENT."""
        ...

    def read_clock(self) -> ClockInfo:
        """TPM2_ReadClock, unsigned."""
        ...

    def random(self, size: int) -> bytes:
        """TPM2_GetRandom, repeated until `size` bytes are there."""
        ...

    def close(self) -> None:
        """Flush what was loaded and let go of the TPM."""
        ...


class MeasurementLogs(Protocol):
    """The logs of this boot. Raises StorageFault where a log exists and cannot be read or is over its limit."""

    def uefi(self) -> bytes:
        """The raw TCG2 event log."""
        ...

    def systemd(self) -> bytes | None:
        """systemd's userspace measurement log, or None where this system keeps none."""
        ...

    def ima(self) -> bytes | None:
        """IMA's binary measurement list, or None where this system keeps none."""
        ...


@dataclass(frozen=True)
class Timestamp:
    """Milliseconds since 1970 (UTC), and whether that clock has reason to be believed."""

    ms: int
    ok: bool


class Clock(Protocol):
    """Time."""

    def now(self) -> Timestamp:
        """Wall clock."""
        ...

    def uptime_s(self) -> int:
        """Whole seconds since boot."""
        ...


class Entropy(Protocol):
    """Randomness fit for keys and nonces."""

    def bytes(self, size: int) -> bytes:
        """`size` random bytes."""
        ...


@dataclass(frozen=True)
class Message:
    """One MQTT application message."""

    topic: str
    payload: bytes
    retain: bool = False
    correlation: bytes | None = None


class Transport(Protocol):
    """An MQTT 5 session that reconnects by itself.

    Every failure to reach the broker is kept in `fault` and retried; nothing raises for it.
    """

    @property
    def connected(self) -> bool:
        """Whether the session stands now."""
        ...

    @property
    def fault(self) -> EnvironmentFault | None:
        """Why it does not; None while it stands, and before the first attempt has ended."""
        ...

    async def start(self, subscriptions: Sequence[str]) -> None:
        """Begin connecting; subscriptions are renewed on every connect."""
        ...

    async def publish(
        self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False, correlation: bytes | None = None
    ) -> None:
        """Returns once the broker acknowledged (QoS 1); PUBACK >= 0x80 raises Refusal `publish-refused`."""
        ...

    def messages(self) -> AsyncIterator[Message]:
        """What is subscribed to; `$session` messages say `connected`, `lost` or `taken-over` (DISCONNECT 0x8E)."""
        ...

    async def close(self) -> None:
        """Publish what is queued, disconnect cleanly."""
        ...


class Slots(Protocol):
    """Two system slots, `a` and `b`, of which one is running. Blocking; each change is durable when a call returns.

    Failures raise StorageFault: `slot-full` where the medium is, `slot-unwritable`, `slot-unreadable`, `slot-corrupt`
    for a boot record that cannot be read. So do calls that would leave nothing to boot: `slot-in-use` (a write to the
    running or the default slot, the retirement of the last good one) and `slot-unwritten` (nothing whole is in it).
    """

    def running(self) -> str:
        """The slot that this boot came from."""
        ...

    def other(self) -> str:
        """The one that is not running: where an update goes."""
        ...

    def capacity(self) -> int:
        """Bytes that an image may have."""
        ...

    def extent(self, slot: str) -> int:
        """Bytes that can be read from a slot, whatever they are; 0 of one that was never written."""
        ...

    def write(
        self,
        slot: str,
        chunks: Iterable[bytes],
        *,
        start: int = 0,
        durable: Callable[[int], None] | None = None,
    ) -> None:
        """An image from its first byte on; it is on the medium when this returns.

        From its first moment on the slot is not booted until `activate`. What `chunks` raises passes through.
        `start`: so many bytes stay as they are, and `chunks` follow them. `durable` is told now and then how many bytes
        are on the medium, so that who is interrupted can go on from there.
        """
        ...

    def read(self, slot: str, size: int, *, start: int = 0) -> Iterator[bytes]:
        """`size` bytes from `start` on, from the medium itself and not from what a cache remembers of it."""
        ...

    def activate(self, slot: str) -> None:
        """Boot it at the next start, once."""
        ...

    def activated(self) -> str | None:
        """A slot that was activated and not started yet."""
        ...

    def confirm(self) -> None:
        """The running slot is good: every start boots it from now on."""
        ...

    def retire(self, slot: str) -> None:
        """Never boot this slot again until it is written and activated anew; the other one is the default then."""
        ...


@dataclass(frozen=True)
class LedgerRow:
    """An entry of the ledger as it is kept: its number, itself encoded, and its leaf hash."""

    index: int
    entry: bytes
    leaf: bytes


@dataclass(frozen=True)
class Commit:
    """What becomes durable together or not at all.

    `values` as of `Store.put`, the next `entry` of the ledger, a `checkpoint` (counter, encoded), and `messages` that
    are to be published, in this order.
    """

    values: Mapping[str, bytes | None] = field(default_factory=dict)
    entry: LedgerRow | None = None
    checkpoint: tuple[int, bytes] | None = None
    messages: Sequence[Message] = ()


class Store(Protocol):
    """The agent's durable state. Every write is on the disk when the call returns; failures raise StorageFault."""

    def commit(self, change: Commit) -> None:
        """One transaction. An entry whose number is taken, or leaves a gap, is StorageFault `ledger-number-taken`."""
        ...

    def leaves(self) -> Sequence[bytes]:
        """The leaf hashes of all entries, in order."""
        ...

    def entries(self) -> Sequence[bytes]:
        """All entries of the ledger, in order."""
        ...

    def checkpoints(self, *, newest: int | None = None) -> Sequence[bytes]:
        """The checkpoints by counter, ascending; only so many of the newest."""
        ...

    def outbox(self, after: int, limit: int) -> Sequence[tuple[int, Message]]:
        """Messages that wait to be published, (number, message), from the first number after `after` on."""
        ...

    def published(self, numbers: Sequence[int]) -> None:
        """Forget these messages of the outbox: the broker has them."""
        ...

    def get(self, key: str) -> bytes | None:
        """A value, or None."""
        ...

    def put(self, values: Mapping[str, bytes | None]) -> None:
        """Write (None: delete) several values in one transaction."""
        ...

    def next_seq(self) -> int:
        """The next message number; never the same twice, also across restarts."""
        ...

    def first_time(self, kind: str, identifier: str) -> bool:
        """Record (kind, identifier); False where it was recorded before (commands run once)."""
        ...

    def close(self) -> None:
        """Close the database."""
        ...


class Remote(Protocol):
    """A file at a URL, read piece by piece over one connection. Blocking; raises what a Fetcher does."""

    @property
    def validator(self) -> str:
        """What the server calls the state of the file that is being read; empty before the first piece, and where it
        has no name for it.
        """
        ...

    def read(self, start: int, end: int | None = None) -> Generator[bytes, None, None]:
        """The bytes [start, end), or all from `start` on, in chunks as of `Fetcher.fetch`.

        NetworkFault `fetch-no-range` where the server has another state of the file by now, or gives no pieces.
        """
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Source(Protocol):
    """Gets what stands at a URL, from beginning to end. Blocking; raises what a Fetcher does."""

    def fetch(self, url: str) -> Iterator[bytes]:
        """The contents in chunks, as they come."""
        ...


class Fetcher(Protocol):
    """Gets what stands at a URL. Blocking.

    NetworkFault `fetch-not-found` (404, 403), `fetch-failed` (any other answer that is not the contents, redirects
    too), `fetch-unreachable` (no connection, no answer in time, body cut short) and `fetch-proxy` (the proxy refuses).
    """

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        """The contents in chunks of at most 1 MiB, as they come; who has enough closes the generator."""
        ...

    def open(self, url: str, validator: str = "") -> Remote:
        """The file there, to be read in pieces; `validator`: only in this state, as another Remote called it."""
        ...


class MetadataStore(Protocol):
    """Named files that outlast power cuts; names are relative paths of plain components. StorageFault on failure."""

    def read(self, name: str) -> bytes | None:
        """The contents, or None where there is no such file."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Replace the contents as a whole; durable on return."""
        ...

    def remove(self, name: str) -> None:
        """Forget the file, if it is there; durable on return."""
        ...
