"""Writes docs/reference/attestation.md from the code: calls, numbered checks, what a refusal says, policies."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from medvouch.attestation import (
    appraisal,
    attester,
    evidence,
    explanation,
    pcrs,
    policy,
    policy_checks,
    prediction,
    reference,
    refusals,
    replay,
    results,
    semantics,
)
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.errors import Refusal
from medvouch.formats.ear import TrustVector
from refusals_doc import cell

TARGET = Path(__file__).resolve().parents[1] / "docs" / "reference" / "attestation.md"
HEADER = """\
# medvouch.attestation

Written by `make docs` from the code; edit that. [How to embed it](../how-to/embed-attestation.md);
[every refusal with its remedy](refusals.md).
"""
CALLS: tuple[Any, ...] = (
    attester.Attester,
    attester.AttestationKeys,
    evidence.UnverifiedEvidence,
    appraisal.appraise,
    appraisal.Expectation,
    appraisal.Anchors,
    appraisal.verify_evidence,
    explanation.explain,
    policy.parse_policy,
    policy.shipped,
    reference.verify_references,
    reference.sign_corim,
    replay.replay,
    semantics.understand,
    prediction.compare,
    results.affirm,
    results.contraindicate,
    results.sign_result,
    results.sign_result_jwt,
    results.verify_signed,
    results.verify_signed_jwt,
)
"""What an integrator calls, in the order in which he meets it."""
NUMBERED: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("Appraisal of evidence", appraisal.appraise),
    ("What a policy demands beyond that (step 18)", policy_checks.check_policy),
)
_STEP = re.compile(r"^(\d+)\.\s+(.*)$")


def steps(call: Callable[..., Any]) -> list[str]:
    """The numbered list in a docstring, each step on one line."""
    found: list[str] = []
    for line in (inspect.getdoc(call) or "").splitlines():
        if match := _STEP.match(line):
            found.append(match[2])
        elif found and line.startswith("   "):
            found[-1] += f" {line.strip()}"
        elif found:
            break
    return found


def _calls() -> Iterator[str]:
    yield "\n## Calls\n\n| in `medvouch.attestation` | what it is |\n|---|---|\n"
    for call in CALLS:
        module = call.__module__.removeprefix("medvouch.attestation.")
        summary = (inspect.getdoc(call) or "").partition("\n\n")[0]
        yield f"| `{module}.{call.__name__}` | {cell(summary)} |\n"


def _checks() -> Iterator[str]:
    for title, call in NUMBERED:
        yield f"\n## {title}\n\n"
        yield "".join(f"{number}. {text}\n" for number, text in enumerate(steps(call), 1))


def _refused() -> Iterator[str]:
    yield "\n## What a refusal says in the result (EAR, AR4SI)\n\n"
    yield "| code | status | trustworthiness vector |\n|---|---|---|\n"
    occasion = results.Occasion("device", bytes(8), bytes(32), 0, "developer", "build", "policy")
    for code, kind in sorted(refusals.TABLE.items()):
        ear = results.contraindicate(occasion, Refusal(kind, "detail"))
        if ear.vector != results.CRYPTOGRAPHY_FAILED:
            yield f"| `{code}` | {ear.status.name.lower()} | {_vector(ear.vector)} |\n"
    rest = results.CRYPTOGRAPHY_FAILED
    yield f"| every other, and evidence that cannot be read | contraindicated | {_vector(rest)} |\n"


def _vector(vector: TrustVector) -> str:
    values = {field.name.replace("_", "-"): getattr(vector, field.name) for field in fields(vector)}
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _policies() -> Iterator[str]:
    yield "\n## Policies that come with it\n\n"
    yield "As data; a policy of one's own may include them, and never relaxes them.\n"
    for name, text in SHIPPED.items():
        yield f"\n`{name}`\n\n```toml\n{text}```\n"
    settings = (inspect.getdoc(policy) or "").partition("\n\n")[2]
    example, _, rule = settings.rpartition("\n\n")
    yield f"\nAll that a policy can say:\n\n```toml\n{inspect.cleandoc(example)}\n```\n\n{rule}\n"


def _registers() -> Iterator[str]:
    yield "\n## PCRs\n\n| PCR | what it is for |\n|---|---|\n"
    yield from (f"| {number} | {meaning} |\n" for number, meaning in pcrs.MEANINGS.items())


def render() -> str:
    """The whole page."""
    return "".join([HEADER, *_calls(), *_checks(), *_refused(), *_policies(), *_registers()])


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
