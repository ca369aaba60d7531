"""`medvouch verify quote`: the raw structures that tpm2_quote writes, judged with nothing but the key."""

from __future__ import annotations

import argparse
from typing import Any

from medvouch.adapters.files import read_bounded
from medvouch.attestation.evidence import MAX_EVIDENCE_BYTES, MAX_STRUCTURE_BYTES
from medvouch.attestation.quotes import VerifiedQuote, check_nonce, signed_quote, verify_quote
from medvouch.attestation.replay import Logs, ReplayRefusal, Table, replay
from medvouch.cli.inspecting import ima_entries
from medvouch.cli.output import aligned, show
from medvouch.cli.verifying import pcr_lines, pcr_rows
from medvouch.crypto.keys import PublicKey, load_public_pem
from medvouch.crypto.tpm import tpmt_signature
from medvouch.errors import InputError, Refusal, UsageFault
from medvouch.formats import eventlog, ima, tpm2_tools
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import EventLog
from medvouch.formats.tpm import SignedAttest

MAX_PEM_BYTES = 16 * 1024
_FILES = ("public", "message", "signature", "pcrs")


def verify(options: argparse.Namespace) -> int:
    """`medvouch verify quote`: 0 where the quote holds and all logs lead to it, 1 where not."""
    if options.ima and not options.eventlog:
        remedy = "add --eventlog: IMA's list begins with what the firmware's log describes"
        raise UsageFault("usage", "--ima without --eventlog", remedy=remedy)
    files = {name: read_bounded(getattr(options, name), _limit(name)) for name in _FILES}
    table: Table | None = None
    document: dict[str, Any] = {"kind": "quote", "status": "holds"}
    try:
        quote = _quote(files, options.nonce, HashAlg.of(options.hash))
        document |= _described(quote)
        if options.eventlog:
            table = replay(_logs(options), quote.pcrs).table
    except (InputError, Refusal) as error:
        table = error.table if isinstance(error, ReplayRefusal) else None
        refused = {"code": error.code, "detail": error.detail, "place": error.place, "remedy": error.remedy}
        document |= {"status": "contraindicated", **refused}
    _show(document, table, as_json=options.json)
    return 0 if document["status"] == "holds" else 1


def _show(document: dict[str, Any], table: Table | None, *, as_json: bool) -> None:
    """For people the values are left out where a table has taken their place."""
    lines = aligned({**document, "pcrs": None})
    if table is not None:
        document["replay"] = pcr_rows(table)
        lines += ["", *pcr_lines(document["replay"])]
    elif "pcrs" in document:
        lines += ["", *(f"{name:<11} {value}" for name, value in document["pcrs"].items())]
    show(document, lines, as_json=as_json)


def _limit(name: str) -> int:
    return {"public": MAX_PEM_BYTES, "pcrs": tpm2_tools.MAX_BYTES}.get(name, MAX_STRUCTURE_BYTES)


def _quote(files: dict[str, bytes], nonce: bytes, hash: HashAlg) -> VerifiedQuote:
    """The selection that tells the values apart is read from a quote whose signature holds already."""
    check_nonce(nonce)
    key: PublicKey = load_public_pem(files["public"])
    message = files["message"]
    signature = tpmt_signature(files["signature"], key, message, hash)
    quoted = signed_quote(SignedAttest(message, signature), key).quoted
    pcrs = tpm2_tools.parse(files["pcrs"], quoted.selection)
    return verify_quote(key, message, signature, pcrs, nonce)


def _described(quote: VerifiedQuote) -> dict[str, Any]:
    attest, clock = quote.attest, quote.attest.clock_info
    return {
        "selection": str(quote.selection),
        "untrusted_banks": ", ".join(bank.label for bank in quote.untrusted),
        "hash": quote.hash.label,
        "qualified_signer": attest.qualified_signer.hex(),
        "firmware_version": f"{attest.firmware_version:016x}",
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "clock_ms": clock.clock,
        "clock_safe": clock.safe,
        "key": "signed it; that it is a TPM's attestation key is for its enrolment to show",
        "pcrs": {
            f"{bank.label}:{pcr}": value.hex() for bank, values in quote.pcrs.items() for pcr, value in values.items()
        },
    }


def _logs(options: argparse.Namespace) -> Logs:
    firmware: EventLog = eventlog.parse(read_bounded(options.eventlog, MAX_EVIDENCE_BYTES))
    entries: tuple[ima.Entry, ...] = ()
    if options.ima:
        entries = ima_entries(read_bounded(options.ima, MAX_EVIDENCE_BYTES))
    return Logs(uefi=firmware, ima=entries)
