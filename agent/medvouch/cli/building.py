"""`medvouch release build|sign`: a release's SUIT envelope, made in one place and signed in several."""

from __future__ import annotations

import argparse
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.cli import keys
from medvouch.cli.inspecting import inspect_suit
from medvouch.cli.output import show
from medvouch.cli.parsing import command, existing_file, out_file, part
from medvouch.errors import InputError, StorageFault, UsageFault
from medvouch.formats.cose import Sign
from medvouch.formats.reference import MAX_SECURITY_EPOCH, ReferenceValues
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.trust import MAX_REFERENCE_BYTES
from medvouch.formats.version import parse_version

if TYPE_CHECKING:
    from medvouch.cli.parsing import Subparsers
    from medvouch.update.payload import Payload

MAX_SEQUENCE = 2**63 - 1
_DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)+")


_NAME_IT = "name the format that the release writes with --data"
READ_BYTES = 1 << 20
"""Of an image at a time."""
PARTS = (
    "boot-loader", "secure-boot-db", "secure-boot-db/append", "secure-boot-dbx", "secure-boot-dbx/append", "firmware",
)  # fmt: skip
"""As `update.parts` knows them, which nobody needs who asks for help."""


def add_parsers(subparsers: Subparsers) -> None:
    """The steps `build` and `sign`."""
    _add_build(subparsers)
    _add_sign(subparsers)


def _add_build(subparsers: Subparsers) -> None:
    summary = "make the SUIT envelope of a release, which nobody has signed yet"
    example = (
        "medvouch release build --image gateway-1.1.0.efi --version 1.1.0 --epoch 2 --sequence 11 \\\n"
        "      --vendor devices.example --class gateway-1 --uri https://updates.devices.example/gateway-1.1.0.efi \\\n"
        "      --reference gateway-1.1.0.reference.cbor --out gateway-1.1.0.suit"
    )
    parts = (
        "medvouch release build --part boot-loader loader.efi https://updates.devices.example/loader-258.efi \\\n"
        "      --version 1.1.0.1 --epoch 2 --sequence 12 --vendor devices.example --class gateway-1 \\\n"
        "      --reference loader-258.reference.cbor --out loader-258.suit"
    )
    parser = command(subparsers, "build", build, summary, example, parts)
    files, numbers = {"type": existing_file, "metavar": "FILE"}, {"type": number, "metavar": "N"}
    options: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("--version", {"type": version, "metavar": "V"}, "of the release, like 1.10.0"),
        ("--epoch", numbers, "the security epoch that the release belongs to"),
        ("--sequence", numbers, "higher than that of every release before"),
        ("--vendor", {"type": _domain, "metavar": "DOMAIN"}, "the vendor's domain name"),
        (
            "--class",
            {"type": _text, "metavar": "TEXT", "dest": "device_class"},
            "the class of devices, in the vendor's words",
        ),
        ("--reference", files, "the release's signed reference values"),
        ("--out", {"type": out_file, "metavar": "FILE"}, "where the envelope goes"),
    )
    parser.add_argument("--image", type=existing_file, metavar="FILE", help="what goes into the slot")
    parser.add_argument("--uri", type=_url, metavar="URL", help="where devices will find the image")
    words = (
        "in place of an image: a part of which devices have one, its payload, and where they will find it; may be "
        f"repeated, and is installed in this order. Parts: {', '.join(PARTS)}"
    )
    names = ("PART", "FILE", "URL")
    parser.add_argument("--part", nargs=3, action="append", default=[], metavar=names, help=words)
    for name, form, words in options:
        parser.add_argument(name, required=True, help=words, **form)
    words = "the format in which the release writes the product's data, counted by its maker; 0 before there is another"
    parser.add_argument("--data", type=number, metavar="N", help=words)
    words = "the oldest format that it reads (--data)"
    parser.add_argument("--data-reads", type=number, metavar="N", help=words)
    words = "the oldest format whose releases still read what it writes before it is closed (--data)"
    parser.add_argument("--data-readable-by", type=number, metavar="N", help=words)
    words = "where the block index goes, by which devices fetch no more of the image than they lack"
    parser.add_argument("--blocks", type=out_file, metavar="FILE", help=words)
    parser.add_argument(
        "--blocks-uri", type=_url, metavar="URL", help="where devices will find it (--uri with .blocks)"
    )


def _add_sign(subparsers: Subparsers) -> None:
    summary = "sign a release's envelope, beside those who have signed it"
    parser = command(subparsers, "sign", sign, summary, "medvouch release sign gateway-1.1.0.suit --key quality.pem")
    parser.add_argument("file", type=existing_file, metavar="FILE", help="the envelope; it is replaced")
    what = "a release or quality key: a PEM file, or the pkcs11: URI of one in a token (RFC 7512)"
    parser.add_argument("--key", required=True, type=keys.key, metavar="KEY", help=what)


def number(text: str) -> int:
    """An argument that is one."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number")
    if (number := int(text[:20])) > MAX_SEQUENCE:
        raise argparse.ArgumentTypeError(f"{text[:20]} is larger than {MAX_SEQUENCE}")
    return number


def version(text: str) -> str:
    """An argument that is one like 1.10.0."""
    try:
        parse_version(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(error.detail) from None
    return text


def _url(text: str) -> str:
    from medvouch.update.admission import Url  # noqa: PLC0415 - likewise

    try:
        Url.parse(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error.detail}") from None
    return text


def _domain(text: str) -> str:
    if not _DOMAIN.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no domain name in small letters")
    return text


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError("words expected")
    return text


def build(options: argparse.Namespace) -> int:
    """`medvouch release build`."""
    with part("release"):
        from medvouch.release import manifests  # noqa: PLC0415 - likewise
    from medvouch.update.processor import REFERENCE, DeviceClass  # noqa: PLC0415

    if options.epoch > MAX_SECURITY_EPOCH:
        raise UsageFault("usage", f"a security epoch is at most {MAX_SECURITY_EPOCH}", remedy="name a smaller one")
    if bool(options.part) == bool(options.image) or bool(options.image) != bool(options.uri):
        remedy = "name --image and --uri, or --part once or more"
        raise UsageFault("usage", "a release is an image for the slot, or parts of which there is one", remedy=remedy)
    if options.part and options.data is not None:
        detail = "parts of which there is one leave the product's data as they are"
        raise UsageFault("usage", detail, remedy="leave out --data, or release an image")
    reference, data = _reference(options), _data(options)
    about = {
        "sequence": options.sequence,
        "version": options.version,
        "security_epoch": options.epoch,
        "device": DeviceClass.named(options.vendor, options.device_class),
    }
    contents = {REFERENCE: reference, **data}
    if options.part:
        built = manifests.build_parts_manifest(**about, parts=_parts(options), reference=reference)
    else:
        built = manifests.build_manifest(**about, **_image(options), contents=contents)
    return _written(manifests.build_envelope(built, manifests.integrated(contents)), options.out, options)


def _image(options: argparse.Namespace) -> dict[str, Any]:
    """The image, and its block index if it is to have one."""
    from medvouch.update.payload import Payload  # noqa: PLC0415 - likewise
    from medvouch.update.processor import SLOT  # noqa: PLC0415

    digest, size = _measured(options.image)
    others = [_indexed(options, size)] if options.blocks else []
    return {"image": Payload(SLOT, options.uri, digest, size), "others": others}


def _parts(options: argparse.Namespace) -> list[Payload]:
    """Each once, and such as devices would take it.

    Raises UsageFault; Refusal `manifest-parts-clash`, `secure-boot-update-*`; InputError.
    """
    from medvouch.cli.part_files import checked_part  # noqa: PLC0415 - only who builds such a release needs it
    from medvouch.update.parts import BY_NAME, check_order  # noqa: PLC0415

    names = [name for name, _, _ in options.part]
    if unknown := [name for name in names if name not in PARTS or names.count(name) > 1]:
        detail = f"{unknown[0]} is no part, or named twice"
        raise UsageFault("usage", detail, remedy=f"name each of these at most once: {', '.join(PARTS)}")
    check_order([BY_NAME[name] for name in names])
    try:
        return [
            checked_part(name, existing_file(file), _url(url), options.reference) for name, file, url in options.part
        ]
    except argparse.ArgumentTypeError as error:
        raise UsageFault("usage", str(error), remedy="mend --part PART FILE URL") from None


def _data(options: argparse.Namespace) -> dict[str, bytes]:
    """What the release says of the product's data, by component; nothing where it says nothing."""
    from medvouch.formats.data_format import DataFormat  # noqa: PLC0415 - likewise
    from medvouch.update.data_formats import DATA  # noqa: PLC0415

    if options.data is None:
        if options.data_reads is not None or options.data_readable_by is not None:
            raise UsageFault("usage", "--data-reads and --data-readable-by say nothing without --data", remedy=_NAME_IT)
        return {}
    reads, readable_by = (
        options.data if each is None else each for each in (options.data_reads, options.data_readable_by)
    )
    encoded = DataFormat(options.data, reads, readable_by).encode()
    try:
        DataFormat.parse(encoded)
    except InputError as error:
        remedy = "a release reads what it writes, and is read by its own format"
        raise UsageFault("usage", f"--data: {error.detail} in {error.place}", remedy=remedy) from error
    return {DATA: encoded}


def _indexed(options: argparse.Namespace, size: int) -> Payload:
    """Write the block index of the image; as what a manifest names it."""
    from medvouch.update.blocks import BLOCKS, index_of  # noqa: PLC0415
    from medvouch.update.payload import Payload  # noqa: PLC0415

    try:
        with options.image.open("rb") as file:
            data = index_of(iter(lambda: file.read(READ_BYTES), b""), size).encode()
    except OSError as error:
        remedy = "check path and permissions"
        raise StorageFault("file-unreadable", f"{options.image}: {error.strerror}", remedy=remedy) from error
    write_durably(options.blocks, data)
    uri = options.blocks_uri or f"{options.uri}.blocks"
    return Payload(BLOCKS, uri, hashlib.sha256(data).digest(), len(data))


def sign(options: argparse.Namespace) -> int:
    """`medvouch release sign`: what was signed is shown, and who has signed."""
    with part("release"):
        from medvouch.release import manifests  # noqa: PLC0415 - likewise

    envelope = read_bounded(options.file, MAX_ENVELOPE_BYTES)
    with keys.opened(options.key) as signer:
        try:
            signed = manifests.add_signature(envelope, signer)
        except InputError as error:
            raise _no(options.file, "an envelope of `medvouch release build`", error) from error
    return _written(signed, options.file, options, whole=False)


def _reference(options: argparse.Namespace) -> bytes:
    """The signed reference values, if they are of this version and epoch; who signed them, the devices will check."""
    data = read_bounded(options.reference, MAX_REFERENCE_BYTES)
    try:
        values = ReferenceValues.parse(Sign.parse(data).payload or b"")
    except InputError as error:
        raise _no(options.reference, "signed reference values", error) from error
    if (values.release, values.security_epoch) != (options.version, options.epoch):
        detail = (
            f"{options.reference} is of release {values.release}, epoch {values.security_epoch}, "
            f"not of {options.version}, epoch {options.epoch}"
        )
        raise UsageFault("reference-of-another-release", detail, remedy="name the reference values of this release")
    return data


def _no(path: Path, wanted: str, error: InputError) -> InputError:
    return InputError(error.code, f"{path}: {error.detail}", place=error.place, remedy=f"name a file with {wanted}")


def _measured(path: Path) -> tuple[bytes, int]:
    """SHA-256 and size of a file of any length."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            return digest, file.tell()
    except OSError as error:
        raise StorageFault(
            "file-unreadable", f"{path}: {error.strerror}", remedy="check path and permissions"
        ) from error


def _written(envelope: bytes, path: Path, options: argparse.Namespace, *, whole: bool = True) -> int:
    """Write and show it; not `whole` for people who have seen its commands: those are left out."""
    document, lines = inspect_suit(envelope)
    write_durably(path, envelope)
    lines = lines if whole else lines[: lines.index("")]
    document, lines = {"file": str(path), **document}, [f"{path}, {len(envelope)} bytes", *lines]
    show(document, lines, as_json=options.json)
    return 0
