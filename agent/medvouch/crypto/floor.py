"""Approvals that let a TPM's floor counter rise (DESIGN §7), in plain software: policies, their signature, the epoch.

The counter's authPolicy is PolicyAuthorize(floor authority, policyRef = UEID). An approval signs, for one device and
one value of its counter, PolicyNV(counter = n) and PolicyCommandCode(NV_Increment): once the counter has risen, it is
spent.
"""

from __future__ import annotations

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto import refusals
from medvouch.crypto.keys import ES256, PublicKey, Signer, ecdsa_der
from medvouch.errors import InputError, Refusal
from medvouch.formats.floor import SIGNATURE_BYTES, FloorApproval

CC_NV_INCREMENT = 0x00000134
CC_POLICY_NV = 0x00000149
CC_POLICY_COMMAND_CODE = 0x0000016C
CC_POLICY_NV_WRITTEN = 0x0000018F
"""TPM_CC (Part 2, 6.5.2)."""
EO_EQ = 0x0000
"""TPM_EO: operands are equal (Part 2, 6.8)."""
COUNTER_BYTES = 8


def policy_nv_equal(digest: bytes, name: bytes, value: bytes) -> bytes:
    """TPM2_PolicyNV(index `name` holds `value` from offset 0) after `digest` (Part 3, 23.9)."""
    operands = hashlib.sha256(value + (0).to_bytes(2, "big") + EO_EQ.to_bytes(2, "big")).digest()
    return _extended(digest, CC_POLICY_NV, operands + name)


def policy_nv_written(digest: bytes, written: bool) -> bytes:
    """TPM2_PolicyNvWritten after `digest` (Part 3, 23.20)."""
    return _extended(digest, CC_POLICY_NV_WRITTEN, bytes([written]))


def policy_command_code(digest: bytes, code: int) -> bytes:
    """TPM2_PolicyCommandCode after `digest` (Part 3, 23.11)."""
    return _extended(digest, CC_POLICY_COMMAND_CODE, code.to_bytes(4, "big"))


def approved_policy(name: bytes, counter: int | None) -> bytes:
    """The policy that an approval signs: NV_Increment of the index `name` (as written) while it holds `counter`.

    None: while it was never written; `name` is then of no account.
    """
    start = bytes(hashlib.sha256().digest_size)
    if counter is None:
        first = policy_nv_written(start, False)
    else:
        first = policy_nv_equal(start, name, counter.to_bytes(COUNTER_BYTES, "big"))
    return policy_command_code(first, CC_NV_INCREMENT)


def approve(signer: Signer, name: bytes, counter: int | None, reference: bytes) -> FloorApproval:
    """Approve the rise by one of the counter that holds `counter`; `reference` is the device's UEID.

    Raises InputError `key-malformed` where the signer is not ECDSA on P-256.
    """
    if signer.alg != ES256:
        raise InputError("key-malformed", "a floor authority signs with ECDSA on P-256")
    return FloorApproval(counter, signer.sign(approved_policy(name, counter) + reference))


def verify_approval(approval: FloorApproval, authority: PublicKey, name: bytes, reference: bytes) -> None:
    """Whether a TPM would take it while the index `name` of the device `reference` holds `approval.counter`.

    Raises Refusal `floor-approval-invalid`.
    """
    signed = approved_policy(name, approval.counter) + reference
    try:
        if not isinstance(authority, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        authority.verify(ecdsa_der(approval.signature, SIGNATURE_BYTES // 2), signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        detail = f"no approval of this authority, for this device, of the counter {approval.counter}"
        raise Refusal(refusals.FLOOR_APPROVAL_INVALID, detail) from None


def epoch(floor: int, floor_base: int, counter: int) -> int:
    """The security epoch: the one enrolled at, and how far the counter has risen since."""
    return floor + (counter - floor_base)


def _extended(digest: bytes, code: int, arguments: bytes) -> bytes:
    return hashlib.sha256(digest + code.to_bytes(4, "big") + arguments).digest()
