"""`medvouch ledger` on files that are none, and on command lines that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.formats.ledger import Bundle, Entry
from medvouch_sim.site import Site
from support.cli import Caller

DEVICE = "0123456789abcdef" * 2


def test_an_entry_that_says_nothing(medvouch: Caller, tmp_path: Path) -> None:
    file = tmp_path / "life.cbor"
    file.write_bytes(Bundle(DEVICE, (Entry(b"\xd2\x00", {}),), (), b"", b"", b"").encode())
    called = medvouch("ledger", "show", file)
    assert called.code == 1
    assert called.err.startswith("medvouch: cose-malformed: ")
    assert "(entry 0)" in called.err
    called = medvouch("inspect", "ledger", file)
    assert called.err.endswith("name a whole file that holds a device's ledger, exported\n")


def test_a_bundle_of_nothing(medvouch: Caller, site: Site, tmp_path: Path) -> None:
    file = tmp_path / "life.cbor"
    file.write_bytes(Bundle(DEVICE, (), (), b"", b"", b"").encode())
    assert medvouch("ledger", "show", file).out.startswith(f"ledger of {DEVICE}: 0 entries, 0 checkpoints\n")
    called = medvouch("ledger", "verify", file, "--trust", site.trust_path, "--json")
    assert (called.code, called.json["status"], called.json["code"]) == (1, "broken", "bundle-answer-untrusted")
    assert called.json["place"] == "entry 0"


@pytest.mark.parametrize(
    "arguments",
    [("ledger",), ("ledger", "sing"), ("ledger", "verify"), ("ledger", "export"), ("ledger", "show", "nowhere")],
)
def test_wrong_command_lines(medvouch: Caller, arguments: tuple[str, ...]) -> None:
    called = medvouch(*arguments)
    assert called.code == 2
    assert called.err.startswith("medvouch: usage: ")
    assert called.err.count("\n") == 1


def test_no_agent_answers(medvouch: Caller, config: Path, tmp_path: Path) -> None:
    assert medvouch("ledger", "show", "--config", config).code == 5
    assert medvouch("ledger", "export", "--config", config, "--out", tmp_path / "x").code == 5


@pytest.mark.parametrize("action", ["", "show", "verify", "export"])
def test_help_has_examples(medvouch: Caller, action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        medvouch("ledger", *filter(None, [action]), "--help")
    assert "  medvouch ledger " in capsys.readouterr().out
