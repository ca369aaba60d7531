"""What an appraiser demands of evidence."""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection


@dataclass(frozen=True)
class Policy:
    """A named set of demands; `selection` are the PCRs that a quote must cover, exactly."""

    id: str
    selection: PcrSelection
    require_secure_boot: bool


STATIC_PCRS = PcrSelection.of({HashAlg.SHA256: range(16)})
"""PCRs 0 to 15, the static root of trust's and the operating system's (TCG PC Client PFP, table 1)."""

RELEASE_POLICY = Policy("medvouch:release:1", STATIC_PCRS, require_secure_boot=True)
"""Every static PCR explained, Secure Boot on, and the boot chain of a signed release."""
