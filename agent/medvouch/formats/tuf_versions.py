"""How far a TUF repository has come, as an NV index of the TPM remembers it (DESIGN §7).

    offset  size  contents
    0       8     version of root
    8       8     version of targets
    16      8     version of snapshot

All big-endian. A version that does not fit counts as the highest that does: nothing above it is told apart.
"""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.errors import InputError

VERSION_BYTES = 8
VERSIONS_BYTES = 3 * VERSION_BYTES
_MAX = 2 ** (8 * VERSION_BYTES) - 1


@dataclass(frozen=True)
class Versions:
    """Of root, targets and snapshot; 0: none was seen yet."""

    root: int = 0
    targets: int = 0
    snapshot: int = 0

    def encode(self) -> bytes:
        """VERSIONS_BYTES."""
        versions = (self.root, self.targets, self.snapshot)
        return b"".join(min(version, _MAX).to_bytes(VERSION_BYTES, "big") for version in versions)

    @classmethod
    def parse(cls, data: bytes) -> Versions:
        """The inverse; InputError `versions-malformed` where it has another length."""
        if len(data) != VERSIONS_BYTES:
            raise InputError("versions-malformed", f"{len(data)} bytes where versions have {VERSIONS_BYTES}")
        steps = range(0, VERSIONS_BYTES, VERSION_BYTES)
        return cls(*(int.from_bytes(data[at : at + VERSION_BYTES], "big") for at in steps))


NONE_SEEN = Versions()
