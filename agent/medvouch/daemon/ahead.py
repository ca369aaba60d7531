"""Two things at once: what makes chunks runs ahead in a thread of its own while what takes them is at work."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable

DEPTH = 2
"""Chunks that are made before they are asked for."""
_PATIENCE_S = 0.1


class _Runner:
    """Makes chunks until there are no more, something goes wrong, or nobody wants them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.made: queue.Queue[bytes | None] = queue.Queue(DEPTH)
        self.error: BaseException | None = None
        self.unwanted = threading.Event()
        self._chunks = chunks

    def run(self) -> None:
        try:
            for chunk in self._chunks:
                self._put(chunk)
                if self.unwanted.is_set():
                    break
        except BaseException as error:
            self.error = error
        finally:
            self._put(None)

    def _put(self, chunk: bytes | None) -> None:
        while not self.unwanted.is_set():
            try:
                self.made.put(chunk, timeout=_PATIENCE_S)
            except queue.Full:
                continue
            return


def ahead(chunks: Iterable[bytes]) -> Generator[bytes, None, None]:
    """The same chunks, and in the end what `chunks` raises. `chunks` is not at work any more when this has ended."""
    runner = _Runner(chunks)
    thread = threading.Thread(target=runner.run, name="ahead", daemon=True)
    thread.start()
    try:
        while (chunk := runner.made.get()) is not None:
            yield chunk
    finally:
        runner.unwanted.set()
        thread.join()
    if runner.error is not None:
        raise runner.error
