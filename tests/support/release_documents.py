"""A release with all that the gate asks for: the least that the standards' schemas allow, and a little more."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from medvouch.formats.kev import parse_known_exploited
from medvouch.formats.release import ReleaseRecord
from medvouch.release.draft import Draft
from medvouch.release.gate import Documents, pass_gate
from support.suit import released

ENVELOPE = released()
NOW = 1_800_000_000
PRODUCT, BEFORE = "MV-100-1.1.0", "MV-100-1.0.0"
CVE, EUVD, GHSA = "CVE-2026-34155", "EUVD-2026-17001", "GHSA-6p2q-8qfq-wxr7"
AWARE = 1_792_454_400
"""2026-10-20."""
EXPLOITED = "CVE-2026-0001"

TOML = f"""\
version = "1.1.0"
epoch = 2
kind = "security"
product_id = "{PRODUCT}"

[documents]
envelope = "release.suit"
sbom = "sbom.cdx.json"
vex = "vex.json"
advisory = "advisory.json"
support = "support.json"

[remediation]
contact = "mailto:psirt@devices.example"
cvd_policy = "https://devices.example/security"

[[fixes]]
cve = "{CVE}"
euvd = "{EUVD}"
ghsa = "{GHSA}"
aware = 2026-10-20
components = ["kernel"]

[duties.device-identity]
owner = "Ada Example"
deputy = "Ben Example"
review = 2027-06-01

[duties.update-signing]
owner = "Cy Example"
deputy = "Ada Example"
review = 2027-06-01

[duties.vulnerability-remediation]
owner = "Dee Example"
deputy = "Ben Example"
review = 2027-06-01

[duties.decommissioning]
owner = "Eve Example"
deputy = "Cy Example"
review = 2027-06-01
"""
FEATURE = '\n[[features]]\nsummary = "a new protocol"\ncomponents = ["kernel", "gatewayd"]\n'


def sbom() -> dict[str, Any]:
    parts = [{"type": "library", "bom-ref": "libc", "name": "libc6", "version": "2.41"}]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "firmware", "name": "MV-100", "version": "1.1.0"}},
        "components": [
            {"type": "operating-system", "bom-ref": "kernel", "name": "linux", "version": "6.12.60"},
            {"type": "application", "bom-ref": "gatewayd", "name": "gatewayd", "components": parts},
        ],
        "vulnerabilities": [{"id": CVE, "ratings": [{"score": 9.8}]}],
    }


def _csaf(category: str, status: dict[str, list[str]], **fields: Any) -> dict[str, Any]:
    publisher = {"category": "vendor", "name": "Devices Example", "namespace": "https://devices.example"}
    tracking = {
        "id": "DEV-2026-001",
        "status": "final",
        "version": "1",
        "current_release_date": "2026-11-01T00:00:00Z",
        "initial_release_date": "2026-11-01T00:00:00Z",
        "revision_history": [{"number": "1", "date": "2026-11-01T00:00:00Z", "summary": "first"}],
    }
    document = {"category": category, "csaf_version": "2.0", "publisher": publisher, "title": "t", "tracking": tracking}
    versions = [
        {"category": "product_version", "name": name[-5:], "product": {"name": name, "product_id": name}}
        for name in (BEFORE, PRODUCT)
    ]
    tree = {"branches": [{"category": "product_name", "name": "MV-100", "branches": versions}]}
    ids = [{"system_name": "EUVD", "text": EUVD}]
    vulnerability = {"cve": CVE, "ids": ids, "notes": [], "product_status": status, **fields}
    return {"document": document, "product_tree": tree, "vulnerabilities": [vulnerability]}


def vex() -> dict[str, Any]:
    return _csaf("csaf_vex", {"fixed": [PRODUCT], "known_affected": [BEFORE]})


def advisory() -> dict[str, Any]:
    return _csaf(
        "csaf_security_advisory", {"fixed": [PRODUCT], "known_affected": [BEFORE]}, scores=[{"baseScore": 9.8}]
    )


def support() -> dict[str, Any]:
    return {
        "$schema": "https://docs.oasis-open.org/openeox/v1.0/schema/core.json",
        "end_of_life": "tba",
        "end_of_security_support": "2031-12-31T23:59:59Z",
        "last_updated": "2026-11-19T16:00:00Z",
    }


def known_exploited() -> dict[str, Any]:
    return {"title": "known", "count": 1, "vulnerabilities": [{"cveID": EXPLOITED, "vendorProject": "Example"}]}


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def documents(**changes: Any) -> Documents:
    """All of them; a change replaces one, as a JSON object, bytes, or None where there is none."""
    made = Documents(ENVELOPE, encoded(sbom()), encoded(vex()), encoded(advisory()), encoded(support()))
    return replace(made, **{k: encoded(v) if isinstance(v, dict) else v for k, v in changes.items()})


def draft(**changes: Any) -> Draft:
    return replace(Draft.parse(TOML.encode()), **changes)


def written(folder: Path) -> list[Path]:
    """All that goes out with the release, its record too, as files; their paths."""
    docs, record = documents(), passed().encode()
    named = {"release.suit": docs.envelope, "sbom.cdx.json": docs.sbom, "vex.json": docs.vex, "release.cbor": record}
    for name, data in {**named, "advisory.json": docs.advisory, "support.json": docs.support}.items():
        assert data is not None
        (folder / name).write_bytes(data)
    return [folder / name for name in (*named, "advisory.json", "support.json")]


def passed(given: Draft | None = None, previous: ReleaseRecord | None = None, **changes: Any) -> ReleaseRecord:
    exploited = parse_known_exploited(encoded(known_exploited()))
    return pass_gate(given or draft(), documents(**changes), exploited, previous, NOW)
