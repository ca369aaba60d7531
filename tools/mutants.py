"""Switches off every guard in turn, and demands that the test which stands for it turns red (`make mutants`).

    python tools/mutants.py            each guard against its test in tests/guards.toml, and those of its module
    python tools/mutants.py --record   write tests/guards.toml anew: a test that refuses by this guard, for each
    python tools/mutants.py --all      also against every other test that the guard refuses in, and list what turns red
    ... WORD                           only guards with this word in their key

A guard is off in a forked process that has everything imported already, two at a time. Exit 1 where a test stays
green, a guard has no test, or a test that stands for another code of the module turns red too (INEXACT), as does one
that stands for two codes: such a test tries several lies in a row, and is to be one test for each.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, cast

import pytest

import guards

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "guards.toml"
SUITES = (
    (
        "tests/unit/attestation", "tests/unit/crypto", "tests/unit/ledger", "tests/unit/cli", "tests/unit/daemon",
        "tests/unit/collector", "tests/unit/assurance", "tests/integration/ledger", "tests/integration/enrolment",
        "tests/unit/lifecycle", "tests/unit/messages", "tests/integration/site/test_commands.py",
        "tests/integration/site/test_control.py", "tests/integration/site/test_floor.py",
    ),
    (
        "tests/unit/update", "tests/unit/release", "tests/unit/adapters/test_components.py",
        "tests/integration/test_swtpm_sanitisation.py",
        "tests/integration/test_swtpm_csr.py",
        "tests/integration/cli/test_ledger.py", "tests/integration/site/test_decommissioning.py",
        "tests/integration/site/test_updating.py",
        "tests/integration/site/test_places.py", "tests/integration/site/test_rollback.py",
        "tests/unit/adapters/test_efivars.py", "tests/integration/adapters/test_fwupd.py",
        "tests/integration/adapters/test_helper_parts.py", "tests/integration/site/test_consent.py",
        "tests/integration/site/test_data_migration.py", "tests/integration/site/test_parts.py",
        "tests/integration/site/test_staging.py",
    ),
)  # fmt: skip
"""Where the tests of guards are, in two halves."""
LEFT_OUT = ("tests/integration/ledger/test_flips.py",)
OPTIONS = ("-q", "-p", "no:cacheprovider", "--tb=no", "-W", "ignore::pytest.PytestAssertRewriteWarning")
AT_ONCE = 2
TIMEOUT_S = 120
TRIED = 16
"""Tests that a new guard is tried on."""
HEADER = """\
# For each guard the one test that turns red where it is off. Written by `python tools/mutants.py --record`, held to by
# `make mutants`. A guard is MODULE:FUNCTION:CODE, numbered from the second of its code in a function on.
"""


@dataclass
class Ran:
    """What a forked process says of its tests."""

    failed: list[str] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    fired: dict[str, list[str]] = field(default_factory=dict)
    """Guards that refused something, by test."""
    random: list[str] = field(default_factory=list)
    """Tests by hypothesis, which stand for no guard."""
    seconds: dict[str, float] = field(default_factory=dict)


class _Watch:
    """The pytest plugin that fills a `Ran`."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran

    def pytest_runtest_logstart(self) -> None:
        guards.State.fired.clear()

    def pytest_collection_modifyitems(self, items: Sequence[Any]) -> None:
        self.ran.random += [item.nodeid for item in items if getattr(item.function, "is_hypothesis_test", False)]

    def pytest_runtest_logreport(self, report: Any) -> None:
        seconds = self.ran.seconds
        seconds[report.nodeid] = seconds.get(report.nodeid, 0) + report.duration
        if report.failed and report.nodeid not in self.ran.failed:
            self.ran.failed.append(report.nodeid)
        elif report.when == "call" and report.passed:
            self.ran.passed.append(report.nodeid)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.ran.fired[nodeid] = sorted(guards.State.fired)


def run_tests(arguments: Sequence[str], off: str | None) -> Ran:
    """Run these tests in this process, with one guard off."""
    guards.State.off, ran = off, Ran()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pytest.main([*OPTIONS, *arguments], plugins=[_Watch(ran)])
    return ran


@dataclass
class Job:
    """Tests to run with a guard off; `ran` is None where they did not end."""

    arguments: Sequence[str]
    off: str | None = None
    ran: Ran | None = None
    timeout_s: float = TIMEOUT_S
    endless: bool = False
    """It was ended after `timeout_s`."""


def run_jobs(jobs: Sequence[Job], done: Callable[[Job], None]) -> None:
    """Each job in a process of its own, `AT_ONCE` at a time."""
    fork = multiprocessing.get_context("fork")
    waiting, running = list(reversed(jobs)), dict["Connection[Any, Any]", tuple[Job, Any, float]]()
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            job = waiting.pop()
            receiver, sender = fork.Pipe(duplex=False)
            process = fork.Process(target=_child, args=(sender, job))
            process.start()
            sender.close()
            running[receiver] = job, process, time.monotonic() + job.timeout_s
        for ready in wait(list(running), timeout=1):
            receiver = cast("Connection[Any, Any]", ready)
            job, process, _ = running.pop(receiver)
            with contextlib.suppress(EOFError):
                job.ran = receiver.recv()
            process.join()
            done(job)
        for receiver, (job, process, until) in list(running.items()):
            if time.monotonic() > until:
                process.kill()
                process.join()
                job.endless = True
                del running[receiver]
                done(job)


def _child(sender: Connection[Any, Any], job: Job) -> None:
    sender.send(run_tests(job.arguments, job.off))
    sender.close()
    sys.stdout.flush()
    os._exit(0)


def read_table() -> dict[str, str]:
    """Guard to test, as it is written down."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8")) if TABLE.exists() else {}


def write_table(table: Mapping[str, str]) -> None:
    """Write it down, one line a guard."""
    lines = (f"{json.dumps(guard)} = {json.dumps(test)}\n" for guard, test in sorted(table.items()))
    TABLE.write_text(HEADER + "".join(lines), encoding="utf-8")


# --- which test stands for a guard -----------------------------------------------------------------------------------


def record() -> Ran:
    """Run all suites with every guard on, and see what refuses where."""
    left_out = [f"--ignore={path}" for path in LEFT_OUT]
    jobs = [Job([*suite, *left_out], timeout_s=1800) for suite in SUITES]
    run_jobs(jobs, lambda job: print(f"  ran {' '.join(job.arguments[:4])} ..."))
    whole = Ran()
    for job in jobs:
        if job.ran is None:
            sys.exit("with all guards on there are tests that do not end")
        for test in job.ran.failed:
            print(f"  fails with all guards on, and so stands for none: {test}")
            job.ran.fired.pop(test, None)
        whole.fired.update(job.ran.fired)
        whole.random += job.ran.random
        whole.seconds.update(job.ran.seconds)
    return whole


def candidates(ran: Ran) -> dict[str, list[str]]:
    """By guard the tests in which it refuses, the best one first.

    Best is where little else refuses, in the tests of the guard's own module, at little cost, with the code as its id.
    """
    found: dict[str, list[str]] = {}
    for test, fired in ran.fired.items():
        if test not in ran.random and "\\" not in test:  # an id of random bytes is another one each time
            for guard in fired:
                found.setdefault(guard, []).append(test)
    for guard, tests in found.items():
        package, module = guard.partition(":")[0].split(".")[-2:]
        code = guard.rpartition(":")[2].partition("#")[0]

        def cost(test: str, package: str = package, module: str = module, code: str = code) -> tuple[Any, ...]:
            slow = ran.seconds.get(test, 0) > 1
            return (
                len(ran.fired[test]), slow, f"/{package}/" not in test, f"test_{module}.py" not in test,
                code not in test, len(test), test,
            )  # fmt: skip

        tests.sort(key=cost)
    return found


def choose(
    wanted: Sequence[guards.Found], found: Mapping[str, Sequence[str]], kept: Mapping[str, str]
) -> dict[str, str]:
    """Guard to test: the one that is written down where it still refuses there, else the best that does turn red."""
    table = {g.key: kept[g.key] for g in wanted if kept.get(g.key) in found.get(g.key, ())}
    jobs = [Job(found[g.key][:TRIED], g.key) for g in wanted if g.key not in table and g.key in found]

    def ended(job: Job) -> None:
        failed = job.ran.failed if job.ran else ()
        proven = [test for test in job.arguments if test in failed]
        print(f"  {job.off}: {proven[0] if proven else 'nothing turns red'}", flush=True)
        if job.off and proven:
            table[job.off] = proven[0]

    run_jobs(jobs, ended)
    return table


# --- judging ---------------------------------------------------------------------------------------------------------


@dataclass
class Verdict:
    """How the tests took it that a guard was off."""

    guard: guards.Found
    red: bool
    inexact: Sequence[str]
    """Tests for other codes of the same module that turned red as well."""
    others: Sequence[str]
    """What else turned red."""


def judge(guard: guards.Found, job: Job, table: Mapping[str, str], by_key: Mapping[str, guards.Found]) -> Verdict:
    """Whether its own test turned red, for want of this guard, and which others did."""
    own = table[guard.key]
    if job.ran is None:
        return Verdict(guard, job.endless, (), ("(did not end)",))
    failed = job.ran.failed
    red = own in failed and guard.key in job.ran.fired.get(own, ())
    stand_for: dict[str, list[guards.Found]] = {}
    for key, test in table.items():
        if key in by_key:
            stand_for.setdefault(test, []).append(by_key[key])
    inexact = [
        test
        for test in failed
        if test != own
        and any(other.module == guard.module for other in stand_for.get(test, ()))
        and all(other.code != guard.code for other in stand_for[test])
    ]
    return Verdict(guard, red, inexact, [test for test in failed if test not in (own, *inexact)])


def run_mutants(wanted: Sequence[guards.Found], table: Mapping[str, str], also: Mapping[str, Sequence[str]]) -> int:
    """Every guard off in turn; the exit code."""
    by_key = {guard.key: guard for guard in guards.guards()}
    started, bad, inexact, done = time.monotonic(), control(wanted, table), list[str](), 0
    jobs = [Job(_to_run(guard, table, also.get(guard.key, ()), by_key), guard.key) for guard in wanted]

    def ended(job: Job) -> None:
        nonlocal done
        assert job.off is not None
        verdict, done = judge(by_key[job.off], job, table, by_key), done + 1
        word = "red" if verdict.red and not verdict.inexact else "INEXACT" if verdict.red else "GREEN"
        if not verdict.red:
            bad.append(job.off)
        elif verdict.inexact:
            inexact.append(job.off)
        print(f"{done:4}/{len(jobs)}  {word:7}  {job.off}", flush=True)
        for test in verdict.inexact:
            print(f"                     also red: {test}")
        if verdict.others and "--all" in sys.argv:
            print(f"                     and {len(verdict.others)} more")

    run_jobs(jobs, ended)
    codes = len({guard.code for guard in wanted})
    seconds = time.monotonic() - started
    print(f"{len(jobs)} guards of {codes} codes in {seconds:.0f} s, {len(bad)} of them not shown by their test;")
    print(f"with {len(inexact)} of them a test of another code turned red as well")
    return 1 if bad or inexact else 0


def _to_run(
    guard: guards.Found, table: Mapping[str, str], also: Sequence[str], by_key: Mapping[str, guards.Found]
) -> list[str]:
    """Its own test, those that stand for other guards of the module, and what is asked for."""
    beside = [test for key, test in table.items() if key in by_key and by_key[key].module == guard.module]
    return list(dict.fromkeys([table[guard.key], *beside, *also]))


def control(wanted: Sequence[guards.Found], table: Mapping[str, str]) -> list[str]:
    """Tests that fail with every guard on, and so show nothing of one that is off."""
    tests = sorted({table[guard.key] for guard in wanted})
    halves = [Job(half, timeout_s=600) for half in (tests[::2], tests[1::2]) if half]
    run_jobs(halves, lambda _: None)
    failed = [test for half in halves for test in half.arguments if half.ran is None or test not in half.ran.passed]
    for test in failed:
        print(f"           FAILS    with all guards on: {test}", flush=True)
    return failed


def shared(table: Mapping[str, str]) -> dict[str, set[str]]:
    """Tests that stand for guards of more than one code, and these: red, they do not say which check is gone."""
    codes: dict[str, set[str]] = {}
    for key, test in table.items():
        codes.setdefault(test, set()).add(key.rpartition(":")[2].partition("#")[0])
    return {test: found for test, found in codes.items() if len(found) > 1}


def missing(wanted: Iterable[guards.Found], table: Mapping[str, str]) -> list[str]:
    """Guards that no test stands for."""
    return [f"{guard.key} (line {guard.line})" for guard in wanted if guard.key not in table]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("word", nargs="?", default="")
    options = parser.parse_args()
    os.chdir(ROOT)
    _import_everything()
    table, also = read_table(), dict[str, Sequence[str]]()
    everything = guards.guards()
    if options.record or options.all:
        found = candidates(record())
        if options.record:
            table = choose(everything, found, table)
            write_table(table)
        also = dict(found) if options.all else {}
    wanted = [guard for guard in everything if options.word in guard.key]
    if untested := missing(wanted, table):
        print("no test stands for:", *untested, sep="\n  ")
    stale = sorted(table.keys() - {guard.key for guard in everything})
    if stale:
        print("no such guards any more:", *stale, sep="\n  ")
    if several := shared(table):
        print("tests that stand for several codes:", *sorted(several), sep="\n  ")
    if options.record and not options.all:
        return 1 if untested or several else 0
    tested = [guard for guard in wanted if guard.key in table]
    return run_mutants(tested, table, also) or (1 if untested or stale or several else 0)


def _import_everything() -> None:
    """So that what is forked has it; medvouch with its guards named, before anything else imports it."""
    for folder in ("agent", "simulator", "tests"):
        sys.path.insert(0, str(ROOT / folder))
    guards.install()
    for module in ("tuf.api.metadata", "medvouch.cli.main", "medvouch_sim.site"):
        import_module(module)


if __name__ == "__main__":
    sys.exit(main())
