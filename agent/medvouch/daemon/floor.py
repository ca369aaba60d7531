"""The security epoch as the TPM has it, and how it rises (DESIGN §7): one step for each approval of the authority."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from medvouch.attestation.provisioning import FLOOR_COUNTER
from medvouch.crypto.floor import epoch, verify_approval
from medvouch.crypto.keys import PublicKey
from medvouch.crypto.tpm import software_public
from medvouch.daemon import refusals
from medvouch.daemon.recording import Circumstances, Recorder
from medvouch.daemon.reporting import Reporter
from medvouch.daemon.standing import Standing
from medvouch.daemon.worker import Worker
from medvouch.errors import Refusal
from medvouch.formats.floor import MAX_APPROVAL_BYTES, FloorApproval
from medvouch.formats.identity import DeviceIdentity
from medvouch.lifecycle.roles import TrustedRole
from medvouch.messages.commands import VerifiedCommand
from medvouch.messages.payloads import Fields
from medvouch.ports import Clock, Tpm

NAME = "floor"
"""Of the index, in what enrolment agrees on."""


def security_epoch(tpm: Tpm, identity: DeviceIdentity) -> int:
    """The epoch below which nothing is installed. Blocking; raises TpmFault."""
    return epoch(identity.floor, identity.floor_base, _counter(tpm, identity))


def _counter(tpm: Tpm, identity: DeviceIdentity) -> int:
    return int.from_bytes(tpm.nv_read(FLOOR_COUNTER, identity.nv_auths[NAME]), "big")


@dataclass(frozen=True)
class Authority:
    """Who approves rises, by which clock."""

    role: TrustedRole
    clock: Clock

    def of(self, approval: FloorApproval, identity: DeviceIdentity) -> PublicKey:
        """The key that signed it. Raises Refusal `floor-approval-invalid`, `trust-expired`, `role-expired`."""
        for key in (keys := self.role.at(self.clock.now().ms // 1000)):
            try:
                verify_approval(approval, key, identity.nv_names[NAME], identity.ueid)
            except Refusal:
                if key == keys[-1]:
                    raise
            else:
                return key
        raise AssertionError("a role has keys")


class FloorKeeper:
    """Lets the floor rise. The TPM itself refuses what is not freshly approved; the checks here give a reason.

    The counter needs no intent on the disk: an approval names the value it lets rise, so whoever repeats it after a
    power cut finds it risen by one, and what was not recorded yet is recorded then.
    """

    def __init__(
        self,
        tpm: Tpm,
        worker: Worker,
        identity: DeviceIdentity,
        authority: Authority,
        standing: Standing,
        recorder: Recorder,
        reporter: Reporter,
        identity_fields: Callable[[], Fields],
    ) -> None:
        self._tpm = tpm
        self._worker = worker
        self._identity = identity
        self._authority = authority
        self._standing = standing
        self._recorder = recorder
        self._reporter = reporter
        self._identity_fields = identity_fields
        self._lock = asyncio.Lock()

    async def raise_floor(self, command: VerifiedCommand) -> Fields:
        """`cmd/floor`: arg `approval` (bytes, a FloorApproval); one that has worked already is answered as done.

        Raises InputError `floor-*`; TpmFault; Refusal `command-malformed`, `floor-approval-invalid`,
        `floor-approval-spent`.
        """
        approval = _approval(command)
        key = self._authority.of(approval, self._identity)
        async with self._lock:
            counter = await self._worker.run(lambda: self._risen(approval, key))
            reached = epoch(self._identity.floor, self._identity.floor_base, counter)
            if reached != self._standing.security_epoch:
                await self._record(reached, counter, command)
        return {"counter": counter, "security_epoch": reached}

    def _risen(self, approval: FloorApproval, key: PublicKey) -> int:
        """Where the counter stands once the approval has worked."""
        counter = _counter(self._tpm, self._identity)
        if approval.counter is not None and counter == approval.counter + 1:
            return counter
        if counter != approval.counter:
            detail = f"it is for the counter {approval.counter}, which stands at {counter}"
            raise Refusal(refusals.FLOOR_APPROVAL_SPENT, detail)
        auth = self._identity.nv_auths[NAME]
        self._tpm.nv_increment_approved(FLOOR_COUNTER, auth, approval, software_public(key), self._identity.ueid)
        return _counter(self._tpm, self._identity)

    async def _record(self, reached: int, counter: int, command: VerifiedCommand) -> None:
        after = {**self._identity_fields(), "security_epoch": reached}
        messages = [
            self._reporter.event_message("floor-raised", {"counter": counter, "security_epoch": reached}),
            self._reporter.state_message("identity", after),
        ]
        around = Circumstances("floor authority", self._standing.owner, {"command": command.data})
        await self._recorder.record(self._standing.raised(reached), around, messages, checkpoint=True)


def _approval(command: VerifiedCommand) -> FloorApproval:
    data = command.args.get("approval")
    if not isinstance(data, bytes) or len(data) > MAX_APPROVAL_BYTES:
        detail = f"floor needs an approval of at most {MAX_APPROVAL_BYTES} bytes"
        raise Refusal(refusals.COMMAND_MALFORMED, detail)
    return FloorApproval.parse(data)
