"""A quote and a firmware log of a real machine, judged here and by Keylime, the same bytes for both.

Keylime comes from PyPI into a virtual environment of its own, below build/; its wheel names no dependencies, so those
that this path of it needs stand here. It calls tpm2_eventlog, and libefivar to make the names of devices readable.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medvouch.attestation.quotes import verify_quote
from medvouch.attestation.replay import Logs, replay, replayed_pcrs
from medvouch.crypto.keys import load_public_pem
from medvouch.crypto.tpm import pcr_digest
from medvouch.formats import eventlog, tpm2_tools
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import (
    Attest,
    AttestType,
    ClockInfo,
    PcrSelection,
    QuoteInfo,
    Signature,
    SignatureAlg,
)
from medvouch_sim.bench.figures import KEYLIME, QUICK, Effort, Figure

REQUIREMENTS = ("keylime", "cryptography", "packaging", "pyasn1", "pyasn1-modules", "pyyaml", "requests", "lark")
HOME = Path("build/keylime")
INSTALL_S = 300.0
RUN_S = 300.0
LOG = Path("eventlogs/ibmtss/dell1.log")
"""Of the shared vectors: 62 KB, the SHA-1 and SHA-256 banks of a Dell."""
NONCE = "0123456789abcdefghij"
_QUALIFIED_NAME = b"\x00\x0b" + bytes(32)

_THEIRS = """
import base64, json, logging, sys, time
logging.disable(logging.CRITICAL)
from keylime.mba.elparsing import tpm2_tools_elparser
from keylime.tpm import tpm_util
given = json.load(open(sys.argv[1]))
parts = {name: base64.b64decode(given[name]) for name in ("public", "message", "signature", "pcrs")}
times = []
for _ in range(int(sys.argv[2])):
    started = time.perf_counter()
    quoted = tpm_util.checkquote(
        parts["public"], given["nonce"], parts["signature"], parts["message"], parts["pcrs"], "sha256")
    replayed, _, _, failure = tpm2_tools_elparser.bootlog_parse(given["log"], "sha256")
    times.append(time.perf_counter() - started)
    if failure or not replayed:
        sys.exit("Keylime does not parse the log: " + str([event.event_id for event in failure.events]))
    for pcr, value in replayed.items():
        if int(pcr) and int(quoted[int(pcr)], 16) != value:  # older tpm2_eventlog overlooks the locality in PCR 0
            sys.exit(f"PCR {pcr} differs")
print(json.dumps(times))
"""


class Unavailable(Exception):
    """Why this cannot be measured here."""


def measure(effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    """The figure, or none, and why is said."""
    try:
        quick = effort is QUICK
        log = _log()
        python = _keylime(install=not quick)
        say(f"{KEYLIME}: {effort.comparisons} times")
        return [_compare(log, python, effort.comparisons)]
    except Unavailable as reason:
        say(f"{KEYLIME} is left out: {reason}")
        return []


def _log() -> bytes:
    path = Path(os.environ.get("MEDVOUCH_VECTORS", "../shared/vectors")) / LOG
    if not path.is_file():
        raise Unavailable(f"there is no {path}")
    if shutil.which("tpm2_eventlog") is None:
        raise Unavailable("tpm2_eventlog is not installed, which Keylime calls")
    return path.read_bytes()


def _keylime(*, install: bool) -> Path:
    """The Python of an environment that has it."""
    python = (HOME / "bin" / "python").absolute()
    if not (HOME / "complete").exists():
        if not install:
            raise Unavailable(f"Keylime is not in {HOME} yet")
        for command in (
            [sys.executable, "-m", "venv", "--clear", str(HOME)],
            [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
            if done.returncode:
                raise Unavailable(f"Keylime cannot be installed: {done.stderr.strip()[-200:]}")
        (HOME / "complete").touch()
    return python


def _compare(log: bytes, python: Path, times: int) -> Figure:
    """Ours and theirs in turns of a few, so that what else the machine does falls on both."""
    files = _quote(log)
    ours: list[float] = []
    theirs: list[float] = []
    while len(theirs) < times:
        count = min(5, times - len(theirs))
        theirs += _theirs(files, log, python, count)
        ours += [_ours(files, log) for _ in range(4 * count)]
    value, reference = median(ours) * 1e3, median(theirs) * 1e3
    what = "the same by Keylime: checkquote, tpm2_eventlog and its parser"
    return Figure(KEYLIME, round(value, 4), "ms", what, round(reference, 4), round(value / reference, 4))


def _ours(files: dict[str, bytes], log: bytes) -> float:
    started = time.perf_counter()
    key = load_public_pem(files["public"])
    pcrs = tpm2_tools.parse_serialized(files["pcrs"])
    quote = verify_quote(key, files["message"], files["signature"], pcrs, NONCE.encode())
    replay(Logs(eventlog.parse(log)), quote.pcrs)
    return time.perf_counter() - started


def _theirs(files: dict[str, bytes], log: bytes, python: Path, times: int) -> list[float]:
    """The first one also warms up and is left out."""
    given = {name: base64.b64encode(data).decode() for name, data in (files | {"log": log}).items()}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given | {"nonce": NONCE}, file)
        file.flush()
        done = subprocess.run(
            [str(python), "-c", _THEIRS, file.name, str(times + 1)],
            capture_output=True, text=True, timeout=RUN_S, check=False,
        )  # fmt: skip
    if done.returncode:
        raise Unavailable(f"Keylime fails: {done.stderr.strip()[-200:]}")
    measured: list[float] = json.loads(done.stdout)
    return measured[1:]


def _quote(log: bytes) -> dict[str, bytes]:
    """As a TPM would give it after that boot, by a key in software: only what is checked matters here."""
    bank = HashAlg.SHA256
    pcrs = {bank: dict(sorted(replayed_pcrs(eventlog.parse(log))[bank].items()))}
    selection = PcrSelection.of(pcrs)
    quoted = QuoteInfo(selection, pcr_digest(pcrs, selection))
    message = Attest(AttestType.QUOTE, _QUALIFIED_NAME, NONCE.encode(), ClockInfo(1, 1, 0, True), 1, quoted).encode()
    key = ec.generate_private_key(ec.SECP256R1())
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    parts = (r.to_bytes(32, "big"), s.to_bytes(32, "big"))
    return {
        "public": key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "message": message,
        "signature": Signature(SignatureAlg.ECDSA, bank, parts).encode(),
        "pcrs": tpm2_tools.encode_serialized(pcrs),
    }
