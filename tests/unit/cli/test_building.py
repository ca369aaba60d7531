"""`medvouch release build|sign`: an envelope that a device believes, and mistakes in making it."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.cli.building import PARTS
from medvouch.crypto.cose import sign
from medvouch.crypto.keys import SoftwareSigner, key_thumbprint
from medvouch.formats.blocks import BlockIndex
from medvouch.formats.data_format import DataFormat
from medvouch.formats.reference import CONTENT_TYPE, Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.trust import MAX_REFERENCE_BYTES
from medvouch.update.blocks import index_of
from medvouch.update.data_formats import declared
from medvouch.update.parts import BY_NAME
from medvouch.update.payload import Payload
from medvouch.update.processor import DeviceClass, plan
from medvouch.update.verification import RoleKeys, verify_envelope
from medvouch_sim.fixtures import FIXTURES, key_pem, loader, private_key
from support.authorities import key
from support.cli import Caller
from support.parts import forbids, hash_of
from support.suit import released

IMAGE = FIXTURES / "releases" / "1.1.0" / "medvouch.efi"
URI = "https://updates.devices.example/gateway-1.1.0.efi"
VALUES = ReferenceValues("gateway-1", "1.1.0", 2, (), ())
RELEASES = ("release", "release-2", "release-3")


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    path = tmp_path / "reference.cbor"
    path.write_bytes(signed_values(VALUES))
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "gateway-1.1.0.suit"


def signed_values(values: ReferenceValues) -> bytes:
    return sign(values.encode(), [SoftwareSigner(private_key("release"))], content_type=CONTENT_TYPE)


def build_options(reference: Path, written: Path, **changes: object) -> list[object]:
    options: dict[str, object] = {
        "image": IMAGE, "version": "1.1.0", "epoch": 2, "sequence": 11, "vendor": "devices.example",
        "class": "gateway-1", "uri": URI, "reference": reference, "out": written, **changes,
    }  # fmt: skip
    return ["release", "build", *(item for name, value in options.items() for item in (f"--{name}", value))]


def test_built_and_signed_by_several(medvouch: Caller, reference: Path, out: Path) -> None:
    called = medvouch(*build_options(reference, out))
    assert (called.code, called.err) == (0, "")
    assert f"{out}, " in called.out
    for role in ("quality", "release-3", "release"):
        key_file = FIXTURES / "keys" / f"test-{role}.pem"
        called = medvouch("release", "sign", out, "--key", key_file, "--json")
        assert called.code == 0
    document = called.json
    named = [key_thumbprint(private_key(name).public_key()).hex() for name in ("quality", "release-3", "release")]
    assert document["signed_by"] == named
    assert (document["file"], document["signatures"], document["sequence"]) == (str(out), 3, 11)
    assert (document["version"], document["digest_matches"]) == ("1.1.0", True)
    trusted = [RoleKeys([private_key(name).public_key() for name in RELEASES], 2)]
    trusted.append(RoleKeys([private_key("quality").public_key()]))
    found = plan(verify_envelope(out.read_bytes(), *trusted), DeviceClass.named("devices.example", "gateway-1"))
    image = IMAGE.read_bytes()
    assert found.payloads == (Payload("slot", URI, hashlib.sha256(image).digest(), len(image)),)
    assert (found.sequence, found.version, found.security_epoch) == (11, "1.1.0", 2)
    assert found.contents == {"reference": reference.read_bytes()}


@pytest.mark.parametrize("uri", ["", "https://elsewhere.example/index"])
def test_with_a_block_index(medvouch: Caller, reference: Path, out: Path, tmp_path: Path, uri: str) -> None:
    more = {"blocks-uri": uri} if uri else {}
    index = tmp_path / "gateway-1.1.0.blocks"
    assert medvouch(*build_options(reference, out, blocks=index, **more)).code == 0
    for role in ("quality", "release-3", "release"):
        assert medvouch("release", "sign", out, "--key", FIXTURES / "keys" / f"test-{role}.pem").code == 0
    trusted = [RoleKeys([private_key(name).public_key() for name in RELEASES], 2)]
    trusted.append(RoleKeys([private_key("quality").public_key()]))
    found = plan(verify_envelope(out.read_bytes(), *trusted), DeviceClass.named("devices.example", "gateway-1"))
    data = index.read_bytes()
    assert found.payloads[1] == Payload("blocks", uri or f"{URI}.blocks", hashlib.sha256(data).digest(), len(data))
    assert BlockIndex.parse(data) == index_of([IMAGE.read_bytes()], IMAGE.stat().st_size)


@pytest.mark.parametrize(
    ("options", "said", "declared_as"),
    [
        ({"data": 2}, "writes format 2, reads 2 to 2, readable by 2", DataFormat(2, 2, 2)),
        ({"data": 2, "data-reads": 1}, "writes format 2, reads 1 to 2, readable by 2", DataFormat(2, 1, 2)),
        (
            {"data": 2, "data-reads": 0, "data-readable-by": 1},
            "writes format 2, reads 0 to 2, readable by 1",
            DataFormat(2, 0, 1),
        ),
        ({}, None, DataFormat()),
    ],
)
def test_the_format_of_the_product_s_data(
    medvouch: Caller, reference: Path, out: Path, options: dict[str, int], said: str | None, declared_as: DataFormat
) -> None:
    """Whoever signs is shown it, and the device takes it from the signed manifest."""
    assert medvouch(*build_options(reference, out, **options)).code == 0
    for role in ("quality", "release-3", "release"):
        called = medvouch("release", "sign", out, "--key", FIXTURES / "keys" / f"test-{role}.pem", "--json")
        assert called.json["data"] == said
    trusted = [RoleKeys([private_key(name).public_key() for name in RELEASES], 2)]
    trusted.append(RoleKeys([private_key("quality").public_key()]))
    found = plan(verify_envelope(out.read_bytes(), *trusted), DeviceClass.named("devices.example", "gateway-1"))
    assert declared(found.contents) == declared_as


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": "two"}, "'two' is not a number"),
        ({"data": 1, "data-reads": 2}, "--data: at most 1, which it writes, expected in /reads"),
        ({"data": 1, "data-readable-by": 2}, "--data: at most 1, which it writes, expected in /readable_by"),
        ({"data": 2**32}, "--data: 4294967296 where at most 4294967295 is allowed in /writes"),
        ({"data-reads": 1}, "say nothing without --data"),
        ({"data-readable-by": 1}, "say nothing without --data"),
        ({"version": "1.1.0-rc.1"}, "'1.1.0-rc.1' is no version like 1.10.0"),
        ({"epoch": "two"}, "'two' is not a number"),
        ({"epoch": -1}, "'-1' is not a number"),
        ({"epoch": 2**32}, "a security epoch is at most 4294967295"),
        ({"sequence": 2**63}, "is larger than"),
        ({"sequence": "9" * 5000}, "is larger than"),
        ({"sequence": "\u0661"}, "is not a number"),
        ({"vendor": "Devices.example"}, "no domain name"),
        ({"vendor": "devices"}, "no domain name"),
        ({"class": " "}, "words expected"),
        ({"class": "a\x1b[2Jb"}, "words expected"),
        ({"uri": "https://updates.devices.example/../x"}, "without dot or empty segments"),
        ({"uri": "ftp://updates.devices.example/x"}, "a plain http(s) URL expected"),
        ({"image": "missing"}, "No such file"),
        ({"out": "missing/x"}, "there is no directory"),
    ],
)
def test_wrong_options(medvouch: Caller, reference: Path, out: Path, changes: dict[str, object], said: str) -> None:
    called = medvouch(*build_options(reference, out, **changes))
    assert (called.code, called.out, called.err.count("\n")) == (2, "", 1)
    assert called.err.startswith("medvouch: usage: ")
    assert said in called.err
    assert not out.exists()


@pytest.mark.parametrize("values", [replace(VALUES, release="1.0.0"), replace(VALUES, security_epoch=1)])
def test_reference_values_of_another_release(
    medvouch: Caller, reference: Path, out: Path, values: ReferenceValues
) -> None:
    reference.write_bytes(signed_values(values))
    called = medvouch(*build_options(reference, out))
    assert called.code == 2
    assert called.err.startswith("medvouch: reference-of-another-release: ")
    assert f"is of release {values.release}, epoch {values.security_epoch}, not of 1.1.0, epoch 2" in called.err


def test_an_envelope_that_no_device_would_fetch_is_not_made(medvouch: Caller, reference: Path, out: Path) -> None:
    """Nearly as many reference values as a trust document takes: with the manifest they are too many."""
    event = ReferenceEvent("x" * 190, {"sha256": bytes(32)})
    pcr = PcrReference(4, Mode.EXACT, (event,) * 4096)
    reference.write_bytes(signed_values(replace(VALUES, command_lines=("c" * 3840,), pcrs=(pcr,))))
    assert MAX_ENVELOPE_BYTES - 100 < reference.stat().st_size <= MAX_REFERENCE_BYTES
    called = medvouch(*build_options(reference, out))
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert called.err.startswith("medvouch: suit-limit: ")
    assert not out.exists()


def test_what_are_no_reference_values(medvouch: Caller, reference: Path, out: Path) -> None:
    reference.write_bytes(b"nothing")
    called = medvouch(*build_options(reference, out))
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert called.err.startswith("medvouch: cbor-")
    assert called.err.endswith("name a file with signed reference values\n")


def test_an_image_that_cannot_be_read(medvouch: Caller, reference: Path, out: Path, tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    called = medvouch(*build_options(reference, out, image=loop))
    assert called.code == 6
    assert called.err.startswith("medvouch: file-unreadable: ")


def test_the_same_key_again(medvouch: Caller, out: Path, tmp_path: Path) -> None:
    before = released()
    out.write_bytes(before)
    pem = tmp_path / "key.pem"
    pem.write_bytes(key_pem(key("release 0")))
    called = medvouch("release", "sign", out, "--key", pem)
    assert (called.code, called.err.count("\n")) == (1, 1)
    assert called.err.startswith("medvouch: manifest-key-repeated: ")
    assert out.read_bytes() == before


@pytest.mark.parametrize("contents", [b"", b"nonsense", bytes(MAX_ENVELOPE_BYTES + 1)])
def test_what_is_no_envelope(medvouch: Caller, out: Path, contents: bytes) -> None:
    out.write_bytes(contents)
    called = medvouch("release", "sign", out, "--key", FIXTURES / "keys" / "test-release.pem")
    assert called.code == (6 if len(contents) > MAX_ENVELOPE_BYTES else 1)
    assert called.err.count("\n") == 1
    assert "; name " in called.err
    assert out.read_bytes() == contents


def test_what_is_no_key(medvouch: Caller, out: Path) -> None:
    out.write_bytes(released())
    called = medvouch("release", "sign", out, "--key", out)
    assert (called.code, called.err.count("\n")) == (3, 1)
    assert called.err.startswith("medvouch: key-unusable: ")


def test_a_step_must_be_named(medvouch: Caller) -> None:
    assert medvouch("release").err.startswith("medvouch: usage: ")
    assert medvouch("release", "frobnicate").code == 2


# --- parts of which there is one -------------------------------------------------------------------------------------

LOADER, NEXT = loader("257"), loader("258")
LOADER_URL, DBX_URL = "https://updates.devices.example/loader.efi", "https://updates.devices.example/dbx.auth"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A loader, a change of dbx that forbids the one before, and reference values of a boot with the loader."""
    boots = ReferenceEvent("a loader", {"sha256": hash_of(NEXT)})
    other = ReferenceEvent("in another bank", {"sha384": bytes(48)})
    values = replace(VALUES, pcrs=(PcrReference(4, Mode.EXACT, (boots, other)), PcrReference(5, Mode.EXACT, (boots,))))
    contents = {"loader.efi": NEXT, "dbx.auth": forbids(LOADER), "reference": signed_values(values)}
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    return {name: tmp_path / name for name in contents}


def parts_options(files: dict[str, Path], written: Path, *parts: object, **changes: object) -> list[object]:
    options = build_options(files["reference"], written, **changes)
    for left_out in ("--image", "--uri"):
        at = options.index(left_out)
        del options[at : at + 2]
    return [*options, *parts]


def test_parts(medvouch: Caller, files: dict[str, Path], out: Path) -> None:
    loader_part = ("--part", "boot-loader", files["loader.efi"], LOADER_URL)
    dbx_part = ("--part", "secure-boot-dbx/append", files["dbx.auth"], DBX_URL)
    called = medvouch(*parts_options(files, out, *loader_part, *dbx_part))
    assert (called.code, called.err) == (0, "")
    for role in ("quality", "release-3", "release"):
        assert medvouch("release", "sign", out, "--key", FIXTURES / "keys" / f"test-{role}.pem").code == 0
    trusted = [RoleKeys([private_key(name).public_key() for name in RELEASES], 2)]
    trusted.append(RoleKeys([private_key("quality").public_key()]))
    found = plan(verify_envelope(out.read_bytes(), *trusted), DeviceClass.named("devices.example", "gateway-1"))
    assert [(payload.component, payload.uri) for payload in found.payloads] == [
        ("staged/boot-loader", LOADER_URL), ("staged/secure-boot-dbx/append", DBX_URL),
    ]  # fmt: skip
    assert found.contents == {"reference": files["reference"].read_bytes()}
    assert list(found.copies) == ["boot-loader", "secure-boot-dbx/append"]


def test_parts_that_every_device_would_refuse(medvouch: Caller, files: dict[str, Path], out: Path) -> None:
    files["dbx.auth"].write_bytes(forbids(NEXT))
    files["loader.efi"].write_bytes(b"no program")
    for part, name, code in (
        ("secure-boot-dbx/append", "dbx.auth", "secure-boot-update-locks-out"),
        ("secure-boot-db", "loader.efi", "secure-boot-update-malformed"),
        ("boot-loader", "loader.efi", "pe-malformed"),
    ):
        called = medvouch(*parts_options(files, out, "--part", part, files[name], LOADER_URL))
        assert (called.code, code in called.err, out.exists()) == (1, True, False)
    late = ("--part", "boot-loader", files["loader.efi"], LOADER_URL)
    called = medvouch(*parts_options(files, out, "--part", "secure-boot-db", files["dbx.auth"], DBX_URL, *late))
    assert (called.code, "manifest-parts-clash" in called.err, out.exists()) == (1, True, False)


def test_a_change_of_db_and_firmware_are_taken_as_they_are(medvouch: Caller, files: dict[str, Path], out: Path) -> None:
    files["dbx.auth"].write_bytes(forbids(NEXT))
    parts = (
        "--part",
        "secure-boot-db",
        files["dbx.auth"],
        DBX_URL,
        "--part",
        "firmware",
        files["loader.efi"],
        LOADER_URL,
    )
    assert medvouch(*parts_options(files, out, *parts)).code == 0


def test_mistakes_with_parts(medvouch: Caller, files: dict[str, Path], out: Path, tmp_path: Path) -> None:
    part = ("--part", "boot-loader", files["loader.efi"], LOADER_URL)
    for options in (
        parts_options(files, out),
        parts_options(files, out, *part, *part),
        parts_options(files, out, "--part", "boiler", files["loader.efi"], LOADER_URL),
        parts_options(files, out, "--part", "boot-loader", tmp_path / "absent", LOADER_URL),
        parts_options(files, out, "--part", "boot-loader", files["loader.efi"], "no url"),
        parts_options(files, out, *part, "--uri", LOADER_URL),
        [*build_options(files["reference"], out), *part],
    ):
        called = medvouch(*options)
        assert (called.code, called.err.count("\n"), out.exists()) == (2, 1, False), options


def test_the_parts_that_help_names_are_those_that_there_are(medvouch: Caller) -> None:
    assert set(PARTS) == set(BY_NAME)
