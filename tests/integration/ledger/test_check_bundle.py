"""The independent checker of bundles in examples/: it says what `verify_bundle` says, and shares no code with it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from medvouch.assurance.bundle import BundleTrust, verify_bundle
from medvouch.crypto.keys import spki
from medvouch.errors import InputError, Refusal
from medvouch.formats.claims import LedgerHead
from medvouch.formats.ledger import Bundle
from medvouch.formats.trust import Role, TrustDocument
from support.documents import example
from support.lives import AT, TRUST, Life, verdict

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "check_bundle.py"
FLIPS = 160


def trust(believed: BundleTrust = TRUST) -> bytes:
    roles = {"enrolment": believed.enrolment, "appraiser": believed.appraisers, "commander": believed.commanders}
    document = TrustDocument(
        version=1,
        expires=2**40,
        appraiser="collector",
        roles={name: Role(tuple(map(spki, keys)), 1, 2**40, "somebody") for name, keys in roles.items()},
        certificates={"enrolment-ca": tuple(believed.enrolment_roots), "tpm-vendor": (), "broker-ca": ()},
        references=(),
    )
    return document.encode()


@pytest.fixture(scope="module")
def checker() -> ModuleType:
    return example("check_bundle")


def holds(checker: ModuleType, data: bytes, believed: bytes) -> bool:
    try:
        checker.check(data, believed)
    except Exception:
        return False
    return True


def test_it_is_short_and_stands_alone() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert {name.split(".")[0] for name in imported} == {"hashlib", "sys", "cbor2", "cryptography"}


def test_a_life_that_holds(checker: ModuleType, lived: Life, bundle: Bundle) -> None:
    life = verify_bundle(bundle.encode(), TRUST, AT)
    said = checker.check(bundle.encode(), trust())
    assert said.startswith(f"{lived.device} holds: {len(life.entries)} entries, {life.by_tpm} confirmed by its TPM")
    assert str(life.states) in said
    assert holds(checker, lived.bundle(receipt=False).encode(), trust())


def test_as_a_program(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "trust.cbor").write_bytes(trust())
    for data, code, said in ((bundle.encode(), 0, " holds: "), (bundle.encode()[:-1], 1, "does NOT hold: ")):
        (tmp_path / "life.cbor").write_bytes(data)
        ran = subprocess.run(
            [sys.executable, EXAMPLE, "life.cbor", "trust.cbor"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == code
        assert said in ran.stdout + ran.stderr


def test_a_flipped_byte_is_found_wherever_it_is(checker: ModuleType, bundle: Bundle) -> None:
    data, believed = bundle.encode(), trust()
    step = len(data) // FLIPS
    for offset in range(0, len(data), step):
        flipped = bytearray(data)
        flipped[offset] ^= 1
        assert not holds(checker, bytes(flipped), believed), offset


STRANGER = [ec.derive_private_key(77, ec.SECP256R1()).public_key()]
CHANGES: dict[str, Callable[[Life, Bundle, Bundle], Bundle]] = {
    "an entry left out": lambda life, bundle, other: replace(bundle, entries=(bundle.entries[0], *bundle.entries[2:])),
    "the last entry left out": lambda life, bundle, other: replace(bundle, entries=bundle.entries[:-1], receipt=b""),
    "entries in another order": lambda life, bundle, other: replace(
        bundle, entries=(bundle.entries[0], *bundle.entries[:0:-1])
    ),
    "a checkpoint left out": lambda life, bundle, other: replace(bundle, checkpoints=bundle.checkpoints[1:]),
    "the last checkpoint left out": lambda life, bundle, other: replace(bundle, checkpoints=bundle.checkpoints[:-1]),
    "checkpoints in another order": lambda life, bundle, other: replace(bundle, checkpoints=bundle.checkpoints[::-1]),
    "another device's name": lambda life, bundle, other: replace(bundle, device=other.device),
    "another device's entry": lambda life, bundle, other: replace(
        bundle, entries=(*bundle.entries[:-1], other.entries[-1])
    ),
    "another device's checkpoint": lambda life, bundle, other: replace(
        bundle, checkpoints=(*bundle.checkpoints[:-1], other.checkpoints[-1])
    ),
    "an attachment left out": lambda life, bundle, other: replace(
        bundle, entries=(*bundle.entries[:-1], replace(bundle.entries[-1], attachments={}))
    ),
    "a receipt on a shorter ledger": lambda life, bundle, other: replace(
        bundle, receipt=verdict(life.device, LedgerHead(1, bytes(32), 1))
    ),
    "a receipt for another device": lambda life, bundle, other: replace(bundle, receipt=other.receipt),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_both_refuse(
    checker: ModuleType,
    lived: Life,
    bundle: Bundle,
    other: Life,
    change: Callable[[Life, Bundle, Bundle], Bundle],
) -> None:
    data = change(lived, bundle, other.bundle()).encode()
    with pytest.raises((Refusal, InputError)):
        verify_bundle(data, TRUST, AT)
    assert not holds(checker, data, trust())


@pytest.mark.parametrize("role", ["enrolment", "appraisers", "commanders"])
def test_whom_it_does_not_know_it_does_not_believe(checker: ModuleType, bundle: Bundle, role: str) -> None:
    assert not holds(checker, bundle.encode(), trust(replace(TRUST, **{role: STRANGER})))


def test_another_root(checker: ModuleType, bundle: Bundle, lived: Life) -> None:
    other = replace(TRUST, enrolment_roots=[lived.identity.lak_certificate])
    assert not holds(checker, bundle.encode(), trust(other))
