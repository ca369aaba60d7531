"""Whose signatures an envelope has, at a price that is known before the first of them is checked.

Whoever sends an envelope decides how many signatures it has, and the trust document how many keys there are: without a
bound, each would be tried with all. So each signature names its key (kid: the COSE Key Thumbprint of RFC 9679, with
SHA-256), and is tried with that one or none; one that names none is tried with all that fit, while that is little.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

from medvouch.crypto.cose import Claim, claims, work
from medvouch.crypto.keys import PublicKey, key_thumbprint
from medvouch.errors import Refusal
from medvouch.formats.suit import Envelope, signature_block
from medvouch.update import refusals

MAX_WORK = 48
"""In checks on P-256: three signatures without a kid and 16 keys, or three keys on P-384; about 4 ms."""

_Keys = Mapping[bytes, PublicKey]


def signers(envelope: Envelope, keys: _Keys) -> tuple[bytes, ...]:
    """Which of `keys` (by any name) signed, in the order of their signatures.

    Refusal `manifest-key-repeated` where one did twice, `manifest-signatures-too-many`.
    """
    made = [claim for block in envelope.signatures for claim in claims(signature_block(block), envelope.signed)]
    _check_once([claim.kid for claim in made])
    _check_once([claim.signature for claim in made])
    candidates = _candidates(made, keys)
    needed = sum(work(key) for each in candidates for key in each.values())
    if needed > MAX_WORK:
        detail = f"{len(made)} signatures and {len(keys)} keys: the work of {needed} checks, {MAX_WORK} are made"
        raise Refusal(refusals.MANIFEST_SIGNATURES_TOO_MANY, detail)
    found = [_signer(claim, each) for claim, each in zip(made, candidates, strict=True)]
    _check_once(found)
    return tuple(name for name in found if name is not None)


def _candidates(made: Sequence[Claim], keys: _Keys) -> list[_Keys]:
    """For each signature the keys that it is tried with."""
    named = {key_thumbprint(key): name for name, key in keys.items()} if any(claim.kid for claim in made) else {}
    return [dict(_fitting(claim, keys, named)) for claim in made]


def _fitting(claim: Claim, keys: _Keys, named: Mapping[bytes, bytes]) -> Iterator[tuple[bytes, PublicKey]]:
    if claim.kid is None:
        yield from ((name, key) for name, key in keys.items() if claim.fits(key))
    elif (name := named.get(claim.kid)) is not None and claim.fits(keys[name]):
        yield name, keys[name]


def _signer(claim: Claim, keys: _Keys) -> bytes | None:
    """The one that made it; None where a stranger did."""
    for name, key in keys.items():
        try:
            claim.check(key)
        except Refusal:
            continue
        return name
    return None


def _check_once(names: Sequence[bytes | None]) -> None:
    for index, name in enumerate(names):
        if name is not None and (first := names.index(name)) < index:
            detail = f"the key {hashlib.sha256(name).hexdigest()} signed more than once"
            raise Refusal(refusals.MANIFEST_KEY_REPEATED, detail, place=f"signature {index}, after {first}")
