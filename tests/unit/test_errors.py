from __future__ import annotations

import pytest

from medvouch.attestation.evidence import COLLECTION_TYPE, UnverifiedEvidence
from medvouch.errors import MAX_DETAIL, MAX_PLACE, InputError, Refusal
from medvouch.formats import cbor
from medvouch.messages import payloads
from medvouch.ports import Timestamp


def test_short_words_are_left_as_they_are() -> None:
    error = InputError("x-malformed", "d" * MAX_DETAIL, place="p" * MAX_PLACE)
    assert (error.detail, error.place) == ("d" * MAX_DETAIL, "p" * MAX_PLACE)


def test_what_a_stranger_wrote_fits_into_an_event() -> None:
    collection = {"__cmwc_t": COLLECTION_TYPE, "\0" * 1_000_000: ["text/plain", b""]}
    with pytest.raises(Refusal, match="evidence-label-unknown") as caught:
        UnverifiedEvidence.parse(cbor.encode(collection))
    error = caught.value
    assert (len(error.detail), len(error.place)) == (MAX_DETAIL, MAX_PLACE)
    assert error.detail.endswith("...")
    assert len(str(error)) < 2 * MAX_DETAIL
    stamp = payloads.Stamp("collector", "collector", 1, Timestamp(1, True))
    fields = {"code": error.code, "detail": error.detail, "place": error.place}
    assert payloads.parse(payloads.encode("event/appraisal", stamp, fields)).fields == fields
