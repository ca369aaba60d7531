"""The TUF client workflow (specification 1.0, 5.3 to 5.7), clause by clause, through the conformance entry point."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from securesystemslib.formats import encode_canonical
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import DelegatedRole, MetaFile, Root, TargetFile

from support.tuf_served import Simulated, run, simulated
from support.tufs import DAY, moment

TOP = {"root": 1, "snapshot": 1, "targets": 1, "timestamp": 1}


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Simulated]:
    """Served, and the client has its first root."""
    with simulated(tmp_path) as served:
        assert served.init() == 0
        yield served


@dataclass(frozen=True)
class Keys:
    """Of one version: numbers of the keys, how many must sign, and who does."""

    keys: str
    threshold: int
    signed: str


SIGNERS = [CryptoSigner.generate_ed25519() for _ in range(10)]
ROTATIONS = {
    "one key after another": ([Keys("1", 1, "1"), Keys("2", 1, "21"), Keys("2", 1, "2")], 3),
    "signatures of strangers": ([Keys("1", 1, "314"), Keys("2", 1, "3214"), Keys("2", 1, "324")], 3),
    "three of five, others each time": ([Keys("01234", 3, "024"), Keys("01234", 3, "041"), Keys("01234", 3, "013")], 3),
    "three of five, one replaced": ([Keys("01234", 3, "024"), Keys("01345", 3, "041")], 2),
    "three of five, all replaced": ([Keys("01234", 3, "024"), Keys("56789", 3, "024567"), Keys("56789", 3, "567")], 3),
    "a higher threshold": ([Keys("123", 1, "1"), Keys("123", 2, "12")], 2),
    "a lower threshold": ([Keys("123", 2, "12"), Keys("123", 1, "12"), Keys("123", 1, "1")], 3),
    "not by the old key": ([Keys("1", 1, "1"), Keys("2", 1, "234")], 1),
    "not by the new key": ([Keys("1", 1, "1"), Keys("2", 1, "134")], 1),
    "not by enough of the new": ([Keys("01234", 3, "024"), Keys("01345", 3, "024")], 1),
    "not by enough of the old": ([Keys("01234", 3, "024"), Keys("01345", 3, "045")], 1),
    "below the higher threshold": ([Keys("123", 1, "1"), Keys("123", 2, "2")], 1),
    "below the threshold that was": ([Keys("123", 2, "12"), Keys("123", 1, "1")], 1),
    "a gap is not leapt": ([Keys("1", 1, "1"), Keys("2", 1, "2"), Keys("2", 1, "21")], 1),
}
"""Roots from version 1, and the one that the client ends on."""
SIGNATURES = {
    "a new key": (Keys("2", 1, "2"), True),
    "strangers beside it": (Keys("1", 1, "314"), True),
    "any three of five": (Keys("01234", 3, "123"), True),
    "only strangers": (Keys("2", 1, "134"), False),
    "two of three and a stranger": (Keys("01345", 3, "024"), False),
    "one too few": (Keys("01345", 3, "04"), False),
    "more than there are": (Keys("01", 3, "01"), False),
}
GRAPHS = {
    "in order": (["targets A", "targets B"], "AB"),
    "depth first": (["targets A", "targets B", "A C", "A D"], "ACDB"),
    "to the bottom first": (["targets A", "targets B", "A C", "C D"], "ACDB"),
    "terminating ends all but what is below": (["targets A", "targets B", "A C !", "A D"], "AC"),
    "below a terminating one": (["targets A", "targets B", "A C !", "C D"], "ACD"),
    "only along matching paths": (["targets A *.py", "targets B", "A C"], "B"),
    "also further down": (["targets A", "targets B", "A C *.py", "C D"], "AB"),
    "in a circle": (["targets A", "targets B", "B C", "C D", "D B"], "ABCD"),
    "each role once": (["targets A", "targets B", "B C", "A C"], "ACB"),
    "by the way that leads there": (["targets A", "targets B", "B C", "A C *.py"], "ABC"),
}
"""Delegations (`!` terminating), and the roles asked for a target that no role has."""


def rekeyed(repository: Simulated, role: str, keys: Keys) -> None:
    """Keys and threshold of a role in the root that is prepared, and who signs for it."""
    root: Root = repository.root.signed
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    for number in keys.keys:
        root.add_key(SIGNERS[int(number)].public_key, role)
    root.roles[role].threshold = keys.threshold
    repository.signers[role] = [SIGNERS[int(number)] for number in keys.signed]


def next_root(repository: Simulated) -> None:
    repository.root.signed.version += 1
    repository.write_root()


# --- the protocol ----------------------------------------------------------------------------------------------------


def test_a_first_refresh_asks_for_each_once_and_keeps_it(repository: Simulated) -> None:
    assert repository.refresh() == 0
    assert repository.requested == [
        f"metadata/{name}.json" for name in ("2.root", "timestamp", "1.snapshot", "1.targets")
    ]
    assert repository.trusted == TOP
    assert repository.stored("targets") == repository.files["metadata/1.targets.json"]


def test_what_is_kept_is_what_came_byte_for_byte(repository: Simulated) -> None:
    next_root(repository)
    names = {"root": "2.root", "timestamp": "timestamp", "snapshot": "1.snapshot", "targets": "1.targets"}
    repository.write_targets(stated=False)
    repository.write_snapshot(stated=False)
    repository.write_timestamp()
    for name in names.values():
        repository.files[f"metadata/{name}.json"] = b"\n" + repository.files[f"metadata/{name}.json"] + b"\t "
    assert repository.refresh() == 0
    for role, name in names.items():
        assert repository.stored(role) == repository.files[f"metadata/{name}.json"]


def test_a_download_refreshes_first(repository: Simulated) -> None:
    assert repository.download("nothing of the kind") == 1
    assert repository.trusted == TOP
    assert repository.downloaded == []


@pytest.mark.parametrize(
    "arguments", [["refresh", "root.json"], ["init"], ["download", "--target-name", "a"], ["upgrade"], []]
)
def test_calls_that_are_none(repository: Simulated, arguments: list[str]) -> None:
    assert run("--metadata-dir", str(repository.arguments()[1]), *arguments) == 1
    assert repository.requested == []


def test_as_a_program(repository: Simulated) -> None:
    repository.add("a", b"first")
    repository.add("b", b"second")
    repository.bump("targets")
    assert run(*repository.arguments()[:2], "init", str(Path(repository.arguments()[1]).parent / "initial.json")) == 0
    assert run(*repository.arguments("refresh")) == 0
    assert run(*repository.arguments(*repository.wanted("a", "b"), "download")) == 0
    assert repository.downloaded == [b"first", b"second"]
    assert run(*repository.arguments(*repository.wanted("a", "c"), "download")) == 1


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
@pytest.mark.parametrize(("days", "code"), [(18, 0), (31, 1), (-400, 0)])
def test_the_clock_is_the_system_s(repository: Simulated, days: int, code: int) -> None:
    assert run(*repository.arguments("refresh"), before=("faketime", "-f", f"{days:+d}d")) == code


# --- 5.2, 5.3: roots -------------------------------------------------------------------------------------------------


def spoiled(change: Callable[[dict[str, dict[str, object]]], object]) -> Callable[[bytes], bytes]:
    def spoil(root: bytes) -> bytes:
        document = json.loads(root)
        change(document)
        return json.dumps(document).encode()

    return spoil


@pytest.mark.parametrize(
    "spoil",
    [
        spoiled(lambda root: root["signed"].pop("version")),
        spoiled(lambda root: root["signed"].update(version=2)),
        spoiled(lambda root: root.update(signatures=root["signatures"][:1])),  # type: ignore[index]
        lambda root: root[:-1],
    ],
)
def test_with_a_first_root_that_is_none_nothing_is_asked_for(
    repository: Simulated, spoil: Callable[[bytes], bytes]
) -> None:
    repository.init(spoil(repository.anchor))
    assert repository.refresh() == 1
    assert repository.requested == []


@pytest.mark.parametrize(("versions", "last"), ROTATIONS.values(), ids=ROTATIONS)
def test_roots(repository: Simulated, versions: list[Keys], last: int) -> None:
    repository.root.signed.version = 0
    for keys in versions:
        rekeyed(repository, "root", keys)
        next_root(repository)
    assert repository.init(repository.files["metadata/1.root.json"]) == 0
    assert repository.refresh() == (0 if last == len(versions) else 1)
    assert repository.stored("root") == repository.files[f"metadata/{last}.root.json"]


@pytest.mark.parametrize("version", [1, 3])
def test_the_next_root_has_the_next_version(repository: Simulated, version: int) -> None:
    repository.root.signed.version = version
    repository.files["metadata/2.root.json"] = repository.sign(repository.root, repository.signers["root"])
    assert repository.refresh() == 1
    assert repository.trusted == {"root": 1}


def test_an_expired_root_is_kept_and_ends_the_refresh(repository: Simulated) -> None:
    assert repository.refresh() == 0
    repository.root.signed.expires = moment(repository.now - DAY)
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == 1
    assert repository.trusted == {**TOP, "root": 2}
    repository.root.signed.expires = repository.later
    next_root(repository)
    assert repository.refresh() == 0
    assert repository.trusted == {"root": 3, "snapshot": 2, "targets": 2, "timestamp": 2}


def test_an_expired_root_on_the_way_does_not_matter(repository: Simulated) -> None:
    for expires in (moment(repository.now - DAY), repository.later):
        repository.root.signed.expires = expires
        next_root(repository)
    assert repository.refresh() == 0
    assert repository.trusted["root"] == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda role: role.update(keyids=role["keyids"] * 2),
        lambda role: role.update(threshold=0),
        lambda role: role.update(threshold=-1),
    ],
    ids=["a key id twice", "nobody", "fewer than nobody"],
)
@pytest.mark.parametrize("role", ["root", "timestamp"])
def test_a_root_whose_roles_are_none(
    repository: Simulated, role: str, change: Callable[[dict[str, Any]], object]
) -> None:
    """Signed as it should be: it is what it says of a role."""
    repository.root.signed.version = 2
    signed = repository.root.signed.to_dict()
    change(signed["roles"][role])
    signatures = [signer.sign(encode_canonical(signed).encode()).to_dict() for signer in repository.signers["root"]]
    document = {"signed": signed, "signatures": signatures}
    repository.files["metadata/2.root.json"] = json.dumps(document).encode()
    assert repository.refresh() == 1
    assert repository.trusted == {"root": 1}


@pytest.mark.parametrize(("version", "code"), [("1.99.7", 0), ("2.0.0", 1), ("0.9.0", 1)])
@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_metadata_of_another_specification(repository: Simulated, role: str, version: str, code: int) -> None:
    """The major version has to be ours."""
    assert repository.refresh() == 0
    repository.all[role].signed.spec_version = version
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == code
    assert repository.trusted[role] == (1 if code else 2)


def test_fields_that_nobody_knows_are_signed_like_all_others(repository: Simulated) -> None:
    root = repository.root.signed
    root.unrecognized_fields["more"] = {"a": [1, None]}
    root.roles["root"].unrecognized_fields["note"] = "text"
    root.keys[root.roles["root"].keyids[0]].unrecognized_fields["keyid_hash_algorithms"] = ["md5"]
    next_root(repository)
    assert repository.refresh() == 0
    document = json.loads(repository.files["metadata/2.root.json"])
    document["signed"]["more"]["a"] = [2]
    repository.files["metadata/2.root.json"] = json.dumps(document).encode()
    assert repository.init() == 0
    assert repository.refresh() == 1


@pytest.mark.parametrize(
    ("forward", "rotated"),
    [
        (["timestamp", "snapshot", "targets"], ["timestamp", "snapshot"]),
        (["timestamp"], ["timestamp"]),
        (["snapshot"], ["timestamp", "snapshot"]),
        (["targets"], ["snapshot"]),
    ],
)
def test_fast_forward_is_recovered_from_by_new_keys(
    repository: Simulated, forward: list[str], rotated: list[str]
) -> None:
    """5.3.11, with the keys of whoever named the versions."""
    for role in forward:
        repository.all[role].signed.version = 99_999
    repository.publish()
    assert repository.refresh() == 0
    for role in forward:
        repository.all[role].signed.version = 1
    repository.timestamp.signed.version += "timestamp" not in forward
    repository.snapshot.signed.version += "snapshot" not in forward
    repository.publish()
    assert repository.refresh() == 1
    for role in rotated:
        repository.rotate(role)
    repository.publish()
    assert repository.refresh() == 0
    assert repository.trusted == {role: metadata.signed.version for role, metadata in repository.all.items()}


def test_keys_that_are_added_end_nobody_s_past(repository: Simulated) -> None:
    assert repository.refresh() == 0
    rekeyed_role = repository.root.signed.roles["snapshot"]
    repository.root.signed.add_key(SIGNERS[0].public_key, "snapshot")
    rekeyed_role.threshold = 2
    next_root(repository)
    repository.bump()
    assert repository.refresh() == 1
    assert repository.trusted == {"root": 2, "snapshot": 1, "targets": 1, "timestamp": 2}


# --- signatures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keys", "accepted"), SIGNATURES.values(), ids=SIGNATURES)
@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_signatures(repository: Simulated, role: str, keys: Keys, accepted: bool) -> None:
    assert repository.refresh() == 0
    rekeyed(repository, role, keys)
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == (0 if accepted else 1)
    if accepted:
        assert repository.trusted == {"root": 2, "snapshot": 2, "targets": 2, "timestamp": 2}
    else:
        assert repository.trusted.get(role, 1) == 1
        assert repository.trusted["root"] == 2


@pytest.mark.parametrize(
    ("role", "trusted"),
    [
        ("timestamp", {"root": 1}),
        ("snapshot", {"root": 1, "timestamp": 1}),
        ("targets", {"root": 1, "timestamp": 1, "snapshot": 1}),
    ],
)
def test_what_is_unsigned_is_as_far_as_it_goes(repository: Simulated, role: str, trusted: dict[str, int]) -> None:
    repository.signers[role] = []
    repository.publish()
    assert repository.refresh() == 1
    assert repository.trusted == trusted


def test_one_key_signs_once_however_often_it_is_named(repository: Simulated) -> None:
    """Key ids that stand twice, and two ids of one key."""
    rekeyed(repository, "snapshot", Keys("0", 2, "0"))
    root = repository.root.signed
    twin = SIGNERS[0].public_key.to_dict()
    key = type(SIGNERS[0].public_key).from_dict("ab" * 32, twin)
    root.add_key(key, "snapshot")
    next_root(repository)
    repository.bump()
    snapshot = json.loads(repository.files["metadata/2.snapshot.json"])
    snapshot["signatures"].append({**snapshot["signatures"][0], "keyid": "ab" * 32})
    data = json.dumps(snapshot).encode()
    repository.files["metadata/2.snapshot.json"] = data
    meta = repository.timestamp.signed.snapshot_meta
    meta.length, meta.hashes = len(data), None
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert "snapshot" not in repository.trusted


def test_a_key_id_that_signs_twice_makes_no_metadata(repository: Simulated) -> None:
    document = json.loads(repository.files["metadata/timestamp.json"])
    document["signatures"] *= 2
    repository.files["metadata/timestamp.json"] = json.dumps(document).encode()
    assert repository.refresh() == 1
    assert repository.trusted == {"root": 1}


@pytest.mark.parametrize("text", [None, "", "no hexadecimal"])
def test_a_wrong_signature_takes_nothing_from_a_right_one(repository: Simulated, text: str | None) -> None:
    """None: one of something else."""
    repository.root.signed.add_key(SIGNERS[0].public_key, "timestamp")
    repository.signers["timestamp"].append(SIGNERS[0])
    next_root(repository)
    repository.write_timestamp()
    document = json.loads(repository.files["metadata/timestamp.json"])
    wrong, right = document["signatures"]
    other = repository.signers["timestamp"][0].sign(b"something else")
    wrong["sig"] = other.signature if text is None else text
    for signatures, code in (([wrong], 1), ([wrong, right], 0)):
        document["signatures"] = signatures
        repository.files["metadata/timestamp.json"] = json.dumps(document).encode()
        assert repository.refresh() == code


@pytest.mark.parametrize(
    "signer",
    [
        CryptoSigner.generate_ed25519,
        CryptoSigner.generate_ecdsa,
        CryptoSigner.generate_rsa,
        lambda: CryptoSigner.generate_rsa(scheme="rsa-pkcs1v15-sha256"),
    ],
    ids=["ed25519", "ecdsa", "rsa-pss", "rsa-pkcs1v15"],
)
def test_kinds_of_keys(repository: Simulated, signer: Callable[[], CryptoSigner]) -> None:
    made = signer()
    repository.root.signed.revoke_key(repository.root.signed.roles["targets"].keyids[0], "targets")
    repository.root.signed.add_key(made.public_key, "targets")
    repository.signers["targets"] = [made]
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == 0
    repository.bump("targets")
    repository.write_targets(stated=False)
    document = json.loads(repository.files["metadata/3.targets.json"])
    document["signatures"][0]["sig"] = made.sign(b"something else").signature
    repository.files["metadata/3.targets.json"] = json.dumps(document).encode()
    repository.write_snapshot()
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert repository.trusted["targets"] == 2


# --- 5.4, 5.5, 5.6: timestamp, snapshot, targets ---------------------------------------------------------------------


def test_a_timestamp_that_goes_back(repository: Simulated) -> None:
    repository.bump()
    assert repository.refresh() == 0
    repository.timestamp.signed.version = 1
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert repository.trusted["timestamp"] == 2
    assert repository.requested[-1] == "metadata/timestamp.json"


def test_a_timestamp_of_the_same_version_is_the_one_we_have(repository: Simulated) -> None:
    assert repository.refresh() == 0
    before = repository.stored("timestamp")
    repository.timestamp.signed.snapshot_meta.version = 100
    repository.write_timestamp()
    assert repository.refresh() == 0
    assert repository.stored("timestamp") == before
    assert repository.requested[-1] == "metadata/timestamp.json"


@pytest.mark.parametrize("stated", [True, False])
def test_a_snapshot_that_goes_back(repository: Simulated, stated: bool) -> None:
    repository.bump()
    assert repository.refresh() == 0
    repository.snapshot.signed.version, repository.timestamp.signed.version = 1, 3
    repository.write_snapshot(stated=stated)
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert repository.trusted["timestamp"] == repository.trusted["snapshot"] == 2


@pytest.mark.parametrize("stated", [True, False])
def test_targets_that_go_back(repository: Simulated, stated: bool) -> None:
    repository.bump("targets")
    assert repository.refresh() == 0
    repository.targets["targets"].signed.version = 1
    for metadata in (repository.snapshot, repository.timestamp):
        metadata.signed.version = 3
    repository.write_targets(stated=stated)
    repository.write_snapshot(stated=stated)
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert repository.trusted["snapshot"] == repository.trusted["targets"] == 2


def test_a_snapshot_that_no_longer_names_a_role(repository: Simulated) -> None:
    repository.delegate("role", ["*"])
    repository.publish()
    assert repository.refresh() == 0
    del repository.snapshot.signed.meta["role.json"]
    repository.bump("targets")
    assert repository.refresh() == 1
    assert repository.trusted["snapshot"] == 1


@pytest.mark.parametrize(
    ("role", "trusted"),
    [
        ("timestamp", {"root": 1, "snapshot": 1, "targets": 1, "timestamp": 1}),
        ("snapshot", {"root": 1, "snapshot": 1, "targets": 1, "timestamp": 2}),
        ("targets", {"root": 1, "snapshot": 2, "targets": 1, "timestamp": 2}),
    ],
)
def test_a_file_that_is_not_there(repository: Simulated, role: str, trusted: dict[str, int]) -> None:
    assert repository.refresh() == 0
    repository.bump("targets")
    name = f"metadata/{'' if role == 'timestamp' else '2.'}{role}.json"
    del repository.files[name]
    assert repository.refresh() == 1
    assert repository.requested[-1] == name
    assert repository.trusted == trusted


def test_a_role_s_metadata_is_not_another_s_whoever_signed_it(repository: Simulated) -> None:
    """The snapshot by the timestamp's key, with all that a timestamp has but its type."""
    repository.signers["snapshot"] = repository.signers["timestamp"]
    snapshot = repository.snapshot.signed
    snapshot.meta = {"snapshot.json": MetaFile(1)}
    repository.files["metadata/timestamp.json"] = repository.sign(repository.snapshot, repository.signers["timestamp"])
    assert repository.refresh() == 1
    assert repository.trusted == {"root": 1}


@pytest.mark.parametrize("role", ["snapshot", "targets"])
@pytest.mark.parametrize("what", ["hash", "length", "version"])
def test_a_file_that_is_not_the_one_named(repository: Simulated, role: str, what: str) -> None:
    assert repository.refresh() == 0
    repository.bump("targets")
    named = {
        "snapshot": repository.timestamp.signed.snapshot_meta,
        "targets": repository.snapshot.signed.meta["targets.json"],
    }[role]
    if what == "hash":
        named.hashes = {"sha256": "00" * 32}
    elif what == "length":
        named.length = (named.length or 0) - 1
    else:
        name = f"metadata/{named.version}.{role}.json"
        named.version, named.length, named.hashes = named.version + 1, None, None
        repository.files[f"metadata/{named.version}.{role}.json"] = repository.files[name]
    if role == "targets":
        repository.write_snapshot()
    repository.write_timestamp()
    assert repository.refresh() == 1
    assert repository.trusted[role] == 1


def test_targets_that_the_snapshot_does_not_name_yet(repository: Simulated) -> None:
    assert repository.refresh() == 0
    repository.targets["targets"].signed.version = 2
    repository.files["metadata/2.targets.json"] = repository.sign(
        repository.targets["targets"], repository.signers["targets"]
    )
    assert repository.refresh() == 0
    assert repository.trusted == TOP
    assert repository.requested[-1] == "metadata/timestamp.json"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_what_has_expired(repository: Simulated, role: str) -> None:
    assert repository.refresh() == 0
    repository.all[role].signed.expires = moment(repository.now - DAY)
    repository.bump("targets")
    assert repository.refresh() == 1
    assert repository.trusted[role] == 1


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_what_we_have_may_have_expired_where_there_is_newer(
    repository: Simulated, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    signed = repository.all[role].signed
    signed.expires = moment(repository.now + 7 * DAY)
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == 0
    later = time.time() + 18 * DAY
    monkeypatch.setattr("support.tuf_client.time.time", lambda: later)
    assert repository.refresh() == 1
    assert repository.trusted == dict.fromkeys(TOP, 2)
    signed.expires = moment(repository.now + 21 * DAY)
    next_root(repository)
    repository.bump("targets")
    assert repository.refresh() == 0
    assert repository.trusted == dict.fromkeys(TOP, 3)


@pytest.mark.parametrize("name", ["timestamp", "1.snapshot", "1.targets"])
def test_endless_data(repository: Simulated, name: str) -> None:
    for metadata in (repository.snapshot.signed.meta["targets.json"], repository.timestamp.signed.snapshot_meta):
        metadata.length = metadata.hashes = None
    repository.write_snapshot(stated=False)
    repository.write_timestamp()
    repository.files[f"metadata/{name}.json"] += b" " * 5_000_001
    assert repository.refresh() == 1
    assert name.rpartition(".")[2] not in repository.trusted


# --- 5.6.7: delegations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("delegations", "visited"), GRAPHS.values(), ids=GRAPHS)
def test_the_order_of_delegations(repository: Simulated, delegations: list[str], visited: str) -> None:
    for each in delegations:
        by, role, *rest = each.split()
        known = repository.targets.get(role), repository.signers.get(role)
        pattern = [word for word in rest if word != "!"] or ["*"]
        repository.delegate(role, pattern, by, terminating="!" in rest)
        if known[0] and known[1]:
            delegating = repository.targets[by].signed
            delegating.revoke_key(repository.signers[role][0].public_key.keyid, role)
            delegating.add_key(known[1][0].public_key, role)
            repository.targets[role], repository.signers[role] = known[0], known[1]
    repository.publish()
    assert repository.download("missing") == 1
    assert "".join(repository.roles_requested) == visited
    assert set(repository.trusted) == {*TOP, *visited}


@pytest.mark.parametrize(
    ("name", "found", "visited"),
    [
        ("file", True, ""),
        ("README.md", True, "A"),
        ("releases/x/x_v1", True, "BC"),
        ("releases/y/y_v1.zip", True, "BD"),
        ("releases/z/z_v1.zip", False, "B"),
        ("a/b.md", False, ""),
    ],
)
def test_paths_of_delegations(repository: Simulated, name: str, found: bool, visited: str) -> None:
    repository.delegate("A", ["*.doc", "*.md"])
    repository.delegate("B", ["releases/*/*"])
    repository.delegate("C", ["releases/x/*"], "B")
    repository.delegate("D", ["releases/y/*.zip"], "B")
    listed = [
        ("file", "targets"), ("README.md", "A"), ("a/b.md", "A"), ("releases/x/x_v1", "C"),
        ("releases/y/y_v1.zip", "D"), ("releases/z/z_v1.zip", "D"),
    ]  # fmt: skip
    for path, role in listed:
        repository.add(path, path.encode(), role)
    repository.publish()
    assert repository.download(name) == (0 if found else 1)
    assert repository.downloaded == ([name.encode()] if found else [])
    assert "".join(repository.roles_requested) == visited


@pytest.mark.parametrize("role", ["?", "#", "/role", "../role", "..", ".", "a b", "ä%41", "9.root"])
@pytest.mark.parametrize("consistent", [True, False])
def test_roles_with_odd_names(repository: Simulated, role: str, consistent: bool) -> None:
    repository.root.signed.consistent_snapshot = consistent
    next_root(repository)
    repository.delegate(role, ["*"])
    target = repository.add("x", b"x", role)
    repository.publish()
    if not consistent:
        unversion(repository, target)
    assert repository.refresh() == 0
    assert repository.download("x") == 0
    prefix = "1." if consistent else ""
    assert f"metadata/{prefix}{quote(role, safe='')}.json" in repository.requested
    assert len(repository.trusted) == 5
    assert repository.trusted["root"] == 2
    assert repository.refresh() == 0


def unversion(repository: Simulated, *targets: TargetFile) -> None:
    """As a repository without consistent snapshots has its files."""
    for name in [*repository.targets, "snapshot"]:
        repository.files[f"metadata/{name}.json"] = repository.files.pop(f"metadata/1.{name}.json")
    for target in targets:
        repository.files[f"targets/{target.path}"] = repository.files.pop(f"targets/{target.get_prefixed_paths()[0]}")


@pytest.mark.parametrize("fault", ["unsigned", "below the threshold", "not named", "another version", "gone back"])
def test_a_delegated_role_that_is_not_to_be_trusted(repository: Simulated, fault: str) -> None:
    repository.delegate("role", ["*"], threshold=2)
    repository.add("x", b"x", "role")
    repository.bump("role", "targets")
    if fault == "gone back":
        repository.targets["role"].signed.version = 2
        repository.bump("targets")
        repository.write_targets("role")
        repository.write_snapshot()
        repository.write_timestamp()
        assert repository.refresh() == 0
        repository.targets["role"].signed.version = 1
    signers = repository.signers["role"]
    if fault in {"unsigned", "below the threshold"}:
        repository.signers["role"] = signers[: fault != "unsigned"]
    repository.write_targets("role", stated=False)
    if fault == "not named":
        del repository.snapshot.signed.meta["role.json"]
    if fault == "another version":
        named = repository.snapshot.signed.meta["role.json"]
        named.version += 1
        names = [f"metadata/{version}.role.json" for version in (named.version, named.version - 1)]
        repository.files[names[0]] = repository.files[names[1]]
    for metadata in (repository.snapshot, repository.timestamp):
        metadata.signed.version += 1
    repository.write_snapshot()
    repository.write_timestamp()
    assert repository.download("x") == 1
    assert repository.downloaded == []
    assert "role" not in repository.trusted


def test_delegations_by_hashes_of_paths(repository: Simulated) -> None:
    digest = hashlib.sha256(b"x").hexdigest()
    for role, prefix in {"A": f"{(int(digest[0], 16) + 1) % 16:x}", "B": digest[:3]}.items():
        repository.delegate(role, [])
        delegations = repository.targets["targets"].signed.delegations
        assert delegations is not None
        assert delegations.roles is not None
        keyids = delegations.roles[role].keyids
        delegations.roles[role] = DelegatedRole(role, keyids, 1, False, path_hash_prefixes=[prefix])
    repository.add("x", b"x", "B")
    repository.publish()
    assert repository.download("x") == 0
    assert repository.roles_requested == ["B"]


def test_hash_bins(repository: Simulated) -> None:
    repository.bins("targets", "bin", 4)
    names = [f"directives/{number}" for number in range(6)]
    for name in names:
        repository.add(name, name.encode(), repository.bin_of("targets", name))
    repository.publish()
    assert repository.download(*names) == 0
    assert repository.downloaded == [name.encode() for name in names]
    assert set(repository.roles_requested) == {repository.bin_of("targets", name) for name in names}
    assert repository.download("directives/missing") == 1


def test_a_delegated_role_that_has_expired(repository: Simulated, monkeypatch: pytest.MonkeyPatch) -> None:
    """First seen so, then while we have it; a newer one takes its place."""
    repository.delegate("role", ["a/*"])
    for name in ("a/1", "a/2"):
        repository.add(name, name.encode(), "role")
    signed = repository.targets["role"].signed
    signed.expires = moment(repository.now - DAY)
    repository.publish()
    assert repository.refresh() == 0
    assert repository.download("a/1") == 1
    assert repository.trusted == TOP
    signed.expires = moment(repository.now + 7 * DAY)
    repository.bump("role")
    assert repository.download("a/1") == 0
    later = time.time() + 18 * DAY
    monkeypatch.setattr("support.tuf_client.time.time", lambda: later)
    assert repository.download("a/2") == 1
    signed.expires, signed.version = moment(repository.now + 21 * DAY), 2
    repository.bump("role")
    assert repository.download("a/2") == 0
    assert repository.downloaded == [b"a/1", b"a/2"]


# --- 5.7: targets ----------------------------------------------------------------------------------------------------


def downloaded(repository: Simulated, name: str, consistent: bool) -> TargetFile:
    """A target that was added and fetched, of a repository with or without consistent snapshots."""
    repository.root.signed.consistent_snapshot = consistent
    next_root(repository)
    target = repository.add(name, b"contents")
    repository.publish()
    if not consistent:
        unversion(repository, target)
    assert repository.download(name) == 0
    assert repository.downloaded == [b"contents"]
    return target


@pytest.mark.parametrize("consistent", [True, False])
@pytest.mark.parametrize("name", ["file", "path/to/a/file.txt"])
def test_a_download(repository: Simulated, name: str, consistent: bool) -> None:
    target = downloaded(repository, name, consistent)
    if consistent:
        folder, _, file = name.rpartition("/")
        assert repository.requested[-1] == f"targets/{folder}{'/' if folder else ''}{target.hashes['sha256']}.{file}"
    else:
        assert repository.requested == [
            *(f"metadata/{each}.json" for each in ("2.root", "3.root", "timestamp", "snapshot", "targets")),
            f"targets/{name}",
        ]
    assert repository.download(name) == 0
    assert not any(path.startswith("targets/") for path in repository.requested)


def test_a_target_that_is_exchanged(repository: Simulated) -> None:
    paths = {name: f"targets/{repository.add(name, name.encode()).get_prefixed_paths()[0]}" for name in "ab"}
    repository.publish()
    assert repository.download("a") == 0
    for path in paths.values():
        repository.files[path] = b"!"
    assert repository.download("a") == 0
    assert repository.download("b") == 1
    assert repository.downloaded == [b"a"]


def test_a_target_that_changes(repository: Simulated) -> None:
    for number in range(4):
        target = repository.add("file", b"version %d" % number)
        repository.bump("targets")
        assert repository.download("file") == 0
        assert repository.downloaded == [b"version %d" % number]
        repository.files[f"targets/{target.get_prefixed_paths()[0]}"] += b"!"
        repository.download("file")
        assert repository.downloaded == [b"version %d" % number]


@pytest.mark.parametrize("name", ["?", "#", "a b", "ä", "%41", "a/?b", "a//b", "/a", "../a", "a/../../b", ".", "a\\b"])
@pytest.mark.parametrize("consistent", [True, False])
def test_targets_with_odd_names(repository: Simulated, name: str, consistent: bool) -> None:
    """Asked for under the escaped name, and kept within the folder."""
    target = downloaded(repository, name, consistent)
    path = target.get_prefixed_paths()[0] if consistent else name
    assert repository.requested[-1] == f"targets/{quote(path, safe='/')}"


@pytest.mark.parametrize(
    ("names", "code"), [("sha256", 0), ("sha512", 0), ("sha256 sha512", 0), ("best-hash sha256", 0), ("best-hash", 1)]
)
def test_hashes_of_a_target(repository: Simulated, names: str, code: int) -> None:
    """At least one is known."""
    target = repository.add("x", b"x")
    target.hashes = {name: hashlib.new(name.replace("best-hash", "sha384"), b"x").hexdigest() for name in names.split()}
    repository.files |= {f"targets/{path}": b"x" for path in target.get_prefixed_paths()}
    repository.bump("targets")
    assert repository.download("x") == code
    assert repository.downloaded == [b"x"] * (1 - code)


@pytest.mark.parametrize("wrong", ["sha256", "sha512"])
def test_each_hash_of_a_target_counts(repository: Simulated, wrong: str) -> None:
    target = repository.add("x", b"x")
    target.hashes = {name: hashlib.new(name, b"x").hexdigest() for name in ("sha256", "sha512")}
    target.hashes[wrong] = hashlib.new(wrong, b"y").hexdigest()
    repository.files |= {f"targets/{path}": b"x" for path in target.get_prefixed_paths()}
    repository.bump("targets")
    assert repository.download("x") == 1
    assert repository.downloaded == []


@pytest.mark.parametrize("data", [b"content", b"contents, and more", b""])
def test_a_target_of_another_length(repository: Simulated, data: bytes) -> None:
    target = repository.add("x", b"contents")
    target.hashes["sha256"] = hashlib.sha256(data).hexdigest()
    repository.bump("targets")
    repository.files[f"targets/{target.get_prefixed_paths()[0]}"] = data
    assert repository.download("x") == 1
    assert repository.downloaded == []
