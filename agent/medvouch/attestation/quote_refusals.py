"""Refusals of quotes, as one is judged on its own; part of the table in `refusals`."""

from __future__ import annotations

from medvouch.errors import RefusalKind

QUOTE_NOT_GENERATED = RefusalKind(
    "quote-not-generated",
    "The attestation key signed something that no TPM made up itself: it is not restricted, or not in a TPM.",
    "treat the device as compromised: its key signs whatever it is given",
)
QUOTE_STALE = RefusalKind(
    "quote-stale",
    "The quote answers another challenge: it is a replay.",
    "challenge the device again; find out who replays its quotes if it repeats",
)
SIGNER_ELSEWHERE = RefusalKind(
    "signer-elsewhere",
    "The key that signed does not stand below the parent, in the hierarchy, that it was enrolled under.",
    "treat the device as compromised: the key was moved, or another TPM's owner uses its copy",
)
NONCE_EMPTY = RefusalKind(
    "nonce-empty",
    "No challenge was asked, so any old evidence would answer it.",
    "issue a random nonce of 16 to 32 bytes for every challenge",
)
NONCE_SHORT = RefusalKind(
    "nonce-short",
    "The challenge is so short that it repeats by chance, and answers could be collected beforehand.",
    "issue a random nonce of 16 to 32 bytes for every challenge",
)
NONCE_CONSTANT = RefusalKind(
    "nonce-constant",
    "The challenge is one byte over and over: whoever drew it has no randomness, so old answers fit.",
    "issue a random nonce of 16 to 32 bytes for every challenge, and look at where it was drawn",
)
PCR_SELECTION_PARTIAL = RefusalKind(
    "pcr-selection-partial",
    "The quote leaves out PCRs that the policy requires.",
    "use an agent of the same profile; treat the device as compromised if it was: something is hidden",
)
BANK_UNTRUSTED = RefusalKind(
    "bank-untrusted",
    "The PCRs are of a bank whose hash has known collisions, so that other measurements lead to the same values.",
    "activate the SHA-256 bank in the firmware's set-up, and quote that",
)
PCR_VALUES_UNQUOTED = RefusalKind(
    "pcr-values-unquoted",
    "Values are shown of PCRs that the quote does not cover, so nothing vouches for them.",
    "treat the device as compromised: values were slipped in beside the quoted ones",
)
PCR_VALUE_SIZE = RefusalKind(
    "pcr-value-size",
    "A PCR value is not as long as its bank's digests: bytes were moved from one PCR to its neighbour.",
    "treat the device as compromised",
)
