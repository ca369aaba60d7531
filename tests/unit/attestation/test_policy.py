"""Policies as data: what the shipped ones demand, how they are joined, and what is no policy."""

from __future__ import annotations

import pytest

from medvouch.attestation import policy as policies
from medvouch.attestation.policy import RELEASE_POLICY, STATIC_PCRS, Policy, parse_policy, shipped
from medvouch.attestation.quirks import QUIRKS, Quirk
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from support.refusing import assert_input_refused

ONE, TWO = "11" * 32, "22" * 32
A, B = bytes.fromhex(ONE), bytes.fromhex(TWO)
HEAD = 'id = "mine"\n[pcrs]\nsha256 = "0-15"\n'
ON_TOP = 'id = "mine"\ninclude = ["base"]\n'


def test_the_static_pcrs() -> None:
    """One bank, SHA-256, PCRs 0 to 15 (Part 2, 10.9.7)."""
    assert STATIC_PCRS.encode() == bytes.fromhex("00000001 000b 03 ffff00")
    assert PcrSelection.parse(STATIC_PCRS.encode()) == STATIC_PCRS


def test_the_policy_of_releases() -> None:
    assert Policy("medvouch:release:1", STATIC_PCRS, require_secure_boot=True) == RELEASE_POLICY


def test_the_shipped_policies() -> None:
    assert {name: shipped(name).id for name in SHIPPED} == {
        "secure-boot": "medvouch:secure-boot:1",
        "release": "medvouch:release:1",
        "ima-allowlist": "medvouch:ima-allowlist:1",
        "strict": "medvouch:strict:1",
    }
    assert not shipped("secure-boot").match_reference
    assert shipped("ima-allowlist").reference_pcrs == {10}
    strict = shipped("strict")
    assert strict == Policy(
        "medvouch:strict:1",
        STATIC_PCRS,
        require_secure_boot=True,
        require_ima=True,
        require_nonce=True,
        require_clock_safe=True,
        require_ledger=True,
        quirks=frozenset(),
    )


def test_everything_that_can_be_demanded() -> None:
    policy = parse_policy(f"""
        id = "example:wards:1"
        [pcrs]
        sha384 = "0-7,9"
        sha256 = "0"
        [secure_boot]
        required = true
        authorities = ["{ONE}"]
        db = ["{ONE}", "{TWO}"]
        dbx = ["{TWO}"]
        [reference]
        required = true
        floor = 3
        [ima]
        required = true
        allow = ["{ONE}"]
        exclude = ["/tmp/"]
        signed_by = ["{TWO}"]
        [freshness]
        nonce = true
        clock_safe = true
        [ledger]
        required = true
    """)
    assert policy == Policy(
        id="example:wards:1",
        selection=PcrSelection.of({HashAlg.SHA256: [0], HashAlg.SHA384: [*range(8), 9]}),
        require_secure_boot=True,
        authorities=frozenset({A}),
        db=frozenset({A, B}),
        dbx=frozenset({B}),
        match_reference=True,
        floor=3,
        require_ima=True,
        ima_allow=frozenset({A}),
        ima_exclude=("/tmp/",),
        ima_signed_by=frozenset({B}),
        require_nonce=True,
        require_clock_safe=True,
        require_ledger=True,
    )


def test_what_is_not_demanded() -> None:
    assert parse_policy(HEAD) == Policy("mine", STATIC_PCRS, match_reference=False)


def joined(own: str, base: str) -> Policy:
    return parse_policy(ON_TOP + own, {"base": HEAD + base})


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_joining_a_policy_with_itself_changes_nothing(name: str) -> None:
    policy = shipped(name)
    assert policy.joined(policy) == policy


def test_demands_add_up() -> None:
    policy = joined(f'[secure_boot]\ndbx = ["{ONE}"]\n[reference]\nrequired = true\nfloor = 2', "")
    assert (policy.id, policy.selection, policy.dbx, policy.floor) == ("mine", STATIC_PCRS, {A}, 2)
    policy = joined(
        f'[pcrs]\nsha384 = "7"\n[secure_boot]\ndbx = ["{ONE}"]',
        f'[secure_boot]\nrequired = true\ndbx = ["{TWO}"]\n[reference]\nrequired = true\nfloor = 5',
    )
    assert policy.selection == PcrSelection.of({HashAlg.SHA256: range(16), HashAlg.SHA384: [7]})
    assert (policy.require_secure_boot, policy.dbx, policy.floor, policy.match_reference) == (True, {A, B}, 5, True)


@pytest.mark.parametrize(
    ("own", "base", "expected"),
    [
        ("", '[reference]\nrequired = true\npcrs = "4,9-11"', {4, 9, 10, 11}),
        ('[reference]\nrequired = true\npcrs = "9"', '[reference]\nrequired = true\npcrs = "4"', {4, 9}),
        ('[reference]\nrequired = true\npcrs = "9"', "[reference]\nrequired = true", None),
    ],
)
def test_pcrs_to_hold_against_a_reference_add_up(own: str, base: str, expected: set[int] | None) -> None:
    assert joined(own, base).reference_pcrs == expected


@pytest.mark.parametrize("part", ["secure_boot.authorities", "secure_boot.db", "ima.allow", "ima.signed_by"])
def test_what_is_allowed_has_to_be_allowed_by_all(part: str) -> None:
    """An included list can never be widened; where nothing is left, nothing is allowed."""
    table, name = part.split(".")
    field = {"allow": "ima_allow", "signed_by": "ima_signed_by"}.get(name, name)

    def listed(own: str, base: str) -> frozenset[bytes] | None:
        texts = [f"[{table}]\n{name} = {each}" if each else "" for each in (own, base)]
        found: frozenset[bytes] | None = getattr(joined(*texts), field)
        return found

    one, both, two = f'["{ONE}"]', f'["{ONE}", "{TWO}"]', f'["{TWO}"]'
    assert listed(one, "") == {A}
    assert listed("", one) == {A}
    assert listed(both, one) == {A}
    assert listed(one, two) == frozenset()
    assert listed("", "") is None


def test_what_an_included_policy_looks_at_cannot_be_left_out() -> None:
    base = f'[ima]\nallow = ["{ONE}"]\nexclude = ["/tmp/", "/run/"]'
    assert joined('[ima]\nexclude = ["/"]', base).ima_exclude == ("/tmp/", "/run/")
    assert joined(f'[ima]\nsigned_by = ["{ONE}"]\nexclude = ["/", "/run/"]', base).ima_exclude == ("/run/",)


ONCE, TWICE = QUIRKS["old-shim"], QUIRKS["measures-twice"]


@pytest.mark.parametrize(
    ("own", "base", "expected"),
    [
        ("", "", None),
        ('"old-shim"', None, {ONCE}),
        (None, '"old-shim"', {ONCE}),
        ('"old-shim", "measures-twice"', '"measures-twice"', {TWICE}),
        ('"old-shim"', '"measures-twice"', set()),
        ('"old-shim"', "", set()),
    ],
)
def test_quirks_that_one_names_and_none_rules_out(own: str | None, base: str | None, expected: set[Quirk]) -> None:
    """A policy without a list leaves it to the others; an empty list is none, whoever includes it."""
    if expected is None:
        assert joined("", "").quirks is None
        return
    texts = ["" if names is None else f"quirks = [{names}]\n" for names in (own, base)]
    assert parse_policy(texts[0] + ON_TOP, {"base": texts[1] + HEAD}).quirks == expected


def test_the_strict_policy_lets_no_quirk_pass() -> None:
    text = 'id = "x"\ninclude = ["strict"]\nquirks = ["old-shim"]'
    assert parse_policy(text).quirks == frozenset()
    assert parse_policy(text.replace("strict", "release")).quirks == {ONCE}


MALFORMED = {
    "no TOML": ("id = ", ""),
    "numbers that Python cannot hold": (f"id = {'9' * 5000}", ""),
    "no id": ('[pcrs]\nsha256 = "0"', "id"),
    "an empty id": ('id = ""\n[pcrs]\nsha256 = "0"', "id"),
    "an id for terminals": ('id = "\\u001b[2J"\n[pcrs]\nsha256 = "0"', "id"),
    "no PCRs": ('id = "x"', "pcrs"),
    "a bank not to be trusted": ('id = "x"\n[pcrs]\nsha1 = "0-7"', "pcrs.sha1"),
    "a bank that is none": ('id = "x"\n[pcrs]\nmd5 = "0-7"', "pcrs.md5"),
    "a PCR that is none": ('id = "x"\n[pcrs]\nsha256 = "24"', "pcrs.sha256"),
    "a range backwards": ('id = "x"\n[pcrs]\nsha256 = "7-0"', "pcrs.sha256"),
    "words for PCRs": ('id = "x"\n[pcrs]\nsha256 = "all"', "pcrs.sha256"),
    "PCRs as numbers": ('id = "x"\n[pcrs]\nsha256 = 7', "pcrs.sha256"),
    "a setting misspelt": (HEAD + "[secure_boot]\nrequire = true", "secure_boot.require"),
    "a table misspelt": (HEAD + "[secureboot]\nrequired = true", "secureboot"),
    "a table that is none": ('secure_boot = true\nid = "x"\n[pcrs]\nsha256 = "0"', "secure_boot"),
    "a word for yes": (HEAD + '[secure_boot]\nrequired = "yes"', "secure_boot.required"),
    "one digest": (HEAD + f'[secure_boot]\ndb = "{ONE}"', "secure_boot.db"),
    "a short digest": (HEAD + '[secure_boot]\ndb = ["11"]', "secure_boot.db"),
    "a digest in capitals": (HEAD + f'[secure_boot]\ndb = ["{"AB" * 32}"]', "secure_boot.db"),
    "a floor below zero": (HEAD + "[reference]\nrequired = true\nfloor = -1", "reference.floor"),
    "a floor of truth": (HEAD + "[reference]\nrequired = true\nfloor = true", "reference.floor"),
    "a floor of nothing": (HEAD + "[reference]\nfloor = 1", "reference.required"),
    "PCRs of nothing": (HEAD + '[reference]\npcrs = "4"', "reference.required"),
    "a floor of some PCRs": (HEAD + '[reference]\nrequired = true\nfloor = 1\npcrs = "4"', "reference.floor"),
    "all paths left out": (HEAD + '[ima]\nexclude = [""]', "ima.exclude"),
    "paths that are numbers": (HEAD + "[ima]\nexclude = [1]", "ima.exclude"),
    "a quirk that nobody knows": ('quirks = ["cuts-corners"]\n' + HEAD, "quirks"),
    "one quirk": ('quirks = "old-shim"\n' + HEAD, "quirks"),
    "quirks that are numbers": ("quirks = [1]\n" + HEAD, "quirks"),
    "a stranger included": ('id = "x"\ninclude = ["../secrets"]', "include"),
    "nothing included": ('id = "x"\ninclude = ["lax"]', "include"),
}


@pytest.mark.parametrize(("text", "place"), MALFORMED.values(), ids=MALFORMED)
def test_no_policy(text: str, place: str) -> None:
    error = assert_input_refused("policy-malformed", parse_policy, text)
    assert error.place == place


def test_policies_that_include_one_another() -> None:
    library = {"base": 'id = "x"\ninclude = ["other"]', "other": 'id = "y"\ninclude = ["base"]'}
    assert assert_input_refused("policy-malformed", parse_policy, ON_TOP, library).place == "include"


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_input_refused("policy-limit", parse_policy, "#" * (policies.MAX_POLICY_CHARS + 1))
    chain = {f"p{number}": f'id = "x"\ninclude = ["p{number + 1}"]' for number in range(policies.MAX_DEPTH)}
    last = f"p{policies.MAX_DEPTH}"
    assert_input_refused("policy-limit", parse_policy, 'id = "x"\ninclude = ["p0"]', {**chain, last: HEAD})
    parse_policy('id = "x"\ninclude = ["p1"]', {**chain, last: HEAD})
    monkeypatch.setattr(policies, "MAX_LISTED", 1)
    assert_input_refused("policy-limit", parse_policy, HEAD + f'[secure_boot]\ndb = ["{ONE}", "{TWO}"]')
