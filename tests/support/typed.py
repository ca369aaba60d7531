"""What documents and help texts tell people to type, held against the parsers: no option that is not there."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from medvouch.cli import main as agent
from medvouch_sim import cli as simulator

CONTINUED = re.compile(r"\\\n\s*")
SEPARATORS = frozenset({"&&", "||", "|", ";"})
BEFORE = frozenset({"!", "sudo"})
REMARK = re.compile(r" {4}\([^)]*\)$", re.MULTILINE)
"""Behind an example in a help text."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Of each program, by its name; they take files that are not there."""
    found = {"medvouch": agent._parser(), "medvouch-sim": simulator._parser()}
    for parser in found.values():
        for _, below in all_parsers(parser):
            for action in below._actions:
                action.type = None
    return found


def all_parsers(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """It and all below it, with the words that lead there."""
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from all_parsers(below)


def parsed(found: dict[str, argparse.ArgumentParser], call: list[str]) -> None:
    """UsageFault where its program does not take it."""
    program, *arguments = call
    if agent._means_quote(arguments):
        arguments[:2] = [agent.VERIFY_QUOTE]
    if arguments[-1:] != ["--help"]:
        found[program].parse_args(arguments)


def typed(script: str) -> Iterator[list[str]]:
    """The words of each call of one of our programs in a shell script, the name of the program first."""
    for line in CONTINUED.sub(" ", script).splitlines():
        if "medvouch" in line:
            yield from _calls(shlex.split(line, comments=True))


def _calls(words: list[str]) -> Iterator[list[str]]:
    call: list[str] = []
    for word in [*words, ";"]:
        if word in SEPARATORS:
            if call and Path(call[0]).name in ("medvouch", "medvouch-sim"):
                yield [Path(call[0]).name, *call[1:]]
            call = []
        elif call or word not in BEFORE:
            call.append(word)


def examples(parser: argparse.ArgumentParser) -> Iterator[list[str]]:
    """Those of a help text."""
    said = (parser.epilog or "").partition("exit codes:")[0]
    yield from typed(REMARK.sub("", said))
