"""OpenEoX core 1.0 (OASIS, draft): until when a product is supported."""

from __future__ import annotations

from dataclasses import dataclass

from medvouch.formats import json_object
from medvouch.formats.json_object import Node

FORMAT = "openeox"
SCHEMAS = (
    "https://docs.oasis-open.org/openeox/v1.0/schema/core.json",
    "https://docs.oasis-open.org/openeox/eox-core/v1.0/schema/core.json",
)
"""The drafts have moved it."""
MAX_STATEMENT_BYTES = 1 << 16
MAX_TEXT = 256
_TO_BE_ANNOUNCED = "tba"


@dataclass(frozen=True)
class SupportStatement:
    """The last moments (s since 1970) of life and of security support; None where they are to be announced."""

    end_of_life: int | None
    end_of_security_support: int | None
    last_updated: int

    @classmethod
    def parse(cls, data: bytes) -> SupportStatement:
        """Raises InputError `openeox-malformed`, `openeox-limit`."""
        root = json_object.parse(data, FORMAT, MAX_STATEMENT_BYTES)
        if root.text("$schema", MAX_TEXT) not in SCHEMAS:
            raise (root.place / "$schema").malformed("the schema of OpenEoX core 1.0")
        updated = json_object.moment(root.text("last_updated", MAX_TEXT), root.place / "last_updated")
        return cls(_end(root, "end_of_life"), _end(root, "end_of_security_support"), updated)


def _end(root: Node, name: str) -> int | None:
    said = root.text(name, MAX_TEXT)
    return None if said == _TO_BE_ANNOUNCED else json_object.moment(said, root.place / name)
