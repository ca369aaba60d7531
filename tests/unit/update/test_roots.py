"""Roots (TUF 5.3) and how many must sign."""

from __future__ import annotations

import hashlib
import json

import pytest
from securesystemslib.signer import CryptoSigner, SSlibKey
from tuf.api.metadata import Metadata

from medvouch.errors import NetworkFault
from medvouch.update import refusals
from medvouch.update.repository import (
    MAX_ROTATIONS,
)
from support.refusing import assert_input_refused, assert_refused
from support.tufs import NOW, Tuf, moment

# --- 5.3: root -------------------------------------------------------------------------------------------------------


def test_roots_are_followed_one_by_one_and_kept(tuf: Tuf) -> None:
    for role in ("root", "root", "root", "targets"):
        tuf.rotate(role)
    tuf.publish()
    assert tuf.refreshed().versions.root == 5
    assert tuf.shelf.names[:4] == [f"{version}.root.json" for version in (2, 3, 4, 5)]
    tuf.served.asked.clear()
    assert tuf.refreshed().versions.root == 5
    assert tuf.served.asked[0] == "metadata/6.root.json"


def test_one_refresh_follows_so_many_rotations_and_the_next_goes_on(tuf: Tuf) -> None:
    for _ in range(MAX_ROTATIONS + 1):
        tuf.root.signed.version += 1
        tuf.write_root()
    assert tuf.refreshed().versions.root == 1 + MAX_ROTATIONS
    assert tuf.refreshed().versions.root == 2 + MAX_ROTATIONS


@pytest.mark.parametrize("keep", ["old", "new"])
def test_a_root_is_signed_by_the_old_keys_and_by_the_new(tuf: Tuf, keep: str) -> None:
    before = list(tuf.signers["root"])
    for _ in range(3):
        tuf.rotate("root")
        tuf.signers["root"].append(tuf.signers["root"].pop(0))
    tuf.root.signed.version = 2
    signers = before if keep == "old" else tuf.signers["root"]
    tuf.files = {"metadata/2.root.json": tuf.sign(tuf.root, signers)}
    tuf.served.files = tuf.files
    assert_refused(refusals.METADATA_UNTRUSTED, tuf.client().refresh)
    assert tuf.shelf.names == []


@pytest.mark.parametrize(("version", "kind"), [(1, refusals.REPOSITORY_ROLLED_BACK), (3, refusals.METADATA_MISMATCH)])
def test_the_next_root_has_just_the_next_version(tuf: Tuf, version: int, kind: refusals.RefusalKind) -> None:
    tuf.root.signed.version = version
    tuf.files["metadata/2.root.json"] = tuf.sign(tuf.root, tuf.signers["root"])
    assert_refused(kind, tuf.client().refresh)


def test_an_expired_root_may_be_passed_but_not_stayed_at(tuf: Tuf) -> None:
    tuf.root.signed.version, tuf.root.signed.expires = 2, moment(NOW)
    tuf.write_root()
    refused = assert_refused(refusals.METADATA_EXPIRED, tuf.client().refresh)
    assert refused.place == "root"
    tuf.root.signed.version, tuf.root.signed.expires = 3, moment(NOW + 1)
    tuf.write_root()
    assert tuf.refreshed().versions.root == 3


def test_the_anchor_signs_itself(tuf: Tuf) -> None:
    anchor = tuf.sign(Metadata.from_bytes(tuf.anchor), tuf.signers["root"][:1])
    assert_refused(refusals.METADATA_UNTRUSTED, tuf.client(anchor=anchor).refresh)


def test_a_stored_root_counts_only_as_a_link_from_the_anchor(tuf: Tuf) -> None:
    stranger = Tuf()
    stranger.root.signed.version = 2
    stranger.write_root()
    tuf.shelf.files["2.root.json"] = stranger.files["metadata/2.root.json"]
    assert tuf.refreshed().versions.root == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot"])
def test_replaced_keys_end_the_past_that_they_signed(tuf: Tuf, role: str) -> None:
    """5.3.11: whoever had the keys named versions that are never reached again."""
    tuf.timestamp.signed.version = tuf.snapshot.signed.version = 1_000_000
    tuf.publish()
    tuf.refreshed()
    tuf.rotate(role)
    tuf.timestamp.signed.version = tuf.snapshot.signed.version = 2
    tuf.publish()
    assert tuf.refreshed().versions.snapshot == 2
    assert tuf.shelf.names.index("-timestamp.json") < tuf.shelf.names.index("2.root.json")


def test_other_replaced_keys_do_not(tuf: Tuf) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.rotate("targets")
    tuf.timestamp.signed.version -= 1
    tuf.publish()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)


def test_keys_that_are_added_do_not(tuf: Tuf) -> None:
    tuf.bump("targets")
    tuf.refreshed()
    tuf.root.signed.add_key(CryptoSigner.generate_ecdsa().public_key, "timestamp")
    tuf.root.signed.version += 1
    tuf.write_root()
    tuf.timestamp.signed.version -= 1
    tuf.publish()
    assert_refused(refusals.REPOSITORY_ROLLED_BACK, tuf.client().refresh)


def twenty_roots(tuf: Tuf) -> list[tuple[str, CryptoSigner]]:
    """Every role's keys replaced in turn up to root 21; the keys that were revoked on the way, and of which role."""
    revoked = []
    for version in range(20):
        role = ("root", "timestamp", "snapshot", "targets")[version % 4]
        revoked.append((role, tuf.signers[role][0]))
        tuf.rotate(role)
        tuf.signers["root"].append(tuf.signers["root"].pop(0))  # another one the next time
        tuf.bump("targets")
    return revoked


@pytest.mark.parametrize("stops", [(), (1,), (2, 3, 5, 8, 13), tuple(range(2, 21))])
def test_twenty_roots_from_wherever_one_left_off(tuf: Tuf, stops: tuple[int, ...]) -> None:
    """Met one by one, or all at once after two years in a cupboard."""
    for version in range(2, 22):
        tuf.rotate(("root", "timestamp", "snapshot", "targets")[version % 4])
        tuf.bump("targets")
        if version in stops:
            assert tuf.refreshed().versions.root == version
    assert tuf.refreshed().versions.root == 21
    assert sorted(name for name in tuf.shelf.files if name.endswith(".root.json")) == sorted(
        f"{version}.root.json" for version in range(2, 22)
    )


def test_whoever_was_revoked_in_twenty_roots_signs_for_nobody(tuf: Tuf) -> None:
    for role, key in twenty_roots(tuf):
        assert tuf.refreshed().versions.root == 21
        rightful = tuf.signers[role]
        tuf.signers[role] = [key]
        if role == "root":
            tuf.root.signed.version += 1
            tuf.write_root()
        else:
            tuf.bump("targets")
        assert assert_refused(refusals.METADATA_UNTRUSTED, tuf.client().refresh).place == role
        tuf.signers[role] = rightful
        if role == "root":
            del tuf.files["metadata/22.root.json"]
            tuf.root.signed.version -= 1
        tuf.bump("targets")


def test_a_chain_of_roots_with_a_gap_ends_there(tuf: Tuf) -> None:
    twenty_roots(tuf)
    del tuf.files["metadata/11.root.json"]
    refused = assert_refused(refusals.METADATA_UNTRUSTED, tuf.client().refresh)
    assert refused.place == "timestamp"
    assert "21.root.json" not in tuf.shelf.files


# --- thresholds ------------------------------------------------------------------------------------------------------


def two_of_two(tuf: Tuf, *signers: CryptoSigner) -> None:
    """`releases` needs two, and these sign."""
    tuf.delegate("releases", ["releases/*/*"], threshold=2, terminating=True)
    tuf.add("releases/1/a", b"a", "releases")
    tuf.publish()


def test_enough_signatures(tuf: Tuf) -> None:
    two_of_two(tuf)
    assert tuf.refreshed().target("releases/1/a")


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", "releases"])
def test_too_few_signatures(tuf: Tuf, role: str) -> None:
    two_of_two(tuf)
    tuf.signers[role].pop()
    tuf.publish()
    client = tuf.client()

    def use() -> None:
        client.refresh()
        client.target("releases/1/a")

    assert assert_refused(refusals.METADATA_UNTRUSTED, use).place == role


def test_a_signature_that_is_wrong_does_not_count(tuf: Tuf) -> None:
    document = json.loads(tuf.files["metadata/timestamp.json"])
    document["signed"]["version"] = 2
    tuf.files["metadata/timestamp.json"] = json.dumps(document).encode()
    assert_refused(refusals.METADATA_UNTRUSTED, tuf.client().refresh)


class _Alias(CryptoSigner):
    """A key under another id, and written otherwise."""

    def __init__(self, signer: CryptoSigner, keyid: str) -> None:
        key = signer.public_key
        other = {"public": "\n" + key.keyval["public"] + "\n"}
        super().__init__(signer._private_key, SSlibKey(keyid, key.keytype, key.scheme, other))


def test_one_key_under_two_ids_counts_once(tuf: Tuf) -> None:
    """A threshold met by one key twice (CVE-2020-6174, CVE-2020-15093)."""
    two_of_two(tuf)
    one, other = tuf.signers["releases"]
    alias = _Alias(one, "f" * 64)
    signed = tuf.targets["targets"].signed
    signed.revoke_key(other.public_key.keyid, "releases")
    signed.add_key(alias.public_key, "releases")
    tuf.signers["releases"] = [one, alias]
    tuf.publish()
    client = tuf.refreshed()
    refused = assert_refused(refusals.METADATA_UNTRUSTED, client.target, "releases/1/a")
    assert "by 1 of the 2" in refused.detail


@pytest.mark.parametrize("threshold", [0, -1])
@pytest.mark.parametrize("where", ["root", "timestamp", "releases"])
def test_a_threshold_of_nobody(tuf: Tuf, where: str, threshold: int) -> None:
    """Signed by all as it should be, it says that nobody has to sign: no metadata says that."""
    two_of_two(tuf)
    if where == "releases":
        delegations = tuf.targets["targets"].signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        delegations.roles["releases"].threshold = threshold
        tuf.publish()
    else:
        tuf.root.signed.roles[where].threshold = threshold
        tuf.root.signed.version = 2
        tuf.write_root()
    assert_input_refused("metadata-malformed", tuf.client().refresh)


@pytest.mark.parametrize("kind", ["ed25519", "rsa"])
def test_other_kinds_of_keys(tuf: Tuf, kind: str) -> None:
    two_of_two(tuf)
    other = CryptoSigner.generate_ed25519() if kind == "ed25519" else CryptoSigner.generate_rsa()
    tuf.targets["targets"].signed.add_key(other.public_key, "releases")
    tuf.signers["releases"][1] = other
    tuf.publish()
    assert tuf.refreshed().target("releases/1/a")


def test_keys_that_cannot_be_read_count_for_nothing(tuf: Tuf) -> None:
    two_of_two(tuf)
    for public in ("not hex", "-----BEGIN PUBLIC KEY-----\n"):
        keyid = hashlib.sha256(public.encode()).hexdigest()
        tuf.targets["targets"].signed.add_key(
            SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": public}), "releases"
        )
        tuf.root.signed.add_key(SSlibKey(keyid, "ecdsa", "ecdsa-sha2-nistp256", {"public": public}), "timestamp")
    tuf.root.signed.version = 2
    tuf.write_root()
    tuf.publish()
    assert tuf.refreshed().target("releases/1/a")
    tuf.signers["releases"].pop()
    tuf.bump(*tuf.targets)
    assert_refused(refusals.METADATA_UNTRUSTED, tuf.refreshed().target, "releases/1/a")


def test_a_root_that_cannot_be_fetched_is_not_the_end_of_them(tuf: Tuf) -> None:
    tuf.served.broken.add("metadata/2.root.json")
    with pytest.raises(NetworkFault, match="fetch-failed"):
        tuf.client().refresh()
    assert tuf.served.asked == ["metadata/2.root.json"]
