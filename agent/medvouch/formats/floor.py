"""Approvals of the security epoch (DESIGN §7): what lets a TPM's floor counter rise by one, once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from medvouch.formats.record import Maybe, Octets, Record, Uint

SIGNATURE_BYTES = 64
"""ECDSA on P-256: r || s."""
MAX_APPROVAL_BYTES = 128
"""Of an encoded FloorApproval; the longest takes 103."""


@dataclass(frozen=True)
class FloorApproval(Record):
    """The floor authority lets the counter rise while it stands at `counter`; None: while it was never written.

    `signature` is over the digest that TPM2_PolicyAuthorize wants of the policy (see `crypto.floor`), so it is the TPM
    that holds the index to it.
    """

    FORMAT = "floor"

    counter: Annotated[int | None, Maybe(Uint())]
    signature: Annotated[bytes, Octets(SIGNATURE_BYTES, exact=True)]
