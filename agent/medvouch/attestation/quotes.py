"""A quote checked on its own: the structures that TPM2_Quote gives, the PCR values beside them, and a challenge.

`appraisal` builds on the same steps; whoever embeds only quotes calls `verify_quote`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from medvouch.attestation import quote_refusals, refusals
from medvouch.crypto import refusals as crypto_refusals
from medvouch.crypto import tpm
from medvouch.crypto.keys import PublicKey
from medvouch.errors import Refusal
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, AttestType, PcrSelection, QuoteInfo, SignedAttest

PcrValues = Mapping[HashAlg, Mapping[int, bytes]]
"""By bank and PCR number."""

MIN_NONCE_BYTES = 8
"""Shorter ones repeat by chance (RFC 9711, 4.1)."""

_TYPE = slice(4, 6)
"""Of a TPMS_ATTEST (Part 2, 10.12.12)."""


@dataclass(frozen=True)
class SignedQuote:
    """A quote whose signature holds; `hash` is also that of its PCR digest. Nothing is known of its values yet."""

    attest: Attest
    quoted: QuoteInfo
    hash: HashAlg


@dataclass(frozen=True)
class VerifiedQuote:
    """What a TPM said of its PCRs; built by `verify_quote` only.

    `pcrs` are the values of the banks that are believed; `untrusted` the other banks that were quoted (SHA-1 and those
    whose hashes no signature is checked with), of which nothing is concluded.
    """

    attest: Attest
    hash: HashAlg
    selection: PcrSelection
    pcrs: PcrValues
    untrusted: tuple[HashAlg, ...]


def verify_quote(
    public_key: PublicKey,
    attest: bytes,
    signature: bytes,
    pcrs: PcrValues,
    nonce: bytes,
    *,
    required: PcrSelection | None = None,
    qualified_name: bytes | None = None,
) -> VerifiedQuote:
    """Check `attest` (TPMS_ATTEST) and `signature` (TPMT_SIGNATURE) of a quote by the attestation key `public_key`.

    `nonce` is all of the qualifyingData that was asked for, `required` exactly the PCRs that must be covered,
    `qualified_name` the key's (TPM2B_NAME contents), each where the caller knows. Whether the key is a restricted one
    in a TPM is for `key_roles` and enrolment to say.

    1. The challenge was one: `nonce-empty`, `nonce-short`, `nonce-constant`.
    2. The key signed it, and a TPM generated it; it is a quote: `quote-signature-invalid`, `quote-not-generated`,
       `quote-type-wrong`.
    3. The key stands in its TPM where it should: `signer-elsewhere`.
    4. It answers the challenge: `quote-stale`.
    5. It covers some PCR of a bank that is believed, and exactly those required: `pcr-selection-*`, `bank-untrusted`.
    6. The values stand under the numbers that are quoted, whole: `pcr-values-*`, `pcr-value-size`.
    7. The values are the ones quoted: `pcr-digest-mismatch`.

    Raises InputError `tpm-*`, and these.
    """
    check_nonce(nonce)  # 1
    quote = signed_quote(SignedAttest(attest, signature), public_key, qualified_name)  # 2, 3
    if quote.attest.extra_data != nonce:  # 4
        raise Refusal(quote_refusals.QUOTE_STALE, f"{nonce.hex()} was asked, {quote.attest.extra_data.hex()} answered")
    return verified_values(quote, pcrs, required)  # 5, 6, 7


def check_nonce(nonce: bytes) -> bytes:
    """A challenge that a device can only answer afresh; it, back. Raises Refusal `nonce-*`."""
    if not nonce:
        raise Refusal(quote_refusals.NONCE_EMPTY, "there is no nonce")
    if len(nonce) < MIN_NONCE_BYTES:
        raise Refusal(quote_refusals.NONCE_SHORT, f"{len(nonce)} bytes where at least {MIN_NONCE_BYTES} are wanted")
    if len(set(nonce)) == 1:
        raise Refusal(quote_refusals.NONCE_CONSTANT, f"all its bytes are 0x{nonce[0]:02x}")
    return nonce


def signed_quote(signed: SignedAttest, key: PublicKey, qualified_name: bytes | None = None) -> SignedQuote:
    """Steps 2 and 3 of `verify_quote`."""
    try:
        algorithm = tpm.verify_signature(signed, key)
    except Refusal as error:
        raise Refusal(refusals.QUOTE_SIGNATURE_INVALID, error.detail) from error
    if not tpm.generated(signed.attest):
        raise Refusal(quote_refusals.QUOTE_NOT_GENERATED, f"it begins with {signed.attest[:4].hex()}")
    if signed.attest[_TYPE] != AttestType.QUOTE.to_bytes(2, "big"):
        raise Refusal(refusals.QUOTE_TYPE_WRONG, f"it is an attestation of type 0x{signed.attest[_TYPE].hex()}")
    attest = Attest.parse(signed.attest)
    assert isinstance(attest.attested, QuoteInfo)
    if qualified_name is not None and attest.qualified_signer != qualified_name:
        detail = f"by {attest.qualified_signer.hex()}, the key is {qualified_name.hex()}"
        raise Refusal(quote_refusals.SIGNER_ELSEWHERE, detail)
    return SignedQuote(attest, attest.attested, algorithm)


def verified_values(quote: SignedQuote, pcrs: PcrValues, required: PcrSelection | None) -> VerifiedQuote:
    """Steps 5 to 7 of `verify_quote`."""
    quoted = quote.quoted
    covered = _banks(quoted.selection)
    if not covered:
        raise Refusal(refusals.PCR_SELECTION_EMPTY, "the quote selects no PCR")
    _check_required(covered, required)
    untrusted = tuple(bank for bank in covered if bank not in tpm.BELIEVED_HASHES)
    if len(untrusted) == len(covered) or (required and set(untrusted) & _banks(required).keys()):
        raise Refusal(quote_refusals.BANK_UNTRUSTED, f"quoted {quoted.selection}", place=untrusted[0].label)
    _check_labels(quoted.selection, pcrs)
    if tpm.pcr_digest(pcrs, quoted.selection, quote.hash) != quoted.pcr_digest:
        raise Refusal(refusals.PCR_DIGEST_MISMATCH, "the digest over the PCR values is not the quoted one")
    believed = {bank: dict(pcrs[bank]) for bank in covered if bank not in untrusted}
    return VerifiedQuote(quote.attest, quote.hash, quoted.selection, believed, untrusted)


_Covered = Mapping[HashAlg, tuple[int, ...]]


def _banks(selection: PcrSelection) -> _Covered:
    """Those of which a PCR is selected; TPMs also list banks of which none is."""
    return {bank: pcrs for bank, pcrs in selection.banks if pcrs}


def _check_required(covered: _Covered, required: PcrSelection | None) -> None:
    if required is None or (wanted := _banks(required)) == covered:
        return
    detail = f"quoted {PcrSelection.of(covered)}, required {required}"
    if any(set(pcrs) - set(covered.get(bank, ())) for bank, pcrs in wanted.items()):
        raise Refusal(quote_refusals.PCR_SELECTION_PARTIAL, detail)
    raise Refusal(refusals.PCR_SELECTION_MISMATCH, detail)


def _check_labels(selection: PcrSelection, pcrs: PcrValues) -> None:
    """Bank and number of each value are as quoted, and a value takes exactly its own bytes of what is hashed."""
    quoted = {(bank, pcr) for bank, chosen in selection.banks for pcr in chosen}
    shown = {(bank, pcr) for bank, values in pcrs.items() for pcr in values}
    beside = pcrs.keys() - {bank for bank, _ in selection.banks}
    if shown != quoted or beside:
        detail = f"quoted {selection}, the values are labelled {PcrSelection.of(pcrs)}"
        if quoted <= shown:
            raise Refusal(quote_refusals.PCR_VALUES_UNQUOTED, detail)
        kind = crypto_refusals.PCR_VALUES_INCOMPLETE if shown < quoted else refusals.PCR_VALUES_RELABELLED
        raise Refusal(kind, detail)
    for bank, pcr in quoted:
        if len(pcrs[bank][pcr]) != bank.size:
            detail = f"{len(pcrs[bank][pcr])} bytes where a digest has {bank.size}"
            raise Refusal(quote_refusals.PCR_VALUE_SIZE, detail, place=f"{bank.label} {pcr}")
