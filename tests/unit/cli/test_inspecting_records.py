"""`medvouch inspect` on userspace logs, on what a TPM signed, and on COSE messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.crypto import cose
from medvouch.crypto.keys import SoftwareSigner
from medvouch.formats import cbor, cel, der, ima, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cel import CelRecord, ContentType
from medvouch.formats.cms import Algorithm, SignedData
from medvouch.formats.corim import CONTENT_TYPE as CORIM
from medvouch.formats.corim import Class, Comid, Corim, Measurement, ReferenceTriple, Values, Version
from medvouch.formats.ima_signature import OF_FILE, ImaSignature
from medvouch.formats.systemd import Record
from medvouch.formats.tpm import (
    Attest,
    AttestType,
    CertifyInfo,
    ClockInfo,
    NvDigestInfo,
    NvInfo,
    PcrSelection,
    QuoteInfo,
)
from medvouch_sim.fixtures import private_key
from support.cli import HOSTILE, Caller, assert_steers_no_terminal

SHA256 = HashAlg.SHA256
NAME = b"\0\x0b" + b"\1" * 32
CLOCK = ClockInfo(5000, 7, 1, safe=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def records(text: str = "enter-initrd") -> bytes:
    content = {"string": text, "eventType": "phase"}
    phase = Record(0, {SHA256: b"\1" * 32}, pcr=11, content=content)
    return systemd.encode([phase, Record(1, {SHA256: b"\2" * 32}, nv_index=0x01D10200, content=content)])


def canonical(text: str = "x") -> bytes:
    return cel.encode(
        [
            CelRecord(0, {SHA256: b"\1" * 32}, ContentType.CEL, {0: [text, b"\2"]}, pcr=12),
            CelRecord(1, {SHA256: b"\1" * 32}, 99, cbor.Tag(1, text), nv_index=0x01C10201),
        ]
    )


def test_systemd(medvouch: Caller, file: Path) -> None:
    file.write_bytes(records())
    document = medvouch("inspect", "systemd", file, "--json").json
    assert [(row["pcr"], row["nv_index"]) for row in document["records"]] == [(11, None), (None, "0x01d10200")]
    assert document["records"][0]["digests"] == {"sha256": "01" * 32}
    lines = medvouch("inspect", "systemd", file).out.splitlines()
    assert lines[0] == "systemd's measurement log: 2 records"
    assert lines[2].split() == ["0", "PCR", "11", "phase", "enter-initrd"]
    assert lines[3].split()[:3] == ["1", "NV", "0x01d10200"]


def test_cel(medvouch: Caller, file: Path) -> None:
    file.write_bytes(canonical())
    document = medvouch("inspect", "cel", file, "--json").json
    assert document["encoding"] == "cbor"
    assert [(row["content_type"], row["content"]) for row in document["records"]] == [
        ("cel", {"0": ["x", "02"]}),
        ("99", "x"),
    ]
    digests = b"\3\0\0\0\x25\x0b\0\0\0\x20" + bytes(32)
    file.write_bytes(b"\0\0\0\0\1\0" + b"\1\0\0\0\1\7" + digests + b"\x09\0\0\0\2{}")
    assert medvouch("inspect", "cel", file, "--json").json["encoding"] == "tlv"
    assert medvouch("inspect", "cel", file).out.startswith("canonical event log in TLV: 1 records")


@pytest.mark.parametrize(
    ("attested", "kind", "expected"),
    [
        (
            QuoteInfo(PcrSelection.of({SHA256: (0, 7)}), b"\2" * 32),
            AttestType.QUOTE,
            {"pcrs": {"sha256": [0, 7]}, "pcr_digest": "02" * 32},
        ),
        (CertifyInfo(NAME, NAME), AttestType.CERTIFY, {"name": NAME.hex(), "qualified_name": NAME.hex()}),
        (NvInfo(NAME, 0, b"\7"), AttestType.NV, {"index": NAME.hex(), "offset": 0, "contents": "07"}),
        (NvDigestInfo(NAME, b"\2" * 32), AttestType.NV_DIGEST, {"index": NAME.hex(), "contents_digest": "02" * 32}),
    ],
)
def test_what_a_tpm_signed(
    medvouch: Caller, file: Path, attested: QuoteInfo, kind: AttestType, expected: dict[str, object]
) -> None:
    file.write_bytes(Attest(kind, NAME, b"nonce", CLOCK, 0x20, attested).encode())
    document = medvouch("inspect", "quote", file, "--json").json
    assert document.items() >= expected.items()
    assert (document["type"], document["reset_count"], document["clock_safe"]) == (kind.name.lower(), 7, False)
    assert document["qualifying_data"] == b"nonce".hex()
    lines = medvouch("inspect", "quote", file).out
    assert ("sha256:0,7" in lines) == (kind is AttestType.QUOTE)


def test_cose_messages(medvouch: Caller, file: Path) -> None:
    signer = SoftwareSigner(private_key("release"))
    file.write_bytes(cose.sign1(b"payload", signer, content_type="text/plain"))
    document = medvouch("inspect", "cose", file, "--json").json
    assert (document["type"], document["payload_bytes"], document["payload"]) == ("COSE_Sign1", 7, b"payload".hex())
    assert document["headers"]["protected"] == {"algorithm": -7, "content type": "text/plain"}
    assert "headers.protected.content type" in medvouch("inspect", "cose", file).out
    file.write_bytes(cose.sign(b"payload", [signer], content_type="text/plain"))
    several = medvouch("inspect", "cose", file, "--json").json
    assert (several["type"], len(several["signers"])) == ("COSE_Sign", 1)
    assert several["signers"][0]["protected"]["algorithm"] == -7
    for other in (cbor.encode({}), cbor.encode(cbor.Tag(17, []))):
        file.write_bytes(other)
        assert medvouch("inspect", "cose", file).err.partition(": tagged neither 18 nor 98")[1]


def test_who_signed_a_measured_file(medvouch: Caller, file: Path) -> None:
    fields = (b"sha256:\0" + bytes(32), b"/bin/x\0")
    signature = ImaSignature(OF_FILE, SHA256, b"\1\2\3\4", b"s").encode()
    entries = (ima.make(0, 10, "ima-sig", (*fields, signature)), ima.make(1, 10, "ima-sig", (*fields, b"?")))
    file.write_bytes(ima.encode(entries))
    document = medvouch("inspect", "ima", file, "--json").json
    assert [row["signed_by"] for row in document["entries"]] == ["01020304", None]
    assert "signed by 01020304" in medvouch("inspect", "ima", file).out


def test_who_signed_a_file_at_its_end(medvouch: Caller, file: Path) -> None:
    digest = b"sha256:\0" + bytes(32)
    algorithm = Algorithm(der.oid("2.16.840.1.101.3.4.2.1"))
    appended = SignedData(b"\1\2\3\4", algorithm, algorithm, b"s").encode()
    fields = (digest, b"/bin/x\0", b"", digest)
    entries = [ima.make(number, 10, "ima-modsig", (*fields, end)) for number, end in enumerate((appended, b"?", b""))]
    file.write_bytes(ima.encode(tuple(entries)))
    document = medvouch("inspect", "ima", file, "--json").json
    assert [row["appended_signature_by"] for row in document["entries"]] == ["01020304", None, None]
    assert "signed at its end by 01020304" in medvouch("inspect", "ima", file).out


@pytest.mark.parametrize(("kind", "data"), [("systemd", records(HOSTILE)), ("cel", canonical(HOSTILE))])
def test_a_hostile_file_steers_no_terminal(medvouch: Caller, file: Path, kind: str, data: bytes) -> None:
    file.write_bytes(data)
    assert_steers_no_terminal(medvouch, "inspect", kind, file)


def corim(name: str = "kernel") -> bytes:
    values = Values(version=Version("1.0"), svn=3, digests={"sha256": b"\1" * 32}, raw=b"r", name=name)
    triple = ReferenceTriple(
        Class(vendor="ACME", model="M1"), (Measurement(values, 4), Measurement(Values(svn=1), "k"))
    )
    return Corim("urn:x", (Comid(b"\7" * 16, (triple,)),), "urn:profile").encode()


@pytest.mark.parametrize("signed", [False, True])
def test_a_corim(medvouch: Caller, file: Path, signed: bool) -> None:
    signer = SoftwareSigner(private_key("release"))
    file.write_bytes(cose.sign1(corim(), signer, content_type=CORIM) if signed else corim())
    document = medvouch("inspect", "corim", file, "--json").json
    assert (document["id"], document["profile"], document["signed"]) == ("urn:x", "urn:profile", signed)
    first, second = document["measurements"]
    assert first == {
        "tag": "07" * 16,
        "class": {"vendor": "ACME", "model": "M1"},
        "key": 4,
        "name": "kernel",
        "version": "1.0",
        "svn": 3,
        "raw": "72",
        "digests": {"sha256": "01" * 32},
    }
    assert (second["key"], second["svn"], second["name"], second["digests"]) == ("k", 1, None, {})
    lines = medvouch("inspect", "corim", file).out.splitlines()
    assert lines[0] == f"CoRIM urn:x, {'signed, by whom is not checked' if signed else 'not signed'}: 2 measurements"
    assert lines[2].split() == ["M1", "4", "kernel", "1.0", "3", "sha256:0101010101010101"]


def test_a_corim_steers_no_terminal(medvouch: Caller, file: Path) -> None:
    file.write_bytes(corim(HOSTILE))
    called = medvouch("inspect", "corim", file)
    assert called.code == 0
    assert "owned" in called.out
    assert all(line.isprintable() and not line.startswith("forged") for line in called.out.split("\n"))


def test_a_corim_that_is_signed_elsewhere(medvouch: Caller, file: Path) -> None:
    signer = SoftwareSigner(private_key("release"))
    file.write_bytes(cose.sign1(corim(), signer, content_type=CORIM, detached=True))
    assert medvouch("inspect", "corim", file, "--json").code == 1
