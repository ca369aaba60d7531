"""The key derivation of escrows against RFC 8152, appendix C.3.1 (the same exchange with a shorter content key)."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.crypto.escrow import content_key
from medvouch.formats import cbor


def test_content_key_of_direct_ecdh(vectors: Path) -> None:
    document = json.loads((vectors / "cose" / "RFC8152" / "Appendix_C_3_1.json").read_text())
    recipient = document["input"]["enveloped"]["recipients"][0]
    scalar, x, y = (
        int.from_bytes(base64.urlsafe_b64decode(text + "=="))
        for text in (recipient["key"]["d"], recipient["unprotected"]["epk"]["x"], recipient["unprotected"]["epk"]["y"])
    )
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    shared = private.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key())
    stated = document["intermediates"]
    assert shared == bytes.fromhex(stated["recipients"][0]["Secret_hex"])
    assert content_key(shared, 1, 128, cbor.encode({1: -25})) == bytes.fromhex(stated["CEK_hex"])
