"""CBOR diagnostic notation (RFC 8949, section 8) as far as the published vectors use it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from medvouch.formats import cbor

_TOKEN = re.compile(
    r"""\s*(?:/[^/]*/\s*)*(?:
        (?P<hex>h'[0-9A-Fa-f\s]*') | (?P<text>"(?:[^"\\]|\\.)*") | (?P<number>-?\d+)
        | (?P<word>true|false|null) | (?P<mark><<|>>|[\[\]{}(),:])
    )\s*(?:/[^/]*/\s*)*""",
    re.VERBOSE,
)
_WORDS = {"true": True, "false": False, "null": None}


def read_diagnostic(path: Path) -> Any:
    """The value that a `.diag` file describes."""
    return diagnostic(path.read_text())


def diagnostic(text: str) -> Any:
    """The value of diagnostic notation."""
    tokens = _tokens(text.strip())
    value = _value(tokens)
    assert not tokens, tokens[-1]
    return value


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, offset = [], 0
    while offset < len(text):
        match = _TOKEN.match(text, offset)
        assert match is not None, text[offset : offset + 40]
        assert match.lastgroup is not None
        tokens.append((match.lastgroup, match[match.lastgroup]))
        offset = match.end()
    return tokens[::-1]


def _value(tokens: list[tuple[str, str]]) -> Any:
    kind, text = tokens.pop()
    if kind == "hex":
        return bytes.fromhex(text[2:-1])
    if kind == "text":
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    if kind == "word":
        return _WORDS[text]
    if kind == "number":
        return cbor.Tag(int(text), _sequence(tokens, ")")[0]) if _taken(tokens, "(") else int(text)
    if text == "<<":
        return cbor.encode(_sequence(tokens, ">>")[0])
    if text == "[":
        return _sequence(tokens, "]")
    assert text == "{", text
    flat = _sequence(tokens, "}")
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _taken(tokens: list[tuple[str, str]], mark: str) -> bool:
    if tokens and tokens[-1] == ("mark", mark):
        tokens.pop()
        return True
    return False


def _sequence(tokens: list[tuple[str, str]], end: str) -> list[Any]:
    """Values up to `end`; the pairs of a map come flat."""
    values = []
    while not _taken(tokens, end):
        values.append(_value(tokens))
        _ = _taken(tokens, ",") or _taken(tokens, ":")
    return values
