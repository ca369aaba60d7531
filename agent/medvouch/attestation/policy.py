"""What an appraiser demands of evidence: demands as data, joined by including one set in another, read from TOML.

    id = "example:wards:1"
    include = ["release"]                    # all that these demand is demanded, too
    quirks = ["measures-twice"]              # known faults of firmware to let pass, and to report; [] is none, ever

    [pcrs]
    sha256 = "0-15"                          # banks and PCRs that a quote must cover, exactly

    [secure_boot]
    required = true
    authorities = ["9f0c..."]                # SHA-256 of the certificates that may have verified what was booted
    db = ["9f0c..."]                         # all that db may hold: SHA-256 of certificates, or hashes of images
    dbx = ["77a1..."]                        # what dbx must hold at least

    [reference]
    required = true                          # the boot is that of a release with signed reference values
    pcrs = "4,9-11"                          # only these are held against it; all where this is not set
    floor = 3                                # lowest security epoch; not together with `pcrs`

    [ima]
    required = true                          # the kernel measured files, and sent the list along
    allow = ["5d3a..."]                      # digests of files that may be there
    exclude = ["/tmp/"]                      # beginnings of paths that `allow` and `signed_by` say nothing of
    signed_by = ["3059..."]                  # public keys (SPKI, DER): one of them signed each file

    [freshness]
    nonce = true                             # the evidence answers a challenge of this appraiser
    clock_safe = true                        # the TPM's clock never went back (`safe`)

    [ledger]
    required = true                          # the device's ledger was held against the one known

Joining never relaxes: what one of two policies demands is demanded, and where both list what is allowed, allowed is
what both list.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar

from medvouch.attestation.quirks import QUIRKS, Quirk
from medvouch.attestation.shipped_policies import SHIPPED
from medvouch.errors import InputError
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.eventlog import PCR_COUNT
from medvouch.formats.reference import MAX_SECURITY_EPOCH
from medvouch.formats.tpm import PcrSelection

T = TypeVar("T")

MAX_POLICY_CHARS = 1 << 20
MAX_DEPTH = 8
"""Policies that include one another."""
MAX_LISTED = 65536
"""Entries of one list."""
MAX_ID = 256

_RANGES = re.compile(r"\d{1,2}(-\d{1,2})?(,\d{1,2}(-\d{1,2})?)*", re.ASCII)
_HEX = re.compile(r"([0-9a-f]{2}){16,2048}")
_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")


@dataclass(frozen=True)
class Policy:
    """A named set of demands; `selection` are the PCRs that a quote must cover, exactly.

    Sets of what is allowed are None where all is. `reference_pcrs` None: all PCRs are held against the reference.
    `quirks` None lets none pass and leaves it to the policies that this one is joined with.
    """

    id: str
    selection: PcrSelection
    require_secure_boot: bool = False
    authorities: frozenset[bytes] | None = None
    db: frozenset[bytes] | None = None
    dbx: frozenset[bytes] = frozenset()
    match_reference: bool = True
    reference_pcrs: frozenset[int] | None = None
    floor: int = 0
    require_ima: bool = False
    ima_allow: frozenset[bytes] | None = None
    ima_exclude: tuple[str, ...] = ()
    ima_signed_by: frozenset[bytes] | None = None
    require_nonce: bool = False
    require_clock_safe: bool = False
    require_ledger: bool = False
    quirks: frozenset[Quirk] | None = None

    def joined(self, other: Policy) -> Policy:
        """All that either demands, under the id of `self`; the paths that both exclude stay excluded."""
        pcrs = (self.reference_pcrs, other.reference_pcrs)
        matching = [each for policy, each in zip((self, other), pcrs, strict=True) if policy.match_reference]
        listing = [policy for policy in (self, other) if (policy.ima_allow, policy.ima_signed_by) != (None, None)]
        excluded = [policy.ima_exclude for policy in listing]
        return Policy(
            id=self.id,
            selection=_joined_selection(self.selection, other.selection),
            require_secure_boot=self.require_secure_boot or other.require_secure_boot,
            authorities=_both(self.authorities, other.authorities),
            db=_both(self.db, other.db),
            dbx=self.dbx | other.dbx,
            match_reference=self.match_reference or other.match_reference,
            reference_pcrs=_all(matching),
            floor=max(self.floor, other.floor),
            require_ima=self.require_ima or other.require_ima,
            ima_allow=_both(self.ima_allow, other.ima_allow),
            ima_exclude=tuple(path for path in (excluded or [()])[0] if all(path in paths for paths in excluded)),
            ima_signed_by=_both(self.ima_signed_by, other.ima_signed_by),
            require_nonce=self.require_nonce or other.require_nonce,
            require_clock_safe=self.require_clock_safe or other.require_clock_safe,
            require_ledger=self.require_ledger or other.require_ledger,
            quirks=_both(self.quirks, other.quirks),
        )


def _both(one: frozenset[T] | None, other: frozenset[T] | None) -> frozenset[T] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _all(matching: list[frozenset[int] | None]) -> frozenset[int] | None:
    """The union; None, which is all, where one of them is or there are none."""
    known = [pcrs for pcrs in matching if pcrs is not None]
    return frozenset().union(*known) if known and len(known) == len(matching) else None


def _joined_selection(one: PcrSelection, other: PcrSelection) -> PcrSelection:
    banks: dict[HashAlg, set[int]] = {}
    for bank, pcrs in (*one.banks, *other.banks):
        banks.setdefault(bank, set()).update(pcrs)
    return PcrSelection.of({bank: sorted(pcrs) for bank, pcrs in sorted(banks.items())})


def parse_policy(text: str, library: Mapping[str, str] = SHIPPED) -> Policy:
    """A policy from TOML; `library` holds the texts that it may include, by name.

    Raises InputError `policy-malformed` and `policy-limit`, with the setting that is wrong.
    """
    return _parsed(text, library, ())


@functools.cache
def shipped(name: str) -> Policy:
    """One that comes with medvouch: `secure-boot`, `release`, `ima-allowlist`, `strict`; KeyError for another name."""
    return parse_policy(SHIPPED[name])


def _parsed(text: str, library: Mapping[str, str], names: tuple[str, ...]) -> Policy:
    if len(text) > MAX_POLICY_CHARS:
        _over("the policy", len(text), MAX_POLICY_CHARS)
    if len(names) > MAX_DEPTH:
        _over("include", len(names), MAX_DEPTH)
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also what Python limits: numbers, nesting
        raise InputError("policy-malformed", f"no TOML: {error}", remedy="mend the TOML") from error
    included = [_included(name, library, names) for name in _texts(document.pop("include", []), "include")]
    policy = _read(_Table(document, ""), has_pcrs=bool(included))
    for other in included:
        policy = policy.joined(other)
    return policy


def _included(name: str, library: Mapping[str, str], names: tuple[str, ...]) -> Policy:
    if name in names:
        _malformed("include", f"not {name!r}, which includes this one")
    if not _NAME.fullmatch(name) or name not in library:
        _malformed("include", f"one of {', '.join(sorted(library))}; {name[:64]!r} is none")
    return _parsed(library[name], library, (*names, name))


class _Table:
    """A table of the TOML whose settings are taken one by one; what nobody takes is unknown."""

    def __init__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            _malformed(path, "a table")
        self._rest = dict(value)
        self._path = path

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def take(self, name: str, default: Any) -> Any:
        return self._rest.pop(name, default)

    def table(self, name: str) -> _Table:
        return _Table(self.take(name, {}), self.path(name))

    def flag(self, name: str) -> bool:
        value = self.take(name, False)
        if not isinstance(value, bool):
            _malformed(self.path(name), "true or false")
        return value

    def digests(self, name: str) -> frozenset[bytes] | None:
        value = self.take(name, None)
        if value is None:
            return None
        texts = _texts(value, self.path(name))
        if not all(_HEX.fullmatch(text) for text in texts):
            _malformed(self.path(name), "bytes in small hexadecimal digits, 16 or more")
        return frozenset(map(bytes.fromhex, texts))

    def done(self) -> None:
        for name in self._rest:
            _malformed(self.path(str(name)[:64]), "no such setting")


def _read(top: _Table, *, has_pcrs: bool) -> Policy:
    name = top.take("id", None)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_ID or not name.isprintable():
        _malformed("id", f"1 to {MAX_ID} characters")
    selection = _selection(top.table("pcrs"))
    if not selection.banks and not has_pcrs:
        _malformed("pcrs", "a bank")
    policy = Policy(name, selection, quirks=_quirks(top.take("quirks", None)))
    readers = {"secure_boot": _secure_boot, "reference": _reference, "ima": _ima, "freshness": _freshness}
    for part, read in {**readers, "ledger": _ledger}.items():
        table = top.table(part)
        policy = read(policy, table)
        table.done()
    top.done()
    return policy


def _quirks(value: Any) -> frozenset[Quirk] | None:
    if value is None:
        return None
    for name in _texts(value, "quirks"):
        if name not in QUIRKS:
            _malformed("quirks", f"some of {', '.join(sorted(QUIRKS))}; {name[:64]!r} is none")
    return frozenset(QUIRKS[name] for name in value)


def _secure_boot(policy: Policy, table: _Table) -> Policy:
    return replace(
        policy,
        require_secure_boot=table.flag("required"),
        authorities=table.digests("authorities"),
        db=table.digests("db"),
        dbx=table.digests("dbx") or frozenset(),
    )


def _reference(policy: Policy, table: _Table) -> Policy:
    pcrs, floor = table.take("pcrs", None), table.take("floor", 0)
    if type(floor) is not int or not 0 <= floor <= MAX_SECURITY_EPOCH:
        _malformed("reference.floor", f"a number from 0 to {MAX_SECURITY_EPOCH}")
    required = table.flag("required")
    if not required and (pcrs is not None or floor):
        _malformed("reference.required", "true, since there is more to hold against it")
    if pcrs is not None and floor:
        _malformed("reference.floor", "0, since some PCRs alone do not tell which release it is")
    numbers = None if pcrs is None else frozenset(_pcrs(pcrs, "reference.pcrs"))
    return replace(policy, match_reference=required, reference_pcrs=numbers, floor=floor)


def _ima(policy: Policy, table: _Table) -> Policy:
    exclude = tuple(_texts(table.take("exclude", []), "ima.exclude"))
    if not all(exclude):
        _malformed("ima.exclude", "beginnings of paths, none of them empty")
    return replace(
        policy,
        require_ima=table.flag("required"),
        ima_allow=table.digests("allow"),
        ima_exclude=exclude,
        ima_signed_by=table.digests("signed_by"),
    )


def _freshness(policy: Policy, table: _Table) -> Policy:
    return replace(policy, require_nonce=table.flag("nonce"), require_clock_safe=table.flag("clock_safe"))


def _ledger(policy: Policy, table: _Table) -> Policy:
    return replace(policy, require_ledger=table.flag("required"))


def _selection(table: _Table) -> PcrSelection:
    """SHA-1 is no bank to rest a verdict on."""
    banks = {bank: table.take(bank.label, None) for bank in HashAlg if bank is not HashAlg.SHA1}
    table.done()
    return PcrSelection.of(
        {bank: _pcrs(text, f"pcrs.{bank.label}") for bank, text in banks.items() if text is not None}
    )


def _pcrs(text: object, path: str) -> list[int]:
    """From `0-7,11`."""
    if not isinstance(text, str) or not _RANGES.fullmatch(text):
        _malformed(path, "PCRs like 0-7,11")
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        numbers.update(range(int(first), int(last or first) + 1))
    if not numbers or max(numbers) >= PCR_COUNT:
        _malformed(path, f"PCRs from 0 to {PCR_COUNT - 1}, ascending")
    return sorted(numbers)


def _texts(value: Any, path: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        _malformed(path, "a list of texts in quotes")
    if len(value) > MAX_LISTED:
        _over(path, len(value), MAX_LISTED)
    return value


def _malformed(path: str, wanted: str) -> NoReturn:
    raise InputError("policy-malformed", f"{wanted} expected", place=path, remedy="mend the policy")


def _over(path: str, size: int, limit: int) -> NoReturn:
    raise InputError("policy-limit", f"{size} where at most {limit} is allowed", place=path, remedy="mend the policy")


STATIC_PCRS = PcrSelection.of({HashAlg.SHA256: range(PCR_COUNT - 8)})
"""PCRs 0 to 15, the static root of trust's and the operating system's (TCG PC Client PFP, table 1)."""

RELEASE_POLICY = shipped("release")
"""Every static PCR explained, Secure Boot on, and the boot chain of a signed release."""
