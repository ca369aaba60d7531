"""`medvouch`: one program for the agent and for everybody who asks it to prove something."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from medvouch import __version__
from medvouch.cli import building, commands, gating, releasing, rolling, updating
from medvouch.cli.config import DEFAULT_PATH
from medvouch.cli.inspecting import KINDS
from medvouch.cli.installing import DEFAULT_STATE, DEFAULT_USER, installer
from medvouch.cli.output import accept_any_text, fail
from medvouch.cli.parsing import (
    EXIT_CODES,
    Parser,
    Run,
    command,
    existing_file,
    existing_folder,
    hex_bytes,
    out_file,
    point_in_time,
)
from medvouch.errors import MedvouchError
from medvouch.formats.eat import NONCE_SIZES

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers

EXAMPLES = """\
examples:
  medvouch run --config /etc/medvouch/medvouch.toml
  medvouch status
  medvouch verify evidence.cbor --trust trust.cbor
"""
RELEASE_EXAMPLES = """\
examples, in the order of a release:
  medvouch release build --image gateway-1.1.0.img --version 1.1.0 --epoch 2 --sequence 11 --vendor devices.example \\
      --class gateway-1 --uri https://updates.devices.example/gateway-1.1.0.img \\
      --reference gateway-1.1.0.reference.cbor --out 1.1.0/release.suit
  medvouch release sign 1.1.0/release.suit --key quality.pem
  medvouch release gate 1.1.0 --known-exploited kev.json --repository repository --out 1.1.0/release.cbor
  medvouch release publish 1.1.0 1.1.0/release.suit 1.1.0/release.cbor 1.1.0/*.json --repository repository --keys keys
  medvouch release rollout start plan.toml --fleet fleet.json --repository repository
  medvouch release rollout step --repository repository --keys keys --collector state.db
"""
INTERRUPTED = 130
VERIFY_QUOTE = "verify quote"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    accept_any_text()
    if _means_quote(given):
        given[:2] = [VERIFY_QUOTE]
    try:
        options = _parser().parse_args(given)
        run: Run = options.run
        return run(options)
    except MedvouchError as error:
        return fail(error, as_json="--json" in given)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="medvouch",
        description="Proves what this device is, what it runs, how it got there and who answers for it.",
        epilog=f"{EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"medvouch {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (
        _add_run,
        _add_status,
        _add_doctor,
        updating.add_parser,
        _add_attest,
        _add_verify,
        _add_verify_quote,
        _add_explain,
        _add_ledger,
        _add_inspect,
        _add_config,
        _add_release,
    ):
        add(subparsers)
    _add_installer(subparsers)
    return parser


def _config_option(parser: argparse.ArgumentParser) -> None:
    words = f"configuration (default {DEFAULT_PATH})"
    parser.add_argument("--config", type=Path, default=DEFAULT_PATH, metavar="FILE", help=words)


def _add_run(subparsers: Subparsers) -> None:
    example = "medvouch run --config medvouch.toml"
    parser = command(subparsers, "run", commands.run, "enrol if need be, then serve until stopped", example)
    _config_option(parser)
    parser.add_argument("--verbose", action="store_true", help="log what happens, not only what goes wrong")


def _add_status(subparsers: Subparsers) -> None:
    summary = "ask the running agent how it is"
    _config_option(command(subparsers, "status", commands.status, summary, "medvouch status --json"))


def _add_doctor(subparsers: Subparsers) -> None:
    summary = "look at all that an agent stands on, one line each, and foretell the verdict"
    parser = command(subparsers, "doctor", commands.doctor, summary, "medvouch doctor --policy strict")
    _config_option(parser)
    _policy_option(parser)


def _add_attest(subparsers: Subparsers) -> None:
    summary = "have the running agent make evidence for a nonce of yours"
    example = "medvouch attest --nonce 00112233445566778899aabbccddeeff --out evidence.cbor"
    parser = command(subparsers, "attest", commands.attest, summary, example)
    _config_option(parser)
    parser.add_argument("--nonce", required=True, type=_nonce, metavar="HEX", help="8 to 64 bytes, in hex")
    parser.add_argument("--out", required=True, type=out_file, metavar="FILE", help="where the evidence goes")
    parser.add_argument("--appraiser", metavar="NAME", help="whom it is for (default: the one of the trust document)")


def _add_verify(subparsers: Subparsers) -> None:
    summary = "judge evidence or a device's ledger, or check an attestation result, offline"
    example = "medvouch verify evidence.cbor --trust trust.cbor --nonce 00112233445566778899aabbccddeeff"
    parser = command(subparsers, "verify", commands.verify, summary, example)
    what = "evidence (CMW), an attestation result (EAR) or an exported ledger"
    parser.add_argument("file", type=existing_file, metavar="FILE", help=what)
    _trust_option(parser)
    parser.add_argument("--nonce", type=_nonce, metavar="HEX", help="the challenge; without it freshness is not judged")
    parser.add_argument("--device", metavar="ID", help="the device that was asked")
    _judging_options(parser)


def _add_explain(subparsers: Subparsers) -> None:
    summary = "tell why evidence is judged as it is: each PCR, the first event that differs, what to do"
    example = "medvouch explain evidence.cbor --trust trust.cbor --html boot.html"
    parser = command(subparsers, "explain", commands.explain, summary, example)
    parser.add_argument("file", type=existing_file, metavar="FILE", help="evidence (CMW)")
    _trust_option(parser)
    parser.add_argument("--nonce", type=_nonce, metavar="HEX", help="the challenge; without it freshness is not judged")
    parser.add_argument("--device", metavar="ID", help="the device that was asked")
    parser.add_argument("--html", type=out_file, metavar="FILE", help="draw the measured boot, as a page of its own")
    _judging_options(parser)


def _judging_options(parser: argparse.ArgumentParser) -> None:
    _policy_option(parser)
    what = "a release's signed envelope, whose reference values count too; may be repeated"
    parser.add_argument("--release", type=existing_file, action="append", default=[], metavar="FILE", help=what)
    _at_option(parser)


def _policy_option(parser: argparse.ArgumentParser) -> None:
    what = "secure-boot, release, ima-allowlist, strict, or a TOML file (default release)"
    parser.add_argument("--policy", default="release", metavar="POLICY", help=what)


def _means_quote(given: Sequence[str]) -> bool:
    """Whether these are `verify quote`, and not `verify FILE` with a file of that name, which must be told a trust."""
    return list(given[:2]) == VERIFY_QUOTE.split() and not any(word.split("=")[0] == "--trust" for word in given)


def _add_verify_quote(subparsers: Subparsers) -> None:
    example = (
        "medvouch verify quote --public ak.pem --message quote.msg --signature quote.sig --pcrs quote.pcrs "
        "--nonce 00112233445566778899aabbccddeeff --eventlog binary_bios_measurements"
    )
    summary = "check a quote as tpm2_quote writes it, and replay logs against it"
    parser = command(subparsers, VERIFY_QUOTE, commands.verify_quote, summary, example)
    for name, what in (
        ("public", "the attestation key (PEM)"),
        ("message", "TPMS_ATTEST"),
        ("signature", "TPMT_SIGNATURE, or a plain one: DER for ECDSA, the bytes for RSA"),
        ("pcrs", "PCR values, serialized or values alone"),
    ):
        parser.add_argument(f"--{name}", required=True, type=existing_file, metavar="FILE", help=what)
    parser.add_argument(
        "--nonce", required=True, type=hex_bytes, metavar="HEX", help="the qualifying data that was asked"
    )
    what = "hash of a plain signature (default sha256)"
    parser.add_argument("--hash", choices=["sha256", "sha384", "sha512"], default="sha256", help=what)
    parser.add_argument("--eventlog", type=existing_file, metavar="FILE", help="TCG event log to replay")
    parser.add_argument("--ima", type=existing_file, metavar="FILE", help="IMA list to replay, binary or ASCII")


def _trust_option(parser: argparse.ArgumentParser) -> None:
    what = "trust document: whom to believe"
    parser.add_argument("--trust", required=True, type=existing_file, metavar="FILE", help=what)


def _at_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--at", type=point_in_time, metavar="TIME", help="judge at this time (ISO 8601, UTC; default now)"
    )


def _add_ledger(subparsers: Subparsers) -> None:
    examples = "medvouch ledger export --out life.cbor", "medvouch ledger verify life.cbor --trust trust.cbor"
    summary = "show, check or export the record of a device's life"
    parser = subparsers.add_parser(
        "ledger",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"examples:\n  {examples[0]}\n  {examples[1]}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_ledger_show(actions)
    _add_ledger_verify(actions)
    _add_ledger_lineage(actions)
    _add_ledger_remediation(actions)
    summary = "have the running agent write its ledger to a file"
    export = command(actions, "export", commands.ledger_export, summary, examples[0])
    export.add_argument("--out", required=True, type=out_file, metavar="FILE", help="where the ledger goes")
    _config_option(export)


def _add_ledger_show(actions: Subparsers) -> None:
    summary = "show a ledger, believing none of it"
    examples = "medvouch ledger show", "medvouch ledger show life.cbor --json"
    parser = command(actions, "show", commands.ledger_show, summary, *examples)
    what = "an exported ledger (default: that of the running agent)"
    parser.add_argument("file", nargs="?", type=existing_file, metavar="FILE", help=what)
    _config_option(parser)


def _add_ledger_verify(actions: Subparsers) -> None:
    summary = "check a ledger from its first entry to its last, offline, and name the first that does not hold"
    example = "medvouch ledger verify life.cbor --trust trust.cbor --at 2030-01-01"
    parser = command(actions, "verify", commands.ledger_verify, summary, example)
    parser.add_argument("file", type=existing_file, metavar="FILE", help="an exported ledger")
    _trust_option(parser)
    parser.add_argument("--device", metavar="ID", help="the device that it should be of")
    _at_option(parser)


def _add_ledger_lineage(actions: Subparsers) -> None:
    summary = "tell what a device was made to run since it was enrolled, who signed it, and what proved that it booted"
    example = "medvouch ledger lineage life.cbor --trust trust.cbor --record 1.1.0/release.cbor"
    parser = command(actions, "lineage", commands.ledger_lineage, summary, example)
    parser.add_argument("file", type=existing_file, metavar="FILE", help="an exported ledger")
    _trust_option(parser)
    what = "a release's record, which names what it fixed; may be repeated"
    parser.add_argument("--record", type=existing_file, action="append", default=[], metavar="FILE", help=what)
    parser.add_argument("--device", metavar="ID", help="the device that it should be of")
    _at_option(parser)


def _add_ledger_remediation(actions: Subparsers) -> None:
    summary = (
        "tell what became of an advisory in a fleet: an outcome and seven times for each device; 0 once it is closed"
    )
    example = (
        "medvouch ledger remediation --advisory advisory.json --fleet fleet.json --bundles lives --trust trust.cbor "
        "--repository repository --root root.json --out DEV-2026-001.json"
    )
    parser = command(actions, "remediation", commands.ledger_remediation, summary, example)
    for name, what in (
        ("advisory", "the advisory (CSAF 2.0)"),
        ("fleet", "all devices that you know (JSON)"),
        ("trust", "trust document: whom to believe"),
        ("root", "the root that the repository is believed by, as images carry it"),
    ):
        parser.add_argument(f"--{name}", required=True, type=existing_file, metavar="FILE", help=what)
    for name, what in (("bundles", "exported ledgers (*.cbor)"), ("repository", "a copy of what is served")):
        parser.add_argument(f"--{name}", required=True, type=existing_folder, metavar="DIR", help=what)
    what = "a collector's database, which tells of devices whose ledger is not at hand"
    parser.add_argument("--collector", type=existing_file, metavar="FILE", help=what)
    what = "a support statement (OpenEoX; default: what the newest release says)"
    parser.add_argument("--support", type=existing_file, metavar="FILE", help=what)
    what = "when you became aware of it, where no release says (ISO 8601, UTC)"
    parser.add_argument("--aware", type=point_in_time, metavar="TIME", help=what)
    parser.add_argument("--out", type=out_file, metavar="FILE", help="where the record goes, as JSON")
    _at_option(parser)


def _add_inspect(subparsers: Subparsers) -> None:
    examples = (
        "medvouch inspect eventlog /sys/kernel/security/tpm0/binary_bios_measurements",
        "medvouch inspect cmw evidence.cbor --json",
    )
    summary = "show what a file says, believing none of it"
    parser = command(subparsers, "inspect", commands.inspect, summary, *examples)
    what = "; ".join(f"{name}: {kind.what}" for name, kind in KINDS.items())
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=what)
    parser.add_argument("file", type=existing_file, metavar="FILE")


def _add_config(subparsers: Subparsers) -> None:
    example = "medvouch config check --config medvouch.toml"
    parser = command(subparsers, "config", commands.config, "check or show the configuration", example)
    parser.add_argument("action", choices=["check", "show"])
    _config_option(parser)


def _add_installer(subparsers: Subparsers) -> None:
    summary = "help the agent to what only root may read, and write; started by systemd"
    example = "medvouch installer --socket /run/medvouch/installer.sock"
    parser = command(subparsers, "installer", installer, summary, example)
    _config_option(parser)
    words = f"the only user whose questions are answered (default {DEFAULT_USER})"
    parser.add_argument("--user", default=DEFAULT_USER, metavar="NAME", help=words)
    words = "listen there (default: on the socket that systemd hands over)"
    parser.add_argument("--socket", type=Path, metavar="PATH", help=words)
    words = f"keep there what nobody else may write, where it writes parts (default {DEFAULT_STATE})"
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, metavar="PATH", help=words)


def _add_release(subparsers: Subparsers) -> None:
    parser = subparsers.add_parser(
        "release",
        help="build, sign, publish and direct what devices install",
        description="Build, sign, publish and direct what devices install.",
        epilog=f"{RELEASE_EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    steps = parser.add_subparsers(metavar="STEP", required=True)
    building.add_parsers(steps)
    gating.add_parsers(steps)
    releasing.add_parsers(steps)
    rolling.add_parsers(steps)


def _nonce(text: str) -> bytes:
    nonce = hex_bytes(text)
    if len(nonce) not in NONCE_SIZES:
        raise argparse.ArgumentTypeError(f"{len(nonce)} bytes where 8 to 64 are wanted")
    return nonce
