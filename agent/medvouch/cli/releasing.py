"""`medvouch release`: the command lines of release engineering. What they do is elsewhere; `publishing` needs tuf."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from medvouch.cli import building, keys
from medvouch.cli.parsing import (
    Run,
    command,
    day_count,
    existing_file,
    existing_folder,
    hex_bytes,
    out_file,
    part,
    target_name,
)
from medvouch.formats.directive import PURPOSES, UPDATE

UEID_BYTES = 33

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers

KEYS_HELP = (
    "directory of keys: tuf-root-N, tuf-targets, tuf-releases-N, director, tuf-snapshot, tuf-timestamp; NAME.pem is "
    "private, or public where somebody else signs, NAME.pkcs11 holds the URI of one in a token"
)
APART = ("root", "releases")


def add_parsers(subparsers: Subparsers) -> None:
    """The commands that keep the update repository, and what tells beforehand what an update changes."""
    _add_init(subparsers)
    _add_trust(subparsers)
    _add_publish(subparsers)
    _add_direct(subparsers)
    _add_rotate(subparsers)
    _add_metadata(subparsers)
    _add_countersign(subparsers)
    _add_predict(subparsers)


def _add_init(subparsers: Subparsers) -> None:
    example = "medvouch release init --repository repository --keys keys"
    parser = command(subparsers, "init", _run("init"), "make an update repository, with keys of all roles", example)
    _add_places(parser)
    _add_signed(parser)
    parser.add_argument("--bins", type=int, default=8, metavar="BITS", help="2**BITS bins of directives (default 8)")


def _add_trust(subparsers: Subparsers) -> None:
    example = "medvouch release trust trust.cbor --repository repository --keys keys"
    parser = command(subparsers, "trust", _run("trust"), "publish a trust document to all devices", example)
    parser.add_argument("file", type=Path, metavar="FILE", help="trust document")
    _add_places(parser)


def _add_publish(subparsers: Subparsers) -> None:
    examples = (
        "medvouch release publish 1.1.0 release.suit release.cbor *.json --repository repository --keys keys",
        "medvouch release publish --repository repository --keys keys    (once a day: nothing new, and not frozen)",
    )
    parser = command(
        subparsers, "publish", _run("publish"), "publish a release, or sign anew that there is none", *examples
    )
    _add_release(parser)
    _add_places(parser)
    _add_signed(parser)


def _add_direct(subparsers: Subparsers) -> None:
    release = "--release releases/1.1.0/release.suit"
    places = "--repository repository --keys keys"
    examples = (
        f"medvouch release direct 01a4...7c {release} --defer-days 14 {places}",
        f"medvouch release direct 01a4...7c --release releases/1.0.9/release.suit --purpose rollback {places}",
    )
    parser = command(subparsers, "direct", _run("direct"), "send devices to a published release", *examples)
    parser.add_argument("ueids", nargs="+", type=_ueid, metavar="UEID", help="of each device, in hex")
    parser.add_argument("--release", required=True, type=target_name, metavar="TARGET", help="the release's envelope")
    parser.add_argument("--days", type=day_count, default=30, metavar="N", help="good for so many days (default 30)")
    what = "update (default); rollback: back within the security epoch; recovery: also where it failed before"
    parser.add_argument("--purpose", choices=PURPOSES, default=UPDATE, help=what)
    what = "users may put it off for so many days (default: not at all)"
    parser.add_argument("--defer-days", type=day_count, default=0, metavar="N", help=what)
    _add_places(parser)


def _add_rotate(subparsers: Subparsers) -> None:
    example = "medvouch release rotate --repository repository --keys keys --new-keys new-keys"
    summary = "replace keys of the repository, or renew its root (the same directory twice)"
    parser = command(subparsers, "rotate", _run("rotate"), summary, example)
    _add_places(parser)
    what = "likewise, all keys that are to count from now on"
    parser.add_argument("--new-keys", required=True, type=existing_folder, metavar="DIR", help=what)
    _add_signed(parser)


def _add_metadata(subparsers: Subparsers) -> None:
    examples = (
        "medvouch release metadata 1.1.0 release.suit release.cbor *.json --for releases --repository repository \\\n"
        "      --out releases.json",
        "medvouch release metadata --for root --repository repository --new-keys new-keys --out root.json",
        "medvouch release metadata --for root --new-keys keys --out root.json    (of a repository to be made)",
    )
    summary = "write metadata for key holders on other machines to sign"
    parser = command(subparsers, "metadata", _run("metadata"), summary, *examples)
    _add_release(parser)
    parser.add_argument("--for", required=True, choices=APART, dest="role", help="whose keys are to sign it")
    what = "directory that is served; none: of a repository that is to be made"
    parser.add_argument("--repository", type=Path, metavar="DIR", help=what)
    parser.add_argument(
        "--new-keys", type=existing_folder, metavar="DIR", help=f"that the root is to name; {KEYS_HELP}"
    )
    parser.add_argument("--out", required=True, type=out_file, metavar="FILE", help="where it goes")


def _add_countersign(subparsers: Subparsers) -> None:
    example = "medvouch release countersign releases.json --key tuf-releases-2.pem"
    summary = "sign the repository's metadata, beside those who have signed it"
    parser = command(subparsers, "countersign", _run("countersign"), summary, example)
    parser.add_argument("file", type=existing_file, metavar="FILE", help="of `release metadata`; it is replaced")
    what = "a key of the role: a PEM file, or the pkcs11: URI of one in a token (RFC 7512)"
    parser.add_argument("--key", required=True, type=keys.key, metavar="KEY", help=what)


def _add_predict(subparsers: Subparsers) -> None:
    examples = (
        "medvouch release predict gateway-1.0.0.efi gateway-1.1.0.efi",
        "medvouch release predict gateway-1.0.0.suit gateway-1.1.0.suit --json",
        "medvouch release predict dbx.var dbx.auth --append --reference 1.1.0.reference.cbor --version 1.1.0.1 \\\n"
        "      --epoch 2 --key release-1.pem --key release-2.pem --out 1.1.0.1.reference.cbor",
    )
    parser = command(subparsers, "predict", _predict, "tell which PCRs an update changes, and why", *examples)
    kinds = (
        "kernel image, boot loader, Secure Boot variable (its value in a file NAME.var), slot image, signed reference "
        "values (also as CoRIM, or in a release's envelope), firmware event log, or directory of a virtual firmware"
    )
    parser.add_argument("old", type=Path, metavar="OLD", help=f"what runs now: a {kinds}")
    words = "what will, of the same kind; of a variable also its signed change (*.auth)"
    parser.add_argument("new", type=Path, metavar="NEW", help=words)
    parser.add_argument("--append", action="store_true", help="a signed change is appended, and does not replace")
    words = "write the reference values of a release that makes this change, and no other"
    parser.add_argument("--out", type=out_file, metavar="FILE", help=words)
    words = "the reference values of the boot before"
    parser.add_argument("--reference", type=existing_file, metavar="FILE", help=words)
    parser.add_argument("--version", type=building.version, metavar="V", help="of that release")
    parser.add_argument("--epoch", type=building.number, metavar="N", help="the security epoch that it belongs to")
    words = "who signs them: a release key as for `release sign`; once for each that must"
    parser.add_argument("--key", type=keys.key, action="append", default=[], metavar="KEY", help=words)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--repository", required=True, type=Path, metavar="DIR", help="directory that is served")
    parser.add_argument("--keys", required=True, type=existing_folder, metavar="DIR", help=KEYS_HELP)


def _add_release(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", nargs="?", metavar="VERSION", help="of the release")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="target releases/VERSION/FILE")


def _add_signed(parser: argparse.ArgumentParser) -> None:
    what = "metadata that others have signed (`release metadata`, `release countersign`); may be given twice"
    parser.add_argument("--signed", type=existing_file, action="append", default=[], metavar="FILE", help=what)


def _run(name: str) -> Run:
    def run(options: argparse.Namespace) -> int:
        with part("release"):
            from medvouch.cli import publishing  # noqa: PLC0415 - all else works in the base install
        return publishing.COMMANDS[name](options)

    return run


def _predict(options: argparse.Namespace) -> int:
    from medvouch.cli.predicting import predict  # noqa: PLC0415 - much code that the running agent does without

    return predict(options)


def _ueid(text: str) -> bytes:
    ueid = hex_bytes(text)
    if len(ueid) != UEID_BYTES:
        raise argparse.ArgumentTypeError(f"{len(ueid)} bytes where a UEID has {UEID_BYTES}")
    return ueid
