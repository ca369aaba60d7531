"""Reference values computed from a release and a machine's baseline, before anything has booted."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from medvouch.attestation.prediction import as_reference
from medvouch.crypto.cose import sign
from medvouch.crypto.keys import Signer
from medvouch.formats.reference import CONTENT_TYPE, Mode, PcrReference, ReferenceValues
from medvouch_sim import firmware_updates, uki
from medvouch_sim.firmware import Machine, Measurements, measure
from medvouch_sim.fixtures import SECURITY_EPOCHS

_MODES = {10: Mode.ALLOWED, 11: Mode.PREFIX}
"""IMA measures what runs, in any order; systemd's phases may not all have come yet. All else is exact."""


def predict(
    model: str, release: str, *, loader: bytes = b"", change: Callable[[Machine], None] | None = None
) -> ReferenceValues:
    """What a boot of this release on a machine of the maker's will measure.

    `loader`: its boot loader, if it has one; `change`: what is done to the machine before it boots.
    """
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine.create(Path(folder) / "disk", release, loader=loader)
        if change:
            change(machine)
            firmware_updates.take(machine)
        command_line = dict(uki.sections(machine.image.uki))[".cmdline"].decode()
        return _reference(model, release, (command_line,), measure(machine))


def sign_reference(values: ReferenceValues, *signers: Signer) -> bytes:
    """As a verifier takes it: a COSE_Sign by as many of the role `release` as its threshold asks for."""
    return sign(values.encode(), signers, content_type=CONTENT_TYPE)


def _reference(model: str, release: str, command_lines: tuple[str, ...], measurements: Measurements) -> ReferenceValues:
    steps = measurements.steps
    pcrs = sorted({step.pcr for step in steps})
    return ReferenceValues(
        model=model,
        release=release,
        security_epoch=SECURITY_EPOCHS[release],
        command_lines=command_lines,
        pcrs=tuple(
            PcrReference(
                pcr, _MODES.get(pcr, Mode.EXACT), tuple(as_reference(step) for step in steps if step.pcr == pcr)
            )
            for pcr in pcrs
        ),
    )
