"""COSE_Sign1 and COSE_Sign structures (RFC 9052): what was signed, taken apart and put together; no keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from medvouch.errors import InputError
from medvouch.formats import cbor

TAG_SIGN1 = 18
TAG_SIGN = 98
MAX_SIGNATURES = 16
MAX_SIGNATURE_BYTES = 1024

ALG = 1
CRIT = 2
CONTENT_TYPE = 3
KID = 4

Header = Mapping[int | str, Any]


class _Headers:
    """The two buckets of headers of a message or of one of its signatures (RFC 9052, section 3)."""

    protected_bytes: bytes
    unprotected: Header

    @cached_property
    def protected(self) -> Header:
        """The signed headers; none may be written as nothing or as an empty map."""
        return header(cbor.decode(self.protected_bytes, deterministic=False)) if self.protected_bytes else {}

    @property
    def signed_bytes(self) -> bytes:
        """The protected headers as a signature covers them: an empty map counts as nothing (RFC 9052, 4.4)."""
        return b"" if self.protected_bytes == b"\xa0" else self.protected_bytes

    @property
    def kid(self) -> bytes | None:
        """Which key signed it, as whoever wrote it says; None also where that is no byte string."""
        found = self.protected.get(KID, self.unprotected.get(KID))
        return found if isinstance(found, bytes) else None

    def check(self) -> None:
        """Refuse a label in both buckets: which of the two holds would be anybody's guess."""
        if both := set(self.protected) & set(self.unprotected):
            raise malformed(f"headers {both} stand in both buckets")


@dataclass(frozen=True)
class Sign1(_Headers):
    """COSE_Sign1 (RFC 9052, 4.2): [protected, unprotected, payload, signature]; payload None where it is detached."""

    protected_bytes: bytes
    unprotected: Header
    payload: bytes | None
    signature: bytes

    @classmethod
    def parse(cls, data: bytes, *, tagged: bool = True) -> Sign1:
        """From CBOR, by default under tag 18; InputError `cose-*` or `cbor-*`."""
        protected, unprotected, payload, signature = message(data, TAG_SIGN1, tagged)
        parsed = cls(octets(protected), header(unprotected), _payload(payload), _signature(signature))
        parsed.check()
        return parsed

    def encode(self) -> bytes:
        """Under tag 18."""
        body = [self.protected_bytes, self.unprotected, self.payload, self.signature]
        return cbor.encode(cbor.Tag(TAG_SIGN1, body))

    def to_be_signed(self, payload: bytes, external_aad: bytes = b"") -> bytes:
        """The Sig_structure of context Signature1 (RFC 9052, 4.4)."""
        return cbor.encode(["Signature1", self.signed_bytes, external_aad, payload])


@dataclass(frozen=True)
class SignatureBlock(_Headers):
    """COSE_Signature (RFC 9052, 4.1): [protected, unprotected, signature] of one signer."""

    protected_bytes: bytes
    unprotected: Header
    signature: bytes

    @classmethod
    def of(cls, value: object) -> SignatureBlock:
        """From the decoded array."""
        if not isinstance(value, list) or len(value) != 3:
            raise malformed("a signature is not an array of three")
        parsed = cls(octets(value[0]), header(value[1]), _signature(value[2]))
        parsed.check()
        return parsed


@dataclass(frozen=True)
class Sign(_Headers):
    """COSE_Sign (RFC 9052, 4.1): one payload under several signatures."""

    protected_bytes: bytes
    unprotected: Header
    payload: bytes | None
    signatures: tuple[SignatureBlock, ...]

    @classmethod
    def parse(cls, data: bytes, *, tagged: bool = True) -> Sign:
        """From CBOR, by default under tag 98; InputError `cose-*` or `cbor-*`."""
        protected, unprotected, payload, blocks = message(data, TAG_SIGN, tagged)
        if not isinstance(blocks, list) or not blocks:
            raise malformed("no signatures")
        if len(blocks) > MAX_SIGNATURES:
            raise InputError("cose-limit", f"{len(blocks)} signatures where at most {MAX_SIGNATURES} are allowed")
        signatures = tuple(SignatureBlock.of(block) for block in blocks)
        parsed = cls(octets(protected), header(unprotected), _payload(payload), signatures)
        parsed.check()
        return parsed

    def encode(self) -> bytes:
        """Under tag 98."""
        blocks = [[block.protected_bytes, block.unprotected, block.signature] for block in self.signatures]
        return cbor.encode(cbor.Tag(TAG_SIGN, [self.protected_bytes, self.unprotected, self.payload, blocks]))

    def to_be_signed(self, block: SignatureBlock, payload: bytes, external_aad: bytes = b"") -> bytes:
        """The Sig_structure of context Signature for one signer (RFC 9052, 4.4)."""
        return cbor.encode(["Signature", self.signed_bytes, block.signed_bytes, external_aad, payload])


def message(data: bytes, tag: int, tagged: bool = True) -> list[Any]:
    """The four elements of a COSE message; those of other senders may order their unprotected headers freely."""
    value = cbor.decode(data, deterministic=False)
    if tagged:
        if not isinstance(value, cbor.Tag) or value.tag != tag:
            raise malformed(f"not tagged {tag}")
        value = value.value
    if not isinstance(value, list) or len(value) != 4:
        raise malformed("not an array of four")
    return value


def header(value: object) -> Header:
    """A header map: its labels are integers or text."""
    if not isinstance(value, dict) or not all(isinstance(key, int | str) for key in value):
        raise malformed("a header is not a map of labels")
    return value


def octets(value: object) -> bytes:
    """A byte string."""
    if not isinstance(value, bytes):
        raise malformed("a byte string is missing")
    return value


def malformed(detail: str) -> InputError:
    """Not COSE of our kind."""
    return InputError("cose-malformed", detail)


def _payload(value: object) -> bytes | None:
    return None if value is None else octets(value)


def _signature(value: object) -> bytes:
    signature = octets(value)
    if not 0 < len(signature) <= MAX_SIGNATURE_BYTES:
        raise InputError("cose-limit", f"a signature of {len(signature)} bytes")
    return signature
