"""A TUF repository behind HTTP, whose requests are recorded, and our client of it as the conformance suite calls it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from support import tuf_client
from support.tufs import Tuf

PROGRAM = Path(__file__).resolve().parents[1] / "conformance" / "tuf_client"


class Simulated(Tuf):
    """A repository of today, since the client under test has the system's clock."""

    def __init__(self, url: str, folder: Path) -> None:
        super().__init__(int(time.time()))
        self.requested: list[str] = []
        self._url, self._folder = url, folder

    def respond(self, path: str) -> bytes | None:
        self.requested.append(path)
        return self.files.get(unquote(path))

    def arguments(self, *rest: str) -> list[str]:
        return ["--metadata-dir", str(self._folder / "metadata"), "--metadata-url", f"{self._url}/metadata", *rest]

    def init(self, root: bytes | None = None) -> int:
        (path := self._folder / "initial.json").write_bytes(root or self.anchor)
        return tuf_client.main(["--metadata-dir", str(self._folder / "metadata"), "init", str(path)])

    def refresh(self) -> int:
        self.requested.clear()
        return tuf_client.main(self.arguments("refresh"))

    def download(self, *names: str) -> int:
        self.requested.clear()
        return tuf_client.main(self.arguments(*self.wanted(*names), "download"))

    def wanted(self, *names: str) -> list[str]:
        named = [word for name in names for word in ("--target-name", name)]
        return [*named, "--target-base-url", f"{self._url}/targets", "--target-dir", str(self._folder / "targets")]

    @property
    def trusted(self) -> dict[str, int]:
        """The versions in the client's folder, by file name without `.json`."""
        found = sorted((self._folder / "metadata").glob("*.json"))
        return {path.stem: json.loads(path.read_bytes())["signed"]["version"] for path in found}

    def stored(self, role: str) -> bytes:
        return (self._folder / "metadata" / f"{role}.json").read_bytes()

    @property
    def downloaded(self) -> list[bytes]:
        """Contents of the files that were downloaded, by name."""
        return [path.read_bytes() for path in sorted((self._folder / "targets").glob("*"))]

    @property
    def roles_requested(self) -> list[str]:
        """The roles whose metadata was asked for after the top-level ones, still escaped, in this order."""
        names = [path.removeprefix("metadata/").removesuffix(".json") for path in self.requested]
        roles = [name.partition(".")[2] if name[0].isdigit() else name for name in names if "/" not in name]
        return [role for role in roles if role not in {"root", "timestamp", "snapshot", "targets"}]


@contextmanager
def simulated(folder: Path) -> Iterator[Simulated]:
    """A repository at an address of its own, served until the end."""
    repositories: list[Simulated] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = repositories[0].respond(self.path.removeprefix("/"))
            self.send_response(404 if data is None else 200)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            with suppress(ConnectionError):  # of a client that has heard enough
                self.wfile.write(data or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        repositories.append(Simulated(f"http://127.0.0.1:{server.server_port}", folder))
        (folder / "metadata").mkdir()
        (folder / "targets").mkdir()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield repositories[0]
        finally:
            server.shutdown()
            thread.join()


def run(*arguments: str, environment: Mapping[str, str] | None = None, before: tuple[str, ...] = ()) -> int:
    """The entry point as a program."""
    command = [*before, str(PROGRAM), *arguments]
    return subprocess.run(command, env=os.environ | (environment or {}), capture_output=True, check=False).returncode
