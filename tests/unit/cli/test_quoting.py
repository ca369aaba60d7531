"""`medvouch verify quote` with logs; quotes by real TPMs are in tests/integration/test_tpm2_tools.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medvouch.crypto.tpm import pcr_digest
from medvouch.formats import ima, tpm2_tools
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, AttestType, PcrSelection, QuoteInfo
from support.boots import SHA256, full_boot
from support.cli import Caller
from support.evidence import CLOCK, LAK, NONCE, QUALIFIED_SIGNER, signed

BOOT = full_boot()
PCRS = [*range(11), 12, 13, 14]
"""All but those that systemd extends, whose log this command does not take."""
NAMES = ("public", "message", "signature", "pcrs")


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A quote of that boot, and its logs."""
    pcrs = {SHA256: {pcr: BOOT.pcrs[SHA256][pcr] for pcr in PCRS}}
    selection = PcrSelection.of(pcrs)
    quoted = QuoteInfo(selection, pcr_digest(pcrs, selection))
    quote = signed(Attest(AttestType.QUOTE, QUALIFIED_SIGNER, NONCE, CLOCK, 1, quoted), LAK)
    contents = {
        "public": LAK.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "message": quote.attest,
        "signature": quote.signature,
        "pcrs": tpm2_tools.encode_serialized(pcrs),
        "eventlog": BOOT.log.encode(),
        "ima": ima.encode(tuple(BOOT.entries)),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def judge(medvouch: Caller, files: dict[str, Path], *names: str) -> tuple[int, Any]:
    given = [word for name in (*NAMES, *names) for word in (f"--{name}", files[name])]
    called = medvouch("verify", "quote", *given, "--nonce", NONCE.hex(), "--json")
    return called.code, called.json


def test_a_quote_and_its_logs(medvouch: Caller, files: dict[str, Path]) -> None:
    code, document = judge(medvouch, files, "eventlog", "ima")
    assert (code, document["status"]) == (0, "holds")
    assert {row["status"] for row in document["replay"]} <= {"match", "unextended"}
    assert {row["pcr"] for row in document["replay"]} == set(PCRS)
    assert document["pcrs"]["sha256:4"] == BOOT.pcrs[SHA256][4].hex()
    assert document["reset_count"] == CLOCK.reset_count


def test_for_people(medvouch: Caller, files: dict[str, Path]) -> None:
    given = [word for name in NAMES for word in (f"--{name}", files[name])]
    alone = medvouch("verify", "quote", *given, "--nonce", NONCE.hex())
    assert alone.code == 0
    assert f"sha256:4    {BOOT.pcrs[SHA256][4].hex()}\n" in alone.out
    assert "for its enrolment to show" in alone.out
    logs = "--eventlog", files["eventlog"], "--ima", files["ima"]
    replayed = medvouch("verify", "quote", *given, "--nonce", NONCE.hex(), *logs)
    assert "sha256:4   match" in replayed.out
    assert BOOT.pcrs[SHA256][4].hex() not in replayed.out


def test_logs_that_lead_elsewhere(medvouch: Caller, files: dict[str, Path]) -> None:
    """The table tells which PCR it is."""
    code, document = judge(medvouch, files, "eventlog")
    assert (code, document["code"]) == (1, "pcr-unexplained")
    assert {row["pcr"] for row in document["replay"] if row["status"] == "no-events"} == {10}
    log = files["eventlog"].read_bytes()
    files["eventlog"].write_bytes(log[:-1])
    assert judge(medvouch, files, "eventlog", "ima")[1]["code"] == "eventlog-truncated"


def test_a_quote_by_another_key(medvouch: Caller, files: dict[str, Path]) -> None:
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    files["public"].write_bytes(other.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert judge(medvouch, files)[1]["code"] == "quote-signature-invalid"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("public", b"no key", "key-malformed"),
        ("signature", b"no signature", "signature-malformed"),
        ("pcrs", b"\1\0\0\0", "pcrs-truncated"),
    ],
)
def test_files_that_are_nothing(medvouch: Caller, files: dict[str, Path], name: str, data: bytes, code: str) -> None:
    files[name].write_bytes(data)
    exit_code, document = judge(medvouch, files)
    assert (exit_code, document["status"], document["code"]) == (1, "contraindicated", code)


def test_a_log_that_cannot_be_read_says_nothing_of_the_device(medvouch: Caller, files: dict[str, Path]) -> None:
    files["eventlog"].unlink()
    files["eventlog"].symlink_to("nowhere")
    code, document = judge(medvouch, files, "eventlog")
    assert (code, document["error"]["code"]) == (6, "file-missing")


def test_wrong_use(medvouch: Caller, files: dict[str, Path]) -> None:
    code, document = judge(medvouch, files, "ima")
    assert (code, document["error"]["code"]) == (2, "usage")
    given = [word for name in NAMES for word in (f"--{name}", files[name])]
    assert medvouch("verify", "quote", *given, "--nonce", "xyz", "--json").json["error"]["code"] == "usage"
    assert HashAlg.SHA256.label in medvouch("verify", "quote", *given, "--nonce", NONCE.hex()).out
