"""Attacks on the ledger where it lies: on the device's disk, and in its TPM. The last two end the spare gateway."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress

from medvouch.crypto import merkle
from medvouch.errors import MedvouchError
from medvouch.formats.ledger import Entry
from medvouch_sim.demo.attacks.base import Attack, Provoke, Trial
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.swtpm import platform_clear

DATABASE = "state.db"
END_S = 10.0


async def restored_disk(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The state disk is put back to what it was before the last verdict and the last start."""
    state = gateway.state_dir
    yesterday, present = state.with_name("state-yesterday"), state.with_name("state-present")
    await gateway.stop_agent()
    shutil.copytree(state, yesterday)
    await gateway.start_agent()
    await stage.challenge(gateway, "before the disk is restored")
    await gateway.shut_down()
    state.rename(present)
    yesterday.rename(state)
    yield gateway.boot
    await gateway.shut_down()
    shutil.rmtree(state)
    present.rename(state)
    await gateway.boot()


async def forked(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """An entry that the appraiser has confirmed is another one now; the tree is right again, with another root."""
    await stage.challenge(gateway, "before the fork")
    await gateway.stop_agent()
    with closing(sqlite3.connect(gateway.state_dir / DATABASE)) as database, database:
        (data,) = database.execute("SELECT entry FROM ledger WHERE number = 1").fetchone()
        entry = Entry.parse(data)
        other = Entry(entry.statement[:-1] + bytes([entry.statement[-1] ^ 1]), entry.attachments)
        row = (other.encode(), merkle.leaf_hash(other.statement))
        database.execute("UPDATE ledger SET entry = ?, leaf = ? WHERE number = 1", row)
    await gateway.start_agent()
    yield lambda: stage.collector.challenger.challenge(gateway.device)


async def cleared(stage: Stage, gateway: Gateway) -> str | MedvouchError:
    """Somebody in the firmware clears the TPM: the keys in service are gone for ever; the agent says so and ends."""
    await gateway.stop_agent()
    gateway.tpm.raw(platform_clear(gateway.tpm.platform_auth))
    await asyncio.to_thread(gateway.power_off)
    await gateway.boot()
    try:
        async with asyncio.timeout(END_S):
            await gateway.ended()
    except MedvouchError as error:
        with suppress(MedvouchError):  # the same
            await gateway.stop_agent()
        return error
    return "the agent ends without a word"


RESTORED_DISK = Attack("state disk restored from yesterday", "ledger-behind-tpm", restored_disk)
FORKED = Attack("fork shown to the appraiser", "ledger-history-changed", forked)
CLEARED = Trial("cleared TPM", "tpm-not-provisioned", cleared, "attack")
