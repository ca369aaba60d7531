"""Run where only cryptography and cbor2 are installed: attests by a TPM behind a socket, and verifies.

python bare_attest.py FD < request.json
"""

from __future__ import annotations

import importlib.metadata
import json
import socket
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "agent"), str(ROOT / "examples"), str(ROOT / "tests")]

import attest_and_verify  # noqa: E402

from medvouch.attestation.attester import Description  # noqa: E402
from medvouch.crypto.keys import load_spki  # noqa: E402
from medvouch.errors import Refusal  # noqa: E402
from medvouch.formats.identity import DeviceIdentity  # noqa: E402
from medvouch.ports import Timestamp  # noqa: E402
from support.raw_tpm import RawTpm  # noqa: E402


class Logs:
    """`medvouch.ports.MeasurementLogs` over three files."""

    def __init__(self, uefi: str, systemd: str, ima: str) -> None:
        self._paths = [Path(path) for path in (uefi, systemd, ima)]

    def uefi(self) -> bytes:
        return self._paths[0].read_bytes()

    def systemd(self) -> bytes:
        return self._paths[1].read_bytes()

    def ima(self) -> bytes:
        return self._paths[2].read_bytes()


class HostClock:
    """`medvouch.ports.Clock`."""

    def now(self) -> Timestamp:
        return Timestamp(time.time_ns() // 1_000_000, False)

    def uptime_s(self) -> int:
        return int(time.monotonic())


def main() -> None:
    request = json.load(sys.stdin)
    identity = DeviceIdentity.parse(bytes.fromhex(request["identity"]))
    description = Description(
        ueid=identity.ueid,
        client_key_thumbprint=bytes(32),
        oem_id=b"\x00\x01\x02",
        hw_model=identity.model.encode(),
        hw_version=identity.hw_version,
        sw_name="bare",
        sw_version="1.0.0",
    )
    tpm, nonce = RawTpm(socket.socket(fileno=int(sys.argv[1]))), bytes(range(32))
    evidence = attest_and_verify.attest(tpm, Logs(*request["logs"]), HostClock(), identity, description, nonce)

    def verified(challenge: bytes) -> str:
        root, references = bytes.fromhex(request["root"]), [bytes.fromhex(each) for each in request["references"]]
        keys = [load_spki(bytes.fromhex(request["release_key"]))]
        device, now = identity.device_id, request["now"]
        try:
            made = attest_and_verify.verify(evidence, challenge, device, root, references, keys, now)
        except Refusal as refusal:
            return refusal.code
        return f"{made.device} runs {made.release}"

    installed = sorted(each.metadata["Name"].lower() for each in importlib.metadata.distributions())
    found = {"found": verified(nonce), "of another challenge": verified(nonce[::-1]), "installed": installed}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
