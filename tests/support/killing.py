"""A command that is killed (SIGKILL) just before its n-th fsync or rename, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import medvouch

_PROGRAM = """
import json, os, pathlib, signal, sys, time

from medvouch.cli import rolling_out
from medvouch.cli.main import main

def counting(step, left):
    def call(*arguments, **options):
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return step(*arguments, **options)
    return call

def child(number, arguments):
    left = [number]
    os.fsync = counting(os.fsync, left)
    pathlib.Path.replace = counting(pathlib.Path.replace, left)
    sys.stdout = open(os.devnull, "w")
    os._exit(main(arguments))

now, calls = json.load(sys.stdin)
time.time = lambda: now
for number, arguments in calls:
    if not (pid := os.fork()):
        child(number, arguments)
    end = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if end != -signal.SIGKILL:
        break
print(json.dumps([number, end]))
"""


def killed(points: Iterable[int], arguments: Callable[[int], Sequence[object]], now: int) -> int:
    """How many of `points` (from 0) the command can be killed at: it goes through where there is nothing left to do.

    `now` is the time that it sees (s since 1970).
    """
    calls = [(number, [str(word) for word in arguments(number)]) for number in points]
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM], input=json.dumps([now, calls]), capture_output=True, text=True, check=True,
        timeout=120, env=os.environ | {"PYTHONPATH": str(Path(medvouch.__file__).parents[1])},
    )  # fmt: skip
    count, end = json.loads(ran.stdout)
    assert end == 0, ran.stderr
    return int(count)
