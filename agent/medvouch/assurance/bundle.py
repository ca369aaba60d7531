"""A device's whole life, judged without the device and without its maker (DESIGN §8; ADR 14)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medvouch.assurance import refusals
from medvouch.attestation.results import verify_signed
from medvouch.attestation.sanitisation import VerifiedSanitisation, verify_sanitisation
from medvouch.crypto import cose
from medvouch.crypto.ca import BACKDATING
from medvouch.crypto.certificates import ATTESTATION_KEY, DEVICE_ID, load
from medvouch.crypto.checkpoints import VerifiedCheckpoint
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.x509 import VerifiedCertificate, verify_chain
from medvouch.errors import InputError, Refusal
from medvouch.formats import command, enrolment
from medvouch.formats.command import Command
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Ear
from medvouch.formats.eat import LedgerHead
from medvouch.formats.enrolment import Answer
from medvouch.formats.ledger import Bundle, CertifiedCheckpoint, Entry
from medvouch.ledger.checkpoints import check_heads, head_of, verify_checkpoints
from medvouch.ledger.refusals import CHECKPOINT_GAP
from medvouch.ledger.statements import Author, VerifiedEntry, verify_entries

ANSWER, EAR, COMMAND = "answer", "ear", "command"
"""What is attached to entries under these names is judged for what it is; all else is a digest that someone signed."""
ATTESTATION = "attestation"
"""The machine whose states are verdicts."""
RECEIPT, SANITISATION = "receipt", "sanitisation"


@dataclass(frozen=True)
class BundleTrust:
    """Whom the judge believes: keys of the roles as they are at the judged time, roots (DER) of enrolment."""

    enrolment: Sequence[PublicKey]
    enrolment_roots: Sequence[bytes]
    appraisers: Sequence[PublicKey]
    commanders: Sequence[PublicKey]


@dataclass(frozen=True)
class Verdict:
    """A result that a trusted appraiser signed about this device, and the entry that it came with."""

    entry: int
    ear: Ear


@dataclass(frozen=True)
class Ordered:
    """A command that a trusted commander signed for this device, and the entry that it came with."""

    entry: int
    command: Command


@dataclass(frozen=True)
class VerifiedLife:
    """What a bundle proves; built by `verify_bundle` alone.

    The TPM confirms the first `by_tpm` entries, an appraiser the first `by_appraiser`; those after both stand on the
    device's word. `owner` answers for the device in the end. `receipt` is on all of it, where there is one.
    """

    device: str
    ueid: bytes
    serial: str
    owner: str
    entries: tuple[VerifiedEntry, ...]
    checkpoints: tuple[VerifiedCheckpoint, ...]
    verdicts: tuple[Verdict, ...]
    commands: tuple[Ordered, ...]
    by_tpm: int
    by_appraiser: int
    receipt: Ear | None
    sanitisation: VerifiedSanitisation | None

    @property
    def states(self) -> dict[str, str]:
        """Where each machine (life, update, ...) was left."""
        return {entry.statement.machine: entry.statement.after for entry in self.entries}


def assemble(
    device: str,
    entries: Sequence[bytes],
    checkpoints: Sequence[bytes],
    *,
    receipt: bytes = b"",
    sanitisation: bytes = b"",
    nonce: bytes = b"",
) -> Bundle:
    """A bundle of rows as a store keeps them. Raises InputError `ledger-*`, `checkpoint-*`, `cbor-*`."""
    return Bundle(
        device,
        tuple(Entry.parse(row) for row in entries),
        tuple(CertifiedCheckpoint.parse(row) for row in checkpoints),
        receipt,
        sanitisation,
        nonce,
    )


def verify_bundle(data: bytes, trust: BundleTrust, at: int) -> VerifiedLife:
    """Judge a bundle at `at` (s since 1970).

    1. It is a bundle, in the one form that it has, within its limits.
    2. It begins with the answer to an enrolment, by a trusted authority.
    3. The certificates of LAK and LDevID led to a trusted root when they were issued, and that is past: what they
       certified then does not become untrue when they expire.
    4. Answer, certificates and bundle are about one device.
    5. The entries are its LDevID's, without a gap, and every machine goes on from where it was left.
    6. The checkpoints are its TPM's, without a gap, and the entries are the ones that it was told.
    7. Verdicts are a trusted appraiser's about this device, as the entries say; the heads they confirm are its.
    8. Commands are a trusted commander's for this device.
    9. The receipt, if any, confirms the ledger as it stands.
    10. The sanitisation, if any, is proven by the device's IAK, after the last entry.

    Raises InputError `bundle-*` and those of what is inside; Refusal `bundle-*`, `ledger-*`,
    `checkpoint-not-certified`, with the first thing that does not hold as place: `entry N`, `checkpoint N`,
    `receipt`, `sanitisation`.
    """
    bundle = Bundle.parse(data)  # 1
    answer = _answer(bundle, trust)  # 2
    lak, ldevid = _certificates(answer, trust, at)  # 3
    _check_device(bundle, answer, (lak, ldevid))  # 4
    device = answer.device_id
    entries = verify_entries(bundle.entries, ldevid.public_key, Author(device, answer.ueid))  # 5
    checkpoints = verify_checkpoints(bundle.checkpoints, entries, lak.public_key, answer.nv_names)  # 6
    for number, each in enumerate(checkpoints):
        if each.checkpoint.device != device:
            detail = f"the checkpoint is of {each.checkpoint.device}"
            raise Refusal(refusals.BUNDLE_OTHER_DEVICE, detail, place=f"checkpoint {number}")
    verdicts = tuple(_verdicts(entries, trust, device))  # 7
    heads = _confirmed(verdicts, checkpoints)
    check_heads(sorted((head.size, head.root) for head in heads), entries)
    commands = tuple(_commands(entries, trust, device))  # 8
    receipt = _receipt(bundle.receipt, entries, checkpoints, trust, device)  # 9
    sanitisation = _sanitisation(bundle, answer, ldevid.serial, entries, checkpoints)  # 10
    owners = [answer.accountable_owner, *(entry.statement.owner for entry in entries if entry.statement.owner)]
    return VerifiedLife(
        device=device,
        ueid=answer.ueid,
        serial=ldevid.serial,
        owner=owners[-1],
        entries=entries,
        checkpoints=checkpoints,
        verdicts=verdicts,
        commands=commands,
        by_tpm=checkpoints[-1].checkpoint.size if checkpoints else 0,
        by_appraiser=len(entries) if receipt else max((head.size for head in heads), default=0),
        receipt=receipt,
        sanitisation=sanitisation,
    )


def _answer(bundle: Bundle, trust: BundleTrust) -> Answer:
    """Believed before the entry that it came with: it names the key that must have signed that."""
    data = bundle.entries[0].attachments.get(ANSWER) if bundle.entries else None
    kind, place = refusals.BUNDLE_ANSWER_UNTRUSTED, "entry 0"
    if data is None:
        raise Refusal(kind, "no answer to an enrolment is attached", place=place)
    try:
        signed = cose.verify1_by_any(data, trust.enrolment, content_type=enrolment.CONTENT_TYPE, otherwise=kind)
        return Answer.parse(signed)
    except (Refusal, InputError) as cause:
        raise Refusal(kind, f"{cause.code}: {cause.detail}", place=place) from cause


def _certificates(answer: Answer, trust: BundleTrust, at: int) -> tuple[VerifiedCertificate, VerifiedCertificate]:
    """Those of LAK and LDevID."""
    try:
        lak, ldevid = (
            verify_chain(leaf, answer.chain, trust.enrolment_roots, _issued(leaf, at), profile=profile)
            for leaf, profile in ((answer.lak_certificate, ATTESTATION_KEY), (answer.ldevid_certificate, DEVICE_ID))
        )
    except (Refusal, InputError) as cause:
        detail = f"{cause.code}: {cause.detail}"
        raise Refusal(refusals.BUNDLE_ANSWER_UNTRUSTED, detail, place="entry 0") from cause
    return lak, ldevid


def _issued(certificate: bytes, at: int) -> int:
    """When it was issued, or `at` where that is earlier: then it was not yet valid."""
    return min(at, int(load(certificate).parsed.not_valid_before_utc.timestamp()) + BACKDATING)


def _check_device(bundle: Bundle, answer: Answer, certificates: Sequence[VerifiedCertificate]) -> None:
    identifier = enrolment.ueid(answer.ek_hash)
    names = {answer.device_id, enrolment.device_id(identifier), *(each.device_id for each in certificates)}
    serials = {each.serial for each in certificates}
    if answer.ueid != identifier or len(names) != 1 or len(serials) != 1:
        raise Refusal(refusals.BUNDLE_OTHER_DEVICE, f"one answer names {', '.join(sorted(names))}", place="entry 0")
    if bundle.device != answer.device_id:
        raise Refusal(refusals.BUNDLE_OTHER_DEVICE, f"{bundle.device} is shown, {answer.device_id} was enrolled")


def _verdicts(entries: Sequence[VerifiedEntry], trust: BundleTrust, device: str) -> Iterator[Verdict]:
    for number, entry in enumerate(entries):
        place, statement = f"entry {number}", entry.statement
        data = _attached(entry, EAR, place)
        says_verdict = statement.machine == ATTESTATION
        if data is not None:
            ear = _ear(data, trust, device, place)
            if says_verdict and statement.after != ear.status.name.lower():
                detail = f"the entry says {statement.after!r}, the appraiser {ear.status.name.lower()!r}"
                raise Refusal(refusals.BUNDLE_VERDICT_UNTRUSTED, detail, place=place)
            yield Verdict(number, ear)
        elif says_verdict:
            raise Refusal(refusals.BUNDLE_VERDICT_UNTRUSTED, "the device says so, and no appraiser", place=place)


def _ear(data: bytes, trust: BundleTrust, device: str, place: str) -> Ear:
    try:
        ear = verify_signed(data, trust.appraisers).ear
    except (Refusal, InputError) as cause:
        detail = f"{cause.code}: {cause.detail}"
        raise Refusal(refusals.BUNDLE_VERDICT_UNTRUSTED, detail, place=place) from cause
    if ear.device != device:
        raise Refusal(refusals.BUNDLE_OTHER_DEVICE, f"the verdict is about {ear.device}", place=place)
    return ear


def _confirmed(verdicts: Sequence[Verdict], checkpoints: Sequence[VerifiedCheckpoint]) -> list[LedgerHead]:
    """The heads that verdicts confirm: of entries before them, at checkpoints that are there."""
    sizes = {each.checkpoint.counter: each.checkpoint.size for each in checkpoints}
    heads = []
    for verdict in verdicts:
        head, place = verdict.ear.ledger_head, f"entry {verdict.entry}"
        if head is None:
            continue
        if head.size > verdict.entry:
            detail = f"it confirms {head.size} entries, and itself came after {verdict.entry}"
            raise Refusal(refusals.BUNDLE_VERDICT_UNTRUSTED, detail, place=place)
        if sizes.get(head.counter, head.size + 1) > head.size:
            detail = f"the appraiser saw checkpoint {head.counter} of no more than {head.size} entries"
            raise Refusal(CHECKPOINT_GAP, detail, place=place)
        heads.append(head)
    return heads


def _commands(entries: Sequence[VerifiedEntry], trust: BundleTrust, device: str) -> Iterator[Ordered]:
    for number, entry in enumerate(entries):
        place = f"entry {number}"
        data = _attached(entry, COMMAND, place)
        if data is None:
            continue
        kind = refusals.BUNDLE_COMMAND_UNTRUSTED
        try:
            signed = cose.verify1_by_any(data, trust.commanders, content_type=command.CONTENT_TYPE, otherwise=kind)
            order = Command.parse(signed)
        except (Refusal, InputError) as cause:
            raise Refusal(kind, f"{cause.code}: {cause.detail}", place=place) from cause
        if order.device != device:
            raise Refusal(refusals.BUNDLE_OTHER_DEVICE, f"the command is for {order.device}", place=place)
        yield Ordered(number, order)


def _attached(entry: VerifiedEntry, name: str, place: str) -> bytes | None:
    """What is attached by that name, or None where the entry names no such thing either."""
    if name in entry.statement.digests and name not in entry.attachments:
        raise Refusal(refusals.BUNDLE_ATTACHMENT_MISSING, f"{name!r} is named and not there", place=place)
    return entry.attachments.get(name)


def _receipt(
    data: bytes,
    entries: Sequence[VerifiedEntry],
    checkpoints: Sequence[VerifiedCheckpoint],
    trust: BundleTrust,
    device: str,
) -> Ear | None:
    """No entry names its digest, so that all of it must be signed: nothing stands in its unprotected header."""
    if not data:
        return None
    ear = _ear(data, trust, device, RECEIPT)
    if Sign1.parse(data).unprotected:
        raise Refusal(refusals.BUNDLE_VERDICT_UNTRUSTED, "headers that nobody signed", place=RECEIPT)
    head = _head(entries, checkpoints)
    if ear.ledger_head != head:
        detail = f"it confirms {_words(ear.ledger_head)}, the ledger is {_words(head)}"
        raise Refusal(refusals.BUNDLE_RECEIPT_MISMATCH, detail, place=RECEIPT)
    return ear


def _words(head: LedgerHead | None) -> str:
    return f"{head.size} entries ({head.root.hex()}) at checkpoint {head.counter}" if head else "nothing"


def _sanitisation(
    bundle: Bundle,
    answer: Answer,
    serial: str,
    entries: Sequence[VerifiedEntry],
    checkpoints: Sequence[VerifiedCheckpoint],
) -> VerifiedSanitisation | None:
    """The TPM's own resetCount at the last checkpoint tells whether it was cleared after it was in service."""
    if not bundle.sanitisation:
        return None
    kind = refusals.BUNDLE_SANITISATION_UNPROVEN
    resets = checkpoints[-1].clock.reset_count if checkpoints else None
    try:
        verified = verify_sanitisation(
            bundle.sanitisation, answer.iak_public, bundle.nonce, answer.device_id, resets_in_service=resets
        )
    except (Refusal, InputError) as cause:
        raise Refusal(kind, f"{cause.code}: {cause.detail}", place=SANITISATION) from cause
    found, head = verified.certificate, _head(entries, checkpoints)
    if found.serial != serial or LedgerHead(found.ledger_size, found.ledger_root, found.ledger_counter) != head:
        detail = f"{found.serial} with another ledger of {found.ledger_size} entries was sanitised"
        raise Refusal(kind, detail, place=SANITISATION)
    return verified


def _head(entries: Sequence[VerifiedEntry], checkpoints: Sequence[VerifiedCheckpoint]) -> LedgerHead:
    return head_of(entries, checkpoints[-1].checkpoint.counter if checkpoints else 0)
