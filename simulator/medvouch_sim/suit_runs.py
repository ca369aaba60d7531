"""Our SUIT test vectors, continued: what goes wrong while a manifest is run, and with what it depends on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from medvouch.formats.suit import Envelope
from medvouch.formats.suit_commands import Code, Command, CommandSequence, Comparison, VersionMatch
from medvouch.formats.suit_manifest import Common, Manifest, Member
from medvouch_sim.suit_setting import (
    ABORT,
    ALLOWED,
    CHECKS,
    FETCH,
    FETCHING,
    GOOD,
    IDENTITY,
    IDS,
    IMAGE,
    INVOKE,
    MATCH,
    PROCESS,
    RELEASE,
    SHARED,
    TEXT,
    WRITE,
    Signers,
    Vector,
    changed,
    depending,
    enclosing,
    override,
    select,
    sized,
)  # fmt: skip

_CHECK_SLOT, _CHECK_VERSION = Command(Code.COMPONENT_SLOT, 15), Command(Code.VERSION, 15)


# --- runs ------------------------------------------------------------------------------------------------------------


def runs(by: Signers) -> Iterator[Vector]:  # noqa: PLR0915 - a statement for each
    """What a device finds only while it runs them, or before."""
    command, incomplete = "manifest-command-unsupported", "manifest-incomplete"

    def run(name: str, mutation: str, expected: str, *commands: Command, **changes: Any) -> Vector:
        return changed(by, name, mutation, expected, commands, **changes)

    def shared(*commands: Command) -> Common:
        return replace(GOOD.common, shared=commands)

    first = select(0)
    for name, changes, expected in (
        ("other-vendor", {"vendor_id": bytes(16)}, "manifest-other-vendor"),
        ("other-class", {"class_id": bytes(16)}, "manifest-other-class"),
    ):
        identity = override(**{**IDS, **changes})
        yield run(name, name.replace("-", " "), expected, *FETCHING, common=shared(identity, *CHECKS))
    device = (override(device_id=bytes(16)), Command(Code.DEVICE_IDENTIFIER, 15))
    yield run("other-device", "another device", "manifest-other-device", *device, *FETCHING)
    yield run("vendor-unchecked", "vendor not checked", incomplete, *FETCHING, common=shared(IDENTITY, CHECKS[1]))
    yield run("class-unchecked", "class not checked", incomplete, *FETCHING, common=shared(IDENTITY, CHECKS[0]))
    yield run("fetch-in-shared", "a fetch in the shared sequence", command, *FETCHING, common=shared(*SHARED, FETCH))
    yield run("fetch-in-validate", "a fetch in validate", command, *FETCHING, sections={Member.VALIDATE: (FETCH,)})
    yield run("invoke-in-install", "an invocation in install", command, *FETCHING, sections={Member.INSTALL: (INVOKE,)})
    unlink = {Member.INSTALL: (Command(Code.UNLINK, 2),)}
    yield run("unlink-in-install", "an unlink in install", command, *FETCHING, sections=unlink)
    yield run("component-index", "component 3 of 3", incomplete, select(3), *FETCHING)
    yield run("no-uri", "no URI", incomplete, override(**sized(IMAGE)), FETCH)
    yield run("no-digest", "no digest", incomplete, override(uri=f"{ALLOWED}image", image_size=len(IMAGE)), FETCH)
    elsewhere = override(uri="https://elsewhere.example/image", **sized(IMAGE))
    yield run("url-not-allowed", "a URI of another host", "url-not-allowed", elsewhere, FETCH)
    dots = override(uri=f"{ALLOWED}../image", **sized(IMAGE))
    yield run("url-dots", "a URI that leaves its place", "url-not-allowed", dots, FETCH)
    for name, content, expected in (
        ("payload-longer", IMAGE + b"!", "payload-too-long"),
        ("payload-shorter", IMAGE[:-1], "payload-too-short"),
        ("payload-other", IMAGE[:-1] + b"!", "payload-mismatch"),
    ):
        yield replace(
            run(name, f"the server's is {name[8:]}", expected, *FETCHING), served={f"{ALLOWED}image": content}
        )
    yield replace(run("payload-absent", "the server has none", "fetch-not-found", *FETCHING), served={})
    wrong = (select(1), override(**sized(TEXT)), MATCH)
    yield run("component-mismatch", "a match of what is not there", "component-mismatch", *wrong)
    there = (override(**sized(IMAGE)), *FETCHING, Command(Code.IMAGE_NOT_MATCH, 15))
    yield run("image-not-match", "a match of what must not be there", "component-mismatch", *there)
    contents = (select(1), override(content=b"x"), WRITE, override(content=b"y"), Command(Code.CHECK_CONTENT, 15))
    yield run("check-content", "other contents", "component-mismatch", *contents)
    slot = (override(component_slot=0), _CHECK_SLOT)
    yield run("other-slot", "the running slot", "component-other-slot", *slot)
    newer = (override(version=VersionMatch(Comparison.GREATER, (1, 0))), _CHECK_VERSION)
    yield run("other-version", "newer than what is installed", "component-other-version", *newer)
    yield run("aborted", "an abort", "manifest-aborted", ABORT)
    neither = Command(Code.TRY_EACH, ((*slot, *FETCHING), (*slot, *FETCHING)))
    yield run("no-alternative", "alternatives none of which fits", "manifest-no-alternative", neither)
    hard = Command(Code.TRY_EACH, ((override(soft_failure=False), ABORT), FETCHING))
    yield run("hard-alternative", "an alternative that ends the run", "manifest-aborted", hard)
    steps = Command(Code.RUN_SEQUENCE, (override(strict_order=True),) * 250)
    yield run("too-many-steps", "1,250 steps", "suit-limit", *(steps,) * 5)
    unknown = replace(GOOD.common, components=((b"boiler",),), shared=(*SHARED[:-1], first))
    writing = (override(content=TEXT), WRITE)
    install: dict[Member, CommandSequence] = {Member.INSTALL: writing}
    boiler = replace(GOOD, common=unknown, sequences=install)
    data = by.enclosed(boiler.encode(), payloads={}).encode()
    yield Vector("component-unknown", "a component that there is not", "manifest-component-unknown", data)
    nothing = (select(1), override(**sized(TEXT)), MATCH)
    before = run("boot-of-nothing", "a boot before anything is installed", "component-mismatch",
                 *FETCHING, sections={Member.VALIDATE: nothing})  # fmt: skip
    yield replace(before, procedure="boot")


# --- dependencies ----------------------------------------------------------------------------------------------------


def dependencies(by: Signers) -> Iterator[Vector]:
    """Manifests that need another one."""
    data = by.dependency()
    content = depending(data)

    def vector(name: str, mutation: str, expected: str, inner: bytes, manifest: Manifest) -> Vector:
        return enclosing(by, name, mutation, expected, inner, manifest)

    unsigned = by.dependency(roles=RELEASE[:1])
    few, unauthorised = "manifest-signatures-too-few", "manifest-component-unauthorised"
    yield vector("dependency-signatures", "a dependency signed by one", few, unsigned, depending(unsigned))
    aborting = by.dependency(ABORT)
    yield vector("dependency-aborts", "a dependency that aborts", "manifest-aborted", aborting, depending(aborting))
    swapping = by.dependency(Command(Code.SWAP, 2))
    unsupported = "manifest-command-unsupported"
    yield vector("dependency-swaps", "a dependency with a swap", unsupported, swapping, depending(swapping))
    other = by.dependency(override(content=b"another"), WRITE)
    yield vector("dependency-other", "another dependency in its place", "manifest-member-mismatch", other, content)
    nameless = replace(content, common=replace(content.common, dependencies={1: None}))
    yield vector("dependency-nameless", "a dependency without a prefix", "manifest-incomplete", data, nameless)
    none = replace(content, sequences={**content.sequences, Member.INSTALL: (select(0), PROCESS)})
    yield vector("dependency-none", "a component treated as a dependency", "dependency-none", data, none)
    passed_over = replace(content, sequences={**content.sequences, Member.INSTALL: (select(1), IDENTITY)})
    unprocessed = "a dependency whose install section nobody runs"
    yield vector("dependency-unprocessed", unprocessed, "dependency-unprocessed", data, passed_over)
    limited = vector("dependency-unauthorised", "a key may not name the dependency", unauthorised, data, content)
    yield replace(limited, components={RELEASE[1]: ("slot", "note", "copy")})
    integrity = (select(1), override(image_digest=bytes(32)), Command(Code.DEPENDENCY_INTEGRITY, 15))
    broken = replace(content, sequences={**content.sequences, Member.INSTALL: integrity})
    yield vector("dependency-integrity", "another digest is asked for", "dependency-mismatch", data, broken)
    absent = replace(content, sequences={Member.INSTALL: (select(1), override(image_digest=bytes(32)), PROCESS)})
    unfetched = by.enclosed(absent.encode(), payloads={}).encode()
    yield Vector("dependency-absent", "a dependency that was not fetched", "dependency-mismatch", unfetched)
    sized_wrong = override(uri="#below", image_digest=Envelope.parse(data).digest, image_size=len(data) + 1)
    resolving = {**content.sequences, Member.DEPENDENCY_RESOLUTION: (select(1), sized_wrong, FETCH)}
    longer = replace(content, sequences=resolving)
    yield vector("dependency-size", "a dependency of another size", "dependency-mismatch", data, longer)
