"""What the device durably knows of itself: identity, place in its life, owner, last verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from medvouch.errors import InputError, StorageFault
from medvouch.formats.ear import Ear
from medvouch.formats.identity import DeviceIdentity
from medvouch.lifecycle.life import Cause, Life, advance
from medvouch.ports import Store

IDENTITY_KEY = "identity"
LIFE_KEY = "life"
OWNER_KEY = "owner"
RESULT_KEY = "last-result"
EAR_KEY = "last-ear"

T = TypeVar("T")


class Standing:
    """A typed view of the store; each change is one transaction. What cannot be read back is `state-corrupt`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @property
    def identity(self) -> DeviceIdentity | None:
        """The enrolled identity, or None before enrolment."""
        return self._read(IDENTITY_KEY, DeviceIdentity.parse)

    @property
    def life(self) -> Life:
        """Where in its life the device stands."""
        return self._read(LIFE_KEY, lambda data: Life(data.decode())) or Life.MANUFACTURED

    @property
    def owner(self) -> str:
        """Who answers for the device; empty before it is commissioned."""
        return self._read(OWNER_KEY, bytes.decode) or ""

    @property
    def last_verdict(self) -> Ear | None:
        """The last result that came home and was believed."""
        return self._read(EAR_KEY, Ear.parse)

    def _read(self, key: str, parse: Callable[[bytes], T]) -> T | None:
        data = self._store.get(key)
        try:
            return None if data is None else parse(data)
        except (InputError, ValueError) as error:
            remedy = "restore the state directory from a backup, or enrol the device again"
            raise StorageFault("state-corrupt", f"the stored {key}: {error}", remedy=remedy) from error

    def enrolled(self, identity: DeviceIdentity) -> None:
        """Keep a new identity and move on."""
        life = advance(self.life, Cause.ENROL)
        self._store.put({IDENTITY_KEY: identity.encode(), LIFE_KEY: life.encode()})

    def commissioned(self, owner: str) -> None:
        """Name the accountable owner and move on; Refusal `transition-not-allowed` where that was done before."""
        life = advance(self.life, Cause.COMMISSION)
        self._store.put({OWNER_KEY: owner.encode(), LIFE_KEY: life.encode()})

    def judged(self, ear: Ear, signed: bytes) -> None:
        """Keep a verified result."""
        self._store.put({EAR_KEY: ear.encode(), RESULT_KEY: signed})
