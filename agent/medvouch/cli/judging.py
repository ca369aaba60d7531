"""What the command line says to judge by: a policy, and releases beside those of the trust document."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

from medvouch.adapters.files import read_bounded
from medvouch.attestation.policy import Policy, parse_policy, shipped
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.cli.verifying import Basis
from medvouch.errors import ConfigFault, InputError, StorageFault
from medvouch.formats.suit import MAX_ENVELOPE_BYTES

MAX_POLICY_BYTES = 1 << 20


def basis(options: argparse.Namespace) -> Basis:
    """Of `--policy` and `--release`. Raises ConfigFault `policy-unusable`, StorageFault."""
    releases = tuple(read_bounded(path, MAX_ENVELOPE_BYTES) for path in options.release)
    return Basis(read_policy(options.policy), releases)


def read_policy(name: str) -> Policy:
    """One that comes with medvouch, by its name, or one in a file, which may include those and its neighbours.

    A neighbour is NAME.toml beside it. Raises ConfigFault `policy-unusable`.
    """
    if name in SHIPPED:
        return shipped(name)
    path = Path(name)
    try:
        return parse_policy(_text(path), _Library(path.parent))
    except (InputError, StorageFault) as error:
        remedy = f"name a policy file, or one of {', '.join(sorted(SHIPPED))}"
        raise ConfigFault("policy-unusable", f"{path}: {error.detail}", place=error.place, remedy=remedy) from error


class _Library(Mapping[str, str]):
    """What comes with medvouch, and beside it NAME.toml of a folder, each read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self._paths = {path.stem: path for path in folder.glob("*.toml")}

    def __getitem__(self, name: str) -> str:
        return SHIPPED[name] if name in SHIPPED else _text(self._paths[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths.keys() | SHIPPED.keys())

    def __len__(self) -> int:
        return len(self._paths.keys() | SHIPPED.keys())


def _text(path: Path) -> str:
    return read_bounded(path, MAX_POLICY_BYTES).decode("utf-8", "replace")
