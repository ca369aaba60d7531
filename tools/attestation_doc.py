"""Writes docs/reference/attestation.md from the code: calls, checks, refusals, formats, policies, quirks, PCRs."""

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
    csr,
    enrollee,
    enrolment,
    evidence,
    explanation,
    ima_state,
    log_rules,
    pcrs,
    policy,
    policy_checks,
    prediction,
    quotes,
    reference,
    refusals,
    replay,
    results,
    semantics,
)
from medvouch.attestation.policy import Policy
from medvouch.attestation.quirks import QUIRKS
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.cli.inspecting import KINDS
from medvouch.crypto import ima_signatures, tpm
from medvouch.errors import Refusal
from medvouch.formats.ear import TrustVector
from refusals_doc import cell, tables

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
    enrolment.EnrolmentAuthority,
    enrollee.Enrollee,
    csr.make_idevid_csr,
    csr.verify_idevid_csr,
    csr.make_attested_request,
    csr.verify_attested_request,
    tpm.make_credential,
    quotes.verify_quote,
    ima_state.first_state,
    ima_state.continue_list,
    ima_signatures.ImaKey,
    ima_signatures.verify_file,
)
"""What an integrator calls, in the order in which he meets it."""
NUMBERED: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("Appraisal of evidence", appraisal.appraise),
    ("Rules of the firmware's log (step 13)", log_rules.check_log),
    ("What a policy demands beyond that (step 18)", policy_checks.check_policy),
    ("Signatures of files", ima_signatures.verify_file),
    ("A list of files continued", ima_state.continue_list),
    ("A quote by itself", quotes.verify_quote),
    ("A request to be enrolled", enrolment.EnrolmentAuthority.challenge),
    ("The proof that answers a challenge", enrolment.EnrolmentAuthority.answer),
    ("TCG-CSR-IDEVID", csr.verify_idevid_csr),
    ("PKCS#10 with an attestation", csr.verify_attested_request),
)
_STEP = re.compile(r"^(\d+)\.\s+(.*)$")
_CODES = re.compile(r":((?:,? `[a-z0-9*-]+`)+)")


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
    yield "\n## Calls\n\n| in `medvouch.attestation` or `medvouch` | what it is |\n|---|---|\n"
    for call in CALLS:
        module = call.__module__.removeprefix("medvouch.").removeprefix("attestation.")
        summary = (inspect.getdoc(call) or "").partition("\n\n")[0]
        yield f"| `{module}.{call.__name__}` | {cell(summary)} |\n"


def _checks() -> Iterator[str]:
    for title, call in NUMBERED:
        yield f"\n## {title}\n\n| | what is checked | refused with |\n|---|---|---|\n"
        for number, text in enumerate(steps(call), 1):
            yield f"| {number} | {cell(_CODES.sub('', text))} | {', '.join(codes(text))} |\n"


def codes(step: str) -> list[str]:
    """The codes that a step names, in backticks; one that ends in * stands for all that begin so."""
    return [code.strip() for found in _CODES.findall(step) for code in found.split(",")]


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


def _tables() -> Iterator[str]:
    yield "\n## Refusals\n\nWhat each means and what to do: [refusals.md](refusals.md). In all:\n\n"
    yield "| table | codes |\n|---|---|\n"
    for package in ("attestation", "crypto"):
        count = len(dict(tables())[f"medvouch.{package}"])
        yield f"| [medvouch.{package}](refusals.md#medvouch{package}) | {count} |\n"


def _formats() -> Iterator[str]:
    yield "\n## Formats that can be looked into\n\n"
    yield "`medvouch inspect KIND FILE [--json]` shows what a file says; nothing of it is believed.\n\n"
    yield "| kind | what it is |\n|---|---|\n"
    yield from (f"| `{name}` | {cell(kind.what)} |\n" for name, kind in KINDS.items())


def _quirks() -> Iterator[str]:
    yield "\n## Quirks\n\n"
    yield "What a policy may let pass, by name: `quirks = [...]`. A result says which ones it did.\n\n"
    yield "| quirk | what it is | seen in | waives |\n|---|---|---|---|\n"
    for quirk in QUIRKS.values():
        waived = ", ".join(f"`{code}`" for code in sorted(quirk.waives))
        yield f"| `{quirk.name}` | {cell(quirk.what)} | {cell(quirk.seen)} | {waived} |\n"


def _demands(demanded: Policy) -> Iterator[str]:
    """The cells of a policy's row, whatever it includes."""
    yield ", ".join(f"{bank.label} {pcrs[0]} to {pcrs[-1]}" for bank, pcrs in demanded.selection.banks)
    some = ", ".join(map(str, sorted(demanded.reference_pcrs or ())))
    yield (f"PCR {some}" if some else "all PCRs") if demanded.match_reference else ""
    for flag in (
        demanded.require_secure_boot,
        demanded.require_ima,
        demanded.require_nonce,
        demanded.require_clock_safe,
        demanded.require_ledger,
    ):
        yield "required" if flag else ""
    yield "none, ever" if demanded.quirks is not None else "those that another policy names"


def _policies() -> Iterator[str]:
    yield "\n## Policies that come with it\n\n"
    yield "As data; a policy of one's own may include them, and never relaxes them. With all that they include:\n\n"
    headings = ("policy", "quoted", "reference", "Secure Boot", "IMA list", "nonce", "safe clock", "ledger", "quirks")
    yield f"| {' | '.join(headings)} |\n|{'---|' * len(headings)}\n"
    yield from (f"| `{name}` | {' | '.join(_demands(policy.shipped(name)))} |\n" for name in SHIPPED)
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
    parts = (_calls, _checks, _tables, _refused, _formats, _policies, _quirks, _registers)
    return "".join([HEADER, *(text for part in parts for text in part())])


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(render(), encoding="utf-8")
