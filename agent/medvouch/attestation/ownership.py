"""The accountable owner's side of a TPM's ownership (DESIGN §3): the authorisations that lie in escrow."""

from __future__ import annotations

from medvouch.crypto import escrow
from medvouch.crypto.keys import PrivateKey
from medvouch.formats.enrolment import ueid
from medvouch.formats.identity import OwnershipAuths


def open_escrow(sealed: bytes, owner: PrivateKey, ek_hash: bytes) -> OwnershipAuths:
    """The owner and lockout authorisations of the gateway with this EK, for whoever holds the owner's private key.

    Raises InputError `escrow-*`, `cose-malformed`, `cbor-*`; Refusal `escrow-unopened` where it is sealed to another
    owner, or is of another gateway.
    """
    return OwnershipAuths.parse(escrow.open_sealed(sealed, owner, context=ueid(ek_hash)))
