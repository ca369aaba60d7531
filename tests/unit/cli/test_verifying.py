"""`medvouch verify`: results, and files that are nothing; whole evidence is judged where there is a TPM."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import pytest

from medvouch.attestation.results import AFFIRMING_VECTOR, Occasion, contraindicate, sign_result, sign_result_jwt
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Ear, Tier
from medvouch_sim.fixtures import private_key
from medvouch_sim.site import Site
from support.cli import Caller
from support.sites import reference

DEVICE = "0123456789abcdef" * 2
NONCE = bytes(range(16))


def result(*, affirming: bool, signer: str = "appraiser", quirks: tuple[str, ...] = ()) -> bytes:
    occasion = Occasion(DEVICE, NONCE, b"\x05" * 32, 1_800_000_000, "medvouch", "0.1", "release-1")
    ear = contraindicate(occasion, InputError("event-unexpected", "an unknown kernel", place="sha256 PCR 4"))
    if affirming:
        ear = dataclasses.replace(ear, status=Tier.AFFIRMING, vector=AFFIRMING_VECTOR, boot_count=3, reasons=())
        ear = dataclasses.replace(ear, quirks=quirks)
    return sign_result(ear, SoftwareSigner(private_key(signer)))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_an_affirming_result(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(result(affirming=True))
    called = medvouch("verify", file, "--trust", site.trust_path, "--nonce", NONCE.hex(), "--device", DEVICE)
    assert called.code == 0
    assert "status     affirming\n" in called.out
    assert "issued_at  2027-01-15 08:00:00 UTC\n" in called.out
    document = medvouch("verify", file, "--trust", site.trust_path, "--json").json
    assert document["kind"] == "result"
    assert (document["status"], document["device"], document["nonce"]) == ("affirming", DEVICE, NONCE.hex())


def test_a_result_says_what_was_let_pass(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(result(affirming=True, quirks=("measures-twice", "old-shim")))
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert "quirks     measures-twice, old-shim\n" in called.out
    assert medvouch("verify", file, "--trust", site.trust_path, "--json").json["quirks"] == [
        "measures-twice",
        "old-shim",
    ]


def test_a_negative_result(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(result(affirming=False))
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert called.code == 1
    assert "  event-unexpected: an unknown kernel (sha256 PCR 4)\n" in called.out
    document = medvouch("verify", file, "--trust", site.trust_path, "--json").json
    assert document["reasons"] == [{"code": "event-unexpected", "place": "sha256 PCR 4", "detail": "an unknown kernel"}]


@pytest.mark.parametrize(
    ("options", "signer", "code"),
    [
        ((), "commander", "result-signature-invalid"),
        (("--nonce", "ff" * 16), "appraiser", "result-nonce-mismatch"),
        (("--device", "f" * 32), "appraiser", "result-device-mismatch"),
    ],
)
def test_a_result_that_is_not_the_one(
    medvouch: Caller, site: Site, file: Path, options: tuple[str, ...], signer: str, code: str
) -> None:
    file.write_bytes(result(affirming=True, signer=signer))
    called = medvouch("verify", file, "--trust", site.trust_path, "--json", *options)
    assert called.code == 1
    assert (called.json["kind"], called.json["status"]) == ("result", "contraindicated")
    assert called.json["code"] == code
    assert called.json["remedy"]


@pytest.mark.parametrize("data", [b"", b"\x00", bytes(range(256)), b"\xd2", b"\xd2garbage", b"just words\n"])
def test_what_is_nothing_is_a_negative_verdict(medvouch: Caller, site: Site, file: Path, data: bytes) -> None:
    file.write_bytes(data)
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert (called.code, called.err) == (1, "")
    assert "status  contraindicated\n" in called.out
    document = medvouch("verify", file, "--trust", site.trust_path, "--json").json
    assert document["code"]
    assert document["remedy"]


def test_a_trust_document_serves_until_it_expires(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(result(affirming=True))
    later = f"{time.gmtime().tm_year + 2}-01-01"
    called = medvouch("verify", file, "--trust", site.trust_path, "--at", later)
    assert called.code == 3
    assert called.err.startswith("medvouch: trust-expired: the trust document expired on ")
    assert medvouch("verify", file, "--trust", site.trust_path, "--at", f"{later[:4]}-01-01T00:00Z").code == 3
    site.trust_path.write_bytes(dataclasses.replace(site.trust, expires=int(time.time()) - 1).encode())
    assert medvouch("verify", file, "--trust", site.trust_path).code == 3
    assert medvouch("verify", file, "--trust", site.trust_path, "--at", "2026-01-01").code == 0


@pytest.mark.parametrize("role", ["appraiser", "release"])
def test_a_role_serves_until_it_expires(medvouch: Caller, site: Site, file: Path, role: str) -> None:
    file.write_bytes(result(affirming=True) if role == "appraiser" else b"evidence")
    expired = dataclasses.replace(site.trust.roles[role], expires=int(time.time()) - 1)
    site.trust_path.write_bytes(dataclasses.replace(site.trust, roles={**site.trust.roles, role: expired}).encode())
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert called.code == 3
    assert called.err.startswith(f"medvouch: role-expired: the role '{role}' expired on ")
    assert medvouch("verify", file, "--trust", site.trust_path, "--at", "2026-01-01").code == (role == "release")


def test_a_role_whose_messages_carry_one_signature_cannot_ask_for_two(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(result(affirming=True))
    entry = site.trust.roles["appraiser"]
    both = dataclasses.replace(entry, keys=(*entry.keys, *site.trust.roles["commander"].keys), threshold=2)
    site.trust_path.write_bytes(dataclasses.replace(site.trust, roles={**site.trust.roles, "appraiser": both}).encode())
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert called.code == 3
    assert "the role 'appraiser' wants 2 signatures, and messages carry one" in called.err


def test_reference_values_need_as_many_release_keys_as_the_role_says(medvouch: Caller, site: Site, file: Path) -> None:
    file.write_bytes(b"evidence")
    release = site.trust.roles["release"]
    assert (len(release.keys), release.threshold) == (3, 2)
    for threshold, code in ((2, "cbor-trailing"), (3, "reference-untrusted")):
        roles = {**site.trust.roles, "release": dataclasses.replace(release, threshold=threshold)}
        trust = dataclasses.replace(site.trust, roles=roles, references=(reference(),))
        site.trust_path.write_bytes(trust.encode())
        called = medvouch("verify", file, "--trust", site.trust_path, "--json")
        assert (called.code, called.json["code"]) == (1, code)
    assert called.json["detail"] == "cose-too-few-signatures: 2 of 3 keys signed, 3 must"


@pytest.mark.parametrize("role", ["appraiser", "release"])
def test_a_trust_document_that_cannot_serve(medvouch: Caller, site: Site, file: Path, role: str) -> None:
    file.write_bytes(result(affirming=True) if role == "appraiser" else b"evidence")
    others = {name: entry for name, entry in site.trust.roles.items() if name != role}
    site.trust_path.write_bytes(dataclasses.replace(site.trust, roles=others).encode())
    called = medvouch("verify", file, "--trust", site.trust_path)
    assert called.code == 3
    assert f"trust-incomplete: the trust document cannot be used: the role '{role}' is not filled" in called.err


def test_a_result_as_jwt(medvouch: Caller, site: Site, file: Path) -> None:
    ear = Ear.parse(Sign1.parse(result(affirming=True)).payload or b"")
    file.write_text(sign_result_jwt(ear, SoftwareSigner(private_key("appraiser"))) + "\n")
    called = medvouch("verify", file, "--trust", site.trust_path, "--nonce", NONCE.hex(), "--json")
    assert (called.code, called.json["status"], called.json["device"]) == (0, "affirming", DEVICE)
    file.write_text(sign_result_jwt(ear, SoftwareSigner(private_key("commander"))))
    called = medvouch("verify", file, "--trust", site.trust_path, "--json")
    assert (called.code, called.json["code"]) == (1, "result-signature-invalid")
    file.write_bytes(b"eyJ\xff")
    assert medvouch("verify", file, "--trust", site.trust_path, "--json").json["code"] == "jws-malformed"
