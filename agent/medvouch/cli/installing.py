"""`medvouch installer`: the helper process. Built here and not in `wiring`, which loads what goes to the network."""

from __future__ import annotations

import argparse
import pwd
import socket
from pathlib import Path

from medvouch.adapters.helper import HelperServer, PartsCall, listen
from medvouch.adapters.logs import FileLogs
from medvouch.adapters.service_manager import handed_over, notify
from medvouch.cli.config import Config, load
from medvouch.cli.output import log_to_stderr
from medvouch.errors import ConfigFault, UsageFault

DEFAULT_USER = "medvouch"
DEFAULT_STATE = Path("/var/lib/medvouch-installer")
IDLE_S = 60.0
"""Where the service manager holds the socket, it starts the helper again for the next call."""


def installer(options: argparse.Namespace) -> int:
    """`medvouch installer`: 0 when nobody asked for a while, on a socket that was handed over."""
    log_to_stderr(verbose=False)
    config = load(options.config)
    paths, uid = config.logs, _uid(options.user)
    parts = _parts(config, options.state)
    listener = _listener(options.socket, uid)
    with listener:
        notify("READY=1")
        server = HelperServer(FileLogs(paths.uefi, paths.systemd, paths.ima), uid, parts)
        server.serve(listener, None if options.socket else IDLE_S)
    return 0


def _parts(config: Config, folder: Path) -> PartsCall | None:
    """What answers calls for parts of which there is one, if the agent makes any. Raises ConfigFault."""
    if not config.update.helper:
        return None
    from medvouch.adapters.helper_parts import PartsInstaller  # noqa: PLC0415 - most helpers only read logs
    from medvouch.cli.parts import Nowhere, PartsRunner  # noqa: PLC0415
    from medvouch.cli.trusting import check_agent_trust  # noqa: PLC0415

    runner = PartsRunner.configured(config.update, check_agent_trust(config.trust), folder)
    components = runner.components(Nowhere())
    return PartsInstaller(runner.signers, runner.device, components, folder / "last-sequence").answer


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
