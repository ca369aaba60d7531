"""`make capture`: what boots of the gateway image leave, into firmware_fixtures/captures/, with provenance and verdict.

One gateway is delivered, tampered with and updated; what the collector received is kept. The reference values in the
trust document beside the captures are the predicted ones, of IMA's list as much as these boots ran (the whole list
names every program of the image and would be ten times as long).
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.endorsements import read_certificate, read_ek_chain
from medvouch.attestation.evidence import UnverifiedEvidence
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX
from medvouch.collector.challenging import Outcome
from medvouch.crypto import cose
from medvouch.crypto.keys import PublicKey, load_spki
from medvouch.errors import MedvouchError
from medvouch.formats import ima
from medvouch.formats.hashing import digest
from medvouch.formats.reference import CONTENT_TYPE, ReferenceValues
from medvouch_sim.fixtures import FIXTURES
from medvouch_sim.machine.building import VERSIONS, Release, Workshop, delivered, kernel_name
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.layout import lay_out
from medvouch_sim.machine.prediction import BANK
from medvouch_sim.machine.stand import MODEL, Gateway, Stand, timed
from medvouch_sim.machine.trial import Expected, Verdict, baseline, install_on_esp, judge, reference, update
from medvouch_sim.machine.vm import SECURE_BOOT_OFF
from medvouch_sim.prediction import sign_reference
from medvouch_sim.site import Site, release_signers

CAPTURES = FIXTURES / "captures"
TRUST = "trust.cbor"
PROVENANCE = "capture.json"
PACKAGES = ("linux-image-cloud-amd64", "systemd", "systemd-boot", "dracut", "medvouch-agent")
"""Of the image, beside those of the host that the firmware and the boot loader come from."""


@dataclass(frozen=True)
class Plan:
    """One boot: what is done to the gateway before it, and what must come of it."""

    name: str
    what: str
    prepare: Callable[[Workshop, Gateway, Sequence[Release]], None]
    expected: Expected


def _nothing(_workshop: Workshop, _gateway: Gateway, _releases: Sequence[Release]) -> None:
    pass


def _failed_option(_workshop: Workshop, gateway: Gateway, _releases: Sequence[Release]) -> None:
    gateway.vm.empty_first = True


def _changed_command_line(workshop: Workshop, gateway: Gateway, releases: Sequence[Release]) -> None:
    changed, release = gateway.vm.directory / "changed.efi", releases[0]
    workshop.write_kernel(changed, f"{release.command_line} systemd.debug_shell=1", release.os_release)
    install_on_esp(workshop, gateway, {kernel_name(release): changed})


def _addon(workshop: Workshop, gateway: Gateway, releases: Sequence[Release]) -> None:
    addon, release = gateway.vm.directory / "debug.addon.efi", releases[0]
    workshop.write_addon(addon, "systemd.debug_shell=1")
    beside = f"EFI/Linux/gateway_{release.version}.efi.extra.d/debug.addon.efi"
    install_on_esp(workshop, gateway, {kernel_name(release): release.kernel, beside: addon})


def _secure_boot_off(_workshop: Workshop, gateway: Gateway, _releases: Sequence[Release]) -> None:
    gateway.vm.reset_variables(SECURE_BOOT_OFF)


def _updated(workshop: Workshop, gateway: Gateway, releases: Sequence[Release]) -> None:
    update(workshop, gateway, releases)


PLANS = (
    Plan("delivered", "release 1.0.0 as delivered, Secure Boot on", _nothing, Expected(None)),
    Plan(
        "failed-boot-option",
        "an empty disk stands first in the boot order",
        _failed_option,
        Expected("event-unexpected", "PCR 1, uefi event "),
    ),
    Plan(
        "changed-command-line",
        "a kernel image with one more option, signed by the same key",
        _changed_command_line,
        Expected("event-unexpected", "PCR 4, uefi event "),
    ),
    Plan(
        "uki-addon",
        "a signed add-on beside the kernel image lengthens its command line",
        _addon,
        Expected("event-unexpected", "PCR 4, uefi event "),
    ),
    Plan("secure-boot-off", "firmware without keys", _secure_boot_off, Expected("secure-boot-off", "PCR 7")),
    Plan("updated", "release 1.1.0 in the second slot beside 1.0.0", _updated, Expected(None)),
)


async def capture(target: Path) -> list[Verdict]:
    """All boots, written to `target`."""
    host = Host()
    workshop = Workshop(host)
    source, disk = delivered(workshop)
    releases = [workshop.release(version) for version in VERSIONS]
    with timed("capture: baseline of the firmware, from another machine of the model"):
        recorded = await baseline(host, source, disk)
    both = lay_out([release.root_hash for release in releases])
    values = [reference(workshop, releases[0], disk, recorded), reference(workshop, releases[1], both, recorded)]
    stand = Stand(host, host.work / "capture", values)
    gateway = stand.gateway("captured", source, disk)
    verdicts = []
    async with stand.open([gateway]) as collector:
        for plan in PLANS:
            gateway.vm.empty_first = False
            gateway.vm.reset_variables()
            install_on_esp(workshop, gateway, {kernel_name(releases[0]): releases[0].kernel})
            plan.prepare(workshop, gateway, releases)
            verdict = await judge(collector, gateway, f"capture: {plan.what}", plan.expected)
            verdicts.append(verdict)
            if verdict.outcome is not None:
                _write(target / plan.name, plan, gateway, verdict.outcome, _packages(host))
    write_trust(target, stand.site, values)
    return verdicts


def _packages(host: Host) -> dict[str, str]:
    """Versions of what boots, by package."""
    said = host.run("chroot", host.work / "tree", "dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *PACKAGES)
    return {**host.versions(), **dict(line.split() for line in said.splitlines())}


def _write(folder: Path, plan: Plan, gateway: Gateway, outcome: Outcome, packages: dict[str, str]) -> None:
    evidence = UnverifiedEvidence.parse(outcome.evidence)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with gateway.vm.tpm as tpm, TssTpm(tpm.tcti()) as stack:
        ek_certificate = read_certificate(stack, EK_CERTIFICATE_INDEX)
        (issuer,) = read_ek_chain(stack)
    judged_at, error = outcome.ear.issued_at, outcome.error
    moment = datetime.fromtimestamp(judged_at, UTC).isoformat()
    files = {
        "evidence.cbor": outcome.evidence,
        "uefi.log": evidence.uefi,
        "systemd.log": evidence.systemd or b"",
        "ima.log": evidence.ima or b"",
        "ek.der": ek_certificate,
        "ek-issuer.der": issuer,
        "judged-at": f"{moment}\n".encode(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    document = {
        "what": plan.what,
        "taken_at": moment,
        "command": "make capture",
        "model": MODEL,
        "packages": packages,
        "device": outcome.device,
        "nonce": outcome.nonce.hex(),
        "judged_at": judged_at,
        "expected": {"code": error.code if error else None, "place": error.place if error else None},
        "pcrs": {
            bank.label: {str(pcr): value.hex() for pcr, value in sorted(values.items())}
            for bank, values in evidence.quote.pcrs.items()
        },
    }
    (folder / PROVENANCE).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_trust(target: Path, site: Site, references: Sequence[bytes]) -> None:
    """The site's trust document, with reference values as long as these captures need."""
    seen = {digest(BANK, entry.hashed) for log in target.glob("*/ima.log") for entry in _entries(log)}
    keys = [load_spki(key) for key in site.trust.roles["release"].keys]
    shortened = tuple(_shortened(message, keys, seen) for message in references)
    trust = dataclasses.replace(site.trust, references=shortened)
    (target / TRUST).write_bytes(trust.encode())


def _entries(log: Path) -> Iterable[ima.Entry]:
    return ima.parse_binary(log.read_bytes())


def _shortened(message: bytes, keys: Sequence[PublicKey], seen: set[bytes]) -> bytes:
    verified = cose.verify(message, keys, threshold=len(release_signers()), content_type=CONTENT_TYPE)
    values = ReferenceValues.parse(verified.payload)
    rows = tuple(
        dataclasses.replace(row, events=tuple(e for e in row.events if row.pcr != 10 or e.digests[BANK.label] in seen))
        for row in values.pcrs
    )
    return sign_reference(dataclasses.replace(values, pcrs=rows), *release_signers())


def main() -> int:
    """0 where every verdict is the expected one."""
    started = time.monotonic()
    try:
        verdicts = asyncio.run(capture(CAPTURES))
    except MedvouchError as error:
        print(f"capture: {error}", file=sys.stderr)
        return error.exit_code
    failures = [verdict.failure for verdict in verdicts if verdict.failure]
    for failure in failures:
        print(failure, file=sys.stderr)
    size = sum(path.stat().st_size for path in CAPTURES.rglob("*") if path.is_file())
    print(f"capture: {len(verdicts)} boots, {size >> 10} KiB in {CAPTURES}, {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
