"""Parts of which there is one, written by the installer helper: the daemon has the network, and the helper the rights.

The question is `{"call": "parts", "args": {"procedure": "install", "envelope": N, "payloads": ["boot-loader"]}}`, the
procedure `install` or `boot`; behind it are the envelope's N bytes, and each payload in pieces, a length of 4 bytes
(big endian) before each, 0 after the last. The answer has the run's SUIT report behind it, and `error` where the run
ended with one: its `code`, `detail`, `place`, `remedy`, and `kind`: `refusal`, `input` or `fault`.

The helper believes nothing of it: it checks the envelope's signatures under its own trust document, that the release is
for this device and for parts alone, and that none with a higher sequence number was installed before; what is staged is
held against the signed digest while it is installed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from medvouch.adapters.components import DeviceComponents
from medvouch.adapters.files import read_if_there, write_durably
from medvouch.adapters.fwupd import INSTALL_S
from medvouch.adapters.helper import ASKING_TIMEOUT_S, MAX_HEADER_BYTES, HelperClient, error_fields
from medvouch.errors import InputError, MedvouchError, Refusal, RefusalKind, StorageFault
from medvouch.formats.suit import MAX_ENVELOPE_BYTES
from medvouch.formats.suit_manifest import component_name
from medvouch.formats.suit_report import MAX_REPORT_BYTES, SuitReport
from medvouch.update import refusals
from medvouch.update.execution import Procedure
from medvouch.update.parts import Outcome, Signers, check_parts, parts_in, process, staged
from medvouch.update.platform import Platform
from medvouch.update.processor import DeviceClass, plan

PIECE_BYTES = 1 << 20
ANSWER_S = ASKING_TIMEOUT_S + INSTALL_S
"""fwupd may take its time."""
_PROCEDURES = {"install": Procedure.INSTALL, "boot": Procedure.BOOT}
_LENGTH = struct.Struct(">I")
_MAX_NUMBER_BYTES = 20


@dataclass(frozen=True)
class PartsInstaller:
    """The helper's end: runs releases that `signers` have signed for a `device` like this, on its `components`.

    `memory` is a file with the sequence number of the last one.
    """

    signers: Signers
    device: DeviceClass
    components: DeviceComponents
    memory: Path

    def answer(self, arguments: dict[str, Any], behind: BinaryIO) -> tuple[dict[str, Any], bytes]:
        """Without a report where the release is not to be believed, or not for here.

        Raises InputError `helper-malformed`, `helper-limit`; StorageFault.
        """
        match arguments:
            case {"procedure": str(name), "envelope": int(size), "payloads": list(payloads)} if name in _PROCEDURES:
                pass
            case _:
                raise InputError("helper-malformed", "no such question about parts")
        if not 0 < size <= MAX_ENVELOPE_BYTES:
            raise InputError("helper-limit", f"an envelope has at most {MAX_ENVELOPE_BYTES} bytes")
        envelope = _exactly(behind, size)
        try:
            self._check(envelope, _PROCEDURES[name])
        except (Refusal, InputError) as error:
            return {"error": _told(error)}, b""
        parts = parts_in(envelope) if payloads else ()
        if payloads != [component_name(part) for part in parts]:
            raise InputError("helper-malformed", f"payloads {str(payloads)[:80]}, not those of the release")
        try:
            for part in parts:
                self.components.store(staged(part), _pieces(behind))
            outcome = process(envelope, _PROCEDURES[name], self.signers, self.device, self.components)
        finally:
            for part in parts:
                self.components.remove(staged(part))
        return {"error": outcome.error and _told(outcome.error)}, outcome.report.encode()

    def _check(self, envelope: bytes, procedure: Procedure) -> None:
        planned = plan(self.signers.verify(envelope), self.device)
        check_parts(planned, self.components.parts.keys())
        last = self._last()
        if planned.sequence < last:
            detail = f"sequence {planned.sequence} where {last} was installed"
            raise Refusal(refusals.SEQUENCE_NOT_HIGHER, detail)
        if procedure is Procedure.INSTALL and planned.sequence > last:
            write_durably(self.memory, str(planned.sequence).encode())

    def _last(self) -> int:
        found = read_if_there(self.memory, _MAX_NUMBER_BYTES)
        try:
            return 0 if found is None else int(found)
        except ValueError as error:
            remedy = "write the sequence number of the last release for parts there"
            raise StorageFault("file-malformed", f"{self.memory}: not a number", remedy=remedy) from error


def _told(error: MedvouchError) -> dict[str, str]:
    kind = "refusal" if isinstance(error, Refusal) else "input" if isinstance(error, InputError) else "fault"
    return {**error_fields(error), "kind": kind}


def _exactly(behind: BinaryIO, size: int) -> bytes:
    data = behind.read(size)
    if len(data) < size:
        raise InputError("helper-malformed", f"{len(data)} of {size} bytes came")
    return data


def _pieces(behind: BinaryIO) -> Iterator[bytes]:
    while True:
        (size,) = _LENGTH.unpack(_exactly(behind, _LENGTH.size))
        if not size:
            return
        if size > PIECE_BYTES:
            raise InputError("helper-limit", f"a piece has at most {PIECE_BYTES} bytes")
        yield _exactly(behind, size)


class HelperParts(HelperClient):
    """The daemon's end; `staging` is where it has staged the payloads.

    Faults (StorageFault) are those of `helper.HelperLogs`, and what the helper answers before it runs anything.
    """

    def __init__(self, path: Path, staging: Platform) -> None:
        super().__init__(path)
        self._staging = staging

    def run(self, envelope: bytes, procedure: Procedure) -> Outcome:
        """Have the helper run INSTALL or BOOT. Raises what it has against the release, as if this process had."""
        return self.ask(self._question(envelope, procedure), self._outcome, ANSWER_S)

    def _question(self, envelope: bytes, procedure: Procedure) -> Iterator[bytes]:
        parts = parts_in(envelope) if procedure is Procedure.INSTALL else ()
        name = next(name for name, known in _PROCEDURES.items() if known is procedure)
        payloads = [component_name(part) for part in parts]
        arguments = {"procedure": name, "envelope": len(envelope), "payloads": payloads}
        yield json.dumps({"call": "parts", "args": arguments}).encode() + b"\n" + envelope
        for part in parts:
            for chunk in self._staging.read(staged(part), None):
                for at in range(0, len(chunk), PIECE_BYTES):
                    piece = chunk[at : at + PIECE_BYTES]
                    yield _LENGTH.pack(len(piece)) + piece
            yield _LENGTH.pack(0)

    def _outcome(self, answers: BinaryIO) -> Outcome:
        match self.header(answers.readline(MAX_HEADER_BYTES)):
            case {"result": {"bytes": 0, "error": told}}:
                raise self._error(told)
            case {"result": {"bytes": int(size), "error": told}} if 0 < size <= MAX_REPORT_BYTES:
                data = answers.read(size)
                if len(data) < size:
                    raise self.silent(f"{len(data)} of {size} bytes came")
                return Outcome(SuitReport.parse(data), None if told is None else self._error(told))
        raise self.unknown()

    def _error(self, told: Any) -> MedvouchError:
        match told:
            case {
                "kind": str(kind),
                "code": str(code),
                "detail": str(detail),
                "place": str(place),
                "remedy": str(then),
            }:
                if kind == "refusal":
                    return Refusal(RefusalKind(code, "", then), detail, place=place)
                made = InputError if kind == "input" else StorageFault
                return made(code, detail, place=place, remedy=then)
        raise self.unknown()
