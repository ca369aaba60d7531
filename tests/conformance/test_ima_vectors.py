"""IMA lists of the kernel and of other projects' tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.errors import InputError
from medvouch.formats import ima, ima_ascii
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cms import SignedData
from medvouch.formats.ima_signature import OF_FILE, ImaSignature

BINARY = ("ibmtss-imatest.log", "ovmf-uki-bookworm.binary_runtime_measurements")


@pytest.mark.parametrize("name", BINARY)
def test_binary_lists_hold(vectors: Path, name: str) -> None:
    data = (vectors / "ima" / name).read_bytes()
    entries = ima.parse_binary(data)
    assert ima.encode(entries) == data
    for entry in entries:
        assert entry.violation or entry.template_algorithm is HashAlg.SHA1
        assert ima.join_fields(entry.template, entry.fields) == entry.data


def test_all_templates_of_the_kernel_are_read(vectors: Path) -> None:
    entries = ima.parse_binary((vectors / "ima" / BINARY[0]).read_bytes())
    assert [entry.index for entry in entries if entry.violation] == [6]
    assert {"ima", "ima-ng", "ima-sig", "ima-ngv2", "ima-buf", "ima-modsig", "evm-sig", "n-ng|sig|d-ng"} <= {
        entry.template for entry in entries
    }
    assert {entry.path for entry in entries if entry.template == "n-ng|sig|d-ng"} == {"boot_aggregate"}


def test_every_cut_within_an_entry_is_refused(vectors: Path) -> None:
    data = (vectors / "ima" / BINARY[0]).read_bytes()
    boundaries, end = {0}, 0
    for entry in ima.parse_binary(data):
        end += len(entry.encode())
        boundaries.add(end)
    for size in set(range(len(data))) - boundaries:
        with pytest.raises(InputError) as caught:
            ima.parse_binary(data[:size])
        assert caught.value.code == "ima-truncated"


@pytest.mark.parametrize(
    ("name", "algorithm", "violations"),
    [
        ("ima-log-sha1", HashAlg.SHA1, 1),
        ("ima-log-sha256", HashAlg.SHA1, 0),
        ("ima-log-sha384", HashAlg.SHA1, 1),
        ("ima-log-sha512", HashAlg.SHA1, 1),
        ("ima-log-sm3_256", HashAlg.SM3_256, 1),
        ("ima-log-unknown", None, 1),
    ],
)
def test_ascii_lists(vectors: Path, name: str, algorithm: HashAlg | None, violations: int) -> None:
    aggregate, data = ima_ascii.parse_ascii((vectors / "ima" / name).read_text())
    assert data.template_algorithm is algorithm
    assert (data.path, data.file_digest and data.file_digest[0]) == ("/data", name.removeprefix("ima-log-"))
    assert aggregate.violation == bool(violations)
    assert aggregate.path == "boot_aggregate"


def test_long_ascii_list(vectors: Path) -> None:
    entries = ima_ascii.parse_ascii((vectors / "ima" / "keylime-ascii_runtime_measurements").read_text())
    assert len(entries) == 826
    assert all(entry.template_algorithm is HashAlg.SHA1 for entry in entries)
    assert ima.parse_binary(ima.encode(entries)) == entries


def test_signatures_of_the_kernel_are_read(vectors: Path) -> None:
    entries = ima.parse_binary((vectors / "ima" / BINARY[0]).read_bytes())
    signatures = [ImaSignature.parse(entry.signature) for entry in entries if entry.signature]
    assert [(each.type, each.algorithm, each.key_id.hex()) for each in signatures] == [
        (OF_FILE, HashAlg.SHA256, "6e6c1046"),
        (OF_FILE, HashAlg.SHA256, "f1f2ba3c"),
    ]
    assert [len(each.value) for each in signatures] == [256, 71]


def test_a_signature_at_the_end_of_a_file_is_read(vectors: Path) -> None:
    """Of a kernel that another one measured before kexec; the other entry of this template has none."""
    entries = ima.parse_binary((vectors / "ima" / BINARY[0]).read_bytes())
    modules = [entry for entry in entries if entry.template == "ima-modsig"]
    assert [bool(entry.appended_signature) for entry in modules] == [False, True]
    assert [entry.unsigned_digest and entry.unsigned_digest[0] for entry in modules] == [None, "sha256"]
    signed = SignedData.parse(modules[1].appended_signature or b"")
    assert signed.encode() == modules[1].appended_signature
    assert signed.describe_signer() == "serial 250b78a054442c431874fd0a7339e6f67bd3ab83 of Subject"
    assert (len(signed.signature), signed.signed_attributes) == (256, b"")
