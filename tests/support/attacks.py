"""Evidence that lies: for each step of the appraisal the one change that it is there for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from medvouch.formats.eventlog import Event, EventType
from medvouch.formats.suit_report import SuitReport
from medvouch.formats.tpm import AttestType, CertifyInfo, PcrSelection, QuoteInfo
from medvouch.formats.tpm_public import ObjectAttribute
from medvouch.formats.uefi import CERT_X509, GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, ImageLoad, Variable
from support.authorities import issuing, key
from support.boots import SHA256, BootBuilder, full_boot
from support.evidence import CLOCK, LAK, NONCE, QUALIFIED_SIGNER, Change, certificate, fields, fix

OTHER = key("other")


def on_pcrs(part: str, change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> Change:
    return part, lambda pcrs: {bank: change(values) for bank, values in pcrs.items()}


def insecure() -> BootBuilder:
    return BootBuilder().firmware(secure_boot=b"\0").system()


def certifies(**changes: object) -> Change:
    return "certify", lambda attest: replace(attest, attested=replace(attest.attested, **changes))


A_CERTIFICATION = CertifyInfo(QUALIFIED_SIGNER, QUALIFIED_SIGNER)
A_QUOTE = QuoteInfo(PcrSelection.of({SHA256: [0]}), bytes(32))


@dataclass(frozen=True)
class Bytes:
    """A part as it is encoded."""

    data: bytes

    def encode(self) -> bytes:
        return self.data


REPORT = SuitReport("https://updates.example/m", bytes(32), nonce=NONCE)

STEPS: dict[str, Change] = {
    "certificate-untrusted": fix("lak_certificate", certificate(LAK, issuer=issuing("stranger"))),
    "identity-mismatch": fix("lak_certificate", certificate(LAK, device="ab" * 16)),
    "signer-not-enrolled": fix("lak", OTHER),
    "quote-signature-invalid": fix("quote_key", OTHER),
    "quote-not-generated": ("quote", lambda attest: Bytes(b"\0" + attest.encode()[1:])),
    "quote-type-wrong": fields("quote", type=AttestType.CERTIFY, attested=A_CERTIFICATION),
    "signer-elsewhere": fields("quote", qualified_signer=b"\x00\x0b" + bytes(31) + b"\1"),
    "eat-key-not-certified": fix("certify_key", OTHER),
    "key-not-tpm-bound": (
        "ldevid_public",
        lambda public: replace(public, attributes=public.attributes & ~ObjectAttribute.FIXED_TPM),
    ),
    "eat-signature-invalid": fix("eat_key", OTHER),
    "nonce-mismatch": fields("claims", nonce=bytes(32)),
    "audience-mismatch": fields("claims", audience="another"),
    "client-key-mismatch": fields("claims", client_key_thumbprint=bytes(32)),
    "ueid-mismatch": fields("claims", ueid=b"\x01" + bytes(32)),
    "binding-mismatch": fields("quote", extra_data=bytes(32)),
    "pcr-selection-empty": on_pcrs("pcrs", lambda _: {}),
    "pcr-selection-partial": on_pcrs("pcrs", lambda pcrs: {pcr: pcrs[pcr] for pcr in pcrs if pcr != 4}),
    "pcr-selection-mismatch": on_pcrs("pcrs", lambda pcrs: {**pcrs, 16: bytes(32)}),
    "pcr-values-relabelled": on_pcrs("shown", lambda pcrs: {pcr + 1: value for pcr, value in pcrs.items()}),
    "pcr-digest-mismatch": on_pcrs("shown", lambda pcrs: dict.fromkeys(pcrs, bytes(32))),
    "tpm-cleared": fields("quote", clock_info=replace(CLOCK, reset_count=CLOCK.reset_count - 1)),
    "clock-went-back": fields("quote", clock_info=replace(CLOCK, clock=CLOCK.clock - 1)),
    "boot-count-mismatch": fields("claims", boot_count=CLOCK.reset_count + 1),
    "log-digest-mismatch": fields("claims", uefi_log_digest=bytes(32)),
    "report-digest-mismatch": fields("claims", suit_report_digest=bytes(32)),
    "report-nonce-mismatch": fix("suit_report", replace(REPORT, nonce=bytes(32)).encode()),
    "eventlog-truncated": fix("uefi", full_boot().log.encode()[:-1]),
    "systemd-malformed": fix("systemd", b"no log"),
    "ima-truncated": fix("ima", b"\0"),
    "pcr-mismatch": on_pcrs("pcrs", lambda pcrs: {pcr: bytes(31) + b"\1" for pcr in pcrs}),
    "secure-boot-off": ("boot", lambda _: insecure()),
    "event-unexpected": ("boot", lambda boot: boot.event(12, EventType.EV_EFI_ACTION, b"another")),
}
"""By the code that they are refused with, one change for each step, in the order of the steps."""


# --- logs that replay to the very PCRs that were quoted ---------------------------------------------------------------

T = EventType
_POLICY, _FILE = T.EV_EFI_VARIABLE_DRIVER_CONFIG, b"\4\4\10\0" + "a\0".encode("utf-16-le") + b"\x7f\xff\4\0"


def _event(pcr: int, kind: int, data: bytes, measured: bytes, *, at: int | None = None) -> BootBuilder:
    """A full boot and, in its log alone, one event more."""
    boot = full_boot()
    number = len(boot.events) if at is None else at
    boot.events.insert(number, Event(number + 1, pcr, kind, {SHA256: measured}, data, 0))
    return boot


def _other(chosen: int, **changes: Any) -> BootBuilder:
    """A full boot of which the first event of this type is shown otherwise than it was measured."""
    boot = full_boot()
    number = next(number for number, event in enumerate(boot.events) if event.type == chosen)
    boot.events[number] = boot.events[number]._replace(**changes)
    return boot


def _policy(*variables: Variable | bytes, authority: bytes = b"") -> BootBuilder:
    """A boot whose PCR 7 begins with Secure Boot's variables as they are here, and with an authority."""
    boot = BootBuilder()
    for variable in variables:
        boot.event(7, _POLICY, variable if isinstance(variable, bytes) else variable.encode())
    if authority:
        boot.event(7, T.EV_EFI_VARIABLE_AUTHORITY, authority)
    return boot.separators()


def _separators(**unlike: bytes) -> BootBuilder:
    boot = BootBuilder()
    for pcr in range(8):
        boot.event(pcr, T.EV_SEPARATOR, unlike.get(f"pcr{pcr}", bytes(4)))
    return boot


def _without_separator() -> BootBuilder:
    boot = BootBuilder()
    for pcr in range(8):
        boot.event(pcr, *((T.EV_POST_CODE, b"code") if pcr == 2 else (T.EV_SEPARATOR, bytes(4))))
    return boot


SECURE_BOOT = Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1")
AUTHORITY = Variable(IMAGE_SECURITY_DATABASE, "db", b"owner and certificate").encode()
OLD_SHIM = Variable(SHIM_LOCK, "Shim", b"certificate").encode() + bytes(6)
UNDERFLOW = CERT_X509.bytes_le + (27).to_bytes(4, "little") + bytes(4) + b"\x10\0\0\0"
"""A signature list that says it is smaller than its own head: subtracting that unsigned asks for gigabytes."""

LOGS: dict[str, Callable[[], BootBuilder]] = {
    "pcr-out-of-range": lambda: _event(24, T.EV_ACTION, b"", b"1" * 32),
    "spec-id-repeated": lambda: _event(0, T.EV_NO_ACTION, b"Spec ID Event03\0" + bytes(20), bytes(32), at=3),
    "no-action-digest": lambda: _event(7, T.EV_NO_ACTION, b"hidden", b"1" * 32),
    "startup-locality-wrong": lambda: _event(0, T.EV_NO_ACTION, b"StartupLocality\0\0", bytes(32), at=1),
    "hcrtm-late": lambda: BootBuilder().firmware().event(0, T.EV_EFI_HCRTM_EVENT, b"HCRTM"),
    "event-retyped": lambda: _other(T.EV_SEPARATOR, type=T.EV_ACTION),
    "event-data-mismatch": lambda: _other(T.EV_S_CRTM_VERSION, data=b"2.0.0"),
    "authority-cut-short": lambda: (
        BootBuilder().firmware().event(7, T.EV_EFI_VARIABLE_AUTHORITY, OLD_SHIM, OLD_SHIM[:-1]).system()
    ),
    "separator-missing": _without_separator,
    "separator-doubled": lambda: BootBuilder().firmware().event(4, T.EV_SEPARATOR, bytes(4)),
    "separator-error": lambda: _separators(pcr3=b"\1\0\0\0"),
    "separator-late": lambda: (
        BootBuilder()
        .event(4, T.EV_EFI_BOOT_SERVICES_APPLICATION, ImageLoad(0, 1, 0, _FILE).encode(), b"image")
        .firmware()
    ),
    "variable-malformed": lambda: _policy(SECURE_BOOT, SECURE_BOOT.encode() + b"trailing"),
    "variable-repeated": lambda: _policy(SECURE_BOOT, SECURE_BOOT),
    "variable-late": lambda: BootBuilder().firmware().event(7, _POLICY, Variable(GLOBAL_VARIABLE, "KEK", b"").encode()),
    "signature-list-malformed": lambda: _policy(
        SECURE_BOOT, Variable(IMAGE_SECURITY_DATABASE, "db", UNDERFLOW).encode()
    ),
    "authority-early": lambda: _policy(SECURE_BOOT, authority=AUTHORITY),
}
"""By the code that they are refused with."""
