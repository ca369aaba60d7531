"""Every parser of what strangers send, as one function of bytes: it ends, or raises an error that is declared.

`make fuzz` drives them with mutated inputs, the everyday tests with the seeds in `corpus/`. What is parsed is used as
its callers use it, and what has one encoding only must come back as it went in.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from medvouch.adapters.boot_record import BootRecord, Sector
from medvouch.attestation import replay
from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence
from medvouch.attestation.log_rules import check_log
from medvouch.attestation.policy import parse_policy
from medvouch.attestation.semantics import understand
from medvouch.cli import config
from medvouch.cli.countersigning import described
from medvouch.crypto import certificates, jws, keys, tpm, x509
from medvouch.crypto.escrow import open_sealed
from medvouch.errors import ConfigFault, InputError, Refusal
from medvouch.formats import (
    cbor,
    cel,
    der,
    device_path,
    event_text,
    eventlog,
    ima,
    ima_ascii,
    json_object,
    pe,
    sbat,
    suit_commands,
    suit_manifest,
    systemd,
    text,
    tpm2_tools,
    uefi,
)
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.blocks import BlockIndex
from medvouch.formats.boot_option import BootOption
from medvouch.formats.cms import SignedData
from medvouch.formats.cmw import Collection
from medvouch.formats.cmw import Record as CmwRecord
from medvouch.formats.command import Command
from medvouch.formats.consent import ConsentRecord
from medvouch.formats.corim import Comid, Corim
from medvouch.formats.corim_reference import from_corim
from medvouch.formats.cose import Sign, Sign1
from medvouch.formats.csaf import ADVISORY, VEX, Csaf
from medvouch.formats.csr_attestation import Request as AttestedRequest
from medvouch.formats.cyclonedx import Sbom
from medvouch.formats.data_format import DataFormat, DataState
from medvouch.formats.directive import Directive
from medvouch.formats.ear import Ear
from medvouch.formats.ear_json import ear_from_json
from medvouch.formats.eat import Eat
from medvouch.formats.enrolment import Proof, Request, parse_verdict
from medvouch.formats.fleet import Fleet
from medvouch.formats.floor import FloorApproval
from medvouch.formats.gpt import PartitionTable
from medvouch.formats.identity import DeviceIdentity, OwnershipAuths
from medvouch.formats.ima_signature import ImaSignature
from medvouch.formats.kev import parse_known_exploited
from medvouch.formats.ledger import Bundle, CertifiedCheckpoint, Checkpoint, Entry, Statement
from medvouch.formats.manufacturing import Manifest
from medvouch.formats.openeox import SupportStatement
from medvouch.formats.record import Place
from medvouch.formats.reference import ReferenceValues
from medvouch.formats.release import ReleaseRecord
from medvouch.formats.rollout import Rollout
from medvouch.formats.rollout_plan import Plan
from medvouch.formats.sanitisation import Released, SanitisationCertificate, Sanitised
from medvouch.formats.secure_boot import SignedUpdate
from medvouch.formats.slot_image import read_image
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.tcg_csr import CsrContent, IdevidCsr
from medvouch.formats.tpm import Attest, PcrSelection, Signature
from medvouch.formats.tpm_public import NvPublic, Public
from medvouch.formats.trust import TrustDocument
from medvouch.formats.tuf_versions import Versions
from medvouch.formats.update import FetchJournal, InstalledRelease, PartsRecord, UpdateRecord
from medvouch.formats.version import parse_version
from medvouch.formats.version_range import read_range
from medvouch.messages import payloads, topics
from medvouch.release.apart import read_document
from medvouch.release.draft import Draft
from medvouch.update import metadata
from medvouch.update.admission import Url
from medvouch.update.windows import Windows
from support.authorities import key

Parse = Callable[[bytes], object]
SELECTION = PcrSelection.of({HashAlg.SHA256: range(8)})
"""What tpm2_quote was asked for; its file of values does not say."""


@dataclass(frozen=True)
class Target:
    """`run` raises nothing but `declared`."""

    run: Parse
    declared: tuple[type[Exception], ...] = (InputError, Refusal)

    def __call__(self, data: bytes) -> bool:
        """Whether the input was taken."""
        try:
            self.run(data)
        except self.declared:
            return False
        return True


def exact(*parsers: Parse) -> Target:
    """Of formats that have one encoding of each value: whoever takes the bytes gives them back."""

    def run(data: bytes) -> None:
        for parse in parsers:
            with suppress(InputError):
                parsed: Any = parse(data)
                assert parsed.encode() == data, parse

    return Target(run)


def each(*parsers: Parse) -> Target:
    """All of them, whatever the others say."""

    def run(data: bytes) -> None:
        for parse in parsers:
            with suppress(InputError, Refusal):
                parse(data)

    return Target(run)


def written(parse: Callable[[str], object]) -> Parse:
    """A parser of text, as bytes that are not UTF-8 reach it: not at all."""

    def run(data: bytes) -> None:
        with suppress(UnicodeDecodeError):
            parse(data.decode())

    return run


# --- logs ------------------------------------------------------------------------------------------------------------


def _eventlog(data: bytes) -> None:
    log = eventlog.parse(data)
    assert eventlog.parse(log.encode()).events == log.events
    for event in log.events:
        event_text.describe(event)
        event_text.title(event)
    uefi.claimed_secure_boot(log.events)
    replayed = replay.replayed_pcrs(log)
    with suppress(Refusal):
        confirmed = replay.replay(replay.Logs(log), replayed).events
        understand(confirmed)
        check_log(log, confirmed, range(24))


def _systemd(data: bytes) -> None:
    for record in systemd.parse(data):
        record.describe()


def _ima(data: bytes) -> None:
    for entry in ima.parse_binary(data):
        _use_entry(entry)


def _ima_ascii(data: str) -> None:
    for entry in ima_ascii.parse_ascii(data):
        _use_entry(entry)


def _use_entry(entry: ima.Entry) -> None:
    entry.describe()
    _ = entry.hashed, entry.file_digest, entry.path, entry.template_algorithm


# --- keys, certificates, messages ------------------------------------------------------------------------------------


def _certificate(data: bytes) -> None:
    certificates.load(data)
    with suppress(Refusal):
        x509.verify_chain(data, [data], [data], 1_800_000_000, profile=certificates.EK)


def _cms(data: bytes) -> None:
    parsed = SignedData.parse(data)
    assert parsed.encode() == data
    assert parsed.describe_signer().isprintable()


def _tpm_public(data: bytes) -> None:
    parsed = Public.parse(data)
    assert parsed.encode() == data
    tpm.name(data)
    tpm.public_key(parsed)


def _cbor(data: bytes) -> None:
    assert cbor.encode(cbor.decode(data)) == data


def _suit(data: bytes) -> None:
    envelope = Envelope.parse(data)
    Envelope.parse(envelope.encode())
    manifest = suit_manifest.Manifest.parse(envelope.manifest)
    manifest.encode()
    for member, severed in envelope.members.items():
        suit_manifest.load_member(member, severed)


def _suit_commands(data: bytes) -> None:
    value = cbor.decode(data)
    with suppress(InputError):
        suit_commands.load_sequence(value, Place("suit"))
    suit_commands.load_parameters(value, Place("suit"))


def _metadata(data: bytes) -> None:
    kinds: Mapping[str, Any] = {"root": Root, "timestamp": Timestamp, "snapshot": Snapshot, "targets": Targets}
    found = [role for role in kinds if f'"{role}"'.encode() in data] or ["root"]
    for role in found:
        with suppress(InputError):
            metadata._parse(kinds[role], role, data)
    with suppress(InputError, Refusal):
        metadata.TrustedMetadata(data, 1_800_000_000).update_root(data)
    with suppress(InputError):
        _, document = read_document(data)
        described(document)


def _corim(data: bytes) -> None:
    from_corim(Corim.parse(data))


def _image(data: bytes) -> None:
    _ = read_image(data).version


def _token(data: str) -> None:
    with suppress(Refusal):
        jws.verify_compact(data, [key("owner").public_key()], typ="eat+jwt")


def _escrow(data: bytes) -> None:
    with suppress(Refusal):
        open_sealed(data, key("owner"), context=b"device")


def _config(data: bytes) -> None:
    try:
        document = tomllib.loads(data.decode())
    except (ValueError, RecursionError):
        return
    config._build(config.Config, document, "")


def _windows(data: str) -> None:
    windows = Windows.parse(data.split("\n"))
    now = 1_800_000_000
    assert windows.opening(opening := windows.opening(now)) == opening >= now


def _payload(data: bytes) -> None:
    with suppress(InputError):
        topics.parse(data.decode(errors="replace"))
    payloads.parse(data)


TARGETS: Mapping[str, Target] = {
    "blocks": exact(BlockIndex.parse),
    "boot-record": exact(BootRecord.parse, Sector.parse),
    "cbor": Target(_cbor),
    "cel": each(cel.parse, cel.parse_tlv),
    "certificate": Target(_certificate),
    "cms": Target(_cms),
    "cmw": each(Collection.parse, CmwRecord.parse),
    "command": each(Command.parse),
    "config": Target(_config, (ConfigFault,)),
    "consent": exact(ConsentRecord.parse),
    "corim": each(Corim.parse, Comid.parse, _corim),
    "cose": each(Sign1.parse, Sign.parse, lambda data: Sign1.parse(data, tagged=False)),
    "csaf": each(lambda data: Csaf.parse(data, VEX), lambda data: Csaf.parse(data, ADVISORY)),
    "csr": each(CsrContent.parse, IdevidCsr.parse, AttestedRequest.parse),
    "cyclonedx": Target(Sbom.parse),
    "data-format": exact(DataFormat.parse, DataState.parse),
    "der": each(der.trim, der.signed_part, der.sort_sets),
    "directive": exact(Directive.parse),
    "ear": each(Ear.parse),
    "ear-json": Target(lambda data: ear_from_json(jws.parse_object(data))),
    "eat": each(Eat.parse),
    "enrolment": each(Request.parse, Proof.parse, parse_verdict),
    "escrow": Target(_escrow),
    "eventlog": Target(_eventlog),
    "evidence": each(UnverifiedEvidence.parse, QuoteRecord.parse),
    "fleet": Target(Fleet.parse),
    "floor": exact(FloorApproval.parse),
    "identity": exact(DeviceIdentity.parse, OwnershipAuths.parse),
    "image": Target(_image),
    "ima": Target(_ima),
    "ima-ascii": Target(written(_ima_ascii)),
    "ima-signature": exact(ImaSignature.parse),
    "jws": Target(written(_token)),
    "keys": each(keys.load_spki, keys.load_private_pem),
    "ledger": exact(Bundle.parse, Statement.parse, Entry.parse, Checkpoint.parse, CertifiedCheckpoint.parse),
    "manufacturing": exact(Manifest.parse),
    "payload": Target(_payload),
    "pe": each(pe.sections, lambda data: pe.authenticode(data, HashAlg.SHA256)),
    "policy": Target(written(parse_policy)),
    "reference": exact(ReferenceValues.parse),
    "release": exact(ReleaseRecord.parse),
    "release-draft": Target(Draft.parse),
    "release-json": each(parse_known_exploited, SupportStatement.parse, lambda data: json_object.parse(data, "json")),
    "rollout": exact(Rollout.parse),
    "rollout-plan": Target(Plan.parse),
    "sbat": each(sbat.parse),
    "secure-boot": exact(SignedUpdate.parse),
    "sanitisation": exact(SanitisationCertificate.parse, Sanitised.parse, Released.parse),
    "suit": Target(_suit),
    "suit-commands": Target(_suit_commands),
    "suit-report": exact(SuitReport.parse),
    "systemd": Target(_systemd),
    "tpm": exact(Attest.parse, Signature.parse, PcrSelection.parse),
    "tpm2-tools": each(lambda data: tpm2_tools.parse(data, SELECTION), tpm2_tools.parse_serialized),
    "tpm-public": each(_tpm_public, NvPublic.parse),
    "trust": exact(TrustDocument.parse),
    "tuf": Target(_metadata),
    "tuf-versions": exact(Versions.parse),
    "uefi": each(
        uefi.Variable.parse,
        uefi.Variable.parse_authority,
        uefi.parse_signature_lists,
        uefi.ImageLoad.parse,
        uefi.TaggedEvent.parse,
        BootOption.parse,
        PartitionTable.parse,
        device_path.device_path_text,
        text.decode,
    ),
    "update": exact(UpdateRecord.parse, InstalledRelease.parse, PartsRecord.parse, FetchJournal.parse),
    "url": Target(written(Url.parse)),
    "version": Target(written(parse_version)),
    "version-range": Target(written(read_range)),
    "windows": Target(written(_windows)),
}
