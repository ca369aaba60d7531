"""Metadata of a role whose keys are on different machines: a file that is handed round, and signed by each (ADR 49).

It is TUF metadata as it will be published, with as many signatures as have been made so far.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from securesystemslib.exceptions import UnverifiedSignatureError
from tuf.api.metadata import Metadata, Root, Targets
from tuf.api.serialization import DeserializationError, SerializationError

from medvouch.crypto.keys import Signer
from medvouch.errors import InputError, Refusal
from medvouch.release import refusals
from medvouch.release.tuf_signing import SigningKey

ROOT, RELEASES = ROLES = ("root", "releases")
"""Whose metadata is signed apart."""
MAX_DOCUMENT_BYTES = 5_000_000
"""As devices read of a role."""
_KINDS = {ROOT: Root, RELEASES: Targets}

Documents = Mapping[str, Metadata[Any]]
"""By role."""
NONE_APART: Documents = {}


def read_document(data: bytes) -> tuple[str, Metadata[Any]]:
    """The role that it is of, and the metadata. InputError `countersigned-malformed`, `countersigned-limit`."""
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InputError("countersigned-limit", f"{len(data)} bytes where at most {MAX_DOCUMENT_BYTES} are allowed")
    try:
        metadata = Metadata[Any].from_bytes(data)
        signed: object = metadata.signed
        _ = metadata.signed_bytes
    except (DeserializationError, SerializationError) as error:  # what is signed has no fractions
        raise _malformed(str(error.__cause__ or error)) from error
    role = next((role for role, kind in _KINDS.items() if isinstance(signed, kind)), None)
    if role is None:
        raise _malformed(f"{type(signed).__name__} is signed where it is published")
    return role, metadata


def countersign(data: bytes, signer: Signer) -> bytes:
    """With one more signature.

    Raises InputError `countersigned-*`, `key-malformed`; Refusal `countersigned-already`.
    """
    _, metadata = read_document(data)
    if not add_signature(metadata, signer):
        raise Refusal(refusals.COUNTERSIGNED_ALREADY, f"key {SigningKey(signer).public_key.keyid[:16]}")
    return metadata.to_bytes()


def add_signature(metadata: Metadata[Any], signer: Signer) -> bool:
    """Whether there was none of this key yet; one in its name that does not hold is replaced."""
    key, signed = SigningKey(signer), metadata.signed_bytes
    if (found := metadata.signatures.get(key.public_key.keyid)) is not None:
        try:
            key.public_key.verify_signature(found, signed)
            return False
        except UnverifiedSignatureError:
            pass
    metadata.signatures[key.public_key.keyid] = key.sign(signed)
    return True


def same_contents(one: Metadata[Any], other: Metadata[Any]) -> bool:
    """All that they say, but when and for how long."""
    plain = [{**each.signed.to_dict(), "version": 0, "expires": ""} for each in (one, other)]
    return bool(plain[0] == plain[1])


def _malformed(detail: str) -> InputError:
    remedy = "name a file of `medvouch release metadata`"
    return InputError("countersigned-malformed", f"no metadata to be signed apart: {detail}", remedy=remedy)
