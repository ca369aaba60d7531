"""`medvouch inspect`: what a file says, as (document for --json, lines for people). Nothing of it is believed."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, cast

from medvouch.attestation.replay import replayed_pcrs
from medvouch.cli.inspecting_records import (
    attached,
    inspect_cel,
    inspect_corim,
    inspect_cose,
    inspect_quote,
    inspect_systemd,
)
from medvouch.cli.ledgering import inspect_ledger
from medvouch.cli.output import aligned, flatten, moment
from medvouch.crypto.cose import claims
from medvouch.errors import InputError
from medvouch.formats import event_text, eventlog, ima, ima_ascii, uefi
from medvouch.formats.cms import SignedData
from medvouch.formats.cmw import Collection
from medvouch.formats.data_format import DataFormat
from medvouch.formats.ear import Ear
from medvouch.formats.eat import Eat
from medvouch.formats.ima_signature import ImaSignature
from medvouch.formats.suit import Envelope, signature_block, wrapped_digest
from medvouch.formats.suit_commands import Code, Command, CommandSequence, Parameters
from medvouch.formats.suit_manifest import Manifest, Member, component_name, load_member
from medvouch.update.processor import EPOCH_LABEL

Inspected = tuple[dict[str, Any], list[str]]

WIDEST = 100
"""Characters of an event's description that the lines show; the document has more."""


def inspect_eventlog(data: bytes) -> Inspected:
    """A TCG event log: its banks, events, and the PCR values that it alone leads to.

    `index` counts as tpm2_eventlog does: in a log for several banks number 0 is the Spec ID event, which says only
    which banks there are and is not listed. `secure_boot` is None where the log has no event of that variable.
    """
    log = eventlog.parse(data)
    variable = uefi.claimed_secure_boot(log.events)
    document: dict[str, Any] = {
        "banks": [bank.label for bank in log.banks],
        "events": [_event(event) for event in log.events],
        "pcrs": {
            bank.label: {str(pcr): value.hex() for pcr, value in sorted(values.items())}
            for bank, values in replayed_pcrs(log).items()
        },
        "secure_boot": None if variable is None else variable == b"\x01",
    }
    return document, _eventlog_lines(document)


def _event(event: eventlog.Event) -> dict[str, Any]:
    return {
        "index": event.index,
        "pcr": event.pcr,
        "type": eventlog.type_name(event.type),
        "digests": {bank.label: value.hex() for bank, value in event.digests.items()},
        "description": event_text.describe(event),
    }


def _eventlog_lines(document: dict[str, Any]) -> list[str]:
    events, banks = document["events"], ", ".join(document["banks"])
    secure_boot = {None: "not measured", True: "on", False: "off"}[document["secure_boot"]]
    lines = [f"firmware event log: {_count(events, 'event')}, banks {banks}", f"Secure Boot, it says: {secure_boot}"]
    if events:
        width = max(len(event["type"]) for event in events)
        lines += ["", f"{'event':>5}  PCR  {'type':<{width}}  what its data says"]
        lines += [f"{e['index']:5}  {e['pcr']:3}  {e['type']:<{width}}  {_short(e['description'])}" for e in events]
        lines += ["", "PCRs that it leads to:"]
    for bank, pcrs in document["pcrs"].items():
        lines += [f"{bank}:{pcr:<3} {value}" for pcr, value in pcrs.items()]
    return lines


def ima_entries(data: bytes) -> tuple[ima.Entry, ...]:
    """The entries of a list, binary or ASCII."""
    return ima_ascii.parse_ascii(data.decode()) if is_ascii_list(data) else ima.parse_binary(data)


def inspect_ima(data: bytes) -> Inspected:
    """An IMA list, binary or ASCII. An entry that is a violation stands for no file's digest."""
    entries = ima_entries(data)
    rows = [_measurement(entry) for entry in entries]
    violations = [row for row in rows if row["violation"]]
    lines = [f"IMA measurement list: {_count(rows, 'entry', 'entries')}, {_count(violations, 'violation')}"]
    if rows:
        width = max(len(row["template"]) for row in rows)
        lines += ["", f"entry  PCR  {'template':<{width}}  what was measured"]
        lines += [f"{r['index']:5}  {r['pcr']:3}  {r['template']:<{width}}  {_what(r)}" for r in rows]
    return {"entries": rows, "violations": len(violations)}, lines


def _measurement(entry: ima.Entry) -> dict[str, Any]:
    file_digest = entry.file_digest
    return {
        "index": entry.index,
        "pcr": entry.pcr,
        "template": entry.template,
        "template_hash": entry.template_hash.hex(),
        "violation": entry.violation,
        "file_digest": f"{file_digest[0]}:{file_digest[1].hex()}" if file_digest else None,
        "path": entry.path,
        "signed_by": _signer(entry),
        "appended_signature_by": _appender(entry),
    }


def _signer(entry: ima.Entry) -> str | None:
    """Id of the key that signed the file, it says."""
    with suppress(InputError):
        return ImaSignature.parse(entry.signature).key_id.hex() if entry.signature else None
    return None


def _appender(entry: ima.Entry) -> str | None:
    """The certificate, or id of the key, of the signature at the end of the file, it says."""
    with suppress(InputError):
        return SignedData.parse(entry.appended_signature).describe_signer() if entry.appended_signature else None
    return None


def _what(row: dict[str, Any]) -> str:
    measured = "VIOLATION" if row["violation"] else row["file_digest"]
    signed = f"signed by {row['signed_by']}" if row["signed_by"] else None
    appended = f"signed at its end by {row['appended_signature_by']}" if row["appended_signature_by"] else None
    return "  ".join(filter(None, (row["path"], measured, signed, appended)))


def _count(rows: list[Any], one: str, many: str = "") -> str:
    return f"{len(rows)} {one if len(rows) == 1 else many or one + 's'}"


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."


def is_ascii_list(data: bytes) -> bool:
    """The ASCII form begins with the PCR in decimal, the binary one with it in four bytes, most of them zero."""
    return b"\0" not in data[:4] and data.isascii()


def inspect_eat(data: bytes) -> Inspected:
    """An Entity Attestation Token: the claims inside a COSE_Sign1, its signature not checked."""
    return _claims(Eat.parse(attached(data)))


def inspect_ear(data: bytes) -> Inspected:
    """An attestation result: the claims inside a COSE_Sign1, its signature not checked."""
    return _claims(Ear.parse(attached(data)))


def inspect_cmw(data: bytes) -> Inspected:
    """A CMW collection: label, media type and size of each record."""
    collection = Collection.parse(data)
    rows: list[dict[str, Any]] = []
    for label, record in collection.records.items():
        if isinstance(record, Collection):
            rows.append({"label": label, "media_type": "collection", "indicator": None, "bytes": len(record.encode())})
        else:
            indicator, size = record.indicator, len(record.value)
            rows.append({"label": label, "media_type": record.media_type, "indicator": indicator, "bytes": size})
    lines = [f"collection{f' of type {collection.type}' if collection.type else ''}: {_count(rows, 'record')}", ""]
    lines += [f"{row['label']!s:<12} {row['bytes']:>9} bytes  {row['media_type']}" for row in rows]
    return {"type": collection.type, "records": rows}, lines


def inspect_suit(data: bytes) -> Inspected:
    """A SUIT envelope: what its manifest has a device check and do. No signature is checked."""
    envelope = Envelope.parse(data)
    manifest = Manifest.parse(envelope.manifest)
    sequences = dict(manifest.sequences)
    for member, value in envelope.members.items():
        if member is not Member.TEXT:
            sequences[member] = load_member(member, value)
    rows = {_words(member): _commands(sequences[member]) for member in Member if member in sequences}
    document: dict[str, Any] = {
        "digest": envelope.digest.hex(),
        "digest_matches": wrapped_digest(envelope.manifest) == envelope.digest,
        "signatures": len(envelope.signatures),
        "signed_by": [kid.hex() if kid else None for kid in _signers(envelope)],
        "sequence": manifest.sequence_number,
        "version": ".".join(map(str, manifest.version)) if manifest.version else None,
        "data": _data(envelope.payloads),
        "components": [component_name(component) for component in manifest.common.components],
        "dependencies": [component_name(prefix or ()) for prefix in manifest.common.dependencies.values()],
        "severed": [_words(member) for member in manifest.severed],
        "payloads": [{"name": name, "bytes": len(value)} for name, value in envelope.payloads.items()],
        "commands": {"shared": _commands(manifest.common.shared), **rows},
    }
    return document, _suit_lines(document)


def _signers(envelope: Envelope) -> Iterator[bytes | None]:
    """The key that each signature names (COSE Key Thumbprint, SHA-256), None where it names none."""
    for block in map(signature_block, envelope.signatures):
        yield from (claim.kid for claim in claims(block, envelope.signed))


def _data(payloads: Mapping[str, bytes]) -> str | None:
    """What a release says of the product's data, in words; None where it says nothing that can be read."""
    with suppress(InputError, KeyError):
        data = DataFormat.parse(payloads["#data"])
        return f"writes format {data.writes}, reads {data.reads} to {data.writes}, readable by {data.readable_by}"
    return None


def _suit_lines(document: dict[str, Any]) -> list[str]:
    shown = {**document, "commands": None, "payloads": None, "signed_by": None}
    lines = aligned({name: ", ".join(row) if isinstance(row, list) else row for name, row in shown.items()})
    lines += [f"carries {each['name']}, {each['bytes']} bytes" for each in document["payloads"]]
    lines += [f"signed by key {kid or 'without a name'}" for kid in document["signed_by"]]
    for name, commands in document["commands"].items():
        lines += ["", f"{name}:", *(f"  {command}" for command in commands)] if commands else []
    return lines


def _commands(sequence: CommandSequence | None) -> list[str]:
    """One line for each command, those of a sequence within it in brackets."""
    return ["nothing"] if sequence is None else [_command(command) for command in sequence]


def _command(command: Command) -> str:
    name = _words(Code(command.code)) if command.code >= 0 else f"private {command.code}"
    match command.code, command.argument:
        case _, Parameters() as parameters:
            return f"{name} {_parameters(parameters)}"
        case Code.RUN_SEQUENCE, argument:
            return f"{name} ({'; '.join(_commands(cast(CommandSequence, argument)))})"
        case Code.TRY_EACH, argument:
            alternatives = cast(tuple[CommandSequence | None, ...], argument)
            return f"{name} {' or '.join('(' + '; '.join(_commands(each)) + ')' for each in alternatives)}"
        case Code.SET_COMPONENT_INDEX, argument:
            return f"{name} {'all' if argument is True else _plain(argument)}"
    return name if command.code >= 0 else f"{name} {_plain(command.argument)}"


def _parameters(parameters: Parameters) -> str:
    labelled = {**parameters.foreign, **parameters.private}
    public = {name: value for name, value in vars(parameters).items() if name not in {"private", "foreign"}}
    named = [(name, value) for name, value in public.items() if value is not None]
    named += [("security_epoch" if label == EPOCH_LABEL else str(label), value) for label, value in labelled.items()]
    return ", ".join(f"{name} {_plain(value)}" for name, value in named)


def _words(number: enum.IntEnum) -> str:
    return number.name.lower().replace("_", "-")


def _claims(claims: Any) -> Inspected:
    document: dict[str, Any] = _plain(claims)
    return document, aligned(flatten(document | {"issued_at": moment(document["issued_at"])}))


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.name.lower()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {entry.name: _plain(getattr(value, entry.name)) for entry in dataclasses.fields(value)}
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


class Kind(NamedTuple):
    """One kind of file: what it is, and what shows it (raises InputError where it is none)."""

    what: str
    inspect: Callable[[bytes], Inspected]


KINDS: Mapping[str, Kind] = {
    "eventlog": Kind("the firmware's event log", inspect_eventlog),
    "ima": Kind("the kernel's list of measured files, binary or ASCII", inspect_ima),
    "systemd": Kind("systemd's log of measurements in user space", inspect_systemd),
    "cel": Kind("a canonical event log, in CBOR or TLV", inspect_cel),
    "quote": Kind("what a TPM signed, as tpm2_quote writes it", inspect_quote),
    "cmw": Kind("evidence", inspect_cmw),
    "eat": Kind("the claims in evidence", inspect_eat),
    "ear": Kind("an attestation result", inspect_ear),
    "corim": Kind("reference values as a CoRIM, signed or not", inspect_corim),
    "suit": Kind("the SUIT envelope of a release", inspect_suit),
    "cose": Kind("a signed COSE message of any kind", inspect_cose),
    "ledger": Kind("a device's ledger, exported", inspect_ledger),
}


def advice(data: bytes, refused: str) -> str:
    """What to do with a file that is not of the kind `refused`: perhaps it is of another."""
    for name, kind in KINDS.items():
        if data and name != refused:
            with suppress(InputError):
                kind.inspect(data)
                return f"it looks like {kind.what}: try `medvouch inspect {name}`"
    return f"name a whole file that holds {KINDS[refused].what}"
