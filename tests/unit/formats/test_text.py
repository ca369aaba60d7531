"""Untrusted bytes as text."""

from __future__ import annotations

from medvouch.formats.text import MAX_TEXT_CHARS, decode, printable, text


def test_text_of_each_encoding_and_of_none() -> None:
    assert (decode(b"ab\0"), decode("ab\0".encode("utf-16-le")), decode("é".encode())) == ("ab", "ab", "é")
    assert decode(b"\xff\xfe\xfd") is decode(b"\1\2\3") is None
    assert text(b"\xff\xfe\xfd") == "fffefd"


def test_what_a_terminal_could_obey_is_escaped_and_long_text_cut() -> None:
    assert printable("two\nlines \x1b[31m") == "two\\nlines \\x1b[31m"
    assert printable("x" * (MAX_TEXT_CHARS + 1)) == "x" * MAX_TEXT_CHARS + "..."
