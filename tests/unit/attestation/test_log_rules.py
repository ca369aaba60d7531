"""Logs that replay to the very PCRs that were quoted, and lie all the same: each lie has its own refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from medvouch.attestation import log_refusals
from medvouch.attestation.log_rules import FIRMWARE_PCRS, check_log
from medvouch.attestation.quirks import QUIRKS, Quirk
from medvouch.attestation.replay import Logs, replay
from medvouch.errors import Refusal, RefusalKind
from medvouch.formats import uefi
from medvouch.formats.eventlog import Event, EventLog, EventType, SpecId
from medvouch.formats.uefi import GLOBAL_VARIABLE, IMAGE_SECURITY_DATABASE, SHIM_LOCK, ImageLoad, Variable
from support.boots import PLATFORM_KEY, SHA256, BootBuilder, sha

T = EventType
SEPARATOR = bytes(4)
NONE = {SHA256: bytes(32)}
SECURE_BOOT = Variable(GLOBAL_VARIABLE, "SecureBoot", b"\1").encode()
AUTHORITY = Variable(IMAGE_SECURITY_DATABASE, "db", b"owner and certificate").encode()
Change = Callable[[list[Event]], None]


def check(boot: BootBuilder, *quirks: Quirk, spec: SpecId | None = None) -> tuple[Quirk, ...]:
    log = EventLog(spec or SpecId(boot.banks), tuple(boot.events))
    return check_log(log, replay(Logs(log), boot.pcrs).events, range(24), quirks)


def refused(kind: RefusalKind, boot: BootBuilder, *quirks: Quirk, spec: SpecId | None = None) -> Refusal:
    with pytest.raises(Refusal) as caught:
        check(boot, *quirks, spec=spec)
    assert caught.value.kind == kind
    return caught.value


def relabelled(boot: BootBuilder, chosen: Callable[[Event], bool], **changes: object) -> BootBuilder:
    """The same measurements under another type or with other data."""
    number = next(number for number, event in enumerate(boot.events) if chosen(event))
    boot.events[number] = boot.events[number]._replace(**changes)  # type: ignore[arg-type]
    return boot


def silent(boot: BootBuilder, data: bytes, pcr: int = 0, at: int = 0, kind: int = T.EV_NO_ACTION) -> BootBuilder:
    """An event that is not measured, put into the log."""
    boot.events.insert(at, Event(0, pcr, kind, NONE, data, 0))
    return boot


def policy_until(boot: BootBuilder, *before: tuple[int, bytes]) -> BootBuilder:
    """A boot whose PCR 7 begins with SecureBoot and `before`."""
    boot.event(7, T.EV_EFI_VARIABLE_DRIVER_CONFIG, SECURE_BOOT)
    for kind, data in before:
        boot.event(7, kind, data)
    for pcr in FIRMWARE_PCRS:
        boot.event(pcr, T.EV_SEPARATOR, SEPARATOR)
    return boot


def test_an_honest_boot_passes() -> None:
    assert check(BootBuilder().firmware()) == ()
    assert check(BootBuilder().locality(3).firmware()) == ()


def test_pcr_out_of_range() -> None:
    boot = BootBuilder().firmware()
    boot.events.append(Event(99, 24, T.EV_ACTION, {SHA256: b"1" * 32}, b"", 0))
    assert refused(log_refusals.PCR_OUT_OF_RANGE, boot).place == "PCR 24, event 99"


def test_an_injected_header() -> None:
    for version in (b"Spec ID Event03\0", b"Spec ID Event02\0", b"Spec ID Event00\0"):
        refused(log_refusals.SPEC_ID_REPEATED, silent(BootBuilder().firmware(), version + bytes(20), at=3))


def test_bytes_after_the_header_that_no_size_accounts_for() -> None:
    spec = SpecId((SHA256,), vendor_info=b"events", vendor_info_inside=False)
    refused(log_refusals.SPEC_ID_VENDOR_INFO, BootBuilder().firmware(), spec=spec)
    quirk = QUIRKS["vendor-info-outside"]
    assert check(BootBuilder().firmware(), quirk, spec=spec) == (quirk,)
    assert check(BootBuilder().firmware(), quirk) == ()


def test_a_measurement_relabelled_as_no_action() -> None:
    boot = BootBuilder().firmware()
    boot.events.append(Event(99, 7, T.EV_NO_ACTION, {SHA256: b"1" * 32}, b"hidden", 0))
    assert refused(log_refusals.NO_ACTION_DIGEST, boot).place == "PCR 7, event 99"
    trust_point = BootBuilder().firmware()
    trust_point.events.append(Event(99, 0xFFFFFFFF, T.EV_NO_ACTION, {SHA256: b"1" * 32}, b"", 0))
    check(trust_point)


@pytest.mark.parametrize("value", [1, 2, 5, 255])
def test_a_locality_that_cannot_be(value: int) -> None:
    refused(log_refusals.STARTUP_LOCALITY_WRONG, _quoted_at(BootBuilder(), value))


def _quoted_at(boot: BootBuilder, value: int) -> BootBuilder:
    for bank in boot.banks:
        boot.pcrs[bank][0] = value.to_bytes(bank.size, "big")
    return silent(boot.firmware(), b"StartupLocality\0" + bytes([value]))


def test_a_locality_that_is_said_late_twice_or_elsewhere() -> None:
    said = b"StartupLocality\0\0"
    check(silent(BootBuilder().firmware(), said))
    refused(log_refusals.STARTUP_LOCALITY_WRONG, silent(BootBuilder().firmware(), said, at=1))
    refused(log_refusals.STARTUP_LOCALITY_WRONG, silent(silent(BootBuilder().firmware(), said), said))
    refused(log_refusals.STARTUP_LOCALITY_WRONG, silent(BootBuilder().firmware(), said, pcr=1))
    refused(log_refusals.STARTUP_LOCALITY_WRONG, silent(BootBuilder().firmware(), said + b"\0"))


def test_hardware_crtm_comes_first() -> None:
    boot = BootBuilder()
    boot.pcrs[SHA256][0] = (4).to_bytes(32, "big")
    check(boot.event(0, T.EV_EFI_HCRTM_EVENT, b"HCRTM").firmware())
    refused(log_refusals.HCRTM_LATE, BootBuilder().firmware().event(0, T.EV_EFI_HCRTM_EVENT, b"HCRTM"))
    refused(log_refusals.HCRTM_LATE, BootBuilder().event(1, T.EV_EFI_HCRTM_EVENT, b"HCRTM").firmware())


def test_a_separator_hidden_and_something_else_passed_off_as_one() -> None:
    hidden = relabelled(BootBuilder().firmware(), lambda e: e.type == T.EV_SEPARATOR, type=T.EV_ACTION)
    refused(log_refusals.EVENT_RETYPED, hidden)
    posing = relabelled(BootBuilder().firmware(), lambda e: e.type == T.EV_EFI_ACTION, type=T.EV_SEPARATOR)
    refused(log_refusals.EVENT_RETYPED, posing)


def test_a_boot_order_whose_bytes_are_those_of_the_error_separator() -> None:
    """Options 1, then 0, as a machine that was captured has them; only as such, and only in its PCR."""
    order = Variable(GLOBAL_VARIABLE, "BootOrder", b"\1\0\0\0")
    assert check(BootBuilder().event(1, T.EV_EFI_VARIABLE_BOOT, order.encode(), order.data).firmware()) == ()
    for pcr, kind, variable in (
        (1, T.EV_EFI_ACTION, order),
        (3, T.EV_EFI_VARIABLE_BOOT, order),
        (1, T.EV_EFI_VARIABLE_BOOT, Variable(GLOBAL_VARIABLE, "Boot0000", order.data)),
        (1, T.EV_EFI_VARIABLE_BOOT, Variable(GLOBAL_VARIABLE, "BootOrder", b"\0\0\1\0")),
    ):
        boot = BootBuilder().event(pcr, kind, variable.encode(), order.data).firmware()
        refused(log_refusals.EVENT_RETYPED, boot)


def test_windows_separators_are_its_own() -> None:
    check(BootBuilder().firmware().event(12, T.EV_SEPARATOR, b"WBCL"))


@pytest.mark.parametrize(
    "kind", [T.EV_S_CRTM_VERSION, T.EV_EFI_ACTION, T.EV_EFI_VARIABLE_DRIVER_CONFIG, T.EV_EFI_VARIABLE_AUTHORITY]
)
def test_data_that_was_not_measured(kind: int) -> None:
    boot = BootBuilder().firmware()
    forged = next(e.data for e in boot.events if e.type == kind) + b"!"
    refused(log_refusals.EVENT_DATA_MISMATCH, relabelled(boot, lambda e: e.type == kind, data=forged))


def test_authorities_of_old_shims_are_measured_all_but_the_last_byte() -> None:
    data = Variable(SHIM_LOCK, "Shim", b"certificate").encode() + bytes(6)
    boot = BootBuilder().firmware().event(7, T.EV_EFI_VARIABLE_AUTHORITY, data, data[:-1])
    assert refused(log_refusals.AUTHORITY_CUT_SHORT, boot).place == f"PCR 7, event {len(boot.events)}"
    quirk = QUIRKS["old-shim"]
    assert check(boot, quirk) == (quirk,)


def test_whoever_is_no_old_shim_has_no_excuse() -> None:
    quirk = QUIRKS["old-shim"]
    other = AUTHORITY + b"!"
    boot = BootBuilder().firmware().event(7, T.EV_EFI_VARIABLE_AUTHORITY, other, other[:-1])
    refused(log_refusals.EVENT_DATA_MISMATCH, boot, quirk)


@pytest.mark.parametrize("pcr", FIRMWARE_PCRS)
def test_every_firmware_pcr_has_a_separator(pcr: int) -> None:
    boot = BootBuilder()
    for each in FIRMWARE_PCRS:
        boot.event(each, *((T.EV_POST_CODE, b"code") if each == pcr else (T.EV_SEPARATOR, SEPARATOR)))
    assert refused(log_refusals.SEPARATOR_MISSING, boot).place == f"PCR {pcr}"


def test_a_tpm_that_no_firmware_measured_into() -> None:
    refused(log_refusals.SEPARATOR_MISSING, BootBuilder())
    boot = BootBuilder()
    log = EventLog(SpecId(boot.banks), ())
    assert check_log(log, replay(Logs(log), {SHA256: {8: bytes(32)}}).events, {8}) == ()


def test_two_separators() -> None:
    boot = BootBuilder().firmware().event(4, T.EV_SEPARATOR, SEPARATOR)
    assert refused(log_refusals.SEPARATOR_DOUBLED, boot).place == f"PCR 4, event {len(boot.events)}"
    quirk = QUIRKS["measures-twice"]
    assert check(boot, quirk) == (quirk,)
    refused(log_refusals.SEPARATOR_DOUBLED, boot, QUIRKS["vendor-info-outside"])


def test_separator_that_reports_an_error() -> None:
    boot = BootBuilder()
    for pcr in FIRMWARE_PCRS:
        boot.event(pcr, T.EV_SEPARATOR, b"\1\0\0\0" if pcr == 3 else SEPARATOR)
    assert refused(log_refusals.SEPARATOR_ERROR, boot).place == "PCR 3, event 4"


def application(path: bytes) -> bytes:
    return ImageLoad(0, 1, 0, path + b"\x7f\xff\4\0").encode()


def test_boot_application_before_the_separator() -> None:
    file = b"\4\4\10\0" + "a\0".encode("utf-16-le")
    for path in (file, b"", b"\1"):
        boot = BootBuilder().event(4, T.EV_EFI_BOOT_SERVICES_APPLICATION, application(path), b"image")
        assert refused(log_refusals.SEPARATOR_LATE, boot.firmware()).place == "PCR 4, event 1"
    volume = b"\4\7\x14\0" + bytes(16)
    check(BootBuilder().event(4, T.EV_EFI_BOOT_SERVICES_APPLICATION, application(volume), b"image").firmware())


def test_policy_after_the_separator() -> None:
    boot = policy_until(BootBuilder())
    check(boot)
    for guid, name in ((GLOBAL_VARIABLE, "KEK"), (IMAGE_SECURITY_DATABASE, "dbx")):
        late = policy_until(BootBuilder())
        late.event(7, T.EV_EFI_VARIABLE_DRIVER_CONFIG, Variable(guid, name, PLATFORM_KEY).encode())
        refused(log_refusals.VARIABLE_LATE, late)
    mok = Variable(SHIM_LOCK, "MokList", b"").encode()
    check(policy_until(BootBuilder()).event(7, T.EV_EFI_VARIABLE_DRIVER_CONFIG, mok))
    other = Variable(SHIM_LOCK, "db", b"").encode()
    check(policy_until(BootBuilder()).event(7, T.EV_EFI_VARIABLE_DRIVER_CONFIG, other))


def test_policy_measured_twice() -> None:
    refused(log_refusals.VARIABLE_REPEATED, policy_until(BootBuilder(), (T.EV_EFI_VARIABLE_DRIVER_CONFIG, SECURE_BOOT)))


def test_policy_that_is_no_variable() -> None:
    refused(
        log_refusals.VARIABLE_MALFORMED,
        policy_until(BootBuilder(), (T.EV_EFI_VARIABLE_DRIVER_CONFIG, SECURE_BOOT + b"trailing")),
    )


def test_signature_list_underflow() -> None:
    """A list size below its own head: subtracting it unsigned asks for gigabytes."""
    for size in (0, 27, 0xFFFFFFFF):
        underflow = uefi.CERT_X509.bytes_le + size.to_bytes(4, "little") + bytes(4) + b"\x10\0\0\0"
        data = Variable(IMAGE_SECURITY_DATABASE, "db", underflow).encode()
        refused(
            log_refusals.SIGNATURE_LIST_MALFORMED,
            policy_until(BootBuilder(), (T.EV_EFI_VARIABLE_DRIVER_CONFIG, data)),
        )


def test_authority_before_the_separator() -> None:
    early = (T.EV_EFI_VARIABLE_AUTHORITY, AUTHORITY)
    assert refused(log_refusals.AUTHORITY_EARLY, policy_until(BootBuilder(), early)).place == "PCR 7, event 2"
    driver = BootBuilder().event(2, T.EV_EFI_BOOT_SERVICES_DRIVER, application(b""), b"driver")
    check(policy_until(driver, early))
    assert sha(SHA256, b"driver") in {event.digests[SHA256] for event in driver.events}
