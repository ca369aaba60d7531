"""The summary of a fleet: what it counts, divides and says."""

from __future__ import annotations

from dataclasses import replace

from medvouch_sim.fleet.report import AFFIRMING, FAILED, Fate, Report

WELL = Fate(0, "aa", enrolled=True, status=AFFIRMING, code="", detail="", seconds=0.5)
BAD = Fate(1, "bb", enrolled=True, status="contraindicated", code="event-unexpected", detail="PCR 4", seconds=0.25)
LOST = Fate(2, "cc", enrolled=False, status=FAILED, code="enrolment-refused", detail="ek-chain-untrusted", seconds=1.0)
REPORT = Report([WELL, BAD, LOST, replace(LOST, index=3, detail="another")], 2, 1.5, 2.0, 8 * 1024)


def test_only_all_affirming_passes() -> None:
    assert Report([WELL, WELL], 1, 1.0, 1.0, 1).passed
    assert not Report([WELL, BAD], 1, 1.0, 1.0, 1).passed


def test_the_document() -> None:
    document = REPORT.document()
    assert document["gateways"][2] == {
        "index": 2,
        "device": "cc",
        "enrolled": False,
        "status": "failed",
        "code": "enrolment-refused",
        "detail": "ek-chain-untrusted",
        "seconds": 1.0,
    }
    del document["gateways"]
    assert document == {
        "devices": 4,
        "enrolled": 2,
        "affirming": 1,
        "failed": 3,
        "codes": {"enrolment-refused": 2, "event-unexpected": 1},
        "processes": 2,
        "building_s": 1.5,
        "seconds": 2.0,
        "ms_per_gateway": 500.0,
        "mib_per_gateway": 2.0,
    }


def test_the_lines_name_each_code_with_its_first_detail() -> None:
    lines = [line.strip() for line in REPORT.lines()]
    assert lines[3:6] == [
        "3 failed",
        "2 enrolment-refused, number 2: ek-chain-untrusted",
        "1 event-unexpected, number 1: PCR 4",
    ]
    assert "500.0 ms a gateway" in lines[-2]
    assert lines[-1].startswith("2.00 MiB a gateway")
