"""CycloneDX 1.6 (ECMA-424), JSON: what an SBOM says a product is and is made of, as far as a release asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medvouch.formats import json_object
from medvouch.formats.json_object import Node

FORMAT = "cyclonedx"
SPEC_VERSION = "1.6"
MAX_COMPONENTS = 16_384
MAX_DEPTH = 8
"""Components within components."""
MAX_TEXT = 1024


@dataclass(frozen=True)
class Sbom:
    """The product that the SBOM is of, and the `bom-ref` of each of its components."""

    name: str
    version: str
    components: frozenset[str]

    @classmethod
    def parse(cls, data: bytes) -> Sbom:
        """Raises InputError `cyclonedx-malformed`, `cyclonedx-limit`."""
        root = json_object.parse(data, FORMAT)
        if root.text("bomFormat", MAX_TEXT) != "CycloneDX":
            raise (root.place / "bomFormat").malformed("CycloneDX")
        if root.text("specVersion", MAX_TEXT) != SPEC_VERSION:
            raise (root.place / "specVersion").malformed(SPEC_VERSION)
        product = root.node("metadata").node("component")
        found = list(_references(root, MAX_DEPTH))
        if len(set(found)) != len(found):
            raise (root.place / "components").malformed("each bom-ref once")
        return cls(product.text("name", MAX_TEXT), product.text("version", MAX_TEXT), frozenset(found))


def _references(within: Node, depth: int) -> Iterator[str]:
    for component in within.nodes("components", MAX_COMPONENTS):
        if not depth:
            raise component.place.over(MAX_DEPTH + 1, MAX_DEPTH)
        component.text("name", MAX_TEXT)
        component.text("type", MAX_TEXT)
        if "bom-ref" in component.value:
            yield component.text("bom-ref", MAX_TEXT)
        yield from _references(component, depth - 1)
