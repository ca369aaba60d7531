"""`medvouch inspect` on files of every kind, honest and hostile."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from medvouch.attestation.results import Occasion, contraindicate, sign_result
from medvouch.cli.main import main
from medvouch.crypto.cose import sign1
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats import ima
from medvouch.formats.cmw import Collection, Indicator, Record
from medvouch.formats.cose import Sign1
from medvouch.formats.eat import Eat
from medvouch.formats.eventlog import EventLog, EventType, SpecId
from medvouch.formats.suit import wrapped_digest
from medvouch.formats.suit_commands import Code, Command, dump_sequence
from medvouch.formats.suit_manifest import Member
from medvouch.formats.uefi import GLOBAL_VARIABLE, Variable
from medvouch_sim.fixtures import private_key
from medvouch_sim.suit_setting import override
from support.boots import SHA1, SHA256, BootBuilder
from support.cli import HOSTILE, Caller, assert_steers_no_terminal
from support.suit import URI, enclosed, manifest, released

SIGNER = SoftwareSigner(private_key("release"))


def eat(**changes: object) -> bytes:
    claims = Eat(
        nonce=bytes(range(32)),
        audience="collector",
        issued_at=1_700_000_000,
        client_key_thumbprint=b"\x01" * 32,
        ueid=b"\x01" + b"\x02" * 32,
        oem_id=b"\x03" * 16,
        hw_model=b"gateway-1",
        hw_version="1.2",
        uptime=86400,
        boot_count=7,
        sw_name="medvouch-gateway",
        sw_version="1.1.0",
        uefi_log_digest=b"\x04" * 32,
    )
    changed = dataclasses.replace(claims, **changes)  # type: ignore[arg-type]
    return sign1(changed.encode(), SIGNER, content_type="application/eat+cwt")


def ear(detail: str = "PCR 4") -> bytes:
    occasion = Occasion("a" * 32, b"nonce123", b"\x05" * 32, 1_700_000_000, "medvouch", "0.1", "release-1")
    return sign_result(contraindicate(occasion, InputError("event-unexpected", detail, place="event 3")), SIGNER)


def log(
    text: bytes = b"Calling EFI Application from Boot Option", secure_boot: bytes | None = b"\x01", name: str = ""
) -> bytes:
    boot = BootBuilder(banks=(SHA1, SHA256))
    if secure_boot is not None:
        variable = Variable(GLOBAL_VARIABLE, "SecureBoot", secure_boot).encode()
        boot.event(7, EventType.EV_EFI_VARIABLE_DRIVER_CONFIG, variable)
    if name:
        boot.event(1, EventType.EV_EFI_VARIABLE_BOOT, Variable(GLOBAL_VARIABLE, name, b"").encode())
    boot.event(4, EventType.EV_EFI_ACTION, text)
    return EventLog(SpecId((SHA1, SHA256)), tuple(boot.events)).encode()


def measured(path: str) -> bytes:
    entry = ima.make(0, 10, "ima-ng", (b"sha256:\0" + bytes(32), path.encode() + b"\0"))
    return ima.encode((entry,))


def collection(label: str = "eat", media_type: str = "application/eat+cwt") -> bytes:
    return Collection("urn:x", {label: Record(media_type, eat(), Indicator.EVIDENCE)}).encode()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_an_event_log(medvouch: Caller, file: Path) -> None:
    file.write_bytes(log())
    document = medvouch("inspect", "eventlog", file, "--json").json
    assert document["banks"] == ["sha1", "sha256"]
    assert document["secure_boot"] is True
    assert [event["index"] for event in document["events"]] == [1, 2]
    assert set(document["events"][0]) == {"index", "pcr", "type", "digests", "description"}
    assert set(document["pcrs"]) == {"sha1", "sha256"}
    assert list(document["pcrs"]["sha256"]) == ["4", "7"]
    lines = medvouch("inspect", "eventlog", file).out.splitlines()
    assert lines[:2] == ["firmware event log: 2 events, banks sha1, sha256", "Secure Boot, it says: on"]
    assert "    1    7  EV_EFI_VARIABLE_DRIVER_CONFIG  SecureBoot = 01" in lines
    assert f"sha256:4   {document['pcrs']['sha256']['4']}" in lines


@pytest.mark.parametrize(
    ("value", "claimed", "said"), [(None, None, "not measured"), (b"", False, "off"), (b"\0", False, "off")]
)
def test_secure_boot(medvouch: Caller, file: Path, value: bytes | None, claimed: bool | None, said: str) -> None:
    file.write_bytes(log(secure_boot=value))
    assert medvouch("inspect", "eventlog", file, "--json").json["secure_boot"] is claimed
    assert f"Secure Boot, it says: {said}\n" in medvouch("inspect", "eventlog", file).out


def test_a_log_without_events(medvouch: Caller, file: Path) -> None:
    file.write_bytes(EventLog(SpecId((SHA256,)), ()).encode())
    called = medvouch("inspect", "eventlog", file)
    assert called.out == "firmware event log: 0 events, banks sha256\nSecure Boot, it says: not measured\n"


def test_a_long_description_is_cut_for_people_only(medvouch: Caller, file: Path) -> None:
    file.write_bytes(log(b"x" * 200))
    assert "x" * 97 + "...\n" in medvouch("inspect", "eventlog", file).out
    assert "x" * 200 in medvouch("inspect", "eventlog", file, "--json").out


@pytest.mark.parametrize("form", ["binary", "ascii"])
def test_an_ima_list(medvouch: Caller, file: Path, form: str) -> None:
    line = f"10 {ima.parse_binary(measured('/bin/x'))[0].template_hash.hex()} ima-ng sha256:{'0' * 64} /bin/x\n"
    file.write_bytes(measured("/bin/x") if form == "binary" else line.encode())
    document = medvouch("inspect", "ima", file, "--json").json
    assert document["violations"] == 0
    (entry,) = document["entries"]
    assert (entry["index"], entry["pcr"], entry["template"], entry["path"]) == (0, 10, "ima-ng", "/bin/x")
    assert entry["file_digest"] == f"sha256:{'0' * 64}"
    lines = medvouch("inspect", "ima", file).out.splitlines()
    assert lines[0] == "IMA measurement list: 1 entry, 0 violations"
    assert lines[-1] == f"    0   10  ima-ng  /bin/x  sha256:{'0' * 64}"


def test_an_empty_ima_list(medvouch: Caller, file: Path) -> None:
    file.touch()
    assert medvouch("inspect", "ima", file).out == "IMA measurement list: 0 entries, 0 violations\n"


def test_claims(medvouch: Caller, file: Path) -> None:
    file.write_bytes(eat())
    assert medvouch("inspect", "eat", file, "--json").json["issued_at"] == 1_700_000_000
    said = medvouch("inspect", "eat", file).out
    assert "issued_at              2023-11-14 22:13:20 UTC\n" in said
    assert "oem_id                 03030303" in said


def test_a_time_in_no_calendar(medvouch: Caller, file: Path) -> None:
    file.write_bytes(eat(issued_at=1 << 62))
    assert f"issued_at              {1 << 62}\n" in medvouch("inspect", "eat", file).out


def test_a_result(medvouch: Caller, file: Path) -> None:
    file.write_bytes(ear())
    document = medvouch("inspect", "ear", file, "--json").json
    assert document["status"] == "contraindicated"
    assert document["reasons"] == [{"code": "event-unexpected", "place": "event 3", "detail": "PCR 4"}]
    assert "reasons[0].code" in medvouch("inspect", "ear", file).out


def test_evidence(medvouch: Caller, file: Path) -> None:
    inner = Collection("urn:y", {"a": Record("text/plain", b"x", 0)})
    file.write_bytes(Collection("urn:x", {"eat": Record("application/eat+cwt", eat(), 4), "more": inner}).encode())
    document = medvouch("inspect", "cmw", file, "--json").json
    assert document["type"] == "urn:x"
    assert [row["media_type"] for row in document["records"]] == ["application/eat+cwt", "collection"]
    lines = medvouch("inspect", "cmw", file).out.splitlines()
    assert lines[0] == "collection of type urn:x: 2 records"
    assert lines[2].split() == ["eat", str(len(eat())), "bytes", "application/eat+cwt"]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("eventlog", log(name=HOSTILE)),
        ("ima", measured(HOSTILE)),
        ("eat", eat(sw_name=HOSTILE)),
        ("ear", ear(HOSTILE)),
        ("cmw", collection(label=HOSTILE)),
    ],
)
def test_a_hostile_file_steers_no_terminal(medvouch: Caller, file: Path, kind: str, data: bytes) -> None:
    file.write_bytes(data)
    assert_steers_no_terminal(medvouch, "inspect", kind, file)


@pytest.mark.parametrize(
    ("data", "asked", "kind"),
    [
        (log(), "cmw", "eventlog"),
        (measured("/bin/x"), "eventlog", "ima"),
        (collection(), "ear", "cmw"),
        (eat(), "ear", "eat"),
        (ear(), "eat", "ear"),
    ],
)
def test_the_wrong_kind_is_guessed(medvouch: Caller, file: Path, data: bytes, asked: str, kind: str) -> None:
    file.write_bytes(data)
    called = medvouch("inspect", asked, file)
    assert called.code == 1
    assert called.err.endswith(f"try `medvouch inspect {kind}`\n")


def test_a_detached_payload_is_refused(medvouch: Caller, file: Path) -> None:
    whole = Sign1.parse(eat())
    file.write_bytes(dataclasses.replace(whole, payload=None).encode())
    called = medvouch("inspect", "eat", file)
    assert called.err.startswith("medvouch: cose-malformed: ")


def test_a_file_whose_size_is_not_stated(file: Path) -> None:
    """As those of securityfs."""
    assert main(["inspect", "ima", "/proc/self/comm"]) == 1


def test_suit(medvouch: Caller, tmp_path: Path) -> None:
    path = tmp_path / "release.suit"
    path.write_bytes(released())
    called = medvouch("inspect", "suit", path)
    assert called.code == 0
    assert "digest_matches  yes\nsignatures      3\n" in called.out
    assert called.out.count("\nsigned by key ") == 3
    assert ", security_epoch 2\n" in called.out
    assert "components      slot, reference\n" in called.out
    assert "carries #reference, 23 bytes\n" in called.out
    assert "\npayload-fetch:\n  set-component-index 0\n" in called.out
    assert f"  override-parameters uri {URI}\n  fetch\n  image-match\n" in called.out
    document = medvouch("inspect", "suit", path, "--json").json
    assert (document["sequence"], document["version"], document["digest_matches"]) == (11, "1.1.0", True)
    assert document["payloads"] == [{"name": "#reference", "bytes": 23}]
    assert document["commands"]["invoke"] == ["set-component-index 0", "invoke"]


def test_suit_of_every_kind_of_command(medvouch: Caller, tmp_path: Path) -> None:
    inner = (Command(Code.ABORT, 0),)
    install = (
        Command(Code.TRY_EACH, (inner, inner, None)),
        Command(Code.RUN_SEQUENCE, inner),
        Command(Code.SET_COMPONENT_INDEX, (0, 1)),
        Command(-7, HOSTILE),
        Command(-8, b"\x01"),
        override(uri=HOSTILE, private={-1: b"\xff", -2: True}),
    )
    data = dump_sequence(install)
    severed = {Member.INSTALL: wrapped_digest(data), Member.TEXT: bytes(32)}
    content = dataclasses.replace(manifest(), severed=severed, version=None)
    envelope = dataclasses.replace(enclosed(content, {Member.INSTALL: data, Member.TEXT: b"x"}), digest=bytes(32))
    path = tmp_path / "release.suit"
    path.write_bytes(envelope.encode())
    called = medvouch("inspect", "suit", path)
    assert "digest_matches  no\n" in called.out
    assert "severed         install, text\n" in called.out
    assert "version" not in called.out
    assert (
        "  try-each (abort) or (abort) or (nothing)\n  run-sequence (abort)\n  set-component-index [0, 1]\n"
        in called.out
    )
    assert "  private -8 01\n" in called.out
    assert ", -1 ff, -2 True\n" in called.out
    assert all(line.isprintable() for line in called.out.split("\n"))
