"""`make image-smoke`: the image boots, enrols and proves itself; then it is tampered with, and that is named."""

from __future__ import annotations

import asyncio
import sys
import time

from medvouch.errors import MedvouchError
from medvouch_sim.machine.building import VERSIONS, Workshop, delivered, kernel_name
from medvouch_sim.machine.host import Host
from medvouch_sim.machine.stand import Stand, timed
from medvouch_sim.machine.trial import Expected, Verdict, alter_block, baseline, install_on_esp, judge, reference


async def smoke() -> list[Verdict]:
    """One gateway, delivered and then tampered with."""
    host = Host()
    workshop = Workshop(host)
    source, disk = delivered(workshop)
    release = workshop.release(VERSIONS[0])
    with timed("smoke: baseline of the firmware, from another machine of the model"):
        recorded = await baseline(host, source, disk)
    values = reference(workshop, release, disk, recorded)
    stand = Stand(host, host.work / "smoke", [values])
    gateway = stand.gateway("gateway", source, disk)
    verdicts = []
    async with stand.open([gateway]) as collector:
        verdicts.append(await judge(collector, gateway, "smoke: as delivered", Expected(None)))
        changed = gateway.vm.directory / "changed.efi"
        workshop.write_kernel(changed, f"{release.command_line} systemd.debug_shell=1", release.os_release)
        install_on_esp(workshop, gateway, {kernel_name(release): changed})
        named = Expected("event-unexpected", "PCR 4, uefi event ")
        verdicts.append(await judge(collector, gateway, "smoke: with a changed command line", named))
        install_on_esp(workshop, gateway, {kernel_name(release): release.kernel})
        block = alter_block(host, gateway, release)
        what = f"smoke: with one bit of block {block} of the root flipped"
        verdicts.append(await judge(collector, gateway, what, Expected("no-evidence", names="verity")))
    return verdicts


def main() -> int:
    """0 where every verdict is the expected one."""
    started = time.monotonic()
    try:
        verdicts = asyncio.run(smoke())
    except MedvouchError as error:
        print(f"smoke: {error}", file=sys.stderr)
        return error.exit_code
    failures = [verdict.failure for verdict in verdicts if verdict.failure]
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"smoke: {'FAILED' if failures else 'all verdicts as expected'}, {time.monotonic() - started:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
