"""`medvouch release predict`: which PCRs an update changes, and why. What the files say is believed, not checked."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.attestation import prediction
from medvouch.attestation.pcrs import meaning
from medvouch.attestation.revision import revised
from medvouch.cli import keys
from medvouch.cli.output import show
from medvouch.crypto.cose import sign
from medvouch.errors import InputError, StorageFault, UsageFault
from medvouch.formats import eventlog, ima, pe, slot_image, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.corim import Corim
from medvouch.formats.corim_reference import from_corim
from medvouch.formats.cose import TAG_SIGN, TAG_SIGN1, Sign, Sign1
from medvouch.formats.eventlog import EventType
from medvouch.formats.hashing import HASHERS, digest
from medvouch.formats.reference import CONTENT_TYPE, Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.secure_boot import APPENDING, MAX_UPDATE_BYTES, REPLACING, SignedUpdate
from medvouch.formats.suit import Envelope
from medvouch.formats.trust import MAX_REFERENCE_BYTES

BANKS = (HashAlg.SHA256,)
FIRMWARE_VERSION = "firmware-version.txt"
MAX_FIRMWARE_FILES = 256
VARIABLE, SIGNED_CHANGE = ".var", ".auth"
"""How the files of variables and of their signed changes end."""
_LINUX = ".linux"
"""The section that makes an EFI program a kernel image."""
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
    old, new = _said(options.old), _after(options)
    if old.kind != new.kind:
        detail = f"{options.old} is a {old.kind}, {options.new} a {new.kind}"
        raise UsageFault("usage", detail, remedy="compare two files of one kind")
    compared = prediction.compare(old.rows, new.rows)
    if options.out:
        _revise(options, compared)
    changed = [each for each in compared if each.changes]
    unchanged = [each.pcr for each in compared if not each.changes]
    document = {
        "old": str(options.old),
        "new": str(options.new),
        "kind": old.kind,
        "changed": [_document(each) for each in changed],
        "unchanged": unchanged,
    }
    lines = _lines(changed, unchanged, old.kind)
    if options.out:
        document["reference"] = str(options.out)
        lines += ["", f"{options.out}: the reference values of {options.version}, signed by {len(options.key)}"]
    show(document, lines, as_json=options.json)
    return 0


def _after(options: argparse.Namespace) -> _Said:
    """What NEW says; of a signed change of db or dbx, what becomes of the variable that OLD is."""
    if options.new.suffix != SIGNED_CHANGE:
        return _said(options.new)
    name, value = _variable(options.old)
    with _about(options.new):
        update = SignedUpdate.parse(read_bounded(options.new, MAX_UPDATE_BYTES))
        return _database(name, update.applied(value, APPENDING if options.append else REPLACING))


def _revise(options: argparse.Namespace, compared: Sequence[prediction.PcrChange]) -> None:
    """Write the reference values after the change, signed. Raises UsageFault, InputError `prediction-incomplete`."""
    if None in (options.reference, options.version, options.epoch) or not options.key:
        remedy = "name them all: --reference FILE --version V --epoch N --key KEY"
        raise UsageFault("usage", "--out is for reference values that are revised", remedy=remedy)
    values = _reference(read_bounded(options.reference, MAX_REFERENCE_BYTES))
    new = revised(values, compared, release=options.version, security_epoch=options.epoch)
    with ExitStack() as held:
        signers = [held.enter_context(keys.opened(key)) for key in options.key]
        write_durably(options.out, sign(new.encode(), signers, content_type=CONTENT_TYPE))


def _said(path: Path) -> _Said:
    if path.is_dir():
        return _Said("virtual firmware", _firmware(path))
    if path.suffix == VARIABLE:
        return _database(*_variable(path))
    data = read_bounded(path, pe.MAX_IMAGE_BYTES)
    with _about(path):
        return _read(data)


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """What is wrong with the file is said with its name."""
    try:
        yield
    except InputError as error:
        remedy = error.remedy or "name a whole file that a release or a boot left"
        raise InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


def _variable(path: Path) -> tuple[str, bytes]:
    """A Secure Boot variable by the name of its file, such as dbx.var, and its value. Raises UsageFault."""
    if path.suffix != VARIABLE or path.stem not in prediction.SECURE_BOOT_POLICY:
        known = ", ".join(f"{name}{VARIABLE}" for name in prediction.SECURE_BOOT_POLICY)
        raise UsageFault("usage", f"{path} is none of {known}", remedy="name the file as the variable is called")
    return path.stem, read_bounded(path, MAX_UPDATE_BYTES)


def _database(name: str, value: bytes) -> _Said:
    variable = uefi.Variable(prediction.SECURE_BOOT_POLICY[name], name, value).encode()
    event = prediction.hashed(BANKS, 7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable)
    return _Said(f"variable {name}", prediction.rows([event]))


def _read(data: bytes) -> _Said:
    if data[:2] == b"MZ" and _LINUX not in dict(pe.sections(data)):
        return _Said("boot loader", prediction.rows([prediction.application(data, b"", BANKS)]))
    if data[:2] == b"MZ":
        return _Said("kernel image", prediction.rows(_kernel(data)))
    if data[_USTAR[1] :].startswith(_USTAR[0]):
        return _Said("slot image", _slot(data))
    if data[:2] in (_SUIT_HEAD, _SIGN_HEAD) or data[:1] == _SIGN1_HEAD:
        return _Said("set of reference values", _reference(data).pcrs)
    if data.startswith(_SPEC_ID):
        log = eventlog.parse(data)
        return _Said("firmware event log", prediction.rows(event for event in log.events if event.measured))
    wanted = "a boot loader, kernel image, slot image, reference values, release or event log"
    raise InputError("file-malformed", f"none of these: {wanted}", remedy="name the file that a release or a boot left")


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
