"""`medvouch inspect` on published logs: what programs read of it is what is expected of the logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.cli import Caller

IMA = {
    "ibmtss-imatest.log": (17, 1),
    "ovmf-uki-bookworm.binary_runtime_measurements": (5, 0),
    "keylime-ascii_runtime_measurements": (826, 0),
    "ima-log-sha1": (2, 1),
    "ima-log-sha256": (2, 0),
    "ima-log-sha384": (2, 1),
    "ima-log-sha512": (2, 1),
    "ima-log-sm3_256": (2, 1),
    "ima-log-unknown": (2, 1),
}
SECURE_BOOT = {None: None, "": False, "00": False, "01": True}


@pytest.fixture(scope="module")
def expected(vectors: Path) -> dict[str, dict[str, Any]]:
    return dict(json.loads((vectors / "eventlogs" / "expected.json").read_text()))


@pytest.fixture
def medvouch(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def test_event_logs(medvouch: Caller, vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    checked = 0
    for name, row in expected.items():
        if "events" in row:
            document = medvouch("inspect", "eventlog", vectors / "eventlogs" / name, "--json").json
            assert document["banks"] == row["banks"], name
            assert len(document["events"]) == row["events"], name
            assert document["pcrs"] == row["replayed_pcrs"], name
            assert document["secure_boot"] is SECURE_BOOT[row["secure_boot_variable"]], name
            checked += 1
    assert checked == 25


def test_captured_logs_lead_to_the_pcrs_of_their_tpm(
    medvouch: Caller, vectors: Path, expected: dict[str, dict[str, Any]]
) -> None:
    """Those that nothing but firmware extended: PCR 10 is IMA's, PCR 11 goes on in user space."""
    for name, row in expected.items():
        if "tpm_pcrs_sha256" in row:
            pcrs = medvouch("inspect", "eventlog", vectors / "eventlogs" / name, "--json").json["pcrs"]["sha256"]
            firmware = {pcr: value for pcr, value in row["tpm_pcrs_sha256"].items() if pcr in pcrs and pcr != "11"}
            assert {pcr: pcrs[pcr] for pcr in firmware} == firmware, name


def test_what_is_no_log(medvouch: Caller, vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    bad = [name for name, row in expected.items() if "must be a clear format error" in row.get("note", "")]
    assert len(bad) == 2
    for name in bad:
        called = medvouch("inspect", "eventlog", vectors / "eventlogs" / name)
        assert (called.code, called.out, called.err.count("\n")) == (1, "", 1)
        assert called.err.startswith("medvouch: eventlog-")


@pytest.mark.parametrize("name", IMA)
def test_ima_lists(medvouch: Caller, vectors: Path, name: str) -> None:
    document = medvouch("inspect", "ima", vectors / "ima" / name, "--json").json
    assert (len(document["entries"]), document["violations"]) == IMA[name]
    assert [entry["index"] for entry in document["entries"]] == list(range(IMA[name][0]))


def test_what_a_tpm_signed(medvouch: Caller, vectors: Path) -> None:
    kinds = {"q": "quote", "cert": "certify", "nv": "nv_digest"}
    for name, kind in kinds.items():
        document = medvouch("inspect", "quote", vectors / "tpm" / f"{name}.attest", "--json").json
        assert document["type"] == kind


def test_all_lines_are_printable(medvouch: Caller, vectors: Path, expected: dict[str, dict[str, Any]]) -> None:
    files = [("ima", vectors / "ima" / name) for name in IMA]
    files += [("eventlog", vectors / "eventlogs" / name) for name, row in expected.items() if row["size"] > 100]
    for kind, path in files:
        called = medvouch("inspect", kind, path)
        assert called.code == 0, path
        assert all(line.isprintable() for line in called.out.split("\n")), path
