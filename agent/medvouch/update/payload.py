"""A payload while it comes in: its bytes go on as they come, and never one more than was signed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from medvouch.errors import Refusal
from medvouch.update import refusals

SPOILED = (refusals.PAYLOAD_MISMATCH, refusals.PAYLOAD_TOO_LONG, refusals.PAYLOAD_TOO_SHORT)
"""What is refused with these is another payload than the signed one: the place that it came from may be to blame."""


@dataclass(frozen=True)
class Payload:
    """What is to be fetched for a component: from where, SHA-256 and size in bytes."""

    component: str
    uri: str
    digest: bytes
    size: int


def bounded(chunks: Iterable[bytes], enough: int) -> bytes:
    """All of it, or its first `enough` bytes."""
    data = bytearray()
    for chunk in chunks:
        data += chunk
        if len(data) >= enough:
            break
    return bytes(data[:enough])


def checked(chunks: Iterable[bytes], payload: Payload, kept: Iterable[bytes] = ()) -> Iterator[bytes]:
    """The chunks, as long as they stay within the signed size; at the end the whole is held against its digest.

    `kept` are the bytes before them, which are where they belong already: they are hashed and not passed on. Whoever
    writes the chunks somewhere has written the payload only once this iterator has ended by itself. Raises Refusal
    `payload-too-long` before the chunk that is too much, `payload-too-short`, `payload-mismatch`.
    """
    seen, size = hashlib.sha256(), 0
    for chunk in kept:
        size += len(chunk)
        seen.update(chunk)
    for chunk in chunks:
        size += len(chunk)
        if size > payload.size:
            detail = f"{size} bytes and perhaps more, where {payload.size} were signed"
            raise Refusal(refusals.PAYLOAD_TOO_LONG, detail, place=payload.component)
        seen.update(chunk)
        yield chunk
    if size < payload.size:
        detail = f"{size} bytes where {payload.size} were signed"
        raise Refusal(refusals.PAYLOAD_TOO_SHORT, detail, place=payload.component)
    if seen.digest() != payload.digest:
        detail = f"SHA-256 {seen.hexdigest()} where {payload.digest.hex()} was signed"
        raise Refusal(refusals.PAYLOAD_MISMATCH, detail, place=payload.component)
