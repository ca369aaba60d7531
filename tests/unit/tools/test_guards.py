"""Guards are found in the source and named in what runs; each has its test written down, and that test is there."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import guards
import mutants

ROOT = Path(__file__).resolve().parents[3]
FOUND = guards.guards()
SOURCE = """
from medvouch.crypto import refusals
from medvouch.crypto.refusals import COSE_ALGORITHM
from medvouch.errors import Refusal

def plain(bad):
    if bad:
        raise Refusal(refusals.COSE_CONTENT_TYPE, "one")
    return "passed"

def twice(bad):
    kind = refusals.COSE_CONTENT_TYPE
    if bad == 1:
        raise Refusal(kind, "one")
    if bad == 2:
        raise Refusal(kind, "two")
    return kind.code

def helped(bad):
    if bad:
        raise _made("three")
    return "passed"

def _made(detail) -> Refusal:
    return Refusal(COSE_ALGORITHM, detail)

def passed_on(bad):
    _check(bad, COSE_ALGORITHM)
    return "passed"

def _check(bad, otherwise):
    if bad:
        raise Refusal(otherwise, "four")

def returned(bad) -> Refusal | None:
    return Refusal(COSE_ALGORITHM, "five") if bad else None

def yielded(bad) -> Iterator[Refusal]:
    if bad:
        yield Refusal(COSE_ALGORITHM, "six")

def handed(bad):
    passed = []
    if bad:
        passed.append(Refusal(COSE_ALGORITHM, "eight"))
    return passed

class Nested:
    def method(self, bad):
        if bad:
            raise Refusal(refusals.COSE_CRITICAL_HEADER, "seven")
        return "passed"
"""


def test_each_use_of_a_row_is_a_guard() -> None:
    _, found = guards._instrumented("medvouch.sample", SOURCE)
    assert [guard.key for guard in found] == [
        "sample:plain:cose-content-type",
        "sample:twice:cose-content-type",
        "sample:twice:cose-content-type#2",
        "sample:helped:cose-algorithm",
        "sample:passed_on:cose-algorithm",
        "sample:returned:cose-algorithm",
        "sample:yielded:cose-algorithm",
        "sample:handed:cose-algorithm",
        "sample:Nested.method:cose-critical-header",
    ]


RUN = f"""
import sys
sys.path[:0] = {[str(ROOT / "agent"), str(ROOT / "tools")]}
import guards
guards.install()
from medvouch.errors import Refusal
from collections.abc import Iterator
tree, _ = guards._instrumented("medvouch.sample", {SOURCE!r})
names = {{"_guards_": guards, "Iterator": Iterator}}
exec(compile(tree, "sample", "exec"), names)

def outcome(call, *arguments):
    try:
        return call(*arguments)
    except Refusal as refused:
        return f"{{refused.code}} {{refused.detail}} {{refused.kind is names['refusals'].TABLE[refused.code]}}"

def off(guard, name, *arguments):
    guards.State.off, guards.State.fired = guard, set()
    call = names["Nested"]().method if name == "Nested" else names[name]
    made = outcome(call, *arguments)
    made = [each.detail for each in made] if name in ("yielded", "handed") else made
    print(made.detail if isinstance(made, Refusal) else made, sorted(guards.State.fired))

for name, key in (("plain", "plain:cose-content-type"), ("helped", "helped:cose-algorithm"),
                  ("passed_on", "passed_on:cose-algorithm"), ("returned", "returned:cose-algorithm"),
                  ("yielded", "yielded:cose-algorithm"), ("handed", "handed:cose-algorithm"),
                  ("Nested", "Nested.method:cose-critical-header")):
    off(None, name, True)
    off(f"sample:{{key}}", name, True)
off("sample:twice:cose-content-type", "twice", 1)
off("sample:twice:cose-content-type", "twice", 2)
"""

EXPECTED = """\
cose-content-type one True ['sample:plain:cose-content-type']
passed ['sample:plain:cose-content-type']
cose-algorithm three True ['sample:helped:cose-algorithm']
passed ['sample:helped:cose-algorithm']
cose-algorithm four True ['sample:passed_on:cose-algorithm']
passed ['sample:passed_on:cose-algorithm']
five ['sample:returned:cose-algorithm']
None ['sample:returned:cose-algorithm']
['six'] ['sample:yielded:cose-algorithm']
[] ['sample:yielded:cose-algorithm']
['eight'] ['sample:handed:cose-algorithm']
[] ['sample:handed:cose-algorithm']
cose-critical-header seven True ['sample:Nested.method:cose-critical-header']
passed ['sample:Nested.method:cose-critical-header']
cose-content-type ['sample:twice:cose-content-type']
cose-content-type two True ['sample:twice:cose-content-type#2']
"""


def test_a_guard_that_is_off_refuses_nothing_and_no_other_one_changes() -> None:
    run = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == (EXPECTED, "")


def test_guards_are_named_before_anything_is_imported() -> None:
    import_module("medvouch.crypto.refusals")
    with pytest.raises(AssertionError, match=r"medvouch\.crypto"):
        guards.install()


def test_every_code_has_a_guard() -> None:
    assert guards.codes() - {guard.code for guard in FOUND} == set()


def test_every_guard_has_its_test_written_down() -> None:
    """Where this fails: write a test in which the new guard refuses, then `python tools/mutants.py --record`."""
    table = mutants.read_table()
    assert mutants.missing(FOUND, table) == []
    assert sorted(table.keys() - {guard.key for guard in FOUND}) == []
    for test in table.values():
        path, _, name = test.partition("::")
        assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in (ROOT / path).read_text(), test


def test_a_test_stands_for_one_code() -> None:
    """Where this fails: give each lie a test of its own, then `python tools/mutants.py --record`."""
    assert mutants.shared(mutants.read_table()) == {}
    two = {"m:f:one": "test", "m:g:one#2": "test", "m:f:two": "other", "m:g:one": "other"}
    assert mutants.shared(two) == {"other": {"one", "two"}}


def test_there_are_enough_of_them() -> None:
    codes = {table: {guard.code for guard in FOUND if guard.table == table} for table in guards.TABLES}
    assert len(codes["attestation"] | codes["crypto"]) >= 80
    assert len(codes["update"]) >= 25
