"""The example configuration is one that the agent takes, and shows every setting there is."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

from medvouch.cli.config import Config, load

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "medvouch.toml"


def test_it_loads() -> None:
    assert load(EXAMPLE).device.serial == "SN-000001"


def test_it_shows_every_setting() -> None:
    document = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))
    shown = dataclasses.asdict(load(EXAMPLE))
    assert document.keys() == {field.name for field in dataclasses.fields(Config)}
    for name, table in shown.items():
        if isinstance(table, dict):
            assert document[name].keys() == table.keys()
