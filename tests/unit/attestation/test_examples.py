"""The small programs in examples/ do what they say; attest_and_verify.py also runs in a bare environment."""

from __future__ import annotations

from pathlib import Path

from medvouch.attestation.policy import STATIC_PCRS, Policy, parse_policy
from support.authorities import NOW
from support.documents import example
from support.evidence import DEVICE, NONCE, anchors, evidence, fields

INIT = b"\7" * 32


def test_a_custom_policy() -> None:
    program = example("custom_policy")

    def said(data: bytes, *, floor: int = 1, files: tuple[bytes, ...] = (INIT,), nonce: bytes = NONCE) -> list[str]:
        lines: list[str] = program.judge(data, nonce, DEVICE, anchors(), NOW, floor=floor, files=files)
        return lines

    good = evidence(fields("claims", audience="my-appraiser"))
    assert said(good) == ["trusted"]
    assert said(good, floor=2)[0].startswith("release-below-floor: ")
    assert said(good, files=(bytes(32),))[0].startswith("ima-file-not-allowed (PCR 10, ima entry 1): ")
    assert said(good, nonce=bytes(range(1, 33)))[0].startswith("nonce-mismatch: ")


def test_what_the_custom_policy_demands() -> None:
    policy = parse_policy(example("custom_policy").WARDS.format(floor=3, files=f'"{INIT.hex()}"'))
    assert policy == Policy(
        "hospital:wards:1",
        STATIC_PCRS,
        require_secure_boot=True,
        floor=3,
        require_ima=True,
        ima_allow=frozenset({INIT}),
        ima_exclude=("/tmp/", "/run/"),
        require_nonce=True,
    )


def test_attesting_and_verifying_take_twenty_lines() -> None:
    path = example("attest_and_verify").__file__
    assert path is not None
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) <= 20
