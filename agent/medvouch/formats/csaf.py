"""CSAF 2.0 (OASIS): what a VEX document or a security advisory says of products, as far as a release asks.

document        category: csaf_vex (profile 5, section 4.5) or csaf_security_advisory (profile 4, section 4.4)
product_tree    ids of products: full_product_names, branches within branches, relationships (3.2.2)
vulnerabilities cve, ids; product_status: ids of products by status (3.2.3.9)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from medvouch.formats import json_object
from medvouch.formats.json_object import Node

FORMAT = "csaf"
VEX, ADVISORY = "csaf_vex", "csaf_security_advisory"
MAX_VULNERABILITIES = 4096
MAX_IDS = 16
"""Names of one vulnerability besides its CVE."""
MAX_PRODUCTS = 16_384
MAX_BRANCH_DEPTH = 16
MAX_TEXT = 1024
AFFECTED = ("first_affected", "known_affected", "last_affected")
FIXED = ("first_fixed", "fixed")
_OTHERS = ("known_not_affected", "recommended", "under_investigation")


@dataclass(frozen=True)
class Vulnerability:
    """One vulnerability: its names (CVE and others), and the products by status."""

    names: frozenset[str]
    affected: frozenset[str]
    fixed: frozenset[str]


@dataclass(frozen=True)
class Csaf:
    """A document of one of the two categories; `products` are the ids of its product tree."""

    category: str
    tracking_id: str
    products: frozenset[str]
    vulnerabilities: tuple[Vulnerability, ...]

    @classmethod
    def parse(cls, data: bytes, category: str) -> Csaf:
        """A document of this category. Raises InputError `csaf-malformed`, `csaf-limit`."""
        root = json_object.parse(data, FORMAT)
        document = root.node("document")
        if document.text("csaf_version", 8) != "2.0":
            raise (document.place / "csaf_version").malformed("2.0")
        if document.text("category", MAX_TEXT) != category:
            raise (document.place / "category").malformed(category)
        products = frozenset(_products(root.node("product_tree")))
        found = tuple(_vulnerability(each, products) for each in root.nodes("vulnerabilities", MAX_VULNERABILITIES))
        return cls(category, document.node("tracking").text("id", MAX_TEXT), products, found)

    def affecting(self, product: str) -> Iterator[Vulnerability]:
        """Those that the product has."""
        return (each for each in self.vulnerabilities if product in each.affected)

    def fixes(self, product: str, names: frozenset[str]) -> bool:
        """Whether a vulnerability of one of these names is said to be fixed in the product."""
        return any(product in each.fixed and each.names & names for each in self.vulnerabilities)

    def names(self, names: frozenset[str]) -> bool:
        """Whether it is about a vulnerability of one of these names."""
        return any(each.names & names for each in self.vulnerabilities)


def _products(tree: Node) -> Iterator[str]:
    for each in tree.nodes("full_product_names", MAX_PRODUCTS):
        yield each.text("product_id", MAX_TEXT)
    for each in tree.nodes("relationships", MAX_PRODUCTS):
        yield each.node("full_product_name").text("product_id", MAX_TEXT)
    yield from _branches(tree, MAX_BRANCH_DEPTH)


def _branches(tree: Node, depth: int) -> Iterator[str]:
    for branch in tree.nodes("branches", MAX_PRODUCTS):
        if not depth:
            raise branch.place.over(MAX_BRANCH_DEPTH + 1, MAX_BRANCH_DEPTH)
        if "product" in branch.value:
            yield branch.node("product").text("product_id", MAX_TEXT)
        yield from _branches(branch, depth - 1)


def _vulnerability(given: Node, products: frozenset[str]) -> Vulnerability:
    names = {each.text("text", MAX_TEXT) for each in given.nodes("ids", MAX_IDS)}
    names |= {given.text("cve", MAX_TEXT)} if "cve" in given.value else set()
    if not names:
        raise given.place.malformed("a CVE or another id")
    status = given.node("product_status")
    by_status = {name: frozenset(status.texts(name, MAX_PRODUCTS, MAX_TEXT)) for name in (*AFFECTED, *FIXED, *_OTHERS)}
    unknown = frozenset().union(*by_status.values()) - products
    if unknown:
        raise status.place.malformed(f"products of the product tree instead of {min(unknown)[:64]!r}")
    affected, fixed = (frozenset().union(*(by_status[name] for name in some)) for some in (AFFECTED, FIXED))
    if affected & fixed:
        raise status.place.malformed("each product either affected or fixed")  # CSAF 2.0, 6.1.6
    return Vulnerability(frozenset(names), affected, fixed)
