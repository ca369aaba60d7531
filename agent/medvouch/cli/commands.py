"""The commands, one function each: options in, exit code out."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from medvouch.adapters.control import ControlClient
from medvouch.adapters.files import read_bounded, write_durably
from medvouch.adapters.service_manager import keep_watchdog, notify
from medvouch.adapters.tls import client_context
from medvouch.attestation.evidence import MAX_EVIDENCE_BYTES
from medvouch.cli.config import Config, as_plain, load
from medvouch.cli.inspecting import KINDS, advice
from medvouch.cli.ledgering import inspect_ledger
from medvouch.cli.output import aligned, flatten, log_to_stderr, show
from medvouch.cli.parsing import judged_at, part
from medvouch.cli.trusting import check_agent_trust, read_trust
from medvouch.cli.updating import consent_line, update_line
from medvouch.errors import ConfigFault, InputError
from medvouch.formats.ledger import MAX_BUNDLE_BYTES, Bundle

if TYPE_CHECKING:
    from medvouch.daemon.agent import Agent

log = logging.getLogger(__name__)

MAX_FILE_BYTES = max(MAX_EVIDENCE_BYTES, MAX_BUNDLE_BYTES)


def run(options: argparse.Namespace) -> int:
    """`medvouch run`: 0 when it was told to stop."""
    log_to_stderr(verbose=options.verbose)
    asyncio.run(_serve(options.config))
    return 0


async def _serve(path: Path) -> None:
    with part("agent"):
        from medvouch.cli import wiring  # noqa: PLC0415 - all else works in the base install
    config = load(path)
    serving = asyncio.current_task()
    assert serving is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, serving.cancel)
    try:
        async with wiring.agent(config) as agent, wiring.control_server(config, agent):
            await _announced(agent)
    except asyncio.CancelledError:
        log.info("stopped")


async def _announced(agent: Agent) -> None:
    """Run it, known to the service manager as ready: enrolment may wait for the broker as long as it takes."""
    notify("READY=1")
    watchdog = asyncio.create_task(keep_watchdog())
    try:
        await agent.run()
    finally:
        watchdog.cancel()
        notify("STOPPING=1")


def status(options: argparse.Namespace) -> int:
    """`medvouch status`: 0 where all is well, else the exit code of the first problem."""
    config = load(options.config)
    document = ControlClient(config.control_socket).call("status")
    problems = document["problems"]
    verdict = document["attestation"]
    shown = {
        **document,
        "attestation": verdict["status"] if verdict else "never judged",
        "update": update_line(document["update"]),
        "consent": consent_line(document["consent"]),
        "problems": None,
    }
    lines = aligned(shown)
    lines += [f"{p['component']}: {p['code']}: {p['detail']}; {p['remedy']}" for p in problems]
    show(document, lines, as_json=options.json)
    return int(problems[0]["exit_code"]) if problems else 0


def doctor(options: argparse.Namespace) -> int:
    """`medvouch doctor`: 0 where all is well, else the exit code of the first problem."""
    from medvouch.cli import doctoring  # noqa: PLC0415 - much code that the running agent does without

    return doctoring.doctor(options)


def attest(options: argparse.Namespace) -> int:
    """`medvouch attest`."""
    config = load(options.config)
    appraiser = options.appraiser or read_trust(config.trust).appraiser
    answer = ControlClient(config.control_socket).call("attest", nonce=options.nonce.hex(), appraiser=appraiser)
    evidence = bytes.fromhex(answer["evidence"])
    write_durably(options.out, evidence)
    document = {"file": str(options.out), "bytes": len(evidence), "appraiser": appraiser}
    show(document, [f"{len(evidence)} bytes of evidence for {appraiser} in {options.out}"], as_json=options.json)
    return 0


def verify(options: argparse.Namespace) -> int:
    """`medvouch verify`: 0 affirming, or a ledger that holds; 1 anything else."""
    from medvouch.cli.judging import basis  # noqa: PLC0415 - much code that the running agent does without
    from medvouch.cli.verifying import verify_file  # noqa: PLC0415 - likewise

    data = read_bounded(options.file, MAX_FILE_BYTES)
    trust = read_trust(options.trust)
    at = judged_at(options)
    document, lines = verify_file(data, trust, nonce=options.nonce, device=options.device, at=at, basis=basis(options))
    show(document, lines, as_json=options.json)
    return 0 if document["status"] in {"affirming", "holds"} else 1


def verify_quote(options: argparse.Namespace) -> int:
    """`medvouch verify quote`: 0 where it holds, 1 where it does not."""
    from medvouch.cli import quoting  # noqa: PLC0415 - as above

    return quoting.verify(options)


def explain(options: argparse.Namespace) -> int:
    """`medvouch explain`: 0 affirming, 1 anything else."""
    from medvouch.cli import explaining, explanation_page  # noqa: PLC0415 - as above
    from medvouch.cli.judging import basis  # noqa: PLC0415
    from medvouch.cli.verifying import explain_evidence  # noqa: PLC0415

    data, trust = read_bounded(options.file, MAX_EVIDENCE_BYTES), read_trust(options.trust)
    at = judged_at(options)
    explained = explain_evidence(data, trust, nonce=options.nonce, device=options.device, at=at, basis=basis(options))
    if options.html is not None:
        write_durably(options.html, explanation_page.explanation_page(explained).encode())
    show(explaining.document(explained), explaining.lines(explained), as_json=options.json)
    return 0 if explained.affirming else 1


def ledger_show(options: argparse.Namespace) -> int:
    """`medvouch ledger show`: what it says, nothing of it checked."""
    data = read_bounded(options.file, MAX_BUNDLE_BYTES) if options.file else _exported(options)
    try:
        document, lines = inspect_ledger(data)
    except InputError as error:
        detail, remedy = f"{options.file or 'of the agent'}: {error.detail}", advice(data, "ledger")
        raise InputError(error.code, detail, place=error.place, remedy=remedy) from error
    show(document, [*lines, "", "read, not checked: see `medvouch ledger verify`"], as_json=options.json)
    return 0


def ledger_verify(options: argparse.Namespace) -> int:
    """`medvouch ledger verify`: 0 where it holds, 1 where it does not."""
    from medvouch.cli.verifying import verify_ledger  # noqa: PLC0415 - as above

    data, trust = read_bounded(options.file, MAX_BUNDLE_BYTES), read_trust(options.trust)
    at = judged_at(options)
    document, lines = verify_ledger(data, trust, device=options.device, at=at)
    show(document, lines, as_json=options.json)
    return 0 if document["status"] == "holds" else 1


def ledger_lineage(options: argparse.Namespace) -> int:
    """`medvouch ledger lineage`."""
    from medvouch.cli.tracing import lineage  # noqa: PLC0415 - as above

    return lineage(options)


def ledger_remediation(options: argparse.Namespace) -> int:
    """`medvouch ledger remediation`."""
    from medvouch.cli.remediating import remediation  # noqa: PLC0415 - as above

    return remediation(options)


def ledger_export(options: argparse.Namespace) -> int:
    """`medvouch ledger export`."""
    data = _exported(options)
    bundle = Bundle.parse(data)
    write_durably(options.out, data)
    document = {
        "file": str(options.out),
        "bytes": len(data),
        "device": bundle.device,
        "entries": len(bundle.entries),
        "checkpoints": len(bundle.checkpoints),
    }
    what = f"{len(bundle.entries)} entries and {len(bundle.checkpoints)} checkpoints"
    show(document, [f"{what} of {bundle.device} in {options.out}"], as_json=options.json)
    return 0


def _exported(options: argparse.Namespace) -> bytes:
    """What the running agent exports."""
    return bytes.fromhex(ControlClient(load(options.config).control_socket).call("ledger")["bundle"])


def inspect(options: argparse.Namespace) -> int:
    """`medvouch inspect`."""
    data = read_bounded(options.file, MAX_FILE_BYTES)
    try:
        document, lines = KINDS[options.kind].inspect(data)
    except InputError as error:
        detail, remedy = f"{options.file}: {error.detail}", advice(data, options.kind)
        raise InputError(error.code, detail, place=error.place, remedy=remedy) from error
    show(document, lines, as_json=options.json)
    return 0


def config(options: argparse.Namespace) -> int:
    """`medvouch config check|show`."""
    settings = load(options.config)
    if options.action == "check":
        _check(settings)
        show({"file": str(options.config), "ok": True}, [f"{options.config} is fine"], as_json=options.json)
    else:
        plain = as_plain(settings)
        show(plain, aligned(flatten(plain)), as_json=options.json)
    return 0


def _check(settings: Config) -> None:
    """What can be checked without touching TPM or network: the files that the configuration names."""
    trust, bootstrap = check_agent_trust(settings.trust), settings.enrolment
    for path in (bootstrap.certificate, bootstrap.key):
        if not path.is_file():
            remedy = "install the bootstrap credential of this device there"
            raise ConfigFault("credential-missing", f"{path} does not exist", remedy=remedy)
    client_context(trust.certificates["broker-ca"], bootstrap.certificate, bootstrap.key)
