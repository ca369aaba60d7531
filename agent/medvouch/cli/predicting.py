"""`medvouch release predict`: which PCRs an update changes, and why. What the files say is believed, not checked."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvouch.adapters.files import read_bounded
from medvouch.attestation import prediction
from medvouch.attestation.pcrs import meaning
from medvouch.cli.output import show
from medvouch.errors import InputError, StorageFault, UsageFault
from medvouch.formats import eventlog, ima, pe, slot_image
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.corim import Corim
from medvouch.formats.corim_reference import from_corim
from medvouch.formats.cose import TAG_SIGN, TAG_SIGN1, Sign, Sign1
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.suit import Envelope

BANKS = (HashAlg.SHA256,)
FIRMWARE_VERSION = "firmware-version.txt"
MAX_FIRMWARE_FILES = 256
_USTAR = (b"ustar", 257)
_SPEC_ID = b"\0\0\0\0\3\0\0\0"
"""A TCG log begins with an EV_NO_ACTION event of PCR 0."""
_SUIT_HEAD = b"\xd8\x6b"
_SIGN_HEAD = bytes([0xD8, TAG_SIGN])
_SIGN1_HEAD = bytes([0xC0 | TAG_SIGN1])
_IMA_PCR = 10
_WIDEST = 96


@dataclass(frozen=True)
class _Said:
    """What one file says a boot measures: in which `kind` of words, and about which PCRs."""

    kind: str
    rows: tuple[PcrReference, ...]


def predict(options: argparse.Namespace) -> int:
    """`medvouch release predict`."""
    old, new = (_said(path) for path in (options.old, options.new))
    if old.kind != new.kind:
        detail = f"{options.old} is a {old.kind}, {options.new} a {new.kind}"
        raise UsageFault("usage", detail, remedy="compare two files of one kind")
    compared = prediction.compare(old.rows, new.rows)
    changed = [each for each in compared if each.changes]
    unchanged = [each.pcr for each in compared if not each.changes]
    document = {
        "old": str(options.old),
        "new": str(options.new),
        "kind": old.kind,
        "changed": [_document(each) for each in changed],
        "unchanged": unchanged,
    }
    show(document, _lines(changed, unchanged, old.kind), as_json=options.json)
    return 0


def _said(path: Path) -> _Said:
    if path.is_dir():
        return _Said("virtual firmware", _firmware(path))
    data = read_bounded(path, pe.MAX_IMAGE_BYTES)
    try:
        return _read(data)
    except InputError as error:
        remedy = error.remedy or "name a whole file that a release or a boot left"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def _read(data: bytes) -> _Said:
    if data[:2] == b"MZ":
        return _Said("kernel image", prediction.rows(_kernel(data)))
    if data[_USTAR[1] :].startswith(_USTAR[0]):
        return _Said("slot image", _slot(data))
    if data[:2] in (_SUIT_HEAD, _SIGN_HEAD) or data[:1] == _SIGN1_HEAD:
        return _Said("set of reference values", _reference(data).pcrs)
    if data.startswith(_SPEC_ID):
        log = eventlog.parse(data)
        return _Said("firmware event log", prediction.rows(event for event in log.events if event.measured))
    wanted = "a kernel image, slot image, reference values, release or event log"
    raise InputError("file-malformed", f"neither of {wanted}", remedy="name the file that a release or a boot left")


def _kernel(data: bytes) -> Sequence[eventlog.Event]:
    return (prediction.application(data, b"", BANKS), *prediction.unified_kernel(data, BANKS))


def _slot(data: bytes) -> tuple[PcrReference, ...]:
    """Its kernel image, and its files as IMA with the template ima-ng measures those that are run."""
    image = slot_image.read_image(data)
    files = [_file(index, f"/{path}", contents) for index, (path, contents) in enumerate(sorted(image.files.items()))]
    kernel = prediction.rows(_kernel(image.uki))
    return tuple(sorted((*kernel, PcrReference(_IMA_PCR, Mode.ALLOWED, tuple(files))), key=lambda row: row.pcr))


def _file(index: int, path: str, contents: bytes) -> ReferenceEvent:
    measured = b"sha256:\0" + digest(HashAlg.SHA256, contents)
    entry = ima.make(index, _IMA_PCR, "ima-ng", (measured, path.encode() + b"\0"))
    return ReferenceEvent(f"ima {entry.describe()}"[: prediction.MAX_DESCRIPTION], _digests(entry.hashed))


def _digests(data: bytes) -> dict[str, bytes]:
    return {bank.label: HASHERS[bank](data).digest() for bank in BANKS}


def _reference(data: bytes) -> ReferenceValues:
    """Unverified: what is signed is what its author wants to release, and nothing here trusts it."""
    if data[:2] == _SUIT_HEAD:
        payloads = list(Envelope.parse(data).payloads.values())
        if len(payloads) != 1:
            raise InputError("suit-malformed", "one integrated payload, the reference values, expected")
        return _reference(payloads[0])
    if data[:1] == _SIGN1_HEAD:
        return from_corim(Corim.parse(Sign1.parse(data).payload or b""))
    return ReferenceValues.parse(Sign.parse(data).payload or b"")


def _firmware(folder: Path) -> tuple[PcrReference, ...]:
    """Of the files firmware-version.txt, *.bin (firmware volumes) and *.var (UEFI variables)."""
    version = read_bounded(folder / FIRMWARE_VERSION, 1024).decode("utf-8", "replace")
    volumes, variables = (_files(folder, suffix) for suffix in (".bin", ".var"))
    return prediction.rows(prediction.firmware(version, volumes, variables, BANKS))


def _files(folder: Path, suffix: str) -> Mapping[str, bytes]:
    paths = sorted(folder.glob(f"*{suffix}"))
    if len(paths) > MAX_FIRMWARE_FILES:
        raise StorageFault("file-too-large", f"{folder} has {len(paths)} files *{suffix}", remedy="name another folder")
    return {path.stem: read_bounded(path, slot_image.MAX_IMAGE_BYTES) for path in paths}


def _document(change: prediction.PcrChange) -> dict[str, Any]:
    return {
        "pcr": change.pcr,
        "meaning": meaning(change.pcr),
        "events": [{"change": each.kind, "old": _event(each.old), "new": _event(each.new)} for each in change.changes],
    }


def _event(event: ReferenceEvent | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"event": event.description, **{bank: value.hex() for bank, value in event.digests.items()}}


def _lines(changed: Sequence[prediction.PcrChange], unchanged: Sequence[int], kind: str) -> list[str]:
    numbers = ", ".join(str(each.pcr) for each in changed)
    lines = [f"PCRs that change: {numbers}" if changed else f"no PCR changes that a {kind} says something of"]
    for each in changed:
        lines += ["", f"PCR {each.pcr}, {meaning(each.pcr)}:".replace(", :", ":")]
        lines += [line for change in each.changes for line in _told(change)]
    if unchanged:
        lines += ["", f"unchanged: {', '.join(map(str, unchanged))}"]
    return lines


def _told(change: prediction.Change) -> list[str]:
    event = change.new or change.old
    assert event is not None
    bank = next(iter(event.digests), "")
    what = event.description if len(event.description) <= _WIDEST else f"{event.description[: _WIDEST - 3]}..."
    sides = (("old", change.old), ("new", change.new))
    digests = [f"           {side} {bank}:{each.digests[bank].hex()}" for side, each in sides if each and bank]
    return [f"  {change.kind:<7}  {what}", *digests]
