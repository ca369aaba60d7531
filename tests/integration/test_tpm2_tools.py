"""Quotes between medvouch and tpm2-tools, both ways, on a real swtpm that the tools reach through a socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import LAK_TEMPLATE, PARENT_TEMPLATE
from medvouch.crypto.tpm import name, public_key, qualified_name
from medvouch.formats import tpm2_tools
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, PcrSelection
from medvouch.formats.tpm_public import Public
from medvouch_sim.installed import tcp_tpm
from medvouch_sim.swtpm import SwTpm
from support.cli import Caller

NONCE = bytes(range(32))
HALF = PcrSelection.of({HashAlg.SHA384: [0, 7, 23], HashAlg.SHA256: range(16)})

pytestmark = pytest.mark.skipif(shutil.which("tpm2_quote") is None, reason="tpm2-tools are not installed")


@dataclass(frozen=True)
class Bench:
    """A TPM with power, its TCTI, and a folder for the tools' files."""

    tcti: str
    folder: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti}
        return subprocess.run(words, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)

    def do(self, *words: str) -> None:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr

    def judge(self, medvouch: Caller, *options: str, **files: str) -> tuple[int, dict[str, object]]:
        names = {"public": "ak.pem", "message": "quote.msg", "signature": "quote.sig", "pcrs": "quote.pcrs"} | files
        given = [word for option, file in names.items() for word in (f"--{option}", str(self.folder / file))]
        called = medvouch("verify", "quote", *given, "--json", *(options or ("--nonce", NONCE.hex())))
        return called.code, json.loads(called.out)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("tools")
    with SwTpm(folder / "tpm"):
        pass
    with tcp_tpm(folder / "tpm") as tcti:
        bench = Bench(tcti, folder)
        bench.do("tpm2_createek", "-c", "ek.ctx", "-G", "ecc")
        yield bench


@pytest.fixture
def medvouch(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def made(bench: Bench, algorithm: str, hash: str, scheme: str) -> None:
    """An AK by tpm2_createak, and nothing else loaded."""
    bench.do("tpm2_flushcontext", "-t")
    bench.do(
        "tpm2_createak", "-C", "ek.ctx", "-c", "ak.ctx", "-G", algorithm, "-g", hash, "-s", scheme,
        "-u", "ak.pem", "-f", "pem", "-q", "ak.qname",
    )  # fmt: skip
    bench.do("tpm2_flushcontext", "-t")
    bench.do("tpm2_flushcontext", "-s")


def quoted(bench: Bench, selection: PcrSelection, hash: str, *options: str) -> None:
    bench.do(
        "tpm2_quote", "-c", "ak.ctx", "-l", str(selection), "-q", NONCE.hex(), "-g", hash,
        "-m", "quote.msg", "-s", "quote.sig", "-o", "quote.pcrs", *options,
    )  # fmt: skip
    bench.do("tpm2_flushcontext", "-t")


@pytest.mark.parametrize(
    ("algorithm", "hash", "scheme"),
    [
        ("ecc", "sha256", "ecdsa"),
        ("ecc384", "sha384", "ecdsa"),
        ("rsa", "sha256", "rsassa"),
        ("rsa", "sha384", "rsapss"),
        ("rsa3072", "sha512", "rsapss"),
    ],
)
def test_quotes_of_tpm2_quote_hold(bench: Bench, medvouch: Caller, algorithm: str, hash: str, scheme: str) -> None:
    made(bench, algorithm, hash, scheme)
    for form in ((), ("-F", "values"), ("-f", "plain"), ("-f", "plain", "-F", "values")):
        quoted(bench, HALF, hash, "--scheme", scheme, *form)
        code, document = bench.judge(medvouch, "--nonce", NONCE.hex(), "--hash", hash)
        assert (code, document["status"], document["hash"]) == (0, "holds", hash), document
        assert len(document["pcrs"]) == 19
        assert bytes.fromhex(document["qualified_signer"]) == (bench.folder / "ak.qname").read_bytes()


def test_what_is_not_so(bench: Bench, medvouch: Caller) -> None:
    made(bench, "ecc", "sha256", "ecdsa")
    quoted(bench, HALF, "sha256")
    shutil.copy(bench.folder / "quote.pcrs", bench.folder / "own.pcrs")
    for options, code in (
        (("--nonce", NONCE[::-1].hex()), "quote-stale"),
        (("--nonce", ""), "nonce-empty"),
        (("--nonce", "00" * 32), "nonce-constant"),
        (("--nonce", "0011223344"), "nonce-short"),
    ):
        exit_code, document = bench.judge(medvouch, *options)
        assert (exit_code, document["status"], document["code"]) == (1, "contraindicated", code)
    bench.do("tpm2_pcrextend", f"16:sha256={'11' * 32}")
    quoted(bench, PcrSelection.of({HashAlg.SHA256: [16]}), "sha256")
    assert bench.judge(medvouch, pcrs="own.pcrs")[1]["code"] == "pcr-values-relabelled"
    forged = tpm2_tools.encode_serialized({HashAlg.SHA256: {17: bytes(32)}})
    (bench.folder / "forged.pcrs").write_bytes(forged)
    assert bench.judge(medvouch, pcrs="forged.pcrs")[1]["code"] == "pcr-values-relabelled"
    forged = tpm2_tools.encode_serialized({HashAlg.SHA256: {16: bytes(32)}})
    (bench.folder / "forged.pcrs").write_bytes(forged)
    assert bench.judge(medvouch, pcrs="forged.pcrs")[1]["code"] == "pcr-digest-mismatch"


@pytest.mark.parametrize("selection", [HALF, PcrSelection.of({HashAlg.SHA256: [16]})], ids=["two banks", "one PCR"])
def test_tpm2_checkquote_accepts_ours(bench: Bench, medvouch: Caller, selection: PcrSelection) -> None:
    with TssTpm(bench.tcti) as tpm:
        parent = tpm.create_primary(PARENT_TEMPLATE)
        lak = tpm.load(parent, tpm.create(parent, LAK_TEMPLATE))
        public, pcrs = tpm.read_public(lak), tpm.pcr_read(selection)
        signed = tpm.quote(lak, NONCE, selection)
        stands = qualified_name(name(public), qualified_name(name(tpm.read_public(parent))))
    assert Attest.parse(signed.attest).qualified_signer == stands
    key = public_key(Public.parse(public))
    files = {
        "our.pem": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "our.msg": signed.attest,
        "our.sig": signed.signature,
        "our.pcrs": tpm2_tools.encode_serialized(pcrs),
    }
    for file, data in files.items():
        (bench.folder / file).write_bytes(data)
    check = "tpm2_checkquote", "-u", "our.pem", "-m", "our.msg", "-s", "our.sig", "-f", "our.pcrs", "-q"
    bench.do(*check, NONCE.hex())
    assert bench.run(*check, NONCE[::-1].hex()).returncode != 0, "it looks at what it is given"
    ours: Sequence[str] = ("--nonce", NONCE.hex())
    assert (
        bench.judge(medvouch, *ours, public="our.pem", message="our.msg", signature="our.sig", pcrs="our.pcrs")[0] == 0
    )


def test_a_file_that_is_named_quote(tmp_path: Path, medvouch: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quote").write_bytes(b"no evidence")
    (tmp_path / "trust.cbor").write_bytes(b"no trust")
    called = medvouch("verify", "quote", "--trust", "trust.cbor", "--json")
    assert called.json["error"]["code"].startswith("trust-")
    assert medvouch("verify", "quote", "--json").json["error"]["code"] == "usage"
