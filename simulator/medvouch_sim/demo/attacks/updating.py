"""Attacks on updates: manifests that too few signed, for others, or old; payloads that are not the signed ones.

Whoever does this got as far as to have it listed in the repository, for this very gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from medvouch.crypto.cose import sign1
from medvouch.formats.suit import Envelope
from medvouch.update.processor import DeviceClass
from medvouch_sim.demo.attacks.base import Attack, Plan, Provoke
from medvouch_sim.demo.stage import Stage
from medvouch_sim.gateway import Gateway
from medvouch_sim.publisher import Publisher, Release, signer
from medvouch_sim.repository_server import contents
from medvouch_sim.vendor import VENDOR_DOMAIN

Author = Callable[[Publisher, Release], bytes]
"""Makes the envelope of a release."""


def directed(alter: Callable[[Release], Release], author: Author | None = None) -> Plan:
    """A plan in which the gateway is directed to a new release that is otherwise than it should be."""

    async def plan(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
        release = alter(stage.another())
        stage.publish(gateway, release, author(stage.publisher, release) if author else None)
        yield lambda: stage.look(gateway)
        stage.publish(gateway, stage.release("1.1.0"))

    return plan


def signed(author: Author) -> Plan:
    """A plan in which only the envelope is otherwise."""
    return directed(lambda release: release, author)


def served(body: Callable[[bytes], bytes]) -> Plan:
    """A plan in which the image is as it should be, and what the server sends is not."""

    async def plan(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
        release = stage.another()
        stage.publish(gateway, release)
        server = stage.publisher.server
        server.misbehave(f"images/{release.version}.img", contents(body(release.image)))
        yield lambda: stage.look(gateway)
        server.behave()
        stage.publish(gateway, stage.release("1.1.0"))

    return plan


def flipped(publisher: Publisher, release: Release) -> bytes:
    """One bit of the manifest is another, the signatures are as they were."""
    envelope = Envelope.parse(publisher.envelope(release))
    manifest = bytearray(envelope.manifest)
    manifest[len(manifest) // 2] ^= 1
    return replace(envelope, manifest=bytes(manifest)).encode()


def signed_twice(publisher: Publisher, release: Release) -> bytes:
    """One release engineer signs for two."""
    envelope = Envelope.parse(publisher.envelope(release, release_signers=[signer("release")]))
    again = sign1(envelope.signed, signer("release"), detached=True)
    return replace(envelope, signatures=(*envelope.signatures, again)).encode()


async def below_floor(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """A release of a security epoch that this gateway has left behind."""
    stage.publish(gateway, replace(stage.another(), security_epoch=stage.site.floor))
    yield lambda: stage.look(gateway)
    stage.publish(gateway, stage.release("1.1.0"))


async def downgrade(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The director sends the gateway back to the release before."""
    stage.publish(gateway, stage.release("1.0.0"))
    yield lambda: stage.look(gateway)
    stage.publish(gateway, stage.release("1.1.0"))


async def elsewhere(stage: Stage, gateway: Gateway) -> AsyncIterator[Provoke]:
    """The signed manifest fetches the image from a server that the device's configuration does not allow."""
    release = stage.another()
    uri = f"http://updates.example/{release.version}.img"
    stage.publish(gateway, release, stage.publisher.envelope(release, uri=uri))
    yield lambda: stage.look(gateway)
    stage.publish(gateway, stage.release("1.1.0"))


_OTHER_CLASS = DeviceClass.named(VENDOR_DOMAIN, "infusion-pump")

UPDATE_ATTACKS: Sequence[Attack] = (
    Attack("one flipped bit in the manifest", "manifest-digest-mismatch", signed(flipped)),
    Attack(
        "too few release signatures",
        "manifest-signatures-too-few",
        signed(lambda publisher, release: publisher.envelope(release, release_signers=[signer("release")])),
    ),
    Attack("the same key signs twice", "manifest-key-repeated", signed(signed_twice)),
    Attack(
        "missing quality signature",
        "manifest-quality-missing",
        signed(lambda publisher, release: publisher.envelope(release, quality_signers=[])),
    ),
    Attack(
        "release for another device class",
        "manifest-other-class",
        directed(lambda release: replace(release, device=_OTHER_CLASS)),
    ),
    Attack("sequence lower than installed", "sequence-not-higher", downgrade),
    Attack("security epoch below the floor", "epoch-below-floor", below_floor),
    Attack("payload from a URL outside the allow-list", "url-not-allowed", elsewhere),
)
PAYLOAD_ATTACKS: Sequence[Attack] = (
    Attack("payload not matching its digest", "payload-mismatch", served(lambda image: image[:-1] + b"\xff")),
    Attack("payload longer than signed", "payload-too-long", served(lambda image: image + b"more")),
)
