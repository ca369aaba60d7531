"""Verified events held against signed reference values, event by event, so that a difference can be named."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from medvouch.attestation import refusals
from medvouch.attestation.measurements import Measurement, VerifiedEvent, VerifiedEvents
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, Signer, spki
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats.corim import CONTENT_TYPE as CORIM_CONTENT_TYPE
from medvouch.formats.corim import Corim
from medvouch.formats.corim_reference import from_corim, to_corim
from medvouch.formats.cose import TAG_SIGN1, Header
from medvouch.formats.reference import CONTENT_TYPE, Mode, PcrReference, ReferenceEvent, ReferenceValues

_SIGN1_HEAD = bytes([0xC0 | TAG_SIGN1])
_CWT_CLAIMS, _ISSUER = 15, 1
"""Header parameter of RFC 9597, and the claim iss in it; the draft wants one of two names of the signer."""


@dataclass(frozen=True)
class VerifiedReference:
    """Reference values that enough trusted keys signed; built by `verify_references` alone."""

    values: ReferenceValues


def verify_references(
    messages: Iterable[bytes], keys: Sequence[PublicKey], threshold: int = 1
) -> tuple[VerifiedReference, ...]:
    """Check signed reference values: `threshold` different keys of the role `release` signed each.

    They come as a COSE_Sign by all of them, or as a signed CoRIM (COSE_Sign1): one CoRIM signed by several is several
    messages of the same payload. Raises InputError, Refusal `reference-untrusted`.
    """
    payloads, corims = [], []
    for message in messages:
        if message[:1] == _SIGN1_HEAD:
            corims.append(message)
        else:
            payloads.append(_payload(message, keys, threshold))
    values = [ReferenceValues.parse(payload) for payload in payloads]
    values += [from_corim(Corim.parse(payload)) for payload in _corim_payloads(corims, keys, threshold)]
    return tuple(VerifiedReference(each) for each in values)


def _payload(message: bytes, keys: Sequence[PublicKey], threshold: int) -> bytes:
    try:
        return cose.verify(message, keys, threshold=threshold, content_type=CONTENT_TYPE).payload
    except Refusal as cause:
        raise Refusal(refusals.REFERENCE_UNTRUSTED, f"{cause.code}: {cause.detail}") from cause


def _corim_payloads(messages: Sequence[bytes], keys: Sequence[PublicKey], threshold: int) -> Iterable[bytes]:
    """Each payload once; all that somebody else signed is refused."""
    signers: dict[bytes, set[bytes]] = {}
    for message in messages:
        signer, payload = _corim_signer(message, keys)
        signers.setdefault(payload, set()).add(signer)
    for signed in signers.values():
        if len(signed) < threshold:
            detail = f"{len(signed)} of {len(keys)} keys signed the CoRIM, {threshold} must"
            raise Refusal(refusals.REFERENCE_UNTRUSTED, detail)
    return signers


def _corim_signer(message: bytes, keys: Sequence[PublicKey]) -> tuple[bytes, bytes]:
    """(SPKI of the key that signed, payload). Who signed says the key; the names in the header are for people."""
    reason = "no key is trusted with this"
    for key in keys:
        try:
            verified = cose.verify1(message, key, content_type=CORIM_CONTENT_TYPE)
        except Refusal as cause:
            reason = f"{cause.code}: {cause.detail}"
        else:
            return spki(key), verified.payload
    raise Refusal(refusals.REFERENCE_UNTRUSTED, reason)


def sign_corim(values: ReferenceValues, signer: Signer, issuer: str) -> bytes:
    """A signed CoRIM of these values; `issuer` names who signs (CWT claims in the header, RFC 9597).

    Raises InputError `corim-malformed` where an event has digests of SHA-1 or SM3 only.
    """
    header: Header = {_CWT_CLAIMS: {_ISSUER: issuer}}
    return cose.sign1(to_corim(values).encode(), signer, content_type=CORIM_CONTENT_TYPE, protected=header)


class Difference(Refusal):
    """An event that a release does not measure, or does not measure there; digests in `bank`, None where there is none.

    `wanted` says what the release measures there instead; `index` and `log` are of the event that was found.
    """

    def __init__(
        self,
        kind: RefusalKind,
        detail: str,
        pcr: int,
        *,
        found: Measurement | None = None,
        wanted: ReferenceEvent | None = None,
        bank: str = "",
    ) -> None:
        place = f"PCR {pcr}" + (f", {found.log} event {found.index}" if found else "")
        super().__init__(kind, detail, place=place)
        self.pcr = pcr
        self.bank = bank
        self.found = found
        self.wanted = wanted


def match(
    events: VerifiedEvents, references: Sequence[VerifiedReference], pcrs: Collection[int] | None = None
) -> ReferenceValues:
    """The first reference that all events agree with; only those of `pcrs` where these are given.

    Where none does, the difference to the nearest one is raised, the one that agrees in most PCRs: Difference
    `event-unexpected` or `event-missing` with PCR, event, expected and found digest; Refusal `reference-missing`
    without any.
    """
    values, differences = nearest(events, references, pcrs)
    if differences:
        raise differences[0]
    return values


def nearest(
    events: VerifiedEvents, references: Sequence[VerifiedReference], pcrs: Collection[int] | None = None
) -> tuple[ReferenceValues, Sequence[Difference]]:
    """The reference that differs in the fewest PCRs, the first of several, and the first difference of each PCR.

    Raises Refusal `reference-missing`.
    """
    best: tuple[ReferenceValues, Sequence[Difference]] | None = None
    for reference in references:
        found = [each for each in _differences(events, reference.values) if pcrs is None or each.pcr in pcrs]
        if best is None or len(found) < len(best[1]):
            best = reference.values, found
        if not found:
            break
    if best is None:
        raise Refusal(refusals.REFERENCE_MISSING, "there are no reference values to hold the boot against")
    return best


def _differences(events: VerifiedEvents, values: ReferenceValues) -> Iterable[Difference]:
    """The first difference of each PCR."""
    expected = {row.pcr: row for row in values.pcrs}
    for pcr in sorted(expected.keys() | {event.pcr for event in events}):
        row = expected.get(pcr, PcrReference(pcr, Mode.EXACT, ()))
        difference = _difference(row, events.of(pcr), values.release)
        if difference is not None:
            yield difference


def _difference(row: PcrReference, found: Sequence[VerifiedEvent], release: str) -> Difference | None:
    if row.mode is Mode.ALLOWED:
        return next((_unexpected(event, None, release) for event in _not_allowed(row, found)), None)
    for event, wanted in zip(found, row.events, strict=False):
        if not _agrees(event, wanted):
            return _unexpected(event, wanted, release)
    if len(found) > len(row.events):
        return _unexpected(found[len(row.events)], None, release)
    if len(found) < len(row.events) and row.mode is Mode.EXACT:
        wanted = row.events[len(found)]
        detail = f"release {release} also measures {wanted.description}"
        return Difference(refusals.EVENT_MISSING, detail, row.pcr, wanted=wanted)
    return None


def _agrees(event: VerifiedEvent, wanted: ReferenceEvent) -> bool:
    """Equal in every bank that both have, and they share one."""
    shared = False
    for bank, found in event.digests.items():
        if (expected := wanted.digests.get(bank.label)) is not None:
            if found != expected:
                return False
            shared = True
    return shared


def _not_allowed(row: PcrReference, found: Iterable[VerifiedEvent]) -> Iterator[VerifiedEvent]:
    """Those that agree with none; looked up by digest, since there may be thousands on both sides."""
    allowed = row.by_digest
    for event in found:
        keys = ((bank.label, digest) for bank, digest in event.digests.items())
        if not any(_agrees(event, wanted) for key in keys for wanted in allowed.get(key, ())):
            yield event


def _unexpected(event: VerifiedEvent, wanted: ReferenceEvent | None, release: str) -> Difference:
    """`wanted` is what the release measures there, if it is one certain event; a bank that differs is named."""
    expected = {} if wanted is None else wanted.digests
    differing = [bank for bank, digest in event.digests.items() if expected.get(bank.label, digest) != digest]
    bank = differing[0] if differing else next(iter(event.digests))
    if wanted is None:
        expects = "no such event"
    else:
        expects = f"{wanted.description} ({expected[bank.label].hex() if differing else 'in other banks'})"
    detail = f"{event.describe()} has {bank.label} {event.digests[bank].hex()}, release {release} expects {expects}"
    return Difference(refusals.EVENT_UNEXPECTED, detail, event.pcr, found=event, wanted=wanted, bank=bank.label)
