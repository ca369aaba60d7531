"""`medvouch inspect` of what is no log of firmware: userspace logs, what a TPM signed, COSE messages, CoRIMs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medvouch.cli.output import aligned, flatten
from medvouch.errors import InputError
from medvouch.formats import cbor, cel, cose, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.corim import Class, Corim, Values
from medvouch.formats.cose import Sign, Sign1
from medvouch.formats.text import printable
from medvouch.formats.tpm import Attest, NvDigestInfo, NvInfo, QuoteInfo

Inspected = tuple[dict[str, Any], list[str]]

_SIGN1_HEAD = bytes([0xC0 | cose.TAG_SIGN1])
_HEADERS = {1: "algorithm", 2: "critical", 3: "content type", 4: "key id", 15: "claims", 33: "x5chain", 34: "x5t"}
"""COSE header parameters (RFC 9052, 3.1; RFC 9360; RFC 9597)."""


def inspect_systemd(data: bytes) -> Inspected:
    """systemd's userspace log: what was measured into which PCR or NV index."""
    rows = [
        {**_place(record.pcr, record.nv_index), "index": record.index, "event": record.event_type,
         "string": record.string, "digests": _digests(record.digests)}
        for record in systemd.parse(data)
    ]  # fmt: skip
    lines = [f"systemd's measurement log: {len(rows)} records", ""]
    lines += [f"{row['index']:5}  {_where(row):<14} {row['event']:<14} {printable(row['string'])}" for row in rows]
    return {"records": rows}, lines


def inspect_cel(data: bytes) -> Inspected:
    """A Canonical Event Log, in CBOR or TLV."""
    tlv = data.startswith(b"\0")
    rows = [
        {**_place(record.pcr, record.nv_index), "number": record.number, "content_type": _content(record.content_type),
         "content": _plain(record.content), "digests": _digests(record.digests)}
        for record in (cel.parse_tlv(data) if tlv else cel.parse(data))
    ]  # fmt: skip
    lines = [f"canonical event log in {'TLV' if tlv else 'CBOR'}: {len(rows)} records", ""]
    for row in rows:
        lines.append(f"{row['number']:5}  {_where(row):<14} {row['content_type']:<12} {printable(str(row['content']))}")
    return {"encoding": "tlv" if tlv else "cbor", "records": rows}, lines


def inspect_quote(data: bytes) -> Inspected:
    """What a TPM signed (TPMS_ATTEST, the message that tpm2_quote writes); its signature stands elsewhere."""
    attest = Attest.parse(data)
    clock, attested = attest.clock_info, attest.attested
    document: dict[str, Any] = {
        "type": attest.type.name.lower(),
        "signer": attest.qualified_signer.hex(),
        "qualifying_data": attest.extra_data.hex(),
        "clock_ms": clock.clock,
        "reset_count": clock.reset_count,
        "restart_count": clock.restart_count,
        "clock_safe": clock.safe,
        "firmware_version": f"{attest.firmware_version:016x}",
    }
    match attested:
        case QuoteInfo():
            document["pcrs"] = {bank.label: list(pcrs) for bank, pcrs in attested.selection.banks}
            document["pcr_digest"] = attested.pcr_digest.hex()
        case NvInfo():
            document |= {"index": attested.index_name.hex(), "offset": attested.offset}
            document["contents"] = attested.contents.hex()
        case NvDigestInfo():
            document |= {"index": attested.index_name.hex(), "contents_digest": attested.digest.hex()}
        case _:
            document |= {"name": attested.name.hex(), "qualified_name": attested.qualified_name.hex()}
    selected = str(attested.selection) if isinstance(attested, QuoteInfo) else None
    return document, aligned({**document, "pcrs": selected})


def inspect_cose(data: bytes) -> Inspected:
    """A COSE_Sign1 or COSE_Sign: headers, signers, size of the payload. No signature is checked."""
    value = cbor.decode(data, deterministic=False)
    if isinstance(value, cbor.Tag) and value.tag == cose.TAG_SIGN:
        several = Sign.parse(data)
        headers, payload, signers = _headers(several), several.payload, [_headers(each) for each in several.signatures]
        kind = "COSE_Sign"
    elif isinstance(value, cbor.Tag) and value.tag == cose.TAG_SIGN1:
        one = Sign1.parse(data)
        headers, payload, signers, kind = _headers(one), one.payload, [], "COSE_Sign1"
    else:
        raise InputError("cose-malformed", f"tagged neither {cose.TAG_SIGN1} nor {cose.TAG_SIGN}")
    document: dict[str, Any] = {
        "type": kind,
        "headers": headers,
        "payload_bytes": None if payload is None else len(payload),
        "payload": None if payload is None else payload.hex(),
        "signers": signers,
    }
    return document, aligned(flatten({**document, "payload": None if payload is None else payload[:32].hex()}))


def inspect_corim(data: bytes) -> Inspected:
    """Reference values as a CoRIM, by themselves or in a COSE_Sign1 whose signature is not checked."""
    signed = data[:1] == _SIGN1_HEAD
    corim = Corim.parse(attached(data) if signed else data)
    rows = [
        {
            "tag": _identifier(tag.id),
            "class": _class(triple.kind),
            "key": measurement.key,
            **_values(measurement.values),
        }
        for tag in corim.tags
        for triple in tag.triples
        for measurement in triple.measurements
    ]
    document = {"id": _identifier(corim.id), "profile": corim.profile, "signed": signed, "measurements": rows}
    form = "signed, by whom is not checked" if signed else "not signed"
    lines = [f"CoRIM {printable(_identifier(corim.id))}, {form}: {len(rows)} measurements", ""]
    lines += [_measured(row) for row in rows]
    return document, lines


def attached(data: bytes) -> bytes:
    """The payload of a COSE_Sign1; InputError `cose-malformed` where it is elsewhere."""
    payload = Sign1.parse(data).payload
    if payload is None:
        raise InputError("cose-malformed", "the payload is detached")
    return payload


def _identifier(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex()


def _class(kind: Class) -> dict[str, Any]:
    found = {name: getattr(kind, name) for name in ("id", "vendor", "model", "layer", "index")}
    return {name: _plain(value) for name, value in found.items() if value is not None}


def _values(values: Values) -> dict[str, Any]:
    return {
        "name": values.name,
        "version": None if values.version is None else values.version.text,
        "svn": values.svn,
        "raw": None if values.raw is None else values.raw.hex(),
        "digests": {label: value.hex() for label, value in (values.digests or {}).items()},
    }


def _measured(row: Mapping[str, Any]) -> str:
    said = [str(row[name]) for name in ("name", "version", "svn") if row[name] is not None]
    said += [f"{label}:{value[:16]}" for label, value in row["digests"].items()]
    return printable(f"{row['class'].get('model', '')!s:<12} {row['key']!s:<12} {'  '.join(said)}".rstrip())


def _headers(message: Sign1 | Sign | cose.SignatureBlock) -> dict[str, Any]:
    parts = (("protected", message.protected), ("unprotected", message.unprotected))
    return {name: {_label(key): _plain(value) for key, value in headers.items()} for name, headers in parts}


def _label(key: int | str) -> str:
    return _HEADERS.get(key, str(key)) if isinstance(key, int) else key


def _place(pcr: int | None, nv_index: int | None) -> dict[str, Any]:
    return {"pcr": pcr, "nv_index": None if nv_index is None else f"{nv_index:#010x}"}


def _where(row: Mapping[str, Any]) -> str:
    return f"NV {row['nv_index']}" if row["pcr"] is None else f"PCR {row['pcr']}"


def _digests(digests: Mapping[HashAlg, bytes]) -> dict[str, str]:
    return {bank.label: value.hex() for bank, value in digests.items()}


def _content(number: int) -> str:
    return next((kind.name.lower() for kind in cel.ContentType if kind == number), str(number))


def _plain(value: Any) -> Any:
    """CBOR as JSON has it."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return _plain(value.value) if isinstance(value, cbor.Tag) else value
