"""Untrusted bytes as text for people: one printable line, shortened, with what a terminal could obey escaped."""

from __future__ import annotations

MAX_TEXT_CHARS = 240
"""Longest text that `text` and `printable` return."""


def decode(data: bytes) -> str | None:
    """ASCII, UTF-8 or UTF-16 text without its final NULs, or None where it is no text."""
    wide = len(data) >= 2 and len(data) % 2 == 0 and data[1] == 0
    try:
        decoded = data.decode("utf-16-le" if wide else "utf-8").rstrip("\0")
    except UnicodeDecodeError:
        return None
    return decoded if decoded.isprintable() or all(c.isprintable() or c.isspace() for c in decoded) else None


def text(data: bytes) -> str:
    """`data` as one printable line, for people: text where it is some, else hexadecimal; long data is shortened."""
    decoded = decode(data)
    return printable(data[:MAX_TEXT_CHARS].hex() if decoded is None else decoded)


def printable(untrusted: str) -> str:
    """`untrusted` shortened, with control and other unprintable characters escaped."""
    shown = escaped(untrusted[:MAX_TEXT_CHARS])
    return shown + ("..." if len(untrusted) > MAX_TEXT_CHARS else "")


def escaped(untrusted: str) -> str:
    """`untrusted` with control and other unprintable characters escaped."""
    if untrusted.isprintable():
        return untrusted
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in untrusted)
