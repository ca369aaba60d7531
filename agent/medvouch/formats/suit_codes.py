"""All codes of the SUIT drafts in one table, and what becomes of each: it is run, carried, or refused with this code.

The drafts: draft-ietf-suit-manifest (M), draft-ietf-suit-trust-domains (T) and draft-ietf-suit-update-management (U).
docs/reference/suit.md is written from here, and the tests hold every row to what it says.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


class Kind(enum.StrEnum):
    """Where a code stands."""

    TAG = "Tags"
    ENVELOPE = "Members of the envelope"
    BLOCK = "Authentication blocks (COSE tags)"
    DIGEST = "Digest algorithms"
    MANIFEST = "Members of the manifest"
    COMMON = "Members of common, and of a dependency's metadata"
    CONDITION = "Conditions"
    DIRECTIVE = "Directives"
    POLICY = "Bits of a reporting policy"
    PARAMETER = "Parameters"
    TEXT = "Text"
    COMPARISON = "Comparisons of versions"
    WAIT = "Events to wait for"
    METADATA = "Metadata of a component"
    PERMISSION = "Bits of its permissions"


class Row(NamedTuple):
    """One code: its name without `suit-`, whose it is, and where it is not acted upon the code of the refusal.

    `remark` says how it is done, or why not.
    """

    kind: Kind
    code: int | str
    name: str
    draft: str
    refused: str = ""
    remark: str = ""


MALFORMED = "suit-malformed"
COMMAND = "manifest-command-unsupported"
PARAMETER = "manifest-parameter-unsupported"
MEMBER = "manifest-member-unsupported"
_CARRIED = "carried under its digest; nothing depends on it"

_E, _B, _A, _M, _C = Kind.ENVELOPE, Kind.BLOCK, Kind.DIGEST, Kind.MANIFEST, Kind.COMMON
_IF, _DO, _P, _T = Kind.CONDITION, Kind.DIRECTIVE, Kind.PARAMETER, Kind.TEXT

_PERMISSIONS = (
    "traverse_exec", "create_write", "list_read", "createdir_append", "read_attr", "read_perm", "change_perm",
    "change_owner", "write_attr", "recurse_delete", "delete", "sync", "read_attr_ex", "write_attr_ex",
)  # fmt: skip
"""By bit."""

TABLE = (
    Row(Kind.TAG, 107, "Envelope", "M"),
    Row(Kind.TAG, 1070, "Manifest", "M", MALFORMED, "a manifest without an envelope has no signatures"),
    Row(_E, 1, "delegation", "T", MALFORMED, "the trust document says who may sign"),
    Row(_E, 2, "authentication-wrapper", "M"),
    Row(_E, 3, "manifest", "M"),
    Row(_E, 14, "coswid", "U", MALFORMED, "the SBOM is a target of its own"),
    Row(_E, 15, "dependency-resolution", "T", remark="severed"),
    Row(_E, 16, "payload-fetch", "M", remark="severed"),
    Row(_E, 18, "candidate-verification", "T", remark="severed"),
    Row(_E, 20, "install", "M", remark="severed"),
    Row(_E, 23, "text", "M", remark="severed"),
    Row(_E, "#...", "integrated-payload-key", "M", remark="names begin with #"),
    Row(_E, "#...", "integrated-dependency-key", "T", remark="names begin with #"),
    Row(_B, 17, "COSE_Mac0", "M", "cose-malformed", "whoever can check it can forge it"),
    Row(_B, 18, "COSE_Sign1", "M"),
    Row(_B, 97, "COSE_Mac", "M", "cose-malformed", "whoever can check it can forge it"),
    Row(_B, 98, "COSE_Sign", "M"),
    Row(_A, -16, "cose-alg-sha-256", "M"),
    Row(_A, -18, "cose-alg-shake128", "M", MALFORMED, "optional"),
    Row(_A, -43, "cose-alg-sha-384", "M", MALFORMED, "optional"),
    Row(_A, -44, "cose-alg-sha-512", "M", MALFORMED, "optional"),
    Row(_A, -45, "cose-alg-shake256", "M", MALFORMED, "optional"),
    Row(_M, 1, "manifest-version", "M", remark="1"),
    Row(_M, 2, "manifest-sequence-number", "M"),
    Row(_M, 3, "common", "M"),
    Row(_M, 4, "reference-uri", "M", remark="in the report"),
    Row(_M, 5, "manifest-component-id", "T", remark="carried; the agent's state has a place for each envelope"),
    Row(_M, 6, "set-version", "U"),
    Row(_M, 7, "validate", "M"),
    Row(_M, 8, "load", "M"),
    Row(_M, 9, "invoke", "M"),
    Row(_M, 14, "coswid", "U", MEMBER, "the SBOM is a target of its own"),
    Row(_M, 15, "dependency-resolution", "T"),
    Row(_M, 16, "payload-fetch", "M"),
    Row(_M, 18, "candidate-verification", "T"),
    Row(_M, 20, "install", "M"),
    Row(_M, 23, "text", "M", remark=_CARRIED),
    Row(_M, 24, "uninstall", "T"),
    Row(_C, 1, "dependencies", "T"),
    Row(_C, "1/1", "dependency-prefix", "T", remark="before the ids of the dependency's components"),
    Row(_C, 2, "components", "M"),
    Row(_C, 4, "shared-sequence", "M"),
    Row(_IF, 1, "condition-vendor-identifier", "M"),
    Row(_IF, 2, "condition-class-identifier", "M"),
    Row(_IF, 3, "condition-image-match", "M"),
    Row(_IF, 4, "condition-use-before", "U", COMMAND, "TUF has expiry, and a clock that is checked"),
    Row(_IF, 5, "condition-component-slot", "M"),
    Row(_IF, 6, "condition-check-content", "M"),
    Row(_IF, 7, "condition-dependency-integrity", "T"),
    Row(_IF, 8, "condition-is-dependency", "T"),
    Row(_IF, 14, "condition-abort", "M"),
    Row(_IF, 24, "condition-device-identifier", "M"),
    Row(_IF, 25, "condition-image-not-match", "U"),
    Row(_IF, 26, "condition-minimum-battery", "U", COMMAND, "gateways are on mains"),
    Row(_IF, 27, "condition-update-authorized", "U", COMMAND, "whether and when is asked before a manifest is run"),
    Row(_IF, 28, "condition-version", "U"),
    Row(
        _DO, 11, "directive-process-dependency", "T", remark="parameters go neither down to a dependency nor up from it"
    ),
    Row(_DO, 12, "directive-set-component-index", "M"),
    Row(_DO, 15, "directive-try-each", "M", remark="an alternative that fails leaves no parameter behind"),
    Row(_DO, 18, "directive-write", "M"),
    Row(_DO, 19, "directive-set-parameters", "T"),
    Row(_DO, 20, "directive-override-parameters", "M"),
    Row(_DO, 21, "directive-fetch", "M"),
    Row(_DO, 22, "directive-copy", "M"),
    Row(_DO, 23, "directive-invoke", "M"),
    Row(_DO, 29, "directive-wait", "U", COMMAND, "when is asked before a manifest is run"),
    Row(_DO, 31, "directive-swap", "M", COMMAND, "the old slot stays as it is until the new one is confirmed"),
    Row(_DO, 32, "directive-run-sequence", "M"),
    Row(_DO, 33, "directive-unlink", "T", remark="what is unlinked is gone: components are not shared, nor counted"),
    Row(_DO, 34, "directive-override-multiple", "U", COMMAND, "set-component-index and override-parameters do it"),
    Row(_DO, 35, "directive-copy-params", "U", COMMAND, "set-component-index and override-parameters do it"),
    Row(_IF, "< 0", "command-custom", "M", COMMAND),
    Row(Kind.POLICY, 0, "send-record-on-success", "M"),
    Row(Kind.POLICY, 1, "send-record-on-failure", "M"),
    Row(Kind.POLICY, 2, "send-sysinfo-success", "M", remark="the digest of the component, where a size is set"),
    Row(Kind.POLICY, 3, "send-sysinfo-failure", "M", remark="the digest of the component, where a size is set"),
    Row(_P, 1, "parameter-vendor-identifier", "M", remark="a UUID; a private enterprise number is suit-malformed"),
    Row(_P, 2, "parameter-class-identifier", "M"),
    Row(_P, 3, "parameter-image-digest", "M", remark="of a dependency: of its manifest"),
    Row(_P, 4, "parameter-use-before", "U", PARAMETER),
    Row(_P, 5, "parameter-component-slot", "M"),
    Row(_P, 12, "parameter-strict-order", "M", remark="the order is always strict"),
    Row(_P, 13, "parameter-soft-failure", "M", remark="within try-each and run-sequence"),
    Row(_P, 14, "parameter-image-size", "M"),
    Row(_P, 18, "parameter-content", "M"),
    Row(_P, 21, "parameter-uri", "M"),
    Row(_P, 22, "parameter-source-component", "M"),
    Row(_P, 23, "parameter-invoke-args", "M"),
    Row(_P, 24, "parameter-device-identifier", "M"),
    Row(_P, 25, "parameter-fetch-arguments", "M", PARAMETER, "nothing that fetches takes any"),
    Row(_P, 26, "parameter-minimum-battery", "U", PARAMETER),
    Row(_P, 27, "parameter-update-priority", "U", PARAMETER),
    Row(_P, 28, "parameter-version", "U"),
    Row(_P, 29, "parameter-wait-info", "U", PARAMETER),
    Row(_P, 30, "parameter-component-metadata", "U", PARAMETER, "slots have no owners or permissions"),
    Row(_P, "< 0", "parameter-custom", "M", PARAMETER, "but for -75020, the security epoch"),
    Row(_T, 1, "text-manifest-description", "M", remark=_CARRIED),
    Row(_T, 2, "text-update-description", "M", remark=_CARRIED),
    Row(_T, 3, "text-manifest-json-source", "M", remark=_CARRIED),
    Row(_T, 4, "text-manifest-yaml-source", "M", remark=_CARRIED),
    Row(_T, "c 1", "text-vendor-name", "M", remark=_CARRIED),
    Row(_T, "c 2", "text-model-name", "M", remark=_CARRIED),
    Row(_T, "c 3", "text-vendor-domain", "M", remark=_CARRIED),
    Row(_T, "c 4", "text-model-info", "M", remark=_CARRIED),
    Row(_T, "c 5", "text-component-description", "M", remark=_CARRIED),
    Row(_T, "c 6", "text-component-version", "M", remark=_CARRIED),
    Row(_T, "c 7", "text-version-required", "U", remark=_CARRIED),
    Row(_T, "c 8", "text-current-version", "U", remark=_CARRIED),
    Row(Kind.COMPARISON, 1, "condition-version-comparison-greater", "U"),
    Row(Kind.COMPARISON, 2, "condition-version-comparison-greater-equal", "U"),
    Row(Kind.COMPARISON, 3, "condition-version-comparison-equal", "U"),
    Row(Kind.COMPARISON, 4, "condition-version-comparison-lesser-equal", "U"),
    Row(Kind.COMPARISON, 5, "condition-version-comparison-lesser", "U"),
    Row(Kind.WAIT, 1, "wait-event-authorization", "U", PARAMETER),
    Row(Kind.WAIT, 2, "wait-event-power", "U", PARAMETER),
    Row(Kind.WAIT, 3, "wait-event-network", "U", PARAMETER),
    Row(Kind.WAIT, 4, "wait-event-other-device-version", "U", PARAMETER),
    Row(Kind.WAIT, 5, "wait-event-time", "U", PARAMETER),
    Row(Kind.WAIT, 6, "wait-event-time-of-day", "U", PARAMETER),
    Row(Kind.WAIT, 7, "wait-event-day-of-week", "U", PARAMETER),
    Row(Kind.WAIT, 8, "wait-event-time-of-day-utc", "U", PARAMETER),
    Row(Kind.WAIT, 9, "wait-event-day-of-week-utc", "U", PARAMETER),
    Row(Kind.METADATA, 1, "meta-default-permissions", "U", PARAMETER),
    Row(Kind.METADATA, 2, "meta-user-permissions", "U", PARAMETER),
    Row(Kind.METADATA, 3, "meta-group-permissions", "U", PARAMETER),
    Row(Kind.METADATA, 4, "meta-role-permissions", "U", PARAMETER),
    Row(Kind.METADATA, 5, "meta-file-type", "U", PARAMETER),
    Row(Kind.METADATA, 6, "meta-modification-time", "U", PARAMETER),
    Row(Kind.METADATA, 7, "meta-creation-time", "U", PARAMETER),
    Row(Kind.METADATA, 8, "meta-creator", "U", PARAMETER),
    Row(Kind.METADATA, "5: 1", "filetype-regular", "U", PARAMETER),
    Row(Kind.METADATA, "5: 2", "filetype-directory", "U", PARAMETER),
    Row(Kind.METADATA, "5: 3", "filetype-symlink", "U", PARAMETER),
    *(Row(Kind.PERMISSION, bit, name, "U", PARAMETER) for bit, name in enumerate(_PERMISSIONS)),
)
