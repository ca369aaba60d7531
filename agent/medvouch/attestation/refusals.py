"""Every refusal of the attestation core: what it says about the device, and what a person does next."""

from __future__ import annotations

from medvouch.attestation import log_refusals, quote_refusals
from medvouch.errors import RefusalKind, refusal_table

# Replay of the measurement logs
BANK_UNSUPPORTED = RefusalKind(
    "bank-unsupported",
    "The quote covers a PCR bank whose hash this verifier cannot compute, so its log cannot be judged.",
    "quote a SHA-256 or SHA-384 bank, or verify on a machine whose OpenSSL has that hash",
)
PCR_MISMATCH = RefusalKind(
    "pcr-mismatch",
    "The event log does not lead to the value that the TPM signed: the log was altered, or events are missing from it.",
    "treat the log's contents as unknown; compare it with the last accepted evidence and inspect the device",
)
PCR_UNEXPLAINED = RefusalKind(
    "pcr-unexplained",
    "The TPM holds measurements in a PCR for which the evidence has no events at all.",
    "find out what extended this PCR and have its log sent along; until then the device runs something unknown",
)
BOOT_AGGREGATE_MISSING = RefusalKind(
    "boot-aggregate-missing",
    "The IMA list does not begin with the kernel's boot aggregate, so it is not bound to this boot.",
    "check that the list is the kernel's own and complete, and that the TPM was there when IMA started",
)
BOOT_AGGREGATE_MISMATCH = RefusalKind(
    "boot-aggregate-mismatch",
    "The boot that IMA recorded is not the boot that the firmware's log describes.",
    "check that all logs are of the same boot; otherwise treat the device as tampered with",
)
IMA_TEMPLATE_MISMATCH = RefusalKind(
    "ima-template-mismatch",
    "An IMA entry's template hash is not the hash of its contents: the list was altered.",
    "read the list again from the kernel; if it stays so, treat the device as tampered with",
)

# Enrolment
REQUEST_SIGNATURE_INVALID = RefusalKind(
    "request-signature-invalid",
    "The message was not signed by the device identity key (IDevID) of the enrolment it belongs to.",
    "start the enrolment again on the device itself; if it stays so, somebody changes messages on the way",
)
EK_CHAIN_UNTRUSTED = RefusalKind(
    "ek-chain-untrusted",
    "No TPM vendor that is trusted vouches for the endorsement key: the TPM may be software, or a forgery.",
    "check the vendor's certificate; add the vendor's root to the trust document only if you trust its TPMs",
)
EK_MISMATCH = RefusalKind(
    "ek-mismatch",
    "The endorsement key is not the one its certificate is for, or is not of the kind an endorsement key must be.",
    "treat the request as forged: it shows another TPM's certificate",
)
EK_NOT_ON_MANIFEST = RefusalKind(
    "ek-not-on-manifest",
    "The TPM is genuine, and the maker never built it into a gateway.",
    "ask the maker for the manifest that holds this gateway; otherwise this is some other machine",
)
MANIFEST_UNTRUSTED = RefusalKind(
    "manifest-untrusted",
    "The manufacturing manifest is not signed by the maker.",
    "fetch the manifest from the maker again",
)
MANIFEST_MISMATCH = RefusalKind(
    "manifest-mismatch",
    "The gateway says it has another serial number or model than the maker built its TPM into.",
    "compare the label on the gateway with the manifest; boards may have been swapped",
)
EK_ALREADY_ENROLLED = RefusalKind(
    "ek-already-enrolled",
    "The TPM of this request is enrolled already, as a live device.",
    "if the gateway was cleared on purpose, end its old enrolment first; otherwise find out who asks a second time",
)
IDEVID_CHAIN_UNTRUSTED = RefusalKind(
    "idevid-chain-untrusted",
    "The maker does not vouch for the device identity key (IDevID).",
    "check the maker's certificate authority in the trust document against the gateway's IDevID certificate",
)
IDEVID_MISMATCH = RefusalKind(
    "idevid-mismatch",
    "The IDevID certificate is for another key or another serial number than the request shows.",
    "treat the request as forged: it shows another gateway's certificate",
)
AK_NOT_RESTRICTED = RefusalKind(
    "ak-not-restricted",
    "The attestation key would sign anything it is given, so a quote by it proves nothing.",
    "create the attestation key anew from the agent's own template; a device that insists is manipulated",
)
KEY_NOT_TPM_BOUND = RefusalKind(
    "key-not-tpm-bound",
    "A key may leave its TPM or was made outside of it, so nobody knows who else has it.",
    "create the key anew from the agent's own template; a device that insists is manipulated",
)
KEY_ATTRIBUTES_WRONG = RefusalKind(
    "key-attributes-wrong",
    "A key of the request is not of the kind its role needs.",
    "create the keys anew with an agent of the same version as the authority",
)
CREDENTIAL_NOT_ACTIVATED = RefusalKind(
    "credential-not-activated",
    "The secret was not opened: the attestation key is not in the TPM that has the endorsement key.",
    "treat the device as an impostor: it presents another TPM's endorsement key",
)
CHALLENGE_MISMATCH = RefusalKind(
    "challenge-mismatch",
    "The proof answers another challenge than the one that is open.",
    "start the enrolment again; repeated, somebody replays old messages",
)
CHALLENGE_EXPIRED = RefusalKind(
    "challenge-expired",
    "The proof came too late.",
    "start the enrolment again",
)
KEY_NOT_CERTIFIED = RefusalKind(
    "key-not-certified",
    "A key of the request is not shown to live in the same TPM as the attestation key.",
    "treat the device as compromised: the key may be in somebody else's hands",
)
KEY_ELSEWHERE = RefusalKind(
    "key-elsewhere",
    "A maker-given key does not stand in the endorsement hierarchy, so that it does not survive as it should.",
    "have the maker make IDevID and IAK from the TCG's templates in the endorsement hierarchy",
)
CERTIFICATION_STALE = RefusalKind(
    "certification-stale",
    "A key was certified for another challenge, so it may no longer be in the TPM.",
    "start the enrolment again; repeated, somebody replays old certifications",
)
NV_INDEX_WRONG = RefusalKind(
    "nv-index-wrong",
    "A TPM index that keeps the ledger or the version floor is missing or could be changed by others.",
    "clear the TPM and provision the device anew with an agent of the same version as the authority",
)
FLOOR_NOT_CERTIFIED = RefusalKind(
    "floor-not-certified",
    "The counter of the version floor is not shown to stand where the device says, in the TPM of its attestation key.",
    "start the enrolment again; repeated, treat the device as compromised: its floor could be rolled back",
)
CSR_SIGNATURE_INVALID = RefusalKind(
    "csr-signature-invalid",
    "The request for an IDevID certificate was not signed by the IDevID it is for.",
    "have the device make its request again; if it stays so, somebody changes requests on the way",
)
CSR_STATEMENT_MISSING = RefusalKind(
    "csr-statement-missing",
    "The certification request does not show where its key is.",
    "have it made with an attestation bundle of one TPM2_Certify statement and the key's public area",
)
AUTHORITY_SIGNATURE_INVALID = RefusalKind(
    "authority-signature-invalid",
    "What came back was not signed by the enrolment authority.",
    "check the enrolment keys in the trust document, and who else can write to the enrolment topic",
)
ANSWER_MISMATCH = RefusalKind(
    "answer-mismatch",
    "The authority's message is for another request, device or key than this one.",
    "start the enrolment again; repeated, somebody replays old messages",
)
ENROLMENT_REFUSED = RefusalKind(
    "enrolment-refused",
    "The enrolment authority refused this device; the detail is its reason.",
    "do what the reason says, then start the enrolment again",
)

# --- sanitisation ----------------------------------------------------------------------------------------------------

SANITISATION_SIGNATURE_INVALID = RefusalKind(
    "sanitisation-signature-invalid",
    "The device's maker-given attestation key did not quote this, so it is not known that its TPM was cleared.",
    "have the device prove its sanitisation again; treat the message as forged",
)
SANITISATION_BINDING_MISMATCH = RefusalKind(
    "sanitisation-binding-mismatch",
    "The quote belongs to another sanitisation certificate or was made for another request.",
    "have the device prove its sanitisation again, for a fresh nonce",
)
SANITISATION_OTHER_DEVICE = RefusalKind(
    "sanitisation-other-device",
    "The sanitisation certificate is another device's.",
    "look for the device that was to be sanitised; its data may still be there",
)
SANITISATION_BEFORE_CLEAR = RefusalKind(
    "sanitisation-before-clear",
    "The quote does not show a TPM that was just cleared: it has been reset since, or was never cleared.",
    "restart the device and sanitise it again: the quote must be made in the boot of the TPM2_Clear",
)
SANITISATION_TOO_LATE = RefusalKind(
    "sanitisation-too-late",
    "Too much time went by between clearing the TPM and the quote: who knows what the device did meanwhile.",
    "sanitise the device again",
)

# --- appraisal -------------------------------------------------------------------------------------------------------

EVIDENCE_LABEL_UNKNOWN = RefusalKind(
    "evidence-label-unknown",
    "The evidence carries a record that nothing binds to the quote.",
    "use an agent and a verifier of the same profile",
)
EVIDENCE_LABEL_MISSING = RefusalKind(
    "evidence-label-missing",
    "A record that every evidence must have is not there.",
    "look at the agent's health: a log may be unreadable",
)
EVIDENCE_MEDIA_TYPE = RefusalKind(
    "evidence-media-type",
    "A record is of another media type than its label says.",
    "use an agent and a verifier of the same profile",
)
IDENTITY_MISMATCH = RefusalKind(
    "identity-mismatch",
    "The evidence is another device's than the one that was asked.",
    "look for a copied connection key: renew the key of the device that was asked, and inspect the one that answered",
)
SIGNER_NOT_ENROLLED = RefusalKind(
    "signer-not-enrolled",
    "The attestation key is not the one enrolled for this device.",
    "enrol the device again if its TPM was cleared on purpose",
)
QUOTE_SIGNATURE_INVALID = RefusalKind(
    "quote-signature-invalid",
    "The quote was not signed by the attestation key it is shown with.",
    "treat the device as compromised: the quote is forged or from another TPM",
)
QUOTE_TYPE_WRONG = RefusalKind(
    "quote-type-wrong",
    "The TPM signed something, but not a quote.",
    "treat the device as compromised",
)
EAT_KEY_NOT_CERTIFIED = RefusalKind(
    "eat-key-not-certified",
    "The key that signs the claims is not shown to live in the same TPM as the attestation key.",
    "enrol the device again; treat it as compromised if that does not help",
)
EAT_SIGNATURE_INVALID = RefusalKind(
    "eat-signature-invalid",
    "The claims were not signed by the device's LDevID.",
    "treat the device as compromised: the claims are forged",
)
NONCE_MISMATCH = RefusalKind(
    "nonce-mismatch",
    "The evidence answers another challenge: it is a replay.",
    "challenge the device again; find out who replays its evidence if it repeats",
)
AUDIENCE_MISMATCH = RefusalKind(
    "audience-mismatch",
    "The evidence was made for another appraiser.",
    "find out who relays evidence between appraisers",
)
CLIENT_KEY_MISMATCH = RefusalKind(
    "client-key-mismatch",
    "The agent holds another connection key than the one enrolled for this device.",
    "renew the connection certificate of the device",
)
UEID_MISMATCH = RefusalKind(
    "ueid-mismatch",
    "The claims name another device than the certificate of their attestation key.",
    "treat the device as compromised",
)
BINDING_MISMATCH = RefusalKind(
    "binding-mismatch",
    "Claims and quote do not belong together: they come from different challenges or different agents.",
    "treat the device as compromised: evidence was assembled from parts",
)
PCR_SELECTION_EMPTY = RefusalKind(
    "pcr-selection-empty",
    "The quote covers no PCR at all, so it says nothing.",
    "treat the device as compromised: no honest agent quotes nothing",
)
PCR_SELECTION_MISMATCH = RefusalKind(
    "pcr-selection-mismatch",
    "The quote covers more PCRs than the policy requires.",
    "use an agent of the same profile; treat the device as compromised if it was",
)
PCR_VALUES_RELABELLED = RefusalKind(
    "pcr-values-relabelled",
    "PCR values stand under other numbers than the quote has them under.",
    "treat the device as compromised: values were moved between PCRs",
)
PCR_DIGEST_MISMATCH = RefusalKind(
    "pcr-digest-mismatch",
    "The PCR values are not the ones the TPM quoted.",
    "challenge the device again; treat it as compromised if it repeats",
)
TPM_CLEARED = RefusalKind(
    "tpm-cleared",
    "The TPM counts fewer resets than it did before: it was cleared, replaced or restored from a copy.",
    "find out who had physical access, then enrol the device again",
)
CLOCK_WENT_BACK = RefusalKind(
    "clock-went-back",
    "The TPM's clock stands before the last accepted evidence of the same boot: this is older evidence.",
    "challenge the device again; treat it as compromised if it repeats",
)
BOOT_COUNT_MISMATCH = RefusalKind(
    "boot-count-mismatch",
    "The claims name another boot than the quote.",
    "treat the device as compromised: the claims were made in another boot",
)
LOG_DIGEST_MISMATCH = RefusalKind(
    "log-digest-mismatch",
    "The event log is not the one that the claims were made over.",
    "challenge the device again; treat it as compromised if it repeats",
)
REPORT_DIGEST_MISMATCH = RefusalKind(
    "report-digest-mismatch",
    "The report of the last update is not the one that the claims were made over.",
    "challenge the device again; treat it as compromised if it repeats",
)
REPORT_NONCE_MISMATCH = RefusalKind(
    "report-nonce-mismatch",
    "The report of the last update was made for another challenge.",
    "challenge the device again; treat it as compromised if it repeats",
)
LEDGER_MISSING = RefusalKind(
    "ledger-missing",
    "The evidence says nothing of the device's ledger.",
    "look at the device's health: its ledger may be unreadable, or its TPM refuses checkpoints",
)
CHECKPOINT_MISMATCH = RefusalKind(
    "checkpoint-mismatch",
    "The checkpoint that comes with the evidence is not the one that the claims name, or is of no earlier time.",
    "challenge the device again; treat it as compromised if it repeats",
)
LEDGER_ROLLED_BACK = RefusalKind(
    "ledger-rolled-back",
    "The device's ledger is shorter than it was: its disk was put back to an earlier state.",
    "find out who had access to the disk; restore the newest state, or enrol the device again",
)
LEDGER_FORKED = RefusalKind(
    "ledger-history-changed",
    "The device's ledger does not continue the one that was confirmed before: its history was changed.",
    "treat the device as compromised; the ledger confirmed before is the evidence",
)
SECURE_BOOT_OFF = RefusalKind(
    "secure-boot-off",
    "The device booted without Secure Boot, or cannot show that it was on.",
    "switch Secure Boot on in the firmware set-up and boot again",
)

# --- reference values ------------------------------------------------------------------------------------------------

REFERENCE_UNTRUSTED = RefusalKind(
    "reference-untrusted",
    "Fewer release keys signed the reference values than the role needs.",
    "get the release's reference values from its publisher",
)
RELEASE_BELOW_FLOOR = RefusalKind(
    "release-below-floor",
    "The device runs a release of a security epoch that was closed for it, because of what is known of that release.",
    "find out how the old release came to boot; have the device updated",
)
REFERENCE_MISSING = RefusalKind(
    "reference-missing",
    "There is nothing to hold the boot against.",
    "give the appraiser the reference values of the releases in the field",
)
EVENT_UNEXPECTED = RefusalKind(
    "event-unexpected",
    "The device measured something at boot that no known release brings.",
    "compare the named component with the release; reinstall the release, or publish reference values for what it runs",
)
EVENT_MISSING = RefusalKind(
    "event-missing",
    "The device did not measure something that the release always does.",
    "look at the boot path of the device: a step was skipped or replaced",
)

# --- policy ----------------------------------------------------------------------------------------------------------

NONCE_NOT_DEMANDED = RefusalKind(
    "nonce-not-demanded",
    "The policy wants an answer to a challenge, and this evidence was judged without one: it may be of any age.",
    "challenge the device and judge its answer together with the nonce",
)
CLOCK_NOT_SAFE = RefusalKind(
    "clock-not-safe",
    "The TPM's clock may have gone back: the device lost its power without a shutdown.",
    "shut the device down in order and start it again; find out why it lost its power",
)
LEDGER_NOT_JUDGED = RefusalKind(
    "ledger-not-judged",
    "The policy wants the device's ledger held against the one known, and this appraiser knows none.",
    "judge at the collector that enrolled the device",
)
AUTHORITY_NOT_ALLOWED = RefusalKind(
    "authority-not-allowed",
    "What the device booted was verified with a certificate that the policy does not allow.",
    "find out who signed what it booted; add the certificate to the policy only if its holder may",
)
DB_NOT_ALLOWED = RefusalKind(
    "db-not-allowed",
    "Secure Boot on this device accepts programs of somebody whom the policy does not allow.",
    "remove the entry from the firmware's db, or add it to the policy",
)
DBX_INCOMPLETE = RefusalKind(
    "dbx-incomplete",
    "Secure Boot on this device still accepts programs that are known to be vulnerable.",
    "update the firmware's dbx",
)
IMA_MISSING = RefusalKind(
    "ima-missing",
    "The kernel's list of measured files did not come along, or is empty.",
    "boot with an IMA policy, such as ima_policy=tcb, and let the agent read the list",
)
IMA_VIOLATION = RefusalKind(
    "ima-violation",
    "The kernel saw a file written while it was measured, so nobody knows what was read.",
    "find out what writes to this file while others run or read it",
)
IMA_FILE_NOT_ALLOWED = RefusalKind(
    "ima-file-not-allowed",
    "The device ran or read a file that is not on the policy's list.",
    "find out where the file comes from; add its digest to the policy if it belongs there",
)
IMA_FILE_NOT_SIGNED = RefusalKind(
    "ima-file-not-signed",
    "The device ran or read a file that none of the allowed keys signed.",
    "sign the file (`evmctl ima_sign`), or find out where it comes from",
)

# --- results ---------------------------------------------------------------------------------------------------------

RESULT_SIGNATURE_INVALID = RefusalKind(
    "result-signature-invalid",
    "The attestation result was not signed by an appraiser that this device trusts.",
    "find out who publishes to the device's result topic",
)
RESULT_NONCE_MISMATCH = RefusalKind(
    "result-nonce-mismatch",
    "The attestation result answers no challenge that this device took up.",
    "find out who replays results",
)
RESULT_EVIDENCE_MISMATCH = RefusalKind(
    "result-evidence-mismatch",
    "The attestation result is about other evidence than this device sent.",
    "find out who alters evidence between device and appraiser",
)
RESULT_LEDGER_MISMATCH = RefusalKind(
    "result-ledger-mismatch",
    "The attestation result confirms another ledger than this device has, or none.",
    "find out who alters evidence between device and appraiser; ask for an appraiser that checks ledgers",
)
RESULT_DEVICE_MISMATCH = RefusalKind(
    "result-device-mismatch",
    "The attestation result is about another device.",
    "find out who relays results between devices",
)

TABLE = refusal_table({**vars(log_refusals), **vars(quote_refusals), **globals()})
