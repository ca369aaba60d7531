"""What `medvouch release metadata|countersign` do: root and releases, signed by people on machines of their own."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tuf.api.metadata import Metadata, Root, TargetFile, Targets

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.cli import keys
from medvouch.cli.output import aligned, moment, show
from medvouch.errors import InputError, UsageFault
from medvouch.release import apart
from medvouch.release.gate import check_kept
from medvouch.release.repository import AuthoredRepository, first_releases, first_root
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.release.tuf_state import THRESHOLDS
from medvouch.update.metadata import published_time


def signed_apart(options: argparse.Namespace) -> apart.Documents:
    """The files that `--signed` names. Raises StorageFault, InputError `countersigned-*`."""
    documents: dict[str, Metadata[Any]] = {}
    for path in options.signed:
        with _naming(path):
            role, metadata = apart.read_document(read_bounded(path, apart.MAX_DOCUMENT_BYTES))
        if role in documents:
            raise UsageFault("usage", f"two files are of {role}", remedy="name the one with all signatures")
        documents[role] = metadata
    return documents


def prepare(options: argparse.Namespace, files: dict[str, bytes], now: int) -> int:
    """`medvouch release metadata`; `files` by their names."""
    data = _next_root(options, now) if options.role == apart.ROOT else _next_releases(options, files, now)
    write_durably(options.out, data)
    return _shown(data, options.out, options)


def countersign(options: argparse.Namespace) -> int:
    """`medvouch release countersign`: what was signed is shown."""
    data = read_bounded(options.file, apart.MAX_DOCUMENT_BYTES)
    with _naming(options.file):
        apart.read_document(data)
    with keys.opened(options.key) as signer:
        signed = apart.countersign(data, signer)
    write_durably(options.file, signed)
    return _shown(signed, options.file, options)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise InputError(error.code, f"{path}: {error.detail}", remedy=error.remedy) from error


def _next_root(options: argparse.Namespace, now: int) -> bytes:
    if options.version is not None:
        raise UsageFault("usage", "a root has no files", remedy="name --new-keys alone")
    if options.new_keys is None:
        raise UsageFault("usage", "a root names keys", remedy="name the directory of all roles' keys with --new-keys")
    with keys.opened_folder(options.new_keys) as named:
        if options.repository is None:
            return first_root(named, now)
        return _repository(options).next_root(named, now)


def _next_releases(options: argparse.Namespace, files: dict[str, bytes], now: int) -> bytes:
    if options.repository is None:
        if files:
            remedy = "name the --repository that they are to be published in"
            raise UsageFault("usage", "a repository begins without releases", remedy=remedy)
        return first_releases(now)
    repository = _repository(options)
    if files:
        add_release(repository, options.version, files)
    return repository.to_sign(now)


def add_release(repository: AuthoredRepository, version: str, files: Mapping[str, bytes]) -> Sequence[TargetFile]:
    """Listed, to be published. Raises InputError `target-malformed`, Refusal `release-envelope-replaced`."""
    check_kept(version, files, {each.path: bytes.fromhex(each.hashes["sha256"]) for each in repository.releases()})
    return repository.add_release(version, files)


def _repository(options: argparse.Namespace) -> AuthoredRepository:
    return AuthoredRepository.open(FileMetadataStore(options.repository), RepositoryKeys())


def _shown(data: bytes, path: Path, options: argparse.Namespace) -> int:
    role, metadata = apart.read_document(data)
    document = {"file": str(path), "role": role, **described(metadata)}
    rows = {name: value for name, value in document.items() if not isinstance(value, dict | list)}
    signed = [f"signed by key {keyid}" for keyid in document["signed_by"]] or ["nobody has signed it yet"]
    show(document, [*aligned(rows), *_lines(document), *signed], as_json=options.json)
    return 0


def described(metadata: Metadata[Any]) -> dict[str, Any]:
    """What is signed, and by which keys, for people and programs."""
    signed = metadata.signed
    common = {
        "version": signed.version,
        "expires": moment(int(signed.expires.timestamp())),
        "threshold": THRESHOLDS[apart.ROOT if isinstance(signed, Root) else apart.RELEASES],
        "signed_by": list(metadata.signatures),
    }
    if isinstance(signed, Root):
        roles = {role: {"threshold": it.threshold, "keys": list(it.keyids)} for role, it in signed.roles.items()}
        return {**common, "roles": roles}
    assert isinstance(signed, Targets)
    return {**common, "targets": [_target(each) for each in signed.targets.values()]}


def _target(target: TargetFile) -> dict[str, Any]:
    said = published_time(target)
    known = {"name": target.path, "length": target.length, "sha256": target.hashes.get("sha256")}
    return {**known, "published": None if said is None else moment(said)}


def _lines(document: dict[str, Any]) -> Iterator[str]:
    for role, named in document.get("roles", {}).items():
        yield f"{role}: {named['threshold']} of"
        yield from (f"  {keyid}" for keyid in named["keys"])
    for target in document.get("targets", ()):
        yield f"{target['name']}  {target['length']} bytes  {target['sha256']}  {target['published'] or 'undated'}"
