"""The MQTT client key and its certificate: PEM files that only the agent reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.crypto.keys import PublicKey, load_private_pem
from medvouch.errors import InputError, StorageFault

MAX_PEM_BYTES = 64 * 1024


class FileCredentials:
    """`client-key.pem` and `client-certificate.pem` in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.key_path = directory / "client-key.pem"
        self.certificate_path = directory / "client-certificate.pem"

    def client_key(self) -> PublicKey:
        """The public half of the client key, which is made on first use; StorageFault where that fails."""
        if not self.key_path.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            pem = key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_durably(self.key_path, pem, mode=0o600)
        try:
            return load_private_pem(read_bounded(self.key_path, MAX_PEM_BYTES)).public_key()
        except InputError as error:
            remedy = "restore the state directory from a backup, or empty it and enrol the device again"
            raise StorageFault("credential-corrupt", f"{self.key_path}: {error.detail}", remedy=remedy) from error

    def install(self, certificates: Sequence[bytes]) -> None:
        """Keep the client certificate (DER, leaf first) for the next connection."""
        parsed = [x509.load_der_x509_certificate(der) for der in certificates]
        pem = b"".join(certificate.public_bytes(serialization.Encoding.PEM) for certificate in parsed)
        write_durably(self.certificate_path, pem)
