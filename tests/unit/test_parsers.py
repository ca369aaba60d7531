"""Every parser takes every seed of the fuzz corpus, or refuses it as it declares."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from fuzz_seeds import CORPUS, read_seeds, seeded
from support import parsers
from support.parsers import TARGETS

ROOT = Path(__file__).resolve().parents[2]
WITHIN = {"claims", "cursor", "record"}
"""Modules that others parse with."""
MAX_CORPUS_BYTES = 1 << 20


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    taken = [TARGETS[target](seed) for seed in read_seeds(target)]
    assert any(taken), "no seed is well-formed"


def test_the_corpus_is_that_of_the_targets_and_small() -> None:
    assert seeded() == sorted(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.iterdir()) < MAX_CORPUS_BYTES


def test_every_format_that_parses_is_fuzzed() -> None:
    tree = ast.parse(Path(parsers.__file__).read_text())
    fuzzed = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    for path in sorted((ROOT / "agent" / "medvouch" / "formats").glob("*.py")):
        functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
        if any(function.name.startswith(("parse", "read_")) for function in functions) and path.stem not in WITHIN:
            assert f"medvouch.formats.{path.stem}" in fuzzed or hasattr(parsers, path.stem), path.stem
