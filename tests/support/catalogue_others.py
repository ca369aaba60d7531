"""Attacks on what evidence is made of: quotes, certificates, messages, results, structures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from medvouch.attestation.appraisal import Anchors, Expectation, appraise
from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.reference import verify_references
from medvouch.attestation.results import Occasion, affirm, sign_result
from medvouch.crypto import cose
from medvouch.crypto.ca import subject
from medvouch.crypto.certificates import TLS_CLIENT, TLS_SERVER
from medvouch.crypto.keys import PublicKey, SoftwareSigner, spki
from medvouch.crypto.tpm import pcr_digest
from medvouch.formats import cbor, eventlog, ima, systemd, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cose import Sign1
from medvouch.formats.eat import LedgerHead
from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.tpm import Attest, AttestType, PcrSelection, QuoteInfo
from support.attacks import OTHER
from support.authorities import ALWAYS, DAY, NOW, issuing, key, revoked, root, serial
from support.boots import SHA1, SHA256, full_boot
from support.catalogue_attack import Attack, named_pcrs
from support.catalogue_evidence import REFERENCE
from support.evidence import (
    APPRAISER,
    CLOCK,
    DEVICE,
    LAK,
    NONCE,
    QUALIFIED_SIGNER,
    RELEASE,
    evidence,
    signed,
)

# --- quotes ----------------------------------------------------------------------------------------------------------

VALUES = {SHA256: {pcr: bytes([pcr]) * 32 for pcr in range(8)}}


def _quote(
    code: str, what: str, *, pcrs: Any = None, shown: Any = None, nonce: bytes = NONCE, answer: bytes | None = None
) -> Attack:
    values = VALUES if pcrs is None else pcrs
    selection = PcrSelection.of(values)
    quoted = QuoteInfo(selection, pcr_digest(values, selection))
    attest = Attest(AttestType.QUOTE, QUALIFIED_SIGNER, nonce if answer is None else answer, CLOCK, 1, quoted)
    by = signed(attest, LAK)
    files = {
        "public.der": spki(LAK.public_key()), "attest.bin": by.attest, "signature.bin": by.signature,
        "pcrs.json": named_pcrs(values if shown is None else shown),
    }  # fmt: skip
    return Attack(code, "quote", code, what, files, {"nonce": nonce.hex()})


def _quotes() -> Iterator[Attack]:
    yield _quote("quote-stale", "the answer to another nonce", answer=NONCE[::-1])
    yield _quote("nonce-empty", "a challenge without a nonce: any quote is an answer", nonce=b"")
    yield _quote("nonce-short", "a challenge of four bytes, that a table of quotes answers", nonce=b"\1\2\3\4")
    yield _quote("nonce-constant", "a challenge of zeros, that was answered before", nonce=bytes(32))
    yield _quote("bank-untrusted", "SHA-1 alone", pcrs={SHA1: {0: bytes(20)}})
    moved = "bytes of a value moved to its neighbour, so that what is hashed stays the same"
    yield _quote("pcr-value-size", moved, shown=_shifted(VALUES))


def _shifted(pcrs: Mapping[HashAlg, Mapping[int, bytes]]) -> dict[HashAlg, dict[int, bytes]]:
    values = dict(pcrs[SHA256])
    values[0], values[1] = values[0] + values[1][:1], values[1][1:]
    return {SHA256: values}


# --- certificates ----------------------------------------------------------------------------------------------------


def _chain(id: str, code: str, what: str, leaf: bytes, *, lists: tuple[bytes, ...] = (), at: int = NOW) -> Attack:
    files = {"leaf.der": leaf, "issuer-0.der": issuing("a").certificate, "root.der": root("a").certificate}
    files |= {f"list-{number}.der": data for number, data in enumerate(lists)}
    return Attack(id, "chain", code, what, files, {"at": at, "profile": "tls-client"})


def _chains() -> Iterator[Attack]:
    holder = key("leaf").public_key()
    good = issuing("a").issue(TLS_CLIENT, holder, subject("device"), ALWAYS, serial())
    stranger = issuing("b").issue(TLS_CLIENT, holder, subject("device"), ALWAYS, serial())
    server = issuing("a").issue(TLS_SERVER, holder, subject("device"), ALWAYS, serial())
    changed = good.replace(b"device", b"eecide", 1)
    yield _chain("chain-untrusted", "certificate-untrusted", "another authority issued it", stranger)
    yield _chain("chain-altered", "certificate-untrusted", "a name is another than was signed", changed)
    yield _chain("chain-purpose", "certificate-purpose", "a server's certificate for a client", server)
    yield _chain("chain-late", "certificate-expired", "it has expired", good, at=ALWAYS.not_after + 1)
    yield _chain("certificate-revoked", "certificate-revoked", "it was revoked", good,
                 lists=(revoked(issuing("a"), good),), at=NOW + 1)  # fmt: skip
    yield _chain("revocation-unknown", "revocation-unknown", "the list of its issuer is out of date", good,
                 lists=(revoked(issuing("a"), stranger),), at=NOW + 2 * DAY)  # fmt: skip
    broken = good[:1] + b"\x80" + good[4:] + bytes(2)
    yield _chain("certificate-malformed", "certificate-malformed", "its length is not said", broken)
    yield _chain("certificate-trailing", "certificate-trailing", "bytes after it", good + b"\0")
    yield _chain("certificate-truncated", "certificate-truncated", "its end is missing", good[:-1])


# --- messages --------------------------------------------------------------------------------------------------------

TYPE = "application/example"


def _message(code: str, what: str, data: bytes, public: PublicKey | None = None) -> Attack:
    files = {"message.cose": data, "public.der": spki(public or key("alice").public_key())}
    return Attack(code, "message", code, what, files, {"content_type": TYPE})


def _messages() -> Iterator[Attack]:
    alice = SoftwareSigner(key("alice"))
    good = cose.sign1(b"payload", alice, content_type=TYPE)
    parsed = Sign1.parse(good)
    yield _message("cose-signature-invalid", "another key signed it", cose.sign1(b"x", SoftwareSigner(OTHER)))
    yield _message("cose-algorithm", "the algorithm stands where nobody signs it",
                   Sign1(cbor.encode({3: TYPE}), {1: -7}, b"payload", parsed.signature).encode())  # fmt: skip
    critical = cbor.encode({1: -7, 2: [99], 99: 1})
    yield _message("cose-critical-header", "a critical header that nobody knows",
                   Sign1(critical, {}, b"payload", parsed.signature).encode())  # fmt: skip
    yield _message("cose-payload-detached", "the payload is missing",
                   Sign1(parsed.protected_bytes, {}, None, parsed.signature).encode())  # fmt: skip
    yield _message("cose-content-type", "signed for another purpose",
                   cose.sign1(b"payload", alice, content_type="application/other"))  # fmt: skip
    yield _message("cose-malformed", "no array of four", cbor.encode(cbor.Tag(18, [b"", {}, b""])))


# --- results ---------------------------------------------------------------------------------------------------------


def _results() -> Iterator[Attack]:
    data = evidence()
    anchors = Anchors([issuing("enrolment").certificate], verify_references([REFERENCE], [RELEASE.public_key()]))
    known = Expectation(appraiser=APPRAISER, device=DEVICE, nonce=NONCE)
    occasion = Occasion(DEVICE, NONCE, evidence_digest(data), NOW, "medvouch", "0.1.0", RELEASE_POLICY.id)
    ear = affirm(occasion, appraise(UnverifiedEvidence.parse(data), known, anchors, RELEASE_POLICY, NOW))
    appraiser, head = SoftwareSigner(key("appraiser")), LedgerHead(2, bytes(32), 3)
    lies = {
        "result-device-mismatch": ("a verdict on another device", {"device": "ab" * 16}),
        "result-nonce-mismatch": ("a verdict on another challenge", {"nonce": bytes(32)}),
        "result-evidence-mismatch": ("a verdict on other evidence", {"evidence_digest": bytes(32)}),
        "result-ledger-mismatch": ("a verdict that confirms another ledger", {"ledger_head": head}),
        "result-signature-invalid": ("a verdict of somebody else", {}),
    }
    given = {"device": DEVICE, "nonce": NONCE.hex(), "evidence_sha256": evidence_digest(data).hex()}
    for code, (what, changes) in lies.items():
        signer = SoftwareSigner(OTHER) if code == "result-signature-invalid" else appraiser
        made: Any = replace(ear, **changes)
        files = {"result.cwt": sign_result(made, signer), "appraiser.der": spki(appraiser.public_key)}
        yield Attack(code, "result", code, what, files, given)


# --- structures ------------------------------------------------------------------------------------------------------


def _structures() -> Iterator[Attack]:
    log = full_boot().log.encode()
    listed = ima.encode(tuple(full_boot().entries))
    selection = PcrSelection.of(VALUES)
    attest = Attest(AttestType.QUOTE, QUALIFIED_SIGNER, NONCE, CLOCK, 1, QuoteInfo(selection, bytes(32))).encode()
    collection = evidence()
    many = (0xFFFFFFFF).to_bytes(4, "little")
    deep = b"\x81" * 10_000 + b"\x00"
    nested = b""
    for _ in range(20):
        nested = b"\x30" + bytes([len(nested)]) + nested
    for name, form, code, what, data in (
        ("eventlog-count", "eventlog", "eventlog-limit", "an event that says it is four gigabytes", _huge_event(log)),
        ("eventlog-banks", "eventlog", "eventlog-limit", "a header of four billion banks", _banks(log, 0xFFFFFFFF)),
        ("eventlog-no-bank", "eventlog", "eventlog-malformed", "a header of no banks", _banks(log, 0)),
        ("eventlog-empty", "eventlog", "eventlog-truncated", "nothing at all", b""),
        ("ima-count", "ima", "ima-limit", "an entry that says it is four gigabytes", listed[:24] + many + listed[28:]),
        ("systemd-bytes", "systemd", "systemd-malformed", "text that is not JSON", b"\x1e{\n"),
        ("cbor-duplicate", "cbor", "cbor-malformed", "a map with one key twice", b"\xa2\x01\x00\x01\x01"),
        ("cbor-indefinite", "cbor", "cbor-malformed", "a length that is not said", b"\x9f\x00\xff"),
        ("cbor-padded", "cbor", "cbor-malformed", "a number longer than it must be", b"\x18\x00"),
        ("cbor-trailing", "cbor", "cbor-trailing", "bytes after the item", b"\x00\x00"),
        ("cbor-truncated", "cbor", "cbor-truncated", "a string without its end", b"\x42\x00"),
        ("cbor-deep", "cbor", "cbor-limit", "ten thousand arrays within another", deep),
        ("cbor-count", "cbor", "cbor-truncated", "an array of 2**64 items", b"\x9b" + b"\xff" * 8),
        ("cmw-trailing", "cmw", "cbor-trailing", "bytes after the evidence", collection + b"\0"),
        ("cmw-malformed", "cmw", "cmw-malformed", "a collection without a type", b"\xa1\x61a\x01"),
        ("cose-sign-empty", "cose-sign", "cose-malformed", "a message of no signatures",
         cbor.encode(cbor.Tag(98, [b"", {}, b"payload", []]))),
        ("der-deep", "der", "certificate-limit", "twenty sequences within another", nested),
        ("quote-record-fields", "quote-record", "quote-malformed", "a record of no fields", b"\xa0"),
        ("tpm-trailing", "tpms-attest", "tpm-trailing", "a byte after TPMS_ATTEST", attest + b"\0"),
        ("tpm-truncated", "tpms-attest", "tpm-truncated", "TPMS_ATTEST without its end", attest[:-1]),
        ("tpm-signature", "tpmt-signature", "tpm-malformed", "a signature of no algorithm", b"\x00\x10" + bytes(4)),
        ("tpm-public", "tpmt-public", "tpm-malformed", "a public area of no type", bytes(40)),
        ("uefi-variable", "uefi-variable", "uefi-limit", "a name of 2**64 characters", bytes(16) + b"\xff" * 16),
        ("uefi-lists", "signature-lists", "uefi-malformed", "a list smaller than its own head",
         uefi.CERT_X509.bytes_le + (27).to_bytes(4, "little") + bytes(4) + b"\x10\0\0\0"),
    ):  # fmt: skip
        yield Attack(name, "structure", code, what, {"input.bin": data}, {"format": form})


def _floods() -> Iterator[Attack]:
    """Logs of more events than any machine has, for a verifier that replays them anew for each."""
    event = Event(0, 0, EventType.EV_ACTION, {SHA256: bytes(32)}, b"", 0)
    record = systemd.encode([systemd.Record(0, {SHA256: bytes(32)}, 11, content={})])
    entry = ima.make(0, 10, "ima-ng", ()).encode()
    head = full_boot().log.encode()
    for form, first, unit, limit in (
        ("eventlog", head, event.encode(), eventlog.MAX_EVENTS),
        ("systemd", b"", record, systemd.MAX_RECORDS),
        ("ima", b"", entry, ima.MAX_ENTRIES),
    ):
        given = {"format": form, "unit": len(unit), "times": limit + 1}
        what = f"{limit + 1} events that each cost something"
        yield Attack(f"{form}-flood", "structure", f"{form}-limit", what, {"input.bin": first + unit}, given)


def _huge_event(log: bytes) -> bytes:
    """The size of the last event's data, which is its digest's end and then the size."""
    last = full_boot().events[-1].data
    at = len(log) - len(last) - 4
    return log[:at] + (0xFFFFFFFF).to_bytes(4, "little") + log[at + 4 :]


def _banks(log: bytes, count: int) -> bytes:
    at = 32 + 24  # the head of the first event, then Spec ID version, platform class, versions and errata
    return log[:at] + count.to_bytes(4, "little") + log[at + 4 :]


def other_attacks() -> Iterator[Attack]:
    """All of this module."""
    yield from _quotes()
    yield from _chains()
    yield from _messages()
    yield from _results()
    yield from _structures()
    yield from _floods()
