"""`medvouch installer`: the helper process. Built here and not in `wiring`, which loads what goes to the network."""

from __future__ import annotations

import argparse
import pwd
import socket
from pathlib import Path

from medvouch.adapters.helper import HelperServer, listen
from medvouch.adapters.logs import FileLogs
from medvouch.adapters.service_manager import handed_over, notify
from medvouch.cli.config import load
from medvouch.cli.output import log_to_stderr
from medvouch.errors import ConfigFault, UsageFault

DEFAULT_USER = "medvouch"
IDLE_S = 60.0
"""Where the service manager holds the socket, it starts the helper again for the next call."""


def installer(options: argparse.Namespace) -> int:
    """`medvouch installer`: 0 when nobody asked for a while, on a socket that was handed over."""
    log_to_stderr(verbose=False)
    paths = load(options.config).logs
    uid = _uid(options.user)
    listener = _listener(options.socket, uid)
    with listener:
        notify("READY=1")
        server = HelperServer(FileLogs(paths.uefi, paths.systemd, paths.ima), uid)
        server.serve(listener, None if options.socket else IDLE_S)
    return 0


def _uid(user: str) -> int:
    try:
        return pwd.getpwnam(user).pw_uid
    except KeyError:
        remedy = "name the agent's user with --user, or create it: systemd-sysusers medvouch.conf"
        raise ConfigFault("user-unknown", f"there is no user {user!r}", remedy=remedy) from None


def _listener(path: Path | None, uid: int) -> socket.socket:
    if path is not None:
        return listen(path, uid)
    listener = handed_over()
    if listener is None:
        detail = "no socket was handed over"
        raise UsageFault("usage", detail, remedy="start medvouch-installer.socket, or name one with --socket PATH")
    return listener
