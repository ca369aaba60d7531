"""How lives end in the demo: each is exported as one file and judged offline; one gateway is decommissioned first."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from medvouch.adapters.mqtt import MqttTransport
from medvouch.adapters.store import SqliteStore
from medvouch.adapters.tss import TssTpm
from medvouch.assurance.bundle import assemble
from medvouch.attestation.ownership import open_escrow
from medvouch.cli.verifying import verify_ledger
from medvouch.daemon import data_key
from medvouch.errors import MedvouchError
from medvouch_sim.demo.chapters import Chapter, Teller
from medvouch_sim.demo.stage import Stage
from medvouch_sim.fixtures import private_key
from medvouch_sim.gateway import Gateway

DECOMMISSIONED = "gw3"
PROVEN = "TPM2_Clear, quoted by the IAK"
CONNECT_S = 5.0


async def decommissioned(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """Frozen, receipted, sanitised; afterwards nothing that it was works any more."""
    record = stage.collector.registry.find(gateway.device)
    assert record is not None
    sealed = _stored_data_key(gateway)
    client = gateway.client
    auths = await asyncio.to_thread(open_escrow, record.escrow, private_key("owner"), record.ek_hash)
    proof = await stage.collector.decommissioner.decommission(gateway.device, auths.lockout)
    await gateway.ended()
    told = PROVEN if proof.clock.reset_count == 0 else f"resetCount {proof.clock.reset_count}"
    tell(
        "decommissioned", PROVEN, told, detail=f"{proof.certificate.method}, the quote {proof.clock.clock} ms after it"
    )
    tell("identity in service", "device-decommissioned", await _challenged(stage, gateway))
    stolen = stage.site.connect(gateway.device, client)
    try:
        await stolen.start([])
        tell("client certificate", "client-certificate-refused", await _refusal(stolen))
    finally:
        await stolen.close()
    tell("sealed data", "does not unseal", await asyncio.to_thread(_unsealed, gateway, sealed))


async def _refusal(transport: MqttTransport) -> str:
    """Why the broker does not let it in."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CONNECT_S):
            while transport.fault is None and not transport.connected:  # noqa: ASYNC110 - no event says so
                await asyncio.sleep(0.01)
    return transport.fault.code if transport.fault else "none"


def _stored_data_key(gateway: Gateway) -> bytes:
    store = SqliteStore(gateway.state_dir / "state.db")
    try:
        return store.get(data_key.DATA_KEY) or b""
    finally:
        store.close()


async def _challenged(stage: Stage, gateway: Gateway) -> str:
    try:
        outcome = await stage.collector.challenger.challenge(gateway.device)
    except MedvouchError as error:
        return error.code
    return outcome.ear.status.name.lower()


def _unsealed(gateway: Gateway, sealed: bytes) -> str:
    with TssTpm(gateway.tpm.tcti()) as tpm:
        try:
            data_key.unseal(tpm, sealed)
        except MedvouchError as error:
            return "does not unseal" if error.code in {"tpm-refused", "tpm-not-provisioned"} else error.code
    return "unseals"


async def exported(stage: Stage, gateway: Gateway, tell: Teller) -> None:
    """The whole life in one file, judged by the command that anyone has."""
    folder = stage.out / "bundles"
    folder.mkdir(parents=True, exist_ok=True)
    data = await bundle(stage, gateway)
    path = folder / f"{gateway.name}.bundle.cbor"
    await asyncio.to_thread(path.write_bytes, data)
    document, _ = verify_ledger(data, stage.site.trust, device=gateway.device, at=int(time.time()))
    entries = len(document.get("entries", ()))
    detail = f"{entries} entries, {len(data)} bytes: bundles/{path.name}"
    tell("life verified offline", "holds", document.get("code") or document["status"], detail=detail)


async def bundle(stage: Stage, gateway: Gateway) -> bytes:
    """From the running agent; of a gateway that has ended, from its disk and what the collector keeps of its end."""
    ended = stage.collector.registry.ended(gateway.device)
    if ended is None:
        assert gateway.agent is not None
        return bytes.fromhex((await gateway.agent.control("ledger", {}, 0))["bundle"])
    store = SqliteStore(gateway.state_dir / "state.db")
    try:
        rows = store.entries(), store.checkpoints()
    finally:
        store.close()
    whole = assemble(gateway.device, *rows, receipt=ended.receipt, sanitisation=ended.sanitisation, nonce=ended.nonce)
    return whole.encode()


ENDING = (
    Chapter(
        ("decommissioned", "identity in service", "client certificate", "sealed data"),
        decommissioned,
        (DECOMMISSIONED,),
    ),
    Chapter(("life verified offline",), exported),
)
"""After it was seen that nothing that was done to them has left a trace."""
