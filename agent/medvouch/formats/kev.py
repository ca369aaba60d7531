"""Lists of vulnerabilities that are known to be exploited, as CISA publishes its catalogue (JSON)."""

from __future__ import annotations

from medvouch.formats import json_object

FORMAT = "kev"
MAX_CATALOGUE_BYTES = 32 << 20
"""CISA's has 1,500 entries in 1.5 MB."""
MAX_ENTRIES = 65_536
MAX_TEXT = 64


def parse_known_exploited(data: bytes) -> frozenset[str]:
    """Their CVE ids. Raises InputError `kev-malformed`, `kev-limit`; an empty list is no list."""
    root = json_object.parse(data, FORMAT, MAX_CATALOGUE_BYTES)
    found = frozenset(each.text("cveID", MAX_TEXT) for each in root.nodes("vulnerabilities", MAX_ENTRIES))
    if not found:
        raise (root.place / "vulnerabilities").malformed("at least one vulnerability")
    return found
