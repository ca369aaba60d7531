"""Which versions of a product have a vulnerability, out of CSAF documents and of what releases say to fix."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medvouch.formats.csaf import Csaf, Vulnerability
from medvouch.formats.release import ReleaseRecord
from medvouch.formats.version import parse_version


class Status(enum.StrEnum):
    """Of one version, as to one vulnerability."""

    AFFECTED = "affected"
    FIXED = "fixed"
    NOT_AFFECTED = "not_affected"


@dataclass(frozen=True)
class PublishedRelease:
    """A release's record, its VEX, and since when it could be had (s since 1970), where that is signed."""

    record: ReleaseRecord
    vex: Csaf | None = None
    available: int | None = None

    @property
    def number(self) -> tuple[int, ...]:
        """Its version, to be compared."""
        return parse_version(self.record.version)


class Affectedness:
    """What is said of an advisory's vulnerabilities.

    The first that says something is believed: the advisory, then the VEX of each release from the newest on, then the
    fixes of a release that is no newer and is not said to be affected itself. A version of which nothing is said counts
    as affected: silence closes nothing.
    """

    def __init__(self, advisory: Csaf, releases: Sequence[PublishedRelease]) -> None:
        self.advisory = advisory
        self.releases = sorted(releases, key=lambda release: release.number)
        self.by_envelope = {release.record.envelope: release for release in self.releases}
        vexes = (release.vex for release in reversed(self.releases))
        self._documents = (advisory, *(vex for vex in vexes if vex))
        self._known: dict[tuple[str, str], frozenset[Vulnerability]] = {}

    def affecting(self, model: str, versions: Iterable[str]) -> frozenset[Vulnerability]:
        """The advisory's vulnerabilities that one of these versions has; a version that is empty is not known."""
        return frozenset().union(*(self._of(model, version) for version in versions))

    def _of(self, model: str, version: str) -> frozenset[Vulnerability]:
        if (model, version) not in self._known:
            found = (
                each for each in self.advisory.vulnerabilities if self.status(model, version, each) is Status.AFFECTED
            )
            self._known[model, version] = frozenset(found)
        return self._known[model, version]

    def status(self, model: str, version: str, vulnerability: Vulnerability) -> Status:
        """Of one version as to one vulnerability of the advisory."""
        if said := next(self._said(model, version, vulnerability), None):
            return said
        fixed = version and any(each.number <= parse_version(version) for each in self._fixing(model, vulnerability))
        return Status.FIXED if fixed else Status.AFFECTED

    def _fixing(self, model: str, vulnerability: Vulnerability) -> Iterator[PublishedRelease]:
        """Releases whose record names it as fixed, and of which no document says otherwise."""
        for release in self.releases:
            claims = any(fix.names & vulnerability.names for fix in release.record.fixes)
            said = next(self._said(model, release.record.version, vulnerability), Status.FIXED)
            if claims and said is not Status.AFFECTED:
                yield release

    def _said(self, model: str, version: str, vulnerability: Vulnerability) -> Iterator[Status]:
        for document in self._documents:
            products = document.of(model, version)
            for each in document.vulnerabilities:
                if each.names & vulnerability.names:
                    yield from _statuses(each, products)


def _statuses(vulnerability: Vulnerability, products: frozenset[str]) -> Iterator[Status]:
    """The worst first, where a version has several products."""
    for status, those in (
        (Status.AFFECTED, vulnerability.affected),
        (Status.FIXED, vulnerability.fixed),
        (Status.NOT_AFFECTED, vulnerability.not_affected),
    ):
        if products & those:
            yield status
