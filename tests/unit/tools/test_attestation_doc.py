from __future__ import annotations

import fnmatch
import inspect
import re

import pytest

import attestation_doc
import guards
from medvouch.attestation import appraisal, csr, ima_state, log_rules, policy_checks, quotes
from medvouch.attestation.enrolment import EnrolmentAuthority
from medvouch.attestation.policy import parse_policy
from medvouch.attestation.quirks import QUIRKS
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.cli.inspecting import KINDS
from medvouch.crypto import ima_signatures


def test_the_page_is_current() -> None:
    assert attestation_doc.TARGET.read_text(encoding="utf-8") == attestation_doc.render(), "run `make docs`"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (appraisal.appraise, (appraisal.verify_evidence, appraisal._judge, appraisal.judge_boot)),
        (log_rules.check_log, (log_rules._broken,)),
        (policy_checks.check_policy, (policy_checks.check_policy,)),
        (
            ima_signatures.verify_file,
            (ima_signatures.verify_file, ima_signatures._verify_attribute, ima_signatures._verify_appended),
        ),
        (ima_state.continue_list, (ima_state.continue_list,)),
        (quotes.verify_quote, (quotes.verify_quote,)),
        (EnrolmentAuthority.challenge, (EnrolmentAuthority.challenge,)),
        (EnrolmentAuthority.answer, (EnrolmentAuthority.answer,)),
        (csr.verify_idevid_csr, (csr.verify_idevid_csr,)),
        (csr.verify_attested_request, (csr.verify_attested_request,)),
    ],
)
def test_the_code_repeats_the_numbers(call: object, code: tuple[object, ...]) -> None:
    numbered = attestation_doc.steps(call)  # type: ignore[arg-type]
    source = "".join(inspect.getsource(each) for each in code)  # type: ignore[arg-type]
    comments = re.findall(r"#\s+(\d+(?:(?:, | to |-)\d+)*)\s*$", source, re.MULTILINE)
    found: set[int] = set()
    for comment in comments:
        if match := re.fullmatch(r"(\d+)(?: to |-)(\d+)", comment):
            first, last = map(int, match.groups())
            found |= set(range(first, last + 1))
        else:
            found |= set(map(int, comment.split(", ")))
    assert found == set(range(1, len(numbered) + 1))


def test_the_tables_name_every_code_of_these_checks_and_no_other() -> None:
    named = {
        code.strip("`")
        for _, call in attestation_doc.NUMBERED
        for step in attestation_doc.steps(call)
        for code in attestation_doc.codes(step)
    }
    known = guards.codes()
    assert [code for code in named if not any(fnmatch.fnmatchcase(each, code) for each in known)] == []
    modules = {"appraisal", "csr", "log_rules", "policy_checks", "quotes", "registers", "replay", "reference"}
    checked = {
        guard.code
        for guard in guards.guards()
        if guard.table == "attestation" and guard.module.removeprefix("attestation.") in modules
    }
    signed = {"reference-untrusted"}  # of reference values, before any evidence
    assert {code for code in checked if not any(fnmatch.fnmatchcase(code, each) for each in named)} == signed


def test_every_quirk_and_format_is_there() -> None:
    page = attestation_doc.render()
    assert all(f"| `{name}` | {quirk.what}" in page for name, quirk in QUIRKS.items())
    assert all(f"| `{name}` | {kind.what} |" in page for name, kind in KINDS.items())
    assert "| `strict` | sha256 0 to 15 | all PCRs | required | required | required | required | required |" in page


def test_all_that_a_policy_can_say_is_a_policy() -> None:
    """But for digests that are cut short to be read."""
    text = attestation_doc.render().partition("All that a policy can say:\n\n```toml\n")[2].partition("```")[0]
    digest = "9f" * 32
    whole = re.sub(r'"[0-9a-f]{4}\.\.\."', f'"{digest}"', text).replace("floor = 3", "")
    assert parse_policy(whole).require_nonce


def test_every_policy_is_there() -> None:
    page = attestation_doc.render()
    assert all(f"```toml\n{text}```" in page for text in SHIPPED.values())
