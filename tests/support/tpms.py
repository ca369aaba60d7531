"""Structures of TPMs for tests."""

from __future__ import annotations

import os

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import (
    Attest,
    AttestType,
    CertifyInfo,
    ClockInfo,
    NvDigestInfo,
    NvInfo,
    PcrSelection,
    QuoteInfo,
    Signature,
    SignatureAlg,
)
from medvouch.formats.tpm_public import (
    Curve,
    EccParameters,
    NvAttribute,
    NvPublic,
    ObjectAttribute,
    Public,
    RsaParameters,
    Scheme,
    SchemeAlg,
    Symmetric,
)

NAME = b"\x00\x0b" + bytes(range(32))
CLOCK = ClockInfo(clock=12345, reset_count=7, restart_count=1, safe=True)
QUOTE = QuoteInfo(PcrSelection.of({HashAlg.SHA256: [0, 7, 23], HashAlg.SHA384: []}), bytes(32))
ATTESTED = {
    AttestType.QUOTE: QUOTE,
    AttestType.CERTIFY: CertifyInfo(NAME, b"\x00\x0c" + bytes(48)),
    AttestType.NV: NvInfo(NAME, 3, b"contents"),
    AttestType.NV_DIGEST: NvDigestInfo(NAME, bytes(32)),
}
ATTESTS = [Attest(kind, NAME, b"nonce", CLOCK, 0x2019_0123, info) for kind, info in ATTESTED.items()]
SIGNATURES = [
    Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (b"\x01" * 32, b"\x02" * 31)),
    Signature(SignatureAlg.RSASSA, HashAlg.SHA384, (b"\x03" * 256,)),
    Signature(SignatureAlg.RSAPSS, HashAlg.SHA512, (b"\x04" * 512,)),
]
ECC_KEY = Public(
    HashAlg.SHA256,
    ObjectAttribute.SIGN | ObjectAttribute.RESTRICTED | ObjectAttribute.NO_DA,
    b"",
    EccParameters(None, Scheme(SchemeAlg.ECDSA, HashAlg.SHA256), Curve.P256),
    (b"\x05" * 32, b"\x06" * 32),
)
RSA_KEY = Public(
    HashAlg.SHA384,
    ObjectAttribute.DECRYPT | ObjectAttribute.RESTRICTED,
    bytes(48),
    RsaParameters(Symmetric(256), None, 3072, 0),
    (b"\x07" * 384,),
)
NV_INDEX = NvPublic(0x01C0000A, HashAlg.SHA256, NvAttribute.PPWRITE | NvAttribute.NO_DA, bytes(32), 1024)


class OsEntropy:
    """The Entropy port on the system's generator."""

    def bytes(self, size: int) -> bytes:
        """`size` random bytes."""
        return os.urandom(size)
