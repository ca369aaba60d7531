"""The releases of a repository as whoever audits it reads them: by its signatures from a root on, whatever it says.

The records of the gate, their VEX, and since when each could be had: all of it signed by the role `releases`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tuf.api.metadata import TargetFile

from medvouch.assurance.affectedness import PublishedRelease
from medvouch.errors import Refusal
from medvouch.formats.csaf import VEX, Csaf
from medvouch.formats.json_object import MAX_DOCUMENT_BYTES
from medvouch.formats.release import MAX_RECORD_BYTES, RECORD_NAME, ReleaseRecord
from medvouch.release.refusals import RELEASE_DOCUMENT_MISMATCH
from medvouch.update.metadata import published_time
from medvouch.update.repository import Repository

_RELEASES = "releases"


def published_releases(repository: Repository, names: Iterable[str]) -> Iterator[PublishedRelease]:
    """Of each release that has a record; `names` are targets that might be listed. After `Repository.refresh`.

    Raises Refusal `release-document-mismatch` where something that a record names is not there, and what
    `Repository.download` raises.
    """
    listed = {name: target for name in names if (target := repository.role_target(_RELEASES, name))}
    for name, target in sorted(listed.items()):
        if name.endswith(f"/{RECORD_NAME}"):
            record = ReleaseRecord.parse(repository.download(target, MAX_RECORD_BYTES))
            beside = [other for path, other in listed.items() if path.rpartition("/")[0] == name.rpartition("/")[0]]
            there = {digest: _document(name, beside, digest) for digest in record.documents}
            vex = repository.download(there[record.vex], MAX_DOCUMENT_BYTES)
            available = published_time(there[record.envelope])
            yield PublishedRelease(record, Csaf.parse(vex, VEX), available)


def _document(name: str, beside: Iterable[TargetFile], digest: bytes) -> TargetFile:
    for target in beside:
        if target.hashes.get("sha256", "").lower() == digest.hex():
            return target
    raise Refusal(RELEASE_DOCUMENT_MISMATCH, "a document that the record names is not published", place=name)
