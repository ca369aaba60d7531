"""Every piece of Python in docs/how-to/embed-attestation.md, in its order, on a gateway with a real TPM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from medvouch.adapters.logs import FileLogs
from medvouch.adapters.system import SystemClock, SystemEntropy
from medvouch.attestation.endorsements import read_certificate
from medvouch.attestation.manifest import verify_manifest
from medvouch.attestation.policy import STATIC_PCRS
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX, attestation_key
from medvouch.crypto.ca import subject
from medvouch.crypto.ima_signatures import ImaKey
from medvouch.crypto.keys import SoftwareSigner, spki
from medvouch.crypto.tpm import public_key
from medvouch.formats import der, ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cms import Algorithm, SignedData
from medvouch.formats.hashing import digest
from medvouch.formats.ima_signature import OF_FILE, ImaSignature
from medvouch.formats.tpm import PcrSelection
from medvouch.formats.tpm_public import Public
from medvouch_sim import firmware
from medvouch_sim.firmware import Machine
from medvouch_sim.prediction import predict, sign_reference
from support.authorities import NOW, key
from support.documents import blocks
from support.enrolling import AUTHORITY, MADE, ORDER, OWNER, Gateway, World, first_rise, world

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "embed-attestation.md"
FILES = ec.generate_private_key(ec.SECP256R1())
"""Signs files."""
SHA256 = HashAlg.SHA256
Names = dict[str, Any]


@pytest.fixture(scope="module")
def everybody() -> World:
    return world()


@pytest.fixture(scope="module")
def gateway(everybody: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with everybody.gateway(tmp_path_factory.mktemp("gateway") / "tpm") as made:
        yield made


@pytest.fixture(scope="module")
def machine(gateway: Gateway, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    made = Machine.create(tmp_path_factory.mktemp("machine") / "disk")
    firmware.boot(made, gateway.tpm)
    return made


def certificate_of_files() -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "files")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(FILES.public_key())
    builder = builder.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=1))
    return builder.sign(FILES, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.fixture(scope="module")
def names(everybody: World, gateway: Gateway, machine: Machine) -> Names:
    """What the page calls yours."""
    release = SoftwareSigner(key("release"))
    manifest = everybody.maker.manifest([gateway.entry], MADE)
    return {
        "tpm": gateway.tpm,
        "logs": FileLogs(machine.uefi_log, machine.systemd_log, machine.ima_log),
        "clock": SystemClock(),
        "entropy": SystemEntropy(),
        "now": NOW,
        "nonce": bytes(range(32)),
        "secret": bytes(range(32)),
        "signer": AUTHORITY,
        "issuer": everybody.issuer,
        "vendor_roots": [everybody.vendor.root.certificate],
        "maker_roots": [everybody.maker.authority.certificate],
        "manifests": [verify_manifest(manifest, [everybody.maker.signer.public_key])],
        "floor_authority": key("floor").public_key(),
        "approve_floor": first_rise,
        "known": set(),
        "owner": OWNER.public_key(),
        "client_key": key("client").public_key(),
        "keep": lambda identity: None,
        "enrolment_root": everybody.issuer.certificate,
        "references": [sign_reference(predict(ORDER.model, "1.0.0"), release)],
        "release_keys": [release.public_key],
        "file_certificates": [certificate_of_files()],
        "ek_certificate": read_certificate(gateway.tpm, EK_CERTIFICATE_INDEX),
        "subject": subject("a gateway").public_bytes(),
    }


def signed_files(first: int) -> list[ima.Entry]:
    """Two that the kernel measures next: signed in the attribute, and at the end."""
    whole, alone = digest(SHA256, b"program"), digest(SHA256, b"module")
    signatures = [FILES.sign(each, ec.ECDSA(Prehashed(hashes.SHA256()))) for each in (whole, alone)]
    known = ImaKey.of_key(FILES.public_key())
    attribute = ImaSignature(OF_FILE, SHA256, known.id, signatures[0]).encode()
    algorithms = Algorithm(der.oid("2.16.840.1.101.3.4.2.1")), Algorithm(der.oid("1.2.840.10045.4.3.2"))
    appended = SignedData(known.id, *algorithms, signatures[1]).encode()
    program = (b"sha256:\0" + whole, b"/bin/program\0", attribute)
    module = (b"sha256:\0" + digest(SHA256, b"module" + appended), b"/lib/module.ko\0", b"", b"sha256:\0" + alone)
    return [
        ima.make(first, 10, "ima-sig", program),
        ima.make(first + 1, 10, "ima-modsig", (*module, appended)),
    ]


def measure_files(names: Names, gateway: Gateway, machine: Machine) -> None:
    """The kernel goes on while nobody looks."""
    data = machine.ima_log.read_bytes()
    more = signed_files(len(ima.parse_binary(data)))
    for entry in more:
        gateway.tpm.pcr_extend(10, {bank: digest(bank, entry.data) for bank in (SHA256, HashAlg.SHA384)})
    machine.ima_log.write_bytes(data + ima.encode(tuple(more)))


def quote_files(names: Names, gateway: Gateway, _: Machine) -> None:
    handle, selection = attestation_key(gateway.tpm), PcrSelection.of({SHA256: [10]})
    names["lak"] = public_key(Public.parse(gateway.tpm.read_public(handle)))
    quote = gateway.tpm.quote(handle, names["nonce"], selection)
    names.update(attest=quote.attest, signature=quote.signature, values=gateway.tpm.pcr_read(selection))
    gateway.tpm.flush(handle)


MEANWHILE: dict[str, Callable[[Names, Gateway, Machine], None]] = {
    "first_state(": measure_files,
    "verify_quote(": quote_files,
}
"""What happens before the piece that calls this."""


def test_the_page_does_what_it_says(names: Names, gateway: Gateway, machine: Machine) -> None:
    for line, script in blocks(PAGE.read_text(encoding="utf-8"), "python"):
        for called, happens in MEANWHILE.items():
            if called in script:
                happens(names, gateway, machine)
        exec(compile("\n" * (line - 1) + script, str(PAGE), "exec"), names)
    assert names["identity"].device_id == names["enrolled"].device_id
    assert (names["appraisal"].device, names["appraisal"].release) == (names["identity"].device_id, "1.0.0")
    assert [entry.path for entry in names["new"].entries] == ["/bin/program", "/lib/module.ko"]
    assert {path: each.appended for path, each in names["signed"].items()} == {
        "/bin/program": False,
        "/lib/module.ko": True,
    }
    assert names["state"].offset == machine.ima_log.stat().st_size
    assert spki(names["public_key"]) == spki(public_key(Public.parse(names["identity"].ldevid_public)))
    assert names["opened"] == names["secret"]
    assert names["template"].name == "H-2"
    assert names["STATIC_PCRS"] == STATIC_PCRS
