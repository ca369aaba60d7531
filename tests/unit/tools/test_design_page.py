"""The page on the design, and the lists of pages, say what is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGE = (DOCS / "explanation" / "design.md").read_text(encoding="utf-8")
MAP = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Map of the code")[2]
TREES = ("agent", "simulator", "tests", "tools")
LINKED = re.compile(r"\]\(([^):#]+\.md)")


def packages() -> list[str]:
    agent = [path for path in (ROOT / "agent" / "medvouch").iterdir() if (path / "__init__.py").exists()]
    simulator = [path for path in (ROOT / "simulator" / "medvouch_sim").iterdir() if (path / "__init__.py").exists()]
    tests = [path for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    return sorted(str(path.relative_to(ROOT)) for path in [*agent, *simulator, *tests])


@pytest.mark.parametrize("package", packages())
def test_each_package_is_on_the_page(package: str) -> None:
    assert f"`{package}`" in PAGE


@pytest.mark.parametrize("package", [each for each in packages() if each.startswith("agent/")])
def test_each_package_of_the_agent_is_on_the_map(package: str) -> None:
    assert f"{Path(package).name}/" in MAP


def test_what_the_page_names_is_there() -> None:
    named = re.findall(r"`([a-z_/]+(?:\.\w+)?)`", PAGE)
    paths = [each for each in named if each.partition("/")[0] in TREES and "/" in each]
    assert paths
    assert [each for each in paths if not (ROOT / each).exists()] == []


def test_the_layers_are_those_that_are_kept() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (layers,) = (each["layers"] for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == "layers")
    assert "\n".join(layers).replace("medvouch.", "") in PAGE


def test_sections_that_the_code_names_are_there() -> None:
    sources = [path for tree in ("agent", "simulator") for path in (ROOT / tree).rglob("*.py")]
    named = re.compile(r"DESIGN((?: §\d+,?)+)")
    found = {
        number
        for path in sources
        for said in named.findall(path.read_text(encoding="utf-8"))
        for number in re.findall(r"\d+", said)
    }
    assert found
    assert found <= set(re.findall(r"^## (\d+)\. ", PAGE, re.MULTILINE))


def test_each_page_is_on_a_list() -> None:
    lists = [DOCS / "README.md", DOCS / "adr" / "README.md"]
    linked = {
        (each.parent / link).resolve() for each in lists for link in LINKED.findall(each.read_text(encoding="utf-8"))
    }
    assert sorted({path.resolve() for path in DOCS.rglob("*.md")} - linked - {lists[0]}) == []
