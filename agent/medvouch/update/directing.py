"""From the repository to what this device should run: the director chooses, release engineering must have published.

1. the directive stands under the device's name, as the role `director` and its bins list it;
2. it is for this UEID, and
3. has not expired;
4. names a file by a plain name, which leads nowhere else once it is part of an address;
5. the role `releases` lists the release with that very digest and length.

With the director's keys alone a device can be sent to any published release, and to nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

from tuf.api.metadata import TargetFile

from medvouch.errors import Refusal
from medvouch.formats.directive import MAX_DIRECTIVE_BYTES, Directive, directive_name
from medvouch.update import refusals
from medvouch.update.repository import Repository

DIRECTOR, RELEASES = "director", "releases"
"""Roles to which the top-level targets delegate."""
_SPECIAL = frozenset("\\%?#*[")
"""What addresses, patterns and other systems' paths read in ways of their own."""


@dataclass(frozen=True)
class VerifiedDirective:
    """A directive for this device, and the envelope's target as `releases` lists it."""

    directive: Directive
    target: TargetFile


def resolve(repository: Repository, ueid: bytes, device_id: str, now: int) -> VerifiedDirective | None:
    """The directive for this device, or None where there is none. After `Repository.refresh`.

    Raises Refusal `directive-*`, `target-name-unsafe`, and what `Repository.download` raises. Whether its sequence is
    one that the device has gone beyond is the caller's to judge: that is the device's state.
    """
    listed = repository.role_target(DIRECTOR, name := directive_name(device_id), below=True)  # 1
    if listed is None:
        return None
    directive = Directive.parse(repository.download(listed, MAX_DIRECTIVE_BYTES))
    if directive.ueid != ueid:  # 2
        detail = f"it is for the UEID {directive.ueid.hex()}"
        raise Refusal(refusals.DIRECTIVE_MISDIRECTED, detail, place=name)
    if now >= directive.expires:  # 3
        raise Refusal(refusals.DIRECTIVE_EXPIRED, f"it expired {now - directive.expires} s ago", place=name)
    _check_plain(directive.release)  # 4
    target = repository.role_target(RELEASES, directive.release)  # 5
    if target is None or not _same(directive, target):
        detail = f"{directive.release} with SHA-256 {directive.digest.hex()} is not published"
        raise Refusal(refusals.DIRECTIVE_UNLISTED, detail, place=name)
    return VerifiedDirective(directive, target)


def _check_plain(name: str) -> None:
    for part in name.split("/"):
        if not part or part[0] == "." or not part.isascii() or not part.isprintable() or set(part) & _SPECIAL:
            raise Refusal(refusals.TARGET_NAME_UNSAFE, f"the directive names {name!a}", place=ascii(part))


def _same(directive: Directive, target: TargetFile) -> bool:
    return target.length == directive.length and target.hashes.get("sha256", "").lower() == directive.digest.hex()
