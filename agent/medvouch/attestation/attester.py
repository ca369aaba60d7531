"""The attester: turns a challenge into evidence with a TPM and the logs of this boot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from medvouch.attestation.evidence import EAT_CONTENT_TYPE, QuoteRecord, collect, qualifying_data
from medvouch.attestation.provisioning import attestation_key, load_ldevid
from medvouch.attestation.quotes import PcrValues
from medvouch.attestation.tpm_signer import TpmSigner
from medvouch.crypto import cose
from medvouch.crypto.tpm import pcr_digest
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eat import Eat, LedgerHead
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.tpm import ClockInfo, PcrSelection, SignedAttest, sized
from medvouch.ports import Clock, CreatedKey, KeyHandle, MeasurementLogs, Tpm

QUOTE_ATTEMPTS = 5
"""IMA may extend PCR 10 between reading and quoting; more than a few times in a row is no coincidence."""


@dataclass(frozen=True)
class AttestationKeys:
    """The in-service keys, loaded; the LAK's certificate, and its TPM2_Certify of the LDevID."""

    lak: KeyHandle
    lak_certificate: bytes
    ldevid: KeyHandle
    ldevid_public: bytes
    ldevid_certify: SignedAttest

    @classmethod
    def load(cls, tpm: Tpm, identity: DeviceIdentity) -> AttestationKeys:
        """The keys of an enrolled device. Raises TpmFault, among others where the TPM was cleared."""
        lak = attestation_key(tpm)
        ldevid = load_ldevid(tpm, CreatedKey(identity.ldevid_public, identity.ldevid_private))
        certified = tpm.certify(ldevid, lak, b"")
        return cls(lak, identity.lak_certificate, ldevid, identity.ldevid_public, certified)


@dataclass(frozen=True)
class Description:
    """What the claims say of the device itself: UEID, hardware and software, and its connection key (RFC 9711)."""

    ueid: bytes
    client_key_thumbprint: bytes
    oem_id: bytes
    hw_model: bytes
    hw_version: str
    sw_name: str
    sw_version: str


def boot_name(clock: ClockInfo) -> str:
    """Names a boot: resetCount and restartCount of the TPM."""
    return f"{clock.reset_count}.{clock.restart_count}"


def _hash_of(quote: SignedAttest) -> HashAlg:
    """Of a TPMT_SIGNATURE and so of the PCR digest, which ends a TPMS_QUOTE_INFO (Part 2, 11.3.4 and 10.12.1)."""
    return HashAlg(int.from_bytes(quote.signature[2:4], "big"))


class LedgerSource(Protocol):
    """Where the device's ledger stands, for its evidence."""

    def head(self, since: int) -> tuple[LedgerHead, bytes] | None:
        """The head, and the record `checkpoint` with its proofs from size `since`; None before the first checkpoint."""
        ...


class Attester:
    """Makes evidence. Blocking, and as single-threaded as its Tpm; raises TpmFault or StorageFault.

    `ledger` None: a device without one. `update_state` tells how far an update has come, `suit_report` gives the report
    of the last one for a nonce, or None.
    """

    def __init__(
        self,
        tpm: Tpm,
        logs: MeasurementLogs,
        clock: Clock,
        keys: AttestationKeys,
        description: Description,
        *,
        ledger: LedgerSource | None = None,
        update_state: Callable[[], str | None] = lambda: None,
        suit_report: Callable[[bytes], bytes | None] = lambda _: None,
    ) -> None:
        self._tpm = tpm
        self._logs = logs
        self._clock = clock
        self._keys = keys
        self._description = description
        self._ledger = ledger
        self._update_state = update_state
        self._suit_report = suit_report
        self._signer = TpmSigner(tpm, keys.ldevid, keys.ldevid_public)
        self._hashed = b"", hashlib.sha256().digest()
        boot = tpm.read_clock()
        self.boot_count = boot.reset_count
        self.boot_id = boot_name(boot)

    def evidence(self, nonce: bytes, appraiser: str, selection: PcrSelection, *, ledger_since: int = 0) -> bytes:
        """Encoded evidence for one challenge: the claims, then the quote over them, then the logs that grow.

        `ledger_since` is the size of the ledger that the appraiser knows: what came since is proven to continue it.
        Whatever need not wait for the TPM is done while it is at work.
        """
        records: dict[str, bytes | None] = {}
        payload = b""

        def claim() -> None:
            nonlocal payload
            uefi, report = self._logs.uefi(), self._suit_report(nonce)
            ledger = self._ledger.head(ledger_since) if self._ledger else None
            head, checkpoint = ledger or (None, None)
            payload = self._claims(nonce, appraiser, uefi, head, report).encode()
            records.update({"uefi": uefi, "checkpoint": checkpoint, "suit-report": report})

        with self._tpm.meanwhile(claim):
            pcrs = self._tpm.pcr_read(selection)
        quote, pcrs = self._quote(qualifying_data(appraiser, nonce, payload), selection, pcrs)

        def add_the_rest() -> None:
            record = QuoteRecord(quote, pcrs, keys.lak_certificate, keys.ldevid_public, keys.ldevid_certify)
            records.update(quote=record.encode(), systemd=self._logs.systemd(), ima=self._logs.ima())

        keys = self._keys
        with self._tpm.meanwhile(add_the_rest):
            records["eat"] = cose.sign1(payload, self._signer, content_type=EAT_CONTENT_TYPE)
        return collect(records)

    def _claims(self, nonce: bytes, appraiser: str, uefi: bytes, head: LedgerHead | None, report: bytes | None) -> Eat:
        about = self._description
        return Eat(
            nonce=nonce,
            audience=appraiser,
            issued_at=self._clock.now().ms // 1000,
            client_key_thumbprint=about.client_key_thumbprint,
            ueid=about.ueid,
            oem_id=about.oem_id,
            hw_model=about.hw_model,
            hw_version=about.hw_version,
            uptime=self._clock.uptime_s(),
            boot_count=self.boot_count,
            sw_name=about.sw_name,
            sw_version=about.sw_version,
            uefi_log_digest=self._digest_of(uefi),
            ledger_head=head,
            update_state=self._update_state(),
            suit_report_digest=None if report is None else hashlib.sha256(report).digest(),
        )

    def _digest_of(self, uefi: bytes) -> bytes:
        """All boot long it is the same log."""
        log, digest = self._hashed
        if uefi != log:
            digest = hashlib.sha256(uefi).digest()
            self._hashed = uefi, digest
        return digest

    def _quote(self, qualifying: bytes, selection: PcrSelection, pcrs: PcrValues) -> tuple[SignedAttest, PcrValues]:
        """A quote over `pcrs`, or over what they have become by then."""
        for _ in range(QUOTE_ATTEMPTS):
            quote = self._tpm.quote(self._keys.lak, qualifying, selection)
            if quote.attest.endswith(sized(pcr_digest(pcrs, selection, _hash_of(quote)))):
                return quote, pcrs
            pcrs = self._tpm.pcr_read(selection)
        raise TpmFault(
            "pcrs-unstable", f"PCRs changed during each of {QUOTE_ATTEMPTS} quotes", remedy="find out what extends them"
        )
