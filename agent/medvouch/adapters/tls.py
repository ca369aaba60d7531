"""The client side of TLS 1.3 with a client certificate."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medvouch.errors import ConfigFault

HANDSHAKE_S = 5.0
"""A slow TPM signs in about one."""


class ClientSocket(ssl.SSLSocket):
    """Tells how a connection ended, and closes itself when the handshake fails (its user never gets to hold it)."""

    closed_in_order = False
    """The peer said close_notify: it ended the connection on purpose. Without one, reading raises SSLEOFError."""

    def do_handshake(self, block: bool = False) -> None:
        """As in SSLSocket, and never longer than HANDSHAKE_S: paho before 2.2 would wait as long as its keepalive."""
        self.settimeout(min(self.gettimeout() or HANDSHAKE_S, HANDSHAKE_S))
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """As in SSLSocket."""
        data = super().recv(buflen, flags)
        if buflen and not data:
            self.closed_in_order = True
        return data

    def send(self, data: Any, flags: int = 0) -> int:
        """As in SSLSocket; TLS 1.3 refuses a client's certificate after the handshake, and that is raised then."""
        try:
            return super().send(data, flags)
        except (ssl.SSLEOFError, ConnectionError):
            super().recv(1)
            raise


class ClientContext(ssl.SSLContext):
    """An SSLContext whose sockets are `ClientSocket`s."""

    sslsocket_class = ClientSocket

    def wrap_socket(self, sock: socket.socket, **options: Any) -> ssl.SSLSocket:  # type: ignore[override]
        """As in SSLContext, by keyword; a connection cut short is an error, never a silent end."""
        return super().wrap_socket(sock, **{**options, "suppress_ragged_eofs": False})


def client_context(roots: Sequence[bytes], certificate: Path, key: Path) -> ssl.SSLContext:
    """A TLS 1.3 client context that trusts only `roots` (certificates in DER) and shows `certificate` (PEM files).

    Raises ConfigFault where a credential cannot be used.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        context.load_verify_locations(cadata=b"".join(roots))
    except (ssl.SSLError, ValueError) as error:
        remedy = "put the broker's CA certificate into the trust document"
        raise ConfigFault("broker-ca-unusable", "no usable CA certificate for the broker", remedy=remedy) from error
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        remedy = "enrol the device again, or mend the permissions of the two files"
        detail = f"{certificate} with {key}: {error.strerror or error}"
        raise ConfigFault("credential-unusable", detail, remedy=remedy) from error
    return context
