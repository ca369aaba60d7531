"""CSAF 2.0 (OASIS): what a VEX document or a security advisory says of products, as far as a release asks.

document        category: csaf_vex (profile 5, section 4.5) or csaf_security_advisory (profile 4, section 4.4);
                tracking: id, initial_release_date (3.2.1.12)
product_tree    ids of products: full_product_names, branches within branches, relationships (3.2.2); of branches also
                which version of what they are, or which range of versions
vulnerabilities cve, ids; product_status: ids of products by status (3.2.3.9)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from medvouch.formats import json_object
from medvouch.formats.json_object import Node
from medvouch.formats.version_range import VersionRange, read_range

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
NOT_AFFECTED = ("known_not_affected",)
_OTHERS = ("recommended", "under_investigation")
_PRODUCT, _VERSION, _RANGE = "product_name", "product_version", "product_version_range"
"""Categories of branches (3.1.2.2)."""

Version = tuple[str, str]
"""The name of a product, and its version."""


@dataclass(frozen=True)
class Vulnerability:
    """One vulnerability: its names (CVE and others), and the products by status."""

    names: frozenset[str]
    affected: frozenset[str]
    fixed: frozenset[str]
    not_affected: frozenset[str]


@dataclass(frozen=True)
class Csaf:
    """A document of one of the two categories, first released at a time (s since 1970).

    `products` are the ids of its product tree; `versions` those that it has for a version of a product, where it says
    so in branches of the categories product_name and product_version, and `ranges` by product those of a range of them.
    """

    category: str
    tracking_id: str
    released: int
    products: frozenset[str]
    versions: Mapping[Version, frozenset[str]]
    ranges: Mapping[str, tuple[tuple[VersionRange, str], ...]]
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
        tree = list(_branches(product_tree := root.node("product_tree"), MAX_BRANCH_DEPTH, {}))
        products = _others(product_tree) | {branch.product for branch in tree}
        found = tuple(_vulnerability(each, products) for each in root.nodes("vulnerabilities", MAX_VULNERABILITIES))
        tracking = document.node("tracking")
        date = tracking.text("initial_release_date", MAX_TEXT)
        released = json_object.moment(date, tracking.place / "initial_release_date")
        identifier = tracking.text("id", MAX_TEXT)
        return cls(category, identifier, released, products, _versions(tree), _ranges(tree), found)

    def of(self, name: str, version: str) -> frozenset[str]:
        """The ids of what a version of a product is, or is one of; none where that is not said."""
        ranges = self.ranges.get(name, ()) if version else ()
        return self.versions.get((name, version), frozenset()) | {
            product for those, product in ranges if those.has(version)
        }

    def affecting(self, product: str) -> Iterator[Vulnerability]:
        """Those that the product has."""
        return (each for each in self.vulnerabilities if product in each.affected)

    def fixes(self, product: str, names: frozenset[str]) -> bool:
        """Whether a vulnerability of one of these names is said to be fixed in the product."""
        return any(product in each.fixed and each.names & names for each in self.vulnerabilities)

    def names(self, names: frozenset[str]) -> bool:
        """Whether it is about a vulnerability of one of these names."""
        return any(each.names & names for each in self.vulnerabilities)


class _Branch(NamedTuple):
    """Name, version, or range of versions, and id of a product; empty where that is not said."""

    name: str
    version: str
    versions: str
    product: str


def _others(tree: Node) -> frozenset[str]:
    """Ids of products that are in no branch."""
    products = {each.text("product_id", MAX_TEXT) for each in tree.nodes("full_product_names", MAX_PRODUCTS)}
    for each in tree.nodes("relationships", MAX_PRODUCTS):
        products.add(each.node("full_product_name").text("product_id", MAX_TEXT))
    return frozenset(products)


def _versions(tree: Sequence[_Branch]) -> dict[Version, frozenset[str]]:
    versions: dict[Version, frozenset[str]] = {}
    for name, version, _, product in tree:
        if name and version:
            versions[name, version] = versions.get((name, version), frozenset()) | {product}
    return versions


def _ranges(tree: Sequence[_Branch]) -> dict[str, tuple[tuple[VersionRange, str], ...]]:
    """Of those that can be read; a branch that has a version, too, is that."""
    ranges: dict[str, tuple[tuple[VersionRange, str], ...]] = {}
    for name, version, versions, product in tree:
        if name and not version and (found := read_range(versions)):
            ranges[name] = (*ranges.get(name, ()), (found, product))
    return ranges


def _branches(tree: Node, depth: int, above: Mapping[str, str]) -> Iterator[_Branch]:
    """Each product; `above`: the names of the branches around it by category."""
    for branch in tree.nodes("branches", MAX_PRODUCTS):
        if not depth:
            raise branch.place.over(MAX_BRANCH_DEPTH + 1, MAX_BRANCH_DEPTH)
        around = {**above, branch.maybe_text("category", MAX_TEXT): branch.maybe_text("name", MAX_TEXT)}
        if "product" in branch.value:
            product = branch.node("product").text("product_id", MAX_TEXT)
            name, version, versions = (around.get(category, "") for category in (_PRODUCT, _VERSION, _RANGE))
            yield _Branch(name, version, versions, product)
        yield from _branches(branch, depth - 1, around)


def _vulnerability(given: Node, products: frozenset[str]) -> Vulnerability:
    names = {each.text("text", MAX_TEXT) for each in given.nodes("ids", MAX_IDS)}
    names |= {given.text("cve", MAX_TEXT)} if "cve" in given.value else set()
    if not names:
        raise given.place.malformed("a CVE or another id")
    status = given.node("product_status")
    statuses = (*AFFECTED, *FIXED, *NOT_AFFECTED, *_OTHERS)
    by_status = {name: frozenset(status.texts(name, MAX_PRODUCTS, MAX_TEXT)) for name in statuses}
    unknown = frozenset().union(*by_status.values()) - products
    if unknown:
        raise status.place.malformed(f"products of the product tree instead of {min(unknown)[:64]!r}")
    affected, fixed, never = (
        frozenset().union(*(by_status[name] for name in some)) for some in (AFFECTED, FIXED, NOT_AFFECTED)
    )
    if affected & fixed or affected & never or fixed & never:
        raise status.place.malformed("each product affected, fixed or not affected")  # CSAF 2.0, 6.1.6
    return Vulnerability(frozenset(names), affected, fixed, never)
