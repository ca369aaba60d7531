"""Every mistake of a user: one line that says what and what to do, the right exit code, no traceback."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medvouch.cli.main import main
from support.cli import Caller

NONCE = "00112233445566778899aabbccddeeff"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "empty").touch()
    (folder / "garbage").write_bytes(bytes(range(256)) * 4)
    (folder / "text").write_text("just some words\n")
    (folder / "unreadable").symlink_to("unreadable")  # for root too
    os.mkfifo(folder / "pipe")
    with (folder / "huge").open("wb") as file:
        file.truncate(33 * 1024 * 1024)
    return folder


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "said"),
    [
        ((), 2, "usage", "COMMAND"),
        (("frobnicate",), 2, "usage", "frobnicate"),
        (("inspect", "novel", "{text}"), 2, "usage", "novel"),
        (("inspect", "ima"), 2, "usage", "FILE"),
        (("inspect", "ima", "{missing}"), 2, "usage", "No such file"),
        (("inspect", "ima", "{}"), 2, "usage", "is a directory"),
        (("inspect", "ima", "{text}/below"), 2, "usage", "Not a directory"),
        (("inspect", "ima", "x" * 300), 2, "usage", "File name too long"),
        (("inspect", "ima", "{unreadable}"), 6, "file-unreadable", "symbolic links"),
        (("inspect", "ima", "{huge}"), 6, "file-too-large", "name the right file"),
        (("inspect", "eventlog", "{empty}"), 1, "eventlog-truncated", "name a whole file"),
        (("inspect", "eventlog", "{garbage}"), 1, "eventlog-limit", "name a whole file"),
        (("inspect", "ima", "{garbage}"), 1, "ima-limit", "name a whole file"),
        (("inspect", "ima", "{text}"), 1, "ima-malformed", "name a whole file"),
        (("inspect", "cmw", "{empty}"), 1, "cbor-truncated", "name a whole file"),
        (("inspect", "eat", "{garbage}"), 1, "cbor-trailing", "name a whole file"),
        (("inspect", "ear", "{text}"), 1, "cbor-", "name a whole file"),
        (("verify", "{text}"), 2, "usage", "--trust"),
        (("verify", "{text}", "--trust", "{missing}"), 2, "usage", "No such file"),
        (("verify", "{missing}", "--trust", "{text}"), 2, "usage", "No such file"),
        (("verify", "{text}", "--trust", "{garbage}"), 3, "trust-unreadable", "is no trust document"),
        (("verify", "{text}", "--trust", "{empty}"), 3, "trust-unreadable", "is no trust document"),
        (("verify", "{text}", "--trust", "{unreadable}"), 3, "trust-unreadable", "symbolic links"),
        (("verify", "{text}", "--trust", "{text}", "--nonce", "xyz"), 2, "usage", "not hexadecimal"),
        (("verify", "{text}", "--trust", "{text}", "--nonce", "00"), 2, "usage", "1 bytes where 8 to 64"),
        (("verify", "{text}", "--trust", "{text}", "--at", "noon"), 2, "usage", "'noon' is not a time"),
        (("verify", "{text}", "--trust", "{text}", "--at", "0001-01-01T00:00+14:00"), 2, "usage", "is not a time"),
        (("verify", "{text}", "--trust", "{text}", "--at", "1969-12-31"), 2, "usage", "is not between 1970 and"),
        (("attest", "--nonce", NONCE), 2, "usage", "--out"),
        (("attest", "--nonce", NONCE, "--out", "{pipe}"), 2, "usage", "is a device or a pipe"),
        (("ledger", "show", "{empty}"), 1, "cbor-truncated", "name a whole file that holds a device's ledger"),
        (("release", "predict", "{empty}", "{empty}"), 1, "file-malformed", "name the file that a release"),
        (
            ("release", "gate", "{empty}", "--known-exploited", "{empty}", "--first", "--out", "{missing}"),
            1,
            "release-malformed",
            "or name the right file",
        ),
        (("attest", "--nonce", NONCE, "--out", "{}"), 2, "usage", "is a directory"),
        (("attest", "--nonce", NONCE, "--out", "{missing}/x"), 2, "usage", "there is no directory"),
        (("attest", "--nonce", NONCE, "--out", "y" * 300), 2, "usage", "File name too long"),
        (("config", "destroy"), 2, "usage", "destroy"),
        (("config", "check", "--conf", "x"), 2, "usage", "unrecognized"),
        *(
            ((*command, "--config", file), 3, code, said)
            for command in (("run",), ("status",), ("attest", "--nonce", NONCE, "--out", "e"), ("config", "check"))
            for file, code, said in (
                ("{missing}", "config-unreadable", "does not exist; write one, or name another"),
                ("{}", "config-unreadable", "Is a directory"),
                ("{unreadable}", "config-unreadable", "symbolic links"),
                ("{huge}", "config-unreadable", "larger than"),
                ("{garbage}", "config-syntax", "codec can't decode"),
                ("{text}", "config-syntax", "mend the TOML"),
                ("{empty}", "config-missing-key", "device is not set; add device"),
            )
        ),
    ],
)
def test_a_mistake_is_one_line(
    medvouch: Caller, files: Path, arguments: tuple[str, ...], exit_code: int, code: str, said: str, as_json: bool
) -> None:
    named = {path.name: path for path in files.iterdir()} | {"missing": files / "missing"}
    given = [argument.format(files, **named) for argument in arguments]
    called = medvouch(*given, *(["--json"] if as_json else []))
    assert called.code == exit_code
    if as_json:
        assert called.err == ""
        error = called.json["error"]
        assert error["code"].startswith(code)
        assert said in "; ".join((error["detail"], error["remedy"]))
        assert error["remedy"]
    else:
        assert called.out == ""
        assert called.err.count("\n") == 1
        assert called.err.startswith(f"medvouch: {code}")
        assert said in called.err
        assert "; " in called.err


@pytest.mark.parametrize("command", [["status"], ["attest", "--nonce", NONCE, "--out", "e"]])
def test_no_agent_runs(medvouch: Caller, config: Path, command: list[str]) -> None:
    called = medvouch(*command, "--config", config)
    assert called.code == 5
    assert called.err.startswith("medvouch: agent-not-running: no agent answers on ")
    assert called.err.endswith("start it with `medvouch run`, or name its configuration with --config\n")


def test_without_a_tpm(medvouch: Caller, config: Path) -> None:
    called = medvouch("run", "--config", config)
    assert called.code == 4
    assert called.err.startswith("medvouch: tpm-unreachable: ")
    assert called.err.count("\n") == 1
    assert "check that the TPM is there" in called.err


def test_a_wrong_argument_steers_no_terminal(medvouch: Caller) -> None:
    called = medvouch("inspect", "\x1b[2Jx\ny", "z")
    assert called.code == 2
    assert "\x1b" not in called.err
    assert called.err.count("\n") == 1


@pytest.mark.parametrize(
    "command", ["run", "status", "attest", "verify", "inspect", "config", "release build", "release sign"]
)
def test_help_has_an_example_and_the_exit_codes(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    said = capsys.readouterr().out
    assert caught.value.code == 0
    assert f"example:\n  medvouch {command} " in said
    assert "7 missing part" in said
    assert said.isascii()


def test_help_and_version_of_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in (("--help", "examples:\n  medvouch run"), ("--version", "medvouch 0.")):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
        assert said in capsys.readouterr().out
