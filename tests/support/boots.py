"""A small boot, measured as EDK2, systemd-stub, systemd and IMA measure, with the PCRs that it leads to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from uuid import UUID

from medvouch.attestation.replay import Logs, boot_aggregate
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.systemd import Record
from medvouch.formats.uefi import (
    CERT_X509,
    GLOBAL_VARIABLE,
    IMAGE_SECURITY_DATABASE,
    ImageLoad,
    SignatureList,
    Variable,
)

SHA1, SHA256, SHA384 = HashAlg.SHA1, HashAlg.SHA256, HashAlg.SHA384
OWNER = UUID("a3a8baa0-1d04-a848-bc87-c36d121b5e3d")
PLATFORM_KEY = SignatureList(CERT_X509, b"", 28, ((OWNER, b"platform key"),)).encode()
COMMAND_LINE = "console=ttyS0 roothash=" + "ab" * 32


def sha(bank: HashAlg, data: bytes) -> bytes:
    return hashlib.new(bank.label, data).digest()


@dataclass
class BootBuilder:
    """Collects events; `pcrs` are what a TPM holds after all of them."""

    banks: tuple[HashAlg, ...] = (SHA256,)
    events: list[Event] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    entries: list[ima.Entry] = field(default_factory=list)
    pcrs: dict[HashAlg, dict[int, bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for bank in self.banks:
            self.pcrs[bank] = {pcr: bytes(bank.size) for pcr in range(24)}
            self.pcrs[bank] |= dict.fromkeys(range(17, 23), b"\xff" * bank.size)

    def extend(self, pcr: int, digests: dict[HashAlg, bytes]) -> None:
        for bank, value in digests.items():
            self.pcrs[bank][pcr] = sha(bank, self.pcrs[bank][pcr] + value)

    def digests(self, data: bytes) -> dict[HashAlg, bytes]:
        return {bank: sha(bank, data) for bank in self.banks}

    def event(self, pcr: int, event_type: int, data: bytes, measured: bytes | None = None) -> BootBuilder:
        digests = self.digests(data if measured is None else measured)
        if event_type == EventType.EV_NO_ACTION:
            digests = {bank: bytes(bank.size) for bank in self.banks}
        else:
            self.extend(pcr, digests)
        self.events.append(Event(len(self.events) + 1, pcr, event_type, digests, data, 0))
        return self

    def locality(self, locality: int) -> BootBuilder:
        for bank in self.banks:
            self.pcrs[bank][0] = locality.to_bytes(bank.size, "big")
        return self.event(0, EventType.EV_NO_ACTION, b"StartupLocality\0" + bytes([locality]))

    def record(self, pcr: int, text: str, event_type: str = "phase") -> BootBuilder:
        digests = self.digests(text.encode())
        content = {"string": text, "bootId": "0" * 32, "timestamp": 1, "eventType": event_type}
        self.records.append(Record(len(self.records), digests, pcr, content=content))
        self.extend(pcr, digests)
        return self

    def entry(self, path: str, digest: bytes, label: str = "sha256", *, violation: bool = False) -> BootBuilder:
        fields = (label.encode() + b":\0" + digest, path.encode() + b"\0")
        entry = ima.make(len(self.entries), 10, "ima-ng", fields)
        if violation:
            entry = ima.Entry(entry.index, 10, bytes(20), entry.template, entry.data, entry.fields)
        self.entries.append(entry)
        self.extend(10, {b: b"\xff" * b.size if violation else sha(b, entry.data) for b in self.banks})
        return self

    @property
    def log(self) -> EventLog:
        return EventLog(SpecId(self.banks), tuple(self.events))

    @property
    def logs(self) -> Logs:
        return Logs(self.log, tuple(self.records), tuple(self.entries))

    def separators(self) -> BootBuilder:
        """What firmware ends with, in each of its PCRs."""
        for pcr in range(8):
            self.event(pcr, EventType.EV_SEPARATOR, bytes(4))
        return self

    def firmware(self, secure_boot: bytes = b"\1") -> BootBuilder:
        """PCRs 0, 4, 7 and 11 as a UKI boot measures them."""
        self.event(0, EventType.EV_S_CRTM_VERSION, "1.2.3\0".encode("utf-16-le"))
        policy = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
        self.event(7, policy, Variable(GLOBAL_VARIABLE, "SecureBoot", secure_boot).encode())
        self.event(7, policy, Variable(GLOBAL_VARIABLE, "PK", PLATFORM_KEY).encode())
        self.event(4, EventType.EV_EFI_ACTION, b"Calling EFI Application from Boot Option")
        self.separators()
        authority = Variable(IMAGE_SECURITY_DATABASE, "db", b"owner and certificate")
        self.event(7, EventType.EV_EFI_VARIABLE_AUTHORITY, authority.encode())
        name = "\\EFI\\BOOT\\BOOTX64.EFI\0".encode("utf-16-le")
        path = b"\4\4" + (4 + len(name)).to_bytes(2, "little") + name + b"\x7f\xff\4\0"
        image = ImageLoad(0x1000, 10, 0, path)
        self.event(4, EventType.EV_EFI_BOOT_SERVICES_APPLICATION, image.encode(), b"the image")
        for section, contents in ((".linux", b"kernel"), (".cmdline", COMMAND_LINE.encode())):
            wide = (section + "\0").encode("utf-16-le")
            self.event(11, EventType.EV_IPL, wide, section.encode() + b"\0")
            self.event(11, EventType.EV_IPL, wide, contents)
        tag = bytes.fromhex("ed223b8f1a000000") + b"LOADED_IMAGE::LoadOptions\0"
        return self.event(9, EventType.EV_EVENT_TAG, tag, (COMMAND_LINE + "\0").encode("utf-16-le"))

    def system(self) -> BootBuilder:
        """systemd's first phases and IMA's first entries, after `firmware`."""
        self.record(11, "enter-initrd").record(11, "leave-initrd").record(15, "machine-id:0", "machine-id")
        aggregate = boot_aggregate(self.log, self.banks[0].label)
        assert aggregate is not None
        self.entry(ima.BOOT_AGGREGATE, aggregate, self.banks[0].label)
        return self.entry("/init", b"\7" * 32)


def full_boot(*banks: HashAlg) -> BootBuilder:
    """A complete boot in these banks (SHA-256 where none is named)."""
    return BootBuilder(banks or (SHA256,)).firmware().system()
