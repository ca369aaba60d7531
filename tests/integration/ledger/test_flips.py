"""No byte of a bundle is without somebody who vouches for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from medvouch.assurance.bundle import verify_bundle
from medvouch.errors import InputError, Refusal
from medvouch.formats.ledger import Bundle
from support.enrolling import AUTHORITY
from support.lives import AT, TRUST, Life

FEWEST = replace(TRUST, enrolment=[AUTHORITY.public_key])
MASKS = (0x01, 0x20, 0x80, 0xFF)
"""A number's neighbour, text's other case, a sign, and everything."""


def accepted(data: bytes, offset: int, mask: int) -> bool:
    flipped = bytearray(data)
    flipped[offset] ^= mask
    try:
        verify_bundle(bytes(flipped), FEWEST, AT)
    except (InputError, Refusal):
        return False
    return True


def test_one_flipped_byte_at_every_offset(bundle: Bundle) -> None:
    data = bundle.encode()
    verify_bundle(data, FEWEST, AT)
    assert [at for at in range(len(data)) if accepted(data, at, MASKS[at % len(MASKS)])] == []


def test_any_flip_of_what_is_not_signed(bundle: Bundle) -> None:
    """The scaffolding around what somebody signed: every other value of every byte."""
    signed = [part for entry in bundle.entries for part in (entry.statement, *entry.attachments.values())]
    for each in bundle.checkpoints:
        signed += [part for word in (each.counter, each.head) for part in (word.attest, word.signature)]
    data = bundle.encode()
    covered: set[int] = set()
    for part in (*signed, bundle.receipt):
        start = data.index(part)
        covered |= set(range(start, start + len(part)))
    scaffolding = [offset for offset in range(len(data)) if offset not in covered]
    assert 500 < len(scaffolding) < len(data) // 4
    for offset in scaffolding:
        for mask in (1, 2, 4, 8, 16, 32, 64, 128):
            assert not accepted(data, offset, mask), (offset, mask)


def test_a_bundle_without_a_receipt_is_covered_too(lived: Life) -> None:
    """Entries, checkpoints and the empty rest: what follows the first entry, which the test above has flipped."""
    data = lived.bundle(receipt=False).encode()
    start = len(data) - 2 * 800
    assert [at for at in range(start, len(data)) if accepted(data, at, MASKS[at % len(MASKS)])] == []


def test_every_truncation(bundle: Bundle) -> None:
    data = bundle.encode()
    for size in range(len(data)):
        with pytest.raises(InputError):
            verify_bundle(data[:size], FEWEST, AT)
    with pytest.raises(InputError, match="cbor-trailing"):
        verify_bundle(data + b"\0", FEWEST, AT)


def test_refusals_name_the_part_that_was_flipped(bundle: Bundle) -> None:
    """Whatever of an entry or a checkpoint does not hold, it is the one that is named."""
    data = bundle.encode()
    parts: dict[str, tuple[bytes, Callable[[str], bool]]] = {
        "entry 1": (bundle.entries[1].encode(), lambda place: place == "entry 1"),
        "checkpoint 1": (bundle.checkpoints[1].encode(), lambda place: place == "checkpoint 1"),
        "receipt": (bundle.receipt, lambda place: "receipt" in place),
    }
    for name, (part, fits) in parts.items():
        start, named = data.index(part), Counter[str]()
        for offset in range(start, start + len(part), 7):
            flipped = bytearray(data)
            flipped[offset] ^= 1
            with pytest.raises((InputError, Refusal)) as caught:
                verify_bundle(bytes(flipped), FEWEST, AT)
            named[caught.value.place] += 1
        assert all(fits(place) for place in named), (name, named)
