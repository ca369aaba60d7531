"""A Fetcher over a directory: a repository that came on a stick. Its checks are those of one that came over a network.

Whoever made the stick chose its files. Only plain ones are read, in the folder itself: no link leads out of it, and no
FIFO or device keeps the agent waiting.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import closing
from urllib.parse import unquote, urlsplit

from medvouch.adapters.http import HttpFetcher, HttpRemote
from medvouch.errors import NetworkFault

CHUNK_BYTES = 1 << 20
SCHEME = "file"
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW


class FolderRemote:
    """`medvouch.ports.Remote` over a file; `validator` says when it was written and how long it was then."""

    def __init__(self, url: str, validator: str) -> None:
        self.validator = validator
        self._url = url
        self._descriptor: int | None = None

    def read(self, start: int, end: int | None = None) -> Generator[bytes, None, None]:
        """A piece, or the rest. Raises NetworkFault."""
        try:
            descriptor = self._opened()
            offset = start
            while end is None or offset < end:
                chunk = os.pread(descriptor, CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - offset), offset)
                if not chunk:
                    break
                offset += len(chunk)
                yield chunk
        except OSError as error:
            raise self._unreadable(error) from error
        if end is not None and offset < end:
            raise NetworkFault("fetch-failed", f"{self._url}: it ends after {offset} bytes", remedy="copy it again")

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        if self._descriptor is None:
            self._descriptor = _open_plain(_parts(self._url))
            found = os.fstat(self._descriptor)
            state = f"{found.st_mtime_ns}-{found.st_size}"
            if self.validator and self.validator != state:
                raise NetworkFault("fetch-no-range", f"{self._url}: another file by now", remedy="it is read anew")
            self.validator = state
        return self._descriptor

    def _unreadable(self, error: OSError) -> NetworkFault:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR):
            return NetworkFault("fetch-not-found", f"{self._url}: no plain file", remedy="copy the repository again")
        remedy = "check the stick, its mount, and that the agent's user may read it"
        return NetworkFault("fetch-failed", f"{self._url}: {error.strerror}", remedy=remedy)


class FolderFetcher:
    """`medvouch.ports.Fetcher` of file URLs alone, for who is not to reach any network."""

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        """The contents in chunks."""
        return _whole(FolderRemote(url, ""))

    def open(self, url: str, validator: str = "") -> FolderRemote:
        """The file there, to be read in pieces."""
        return FolderRemote(url, validator)


class AnyFetcher:
    """`medvouch.ports.Fetcher`: file URLs from a folder, all others over HTTP."""

    def __init__(self, http: HttpFetcher) -> None:
        self._http = http

    def fetch(self, url: str) -> Generator[bytes, None, None]:
        """The contents in chunks."""
        return _whole(FolderRemote(url, "")) if _is_file(url) else self._http.fetch(url)

    def open(self, url: str, validator: str = "") -> FolderRemote | HttpRemote:
        """The file there, to be read in pieces."""
        return FolderRemote(url, validator) if _is_file(url) else self._http.open(url, validator)


def _whole(remote: FolderRemote) -> Generator[bytes, None, None]:
    with closing(remote):
        yield from remote.read(0)


def _is_file(url: str) -> bool:
    return url.startswith(f"{SCHEME}:")


def _parts(url: str) -> list[str]:
    """The path, component by component; NetworkFault `fetch-failed` for what is no absolute path."""
    split = urlsplit(url)
    parts = [unquote(part) for part in split.path.split("/")[1:]]
    if split.netloc or not parts or any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts):
        raise NetworkFault("fetch-failed", f"{url}: not a plain file URL", remedy="name an absolute path")
    return parts


def _open_plain(parts: list[str]) -> int:
    """Component by component, none of which may be a link; OSError."""
    descriptor = os.open("/", os.O_DIRECTORY | _FLAGS)
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        try:
            below = os.open(part, _FLAGS | (os.O_NONBLOCK if last else os.O_DIRECTORY), dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
    return descriptor
