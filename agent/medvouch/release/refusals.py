"""Refusals of the gate that every release passes before it is published."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

RELEASE_AFFECTED = RefusalKind(
    "release-affected-known-exploited",
    "The release's VEX says that it has a vulnerability which is known to be exploited.",
    "fix it before you release, or correct the VEX where the product is not affected",
)
RELEASE_SEPARABLE = RefusalKind(
    "release-mixed-separable",
    "Security fixes wait for features that could go out without them.",
    "release the fixes by themselves; where they cannot be parted, say why (`inseparable`) and name the component of a"
    " fix in each feature",
)
RELEASE_KIND = RefusalKind(
    "release-kind-wrong",
    "What the release calls itself is not what it brings.",
    "call it `security` with fixes alone, `feature` with features alone, `mixed` with both",
)
RELEASE_VERSION_BACK = RefusalKind(
    "release-version-not-higher",
    "The version is not higher than that of the release before.",
    "give it a higher version; to go back, release the old contents under a new one",
)
RELEASE_EPOCH_BACK = RefusalKind(
    "release-epoch-lower",
    "The security epoch is lower than that of the release before: devices whose floor has risen would refuse it.",
    "keep the epoch of the release before, or raise it",
)
RELEASE_SUPPORT_UNKNOWN = RefusalKind(
    "release-support-end-missing",
    "Nothing says until when the release gets security updates.",
    "publish an OpenEoX statement with a date for the end of security support",
)
RELEASE_SUPPORT_ENDED = RefusalKind(
    "release-support-ended",
    "The security support of the release is over before it begins.",
    "correct the date in the OpenEoX statement, or do not release",
)
RELEASE_CONTACT_MISSING = RefusalKind(
    "release-contact-missing",
    "Nobody is named to whom vulnerabilities are reported.",
    "name a contact (mailto:, https: or tel:) under [remediation]",
)
RELEASE_CVD_MISSING = RefusalKind(
    "release-cvd-policy-missing",
    "No policy for coordinated vulnerability disclosure is named.",
    "name its address (https:) under [remediation]",
)
RELEASE_OWNER_MISSING = RefusalKind(
    "release-duty-owner-missing",
    "Nobody answers for one of the duties that every release has.",
    "name an owner for the duty under [duties]",
)
RELEASE_DEPUTY_MISSING = RefusalKind(
    "release-duty-deputy-missing",
    "Nobody stands in for the owner of a duty, or it is the same person.",
    "name a deputy for the duty under [duties], other than its owner",
)
RELEASE_REVIEW_MISSING = RefusalKind(
    "release-duty-review-missing",
    "A duty has no date of review in the future.",
    "review who answers for it, and set the next date under [duties]",
)
RELEASE_VEX_OTHER = RefusalKind(
    "release-vex-other-product",
    "The VEX does not know the product that is released, so its silence says nothing.",
    "put the release into the VEX's product tree, under the id that the release names as `product_id`",
)
RELEASE_FIX_UNCONFIRMED = RefusalKind(
    "release-fix-not-in-vex",
    "The release claims to fix something that its VEX does not call fixed in it.",
    "correct the VEX, or do not claim the fix",
)
RELEASE_FIX_NOT_ADVISED = RefusalKind(
    "release-fix-not-advised",
    "The release fixes something of which no advisory tells its users.",
    "write the vulnerability into the advisory that is released with it",
)
RELEASE_AWARE_LATER = RefusalKind(
    "release-aware-later",
    "The release fixes something that its maker says to learn of in the future.",
    "correct the day in the fix's `aware`, or leave it out",
)
RELEASE_SBOM_OTHER = RefusalKind(
    "release-sbom-other-version",
    "The SBOM is of another version.",
    "generate it from the image that is released",
)
RELEASE_COMPONENT_UNKNOWN = RefusalKind(
    "release-component-unknown",
    "A fix or a feature names a component that the SBOM does not have.",
    "name components by the bom-ref that they have in the SBOM",
)
RELEASE_ENVELOPE_OTHER = RefusalKind(
    "release-envelope-other-version",
    "The envelope is of another version.",
    "name the envelope that was built for this release",
)
RELEASE_DOCUMENT_MISMATCH = RefusalKind(
    "release-document-mismatch",
    "What is published with the release is not what passed the gate.",
    "publish the very files that the gate saw, or pass it again with the new ones",
)

RELEASE_RECORD_MISSING = RefusalKind(
    "release-record-missing",
    "An envelope is to be published that did not pass the gate: no record beside it names it.",
    "pass the gate with `medvouch release gate`, and publish its record and all documents with the envelope",
)
RELEASE_REPLACED = RefusalKind(
    "release-envelope-replaced",
    "Another envelope was published under this name: devices that were directed to it, or have it, would know no more"
    " which of the two is meant.",
    "give what was built anew a higher version; documents beside an envelope may be replaced, with their record",
)
COUNTERSIGNED_ALREADY = RefusalKind(
    "countersigned-already",
    "This key has signed the repository's metadata already; a second signature would count for nothing.",
    "hand the file on to the next key holder",
)
COUNTERSIGNED_TOO_FEW = RefusalKind(
    "countersigned-too-few",
    "Fewer of the role's keys have signed its metadata than it takes.",
    "have the others sign it with `medvouch release countersign`; keys that the repository does not name do not count",
)
COUNTERSIGNED_OTHER = RefusalKind(
    "countersigned-other",
    "What was signed apart is not what is to be published now.",
    "prepare it anew with `medvouch release metadata`, from the same files and keys, and have it signed again",
)

TABLE = refusal_table(globals())
