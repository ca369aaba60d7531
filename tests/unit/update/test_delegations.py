"""Where a target is found (TUF 5.6.7), and whether it is what was signed."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote

import pytest

from medvouch.update import refusals
from medvouch.update.repository import (
    MAX_DELEGATIONS,
)
from support.refusing import assert_input_refused, assert_refused
from support.tufs import Tuf

# --- 5.6.7: delegations ----------------------------------------------------------------------------------------------


def test_the_first_role_in_order_answers(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"])
    tuf.delegate("two", ["a/*", "b/*"])
    first = tuf.add("a/x", b"one", "one")
    tuf.add("a/x", b"two", "two")
    second = tuf.add("b/x", b"two", "two")
    tuf.publish()
    client = tuf.refreshed()
    assert (client.target("a/x"), client.target("b/x"), client.target("c/x")) == (first, second, None)


def test_depth_comes_first(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"])
    tuf.delegate("two", ["a/*"])
    tuf.delegate("three", ["a/*"], by="one")
    deep = tuf.add("a/x", b"three", "three")
    tuf.add("a/x", b"two", "two")
    tuf.publish()
    assert tuf.refreshed().target("a/x") == deep


def test_a_role_speaks_only_of_what_it_is_delegated(tuf: Tuf) -> None:
    tuf.delegate("releases", ["releases/*/*"])
    for name in ("trust.cbor", "releases/x", "releases/1/2/x"):
        tuf.add(name, b"no", "releases")
    tuf.publish()
    client = tuf.refreshed()
    assert [client.target(name) for name in ("trust.cbor", "releases/x", "releases/1/2/x")] == [None] * 3


def test_a_terminating_role_ends_the_search(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"], terminating=True)
    tuf.delegate("below", ["a/*"], by="one")
    tuf.delegate("two", ["a/*", "b/*"])
    below = tuf.add("a/below", b"below", "below")
    for name in ("a/x", "b/x"):
        tuf.add(name, b"two", "two")
    tuf.publish()
    client = tuf.refreshed()
    assert client.target("a/x") is None
    assert client.target("b/x") is not None
    assert client.target("a/below") == below


def test_a_terminating_role_ends_the_search_also_for_those_beside_its_delegator(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"])
    tuf.delegate("two", ["a/*"])
    tuf.delegate("below", ["a/*"], by="one", terminating=True)
    tuf.add("a/x", b"two", "two")
    tuf.publish()
    assert tuf.refreshed().target("a/x") is None


def test_delegations_in_a_circle(tuf: Tuf) -> None:
    tuf.delegate("one", ["*"])
    tuf.delegate("two", ["*"], by="one")
    delegations = tuf.targets["one"].signed.delegations
    tuf.targets["two"].signed.delegations = delegations
    tuf.publish()
    assert tuf.refreshed().target("x") is None


def test_a_search_visits_so_many_roles(tuf: Tuf) -> None:
    for number in range(MAX_DELEGATIONS):
        tuf.delegate(f"r{number}", ["*"])
    tuf.add("x", b"too far", f"r{MAX_DELEGATIONS - 1}")
    tuf.add("y", b"just there", f"r{MAX_DELEGATIONS - 2}")
    tuf.publish()
    client = tuf.refreshed()
    assert client.target("x") is None
    assert client.target("y") is not None


def test_hash_bins(tuf: Tuf) -> None:
    tuf.delegate("director", ["directives/*"], terminating=True)
    tuf.bins("director", "bin", 2)
    names = [f"directives/{number}.cbor" for number in range(20)]
    for name in names:
        tuf.add(name, name.encode(), tuf.bin_of("director", name))
    tuf.publish()
    client = tuf.refreshed()
    for name in names:
        target = client.target(name)
        assert target is not None
        assert client.download(target, 100) == name.encode()
    assert client.target("directives/none.cbor") is None
    assert len({tuf.bin_of("director", name) for name in names}) == 4


def test_the_same_role_of_two_delegators_is_checked_for_each(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"])
    tuf.delegate("two", ["b/*"])
    tuf.delegate("shared", ["a/*"], by="one")
    trusted = tuf.signers["shared"]
    tuf.delegate("shared", ["b/*"], by="two")
    tuf.signers["shared"] = trusted
    tuf.add("a/x", b"a", "shared")
    tuf.add("b/x", b"b", "shared")
    tuf.publish()
    client = tuf.refreshed()
    assert client.target("a/x") is not None
    assert_refused(refusals.METADATA_UNTRUSTED, client.target, "b/x")


@pytest.mark.parametrize("role", ["../up", "..", "a/b", "ä?#", ".hidden"])
def test_roles_with_odd_names_stay_within_their_folder(tuf: Tuf, role: str) -> None:
    """Path traversal by a role's name (CVE-2021-41131, CVE-2021-41150)."""
    tuf.delegate(role, ["*"])
    target = tuf.add("x", b"x", role)
    tuf.publish()
    tuf.served.files = _Decoded(tuf.files)
    assert tuf.refreshed().target("x") == target
    assert not any("/" in name or name.startswith(".") for name in tuf.shelf.names)


def test_a_role_named_like_a_root_takes_the_place_of_none(tuf: Tuf) -> None:
    tuf.rotate("root")
    tuf.delegate("2.root", ["*"])
    tuf.add("x", b"x", "2.root")
    tuf.publish()
    client = tuf.refreshed()
    root = tuf.shelf.files["2.root.json"]
    assert client.target("x")
    assert tuf.shelf.files["2.root.json"] == root


class _Decoded(dict[str, bytes]):
    """As a server that decodes URLs finds its files."""

    def __contains__(self, name: object) -> bool:
        return super().__contains__(unquote(str(name)))

    def __getitem__(self, name: str) -> bytes:
        return super().__getitem__(unquote(name))


def test_a_role_with_a_name_too_long_for_a_file(tuf: Tuf) -> None:
    tuf.delegate("x" * 161, ["*"])
    tuf.publish()
    assert_input_refused("metadata-limit", tuf.refreshed().target, "x")


# --- which role answers ----------------------------------------------------------------------------------------------


def test_a_role_can_be_made_to_answer(tuf: Tuf) -> None:
    tuf.delegate("one", ["a/*"])
    tuf.delegate("two", ["a/*"])
    tuf.delegate("below", ["a/*"], by="two")
    top = tuf.add("a/x", b"top")
    tuf.add("a/x", b"one", "one")
    two = tuf.add("a/x", b"two", "two")
    below = tuf.add("a/y", b"below", "below")
    tuf.add("b/x", b"two", "two")
    tuf.publish()
    client = tuf.refreshed()
    assert client.target("a/x") == client.role_target("targets", "a/x") == top
    assert client.role_target("two", "a/x") == two
    assert client.role_target("two", "a/y") is None
    assert client.role_target("two", "a/y", below=True) == below
    assert client.role_target("two", "b/x") is None
    assert client.role_target("nobody", "a/x") is None
    assert client.role_target("targets", "a/y") is None


def test_the_trust_document_is_the_top_level_role_s(tuf: Tuf) -> None:
    tuf.delegate("releases", ["*"])
    tuf.add("trust.cbor", b"forged", "releases")
    tuf.publish()
    client = tuf.refreshed()
    assert client.target("trust.cbor") is not None
    assert_refused(refusals.TARGET_UNKNOWN, client.trust)
    tuf.add("trust.cbor", b"true")
    tuf.bump("targets")
    assert tuf.refreshed().trust() == b"true"


# --- contents --------------------------------------------------------------------------------------------------------


def test_a_download(tuf: Tuf) -> None:
    data = bytes(range(256)) * 200
    target = tuf.add("folder/big file", data)
    tuf.publish()
    tuf.served.files = _Decoded(tuf.files)
    assert tuf.refreshed().download(target, len(data)) == data
    assert tuf.served.asked[-1].startswith("targets/folder/")
    assert tuf.served.asked[-1].endswith(".big%20file")


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"!", lambda data: data[:-1] + b"!"])
def test_a_download_that_is_not_what_was_signed(tuf: Tuf, change: Callable[[bytes], bytes]) -> None:
    target = tuf.add("file", b"contents")
    tuf.publish()
    client = tuf.refreshed()
    name = f"targets/{target.get_prefixed_paths()[0]}"
    tuf.files[name] = change(tuf.files[name])
    assert assert_refused(refusals.TARGET_MISMATCH, client.download, target, 100).place == "file"


def test_a_target_without_a_hash_that_binds_it(tuf: Tuf) -> None:
    target = tuf.add("file", b"contents")
    target.hashes = {"md5": "98bf7d8c15784f0a3d63204441e1e2aa"}
    tuf.files[f"targets/{target.get_prefixed_paths()[0]}"] = b"contents"
    tuf.publish()
    assert_refused(refusals.TARGET_MISMATCH, tuf.refreshed().download, target, 100)


def test_a_target_over_the_limit_is_not_fetched(tuf: Tuf) -> None:
    target = tuf.add("file", b"contents")
    tuf.publish()
    client = tuf.refreshed()
    tuf.served.asked.clear()
    assert_input_refused("metadata-limit", client.download, target, 7)
    assert tuf.served.asked == []
