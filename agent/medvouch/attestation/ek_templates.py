"""The endorsement keys that TPMs come with: TCG's default templates, and where their certificates are in NV.

(TCG EK Credential Profile for TPM 2.0, 2.2.1.4, 2.2.1.5 and annex B.)
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX, EK_TEMPLATE
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm_public import Curve, EccParameters, ObjectAttribute, Public, RsaParameters, Symmetric

_LOW = Public.parse(EK_TEMPLATE)
_HIGH = _LOW.attributes | ObjectAttribute.USER_WITH_AUTH
_POLICIES = {
    HashAlg.SHA256: bytes.fromhex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"),
    HashAlg.SHA384: bytes.fromhex(
        "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
    ),
    HashAlg.SHA512: bytes.fromhex(
        "b8221ca69e8550a4914de3faa6a18c072cc01208073a928d5d66d59ef79e49a4"
        "29c41a6b269571d57edb25fbdb1838425608b413cd616a5f6db5b6071af99bea"
    ),
}
"""PolicyB of the H-series: PolicyOR(PolicySecret(endorsement), PolicyAuthorizeNV); a user needs none of it."""


@dataclass(frozen=True)
class EkTemplate:
    """A kind of EK: `public` is the TPMT_PUBLIC to make it from, `certificate_index` an NV index."""

    name: str
    public: bytes
    certificate_index: int


def _high(name: str, index: int, algorithm: HashAlg, parameters: RsaParameters | EccParameters) -> EkTemplate:
    unique = (b"",) if isinstance(parameters, RsaParameters) else (b"", b"")
    return EkTemplate(name, Public(algorithm, _HIGH, _POLICIES[algorithm], parameters, unique).encode(), index)


EK_TEMPLATES = (
    EkTemplate(
        "L-1",
        Public(
            HashAlg.SHA256,
            _LOW.attributes,
            _LOW.auth_policy,
            RsaParameters(Symmetric(128), None, 2048, 0),
            (bytes(256),),
        ).encode(),
        0x01C00002,
    ),
    EkTemplate("L-2", EK_TEMPLATE, EK_CERTIFICATE_INDEX),
    _high("H-1", 0x01C00012, HashAlg.SHA256, RsaParameters(Symmetric(128), None, 2048, 0)),
    _high("H-2", 0x01C00014, HashAlg.SHA256, EccParameters(Symmetric(128), None, Curve.P256)),
    _high("H-3", 0x01C00016, HashAlg.SHA384, EccParameters(Symmetric(256), None, Curve.P384)),
    _high("H-4", 0x01C00018, HashAlg.SHA512, EccParameters(Symmetric(256), None, Curve.P521)),
    _high("H-6", 0x01C0001C, HashAlg.SHA384, RsaParameters(Symmetric(256), None, 3072, 0)),
    _high("H-7", 0x01C0001E, HashAlg.SHA512, RsaParameters(Symmetric(256), None, 4096, 0)),
)
"""All but H-5, which is of SM2."""
