from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_der_x509_certificate

from medvouch.formats import uefi
from medvouch_sim import fixtures, uki
from medvouch_sim.fixtures import FIXTURES

MAX_BYTES = 500 << 10


def contents(directory: Path) -> dict[str, bytes]:
    """Of all files but the captures, which come from boots (tests/conformance/test_captures.py)."""
    files = (path for path in directory.rglob("*") if path.is_file() and "captures" not in path.parts)
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def test_a_rebuild_gives_the_committed_bytes(tmp_path: Path) -> None:
    fixtures.write(tmp_path)
    assert contents(tmp_path) == contents(FIXTURES)
    assert sum(len(data) for data in contents(FIXTURES).values()) < MAX_BYTES


def test_main_rebuilds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fixtures, "FIXTURES", tmp_path)
    assert fixtures.main() == 0
    assert contents(tmp_path) == contents(FIXTURES)
    assert str(tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize("version", fixtures.RELEASES)
def test_images_name_their_release(version: str) -> None:
    sections = dict(uki.sections((FIXTURES / "releases" / version / "medvouch.efi").read_bytes()))
    assert f"IMAGE_ID=medvouch\nIMAGE_VERSION={version}\n".encode() in sections[".osrel"]
    assert b" roothash=" in sections[".cmdline"]


def test_releases_differ_in_everything_that_they_bring() -> None:
    old, new = (
        dict(uki.sections((FIXTURES / "releases" / version / "medvouch.efi").read_bytes()))
        for version in fixtures.RELEASES
    )
    assert {name for name in old if old[name] == new[name]} == {".text", ".sbat"}


@pytest.mark.parametrize("role", fixtures.ROLES)
def test_keys_are_p256_and_their_own(role: str) -> None:
    key = load_pem_private_key((FIXTURES / "keys" / f"test-{role}.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    numbers = {fixtures.private_key(each).private_numbers().private_value for each in fixtures.ROLES}
    assert len(numbers) == len(fixtures.ROLES)


@pytest.mark.parametrize("name", ["PK", "KEK", "db"])
def test_databases_hold_certificates(name: str) -> None:
    (found,) = uefi.parse_signature_lists((FIXTURES / "machine" / f"{name}.var").read_bytes())
    ((_, certificate),) = found.signatures
    assert found.type == uefi.CERT_X509
    load_der_x509_certificate(certificate).verify_directly_issued_by(load_der_x509_certificate(certificate))


@pytest.mark.parametrize("name", ["pei", "dxe"])
def test_volumes_have_a_valid_header(name: str) -> None:
    volume = (FIXTURES / "machine" / f"firmware-volume-{name}.bin").read_bytes()
    header = volume[: int.from_bytes(volume[48:50], "little")]
    words = (int.from_bytes(header[at : at + 2], "little") for at in range(0, len(header), 2))
    assert volume[40:44] == b"_FVH"
    assert int.from_bytes(volume[32:40], "little") == len(volume)
    assert sum(words) % 0x10000 == 0
