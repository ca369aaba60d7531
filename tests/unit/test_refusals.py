"""Every refusal says what it means for the device, in a sentence, and what a person does next, as a clause."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import medvouch
from medvouch.errors import RefusalKind

KINDS = [
    kind
    for module in pkgutil.walk_packages(medvouch.__path__, "medvouch.")
    if module.name.endswith(".refusals")
    for kind in importlib.import_module(module.name).TABLE.values()
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.code)
def test_a_row_reads_well(kind: RefusalKind) -> None:
    assert kind.code == kind.code.lower()
    assert kind.meaning.endswith(".")
    assert kind.meaning[0].isupper()
    assert not kind.remedy.endswith(".")
    assert kind.remedy[0].islower() or kind.remedy.split()[0].isupper()
