"""Release engineering of the simulated maker: builds, signs and publishes releases, and directs gateways to them.

All of it is `medvouch.release` with test keys. Metadata, envelopes and images lie in one directory that a small server
serves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from medvouch.adapters.files import write_durably
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.crypto.keys import Signer, SoftwareSigner
from medvouch.formats.data_format import DataFormat
from medvouch.formats.directive import Directive
from medvouch.formats.enrolment import ueid
from medvouch.release.manifests import build_manifest, build_parts_manifest, integrated, sign_envelope
from medvouch.release.repository import AuthoredRepository, Periods
from medvouch.release.tuf_signing import RepositoryKeys
from medvouch.update.blocks import BLOCKS, index_of
from medvouch.update.data_formats import DATA
from medvouch.update.payload import Payload
from medvouch.update.processor import REFERENCE, SLOT, DeviceClass
from medvouch_sim.fixtures import SECURITY_EPOCHS, private_key
from medvouch_sim.images import build_image
from medvouch_sim.repository_server import RepositoryServer
from medvouch_sim.vendor import DEVICE_CLASS, VENDOR_DOMAIN

SEQUENCES = {"1.0.0": 1, "1.1.0": 2}
"""Of the fixtures' releases."""
ENVELOPE = "release.suit"
DIRECTIVE_LIFE_S = 30 * 86_400
BIN_BITS = 2
_RELEASE_SIGNERS = ("release", "release-2")


def signer(role: str) -> SoftwareSigner:
    """With the test key of a role."""
    return SoftwareSigner(private_key(role))


def repository_keys() -> RepositoryKeys:
    """The test keys of all TUF roles."""
    return RepositoryKeys(
        root=[signer(f"tuf-root-{number}") for number in (1, 2, 3)],
        targets=[signer("tuf-targets")],
        releases=[signer(f"tuf-releases-{number}") for number in (1, 2, 3)],
        director=[signer("director")],
        snapshot=[signer("tuf-snapshot")],
        timestamp=[signer("tuf-timestamp")],
    )


_CLASS = DeviceClass.named(VENDOR_DOMAIN, DEVICE_CLASS)


@dataclass(frozen=True)
class Release:
    """What a release says of itself; `image` is what its payload's URL serves."""

    version: str
    sequence: int
    security_epoch: int
    image: bytes
    reference: bytes
    device: DeviceClass = _CLASS
    digest: bytes = b""
    """The payload's SHA-256 where it is not that of `image`."""
    size: int = -1
    """The payload's size likewise."""
    index: bytes = b""
    """The block index that comes with it, encoded; it is served beside the image."""
    data: DataFormat | None = None
    """In which format it keeps the product's data; None where it says nothing of that."""

    @property
    def contents(self) -> dict[str, bytes]:
        """What travels in its envelope, by component."""
        return {REFERENCE: self.reference} | ({} if self.data is None else {DATA: self.data.encode()})

    def indexed(self) -> Release:
        """The same release with a block index."""
        return replace(self, index=index_of([self.image], len(self.image)).encode())

    @classmethod
    def of_fixtures(cls, version: str, reference: bytes) -> Release:
        """A release that the fixtures have, with its signed reference values."""
        return cls(version, SEQUENCES[version], SECURITY_EPOCHS[version], build_image(version), reference)


@dataclass(frozen=True)
class PartsRelease:
    """A release of `parts` of which there is one (payloads by component), in this order."""

    version: str
    sequence: int
    security_epoch: int
    parts: Mapping[str, bytes]
    reference: bytes
    device: DeviceClass = _CLASS


class Publisher:
    """A repository in `directory`, served from now on until `close`. `now` in seconds since 1970."""

    def __init__(self, directory: Path, now: int) -> None:
        self.directory = directory
        self.now = now
        self.server = RepositoryServer(directory)
        self.repository = AuthoredRepository.create(
            FileMetadataStore(directory), repository_keys(), now, bin_bits=BIN_BITS
        )
        self.root_path = directory / "root.json"
        write_durably(self.root_path, self.repository.root)

    @property
    def url(self) -> str:
        """The base of the repository."""
        return f"{self.server.url}/"

    @property
    def payloads(self) -> str:
        """What every payload's address begins with."""
        return f"{self.server.url}/images/"

    def close(self) -> None:
        """Stop serving."""
        self.server.close()

    def envelope(
        self,
        release: Release,
        *,
        uri: str = "",
        release_signers: Sequence[Signer] | None = None,
        quality_signers: Sequence[Signer] | None = None,
        contents: Mapping[str, bytes] | None = None,
    ) -> bytes:
        """The signed SUIT envelope of a release; by default all that must sign do, and reference values come along."""
        digest = release.digest or hashlib.sha256(release.image).digest()
        size = release.size if release.size >= 0 else len(release.image)
        carried = release.contents if contents is None else contents
        manifest = build_manifest(
            sequence=release.sequence,
            version=release.version,
            security_epoch=release.security_epoch,
            device=release.device,
            image=Payload(SLOT, uri or f"{self.payloads}{release.version}.img", digest, size),
            contents=carried,
            others=self._others(release),
        )
        makers = [signer(role) for role in _RELEASE_SIGNERS] if release_signers is None else release_signers
        quality = [signer("quality")] if quality_signers is None else quality_signers
        return sign_envelope(manifest, makers, quality, integrated(carried))

    def _others(self, release: Release) -> list[Payload]:
        if not release.index:
            return []
        uri = f"{self.payloads}{release.version}.img.blocks"
        return [Payload(BLOCKS, uri, hashlib.sha256(release.index).digest(), len(release.index))]

    def parts_envelope(self, release: PartsRelease, *, release_signers: Sequence[Signer] | None = None) -> bytes:
        """The signed SUIT envelope of such a release; by default all that must sign do."""
        manifest = build_parts_manifest(
            sequence=release.sequence,
            version=release.version,
            security_epoch=release.security_epoch,
            device=release.device,
            parts=[
                Payload(part, f"{self.payloads}{_file(release, part)}", hashlib.sha256(data).digest(), len(data))
                for part, data in release.parts.items()
            ],
            reference=release.reference,
        )
        makers = [signer(role) for role in _RELEASE_SIGNERS] if release_signers is None else release_signers
        return sign_envelope(manifest, makers, [signer("quality")], integrated({REFERENCE: release.reference}))

    def publish_parts(self, release: PartsRelease, envelope: bytes | None = None) -> None:
        """Serve the payloads of a release, and list its envelope."""
        for part, data in release.parts.items():
            write_durably(self.directory / "images" / _file(release, part), data)
        self.repository.add_release(release.version, {ENVELOPE: envelope or self.parts_envelope(release)})
        self.repository.publish(self.now)

    def publish(self, release: Release, envelope: bytes | None = None) -> None:
        """Serve a release's image, and list its envelope."""
        write_durably(self.directory / "images" / f"{release.version}.img", release.image)
        if release.index:
            write_durably(self.directory / "images" / f"{release.version}.img.blocks", release.index)
        self.repository.add_release(release.version, {ENVELOPE: envelope or self.envelope(release)})
        self.repository.publish(self.now)

    def direct(
        self, ek_hash: bytes, release: Release | PartsRelease, *, alter: Callable[[Directive], Directive] | None = None
    ) -> None:
        """Send the gateway with this EK to a published release. `alter` changes the directive before it is listed."""
        name = f"releases/{release.version}/{ENVELOPE}"
        target = self.repository.release(name)
        assert target is not None, "publish it first"
        directive = Directive(
            ueid=ueid(ek_hash),
            release=name,
            digest=bytes.fromhex(target.hashes["sha256"]),
            length=target.length,
            sequence=release.sequence,
            expires=self.now + DIRECTIVE_LIFE_S,
        )
        listed = alter(directive) if alter else directive
        self.repository.direct(ueid(ek_hash)[:16].hex(), listed.encode())
        self.repository.publish(self.now)

    @contextmanager
    def signing(self, periods: Periods) -> Iterator[None]:
        """What is published inside is good for other periods than usual."""
        files, keys = FileMetadataStore(self.directory), repository_keys()
        self.repository = AuthoredRepository.open(files, keys, periods=periods)
        try:
            yield
        finally:
            self.repository = AuthoredRepository.open(files, keys)

    def trust(self, document: bytes) -> None:
        """Publish a trust document."""
        self.repository.set_trust(document)
        self.repository.publish(self.now)


def _file(release: PartsRelease, part: str) -> str:
    """What a payload is called where it is served."""
    return f"{release.version}.{part.replace('/', '-')}"
