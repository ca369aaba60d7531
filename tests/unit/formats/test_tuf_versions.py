"""TUF versions as the TPM keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medvouch.errors import InputError
from medvouch.formats.tuf_versions import NONE_SEEN, VERSIONS_BYTES, Versions
from support.truncation import assert_every_truncation_refused

NUMBER = st.integers(0, 2**64 - 1)


def test_the_bytes() -> None:
    encoded = bytes(7) + b"\x03" + bytes(6) + b"\x01\x00" + b"\x80" + bytes(7)
    assert Versions(root=3, targets=256, snapshot=2**63).encode() == encoded
    assert Versions.parse(encoded) == Versions(3, 256, 2**63)
    assert NONE_SEEN.encode() == bytes(VERSIONS_BYTES)
    assert_every_truncation_refused(Versions.parse, encoded)
    with pytest.raises(InputError, match="versions-malformed"):
        Versions.parse(encoded + b"\0")


@given(NUMBER, NUMBER, NUMBER)
def test_any_versions_come_back(root: int, targets: int, snapshot: int) -> None:
    versions = Versions(root, targets, snapshot)
    assert Versions.parse(versions.encode()) == versions


@given(st.binary(min_size=VERSIONS_BYTES, max_size=VERSIONS_BYTES))
def test_any_bytes_are_versions(data: bytes) -> None:
    assert Versions.parse(data).encode() == data


def test_a_version_that_does_not_fit_is_the_highest() -> None:
    assert Versions(1, 2**64, 2**80).encode() == Versions(1, 2**64 - 1, 2**64 - 1).encode()
