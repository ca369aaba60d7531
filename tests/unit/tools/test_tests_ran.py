from __future__ import annotations

from pathlib import Path

import pytest

import tests_ran

REPORT = '<testsuites><testsuite name="pytest" tests="{}" skipped="{}" failures="0" errors="0"/></testsuites>'


@pytest.mark.parametrize(("tests", "skipped", "status"), [(3, 2, 0), (3, 3, 1), (0, 0, 1)])
def test_a_report_counts_only_where_a_test_ran(tests: int, skipped: int, status: int, tmp_path: Path) -> None:
    report = tmp_path / "junit.xml"
    report.write_text(REPORT.format(tests, skipped))
    assert tests_ran.main([str(report)]) == status


def test_no_report_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        tests_ran.main([str(tmp_path / "junit.xml")])
