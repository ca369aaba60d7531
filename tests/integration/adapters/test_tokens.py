"""Keys in a token: SoftHSM, as real as PKCS#11 gets without one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pkcs11
import pytest
from pkcs11.util.ec import encode_named_curve_parameters

from medvouch.adapters.tokens import MAX_URI, TokenUri, token_signer
from medvouch.crypto import cose
from medvouch.errors import ConfigFault, StorageFault
from medvouch.release.manifests import build_envelope, integrated
from medvouch.update.verification import RoleKeys, verify_envelope
from medvouch_sim import fixtures
from support.cli import Caller
from support.refusing import assert_input_refused
from support.suit import CONTENTS, MANIFEST, QUALITY_KEYS, RELEASE, RELEASE_KEYS, released

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN, SO_PIN = "1234", "5678"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A token `release` with pairs `p256`, `online`, `p384`, `p521` and `rsa`, and `mixed`, whose halves are of two."""
    folder = tmp_path_factory.mktemp("token")
    (folder / "tokens").mkdir()
    (folder / "pin").write_text(f"{PIN}\n")
    (folder / "wrong").write_text("4321\n")
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    init = ("softhsm2-util", "--init-token", "--free", "--label", "release", "--pin", PIN, "--so-pin", SO_PIN)
    subprocess.run(init, check=True, capture_output=True)
    library = pkcs11.lib(str(MODULE))
    library.reinitialize()
    with library.get_token(token_label="release").open(rw=True, user_pin=PIN) as session:
        for label, curve in (
            ("p256", "secp256r1"),
            ("online", "secp256r1"),
            ("p384", "secp384r1"),
            ("p521", "secp521r1"),
        ):
            _pair(session, curve, label, label)
        _pair(session, "secp256r1", "mixed", "other")
        _pair(session, "secp256r1", "another", "mixed")
        session.generate_keypair(pkcs11.KeyType.RSA, 2048, label="rsa", store=True)
    yield folder
    del os.environ["SOFTHSM2_CONF"]


def _pair(session: pkcs11.Session, curve: str, public: str, private: str) -> None:
    attributes = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)}
    parameters = session.create_domain_parameters(pkcs11.KeyType.EC, attributes, local=True)
    parameters.generate_keypair(
        store=True,
        public_template={pkcs11.Attribute.LABEL: public},
        private_template={pkcs11.Attribute.LABEL: private},
    )


def uri(folder: Path, label: str, token: str = "release", pin: str = "pin", module: Path = MODULE) -> str:
    return f"pkcs11:token={token};object={label}?module-path={module}&pin-source=file:{folder / pin}"


@pytest.mark.parametrize("label", ["p256", "p384"])
def test_what_it_signs_verifies(token: Path, label: str) -> None:
    with token_signer(TokenUri.parse(uri(token, label))) as signer:
        signed = cose.sign1(b"a release", signer)
        assert cose.verify1(signed, signer.public_key).payload == b"a release"


def test_a_release_signed_with_a_token_beside_a_file(
    token: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    medvouch, file = Caller(capsys), tmp_path / "release.suit"
    file.write_bytes(released())
    called = medvouch("release", "sign", file, "--key", uri(token, "p256"))
    assert (called.code, called.err) == (0, "")
    with token_signer(TokenUri.parse(uri(token, "p256"))) as signer:
        three = RoleKeys([*RELEASE_KEYS.keys, signer.public_key], 3)
        found = verify_envelope(file.read_bytes(), three, QUALITY_KEYS)
        assert found.release_signers == (*(each.public_key for each in RELEASE[:2]), signer.public_key)
    called = medvouch("release", "sign", file, "--key", uri(token, "p256"))
    assert (called.code, "manifest-key-repeated" in called.err) == (1, True)
    unsigned = build_envelope(MANIFEST, integrated(CONTENTS))
    file.write_bytes(unsigned)
    called = medvouch("release", "sign", file, "--key", uri(token, "p256", pin="wrong"))
    assert (called.code, called.err.split(";")[0]) == (3, "medvouch: key-unusable: the PIN is wrong")
    assert file.read_bytes() == unsigned


def test_a_repository_whose_keys_are_in_a_token_beside_files(
    token: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two of one token, which knows one login."""
    medvouch, keys, out = Caller(capsys), tmp_path / "keys", tmp_path / "root.json"
    keys.mkdir()
    for role in fixtures.ROLES:
        if role.startswith("tuf-") or role == "director":
            (keys / f"{role}.pem").write_bytes(fixtures.key_pem(fixtures.private_key(role)))
    for name, label in (("tuf-snapshot", "online"), ("tuf-timestamp", "online"), ("tuf-root-2", "p256")):
        (keys / f"{name}.pem").unlink()
        (keys / f"{name}.pkcs11").write_text(f"{uri(token, label)}\n")
    (keys / "tuf-root-3.pem").unlink()
    places = ("--repository", tmp_path / "repository", "--keys", keys)
    called = medvouch("release", "init", "--bins", "1", *places)
    assert (called.code, called.err) == (0, "")
    assert medvouch("release", "publish", *places).out.startswith("published as version 2; ")
    medvouch("release", "metadata", "--for", "root", *places[:2], "--new-keys", keys, "--out", out)
    called = medvouch("release", "countersign", out, "--key", uri(token, "p256"), "--json")
    assert called.json["signed_by"][0] in called.json["roles"]["root"]["keys"]

    (keys / "tuf-root-2.pkcs11").write_text(uri(token, "p256", pin="wrong"))
    called = medvouch("release", "publish", *places)
    assert (called.code, "the PIN is wrong" in called.err) == (3, True)
    (keys / "tuf-root-2.pkcs11").write_text("pkcs11:")
    called = medvouch("release", "publish", *places)
    assert (called.code, "tuf-root-2.pkcs11: no URI of a key" in called.err) == (1, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"label": "gone"}, "no pair of keys 'gone'"),
        ({"token": "gone"}, "no token 'gone'"),
        ({"module": Path("/nowhere/module.so")}, "/nowhere/module.so: "),
        ({"label": "p521"}, "no ECDSA key on P-256 or P-384"),
        ({"label": "rsa"}, "no ECDSA key on P-256 or P-384"),
    ],
)
def test_what_cannot_sign(token: Path, changes: dict[str, object], said: str) -> None:
    text = uri(token, **{"label": "p256", **changes})  # type: ignore[arg-type]
    with pytest.raises(ConfigFault, match=said) as caught, token_signer(TokenUri.parse(text)):
        pass
    assert caught.value.code == "key-unusable"


def test_halves_of_two_pairs(token: Path) -> None:
    with token_signer(TokenUri.parse(uri(token, "mixed"))) as signer, pytest.raises(ConfigFault, match="not that of"):
        signer.sign(b"a release")


def test_no_pin(token: Path) -> None:
    with pytest.raises(StorageFault, match="file-missing"), token_signer(TokenUri.parse(uri(token, "p256", pin="no"))):
        pass


@pytest.mark.parametrize(
    "text",
    [
        "pkcs11:",
        "file:token=a;object=b?module-path=/m&pin-source=/p",
        "pkcs11:token=a?module-path=/m&pin-source=/p",
        "pkcs11:token=a;object=?module-path=/m&pin-source=/p",
        "pkcs11:token=a;object=b;object=b?module-path=/m&pin-source=/p",
        "pkcs11:token=a;object=b?module-path=/m",
        "pkcs11:token=a;object=b?module-path=/m&pin-value=1234",
        "pkcs11:token=a;object=b?module-path=/m&pin-source=/p&pin-value=1234",
    ],
)
def test_uris_that_name_no_key(text: str) -> None:
    assert_input_refused("pkcs11-malformed", TokenUri.parse, text)


def test_a_uri_with_spaces_and_without_end() -> None:
    found = TokenUri.parse("pkcs11:token=my%20token;object=b%3b?module-path=/m&pin-source=/p")
    assert found == TokenUri("my token", "b;", Path("/m"), Path("/p"))
    assert_input_refused("pkcs11-limit", TokenUri.parse, "pkcs11:" + "x" * MAX_URI)
