"""The end of a device's life, in the order of DESIGN §8: frozen, receipted, sanitised; `departing` goes on from there.

The lockout authorisation comes in a signed command, over TLS. It is nowhere logged, kept or answered: the command that
freezes the device is attached to the ledger's last entry, the one that sanitises it is not. Once it has worked it is
void. Where the TPM refuses it, the device stays frozen, the data key is gone already, and the TPM takes no other
attempt before its recovery time is over (swtpm: 1000 s). Whoever may read the device's commands at the broker sees it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from medvouch.daemon import refusals
from medvouch.daemon.data_key import DATA_KEY
from medvouch.daemon.departing import INTENT_KEY, SanitisationIntent, carried_out, carry_out
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import Refusal
from medvouch.formats.claims import LedgerHead
from medvouch.formats.enrolment import NONCE_BYTES, message_digest
from medvouch.formats.identity import DeviceIdentity
from medvouch.formats.sanitisation import TPM2_CLEAR, SanitisationCertificate
from medvouch.lifecycle.life import Cause, Life
from medvouch.messages.commands import VerifiedCommand
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock, Store, Tpm

MAX_AUTH_BYTES = 64


class Decommissioning:
    """The commands that end a life; `sanitised` is set once the TPM is cleared and the proof of it is durable."""

    def __init__(
        self,
        tpm: Tpm,
        worker: Worker,
        identity: DeviceIdentity,
        standing: Standing,
        recorder: Recorder,
        reporter: Reporter,
        store: Store,
        clock: Clock,
        identity_fields: Callable[[], Fields],
    ) -> None:
        self._tpm = tpm
        self._worker = worker
        self._identity = identity
        self._standing = standing
        self._recorder = recorder
        self._reporter = reporter
        self._store = store
        self._clock = clock
        self._identity_fields = identity_fields
        self.sanitised = asyncio.Event()

    async def freeze(self, command: VerifiedCommand) -> Fields:
        """`cmd/freeze`: the last entry of the ledger; from then on the device attests, and nothing else changes."""
        change = self._standing.moved(Cause.FREEZE)
        after = {**self._identity_fields(), "life": change.transition.after}
        messages = [
            self._reporter.event_message("frozen", {"owner": self._owner}),
            self._reporter.state_message("identity", after),
        ]
        around = Circumstances("commander", self._owner, {"command": command.data})
        await self._recorder.record(change, around, messages, checkpoint=True)
        return {}

    async def sanitise(self, command: VerifiedCommand) -> Fields:
        """`cmd/sanitise`: args `nonce` (32 bytes, fresh) and `lockout` (bytes, the TPM's authorisation from escrow).

        1. The device is frozen.
        2. An appraiser has confirmed the ledger as it ends.
        3. The data key is destroyed; what is to be done is durable.
        4. TPM2_Clear, and in the same boot the IAK's quote.
        5. The proof of it is durable.

        Raises Refusal `command-malformed`, `device-not-frozen`, `receipt-missing`; TpmFault where the TPM refuses.
        """
        nonce, lockout = _arguments(command)
        if self._standing.life is not Life.FROZEN:  # 1
            raise Refusal(refusals.DEVICE_NOT_FROZEN, f"it is {self._standing.life.value}")
        head = await self._confirmed_head()  # 2
        intent = SanitisationIntent(self._certificate(head).encode(), nonce)
        self._store.put({DATA_KEY: None, INTENT_KEY: intent.encode()})  # 3
        message = await self._worker.run(lambda: carry_out(self._tpm, intent, lockout))  # 4
        change = carried_out(self._standing, message)
        after = {**self._identity_fields(), "life": change.transition.after}
        await self._recorder.keep(change.values, [self._reporter.state_message("identity", after)])  # 5
        self.sanitised.set()  # the answer to this command is queued before anybody else runs
        return {"digest": message_digest(message).hex()}

    @property
    def _owner(self) -> str:
        return self._standing.owner or self._identity.accountable_owner

    async def _confirmed_head(self) -> LedgerHead:
        """The ledger's head, if the receipt is on just that."""
        now, receipt = await self._worker.run(lambda: self._recorder.head(0)), self._standing.receipt
        if now is None or receipt is None or receipt.ledger_head != now[0]:
            raise Refusal(
                refusals.RECEIPT_MISSING, f"the receipt is on {receipt.ledger_head if receipt else 'nothing'}"
            )
        return now[0]

    def _certificate(self, head: LedgerHead) -> SanitisationCertificate:
        now = self._clock.now()
        return SanitisationCertificate(
            ueid=self._identity.ueid,
            device_id=self._identity.device_id,
            serial=self._identity.serial,
            ledger_size=head.size,
            ledger_root=head.root,
            ledger_counter=head.counter,
            method=TPM2_CLEAR,
            time_ms=now.ms,
            clock_ok=now.ok,
            accountable_owner=self._owner,
        )


def _arguments(command: VerifiedCommand) -> tuple[bytes, bytes]:
    nonce, lockout = command.args.get("nonce"), command.args.get("lockout")
    if not isinstance(nonce, bytes) or len(nonce) != NONCE_BYTES:
        raise Refusal(refusals.COMMAND_MALFORMED, f"sanitise needs a nonce of {NONCE_BYTES} bytes")
    if not isinstance(lockout, bytes) or len(lockout) > MAX_AUTH_BYTES:
        raise Refusal(refusals.COMMAND_MALFORMED, f"sanitise needs a lockout auth of at most {MAX_AUTH_BYTES} bytes")
    return nonce, lockout
