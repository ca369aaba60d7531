"""Our reference values as a CoRIM and back: a profile of it in which every event of a boot is a measurement (ADR 32).

    CoMID of the release   class {model}          "release": version, svn = security epoch; then a "command-line"
                                                  for each text, as raw value
    CoMID of a PCR         class {model, index}   "mode": exact, prefix or allowed by name; then the events, digests and
                                                  name each, numbered where their order counts

A verifier that knows no such profile finds measurements that it cannot match, and so says no.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from medvouch.errors import InputError
from medvouch.formats.corim import (
    DIGEST_ALGORITHMS,
    FORMAT,
    Class,
    Comid,
    Corim,
    Measurement,
    ReferenceTriple,
    Values,
    Version,
)
from medvouch.formats.record import Place
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues

PROFILE = "urn:uuid:5b9d3f0e-6c1b-4f7f-9f0a-6f2b1a3f7c21"

_RELEASE, _COMMAND_LINE, _MODE = "release", "command-line", "mode"
_LABELS = frozenset(DIGEST_ALGORITHMS.values())


def to_corim(values: ReferenceValues) -> Corim:
    """As a CoRIM; digests of SHA-1 and SM3 banks have no number there and are left out.

    Raises InputError `corim-malformed` for an event that has no other digest.
    """
    name = f"{values.model}/{values.release}"
    tags = (_release(name, values), *(_pcr(name, values.model, row) for row in values.pcrs))
    return Corim(name, tags, PROFILE)


def _release(name: str, values: ReferenceValues) -> Comid:
    about = Values(version=Version(values.release), svn=values.security_epoch)
    lines = (Measurement(Values(raw=text.encode()), _COMMAND_LINE) for text in values.command_lines)
    triple = ReferenceTriple(Class(model=values.model), (Measurement(about, _RELEASE), *lines))
    return Comid(name, (triple,))


def _pcr(name: str, model: str, row: PcrReference) -> Comid:
    mode = Measurement(Values(name=row.mode.value), _MODE)
    events = (_event(index, event, row) for index, event in enumerate(row.events))
    triple = ReferenceTriple(Class(model=model, index=row.pcr), (mode, *events))
    return Comid(f"{name}/pcr-{row.pcr}", (triple,))


def _event(index: int, event: ReferenceEvent, row: PcrReference) -> Measurement:
    digests = {label: digest for label, digest in event.digests.items() if label in _LABELS}
    if not digests:
        place = f"PCR {row.pcr}, event {index}"
        raise InputError(f"{FORMAT}-malformed", "a digest of SHA-2 or SHA-3 expected", place=place)
    return Measurement(Values(digests=digests, name=event.description), None if row.mode is Mode.ALLOWED else index)


def from_corim(corim: Corim) -> ReferenceValues:
    """The inverse; InputError `corim-malformed` for one of another profile, `reference-*` where a bound is passed."""
    if corim.profile != PROFILE:
        raise _malformed("profile", f"the profile {PROFILE}")
    release, *pcrs = (_only_triple(tag) for tag in corim.tags)
    model, (about, *lines) = release.kind.model, release.measurements
    version, epoch = about.values.version, about.values.svn
    if model is None or version is None or epoch is None or release.kind != Class(model=model):
        raise _malformed(_RELEASE, "model, version and svn")
    if about != Measurement(Values(version=Version(version.text), svn=epoch), _RELEASE):
        raise _malformed(_RELEASE, "nothing but version and svn")
    values = ReferenceValues(
        model=model,
        release=version.text,
        security_epoch=epoch,
        command_lines=tuple(map(_command_line, lines)),
        pcrs=tuple(_row(triple, model) for triple in pcrs),
    )
    return ReferenceValues.from_map(values.to_map(), Place("reference"))


def _only_triple(tag: Comid) -> ReferenceTriple:
    if len(tag.triples) != 1:
        raise _malformed(f"tag {tag.id!r:.64}", "one reference triple")
    return tag.triples[0]


def _command_line(line: Measurement) -> str:
    raw = line.values.raw
    if raw is None or line != Measurement(Values(raw=raw), _COMMAND_LINE):
        raise _malformed(_COMMAND_LINE, "a raw value and nothing else")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise _malformed(_COMMAND_LINE, "UTF-8") from None


def _row(triple: ReferenceTriple, model: str) -> PcrReference:
    pcr, (first, *events) = triple.kind.index, triple.measurements
    place = f"PCR {pcr}"
    if pcr is None or triple.kind != Class(model=model, index=pcr):
        raise _malformed(place, "the model of the release, and the number of a PCR as index")
    name = first.values.name
    if first != Measurement(Values(name=name), _MODE) or name not in set(Mode):
        raise _malformed(place, "a mode")
    mode = Mode(name)
    return PcrReference(pcr, mode, tuple(_events(events, mode, place)))


def _events(events: Sequence[Measurement], mode: Mode, place: str) -> Iterator[ReferenceEvent]:
    for index, event in enumerate(events):
        values, key = event.values, None if mode is Mode.ALLOWED else index
        if event != Measurement(Values(digests=values.digests, name=values.name), key):
            raise _malformed(f"{place}, event {index}", "digests, a name, and its number where the order counts")
        if values.digests is None or values.name is None:
            raise _malformed(f"{place}, event {index}", "digests and a name")
        yield ReferenceEvent(values.name, values.digests)


def _malformed(place: str, wanted: str) -> InputError:
    return InputError(f"{FORMAT}-malformed", f"{wanted} expected", place=place)
