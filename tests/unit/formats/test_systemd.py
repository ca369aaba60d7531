"""systemd's measurement log."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats import systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.systemd import Record

DIGESTS = {HashAlg.SHA1: b"1" * 20, HashAlg.SHA256: b"2" * 32}
CONTENT = {"string": "enter-initrd", "bootId": "ab" * 16, "timestamp": 4711, "eventType": "phase"}
PHASE = Record(0, DIGESTS, 11, content=CONTENT)
NV = Record(1, DIGESTS, nv_index=0x01D10200, content={"nvIndexName": "hardware"})
REAL = (
    b'\x1e{"pcr":11,"digests":[{"hashAlg":"sha256","digest":"' + b"0" * 64 + b'"}],"content_type":"systemd",'
    b'"content":{"string":"ready","bootId":"51e2bd5ba4fd42c6b8bd36a6b4b5b0f3","timestamp":9,"eventType":"phase"}}\n'
)


def code(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        systemd.parse(data)
    assert caught.value.place.startswith("record ")
    return caught.value.code


def test_round_trip() -> None:
    assert systemd.parse(systemd.encode((PHASE, NV))) == (PHASE, NV)
    assert systemd.encode(systemd.parse(REAL)) == REAL
    assert systemd.parse(b"") == ()


def test_every_truncation() -> None:
    data, first = systemd.encode((PHASE, NV)), len(PHASE.encode())
    for size in set(range(1, len(data))) - {first}:
        assert code(data[:size]) == "systemd-truncated"
    assert systemd.parse(data[:first]) == (PHASE,)


def test_what_a_record_says() -> None:
    assert (PHASE.string, PHASE.event_type) == ("enter-initrd", "phase")
    assert PHASE.describe() == "record 0 phase enter-initrd"
    assert NV.describe() == "record 1 measurement"
    odd = Record(0, DIGESTS, 11, content={"string": 1, "eventType": []})
    assert (odd.string, odd.event_type) == ("", "")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"\x1e", b"", "malformed"),
        (b"\n", b"\n\x1e", "truncated"),
        (b"\n", b" \x1e{}\n", "truncated"),
        (b"{", b"{{", "malformed"),
        (b'"pcr":11', b'"pcr":24', "malformed"),
        (b'"pcr":11', b'"pcr":-1', "malformed"),
        (b'"pcr":11', b'"pcr":true', "malformed"),
        (b'"pcr":11', b'"pcr":11,"pcr":11', "malformed"),
        (b'"pcr":11', b'"pcr":11,"nv_index":1', "malformed"),
        (b'"pcr":11', b'"nv_index":4294967296', "malformed"),
        (b'"pcr":11', b'"other":11', "malformed"),
        (b'"pcr":11,', b"", "malformed"),
        (b'"content_type":"systemd"', b'"content_type":1', "malformed"),
        (b'"content_type":"systemd",', b"", "malformed"),
        (b'"sha256"', b'"SHA256"', "malformed"),
        (b'"sha256"', b'"md5"', "malformed"),
        (b'"sha256"', b'"sha1"', "malformed"),
        (b'"sha256"', b'"sha256","x":1', "malformed"),
        (b"0" * 64, b"0" * 62 + b"0A", "malformed"),
        (b'[{"hashAlg":"sha256","digest":"' + b"0" * 64 + b'"}]', b"[]", "malformed"),
        (b'[{"hashAlg":"sha256","digest":"' + b"0" * 64 + b'"}]', b"7", "malformed"),
        (b"9,", b"NaN,", "malformed"),
        (b"9,", b"1.5,", "malformed"),
        (b"9,", b"9" * 5000 + b",", "malformed"),
        (b"ready", b"\\ud800", "malformed"),
        (b"ready", b"\xff", "malformed"),
        (b"9,", b"[" * 30000 + b",", "limit"),
        (b"ready", b"x" * systemd.MAX_RECORD_BYTES, "limit"),
    ],
)
def test_refused(old: bytes, new: bytes, fault: str) -> None:
    assert old in REAL
    assert code(REAL.replace(old, new, 1)) == f"systemd-{fault}"


def test_two_digests_of_one_bank() -> None:
    digest = b'{"hashAlg":"sha256","digest":"' + b"0" * 64 + b'"}'
    assert code(REAL.replace(digest, digest + b"," + digest)) == "systemd-malformed"


def test_a_record_must_be_an_object() -> None:
    assert code(b"\x1e[]\n") == "systemd-malformed"


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "MAX_RECORDS", 1)
    assert code(REAL * 2) == "systemd-limit"
    assert code(b"\x1e" * (systemd.MAX_LOG_BYTES + 1)) == "systemd-limit"
