"""Figures of measurement logs: read and replayed beside tpm2_eventlog, beside their bare hashes, and ten times as long.

The logs are the published ones where MEDVOUCH_VECTORS names their folder; else one that is made here. All times are
processor times, so that a busy machine weighs less.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from medvouch.attestation.ima_state import ImaState, continue_list
from medvouch.attestation.log_rules import check_log
from medvouch.attestation.replay import Logs, boot_aggregate, replay, replayed_pcrs
from medvouch.attestation.semantics import understand
from medvouch.errors import MissingPart
from medvouch.formats import eventlog, ima, systemd, uefi
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import PCR_COUNT, Event, EventLog, EventType, SpecId
from medvouch.formats.hashing import HASHERS, digest
from medvouch_sim.bench.figures import EVENTLOG, IMA, SCALE, Effort, Figure
from medvouch_sim.firmware import Machine, measure

VECTORS = "MEDVOUCH_VECTORS"
LEAST_BYTES = 40_000
"""Of a log that is measured: shorter ones are all start-up."""
TIMES = 10
_TOOL = "tpm2_eventlog"
_SHA256 = HashAlg.SHA256
_HASHES_IN_DBX = 900
_GRUB_COMMANDS = 80
_WARM_UP = 3


def measure_logs(names: Sequence[str], effort: Effort, say: Callable[[str], None]) -> list[Figure]:
    """The figures of these names, in the order of LOGS; raises MissingPart without tpm2_eventlog."""
    measures = {EVENTLOG: _eventlog, IMA: _ima, SCALE: _scale}
    figures = []
    for name, figure in measures.items():
        if name in names:
            say(f"{name}: {effort.log_runs} runs")
            figures.append(figure(effort))
    return figures


def _eventlog(effort: Effort) -> Figure:
    """All logs together: the sum of their medians, less the start-up of each run of the tool."""
    tool = shutil.which(_TOOL)
    if tool is None:
        raise MissingPart("tool-missing", f"{_TOOL} is not installed", remedy="apt-get install tpm2-tools")
    with tempfile.TemporaryDirectory(prefix="medvouch-bench-") as folder:
        start = Path(folder) / "start"
        start.write_bytes(EventLog(SpecId((_SHA256,)), _firmware(Path(folder) / "start-disk").events[:1]).encode())
        logs, origin = _event_logs(Path(folder))
        logs = [path for path in logs if _readable(tool, path)]
        ours = theirs = 0.0
        for path in logs:
            data = path.read_bytes()
            ours += _median(lambda data=data: replayed_pcrs(eventlog.parse(data)), effort.log_runs)  # type: ignore[misc]
            pairs = [(_run(tool, path), _run(tool, start)) for _ in range(effort.log_runs)]
            theirs += median(whole for whole, _ in pairs) - median(begun for _, begun in pairs)
    on = f"{len(logs)} logs that it can read, of at least {LEAST_BYTES} bytes: {origin}"
    reference = f"{_TOOL}, its start-up subtracted, on {on}"
    return _figure(EVENTLOG, ours, theirs, reference)


def _ima(effort: Effort) -> Figure:
    """Parsed, replayed to a quote's PCR 10, each template hash checked, and path and file digest of each entry read."""
    entries = _entries(effort.ima_entries, bytes(32))
    data, bodies = ima.encode(entries), [entry.hashed for entry in entries]
    quoted = {_SHA256: _extended(entries)}
    start = ImaState(1, 0, 0, {_SHA256.label: bytes(32)}, bytes(32))

    def ours() -> None:
        for entry in continue_list(start, start, data, quoted, 1, bytes(32)).entries:
            _ = entry.path, entry.file_digest

    def bare() -> None:
        sha1, sha256, value = HASHERS[HashAlg.SHA1], HASHERS[_SHA256], bytes(32)
        for body in bodies:
            sha1(body).digest()
            value = sha256(value + sha256(body).digest()).digest()

    pairs = [(_timed(ours), _timed(bare)) for _ in range(effort.log_runs)]
    reference = f"its hashes alone: template hash, digest and extend of {len(entries)} entries (ima-ng, SHA-256 bank)"
    return _figure(IMA, median(one for one, _ in pairs), median(other for _, other in pairs), reference)


def _scale(effort: Effort) -> Figure:
    """What judging the logs of one boot costs, where they are ten times as long, for each tenth."""
    size = max(effort.ima_entries // TIMES, 1)
    with tempfile.TemporaryDirectory(prefix="medvouch-bench-") as folder:
        once, often = (_Evidence.of(Path(folder) / str(times), times * size) for times in (1, TIMES))
    pairs = [(_timed(often.judge) / TIMES, _timed(once.judge)) for _ in range(effort.log_runs)]
    reference = f"logs with {size} entries of IMA and of systemd and GRUB in proportion, where it is {TIMES} times that"
    return _figure(SCALE, median(tenth for tenth, _ in pairs), median(whole for _, whole in pairs), reference)


@dataclass(frozen=True)
class _Evidence:
    """Logs as they come, and the PCRs that they lead to."""

    uefi: bytes
    systemd: bytes
    ima: bytes
    pcrs: dict[HashAlg, dict[int, bytes]]

    @classmethod
    def of(cls, folder: Path, entries: int) -> _Evidence:
        """A boot of the virtual firmware, with as many entries of IMA and a tenth of it of systemd and of GRUB."""
        machine = Machine.create(folder)
        measured = measure(machine, banks=(_SHA256,))
        events = [*measured.logs.uefi.events, *_grub(max(entries // TIMES, 1))]
        records = [
            systemd.Record(number, {_SHA256: digest(_SHA256, str(number).encode())}, pcr=15)
            for number in range(max(entries // TIMES, 1))
        ]
        log = eventlog.parse(EventLog(SpecId((_SHA256,)), tuple(events)).encode())
        aggregate = boot_aggregate(log, _SHA256.label)
        assert aggregate is not None
        listed = _entries(entries, aggregate)
        values = {pcr: bytes(32) for pcr in range(16)} | replayed_pcrs(log)[_SHA256] | {10: _extended(listed)}
        for record in records:
            values[15] = digest(_SHA256, values[15] + record.digests[_SHA256])
        return cls(log.encode(), systemd.encode(records), ima.encode(listed), {_SHA256: values})

    def judge(self) -> None:
        """What an appraisal does with logs."""
        logs = Logs(eventlog.parse(self.uefi), systemd.parse(self.systemd), ima.parse_binary(self.ima))
        events = replay(logs, self.pcrs).events
        check_log(logs.uefi, events, range(PCR_COUNT))
        understand(events)


def _event_logs(folder: Path) -> tuple[list[Path], str]:
    """Logs of at least LEAST_BYTES, and where they come from."""
    vectors = Path(os.environ.get(VECTORS, "")) / "eventlogs"
    found = sorted(path for path in vectors.rglob("*") if path.is_file()) if os.environ.get(VECTORS) else []
    logs = [path for path in found if path.suffix in ("", ".log", ".bin") and path.stat().st_size >= LEAST_BYTES]
    if logs:
        return logs, "published ones"
    path = folder / "made"
    path.write_bytes(_large_log(folder / "disk").encode())
    return [path], "made by the virtual firmware, with a long dbx and GRUB's commands"


def _firmware(folder: Path) -> EventLog:
    return measure(Machine.create(folder), banks=(_SHA256, HashAlg.SHA384)).logs.uefi


def _large_log(folder: Path) -> EventLog:
    banks = (_SHA256, HashAlg.SHA384)
    owner = uefi.GLOBAL_VARIABLE
    hashes = tuple((owner, digest(_SHA256, number.to_bytes(4, "big"))) for number in range(_HASHES_IN_DBX))
    revoked = uefi.SignatureList(uefi.CERT_SHA256, b"", 48, hashes).encode()
    dbx = uefi.Variable(uefi.IMAGE_SECURITY_DATABASE, "dbx", revoked).encode()
    kind = EventType.EV_EFI_VARIABLE_DRIVER_CONFIG
    event = Event(1, 7, kind, {bank: digest(bank, dbx) for bank in banks}, dbx, 0)
    return EventLog(SpecId(banks), (event, *_firmware(folder).events, *_grub(_GRUB_COMMANDS, banks)))


def _grub(number: int, banks: tuple[HashAlg, ...] = (_SHA256,)) -> Iterator[Event]:
    for count in range(number):
        text = f"set option{count}=value".encode()
        digests = {bank: digest(bank, text) for bank in banks}
        yield Event(count, 8, EventType.EV_IPL, digests, b"grub_cmd: " + text + b"\0", 0)


def _entries(number: int, aggregate: bytes) -> tuple[ima.Entry, ...]:
    measured = [(ima.BOOT_AGGREGATE, aggregate)]
    measured += [(f"/usr/lib/{n}/lib{n}.so.{n}", digest(_SHA256, str(n).encode())) for n in range(1, number)]
    fields = ((b"sha256:\0" + value, path.encode() + b"\0") for path, value in measured)
    return tuple(ima.make(index, 10, "ima-ng", each) for index, each in enumerate(fields))


def _extended(entries: Sequence[ima.Entry]) -> bytes:
    value = bytes(_SHA256.size)
    for entry in entries:
        value = digest(_SHA256, value + digest(_SHA256, entry.hashed))
    return value


def _spawned(tool: str, path: Path) -> tuple[int, float]:
    """Exit status and processor seconds of one run."""
    nowhere = [(os.POSIX_SPAWN_OPEN, target, os.devnull, os.O_WRONLY, 0) for target in (1, 2)]
    process = os.posix_spawn(tool, [tool, str(path)], os.environ, file_actions=nowhere)
    _, status, used = os.wait4(process, 0)
    return status, used.ru_utime + used.ru_stime


def _run(tool: str, path: Path) -> float:
    return _spawned(tool, path)[1]


def _readable(tool: str, path: Path) -> bool:
    """Whether the tool gets to the log's end; where it gives up, its time says nothing."""
    return _spawned(tool, path)[0] == 0


def _timed(action: Callable[[], object]) -> float:
    """Processor seconds of this thread."""
    started = time.thread_time()
    action()
    return time.thread_time() - started


def _median(action: Callable[[], object], runs: int) -> float:
    for _ in range(_WARM_UP):
        action()
    return median(_timed(action) for _ in range(runs))


def _figure(name: str, value: float, reference_value: float, reference: str) -> Figure:
    ours, theirs = value * 1e3, reference_value * 1e3
    return Figure(name, round(ours, 4), "ms", reference, round(theirs, 4), round(ours / theirs, 3))
