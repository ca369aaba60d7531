"""The client protocol of the TUF conformance suite, spoken by our update client.

    --metadata-dir D init ROOT
    --metadata-dir D --metadata-url U refresh
    --metadata-dir D --metadata-url U --target-name N ... --target-base-url B --target-dir T download

The exit code is 0, or 1 where any of it failed. D holds what is trusted, under names without versions; the newest root
in D is the anchor of the next call. Targets are kept in T under their escaped names, and not fetched again as long as
they are what is signed. The clock is the system's.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from medvouch.adapters.files import read_bounded, write_durably
from medvouch.adapters.http import HttpFetcher
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.errors import MedvouchError, Refusal, StorageFault, UsageFault
from medvouch.update import refusals
from medvouch.update.metadata import check_target
from medvouch.update.repository import MAX_ROOT_BYTES, Repository

MAX_TARGET_BYTES = 64 << 20
BASE = "http://repository.invalid"
"""Our client knows one place with two folders, the protocol two places."""


class UnversionedStore(FileMetadataStore):
    """Without versions in the names of roots: the newest takes the place of the one before."""

    def read(self, name: str) -> bytes | None:
        return None if name.endswith(".root.json") else super().read(name)

    def write(self, name: str, data: bytes) -> None:
        super().write("root.json" if name.endswith(".root.json") else name, data)


class TwoPlaces:
    """A Fetcher that finds metadata and targets in places of their own."""

    def __init__(self, metadata_url: str, targets_url: str) -> None:
        self._places = {f"{BASE}/metadata/": metadata_url, f"{BASE}/targets/": targets_url}
        self._http = HttpFetcher()

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        for prefix, place in self._places.items():
            if url.startswith(prefix):
                return self._http.fetch(f"{place.rstrip('/')}/{url.removeprefix(prefix)}")
        raise AssertionError(url)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageFault("usage", message)


def main(arguments: Sequence[str]) -> int:
    """One call of the protocol; what failed is told on stderr."""
    try:
        asked = _parse(arguments)
        if asked.command == "init":
            write_durably(asked.metadata_dir / "root.json", read_bounded(asked.root, MAX_ROOT_BYTES))
            return 0
        repository = _refreshed(asked)
        for name in asked.target_name if asked.command == "download" else ():
            _download(repository, name, asked.target_dir / quote(name, safe="").replace(".", "%2E"))
    except MedvouchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(prog="tuf_client")
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url", default=BASE)
    parser.add_argument("--target-name", action="append", default=[])
    parser.add_argument("--target-base-url", default=BASE)
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("command", choices=["init", "refresh", "download"])
    parser.add_argument("root", type=Path, nargs="?")
    asked = parser.parse_intermixed_args(list(arguments))
    if (asked.command == "init") != (asked.root is not None):
        parser.error("a root goes with init, and with nothing else")
    if asked.command == "download" and not (asked.target_name and asked.target_dir):
        parser.error("download takes a target's name and a folder")
    return asked


def _refreshed(asked: argparse.Namespace) -> Repository:
    anchor = read_bounded(asked.metadata_dir / "root.json", MAX_ROOT_BYTES)
    store, places = UnversionedStore(asked.metadata_dir), TwoPlaces(asked.metadata_url, asked.target_base_url)
    repository = Repository(BASE, places, store, lambda: int(time.time()), anchor)
    repository.refresh()
    return repository


def _download(repository: Repository, name: str, path: Path) -> None:
    target = repository.target(name)
    if target is None:
        raise Refusal(refusals.TARGET_UNKNOWN, "no role lists it", place=name)
    with suppress(StorageFault, Refusal):
        check_target(target, read_bounded(path, target.length))
        return
    write_durably(path, repository.download(target, MAX_TARGET_BYTES))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
