"""What `medvouch release init|trust|publish|direct` do: files in, a published repository out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tuf.api.metadata import TargetFile

from medvouch.adapters.files import read_bounded
from medvouch.adapters.metadata import MAX_FILE_BYTES, FileMetadataStore
from medvouch.cli.output import show
from medvouch.cli.trusting import read_trust
from medvouch.crypto.keys import Signer, SoftwareSigner, load_private_pem
from medvouch.errors import InputError, Refusal, UsageFault
from medvouch.formats.directive import Directive
from medvouch.formats.enrolment import device_id
from medvouch.formats.release import RECORD_NAME, ReleaseRecord
from medvouch.formats.suit import Envelope
from medvouch.formats.suit_manifest import Manifest
from medvouch.release.gate import check_published
from medvouch.release.manifests import parse_version
from medvouch.release.repository import AuthoredRepository
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.update import refusals

MAX_KEY_BYTES = 16 << 10
KEY_FILES: Mapping[str, str] = {
    "root": "tuf-root",
    "targets": "tuf-targets",
    "releases": "tuf-releases",
    "director": "director",
    "snapshot": "tuf-snapshot",
    "timestamp": "tuf-timestamp",
}
"""By role: NAME.pem, NAME-1.pem, NAME-2.pem ..., as many as are at hand."""
_DAY = 86_400


def read_keys(folder: Path) -> RepositoryKeys:
    """All keys of the repository's roles in a directory. Raises StorageFault, InputError `key-malformed`."""
    return RepositoryKeys(**{role: _signers(folder, name) for role, name in KEY_FILES.items()})


def init(options: argparse.Namespace) -> int:
    """`medvouch release init`."""
    files, keys = FileMetadataStore(options.repository), read_keys(options.keys)
    AuthoredRepository.create(files, keys, _now(), bin_bits=options.bins)
    anchor = options.repository / "metadata" / "1.root.json"
    document = {"repository": str(options.repository), "root": str(anchor)}
    show(document, [f"new repository in {options.repository}; images carry {anchor}"], as_json=options.json)
    return 0


def trust(options: argparse.Namespace) -> int:
    """`medvouch release trust`."""
    document, repository = read_trust(options.file), _open(options)
    return _publish(repository, [repository.set_trust(document.encode())], options)


def publish(options: argparse.Namespace) -> int:
    """`medvouch release publish`."""
    files: dict[str, bytes] = {}
    for path in options.files:
        if path.name in files:
            raise UsageFault("usage", f"two files are called {path.name}", remedy="give them names of their own")
        files[path.name] = read_bounded(path, MAX_FILE_BYTES)
    if options.version and not files:
        raise UsageFault("usage", f"release {options.version} has no files", remedy="name its files")
    if files:
        check_published(options.version, files)
    repository = _open(options)
    return _publish(repository, repository.add_release(options.version, files) if files else [], options)


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
    repository, now = _open(options), _now()
    release = repository.release(options.release)
    if release is None:
        raise Refusal(refusals.TARGET_UNKNOWN, f"there is no {options.release}")
    sequence = _sequence(options.release, repository.contents(release))
    directives = [
        Directive(
            ueid=ueid,
            release=release.path,
            digest=bytes.fromhex(release.hashes["sha256"]),
            length=release.length,
            sequence=sequence,
            expires=now + options.days * _DAY,
            purpose=options.purpose,
            defer_until=now + options.defer_days * _DAY if options.defer_days else 0,
        )
        for ueid in options.ueids
    ]
    targets = [repository.direct(device_id(each.ueid), each.encode()) for each in directives]
    return _publish(repository, targets, options)


COMMANDS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "init": init,
    "trust": trust,
    "publish": publish,
    "direct": direct,
}


def _publish(repository: AuthoredRepository, targets: Sequence[TargetFile], options: argparse.Namespace) -> int:
    repository.publish(_now())
    listed = [{"name": t.path, "length": t.length, "sha256": t.hashes["sha256"]} for t in targets]
    lines = [f"{t.path}  {t.length} bytes  {t.hashes['sha256']}" for t in targets]
    document = {"repository": str(options.repository), "version": repository.version, "targets": listed}
    show(document, [*lines, f"published as version {repository.version}"], as_json=options.json)
    return 0


def _sequence(name: str, envelope: bytes) -> int:
    """The manifest's, which the directive must say too. InputError `suit-*` where the target is no envelope."""
    try:
        return Manifest.parse(Envelope.parse(envelope).manifest).sequence_number
    except InputError as error:
        remedy = "name the release's envelope, and nothing else that was published with it"
        raise InputError(error.code, f"{name}: {error.detail}", place=error.place, remedy=remedy) from error


def _open(options: argparse.Namespace) -> AuthoredRepository:
    return AuthoredRepository.open(FileMetadataStore(options.repository), read_keys(options.keys))


def _signers(folder: Path, name: str) -> Sequence[Signer]:
    signers = []
    for path in sorted({*folder.glob(f"{name}.pem"), *folder.glob(f"{name}-*.pem")}):
        try:
            signers.append(SoftwareSigner(load_private_pem(read_bounded(path, MAX_KEY_BYTES))))
        except InputError as error:
            remedy = "put an unencrypted ECDSA P-256 key there, as PEM"
            raise InputError(error.code, f"{path}: {error.detail}", remedy=remedy) from error
    return signers


def _now() -> int:
    return int(time.time())
