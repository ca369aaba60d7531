"""What `medvouch doctor` finds: of each thing an agent stands on, whether it serves, in one line, and one remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medvouch.attestation.appraisal import judge_boot, quoted_pcrs
from medvouch.attestation.endorsements import read_certificate, read_ek_chain
from medvouch.attestation.log_rules import check_log
from medvouch.attestation.policy import Policy
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX
from medvouch.attestation.reference import VerifiedReference
from medvouch.attestation.replay import Logs, Replay, Status, replay, tabulate
from medvouch.attestation.semantics import SecureBoot, understand
from medvouch.crypto.certificates import EK
from medvouch.crypto.x509 import tpm_model, verify_chain
from medvouch.errors import EnvironmentFault, MedvouchError, MissingPart, TpmFault
from medvouch.formats import eventlog, ima, systemd
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch.ports import Clock, MeasurementLogs, Slots, Tpm

BANKS = (HashAlg.SHA1, HashAlg.SHA256, HashAlg.SHA384, HashAlg.SHA512)


@dataclass(frozen=True)
class Finding:
    """One line: `error` None where all is well; `said` None where it was not looked at, for what `why` says."""

    component: str
    said: str | None = None
    error: MedvouchError | None = None
    why: str = ""

    @property
    def exit_code(self) -> int:
        """0 unless there is a problem."""
        return self.error.exit_code if self.error is not None else 0

    def as_json(self) -> dict[str, Any]:
        """For --json."""
        if self.error is None:
            state = "ok" if self.said is not None else "not looked at"
            return {"component": self.component, "state": state, "said": self.said or self.why}
        error = self.error
        fields = {"code": error.code, "detail": error.detail, "place": error.place, "remedy": error.remedy}
        return {"component": self.component, "state": "problem", **fields, "exit_code": self.exit_code}

    def line(self) -> str:
        """For people."""
        if self.error is not None:
            return f"PROBLEM  {self.component:<11}  {' '.join(str(self.error).split())}"
        if self.said is not None:
            return f"ok       {self.component:<11}  {self.said}"
        return f"-        {self.component:<11}  not looked at: {self.why}"


@dataclass
class Surroundings:
    """What is looked at. Calls raise what is wrong; `tpm`, `references` and `broker` are only called once.

    `vendor_roots` (DER) are those of the trust document; `slots` None: no updates are configured.
    """

    tpm: Callable[[], Tpm]
    logs: MeasurementLogs
    clock: Clock
    slots: Slots | None
    broker: Callable[[], str]
    vendor_roots: Callable[[], tuple[bytes, ...]]
    references: Callable[[], tuple[VerifiedReference, ...]]
    agent: Callable[[], str]


class Doctor:
    """Looks at everything, whatever is wrong with the rest; what stands on something that is broken is left out."""

    def __init__(self, around: Surroundings, policy: Policy) -> None:
        self._around = around
        self._policy = policy
        self._tpm: Tpm | None = None
        self._pcrs: Mapping[HashAlg, Mapping[int, bytes]] | None = None
        self._logs: Logs | None = None

    def findings(self) -> Iterator[Finding]:
        """One after another, as they are made."""
        yield self._found("tpm", self._check_tpm)
        try:
            yield from self._with_tpm()
        finally:
            if self._tpm is not None:
                self._tpm.close()

    def _with_tpm(self) -> Iterator[Finding]:
        yield self._found("ek", self._check_ek, needs=self._tpm, of="the TPM")
        yield self._found("banks", self._check_banks, needs=self._tpm, of="the TPM")
        yield self._found("logs", self._check_logs)
        yield self._found("replay", self._check_replay, needs=self._pcrs and self._logs, of="PCRs or logs")
        yield self._found("secure-boot", self._check_secure_boot, needs=self._pcrs and self._logs, of="PCRs or logs")
        if self._around.slots is None:
            yield Finding("slots", why="no update repository is configured")
        else:
            yield self._found("slots", self._check_slots)
        yield self._found("clock", self._check_clock)
        yield self._found("broker", self._around.broker)
        yield self._found("agent", self._around.agent)
        yield self._found("verdict", self._foresee, needs=self._pcrs and self._logs, of="PCRs or logs")

    def _found(self, component: str, check: Callable[[], str], *, needs: object = True, of: str = "") -> Finding:
        if not needs:
            return Finding(component, why=f"{of} cannot be read")
        try:
            return Finding(component, check())
        except MedvouchError as error:
            return Finding(component, error=error)

    def _check_tpm(self) -> str:
        self._tpm = self._around.tpm()
        clock = self._tpm.read_clock()
        safe = "its clock is safe" if clock.safe else "it lost power without a shutdown"
        owned = "owned" if self._tpm.ownership_taken() else "not owned yet"
        return f"answers; reset {clock.reset_count} times, {owned}, {safe}"

    def _check_ek(self) -> str:
        assert self._tpm is not None
        certificate = read_certificate(self._tpm, EK_CERTIFICATE_INDEX)
        chain, roots = read_ek_chain(self._tpm), self._around.vendor_roots()
        verified = verify_chain(certificate, chain, roots, self._around.clock.now().ms // 1000, profile=EK)
        model = tpm_model(verified)
        return f"certified by a trusted vendor: {model.manufacturer} {model.model} {model.version}"

    def _check_banks(self) -> str:
        found, last = {}, None
        for bank in dict.fromkeys((*BANKS, *(bank for bank, _ in self._policy.selection.banks))):
            try:
                found[bank] = self._read(PcrSelection.of({bank: range(24)}))[bank]
            except TpmFault as error:
                last = error
        for bank, pcrs in self._policy.selection.banks:
            if bank not in found:
                remedy = "activate the bank in the firmware's set-up, or choose a policy with another"
                raise TpmFault("bank-missing", f"the policy wants {bank.label}: {last}", remedy=remedy)
            self._pcrs = {**(self._pcrs or {}), bank: {pcr: found[bank][pcr] for pcr in pcrs}}
        return f"active: {', '.join(bank.label for bank in found)}"

    def _read(self, selection: PcrSelection) -> Mapping[HashAlg, Mapping[int, bytes]]:
        assert self._tpm is not None
        return self._tpm.pcr_read(selection)

    def _check_logs(self) -> str:
        logs = self._around.logs
        uefi, of_systemd, of_ima = logs.uefi(), logs.systemd(), logs.ima()
        parsed = self._logs = Logs(
            uefi=eventlog.parse(uefi),
            systemd=systemd.parse(of_systemd) if of_systemd is not None else (),
            ima=ima.parse_binary(of_ima) if of_ima is not None else (),
        )
        counts = [f"{len(parsed.uefi.events)} firmware events"]
        counts.append(f"{len(parsed.systemd)} of systemd" if of_systemd is not None else "systemd keeps none")
        counts.append(f"{len(parsed.ima)} files" if of_ima is not None else "IMA keeps none")
        return ", ".join(counts)

    def _check_replay(self) -> str:
        replayed, quirks = self._replayed()
        matching = sum(row.status is Status.MATCH for row in replayed.table.rows)
        passed = f"; {', '.join(quirks)} let pass" if quirks else ""
        return f"the logs explain every PCR: {matching} match, the others were never extended{passed}"

    def _replayed(self) -> tuple[Replay, Sequence[str]]:
        """As an appraiser replays, and the quirks that his policy has to let pass."""
        assert self._logs is not None
        assert self._pcrs is not None
        replayed = replay(self._logs, self._pcrs)
        quirks = check_log(self._logs.uefi, replayed.events, quoted_pcrs(self._pcrs), self._policy.quirks or ())
        return replayed, [quirk.name for quirk in quirks]

    def _check_secure_boot(self) -> str:
        """Of a boot whose logs do not explain every PCR, what PCR 7 says alone."""
        assert self._logs is not None
        assert self._pcrs is not None
        rows = tabulate(self._logs, self._pcrs).rows
        if any(row.pcr == 7 and row.status is Status.MISMATCH for row in rows):
            raise EnvironmentFault(
                "secure-boot-unknown", "the log does not explain PCR 7", remedy="mend what `replay` says first"
            )
        only = {bank: {7: values[7]} for bank, values in self._pcrs.items() if 7 in values}
        state = understand(replay(Logs(self._logs.uefi), only).events).secure_boot
        if state is SecureBoot.ON:
            return "on, as measured"
        remedy = "switch Secure Boot on in the firmware set-up and boot again"
        raise EnvironmentFault("secure-boot-off", f"by the measured events it is {state.value}", remedy=remedy)

    def _check_slots(self) -> str:
        slots = self._around.slots
        assert slots is not None
        running, other = slots.running(), slots.other()
        activated = slots.activated()
        waiting = f"; {activated} boots next, once" if activated else ""
        return f"{running} is running, {other} takes the next release of up to {slots.capacity()} bytes{waiting}"

    def _check_clock(self) -> str:
        if not self._around.clock.now().ok:
            detail = "the kernel does not call the clock synchronised, or it stands before this software was made"
            raise EnvironmentFault("clock-unsynchronised", detail, remedy="set up NTP (chrony, systemd-timesyncd)")
        return "synchronised"

    def _foresee(self) -> str:
        """As an appraiser would: a challenge and the ledger he brings himself."""
        assert self._tpm is not None
        clock = self._tpm.read_clock()
        replayed, _ = self._replayed()
        _, reference = judge_boot(
            replayed,
            self._around.references(),
            self._policy,
            challenged=True,
            clock_safe=clock.safe,
            ledger_held=True,
        )
        release = f", release {reference.release}" if reference and self._policy.reference_pcrs is None else ""
        return f"affirming under {self._policy.id}{release}, by PCRs as they are read, unsigned"


def no_tpm(error: ImportError) -> MissingPart:
    """Where the TPM's stack is not installed."""
    return MissingPart(
        "part-missing", str(error), remedy="install what an agent needs: `pip install 'medvouch[agent]'`"
    )


def not_running(error: MedvouchError) -> str:
    """Nothing is wrong with an agent that is off; with one that answers badly there is."""
    if error.code == "agent-not-running":
        return "not running; all of this was looked at without it"
    raise error
