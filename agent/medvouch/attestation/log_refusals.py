"""Refusals of logs beyond their replay; part of the table in `refusals`."""

from __future__ import annotations

from medvouch.errors import RefusalKind

IMA_STATE_UNKNOWN = RefusalKind(
    "ima-state-unknown",
    "The IMA list continues evidence that this verifier does not have, or says other values of it.",
    "ask the device for its whole list",
)
IMA_STATE_OTHER_BOOT = RefusalKind(
    "ima-state-other-boot",
    "The IMA list continues one of another boot.",
    "ask the device for its whole list; treat it as compromised if it knows that it was restarted",
)
IMA_STATE_BANKS = RefusalKind(
    "ima-state-banks",
    "The quote has other PCR banks than the IMA list that is continued was replayed in.",
    "ask the device for its whole list",
)

# Rules of the firmware's log, which replaying does not keep
PCR_OUT_OF_RANGE = RefusalKind(
    "pcr-out-of-range",
    "The log claims a measurement into a PCR that no TPM has.",
    "treat the log as forged: no firmware writes this",
)
SPEC_ID_REPEATED = RefusalKind(
    "spec-id-repeated",
    "A second header stands within the log: two readers may take it for two different logs.",
    "treat the log as forged, unless two logs were joined by mistake: then send them as the kernel has them",
)
SPEC_ID_VENDOR_INFO = RefusalKind(
    "spec-id-vendor-info",
    "Bytes that no size accounts for stand after the log's header, where events could be hidden from some readers.",
    "treat the log as forged; where the firmware is known to write this, allow the quirk vendor-info-outside",
)
NO_ACTION_DIGEST = RefusalKind(
    "no-action-digest",
    "An event that claims not to be measured has a digest: a measured event may have been relabelled.",
    "treat the log as forged: look at the event that is named",
)
STARTUP_LOCALITY_WRONG = RefusalKind(
    "startup-locality-wrong",
    "The log says of its start more than once, too late, or what cannot be: readers may begin PCR 0 differently.",
    "treat the log as forged, or have the maker of the firmware mend it",
)
HCRTM_LATE = RefusalKind(
    "hcrtm-late",
    "A measurement by the processor itself stands after those of the firmware that it should have measured.",
    "treat the log as forged: the hardware measures before any firmware runs",
)
EVENT_RETYPED = RefusalKind(
    "event-retyped",
    "An event is not of the type that the log says: a separator is hidden, or something else is passed off as one.",
    "treat the log as forged: look at the event that is named",
)
EVENT_DATA_MISMATCH = RefusalKind(
    "event-data-mismatch",
    "What the log says was measured is not what was measured.",
    "treat the log as forged: the text or variable of the event that is named was altered",
)
AUTHORITY_CUT_SHORT = RefusalKind(
    "authority-cut-short",
    "What shim verified a program with was measured without its last byte, so that byte is nobody's word.",
    "update shim to 15.3 or later; where it cannot be updated yet, allow the quirk old-shim",
)
SEPARATOR_MISSING = RefusalKind(
    "separator-missing",
    "The firmware never closed a PCR of its own before it started something: it did not run as it should, or at all.",
    "restart the device; if it stays so, the TPM may have been reset behind the firmware's back",
)
SEPARATOR_DOUBLED = RefusalKind(
    "separator-doubled",
    "The firmware closed a PCR twice, so it is not clear what belongs to it.",
    "treat what follows the first as not of the firmware; where it is known to do so, allow the quirk measures-twice",
)
SEPARATOR_ERROR = RefusalKind(
    "separator-error",
    "The firmware measured that it failed.",
    "look at the firmware's own messages and mend what it complains of",
)
SEPARATOR_LATE = RefusalKind(
    "separator-late",
    "A boot application ran before the firmware closed its PCRs, so it could have measured in the firmware's name.",
    "treat the device as compromised: whatever ran first could have forged the rest",
)
VARIABLE_LATE = RefusalKind(
    "variable-late",
    "A Secure Boot variable was measured after the firmware had closed its PCR, where anybody can measure.",
    "treat the device as compromised: something poses as the firmware",
)
VARIABLE_REPEATED = RefusalKind(
    "variable-repeated",
    "A Secure Boot variable was measured twice, so it is not clear which value was in force.",
    "restart the device; if it stays so, have the maker of the firmware mend it",
)
VARIABLE_MALFORMED = RefusalKind(
    "variable-malformed",
    "What was measured as a Secure Boot variable is none.",
    "look at the event that is named; treat the device as compromised unless its firmware always does so",
)
SIGNATURE_LIST_MALFORMED = RefusalKind(
    "signature-list-malformed",
    "A signature database that the firmware measured has sizes that do not fit: readers may see different keys in it.",
    "write the database anew from the maker's signed update",
)
AUTHORITY_EARLY = RefusalKind(
    "authority-early",
    "Something was verified before the firmware had measured its Secure Boot policy, and no driver accounts for it.",
    "treat the device as compromised: the policy may have been changed after it was used",
)
