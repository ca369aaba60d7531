"""The demo as a newcomer runs it: every verdict as expected, everything on file, nothing left running."""

from __future__ import annotations

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medvouch.cli.main import main
from medvouch_sim.demo.chapters import GATEWAYS, LIFE, RECOVERY, step_rows
from medvouch_sim.demo.endings import DECOMMISSIONED, ENDING
from medvouch_sim.demo.run import rows as attacks_and_faults
from medvouch_sim.demo.run import told_rows

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
HOW_TO = ROOT / "docs" / "how-to" / "publish-a-release.md"
STEPS = step_rows(LIFE, RECOVERY, ENDING)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a demo that was played, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "out"
    command = [sys.executable, "-m", "medvouch_sim.cli", "demo", "--out", str(out)]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'agent'}:{ROOT / 'simulator'}"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return out, done.stdout


def rows(out: Path) -> list[dict[str, str]]:
    verdicts: list[dict[str, str]] = json.loads((out / "verdicts.json").read_text())
    return verdicts


def test_every_verdict_is_as_expected(played: tuple[Path, str]) -> None:
    verdicts = rows(played[0])
    assert len(verdicts) == len(STEPS) + len(attacks_and_faults())
    assert [row for row in verdicts if row["expected"] != row["actual"]] == []
    assert {"gateway", "kind", "step", "expected", "actual", "code"} <= verdicts[0].keys()
    assert {row["kind"] for row in verdicts} == {"step", "attack", "fault"}


def test_every_attack_has_a_code_of_its_own(played: tuple[Path, str]) -> None:
    attacks = [(row["step"], row["code"]) for row in rows(played[0]) if row["kind"] == "attack"]
    assert attacks == list(told_rows("attack"))
    assert len({code for _, code in attacks}) == len(attacks) == 47


def test_every_fault_ends_as_it_should(played: tuple[Path, str]) -> None:
    faults = [(row["step"], row["actual"]) for row in rows(played[0]) if row["kind"] == "fault"]
    assert faults == list(told_rows("fault"))
    assert len(faults) == 10


def test_each_gateway_goes_through_its_whole_life(played: tuple[Path, str]) -> None:
    steps = [(row["gateway"], row["step"]) for row in rows(played[0]) if row["kind"] == "step"]
    assert steps == list(STEPS)
    life = [step for gateway, step in steps if gateway == GATEWAYS[0]]
    assert life[8:13] == [
        "update staged", "update activated", "update self-checked", "attested on 1.1.0", "update closed",
    ]  # fmt: skip


def test_the_modified_kernel_is_named(played: tuple[Path, str]) -> None:
    (row,) = (row for row in rows(played[0]) if row["step"] == "modified kernel")
    assert "PCR 4" in row["detail"]
    assert "EV_EFI_BOOT_SERVICES_APPLICATION" in row["detail"]


def test_evidence_and_results_are_on_file(played: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = played
    files = sorted((out / "evidence").iterdir())
    trust = str(out / "site" / "trust.cbor")
    for file in files:
        if file.suffix == ".json":
            json.loads(file.read_text())
            continue
        code = main(["verify", str(file), "--trust", trust, "--json"])
        document = json.loads(capsys.readouterr().out)
        assert (code == 0) == (document["status"] == "affirming")
    affirmed = [file for file in files if "attested" in file.name and file.name.endswith(".evidence.cbor")]
    assert len(affirmed) >= 2 * len(GATEWAYS)
    assert all(main(["verify", str(file), "--trust", trust]) == 0 for file in affirmed)


def test_what_the_documents_say_to_type_works(played: tuple[Path, str]) -> None:
    texts = [path.read_text(encoding="utf-8").splitlines() for path in (README, HOW_TO)]
    lines = [line for text in texts for line in text if line.startswith(".venv/bin/medvouch ")]
    assert len(lines) == 6
    for line in lines:
        arguments = line.replace("build/demo", str(played[0])).split()[1:]
        assert main(arguments) == 0, line


def test_every_life_is_one_file_that_holds(played: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = played
    for gateway in GATEWAYS:
        path = str(out / "bundles" / f"{gateway}.bundle.cbor")
        assert main(["verify", path, "--trust", str(out / "site" / "trust.cbor"), "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        ended = gateway == DECOMMISSIONED
        assert document["states"]["life"] == ("frozen" if ended else "commissioned")
        assert (document["states"]["update"], document["states"]["floor"]) == ("closed", "2")
        assert (document["sanitised_at"] is not None) == ended


def test_the_messages_are_readable_json(played: tuple[Path, str]) -> None:
    lines = [json.loads(line) for line in (played[0] / "mqtt.jsonl").read_text().splitlines()]
    states = [line for line in lines if "/state/" in line["topic"] or "/event/" in line["topic"]]
    assert len(states) > 50
    assert all({"schema", "device", "boot_id", "seq", "ts_ms", "clock_ok"} <= line["payload"].keys() for line in states)


def test_the_report_names_every_gateway_and_every_attack(played: tuple[Path, str]) -> None:
    out, told = played
    report = out / "report.html"
    assert f"report: {report}" in told
    page = report.read_text(encoding="utf-8")
    assert all(
        page.count(f'<title id="line-{number}-title">The life of {name}</title>') == 1
        for number, name in enumerate(GATEWAYS, 1)
    )
    for number, row in enumerate(rows(out), 1):
        shown = page.split(f'id="row-{number}"')[1].split("</tr>")[0]
        assert all(html.escape(row[part]) in shown for part in ("gateway", "step", "expected", "actual"))
    linked = re.findall(r'href="([^"]*)"', page)
    assert len(linked) > 3 * len(GATEWAYS)
    assert all((out / link).is_file() for link in linked)


def test_what_the_report_says_to_type_works(played: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = played
    page = (out / "report.html").read_text(encoding="utf-8")
    typed = html.unescape(page.split("<pre>")[1].split("</pre>")[0]).splitlines()
    assert len(typed) >= 3
    monkeypatch.chdir(out)
    for line in typed:
        assert main(line.split()[1:]) == 0, line


def test_each_life_is_one_line(played: tuple[Path, str]) -> None:
    lives = played[1].split("The life of each gateway")[1].splitlines()
    for name in GATEWAYS:
        (line,) = (each for each in lives if each.startswith(f"  {name} "))
        assert line.split()[1:3] == ["●enrolled", "●commissioned"]
        assert "⚔×" in line


def test_it_tells_how_to_listen_along(played: tuple[Path, str]) -> None:
    (line,) = (each for each in played[1].splitlines() if "mosquitto_sub -h 127.0.0.1" in each)
    assert line.endswith("'medvouch/v1/#'")


def test_nothing_is_left_running(played: tuple[Path, str]) -> None:
    out, _ = played
    left = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.parent.exists()]
    assert [line for line in left if str(out).encode() in line] == []


def test_the_readme_shows_its_table() -> None:
    text = README.read_text(encoding="utf-8")
    for name, met in (*told_rows("attack"), *told_rows("fault")):
        assert f"| {name} | `{met}` |" in text
