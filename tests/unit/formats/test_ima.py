"""The IMA list parser, beyond the published lists."""

from __future__ import annotations

import pytest

from medvouch.errors import InputError
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg

ZERO = "0" * 40
ENTRY = ima.make(0, 10, "ima-ng", (b"sha256:\0" + b"1" * 32, b"/init\0"))
OLD = ima.make(1, 10, "ima", (b"1" * 20, b"/init"))


def code(data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        ima.parse_binary(data)
    return caught.value.code


def test_round_trip() -> None:
    assert ima.parse_binary(ima.encode((ENTRY, OLD))) == (ENTRY, OLD)
    assert ima.parse_binary(b"") == ()
    assert (ENTRY.template_algorithm, OLD.template_algorithm) == (HashAlg.SHA1, HashAlg.SHA1)
    assert (OLD.path, OLD.file_digest) == ("/init", ("sha1", b"1" * 20))


@pytest.mark.parametrize("entry", [ENTRY, OLD])
def test_every_truncation(entry: ima.Entry) -> None:
    data = entry.encode()
    assert {code(data[:size]) for size in range(1, len(data))} == {"ima-truncated"}


def replaced(offset: int, value: int, data: bytes = ENTRY.encode()) -> bytes:
    return data[:offset] + value.to_bytes(4, "little") + data[offset + 4 :]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (replaced(0, 24), "malformed"),
        (replaced(24, 256), "limit"),
        (replaced(34, ima.MAX_DATA_BYTES + 1), "limit"),
        (replaced(38, ima.MAX_DATA_BYTES + 1), "limit"),
        (replaced(51, 256, OLD.encode()), "limit"),
        (ENTRY.encode().replace(b"ima-ng", b"ima\x1bng"), "malformed"),
        (ENTRY.encode().replace(b"ima-ng", b"ima\xffng"), "malformed"),
        (bytes(ima.MAX_LIST_BYTES + 1), "limit"),
    ],
)
def test_refused(data: bytes, expected: str) -> None:
    assert code(data) == f"ima-{expected}"


def test_too_many_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ima, "MAX_ENTRIES", 1)
    assert code(ENTRY.encode() * 2) == "ima-limit"
    with pytest.raises(InputError, match="ima-limit"):
        ima.parse_ascii("x\nx")


def test_altered_entry_has_no_template_algorithm() -> None:
    (altered,) = ima.parse_binary(ENTRY.encode().replace(b"/init", b"/evil"))
    assert altered.template_algorithm is None


def test_templates_without_digest_or_name() -> None:
    bare = ima.make(0, 10, "sig", (b"",))
    assert (bare.path, bare.file_digest) == ("", None)
    unlabelled = ima.make(0, 10, "d-ng|n-ng", (b"1" * 20, b"x\0"))
    assert unlabelled.file_digest is None


def test_descriptions_are_printable() -> None:
    hostile = ima.make(3, 10, "ima-ng", (b"", b"/tmp/\x1b[2J\xff\0"))
    assert hostile.describe() == "entry 3 ima-ng /tmp/\\x1b[2J\\xff"
    violation = ima.Entry(4, 10, bytes(20), "ima-ng", ENTRY.data, ENTRY.fields)
    assert violation.violation
    assert violation.describe() == "entry 4 violation /init"


def test_ascii_templates() -> None:
    digest = "11" * 20
    text = (
        f"10 {ZERO} ima {digest} /bin/with space\n"
        f"10 {ZERO} ima-sig sha1:{digest} /bin/sh 0302\n"
        f"10 {ZERO} ima-sig sha1:{digest} /bin/sh \n"
        f"10 {ZERO} ima-buf sha1:{digest} kexec-cmdline 61\n"
    )
    entries = ima.parse_ascii(text)
    assert [entry.path for entry in entries] == ["/bin/with space", "/bin/sh", "/bin/sh", "kexec-cmdline"]
    assert [entry.fields[-1] for entry in entries[1:]] == [b"\3\2", b"", b"a"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "10 00 ima-ng",
        f"24 {ZERO} ima-ng sha1:00 x",
        f"-1 {ZERO} ima-ng sha1:00 x",
        f"x {ZERO} ima-ng sha1:00 x",
        "10 00 ima-ng sha1:00 x",
        "10  ima-ng sha1:00 x",
        f"10 {ZERO}0 ima-ng sha1:00 x",
        f"10 {ZERO} ima-ng sha1:0 x",
        f"10 {ZERO} ima-ng 00 x",
        f"10 {ZERO} ima-sig sha1:00 x",
        f"10 {ZERO} evm-sig sha1:00 x",
    ],
)
def test_lines_that_are_no_measurement(line: str) -> None:
    with pytest.raises(InputError) as caught:
        ima.parse_ascii(line + "\n")
    assert (caught.value.code, caught.value.place) == ("ima-malformed", "line 1")
