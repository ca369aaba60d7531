"""`medvouch release gate`: a release's description and documents in, the record of what may be published out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.cli.output import aligned, moment, show
from medvouch.cli.parsing import command, existing_file, out_file, part
from medvouch.errors import InputError, UsageFault
from medvouch.formats.json_object import MAX_DOCUMENT_BYTES
from medvouch.formats.kev import MAX_CATALOGUE_BYTES, parse_known_exploited
from medvouch.formats.openeox import MAX_STATEMENT_BYTES
from medvouch.formats.release import MAX_RECORD_BYTES, RECORD_NAME, ReleaseRecord
from medvouch.formats.suit import MAX_ENVELOPE_BYTES

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers
    from medvouch.release.draft import Draft
    from medvouch.release.gate import Documents

T = TypeVar("T")
DRAFT_NAME = "release.toml"
_LIMITS = {"envelope": MAX_ENVELOPE_BYTES, "support": MAX_STATEMENT_BYTES}


def add_parsers(subparsers: Subparsers) -> None:
    """The step `gate`."""
    summary = "refuse a release that may not go out, or write the record of one that may"
    examples = (
        "medvouch release gate release.toml --known-exploited kev.json --first --out release.cbor",
        "medvouch release gate 1.2.0/ --known-exploited kev.json --repository repository --out 1.2.0/release.cbor",
    )
    parser = command(subparsers, "gate", gate, summary, *examples)
    what = f"the release's description (TOML), or a directory with its {DRAFT_NAME}; documents are beside it"
    parser.add_argument("draft", type=Path, metavar="RELEASE", help=what)
    what = "vulnerabilities known to be exploited, in the form of CISA's catalogue (JSON)"
    parser.add_argument("--known-exploited", required=True, type=existing_file, metavar="FILE", help=what)
    before = parser.add_mutually_exclusive_group(required=True)
    before.add_argument("--previous", type=existing_file, metavar="FILE", help="record of the release before")
    before.add_argument("--repository", type=Path, metavar="DIR", help="where the release before was published")
    before.add_argument("--first", action="store_true", help="there is no release before")
    what = f"where the record goes; publish it as {RECORD_NAME} beside the documents"
    parser.add_argument("--out", required=True, type=out_file, metavar="FILE", help=what)


def gate(options: argparse.Namespace) -> int:
    """`medvouch release gate`."""
    with part("release"):
        from medvouch.release.draft import MAX_DRAFT_BYTES, Draft  # noqa: PLC0415 - code that no gateway has
        from medvouch.release.gate import pass_gate  # noqa: PLC0415

    path = options.draft / DRAFT_NAME if options.draft.is_dir() else options.draft
    draft = _parsed(path, Draft.parse, MAX_DRAFT_BYTES)
    exploited = _parsed(options.known_exploited, parse_known_exploited, MAX_CATALOGUE_BYTES)
    record = pass_gate(draft, _documents(draft, path.parent), exploited, _previous(options), int(time.time()))
    write_durably(options.out, record.encode())
    document = described(record)
    rows = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
    fixes = [f"fixes  {', '.join(sorted(fix.names))}" for fix in record.fixes]
    lines = [f"{record.version} may go out; its record is {options.out}", *fixes, *aligned(rows)]
    show({"file": str(options.out), **document}, lines, as_json=options.json)
    return 0


def described(record: ReleaseRecord) -> dict[str, Any]:
    """A release record for people and programs."""
    return {
        "version": record.version,
        "security_epoch": record.security_epoch,
        "kind": record.kind,
        "support_end": moment(record.support_end),
        "contact": record.contact,
        "cvd_policy": record.cvd_policy,
        "fixes": [
            {
                "cve": fix.cve,
                "euvd": fix.euvd,
                "ghsa": fix.ghsa,
                "aware": None if fix.aware is None else moment(fix.aware),
            }
            for fix in record.fixes
        ],
        "duties": {
            name: {"owner": duty.owner, "deputy": duty.deputy, "review": moment(duty.review)}
            for name, duty in record.duties.items()
        },
    }


def read_record(path: Path) -> ReleaseRecord:
    """A release record. Raises StorageFault, InputError `release-*`, `cbor-*`."""
    return _parsed(path, ReleaseRecord.parse, MAX_RECORD_BYTES)


def _parsed(path: Path, parse: Callable[[bytes], T], limit: int) -> T:
    """A file parsed; errors name it."""
    try:
        return parse(read_bounded(path, limit))
    except InputError as error:
        remedy = error.remedy or f"mend {path}, or name the right file"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def _documents(draft: Draft, folder: Path) -> Documents:
    from medvouch.release.gate import Documents  # noqa: PLC0415 - likewise

    return Documents(
        **{
            name: read_bounded(folder / file, _LIMITS.get(name, MAX_DOCUMENT_BYTES))
            for name, file in draft.documents.items()
        }
    )


def _previous(options: argparse.Namespace) -> ReleaseRecord | None:
    if options.first:
        return None
    if options.previous:
        return read_record(options.previous)
    with part("release"):
        from medvouch.cli.publishing import published_record  # noqa: PLC0415 - needs tuf
    record = published_record(options.repository)
    if record is None:
        remedy = "name its record with --previous, or say --first"
        raise UsageFault("usage", f"no release in {options.repository} has a {RECORD_NAME}", remedy=remedy)
    return record
