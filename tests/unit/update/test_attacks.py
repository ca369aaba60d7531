"""The table of attacks (tests/support/update_attacks.py) says what tests show."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

import medvouch
from refusals_doc import tables
from support.update_attacks import ATTACKS, Attack

ROOT = Path(__file__).resolve().parents[3]


@cache
def sources() -> str:
    folder = Path(medvouch.__file__).parent
    return "".join(path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py")))


def is_code(code: str) -> bool:
    """Of a refusal, or of input or environment."""
    form, _, fault = code.rpartition("-")
    formal = fault in {"truncated", "trailing", "limit", "malformed"} and f'"{form}"' in sources()
    return any(code in table for _, table in tables()) or f'"{code}"' in sources() or formal


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.what)
def test_each_attack_is_shown(attack: Attack) -> None:
    path, _, name = attack.test.partition("::")
    (test,) = [
        node
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name
    ]
    assert [number for number in attack.known if number not in (ast.get_docstring(test) or "")] == []
    assert attack.code == "" or is_code(attack.code)
