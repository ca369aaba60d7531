"""Attacks on the appraisal of evidence, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence
from medvouch.crypto import cose
from medvouch.crypto.certificates import TLS_CLIENT
from medvouch.crypto.keys import SoftwareSigner, spki
from medvouch.errors import MedvouchError
from medvouch.formats import cmw, ima, tpm_public
from medvouch.formats.cmw import Collection
from medvouch.formats.eventlog import EventLog, SpecId
from medvouch.formats.reference import CONTENT_TYPE as REFERENCE_TYPE
from support.attacks import LOGS, STEPS
from support.authorities import ALWAYS, NOW, issuing, key
from support.boots import SHA256, SHA384, BootBuilder, full_boot
from support.catalogue_attack import Attack, named_pcrs
from support.evidence import (
    APPRAISER,
    CLIENT_KEY,
    CLOCK,
    DEVICE,
    LAK,
    NONCE,
    RELEASE,
    Change,
    certificate,
    evidence,
    fix,
    reference,
)

CVES = {
    "pcr-values-relabelled": "CVE-2024-29039",
    "pcr-selection-empty": "CVE-2022-0317",
    "pcr-selection-partial": "CVE-2022-0317",
    "quote-not-generated": "CVE-2024-29038",
    "quote-type-wrong": "CVE-2024-29038",
    "signer-not-enrolled": "CVE-2021-3406",
    "eat-key-not-certified": "CVE-2021-3406",
}
WHAT = {
    "certificate-untrusted": "the attestation key's certificate is by an authority that nobody trusts",
    "identity-mismatch": "another device answers, with a certificate of its own",
    "signer-not-enrolled": "another key than the enrolled one, certified for the same device",
    "quote-signature-invalid": "another TPM's key signed the quote",
    "quote-not-generated": "signed bytes without TPM_GENERATED_VALUE",
    "quote-type-wrong": "a certification where a quote is wanted",
    "signer-elsewhere": "the quote's key stands in another place of its TPM than the certification's",
    "eat-key-not-certified": "another key certified the key of the claims",
    "key-not-tpm-bound": "the key of the claims may leave its TPM",
    "eat-signature-invalid": "another key signed the claims",
    "nonce-mismatch": "the answer to another challenge",
    "audience-mismatch": "evidence for another appraiser",
    "client-key-mismatch": "claims of an agent with another connection key",
    "ueid-mismatch": "claims that name another device",
    "binding-mismatch": "a quote over other claims",
    "pcr-selection-empty": "a quote of no PCR",
    "pcr-selection-partial": "a quote that leaves PCR 4 out",
    "pcr-selection-mismatch": "a quote of one PCR more",
    "pcr-values-relabelled": "values that stand one PCR further",
    "pcr-digest-mismatch": "values that were not quoted",
    "tpm-cleared": "resetCount has fallen",
    "clock-went-back": "the TPM's clock has fallen",
    "boot-count-mismatch": "claims of another boot",
    "log-digest-mismatch": "another event log than the claimed",
    "eventlog-truncated": "a log that ends within an event",
    "systemd-malformed": "no log where systemd's is",
    "ima-truncated": "an IMA list that ends within an entry",
    "pcr-mismatch": "a log that does not lead to the quoted values",
    "secure-boot-off": "an honest boot without Secure Boot",
    "event-unexpected": "one event that the release does not have",
    "report-digest-mismatch": "another report of the update than the claimed",
    "report-nonce-mismatch": "a report of the update for another challenge",
    "pcr-out-of-range": "an event for PCR 24",
    "spec-id-repeated": "a second header within the log",
    "spec-id-vendor-info": "bytes after the header that no size accounts for: the first event, hidden",
    "no-action-digest": "a measurement relabelled as no action, so that it is not replayed",
    "startup-locality-wrong": "a locality said after the first event",
    "hcrtm-late": "a hardware CRTM after the firmware",
    "event-retyped": "a separator that is labelled as something else",
    "event-data-mismatch": "data that was not measured, under a digest that was",
    "authority-cut-short": "an authority whose last byte was not measured",
    "separator-missing": "a PCR of the firmware without a separator",
    "separator-doubled": "a PCR with two separators",
    "separator-error": "a separator that reports an error",
    "separator-late": "a boot application before the separator",
    "variable-malformed": "bytes after a Secure Boot variable",
    "variable-repeated": "Secure Boot's state measured twice",
    "variable-late": "Secure Boot's keys after the separator",
    "signature-list-malformed": "a signature list smaller than its own head: unsigned, it asks for gigabytes",
    "authority-early": "an authority before the separator",
    "pcr-unexplained": "a PCR with measurements and no log of them",
    "boot-aggregate-mismatch": "an IMA list of another boot",
    "boot-aggregate-missing": "an IMA list without its beginning",
    "ima-template-mismatch": "an IMA entry with the template hash of another",
    "pcr-values-incomplete": "one value of the quoted is not shown",
    "pcr-values-unquoted": "values beside the quoted",
    "certificate-purpose": "a device key's certificate for the attestation key",
    "key-attributes-wrong": "the attestation key signs the claims, too",
    "eat-malformed": "well-signed claims that are none",
    "evidence-label-unknown": "a record that nothing binds",
    "evidence-label-missing": "evidence without an event log",
    "evidence-media-type": "a record of another type than its label",
    "release-below-floor": "an honest boot of a release whose security epoch is closed",
    "certificate-expired": "honest evidence, years later",
    "certificate-not-yet-valid": "honest evidence, years before",
}


def _files(data: bytes) -> dict[str, bytes]:
    """What a verifier that knows only quotes and logs can look at, as far as there is such."""
    try:
        parsed = UnverifiedEvidence.parse(data)
    except MedvouchError:
        return {}
    record: QuoteRecord = parsed.quote
    return {
        "attest.bin": record.quote.attest,
        "signature.bin": record.quote.signature,
        "lak.der": record.lak_certificate,
        "pcrs.json": named_pcrs(record.pcrs),
        "uefi.bin": parsed.uefi,
    }


def _judged_evidence(code: str, *changes: Change, what: str = "", **given: Any) -> Attack:
    data = evidence(*changes)
    known: dict[str, Any] = {
        "at": NOW, "appraiser": APPRAISER, "device": DEVICE, "nonce": NONCE.hex(), "floor": 1,
        "enrolled_key": spki(LAK.public_key()).hex(), "client_key_thumbprint": CLIENT_KEY.hex(),
        "last_clock": [CLOCK.reset_count, CLOCK.restart_count, CLOCK.clock - 1],
        **given,
    }  # fmt: skip
    files = {
        "evidence.cbor": data,
        "root.der": issuing("enrolment").certificate,
        "release.der": spki(RELEASE.public_key()),
        "reference.cose": REFERENCE,
        **_files(data),
    }
    return Attack(code or "honest", "evidence", code, what or WHAT[code], files, known, CVES.get(code, ""))


REFERENCE = cose.sign(reference(full_boot()).encode(), [SoftwareSigner(RELEASE)], content_type=REFERENCE_TYPE)


def evidence_attacks() -> Iterator[Attack]:
    yield _judged_evidence("", what="an honest device")
    for code, change in STEPS.items():
        yield _judged_evidence(code, change)
    for code, boot in LOGS.items():
        yield _judged_evidence(code, fix("boot", boot()))
    hidden = SpecId((SHA256,), vendor_info=b"events", vendor_info_inside=False)
    outside = EventLog(hidden, tuple(full_boot().events)).encode()
    yield _judged_evidence("spec-id-vendor-info", fix("uefi", outside))
    yield _judged_evidence("pcr-unexplained", fix("ima", None))
    another = BootBuilder().firmware().entry("boot_aggregate", bytes(32))
    yield _judged_evidence("boot-aggregate-mismatch", fix("boot", another))
    flood = "an IMA list that never comes to the quoted value, for a verifier that replays it anew up to each entry"
    yield replace(_judged_evidence("pcr-mismatch", ("ima", _flooded), what=flood), id="quadratic-replay")
    yield _judged_evidence("boot-aggregate-missing", fix("boot", BootBuilder().firmware().entry("/init", b"\7" * 32)))
    yield _judged_evidence("ima-template-mismatch", ("ima", _altered_list))
    for code, change in SHOWN.items():
        yield _judged_evidence(code, ("shown", change))
    device_key = certificate(LAK, profile=TLS_CLIENT)
    yield _judged_evidence("certificate-purpose", fix("lak_certificate", device_key))
    restricted = ("ldevid_public", lambda public: replace(public, attributes=public.attributes | _RESTRICTED))
    yield _judged_evidence("key-attributes-wrong", restricted)
    no_claims = cose.sign1(b"\xa0", SoftwareSigner(key("ldevid")), content_type="application/eat+cwt")
    yield _judged_evidence("eat-malformed", fix("eat", no_claims))
    extra = cmw.Record("text/plain", b"extra", cmw.Indicator.EVIDENCE)
    yield _judged_evidence("evidence-label-unknown", ("collection", lambda c: _with(c, extra=extra)))
    yield _judged_evidence("evidence-label-missing", ("collection", lambda c: _with(c, uefi=None)))
    yield _judged_evidence("evidence-media-type", ("collection", lambda c: _with(c, uefi=extra)))
    yield _judged_evidence("release-below-floor", floor=2)
    yield _judged_evidence("certificate-expired", at=ALWAYS.not_after + 1)
    yield _judged_evidence("certificate-not-yet-valid", at=ALWAYS.not_before - 1)


_RESTRICTED = tpm_public.ObjectAttribute.RESTRICTED


def _with(collection: Collection, **records: cmw.Record | None) -> Collection:
    merged = {**collection.records, **records}
    return replace(collection, records={label: record for label, record in merged.items() if record is not None})


FLOOD = 4000


def _flooded(data: bytes) -> bytes:
    """After the aggregate entries that were not measured, in place of the one that was."""
    entries = ima.parse_binary(data)
    unmeasured = ima.make(0, 10, "ima-ng", (b"sha256:\0" + bytes(32), b"/\0"))
    return ima.encode((*entries[:1], *[unmeasured] * FLOOD))


def _altered_list(data: bytes) -> bytes:
    """The last entry says another template hash."""
    said = full_boot().entries[-1].template_hash
    assert said in data
    return data.replace(said, b"\1" * len(said))


SHOWN: dict[str, Callable[[Any], Any]] = {
    "pcr-values-incomplete": lambda pcrs: {SHA256: {pcr: value for pcr, value in pcrs[SHA256].items() if pcr}},
    "pcr-values-unquoted": lambda pcrs: {**pcrs, SHA384: {0: bytes(48)}},
}
