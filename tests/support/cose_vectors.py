"""The examples of cose-wg/Examples: JSON files of a message, its keys and what a signature covers."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from medvouch.crypto.keys import PublicKey

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}


@dataclass(frozen=True)
class CoseVector:
    """`external` goes into each signature; `to_be_signed` and `keys` by signer."""

    data: bytes
    external: bytes
    tagged: bool
    fail: bool
    keys: tuple[PublicKey, ...]
    to_be_signed: tuple[bytes, ...]


def load_vector(path: Path) -> CoseVector:
    """A COSE_Sign1 or COSE_Sign example."""
    document = json.loads(path.read_text())
    given = document["input"]
    inner = given.get("sign0") or given["sign"]
    signers = inner.get("signers", [inner])
    stated = document["intermediates"]
    return CoseVector(
        data=bytes.fromhex(document["output"]["cbor"]),
        external=bytes.fromhex(signers[0].get("external", inner.get("external", ""))),
        tagged="RemoveCBORTag" not in given.get("failures", {}),
        fail=bool(document.get("fail")),
        keys=tuple(_key(signer["key"]) for signer in signers),
        to_be_signed=tuple(bytes.fromhex(entry["ToBeSign_hex"]) for entry in stated.get("signers", [stated])),
    )


def _key(members: dict[str, Any]) -> PublicKey:
    if members["kty"] == "OKP":
        form = ed25519.Ed25519PublicKey if members["crv"] == "Ed25519" else ed448.Ed448PublicKey
        return form.from_public_bytes(_member(members, "x"))
    x, y = (int.from_bytes(_member(members, name)) for name in "xy")
    return ec.EllipticCurvePublicNumbers(x, y, _CURVES[members["crv"]]).public_key()


def _member(members: dict[str, Any], name: str) -> bytes:
    if f"{name}_hex" in members:
        return bytes.fromhex(members[f"{name}_hex"])
    return base64.urlsafe_b64decode(members[name] + "==")
