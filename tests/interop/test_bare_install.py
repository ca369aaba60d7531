"""medvouch.attestation attests and verifies where cryptography and cbor2 are installed, and nothing else is."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path

from medvouch.crypto.keys import SoftwareSigner, spki
from medvouch_sim import firmware
from medvouch_sim.firmware import Machine
from medvouch_sim.prediction import predict, sign_reference
from medvouch_sim.swtpm import HEADER_BYTES, SwTpm
from support import bare_attest
from support.authorities import NOW, key
from support.enrolling import ORDER, world
from support.environments import environment

PROGRAM = Path(bare_attest.__file__)
BASE = {
    "medvouch",
    "cryptography",
    "cbor2",
    "cffi",
    "pycparser",
    "pip",
    "setuptools",
    "typing_extensions",
    "typing-extensions",
}
"""What the two need themselves, and what a new environment comes with."""


def forward(tpm: SwTpm, peer: socket.socket) -> None:
    """Commands from the socket to the TPM, and its responses back, until the other end closes."""
    with peer:
        while header := peer.recv(HEADER_BYTES, socket.MSG_WAITALL):
            body = peer.recv(int.from_bytes(header[2:6], "big") - HEADER_BYTES, socket.MSG_WAITALL)
            peer.sendall(tpm.raw(header + body))


def test_attest_and_verify_with_a_real_tpm_and_no_stack(tmp_path: Path) -> None:
    python = environment("bare", "cryptography>=43", "cbor2>=5.6")
    everybody, signer = world(), SoftwareSigner(key("release"))
    machine = Machine.create(tmp_path / "disk")
    with everybody.gateway(tmp_path / "tpm") as gateway:
        firmware.boot(machine, gateway.tpm)
        authority, enrollee = everybody.authority(gateway.entry), gateway.enrollee()
        challenge, pending = authority.challenge(enrollee.request(), NOW)
        answer = authority.answer(pending, enrollee.proof(challenge), NOW + 1).answer
        identity = enrollee.accept(answer, lambda _: None)
        gateway.tpm.close()
        request = {
            "identity": identity.encode().hex(),
            "logs": [str(path) for path in (machine.uefi_log, machine.systemd_log, machine.ima_log)],
            "references": [sign_reference(predict(ORDER.model, "1.0.0"), signer).hex()],
            "release_key": spki(signer.public_key).hex(),
            "root": everybody.issuer.certificate.hex(),
            "now": NOW + 2,
        }
        ours, theirs = socket.socketpair()
        forwarding = threading.Thread(target=forward, args=(gateway.swtpm, ours))
        forwarding.start()
        with theirs:
            ran = subprocess.run(
                [python, "-I", PROGRAM, str(theirs.fileno())], input=json.dumps(request), pass_fds=[theirs.fileno()],
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        forwarding.join()
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["found"] == f"{identity.device_id} runs 1.0.0"
    assert said["of another challenge"] == "nonce-mismatch"
    assert set(said["installed"]) <= BASE
