"""What is known of one device as to an advisory, and what follows: what it ran, what fixes that, what proves it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from medvouch.assurance.affectedness import Affectedness, PublishedRelease
from medvouch.assurance.bundle import Verdict, VerifiedLife
from medvouch.assurance.lineage import ENVELOPE, Installation, named
from medvouch.assurance.reports import CONSENT, HOLD, INSTALLED, last_heard
from medvouch.formats.csaf import Vulnerability
from medvouch.formats.fleet import FleetDevice
from medvouch.formats.ledger import Statement
from medvouch.formats.version import parse_version


@dataclass(frozen=True)
class Heard:
    """What there is of a device: its verified life and what `lineage.trace` makes of it.

    `at`: when it was last heard of otherwise (s since 1970). `broken` says what is wrong with a ledger that does not
    hold, of which nothing else is believed.
    """

    life: VerifiedLife | None = None
    installations: tuple[Installation, ...] = ()
    at: int = 0
    broken: str = ""


@dataclass(frozen=True)
class Advised:
    """What is asked of each device: what is known of the advisory, and until when the product is supported.

    Times in s since 1970. `aware` and `support_end` are None where nobody says.
    """

    affectedness: Affectedness
    aware: int | None
    support_end: int | None

    @property
    def public(self) -> int:
        """When the advisory was first released."""
        return self.affectedness.advisory.released


def aware_of(affectedness: Affectedness) -> int | None:
    """Since when their maker has known of the advisory's vulnerabilities, as the records of releases say: the first."""
    names = frozenset().union(*(each.names for each in affectedness.advisory.vulnerabilities))
    fixes = (fix for release in affectedness.releases for fix in release.record.fixes if fix.names & names)
    return min((fix.aware for fix in fixes if fix.aware is not None), default=None)


@dataclass(frozen=True)
class Case:
    """One device, and what follows from what is known of it."""

    advised: Advised
    device: FleetDevice
    heard: Heard

    @cached_property
    def installed(self) -> tuple[Installation, ...]:
        """Releases that ran since it was enrolled, as it says."""
        return tuple(each for each in self.heard.installations if any(step.state in INSTALLED for step in each.steps))

    @cached_property
    def ran(self) -> frozenset[str]:
        """The versions that it ran at any time, by itself or by a verdict; or might have run, where no ledger tells."""
        versions = {self.device.version, *map(self.version, self.installed)}
        if self.heard.life is not None:
            versions |= {verdict.ear.release or "" for verdict in named(self.heard.life)}
        else:
            delivered = parse_version(self.device.version)
            later = (each for each in self.advised.affectedness.releases if each.number > delivered)
            versions |= {each.record.version for each in later}
        return frozenset(versions)

    @cached_property
    def affecting(self) -> frozenset[Vulnerability]:
        """What one of these versions had."""
        return self.has(self.ran)

    def has(self, versions: Iterable[str]) -> frozenset[Vulnerability]:
        """The advisory's vulnerabilities that one of some versions has."""
        return self.advised.affectedness.affecting(self.device.model, versions)

    def fixes(self, version: str) -> bool:
        """Whether a version has nothing any more of what the device had."""
        return not self.affecting & self.has([version])

    def version(self, installation: Installation) -> str:
        """As the published record of the envelope says, or who signed it; empty where nobody is believed."""
        signed = installation.authorised
        published = self.advised.affectedness.by_envelope.get(installation.envelope)
        return published.record.version if published else signed.version if signed else ""

    @cached_property
    def fix(self) -> Installation | None:
        """What brought the fix that it still has: of the releases since then, the first that a verdict proves."""
        since: list[Installation] = []
        for each in reversed(self.installed):
            if not self.fixes(self.version(each)):
                break
            since.insert(0, each)
        proven = (each for each in since if each.verdict)
        return next(proven, since[0] if since else None)

    @cached_property
    def found(self) -> str:
        """What the last verdict found it to run after it installed the fix, where that is none; else empty."""
        last = named(self.heard.life)[-1:] if self.heard.life else ()
        release = last[0].ear.release if last else None
        if self.fix is None or release is None or self.fixes(release):
            return ""
        return release if last[0].entry > self.fix.steps[-1].entry else ""

    @cached_property
    def proof(self) -> Verdict | None:
        """That it booted the fix, and nothing proves that it left it."""
        return self.fix.verdict if self.fix and not self.found else None

    @cached_property
    def remedies(self) -> tuple[PublishedRelease, ...]:
        """Published releases that fix it: newer than the first version that it ran and that was affected."""
        affected = [parse_version(version) for version in self.ran if version and self.has([version])]
        start = min(affected, default=parse_version(self.device.version))
        found = self.advised.affectedness.releases
        return tuple(each for each in found if each.number > start and self.fixes(each.record.version))

    def is_remedy(self, envelope: bytes | None) -> bool:
        """Whether a release, by the SHA-256 of its envelope, is one."""
        return envelope in {each.record.envelope for each in self.remedies}

    @cached_property
    def attempt(self) -> Installation | None:
        """The last time that it was about to install a remedy."""
        attempts = [each for each in self.heard.installations if self.is_remedy(each.envelope)]
        return attempts[-1] if attempts else None

    @cached_property
    def held_by(self) -> str:
        """What holds up the last attempt, since its last step; empty where nothing does."""
        if self.attempt is None or self.heard.life is None:
            return ""
        since = self.heard.life.entries[self.attempt.steps[-1].entry + 1 :]
        held = [entry.statement for entry in since if entry.statement.machine == HOLD]
        return held[-1].after if held and held[-1].digests.get(ENVELOPE) == self.attempt.envelope else ""

    @cached_property
    def available(self) -> int | None:
        """Since when there is a remedy."""
        return min((each.available for each in self.remedies if each.available is not None), default=None)

    @cached_property
    def consent(self) -> Statement | None:
        """What its user said last to updates."""
        entries = self.heard.life.entries if self.heard.life else ()
        said = [entry.statement for entry in entries if entry.statement.machine == CONSENT]
        return said[-1] if said else None

    @cached_property
    def last_heard(self) -> int:
        """Of the device, in any way."""
        return max(self.heard.at, last_heard(self.heard.life) if self.heard.life else 0)
