"""The IMA list parser, beyond the published lists."""

from __future__ import annotations

import hashlib

import pytest

from medvouch.errors import InputError
from medvouch.formats import ima, ima_ascii
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
    monkeypatch.setattr(ima_ascii, "MAX_ENTRIES", 1)
    with pytest.raises(InputError, match="ima-limit"):
        ima_ascii.parse_ascii("x\nx")


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
    entries = ima_ascii.parse_ascii(text)
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
        f"10 {ZERO} unknown x",
        f"10 {ZERO} evm-sig sha1:00 /x 05 security.ima 04000000 0102 0 -1 33188",
        f"10 {ZERO} evm-sig sha1:00 /x 05 security.ima 04000000 0102 0 1 65536",
        f"10 {ZERO} ima-modsig sha1:00 /x 0302 sha1 00",
    ],
)
def test_lines_that_are_no_measurement(line: str) -> None:
    with pytest.raises(InputError) as caught:
        ima_ascii.parse_ascii(line + "\n")
    assert (caught.value.code, caught.value.place) == ("ima-malformed", "line 1")


DIGEST = b"1" * 32
FIELDS = {
    "ima": (b"1" * 20, b"/bin/with space"),
    "ima-ng": (b"sha256:\0" + DIGEST, b"/bin/with space\0"),
    "ima-ngv2": (b"verity:sha256:\0" + DIGEST, b"/x y z\0"),
    "ima-sig": (b"sha256:\0" + DIGEST, b"/a b\0", b"\3\2"),
    "ima-sigv2": (b"ima:sha256:\0" + DIGEST, b"/a b\0", b""),
    "ima-buf": (b"sha256:\0" + DIGEST, b"kexec-cmdline\0", b"quiet"),
    "ima-modsig": (b"sha256:\0" + DIGEST, b"/m .ko\0", b"", b"sha1:\0" + b"2" * 20, b"0\x82"),
    "evm-sig": (b"sha256:\0" + DIGEST, b"/a b\0", b"\5\2", b"security.ima", b"\4\0\0\0", b"\1\2\3\4",
                b"\xe8\3\0\0", b"\0\0\0\0", b"\xa4\x81"),
    "d-ng|sig": (b"sha256:\0" + DIGEST, b"\3"),
    "n-ng|sig|d-ng": (b"boot aggregate\0", b"", b"sha256:\0" + DIGEST),
    "n": (b"name with space",),
}  # fmt: skip


def shown(kind: str, value: bytes) -> str:
    """As ima_template_lib.c shows a field; one that is empty, not at all."""
    if not value:
        return ""
    if kind in ("n", "n-ng", "xattrnames"):
        return value.rstrip(b"\0").decode()
    if kind in ("d-ng", "d-ngv2", "d-modsig"):
        label, _, digest = value.partition(b"\0")
        return label.decode() + digest.hex()
    if kind in ("iuid", "igid", "imode"):
        return str(int.from_bytes(value, "little"))
    return value.hex()


@pytest.mark.parametrize("template", FIELDS)
def test_each_template_says_the_same_in_both_forms(template: str) -> None:
    entry = ima.make(0, 10, template, FIELDS[template])
    assert ima.parse_binary(entry.encode()) == (entry,)
    assert entry.template_algorithm is HashAlg.SHA1
    fields = (shown(kind, value) for kind, value in zip(ima.field_names(template), entry.fields, strict=True))
    line = f"10 {entry.template_hash.hex()} {template} {' '.join(fields)}"
    assert ima_ascii.parse_ascii(line + "\n") == ima_ascii.parse_ascii(line) == (entry,)


def test_what_the_fields_are_called() -> None:
    signed, buffer = (ima.make(0, 10, name, FIELDS[name]) for name in ("ima-sig", "ima-buf"))
    assert (signed.signature, signed.buffer, signed.appended_signature) == (b"\3\2", None, None)
    assert (buffer.signature, buffer.buffer) == (None, b"quiet")
    module = ima.make(0, 10, "ima-modsig", FIELDS["ima-modsig"])
    assert module.unsigned_digest == ("sha1", b"2" * 20)
    assert (module.signature, module.appended_signature) == (b"", b"0\x82")
    of_verity = ima.make(0, 10, "ima-ngv2", FIELDS["ima-ngv2"])
    assert of_verity.file_digest == ("sha256", DIGEST)
    assert ima.make(0, 10, "ima-ng", ()).path == ""


def test_the_first_altered_entry() -> None:
    whole, raced = ENTRY, ENTRY._replace(template_hash=bytes(20))
    broken = ENTRY._replace(data=ENTRY.data + b"x")
    assert ima.first_altered([whole, raced]) is None
    assert ima.first_altered([whole, broken]) == broken
    old = ima.make(0, 10, "ima", FIELDS["ima"])
    assert ima.first_altered([old]) is None
    wide = ENTRY._replace(template_hash=hashlib.sha256(ENTRY.data).digest())
    assert (wide.template_algorithm, ima.first_altered([wide])) == (HashAlg.SHA256, None)
