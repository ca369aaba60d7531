"""What a firmware log must keep to although its digests replay: types, order and headers are not measured.

Run after the replay, on the events that it confirmed: a log that breaks a rule was edited, or comes from firmware that
keeps to no profile. What is known of such firmware is a row of `quirks.QUIRKS`, waived where the policy asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TypeVar

from medvouch.attestation import log_refusals
from medvouch.attestation.measured import (
    PCR_BOOT_APPLICATIONS,
    PCR_DRIVERS,
    PCR_FIRMWARE,
    PCR_SECURE_BOOT,
    is_error_separator,
    is_separator,
    of_old_shim,
)
from medvouch.attestation.measurements import VerifiedEvent, VerifiedEvents
from medvouch.attestation.quirks import Quirk
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats import uefi
from medvouch.formats.device_path import device_path_text
from medvouch.formats.event_text import title
from medvouch.formats.eventlog import NO_ACTION, PCR_COUNT, STARTUP_LOCALITY_SIGNATURE, Event, EventLog, EventType
from medvouch.formats.uefi import ImageLoad

FIRMWARE_PCRS = range(8)
"""PCRs that firmware measures into, and separates from what it starts (PFP 1.06, section 3.3.4)."""

_SPEC_ID = b"Spec ID Event"
_LOCALITIES = (0, 3, 4)
_POLICY = frozenset(("SecureBoot", "PK", "KEK", "db", "dbx", "dbt", "dbr"))
_POLICY_GUIDS = (uefi.GLOBAL_VARIABLE, uefi.IMAGE_SECURITY_DATABASE)
_HASHED_DATA = frozenset(
    (
        EventType.EV_S_CRTM_VERSION,
        EventType.EV_EFI_ACTION,
        EventType.EV_EFI_VARIABLE_DRIVER_CONFIG,
        EventType.EV_EFI_VARIABLE_AUTHORITY,
        EventType.EV_EFI_GPT_EVENT,
    )
)
"""Types whose digest is the hash of the event's data (PFP 1.06, table 27)."""
_SEPARATOR, _HCRTM = int(EventType.EV_SEPARATOR), int(EventType.EV_EFI_HCRTM_EVENT)
_DRIVERS = (EventType.EV_EFI_BOOT_SERVICES_DRIVER, EventType.EV_EFI_RUNTIME_SERVICES_DRIVER)


T = TypeVar("T")


def check_log(
    log: EventLog, events: VerifiedEvents, quoted: Collection[int], quirks: Collection[Quirk] = ()
) -> tuple[Quirk, ...]:
    """Hold the log to the rules, of which those of a PCR concern the `quoted` ones; the quirks that were needed.

    1. Nothing is measured into a PCR that no TPM has: `pcr-out-of-range`.
    2. One Spec ID event begins the log, and its size is all of it: `spec-id-repeated`, `spec-id-vendor-info`.
    3. What is not measured has no digest: `no-action-digest`.
    4. StartupLocality and the hardware CRTM come before all else in PCR 0: `startup-locality-wrong`, `hcrtm-late`.
    5. An event is a separator exactly where its digest is a separator's: `event-retyped`.
    6. What is measured by its data has the digest of its data, all of it: `event-data-mismatch`, `authority-cut-short`.
    7. Each firmware PCR has one separator, and none that reports an error: `separator-missing`, `separator-doubled`,
       `separator-error`.
    8. Boot applications that are not the firmware's own come after it: `separator-late`.
    9. Secure Boot's variables can be read, stand once, and before it: `variable-malformed`,
       `signature-list-malformed`, `variable-repeated`, `variable-late`.
    10. Authorities come after it, unless drivers were verified: `authority-early`.
    """
    waived = {code: quirk for quirk in quirks for code in quirk.waives}
    used: list[Quirk] = []
    for found in _broken(log, events, quoted):
        if found.code not in waived:
            raise found
        used.append(waived[found.code])
    return tuple(dict.fromkeys(used))


def _broken(log: EventLog, events: VerifiedEvents, quoted: Collection[int]) -> Iterator[Refusal]:
    yield from _headers(log)  # 1-3
    yield from _start(log)  # 4
    for pcr in FIRMWARE_PCRS:
        if pcr in quoted:
            measured = events.of(pcr)
            separators = [event for event in measured if is_separator(event)]
            yield from _labels(measured, separators)  # 5, 6
            yield from _separators(pcr, measured, separators)  # 7
    yield from _applications(events.of(PCR_BOOT_APPLICATIONS))  # 8
    yield from _policy(events.of(PCR_SECURE_BOOT))  # 9
    yield from _authorities(events)  # 10


def _refusal(kind: RefusalKind, event: Event | VerifiedEvent, detail: str = "") -> Refusal:
    said = title(event) if isinstance(event, Event) else event.describe()
    return Refusal(kind, f"{said}{': ' if detail else ''}{detail}", place=f"PCR {event.pcr}, event {event.index}")


def _headers(log: EventLog) -> Iterator[Refusal]:
    if log.spec is not None and not log.spec.vendor_info_inside:
        detail = f"{len(log.spec.vendor_info)} bytes of vendor information stand after the Spec ID event"
        yield Refusal(log_refusals.SPEC_ID_VENDOR_INFO, detail, place="event 0")
    for event in log.events:
        _, pcr, kind, digests, data, _ = event
        if kind != NO_ACTION:
            if pcr >= PCR_COUNT:
                yield _refusal(log_refusals.PCR_OUT_OF_RANGE, event, f"PCR {pcr}")
            continue
        if data.startswith(_SPEC_ID):
            yield _refusal(log_refusals.SPEC_ID_REPEATED, event)
        if pcr < PCR_COUNT and any(any(digest) for digest in digests.values()):
            yield _refusal(log_refusals.NO_ACTION_DIGEST, event)


def _start(log: EventLog) -> Iterator[Refusal]:
    """Only the first may say how PCR 0 began, else two readers of one log start from two values."""
    measured = said = False
    for event in log.events:
        kind = event.type
        if kind == NO_ACTION and event.data.startswith(STARTUP_LOCALITY_SIGNATURE):
            if measured or said or event.startup_locality not in _LOCALITIES:
                yield _refusal(log_refusals.STARTUP_LOCALITY_WRONG, event)
            said = True
        if kind == _HCRTM and (measured or event.pcr != PCR_FIRMWARE):
            yield _refusal(log_refusals.HCRTM_LATE, event)
        measured = measured or (kind != NO_ACTION and event.pcr == PCR_FIRMWARE)


def _labels(events: Sequence[VerifiedEvent], separators: Sequence[VerifiedEvent]) -> Iterator[Refusal]:
    known = set(map(id, separators))
    for event in events:
        kind = event.type
        if (kind == _SEPARATOR) != (id(event) in known):
            yield _refusal(log_refusals.EVENT_RETYPED, event)
        elif kind in _HASHED_DATA and not event.covers_data:
            if of_old_shim(event):
                yield _refusal(log_refusals.AUTHORITY_CUT_SHORT, event)
            else:
                yield _refusal(log_refusals.EVENT_DATA_MISMATCH, event)


def _separators(pcr: int, events: Sequence[VerifiedEvent], found: Sequence[VerifiedEvent]) -> Iterator[Refusal]:
    if not found:
        yield Refusal(log_refusals.SEPARATOR_MISSING, f"{len(events)} events, none a separator", place=f"PCR {pcr}")
    for event in found[1:]:
        yield _refusal(log_refusals.SEPARATOR_DOUBLED, event)
    for event in filter(is_error_separator, found):
        yield _refusal(log_refusals.SEPARATOR_ERROR, event)


def _before(events: Sequence[VerifiedEvent]) -> Sequence[VerifiedEvent]:
    """Those before the first separator; none where there is no separator."""
    first = next((number for number, event in enumerate(events) if is_separator(event)), 0)
    return events[:first]


def _applications(events: Sequence[VerifiedEvent]) -> Iterator[Refusal]:
    """The path is the log's word: whoever forges one has still to bring the application past the reference values."""
    for event in _before(events):
        if event.type == EventType.EV_EFI_BOOT_SERVICES_APPLICATION and not _own(event.data):
            yield _refusal(log_refusals.SEPARATOR_LATE, event)


def _own(data: bytes) -> bool:
    """Whether it is said to come out of the firmware itself."""
    try:
        return device_path_text(ImageLoad.parse(data).device_path).startswith(("Fv(", "MemoryMapped("))
    except InputError:
        return False


def _policy(events: Sequence[VerifiedEvent]) -> Iterator[Refusal]:
    before, seen = len(_before(events)), set[str]()
    for number, event in enumerate(events):
        if event.type != EventType.EV_EFI_VARIABLE_DRIVER_CONFIG:
            continue
        variable = event.variable
        if variable is None:
            yield _refusal(log_refusals.VARIABLE_MALFORMED, event)
            continue
        if variable.name not in _POLICY or variable.guid not in _POLICY_GUIDS:
            continue
        if number > before:
            yield _refusal(log_refusals.VARIABLE_LATE, event)
        if variable.name in seen:
            yield _refusal(log_refusals.VARIABLE_REPEATED, event)
        seen.add(variable.name)
        in_lists = variable.name in uefi.SIGNATURE_DATABASES
        if in_lists and _parsed(uefi.parse_signature_lists, variable.data) is None:
            yield _refusal(log_refusals.SIGNATURE_LIST_MALFORMED, event)


def _parsed(parse: Callable[[bytes], T], data: bytes) -> T | None:
    try:
        return parse(data)
    except InputError:
        return None


def _authorities(events: VerifiedEvents) -> Iterator[Refusal]:
    """Order across PCRs is not measured: that any driver was loaded is all that can be asked."""
    if any(event.type in _DRIVERS for event in events.of(PCR_DRIVERS)):
        return
    for event in _before(events.of(PCR_SECURE_BOOT)):
        if event.type == EventType.EV_EFI_VARIABLE_AUTHORITY:
            yield _refusal(log_refusals.AUTHORITY_EARLY, event)
