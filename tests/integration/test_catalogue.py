"""The catalogue of attacks: from its files alone each is refused with its own code, and an honest device is not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import guards
from support import catalogue
from support.catalogue import Attack

FORMAT_CODE = re.compile(r"[a-z0-9-]+-(truncated|trailing|limit|malformed)")
MAX_BYTES = 2 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("catalogue")


@pytest.fixture(scope="module")
def written(folder: Path) -> list[Attack]:
    return catalogue.write(folder)


def test_every_attack_is_refused_with_its_code(folder: Path, written: list[Attack]) -> None:
    assert {attack.id: catalogue.judge(folder / attack.id) for attack in written} == {
        attack.id: attack.code for attack in written
    }


def test_what_is_in_it(folder: Path, written: list[Attack]) -> None:
    index = json.loads((folder / "index.json").read_bytes())
    assert [entry["id"] for entry in index] == [attack.id for attack in written]
    assert len({attack.id for attack in written}) == len(written)
    assert {path.name for path in folder.iterdir()} == {attack.id for attack in written} | {"index.json", "README.md"}
    assert all(attack.what for attack in written)
    assert {attack.kind for attack in written} == set(catalogue.JUDGES)
    assert sum(path.stat().st_size for path in folder.rglob("*")) < MAX_BYTES


def test_the_codes_are_ours_and_more_than_eighty(written: list[Attack]) -> None:
    codes = {attack.code for attack in written if attack.code}
    unknown = codes - guards.codes()
    assert [code for code in unknown if not FORMAT_CODE.fullmatch(code)] == []
    assert len(codes) >= 80
    assert [attack.id for attack in written if not attack.code] == ["honest", "enrolment-honest", "proof-honest"]


def test_public_records_are_named(written: list[Attack]) -> None:
    records = {attack.record for attack in written}
    assert {"CVE-2024-29039", "CVE-2024-29038", "CVE-2022-0317", "CVE-2021-3406"} <= records


def test_an_attack_that_is_mended_is_not_refused(folder: Path, written: list[Attack]) -> None:
    """The judge looks at the files: with those of the honest device there is nothing to refuse."""
    attack = folder / "pcr-digest-mismatch"
    (attack / "evidence.cbor").write_bytes((folder / "honest" / "evidence.cbor").read_bytes())
    assert catalogue.judge(attack) == ""
