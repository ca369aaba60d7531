"""The ledger as it leaves the device: a bundle, to be judged by whoever gets it."""

from __future__ import annotations

from medvouch.assurance.bundle import assemble
from medvouch.errors import InputError, StorageFault
from medvouch.ports import Store


def export(store: Store, device: str) -> bytes:
    """The bundle of what the store holds. Blocking; raises StorageFault, `state-corrupt` where a row is damaged."""
    checkpoints = store.checkpoints()  # before the entries: there may be more of those by the time they are read
    try:
        return assemble(device, store.entries(), checkpoints).encode()
    except InputError as error:
        remedy = "restore the state directory from a backup, or enrol the device again"
        raise StorageFault("state-corrupt", f"the stored ledger: {error}", remedy=remedy) from error
