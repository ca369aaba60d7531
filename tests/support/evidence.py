"""Evidence made byte for byte with software keys, as a TPM and its agent make it.

`evidence(*changes)` is consistent but for the changes: each names a part and says what becomes of it before everything
that is made from it, signatures and digests among it, is made.

    lak_certificate, lak, ldevid, ldevid_public   who signs, and what is said of it
    boot, uefi, systemd, ima                      what is measured, and the logs
    suit_report                                   what came of the last update, by default nothing
    claims, eat_key, eat_type, eat                the claims, their signature, the signed whole
    pcrs, shown                                   the values that are quoted, and those that are shown
    quote, quote_key, certify, certify_key        TPMS_ATTEST before it is signed, and the key that signs it
    record, collection                            the record `quote`, and the collection
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from medvouch.attestation.appraisal import Anchors, BootClock, Expectation
from medvouch.attestation.evidence import (
    EAT_CONTENT_TYPE,
    QuoteRecord,
    encode_evidence,
    qualifying_data,
)
from medvouch.attestation.provisioning import LDEVID_TEMPLATE
from medvouch.attestation.quotes import PcrValues
from medvouch.attestation.reference import VerifiedReference, verify_references
from medvouch.attestation.replay import VerifiedEvent, replay
from medvouch.crypto import cose
from medvouch.crypto.ca import CertificateAuthority, subject
from medvouch.crypto.certificates import ATTESTATION_KEY, Profile
from medvouch.crypto.keys import SoftwareSigner, key_thumbprint
from medvouch.crypto.tpm import name, pcr_digest
from medvouch.formats import ima, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cmw import Collection
from medvouch.formats.eat import Eat
from medvouch.formats.enrolment import device_id
from medvouch.formats.reference import CONTENT_TYPE, Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.tpm import (
    Attest,
    AttestType,
    CertifyInfo,
    ClockInfo,
    PcrSelection,
    QuoteInfo,
    Signature,
    SignatureAlg,
    SignedAttest,
)
from medvouch.formats.tpm_public import Public
from support.authorities import ALWAYS, NOW, issuing, key, serial
from support.boots import COMMAND_LINE, BootBuilder, full_boot

NONCE = bytes(range(32))
APPRAISER = "collector"
UEID = b"\x01" + hashlib.sha256(b"the endorsement key").digest()
DEVICE = device_id(UEID)
LAK, LDEVID, RELEASE = key("lak"), key("ldevid"), key("release")
CLIENT_KEY = key_thumbprint(key("client").public_key())
CLOCK = ClockInfo(clock=60_000, reset_count=7, restart_count=2, safe=True)
QUALIFIED_SIGNER = b"\x00\x0b" + bytes(32)
MODES = {10: Mode.ALLOWED, 11: Mode.PREFIX}

Change = tuple[str, Callable[[Any], Any]]


def fix(part: str, value: object) -> Change:
    """The part is this."""
    return part, lambda _: value


def fields(part: str, **values: object) -> Change:
    """Fields of the part are these."""
    return part, lambda made: replace(made, **values)


def evidence(*changes: Change) -> bytes:
    """Encoded evidence of a full boot, changed part by part; changes of one part are made in their order."""

    def part(named: str, made: Any) -> Any:
        for changed, change in changes:
            made = change(made) if changed == named else made
        return made

    lak = part("lak", LAK)
    boot = part("boot", full_boot())
    uefi = part("uefi", boot.log.encode())
    report = part("suit_report", None)
    claims = part("claims", claims_of(uefi, report))
    payload = claims.encode()
    eat_signer = SoftwareSigner(part("eat_key", ldevid := part("ldevid", LDEVID)))
    eat = cose.sign1(payload, eat_signer, content_type=part("eat_type", EAT_CONTENT_TYPE))
    pcrs = part("pcrs", static_pcrs(boot))
    selection = PcrSelection.of(pcrs)
    quoted = QuoteInfo(selection, pcr_digest(pcrs, selection))
    binding = qualifying_data(claims.audience, claims.nonce, payload)
    quote = Attest(AttestType.QUOTE, QUALIFIED_SIGNER, binding, CLOCK, 1, quoted)
    public = part("ldevid_public", public_of(ldevid)).encode()
    certified = CertifyInfo(name(public), QUALIFIED_SIGNER)
    certify = Attest(AttestType.CERTIFY, QUALIFIED_SIGNER, b"", CLOCK, 1, certified)
    record = QuoteRecord(
        quote=signed(part("quote", quote), part("quote_key", lak)),
        pcrs=part("shown", pcrs),
        lak_certificate=part("lak_certificate", certificate(lak)),
        ldevid_public=public,
        ldevid_certify=signed(part("certify", certify), part("certify_key", lak)),
    )
    encoded = encode_evidence(
        part("eat", eat),
        part("record", record),
        uefi,
        part("systemd", systemd.encode(boot.records)),
        part("ima", ima.encode(tuple(boot.entries))),
        suit_report=report,
    )
    made: Collection = part("collection", Collection.parse(encoded))
    return made.encode()


def claims_of(uefi: bytes, report: bytes | None = None) -> Eat:
    """What the device says of itself, truthfully."""
    return Eat(
        nonce=NONCE,
        audience=APPRAISER,
        issued_at=NOW,
        client_key_thumbprint=CLIENT_KEY,
        ueid=UEID,
        oem_id=b"\x00\x01\x02",
        hw_model=b"gateway-1",
        hw_version="A2",
        uptime=60,
        boot_count=CLOCK.reset_count,
        sw_name="medvouch-gateway",
        sw_version="1.0.0",
        uefi_log_digest=hashlib.sha256(uefi).digest(),
        suit_report_digest=hashlib.sha256(report).digest() if report else None,
    )


def static_pcrs(boot: BootBuilder) -> dict[HashAlg, dict[int, bytes]]:
    """PCRs 0 to 15 after this boot."""
    return {bank: {pcr: values[pcr] for pcr in range(16)} for bank, values in boot.pcrs.items()}


def certificate(
    holder: ec.EllipticCurvePrivateKey,
    *,
    device: str = DEVICE,
    profile: Profile = ATTESTATION_KEY,
    issuer: CertificateAuthority | None = None,
) -> bytes:
    """As the enrolment authority issues one."""
    authority = issuer or issuing("enrolment")
    return authority.issue(profile, holder.public_key(), subject(device), ALWAYS, serial())


def public_of(holder: ec.EllipticCurvePrivateKey) -> Public:
    """The key as an LDevID in a TPM."""
    numbers = holder.public_key().public_numbers()
    point = (numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big"))
    return replace(Public.parse(LDEVID_TEMPLATE), unique=point)


def signed(attest: Attest, holder: ec.EllipticCurvePrivateKey) -> SignedAttest:
    """As a TPM signs: ECDSA with SHA-256."""
    encoded = attest.encode()
    r, s = decode_dss_signature(holder.sign(encoded, ec.ECDSA(hashes.SHA256())))
    value = (r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    return SignedAttest(encoded, Signature(SignatureAlg.ECDSA, HashAlg.SHA256, value).encode())


def expectation(**changes: Any) -> Expectation:
    """What the appraiser knows of the device, its last evidence being of this boot."""
    known = Expectation(
        appraiser=APPRAISER,
        device=DEVICE,
        nonce=NONCE,
        attestation_key=LAK.public_key(),
        client_key_thumbprint=CLIENT_KEY,
        last_clock=BootClock(CLOCK.reset_count, CLOCK.restart_count, CLOCK.clock - 1),
        qualified_name=QUALIFIED_SIGNER,
    )
    return replace(known, **changes)


def anchors(*references: ReferenceValues) -> Anchors:
    """The enrolment authority, and these references; one of the full boot where none are given."""
    return Anchors([issuing("enrolment").certificate], verified(*(references or (reference(full_boot()),))))


def verified(*references: ReferenceValues) -> tuple[VerifiedReference, ...]:
    """Signed by the release key, and checked."""
    signer = SoftwareSigner(RELEASE)
    messages = [cose.sign(values.encode(), [signer], content_type=CONTENT_TYPE) for values in references]
    return verify_references(messages, [key("stranger").public_key(), RELEASE.public_key()])


def reference(boot: BootBuilder, release: str = "1.0.0", modes: Mapping[int, Mode] = MODES) -> ReferenceValues:
    """What this boot measured, PCR by PCR."""
    return ReferenceValues(
        model="gateway-1",
        release=release,
        security_epoch=1,
        command_lines=(COMMAND_LINE,),
        pcrs=tuple(_pcr_references(boot, modes)),
    )


def _pcr_references(boot: BootBuilder, modes: Mapping[int, Mode]) -> Iterable[PcrReference]:
    quoted: PcrValues = boot.pcrs
    events = replay(boot.logs, quoted).events
    for pcr in sorted({event.pcr for event in events}):
        yield PcrReference(pcr, modes.get(pcr, Mode.EXACT), _reference_events(events.of(pcr)))


def _reference_events(events: Sequence[VerifiedEvent]) -> tuple[ReferenceEvent, ...]:
    return tuple(
        ReferenceEvent(event.describe()[:256], {bank.label: value for bank, value in event.digests.items()})
        for event in events
    )
