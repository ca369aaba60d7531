"""The TUF versions that this device has seen, where no disk that is put back to an older state undoes them: in the TPM.

What is written is few: only what has changed, after the files (DESIGN §7). Where the TPM puts the write off for longer
than its adapter waits, the look at the repository is held up and not failed.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from medvouch.attestation.provisioning import TUF_VERSIONS
from medvouch.daemon.worker import Worker
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.tuf_versions import NONE_SEEN, Versions
from medvouch.ports import Tpm

log = logging.getLogger(__name__)

NAME = "tuf-versions"
"""Of the index, in what enrolment agrees on."""


@dataclass(frozen=True)
class VersionMemory:
    """The index of one device; one that was enrolled before there was such an index has no memory but its disk's."""

    tpm: Tpm
    worker: Worker
    identity: DeviceIdentity

    async def floor(self) -> Versions:
        """Below which no repository is believed. Raises TpmFault, also where the index is gone."""
        if NAME not in self.identity.nv_auths:
            log.warning("enrolled without an index for TUF versions: a disk put back to an older state is not noticed")
            return NONE_SEEN
        return await self.worker.run(lambda: Versions.parse(self._read()))

    async def keep(self, versions: Versions) -> None:
        """What a refresh has verified, its files already durable. Raises TpmFault."""
        if NAME in self.identity.nv_auths:
            await self.worker.run(lambda: self._keep(versions.encode()))

    def _read(self) -> bytes:
        return self.tpm.nv_read(TUF_VERSIONS, self.identity.nv_auths[NAME])

    def _keep(self, versions: bytes) -> None:
        if versions != self._read():
            self.tpm.nv_write(TUF_VERSIONS, self.identity.nv_auths[NAME], versions)
