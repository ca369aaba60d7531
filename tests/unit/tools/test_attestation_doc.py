from __future__ import annotations

import inspect
import re

import pytest

import attestation_doc
from medvouch.attestation import appraisal, policy_checks
from medvouch.attestation.policy import parse_policy
from medvouch.attestation.shipped_policies import SHIPPED


def test_the_page_is_current() -> None:
    assert attestation_doc.TARGET.read_text(encoding="utf-8") == attestation_doc.render(), "run `make docs`"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (appraisal.appraise, (appraisal.verify_evidence, appraisal._judge, appraisal.judge_boot)),
        (policy_checks.check_policy, (policy_checks.check_policy,)),
    ],
)
def test_the_code_repeats_the_numbers(call: object, code: tuple[object, ...]) -> None:
    numbered = attestation_doc.steps(call)  # type: ignore[arg-type]
    source = "".join(inspect.getsource(each) for each in code)  # type: ignore[arg-type]
    comments = re.findall(r"#\s+(\d+(?:(?:, | to )\d+)*)\s*$", source, re.MULTILINE)
    found: set[int] = set()
    for comment in comments:
        if " to " in comment:
            first, last = map(int, comment.split(" to "))
            found |= set(range(first, last + 1))
        else:
            found |= set(map(int, comment.split(", ")))
    assert found == set(range(1, len(numbered) + 1))


def test_all_that_a_policy_can_say_is_a_policy() -> None:
    """But for digests that are cut short to be read."""
    text = attestation_doc.render().partition("All that a policy can say:\n\n```toml\n")[2].partition("```")[0]
    digest = "9f" * 32
    whole = re.sub(r'"[0-9a-f]{4}\.\.\."', f'"{digest}"', text).replace("floor = 3", "")
    assert parse_policy(whole).require_nonce


def test_every_policy_is_there() -> None:
    page = attestation_doc.render()
    assert all(f"```toml\n{text}```" in page for text in SHIPPED.values())
