"""Refusals of updates: why something is not installed."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

# --- SUIT: who says so -----------------------------------------------------------------------------------------------

MANIFEST_ROLES_OVERLAP = RefusalKind(
    "manifest-roles-overlap",
    "One key stands in both roles, release and quality, so one signature could pass for two approvals.",
    "publish a trust document in which the two roles have no key in common",
)
MANIFEST_DIGEST_MISMATCH = RefusalKind(
    "manifest-digest-mismatch",
    "The manifest is not the one that was signed: it was altered, or put into another envelope.",
    "get the envelope again from its publisher; if it stays so, find out who altered it",
)
MANIFEST_KEY_REPEATED = RefusalKind(
    "manifest-key-repeated",
    "One key signed the manifest twice, which makes fewer approvals look like more.",
    "remove one of the two signatures and have a different person sign",
)
MANIFEST_SIGNATURES_TOO_MANY = RefusalKind(
    "manifest-signatures-too-many",
    "To find out who signed the manifest would take more work than an honest one needs.",
    "sign it with `medvouch release sign`, which names the key of each signature; leave out those of strangers",
)
MANIFEST_SIGNATURES_TOO_FEW = RefusalKind(
    "manifest-signatures-too-few",
    "Fewer release keys signed the manifest than the role needs.",
    "have the missing release engineers sign it; if they say they did, find out where the envelope comes from",
)
MANIFEST_QUALITY_MISSING = RefusalKind(
    "manifest-quality-missing",
    "The release was not approved by as many quality keys as the role needs.",
    "have it approved and signed by quality before it is published",
)
MANIFEST_MEMBER_MISMATCH = RefusalKind(
    "manifest-member-mismatch",
    "Something that travels with the manifest is not what the signed manifest names by its digest.",
    "get the envelope again from its publisher; if it stays so, find out who altered it",
)

MANIFEST_COMPONENT_UNAUTHORISED = RefusalKind(
    "manifest-component-unauthorised",
    "Too few of the release keys that signed the manifest may name one of its components.",
    "have it signed by keys that may, or let the trust level's configuration allow them that component",
)
MANIFEST_MEMBER_UNSUPPORTED = RefusalKind(
    "manifest-member-unsupported",
    "The manifest has a part that this device does not act upon, so none of it is done.",
    "publish the release without that part, or update the devices to a version that knows it",
)

# --- SUIT: what it says ----------------------------------------------------------------------------------------------

MANIFEST_OTHER_VENDOR = RefusalKind(
    "manifest-other-vendor",
    "The release is for devices of another vendor.",
    "choose a release that is made for this device",
)
MANIFEST_OTHER_CLASS = RefusalKind(
    "manifest-other-class",
    "The release is for another class of devices.",
    "choose a release that is made for this class of devices",
)
MANIFEST_COMMAND_UNSUPPORTED = RefusalKind(
    "manifest-command-unsupported",
    "The manifest asks for something that this device cannot do, so none of it is done.",
    "publish the release with commands that the devices in the field know, or update them to a version between",
)
MANIFEST_PARAMETER_UNSUPPORTED = RefusalKind(
    "manifest-parameter-unsupported",
    "The manifest sets a parameter that this device does not act upon, so none of it is done.",
    "publish the release with parameters that the devices in the field know, or update them to a version between",
)
MANIFEST_INCOMPLETE = RefusalKind(
    "manifest-incomplete",
    "The manifest leaves out something without which nothing may be installed.",
    "have the release built again with `medvouch release build`, and signed again",
)

MANIFEST_PARTS_CLASH = RefusalKind(
    "manifest-parts-clash",
    "The release brings parts in an order in which a power cut could leave a device that does not start.",
    "build it again with the boot loader before db and dbx, and at most one change of each of these",
)
MANIFEST_OTHER_DEVICE = RefusalKind(
    "manifest-other-device",
    "The release is for one other device.",
    "choose a release that is made for this device",
)
MANIFEST_ABORTED = RefusalKind(
    "manifest-aborted",
    "The manifest itself says that it must not go on from here.",
    "look at the place, and at the conditions that lead there",
)
MANIFEST_NO_ALTERNATIVE = RefusalKind(
    "manifest-no-alternative",
    "None of the alternatives that the manifest has for this device fits it.",
    "look at what each of them asks for; publish the release with one that fits",
)

# --- SUIT: what the components say -----------------------------------------------------------------------------------

COMPONENT_UNKNOWN = RefusalKind(
    "manifest-component-unknown",
    "The manifest names a component that this device does not have.",
    "choose a release that is made for this device",
)
COMPONENT_MISMATCH = RefusalKind(
    "component-mismatch",
    "A component holds something else than the manifest says.",
    "install it again; if it stays so, find out who else writes there",
)
COMPONENT_OTHER_SLOT = RefusalKind(
    "component-other-slot",
    "The manifest is for another slot of the component.",
    "choose a release that is made for the slot that is free",
)
COMPONENT_OTHER_VERSION = RefusalKind(
    "component-other-version",
    "What is installed has not the version that the manifest asks for.",
    "install a release between the two first",
)
DEPENDENCY_MISMATCH = RefusalKind(
    "dependency-mismatch",
    "A manifest that the release depends on is not there, or is another one.",
    "publish the dependency beside the release, as it was when the release was signed",
)
DEPENDENCY_UNPROCESSED = RefusalKind(
    "dependency-unprocessed",
    "A manifest that the release depends on has commands that nobody ran, so the release is not all there.",
    "have the release process each dependency in every section that the dependency has, and sign it again",
)
DEPENDENCY_NONE = RefusalKind(
    "dependency-none",
    "A component is treated as a manifest that the release depends on, and is none.",
    "have the release built again, and signed again",
)

# --- parts of which there is one --------------------------------------------------------------------------------------

SECURE_BOOT_UPDATE_MALFORMED = RefusalKind(
    "secure-boot-update-malformed",
    "A change of db or dbx is not one that a firmware could take, so it is not asked to.",
    "publish it as whoever holds KEK signed it: EFI_VARIABLE_AUTHENTICATION_2 with signature lists behind it",
)
SECURE_BOOT_UPDATE_OLD = RefusalKind(
    "secure-boot-update-old",
    "A change that replaces db or dbx was signed before what is in force: an older one is being replayed.",
    "have it signed anew, with a later time",
)
SECURE_BOOT_UPDATE_LOCKS_OUT = RefusalKind(
    "secure-boot-update-locks-out",
    "A change of db or dbx forbids what this device boots: it would not come up again.",
    "deliver what takes the place of the forbidden image first; leave in db what lets images start",
)
SECURE_BOOT_UPDATE_REFUSED = RefusalKind(
    "secure-boot-update-refused",
    "The firmware does not take a change of db or dbx: not signed by a key of KEK, or not later than the last one.",
    "have it signed for the keys that this device has in KEK, and with a later time",
)
FIRMWARE_REFUSED = RefusalKind(
    "firmware-refused",
    "What was signed as firmware for this device is nothing that fwupd installs.",
    "read its words; ask `fwupdmgr get-details` about the cabinet on a device like this one",
)

# --- admission -------------------------------------------------------------------------------------------------------

SEQUENCE_NOT_HIGHER = RefusalKind(
    "sequence-not-higher",
    "The release is not newer than what is installed: an older one is being replayed, or this one again.",
    "publish a release with a higher sequence number",
)
SEQUENCE_NOT_LOWER = RefusalKind(
    "sequence-not-lower",
    "A rollback leads to a release that is not older than what is installed.",
    "direct the device with the purpose `update`",
)
ROLLBACK_OTHER_EPOCH = RefusalKind(
    "rollback-other-epoch",
    "A rollback leads out of the security epoch of what is installed.",
    "go back to a release of the same epoch, or publish the old contents anew under a higher sequence, as a recovery",
)
EPOCH_BELOW_FLOOR = RefusalKind(
    "epoch-below-floor",
    "The release belongs to a security epoch that was closed, because what was in it is known to be vulnerable.",
    "choose a release of the present security epoch",
)
URL_NOT_ALLOWED = RefusalKind(
    "url-not-allowed",
    "The payload is to be fetched from a place that this device may not fetch from.",
    "publish the payload in an allowed place, or add the place to the device's configuration",
)

DATA_UNREADABLE = RefusalKind(
    "data-unreadable",
    "The release cannot read the product's data as it is on this device.",
    "install a release between the two first, which reads the old format and writes the new one",
)
DATA_NOT_READABLE_BACK = RefusalKind(
    "data-not-readable-back",
    "The running release could not read what the new one will write, so there would be no way back from it.",
    "install a release between the two first, or have the new one write so that the running one still reads it",
)

# --- payloads --------------------------------------------------------------------------------------------------------

PAYLOAD_TOO_LONG = RefusalKind(
    "payload-too-long",
    "More bytes came than the signed manifest says there are.",
    "check what the server sends; the download was ended at the first byte too many",
)
PAYLOAD_TOO_SHORT = RefusalKind(
    "payload-too-short",
    "Fewer bytes came than the signed manifest says there are.",
    "fetch the payload again; if it stays so, publish the whole payload",
)
PAYLOAD_MISMATCH = RefusalKind(
    "payload-mismatch",
    "The payload is not the one that was signed.",
    "fetch it again; if it stays so, find out who altered it on its way or on the server",
)
BLOCKS_MISMATCH = RefusalKind(
    "blocks-mismatch",
    "The block index of the release is of another image.",
    "have the index made again with `medvouch release build`, and the release signed again",
)

# --- the repository (TUF specification, section 5) -------------------------------------------------------------------

METADATA_UNTRUSTED = RefusalKind(
    "metadata-untrusted",
    "The repository's metadata is not signed by as many of its role's keys as are needed.",
    "find out where it comes from; if a key was replaced, publish the new root with the signatures of the old one",
)
METADATA_EXPIRED = RefusalKind(
    "metadata-expired",
    "The repository's metadata is too old to say what may be installed.",
    "have the role that signs it publish it anew, and check the clock",
)
REPOSITORY_FROZEN = RefusalKind(
    "repository-frozen",
    "The repository shows a state that has run out: it was left alone, or somebody withholds newer ones.",
    "check that the repository is published daily and that nobody answers in its place; check the clock",
)
REPOSITORY_ROLLED_BACK = RefusalKind(
    "repository-rolled-back",
    "The repository shows an older state than this device has seen before.",
    "find out who answers in its place; if it was restored from a backup, publish anew with higher versions",
)
METADATA_MISMATCH = RefusalKind(
    "metadata-mismatch",
    "A file of the repository is not the one that the file before it names.",
    "try again, in case it was being published; if it stays so, find out who altered it",
)
TARGET_MISMATCH = RefusalKind(
    "target-mismatch",
    "What was downloaded is not what was signed.",
    "find out who altered it on the server or on the way; publish it again",
)
TARGET_UNKNOWN = RefusalKind(
    "target-unknown",
    "The repository's responsible role lists no such file.",
    "publish it, or ask for the right name",
)

TARGET_NAME_UNSAFE = RefusalKind(
    "target-name-unsafe",
    "A file's name would lead out of the repository once it is part of an address or a path.",
    "find out who names files so; publish the release under a plain name",
)

# --- directives ------------------------------------------------------------------------------------------------------

DIRECTIVE_UNLISTED = RefusalKind(
    "directive-unlisted",
    "The director sends this device to a release that release engineering has not published.",
    "find out who directs: with the director's key alone nothing can be installed",
)
DIRECTIVE_MISDIRECTED = RefusalKind(
    "directive-misdirected",
    "The directive under this device's name is for another device.",
    "find out who moves directives between devices, and direct this one anew",
)
DIRECTIVE_MISMATCH = RefusalKind(
    "directive-mismatch",
    "The directive says another sequence number than the release that it names.",
    "direct the device anew, with the sequence number of the release",
)
DIRECTIVE_EXPIRED = RefusalKind(
    "directive-expired",
    "The directive's time is over.",
    "direct the device anew, and check its clock",
)

UPDATE_WITHDRAWN = RefusalKind(
    "update-withdrawn",
    "The director took the device's directive back, or sends it back to what it runs: what was chosen before is not "
    "installed any more.",
    "nothing is left to do; direct the device to a mended release when there is one",
)

# --- the user's say --------------------------------------------------------------------------------------------------

CONSENT_NOT_ALLOWED = RefusalKind(
    "consent-not-allowed",
    "The user's wish does not lead from where it stands along this cause.",
    "look at it with `medvouch update status`; who has opted out opts in first",
)
UPDATE_NOT_WAITING = RefusalKind(
    "update-not-waiting",
    "There is no update that this could be said of: none was directed to the device, or it has gone too far.",
    "look for one with `medvouch update`, then at what became of it with `medvouch update status`",
)
POSTPONE_NOT_ALLOWED = RefusalKind(
    "postpone-not-allowed",
    "The director lets nobody put this release off.",
    "let it come; what must not be interrupted is told by the busy command of the configuration",
)
POSTPONE_BEYOND_LIMIT = RefusalKind(
    "postpone-beyond-limit",
    "The release would be put off for longer than its signed directive allows.",
    "choose a date within the limit that `medvouch update status` shows",
)
POSTPONE_NOT_AHEAD = RefusalKind(
    "postpone-not-ahead",
    "The date that the release would be put off to has passed.",
    "choose a later one; check the device's clock",
)

# --- the installed update --------------------------------------------------------------------------------------------

UPDATE_NOT_ALLOWED = RefusalKind(
    "update-not-allowed",
    "The update does not lead from where it stands along this cause.",
    "look at the update with `medvouch status`",
)

TABLE = refusal_table(globals())
