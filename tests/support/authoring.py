"""The files of an authored repository as a device and as python-tuf's own client fetch them."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Iterator
from pathlib import Path

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from medvouch.errors import NetworkFault
from medvouch.ports import MetadataStore
from medvouch_sim import fixtures

BASE = "http://repository.example"


class FromFiles:
    """A Fetcher of what was published."""

    def __init__(self, files: MetadataStore) -> None:
        self._files = files

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        data = self._files.read(url.removeprefix(f"{BASE}/"))
        if data is None:
            raise NetworkFault("fetch-not-found", url)
        yield data


class _Fetcher(FetcherInterface):  # type: ignore[misc]
    """The same for python-tuf."""

    def __init__(self, files: MetadataStore) -> None:
        self._files = files

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._files.read(url.removeprefix(f"{BASE}/"))
        if data is None:
            raise DownloadHTTPError(url, 404)
        yield data


def python_tuf_client(files: MetadataStore, root: bytes, folder: Path) -> Updater:
    """python-tuf's own client, whose clock is the machine's."""
    (folder / "metadata").mkdir(parents=True)
    (folder / "targets").mkdir()
    (folder / "metadata" / "root.json").write_bytes(root)
    bootstrap = {"bootstrap": root} if "bootstrap" in inspect.signature(Updater).parameters else {}
    return Updater(
        str(folder / "metadata"),
        f"{BASE}/metadata/",
        str(folder / "targets"),
        f"{BASE}/targets/",
        _Fetcher(files),
        **bootstrap,
    )


def keys_folder(folder: Path) -> Path:
    """A folder with the test keys of all roles of a repository, under the names that the commands look for."""
    folder.mkdir()
    for role in fixtures.ROLES:
        if role.startswith("tuf-") or role == "director":
            (folder / f"{role}.pem").write_bytes(fixtures.key_pem(fixtures.private_key(role)))
    return folder
