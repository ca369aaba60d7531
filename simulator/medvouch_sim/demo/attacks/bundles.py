"""Attacks on the ledger as it is shown to an auditor, and on the floor with an approval that has served its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import FLOOR_COUNTER, load_ldevid
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.cli.verifying import verify_ledger
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import software_public
from medvouch.errors import MedvouchError
from medvouch.formats import cbor
from medvouch.formats.cose import Sign1
from medvouch.formats.floor import FloorApproval
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.ledger import Bundle, Entry, Statement
from medvouch.ledger.statements import Author, sign_entry
from medvouch.messages import topics
from medvouch.ports import CreatedKey
from medvouch_sim.demo.attacks.base import Play, Trial
from medvouch_sim.demo.endings import bundle
from medvouch_sim.demo.stage import Stage
from medvouch_sim.fixtures import private_key
from medvouch_sim.gateway import Gateway

Alter = Callable[[Bundle], Bundle]
CHANGED = 3
"""The entry that attackers change: one that the TPM and the appraiser have confirmed."""


def shown(alter: Alter) -> Play:
    """A trial in which a bundle is altered on its way to the auditor."""

    async def play(stage: Stage, gateway: Gateway) -> str | MedvouchError:
        return _judged(stage, gateway, alter(Bundle.parse(await bundle(stage, gateway))))

    return play


def _judged(stage: Stage, gateway: Gateway, altered: Bundle) -> str | MedvouchError:
    document, _ = verify_ledger(altered.encode(), stage.site.trust, device=gateway.device, at=int(time.time()))
    if "code" not in document:
        return str(document["status"])
    return MedvouchError(document["code"], f"{document['place']}: {document['detail']}")


def edited(life: Bundle) -> Bundle:
    """One byte of a statement is another."""
    entries = list(life.entries)
    statement = bytearray(entries[CHANGED].statement)
    statement[len(statement) // 2] ^= 1
    entries[CHANGED] = replace(entries[CHANGED], statement=bytes(statement))
    return replace(life, entries=tuple(entries))


def removed(life: Bundle) -> Bundle:
    """An entry is gone."""
    return replace(life, entries=life.entries[:CHANGED] + life.entries[CHANGED + 1 :])


def truncated(life: Bundle) -> Bundle:
    """The ledger ends early, its checkpoints do not."""
    return replace(life, entries=life.entries[:CHANGED])


async def forked(stage: Stage, gateway: Gateway) -> str | MedvouchError:
    """Root on the device rewrites an entry and signs it with the device's own key, in its TPM."""
    life = Bundle.parse(await bundle(stage, gateway))
    identity = _identity(gateway)
    await gateway.stop_agent()
    entry = await asyncio.to_thread(_resigned, gateway, identity, life.entries[CHANGED])
    await gateway.start_agent()
    return _judged(
        stage, gateway, replace(life, entries=(*life.entries[:CHANGED], entry, *life.entries[CHANGED + 1 :]))
    )


def _resigned(gateway: Gateway, identity: DeviceIdentity, entry: Entry) -> Entry:
    statement = replace(Statement.parse(Sign1.parse(entry.statement).payload or b""), detail="it never happened")
    with TssTpm(gateway.tpm.tcti()) as tpm:
        key = load_ldevid(tpm, CreatedKey(identity.ldevid_public, identity.ldevid_private))
        signer = TpmSigner(tpm, key, identity.ldevid_public)
        return sign_entry(statement, entry.attachments, signer, Author(identity.device_id, identity.ueid))


async def replayed_approval(stage: Stage, gateway: Gateway) -> str | MedvouchError:
    """Root on the device gives its TPM the approval that raised the floor, once more."""
    command = next(
        heard.message.payload
        for heard in stage.observer.heard
        if isinstance(heard.topic, topics.Command)
        and (heard.topic.device, heard.topic.name) == (gateway.device, "floor")
    )
    approval = FloorApproval.parse(cbor.decode(Sign1.parse(command).payload or b"")["args"]["approval"])
    identity = _identity(gateway)
    await gateway.stop_agent()
    try:
        return await asyncio.to_thread(_raised, gateway, identity, approval, private_key("appraiser").public_key())
    finally:
        await gateway.start_agent()


def _raised(
    gateway: Gateway, identity: DeviceIdentity, approval: FloorApproval, authority: PublicKey
) -> str | MedvouchError:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        try:
            auth = identity.nv_auths["floor"]
            tpm.nv_increment_approved(FLOOR_COUNTER, auth, approval, software_public(authority), identity.ueid)
        except MedvouchError as error:
            return error
    return "the floor rises"


def _identity(gateway: Gateway) -> DeviceIdentity:
    assert gateway.agent is not None
    assert gateway.agent.standing.identity is not None
    return gateway.agent.standing.identity


BUNDLE_ATTACKS: Sequence[Trial] = (
    Trial("ledger entry edited", "ledger-entry-forged", shown(edited), "attack"),
    Trial("ledger entry removed", "ledger-entry-missing", shown(removed), "attack"),
    Trial("ledger truncated", "ledger-truncated", shown(truncated), "attack"),
    Trial("ledger forked and signed again", "ledger-forked", forked, "attack"),
    Trial("floor approval replayed to the TPM", "tpm-refused", replayed_approval, "attack"),
)
