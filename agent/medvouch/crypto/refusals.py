"""Refusals of the cryptographic checks."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

# --- COSE ------------------------------------------------------------------------------------------------------------

COSE_SIGNATURE_INVALID = RefusalKind(
    "cose-signature-invalid",
    "The content was not signed by the key that should have signed it.",
    "find out where the content comes from; do not use it",
)
COSE_ALGORITHM = RefusalKind(
    "cose-algorithm",
    "The signature's algorithm is missing, unknown or not one of the key's.",
    "sign with ES256, ES384, EdDSA or their fully specified forms, named in the protected header",
)
COSE_CRITICAL_HEADER = RefusalKind(
    "cose-critical-header",
    "The signer demands that a header be understood which we do not know.",
    "sign without critical headers",
)
COSE_PAYLOAD_DETACHED = RefusalKind(
    "cose-payload-detached",
    "The signed content is not inside the message.",
    "sign with the payload attached",
)
COSE_PAYLOAD_ATTACHED = RefusalKind(
    "cose-payload-attached",
    "A content stands inside the message where the one that is signed stands elsewhere: which holds is anyone's guess.",
    "sign with the payload detached",
)
COSE_CONTENT_TYPE = RefusalKind(
    "cose-content-type",
    "The signed content is of another type than the one wanted: a signature made for one purpose, shown for another.",
    "use the content where it belongs",
)

COSE_TOO_FEW_SIGNATURES = RefusalKind(
    "cose-too-few-signatures",
    "Fewer of the keys that must sign the content did so than are needed.",
    "have the missing roles sign it; if they say they did, find out where the content comes from",
)

# --- JWS -------------------------------------------------------------------------------------------------------------

JWS_SIGNATURE_INVALID = RefusalKind(
    "jws-signature-invalid",
    "The token was not signed by a key that is trusted with it.",
    "find out where the token comes from; do not use it",
)
JWS_HEADER = RefusalKind(
    "jws-header",
    "The token's header names another algorithm or type than the wanted ones, or more than these.",
    "use the token where it belongs; sign with ES256 or ES384 and no other header",
)

# --- escrow ----------------------------------------------------------------------------------------------------------

ESCROW_UNOPENED = RefusalKind(
    "escrow-unopened",
    "The sealed content is for another key, belongs to another device, or was altered.",
    "open it with the key of the accountable owner it was sealed to, for the device it came from",
)

# --- X.509 -----------------------------------------------------------------------------------------------------------

CERTIFICATE_UNTRUSTED = RefusalKind(
    "certificate-untrusted",
    "No chain of signatures leads from the certificate to a root that is trusted for it.",
    "check who issued it; where that authority is to be trusted, add its root to the trust document",
)
CERTIFICATE_ALGORITHM = RefusalKind(
    "certificate-algorithm",
    "A certificate of the chain uses a key or a hash that is too weak or unknown, so anyone might have made it.",
    "have it issued again with SHA-256 or better, ECDSA P-256 or better or RSA of 2048 bits or more",
)
CERTIFICATE_EXPIRED = RefusalKind(
    "certificate-expired",
    "A certificate of the chain had run out at the judged time.",
    "renew it; where the judging clock is wrong, set it",
)
CERTIFICATE_NOT_YET_VALID = RefusalKind(
    "certificate-not-yet-valid",
    "A certificate of the chain was not valid yet at the judged time.",
    "set the judging clock; where it is right, the issuer's was wrong",
)
CERTIFICATE_ISSUER_INVALID = RefusalKind(
    "certificate-issuer-invalid",
    "A certificate was signed by one that may not sign certificates, or not this far down or for this purpose.",
    "treat it as forged: a key that is no authority was used as one",
)
CERTIFICATE_EXTENSION_UNKNOWN = RefusalKind(
    "certificate-extension-unknown",
    "A certificate carries a critical extension that is not understood, so what it may be used for is unknown.",
    "have it issued without that extension",
)
CERTIFICATE_PURPOSE = RefusalKind(
    "certificate-purpose",
    "The certificate was issued for something other than what it was presented for.",
    "present the certificate of the right key",
)
CERTIFICATE_REVOKED = RefusalKind(
    "certificate-revoked",
    "Its issuer had withdrawn the certificate at the judged time.",
    "find out why it was revoked before the device is enrolled again",
)
REVOCATION_UNKNOWN = RefusalKind(
    "revocation-unknown",
    "A revocation list was given that proves nothing: it is forged, outdated or not understood.",
    "fetch the issuer's current revocation list",
)

REQUEST_NOT_SIGNED = RefusalKind(
    "request-not-signed",
    "The certification request was not signed by the key that it asks a certificate for.",
    "have whoever has the key make the request",
)

# --- TPM -------------------------------------------------------------------------------------------------------------

ATTEST_SIGNATURE_INVALID = RefusalKind(
    "attest-signature-invalid",
    "The TPM that holds the expected key did not say this.",
    "treat the statement as forged, or as another machine's",
)
ATTEST_ALGORITHM = RefusalKind(
    "attest-algorithm",
    "A TPM's statement is signed with a scheme that does not fit the key, or with a hash that is too weak.",
    "use an attestation key with ECDSA, RSASSA or RSAPSS and SHA-256 or better",
)
TPM_HASH_WEAK = RefusalKind(
    "tpm-hash-weak",
    "A key or an NV index is named by a hash for which another with the same Name could be made.",
    "make it with nameAlg SHA-256, SHA-384 or SHA-512",
)
PCR_VALUES_INCOMPLETE = RefusalKind(
    "pcr-values-incomplete",
    "Values of PCRs that the quote covers are withheld, so its digest cannot be recomputed.",
    "send the value of every quoted PCR",
)
EK_UNSUPPORTED = RefusalKind(
    "ek-unsupported",
    "The endorsement key is of a kind to which nothing can be encrypted, so the device cannot prove that it has it.",
    "enrol with an EK of the TCG templates (L-1, L-2 or H series)",
)
FLOOR_APPROVAL_INVALID = RefusalKind(
    "floor-approval-invalid",
    "The approval does not let this device's security epoch rise from where it stands; its TPM would refuse it.",
    "ask the floor authority for an approval of this device's present counter",
)

# --- ledger ----------------------------------------------------------------------------------------------------------

MERKLE_INCLUSION = RefusalKind(
    "merkle-inclusion",
    "An entry is not shown to stand in the ledger it is said to be of.",
    "get the ledger again from the device, and compare its head with the last attestation result",
)
MERKLE_CONSISTENCY = RefusalKind(
    "merkle-consistency",
    "One state of a ledger did not grow out of the other: entries were changed, removed or put in.",
    "treat the device as compromised; keep both states, they are the evidence",
)
CHECKPOINT_NOT_CERTIFIED = RefusalKind(
    "checkpoint-not-certified",
    "The device's TPM does not confirm this checkpoint of the ledger in its own counter and index.",
    "treat the ledger as forged from here on; if the TPM was cleared on purpose, enrol the device again",
)

# --- signatures of files ---------------------------------------------------------------------------------------------

IMA_SIGNATURE_MISSING = RefusalKind(
    "ima-signature-missing",
    "A file that must be signed was measured without a signature.",
    "sign the file, or find out how it came onto the device",
)
IMA_SIGNATURE_ALGORITHM = RefusalKind(
    "ima-signature-algorithm",
    "A file's signature is by a weak hash, or is not one of the digest that was measured.",
    "sign the file with SHA-256 or better, by the hash that the device's IMA policy measures with",
)
IMA_SIGNATURE_KEY_UNKNOWN = RefusalKind(
    "ima-signature-key-unknown",
    "A file was signed with a key that this verifier does not know.",
    "find out whose key it is; give it to the verifier only if you trust whatever it signs",
)
IMA_SIGNATURE_INVALID = RefusalKind(
    "ima-signature-invalid",
    "A file's signature is not one of the file that was measured.",
    "treat the file as altered: reinstall it and find out what changed it",
)
IMA_SIGNATURE_ATTRIBUTES = RefusalKind(
    "ima-signature-attributes",
    "The signature at the end of a file is over attributes, and no kernel takes such a one for IMA.",
    "sign the file with the kernel's sign-file, or with openssl cms -sign -noattr",
)

TABLE = refusal_table(globals())
