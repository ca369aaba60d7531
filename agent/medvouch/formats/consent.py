"""What the user of a device wants of its updates, as it is remembered (CRA, Annex I, part I, 2(c))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from medvouch.formats.record import Maybe, Octets, OneOf, Record, Uint

AUTOMATIC, OPTED_OUT, POSTPONED = "automatic", "opted_out", "postponed"


@dataclass(frozen=True)
class ConsentRecord(Record):
    """`until`: when a postponement ends (s since 1970), 0 with any other wish.

    `release` is the SHA-256 of an envelope that somebody wants installed at once, whatever else is wished.
    """

    FORMAT = "consent"

    wish: Annotated[str, OneOf((AUTOMATIC, OPTED_OUT, POSTPONED))] = AUTOMATIC
    until: Annotated[int, Uint()] = 0
    release: Annotated[bytes | None, Maybe(Octets(32, exact=True))] = None
