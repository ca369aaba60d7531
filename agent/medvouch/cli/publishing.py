"""What `medvouch release init|trust|publish|direct|rotate` do: files in, a published repository out."""

from __future__ import annotations

import argparse
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tuf.api.metadata import TargetFile

from medvouch.adapters.files import read_bounded
from medvouch.adapters.locking import locked
from medvouch.adapters.metadata import MAX_FILE_BYTES, FileMetadataStore
from medvouch.cli.countersigning import add_release, countersign, prepare, signed_apart
from medvouch.cli.keys import opened_folder
from medvouch.cli.output import moment, show
from medvouch.cli.trusting import read_trust
from medvouch.errors import InputError, Refusal, UsageFault
from medvouch.formats.directive import Directive
from medvouch.formats.enrolment import device_id
from medvouch.formats.release import RECORD_NAME, ReleaseRecord
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_manifest import Manifest
from medvouch.formats.version import parse_version
from medvouch.release.apart import NONE_APART, ROOT, Documents
from medvouch.release.gate import check_published
from medvouch.release.repository import AuthoredRepository
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.update import refusals

_DAY = 86_400


def init(options: argparse.Namespace) -> int:
    """`medvouch release init`."""
    files, signed = FileMetadataStore(options.repository), signed_apart(options)
    with opened_folder(options.keys) as keys:
        AuthoredRepository.create(files, keys, _now(), bin_bits=options.bins, apart=signed)
    anchor = options.repository / "metadata" / "1.root.json"
    document = {"repository": str(options.repository), "root": str(anchor)}
    show(document, [f"new repository in {options.repository}; images carry {anchor}"], as_json=options.json)
    return 0


def trust(options: argparse.Namespace) -> int:
    """`medvouch release trust`."""
    document = read_trust(options.file)
    with opened(options) as repository:
        return _publish(repository, [repository.set_trust(document.encode())], options)


def publish(options: argparse.Namespace) -> int:
    """`medvouch release publish`."""
    files, signed = _release_files(options), signed_apart(options)
    if ROOT in signed:
        remedy = "publish it with `medvouch release rotate`"
        raise UsageFault("usage", "a root is not published with a release", remedy=remedy)
    with opened(options) as repository:
        targets = add_release(repository, options.version, files) if files else []
        return _publish(repository, targets, options, signed)


def rotate(options: argparse.Namespace) -> int:
    """`medvouch release rotate`."""
    signed = signed_apart(options)
    with opened_folder(options.new_keys) as new, opened(options) as repository:
        repository.rotate(new, _now(), apart=signed)
    document = {"repository": str(options.repository), "version": repository.version, "root": repository.root_version}
    said = f"published as version {repository.version}, under root {repository.root_version}"
    show(document | {"until": repository.until}, [f"{said}; {_before(repository)}"], as_json=options.json)
    return 0


def metadata(options: argparse.Namespace) -> int:
    """`medvouch release metadata`."""
    return prepare(options, _release_files(options), _now())


def _release_files(options: argparse.Namespace) -> dict[str, bytes]:
    """Those of a release to be published, by their names, as the gate saw them; none where no version is named."""
    files: dict[str, bytes] = {}
    for path in options.files:
        if path.name in files:
            raise UsageFault("usage", f"two files are called {path.name}", remedy="give them names of their own")
        files[path.name] = read_bounded(path, MAX_FILE_BYTES)
    if options.version and not files:
        raise UsageFault("usage", f"release {options.version} has no files", remedy="name its files")
    if files:
        check_published(options.version, files)
    return files


def published_record(folder: Path) -> ReleaseRecord | None:
    """The record of the highest release that has one. Raises ConfigFault `repository-*`, StorageFault, InputError."""
    repository = AuthoredRepository.open(FileMetadataStore(folder), RepositoryKeys())
    listed = [target for target in repository.releases() if target.path.endswith(f"/{RECORD_NAME}")]
    records = [ReleaseRecord.parse(repository.contents(target)) for target in listed]
    return max(records, key=lambda record: parse_version(record.version), default=None)


def direct(options: argparse.Namespace) -> int:
    """`medvouch release direct`."""
    if options.defer_days > options.days:
        detail = f"to be put off for {options.defer_days} days and good for {options.days}"
        raise UsageFault("usage", detail, remedy="let it be good for longer (--days)")
    with opened(options) as repository:
        directives = list(_directives(repository, options, _now()))
        targets = [repository.direct(device_id(each.ueid), each.encode()) for each in directives]
        return _publish(repository, targets, options)


def _directives(repository: AuthoredRepository, options: argparse.Namespace, now: int) -> Iterator[Directive]:
    release = repository.release(options.release)
    if release is None:
        raise Refusal(refusals.TARGET_UNKNOWN, f"there is no {options.release}")
    sequence = _sequence(options.release, repository.contents(release))
    for ueid in options.ueids:
        yield Directive(
            ueid=ueid,
            release=release.path,
            digest=bytes.fromhex(release.hashes["sha256"]),
            length=release.length,
            sequence=sequence,
            expires=now + options.days * _DAY,
            purpose=options.purpose,
            defer_until=now + options.defer_days * _DAY if options.defer_days else 0,
        )


def alone(command: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A command that nothing else changes the repository beside: UsageFault `repository-busy` where something goes on.

    The lock is a file beside the repository, `.NAME.lock`.
    """

    @functools.wraps(command)
    def run(options: argparse.Namespace) -> int:
        repository = options.repository.absolute()
        with locked(repository.parent / f".{repository.name}.lock", "repository-busy"):
            return command(options)

    return run


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "init": alone(init),
    "trust": alone(trust),
    "publish": alone(publish),
    "direct": alone(direct),
    "rotate": alone(rotate),
    "metadata": metadata,
    "countersign": countersign,
}


def _publish(
    repository: AuthoredRepository,
    targets: Sequence[TargetFile],
    options: argparse.Namespace,
    signed: Documents = NONE_APART,
) -> int:
    repository.publish(_now(), apart=signed)
    listed = [{"name": t.path, "length": t.length, "sha256": t.hashes["sha256"]} for t in targets]
    lines = [f"{t.path}  {t.length} bytes  {t.hashes['sha256']}" for t in targets]
    document = {"repository": str(options.repository), "version": repository.version, "targets": listed}
    lines.append(f"published as version {repository.version}; {_before(repository)}")
    show(document | {"until": repository.until}, lines, as_json=options.json)
    return 0


def _before(repository: AuthoredRepository) -> str:
    return f"publish again before {moment(repository.until)}, or devices refuse it as frozen"


def _sequence(name: str, envelope: bytes) -> int:
    """The manifest's, which the directive must say too. InputError `suit-*` where the target is no envelope."""
    return published_manifest(name, envelope).sequence_number


def published_manifest(name: str, envelope: bytes) -> Manifest:
    """What a target says that devices are directed to. InputError `suit-*` where it is no envelope."""
    try:
        return Manifest.parse(Envelope.parse(envelope).manifest)
    except InputError as error:
        remedy = "name the release's envelope, and nothing else that was published with it"
        raise InputError(error.code, f"{name}: {error.detail}", place=error.place, remedy=remedy) from error


@contextmanager
def opened(options: argparse.Namespace) -> Iterator[AuthoredRepository]:
    """The repository, with the keys that are at hand; tokens are let go of afterwards."""
    with opened_folder(options.keys) as keys:
        yield AuthoredRepository.open(FileMetadataStore(options.repository), keys)


def _now() -> int:
    return int(time.time())
