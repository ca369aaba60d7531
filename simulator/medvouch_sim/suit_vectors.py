"""`firmware_fixtures/suit/`: SUIT envelopes, each but the good ones wrong in one thing, for others to use."""

from __future__ import annotations

import json
from typing import Any

from medvouch_sim.suit_mutations import vectors
from medvouch_sim.suit_setting import (
    ALLOWED,
    DEVICE,
    FILES,
    IMAGE,
    INSTALLED,
    QUALITY,
    RELEASE,
    KeyOf,
    Signers,
    Vector,
)

_README = """# SUIT test vectors

Envelopes of draft-ietf-suit-manifest, draft-ietf-suit-trust-domains and draft-ietf-suit-update-management for whoever
writes a manifest processor. The `good*` ones have to be accepted; each of the others differs from a good one in one
thing, and has to be refused. Made by `make fixtures` from `simulator/medvouch_sim/suit_mutations.py`, byte for byte the
same (signatures are deterministic, RFC 6979); a test runs them all.

- `NAME.suit`: the envelope.
- `index.json`: the `setting`, and for each vector its `file`, the `mutation` in words, and what is `expected`: null, or
  the code that medvouch refuses it with ([what the codes mean](../../docs/reference/refusals.md); those that name a
  format, like `cbor-malformed`, are of bytes that are not well formed). `procedure` is what is run: `update`
  (dependency-resolution, payload-fetch, candidate-verification, install) or `boot` (validate, load, invoke), on a
  device on which nothing has been installed. `served` is what the server has, by URI: the name of a file here.
  `components`, where there are any: the only components that a key may name.
- `image`, and `image-*` beside it: what the server has.

The setting: a device with vendor, class and device identifiers (UUIDs in hex); the components `slot`, whose slot 1 is
free and whose version is 1.0, and small files, given as their parts in hex; payloads may be fetched from below
`allowed`. An envelope takes signatures by two of the three release keys and by the quality key, all different, which
are `../keys/test-ROLE.pem`: **published test keys, which no real system may ever trust.** Dependencies take the same.

Where other processors may rightly differ: deterministic CBOR is required here (`indefinite`, `longer-head`,
`key-twice`, `keys-out-of-order`); limits are ours (`suit-limit`); and what is optional in the drafts is refused where
we do not have it (`*-unsupported`, `vendor-pen`, `digest-sha512`, `mac`).
"""


def files(key_of: KeyOf) -> dict[str, bytes]:
    """Contents of the folder, by name."""
    made = list(vectors(Signers(key_of)))
    served = {_served_name(data): data for vector in made for data in vector.served.values()}
    index: dict[str, Any] = {"setting": _setting(), "vectors": [_row(vector) for vector in made]}
    everything = {"README.md": _README.encode(), "index.json": (json.dumps(index, indent=1) + "\n").encode()}
    return everything | served | {f"{vector.name}.suit": vector.envelope for vector in made}


def _setting() -> dict[str, Any]:
    return {
        "vendor_id": DEVICE.vendor_id.hex(),
        "class_id": DEVICE.class_id.hex(),
        "device_id": DEVICE.device_id.hex(),
        "files": [[part.hex() for part in component] for component in FILES],
        "version": list(INSTALLED),
        "allowed": ALLOWED,
        "release": {"keys": list(RELEASE), "threshold": 2},
        "quality": {"keys": list(QUALITY), "threshold": 1},
    }


def _row(vector: Vector) -> dict[str, Any]:
    row: dict[str, Any] = {
        "file": f"{vector.name}.suit",
        "mutation": vector.mutation,
        "expected": vector.expected or None,
        "procedure": vector.procedure,
        "served": {uri: _served_name(data) for uri, data in vector.served.items()},
    }
    return row | (
        {"components": {key: list(names) for key, names in vector.components.items()}} if vector.components else {}
    )


def _served_name(data: bytes) -> str:
    return "image" if data == IMAGE else f"image-{len(data)}"
