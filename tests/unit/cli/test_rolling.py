"""`medvouch release rollout`: a plan, a fleet and a collector's database in, directives and a log out."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from medvouch.adapters.locking import locked
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.adapters.rollouts import RolloutFolder
from medvouch.adapters.store import SqliteStore
from medvouch.attestation.appraisal import BootClock
from medvouch.cli import rolling_out
from medvouch.cli.keys import opened_folder
from medvouch.collector.registry import Claimed, EnrolledDevice, GivenAnswer, Judged, Registry
from medvouch.formats.directive import Directive
from medvouch.formats.enrolment import device_id
from medvouch.formats.rollout import Rollout
from medvouch.release.repository import AuthoredRepository
from medvouch.update.directing import resolve
from medvouch.update.repository import Repository
from support.authoring import BASE, FromFiles, keys_folder
from support.cli import Called, Caller
from support.killing import killed
from support.rollouts import DAY, HOUR, NOW, PLAN, RELEASE, UNTIL, entry, fleet_file, ueid
from support.suit import enclosed, manifest, released
from support.tufs import Shelf

ENVELOPE = released()
SEQUENCE = 11
"""Of its manifest."""
DEVICES = range(4)
POINTS = range(40)


@dataclasses.dataclass
class Desk:
    """A director's desk: a repository with one release, a plan for four devices, and a collector's database."""

    folder: Path
    medvouch: Caller
    now: int = NOW

    @property
    def places(self) -> tuple[object, ...]:
        return ("--repository", self.folder / "repository")

    @property
    def keys(self) -> tuple[object, ...]:
        return ("--keys", self.folder / "keys")

    @property
    def collector(self) -> tuple[object, ...]:
        return ("--collector", self.folder / "state.db")

    def __call__(self, action: str, *arguments: object) -> Called:
        return self.medvouch("release", "rollout", action, *arguments, *self.places)

    @contextmanager
    def publishing(self) -> Iterator[AuthoredRepository]:
        """By hand, past the gate."""
        with opened_folder(self.folder / "keys") as keys:
            repository = AuthoredRepository.open(FileMetadataStore(self.folder / "repository"), keys)
            yield repository
            repository.publish(self.now)

    def started(self, *arguments: object) -> Called:
        return self("start", self.folder / "plan.toml", "--fleet", self.folder / "fleet.json", *arguments)

    def step(self, *arguments: object) -> Called:
        return self("step", *self.keys, *self.collector, *arguments)

    def rollout(self, name: str = "all") -> Rollout:
        return RolloutFolder(self.folder / "repository.rollouts").read(name)

    def registry(self) -> closing[SqliteStore]:
        return closing(SqliteStore(self.folder / "state.db"))

    def judged(self, number: bytes, version: str = "1.1.0", code: str = "") -> None:
        with self.registry() as store:
            registry, device = Registry(store), device_id(number)
            if code:
                registry.refused(device, Judged("contraindicated", code, "", self.now))
            else:
                registry.accepted(device, BootClock(1, 0, 0), None, Judged("affirming", "", version, self.now))

    def said(self, number: bytes, state: str, reason: str = "") -> None:
        with self.registry() as store:
            registry, device = Registry(store), device_id(number)
            seq = self.now - NOW + 1
            assert registry.claimed(device, Claimed(state, "1.1.0", SEQUENCE, reason, "automatic", seq, self.now))

    def directed(self) -> dict[bytes, Directive]:
        return directed(self.folder / "repository", self.now)


def directed(folder: Path, now: int = NOW) -> dict[bytes, Directive]:
    """What the devices of the fleet are directed to, as each of them sees it."""
    files, root = FileMetadataStore(folder), (folder / "metadata" / "1.root.json").read_bytes()
    client = Repository(BASE, FromFiles(files), Shelf(), lambda: now, root)
    client.refresh()
    found = {ueid(number): resolve(client, ueid(number), device_id(ueid(number)), now) for number in DEVICES}
    return {device: each.directive for device, each in found.items() if each}


@pytest.fixture
def desk(tmp_path: Path, medvouch: Caller, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path, medvouch)
    monkeypatch.setattr("time.time", lambda: made.now + 0.5)
    keys_folder(tmp_path / "keys")
    assert medvouch("release", "init", "--bins", "1", *made.places, *made.keys).code == 0
    with made.publishing() as repository:
        repository.add_release("1.1.0", {"release.suit": ENVELOPE})
    (tmp_path / "plan.toml").write_text(PLAN.replace("silent_hours = 48", "silent_hours = 24"))
    entries = [entry(number, labels=["lab"] if number == 0 else []) for number in DEVICES]
    (tmp_path / "fleet.json").write_bytes(fleet_file(*entries))
    with made.registry() as store:
        for number in DEVICES:
            Registry(store).add(enrolled(number), f"new-{number}", GivenAnswer(bytes(32), b""))
    return made


def enrolled(number: int) -> EnrolledDevice:
    return EnrolledDevice(
        device=device_id(ueid(number)), serial=f"SN-{number}", ek_hash=bytes([number]) * 32, attestation_key=b"",
        qualified_name=b"", client_key_thumbprint=bytes(32), accountable_owner="owner", escrow=b"", nv_names={},
        floor=1, floor_base=0, iak_public=b"", ldevid_public=b"", certificates=(),
    )  # fmt: skip


@pytest.fixture
def begun(desk: Desk) -> Desk:
    """The first wave, of one device, was directed."""
    assert desk.started("--reason", "it closes CVE-2026-34155").code == 0
    assert desk.step().code == 0
    return desk


def test_from_a_plan_to_the_last_device(desk: Desk) -> None:
    called = desk.started("--reason", "it closes CVE-2026-34155")
    assert (called.code, called.err) == (0, "")
    assert called.out.startswith(f"all: running\n  release  {RELEASE}\n  purpose  update\n  devices  4\n")
    assert "user 0" in called.out
    assert "it closes CVE-2026-34155" in called.out
    assert called.out.endswith("the first wave is directed by `medvouch release rollout step`\n")
    assert desk.directed() == {}

    document = desk.step("--json").json
    (shown,) = document["rollouts"]
    lab = ueid(0)
    assert shown["decision"] == {"act": "direct", "because": "wave 1 of 3: 1 devices", "devices": [lab.hex()]}
    assert shown["published"] == {"directed": [lab.hex()], "withdrawn": [], "elsewhere": []}
    found = desk.directed()
    assert list(found) == [lab]
    assert (found[lab].sequence, found[lab].expires, found[lab].defer_until) == (SEQUENCE, UNTIL, NOW + 7 * DAY)

    called = desk.step()
    assert (called.code, "decided  " in called.out) == (0, True)
    assert "wait: wave 1 lacks 1 of 1 reports" in called.out
    desk.now += 60
    desk.judged(lab)
    assert desk.step("--json").json["rollouts"][0]["waves"][0]["counts_since"] == NOW + 60
    desk.now += HOUR
    called = desk.step("all", "--json")
    (shown,) = called.json["rollouts"]
    assert shown["decision"]["because"] == "wave 2 of 3: 1 devices"
    second = bytes.fromhex(shown["decision"]["devices"][0])
    assert set(desk.directed()) == {lab, second}
    desk.judged(second)
    desk.step()
    desk.now += HOUR
    desk.step()
    assert len(desk.directed()) == 4
    for number in DEVICES:
        desk.judged(ueid(number))
    desk.step()
    desk.now += HOUR
    (shown,) = desk.step("--json").json["rollouts"]
    assert (shown["stage"], shown["decision"]["act"]) == ("done", "done")
    assert shown["totals"]["results"]["attested"] == shown["totals"]["reported"] == 4
    deeds = ["started", *["directed", "passed"] * 3, "ended"]
    assert [(note["deed"], note["actor"]) for note in shown["log"]] == [(deed, f"user {os.getuid()}") for deed in deeds]
    assert desk.step().out == "no rollout\n"
    assert desk("status").out.startswith("all: done\n")


def test_it_halts_by_itself_and_a_person_lets_it_go_on(begun: Desk) -> None:
    lab = ueid(0)
    begun.now += 60
    begun.said(lab, "failed", "slot-fell-back")
    called = begun.step()
    assert (called.code, called.out.splitlines()[0]) == (1, "all: halted")
    assert "halt: wave 1: 1 of 1 that reported failed, of 1 directed (at most 20 % may)" in called.out
    assert begun.directed() == {}
    assert begun.step().code == 0, "only the step that halts says so, or one that was asked for it by name"
    assert begun.step("all").code == 1
    called = begun("status", *begun.collector)
    assert (called.code, "  failed" in called.out) == (1, True)

    begun.now += 60
    called = begun("resume", "all", "--reason", "a power cut at the lab", *begun.collector)
    assert called.code == 0
    assert begun.rollout().forgiven == (lab,)
    assert "a power cut at the lab" in called.out
    called = begun.step()
    assert "wave 1 soaks" in called.out
    assert begun.directed() == {}
    called = begun("resume", "all", "--reason", "again", *begun.collector)
    assert (called.code, called.err.startswith("medvouch: rollout-not-halted: ")) == (1, True)


def test_a_person_halts_it_and_needs_no_report_for_that(begun: Desk) -> None:
    called = begun("halt", "all", "--reason", "alarms at two sites", *begun.keys)
    assert (called.code, called.out.splitlines()[0]) == (0, "all: halted")
    assert "published  1 withdrawn" in called.out
    assert begun.directed() == {}
    assert begun.rollout().log[-1].reason == "alarms at two sites"
    called = begun("halt", "all", "--reason", "again", *begun.keys, "--json")
    assert (called.code, called.json["error"]["code"]) == (1, "rollout-not-running")


def test_who_has_installed_it_keeps_his_directive(begun: Desk) -> None:
    begun.now += 60
    begun.said(ueid(0), "self_checked")
    assert begun("halt", "all", "--reason", "why", *begun.keys, *begun.collector).code == 0
    assert list(begun.directed()) == [ueid(0)]


def test_a_halt_holds_even_where_nothing_can_be_withdrawn(begun: Desk) -> None:
    (begun.folder / "keys" / "director.pem").rename(begun.folder / "director.pem")
    called = begun("halt", "all", "--reason", "alarms", *begun.keys)
    assert (called.code, "key-missing" in called.err) == (3, True)
    assert begun.rollout().stage == "halted"
    assert list(begun.directed()) == [ueid(0)]
    (begun.folder / "director.pem").rename(begun.folder / "keys" / "director.pem")
    assert begun.step().code == 0
    assert begun.directed() == {}


def test_what_stands_is_mended_at_each_step(begun: Desk) -> None:
    """Somebody withdrew it, or something else was directed by hand: what is less gives way."""
    lab, ours = ueid(0), begun.directed()[ueid(0)]
    for other in (None, dataclasses.replace(ours, sequence=1, digest=bytes(32)).encode(), b"no directive"):
        with begun.publishing() as repository:
            repository.withdraw(device_id(lab))
            if other is not None:
                repository.direct(device_id(lab), other)
        called = begun.step("--json")
        assert called.json["rollouts"][0]["published"]["directed"] == [lab.hex()]
        assert begun.directed() == {lab: ours}
    with begun.publishing() as repository:
        repository.direct(device_id(lab), dataclasses.replace(ours, sequence=99, digest=bytes(32)).encode())
    assert "published  1 elsewhere" in begun.step().out


def test_a_recovery_for_whom_quarantine_keeps(begun: Desk) -> None:
    begun.now += 60
    begun.said(ueid(0), "failed", "slot-fell-back")
    begun.judged(ueid(1), code="event-unexpected")
    begun.step()
    fleet = ("--fleet", begun.folder / "fleet.json")
    called = begun("recover", "--release", RELEASE, *fleet, *begun.collector, "--reason", "the mended one", "--json")
    (shown,) = called.json["rollouts"]
    assert (shown["purpose"], shown["waves"][0]["devices"], shown["until"]) == ("recovery", 2, begun.now + 30 * DAY)
    assert shown["name"] == "recovery-20270115-080100"
    begun.step()
    found = begun.directed()
    assert {device: each.purpose for device, each in found.items()} == {ueid(0): "recovery", ueid(1): "recovery"}
    called = begun("recover", "--release", RELEASE, *fleet, *begun.collector, "--name", "again")
    assert (called.code, "rollout-overlap" in called.err) == (1, True)
    begun.now += 1
    for number in (0, 1):
        begun.judged(ueid(number))
    begun.said(ueid(0), "closed")
    called = begun.step()
    assert "done: all 1 waves are through" in called.out
    called = begun("recover", "--release", RELEASE, *fleet, *begun.collector)
    assert (called.code, called.out) == (0, "no device is in quarantine\n")


def test_the_next_rollout_passes_a_halted_one_by(begun: Desk) -> None:
    """Of the same release, until the same day: neither takes the other's directives for its own."""
    begun("halt", "all", "--reason", "why", *begun.keys)
    plan = begun.folder / "plan.toml"
    plan.write_text(plan.read_text().replace('name = "all"', 'name = "next"'))
    assert begun.started().code == 0
    assert begun.rollout("next").terms.until == UNTIL - 1
    for _ in range(2):
        begun.step()
        assert begun.directed()[ueid(0)].expires == UNTIL - 1
    called = begun("resume", "all", "--reason", "why", *begun.collector)
    assert (called.code, "rollout-overlap" in called.err) == (1, True)


def test_status_without_reports_shows_waves_and_log_alone(begun: Desk) -> None:
    called = begun("status")
    assert (called.code, "next step" in called.out, "attested" in called.out) == (0, False, False)
    called = begun("status", *begun.collector)
    assert "next step  wait: wave 1 lacks 1 of 1 reports" in called.out
    assert "silent" in called.out


MISTAKES: list[tuple[tuple[str, ...], int, str]] = [
    (("start", "FOLDER/plan.toml", "--fleet", "FOLDER/fleet.json"), 1, "rollout-name-taken"),
    (("start", "FOLDER/fleet.json", "--fleet", "FOLDER/fleet.json"), 1, "rollout-malformed: FOLDER/fleet.json"),
    (("start", "FOLDER/plan.toml", "--fleet", "FOLDER/plan.toml"), 1, "fleet-malformed: FOLDER/plan.toml"),
    (("start", "FOLDER/none.toml", "--fleet", "FOLDER/fleet.json"), 2, "No such file"),
    (("step", "KEYS"), 2, "nothing tells what became of the devices"),
    (("step", "KEYS", "--bundles", "FOLDER"), 2, "--bundles without --trust"),
    (("step", "none", "KEYS", "--collector", "FOLDER/state.db"), 2, "rollout-unknown"),
    (("step", "../all", "KEYS", "--collector", "FOLDER/state.db"), 2, "small letters"),
    (("status", "none"), 2, "rollout-unknown"),
    (("halt", "all", "KEYS"), 2, "--reason"),
    (("halt", "all", "KEYS", "--reason", ""), 2, "1 to 512 characters"),
    (("resume", "all", "--reason", "why"), 2, "nothing tells what became of the devices"),
    (("recover", "--release", "releases/9/x", "--fleet", "FOLDER/fleet.json"), 1, "target-unknown"),
    (("recover", "--release", RELEASE, "--fleet", "FOLDER/fleet.json"), 2, "nothing tells"),
    (("recover", "--release", RELEASE, "--fleet", "FOLDER/fleet.json", "--days", "0"), 2, "1 to 3650"),
    (("recover", "--release", RELEASE, "--fleet", "FOLDER/fleet.json", "--name", "Out"), 2, "small letters"),
]


def test_mistakes(begun: Desk) -> None:
    before = (begun.folder / "repository" / "metadata" / "timestamp.json").read_bytes()
    for arguments, code, said in MISTAKES:
        words = [word.replace("FOLDER", str(begun.folder)) for word in arguments]
        given = [part for word in words for part in (map(str, begun.keys) if word == "KEYS" else (word,))]
        called = begun(*given)
        assert (called.code, called.out) == (code, ""), arguments
        assert said.replace("FOLDER", str(begun.folder)) in called.err, arguments
        assert called.err.count("\n") == 1, arguments
    assert (begun.folder / "repository" / "metadata" / "timestamp.json").read_bytes() == before


def test_a_repository_that_is_not_there_has_no_rollouts_to_be_fine(begun: Desk) -> None:
    called = begun.medvouch("release", "rollout", "status", "--repository", begun.folder / "none")
    assert (called.code, called.out, "there is no directory" in called.err) == (2, "", True)


@pytest.mark.parametrize(
    ("name", "code"), [("notes", "cbor-truncated"), ("bare.suit", "manifest-incomplete"), ("none", "target-unknown")]
)
def test_what_devices_are_not_sent_to(desk: Desk, name: str, code: str) -> None:
    bare = enclosed(dataclasses.replace(manifest(), version=None)).encode()
    with desk.publishing() as repository:
        repository.add_release("2", {"notes": b"what is new", "bare.suit": bare})
    plan = desk.folder / "plan.toml"
    plan.write_text(plan.read_text().replace(RELEASE, f"releases/2/{name}"))
    called = desk.started()
    assert called.code == 1
    assert called.err.startswith(f"medvouch: {code}: ")


def test_one_command_at_a_time(begun: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medvouch.adapters.locking.PATIENCE_S", 0.0)
    repository = begun.folder / "repository"
    with locked(repository.with_name(".repository.lock"), "repository-busy"):
        for called in (begun.step(), begun.medvouch("release", "publish", *begun.places, *begun.keys)):
            assert (called.code, "repository-busy" in called.err) == (2, True)
        assert begun("status").code == 0
    assert begun.step().code == 0


def test_a_rollout_that_is_damaged(begun: Desk) -> None:
    path = begun.folder / "repository.rollouts" / "all.cbor"
    path.write_bytes(path.read_bytes()[:-1])
    called = begun.step()
    assert (called.code, called.err.startswith("medvouch: rollout-corrupt: ")) == (6, True)


def test_every_action_shows_an_example(medvouch: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    for name in rolling_out.ACTIONS:
        with pytest.raises(SystemExit):
            medvouch("release", "rollout", name, "--help")
        assert f"medvouch release rollout {name}" in capsys.readouterr().out.partition("example")[2]


@pytest.fixture
def copies(desk: Desk) -> Callable[[], dict[int, Desk]]:
    """As many copies of all that a command changes, as it is now, as a command may have steps."""

    def copy() -> dict[int, Desk]:
        made = {}
        for number in POINTS:
            folder = desk.folder / f"copy-{number}"
            for name in ("repository", "repository.rollouts"):
                shutil.copytree(desk.folder / name, folder / name)
            for name in ("keys", "state.db"):
                (folder / name).symlink_to(desk.folder / name)
            made[number] = dataclasses.replace(desk, folder=folder)
        return made

    return copy


def test_a_step_that_is_killed_anywhere_is_made_up_for(desk: Desk, copies: Callable[[], dict[int, Desk]]) -> None:
    """At each fsync and rename of one that directs: devices see the old or the new, the next step the rest."""
    desk.started()
    desks, lab, seen = copies(), ueid(0), set()

    def step(number: int) -> tuple[object, ...]:
        return ("release", "rollout", "step", *desks[number].places, *desk.keys, *desk.collector)

    count = killed(POINTS, step, NOW)
    assert count > 10
    for number in range(count):
        again = desks[number]
        before, kept = again.directed(), again.rollout()
        seen.add((bool(before), bool(kept.begun)))
        (shown,) = again.step("--json").json["rollouts"]
        assert shown["decision"]["act"] == ("wait" if kept.begun else "direct")
        assert shown["published"]["directed"] == ([] if before else [lab.hex()])
        assert list(again.directed()) == [lab]
        assert [note.deed for note in again.rollout().log] == ["started", "directed"]
    assert seen == {(False, False), (True, False), (True, True)}


def test_a_halt_that_is_killed_anywhere_holds_or_was_never_said(
    begun: Desk, copies: Callable[[], dict[int, Desk]]
) -> None:
    desks, seen = copies(), set()

    def halt(number: int) -> tuple[object, ...]:
        return ("release", "rollout", "halt", "all", "--reason", "alarms", *desks[number].places, *begun.keys)

    for number in range(killed(POINTS, halt, NOW)):
        again = desks[number]
        halted = again.rollout().stage == "halted"
        seen.add((halted, bool(again.directed())))
        assert again.step().code == 0
        assert bool(again.directed()) == (not halted)
    assert seen == {(False, True), (True, True), (True, False)}
