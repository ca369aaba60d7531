"""A gateway's TPM and agent in a process of their own, to be killed: `lone_agent.py CONFIG TPM_STATE`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from medvouch.adapters.tss import TssTpm
from medvouch.cli import wiring
from medvouch.cli.config import load
from medvouch_sim.swtpm import SwTpm


async def main(config: Path, tpm_state: Path) -> None:
    with SwTpm(tpm_state) as chip:
        async with wiring.agent(load(config), tpm=TssTpm(chip.tcti())) as agent:
            await agent.run()


if __name__ == "__main__":
    asyncio.run(main(*map(Path, sys.argv[1:])))
