"""One attack of the catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from medvouch.formats.algorithms import HashAlg


@dataclass(frozen=True)
class Attack:
    """One of them, as it is written down."""

    id: str
    kind: str
    code: str
    what: str
    files: Mapping[str, bytes]
    given: Mapping[str, Any] = field(default_factory=dict)
    record: str = ""


def named_pcrs(values: Mapping[HashAlg, Mapping[int, bytes]]) -> bytes:
    named = {bank.label: {str(pcr): value.hex() for pcr, value in pcrs.items()} for bank, pcrs in values.items()}
    return json.dumps(named, indent=1).encode()
