"""Refusals of the life cycle."""

from __future__ import annotations

from medvouch.errors import RefusalKind, refusal_table

TRANSITION_NOT_ALLOWED = RefusalKind(
    "transition-not-allowed",
    "The device's life does not lead from its present state along this cause.",
    "look at the state with `medvouch status`; a device is commissioned once, after its enrolment",
)
DEVICE_DECOMMISSIONED = RefusalKind(
    "device-decommissioned",
    "The device was decommissioned: its TPM was cleared, and its identity is no longer in service.",
    "enrol it anew with an empty state directory, if it has a next owner",
)

TRUST_EXPIRED = RefusalKind(
    "trust-expired",
    "The trust document is too old to say whom to believe.",
    "install the current trust document, and check the clock",
)
ROLE_EXPIRED = RefusalKind(
    "role-expired",
    "Whoever signed this had the right to, but not at this time any more.",
    "install a trust document in which the role is renewed, and check the clock",
)

TABLE = refusal_table(globals())
