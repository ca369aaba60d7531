"""Versions of releases: numbers with dots, compared number by number."""

from __future__ import annotations

import re

from medvouch.errors import InputError
from medvouch.formats.suit_commands import MAX_VERSION_PARTS

_VERSION = re.compile(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))*")


def parse_version(text: str) -> tuple[int, ...]:
    """The numbers of a version like 1.10.0; InputError `version-malformed` where it is none."""
    if not _VERSION.fullmatch(text) or text.count(".") >= MAX_VERSION_PARTS:
        raise InputError("version-malformed", f"{text[:40]!r} is no version like 1.10.0")
    return tuple(map(int, text.split(".")))


def is_version(text: str) -> bool:
    """Whether it is one."""
    try:
        parse_version(text)
    except InputError:
        return False
    return True
