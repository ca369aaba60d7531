"""Our signers as TUF has them: ECDSA P-256 with SHA-256, DER signatures, keys as PEM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields

from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.signer import Key, SecretsHandler, Signature, SSlibKey
from securesystemslib.signer import Signer as TufSigner

from medvouch.crypto.keys import PublicKey, Signer, ecdsa_der
from medvouch.errors import InputError

_P256_BYTES = 32


@dataclass(frozen=True)
class RepositoryKeys:
    """Who signs what; a role whose keys are elsewhere is empty, and what it signs then stays as it is.

    `elsewhere`, by role: the public halves of keys that may sign and are on other machines.
    """

    root: Sequence[Signer] = ()
    targets: Sequence[Signer] = ()
    releases: Sequence[Signer] = ()
    director: Sequence[Signer] = ()
    snapshot: Sequence[Signer] = ()
    timestamp: Sequence[Signer] = ()
    elsewhere: Mapping[str, Sequence[PublicKey]] = field(default_factory=dict)

    def named(self) -> Iterator[tuple[str, Sequence[Signer]]]:
        """(role, its signers)."""
        for each in fields(self):
            if each.name != "elsewhere":
                yield each.name, getattr(self, each.name)

    def public(self, role: str) -> dict[str, Key]:
        """All that may sign for a role, by key id. InputError `key-malformed` where one is not on P-256."""
        here = [signer.public_key for signer in getattr(self, role)]
        return {key.keyid: key for key in map(tuf_key, (*here, *self.elsewhere.get(role, ())))}


def tuf_key(key: PublicKey) -> Key:
    """As TUF names it; InputError `key-malformed` where it is not on P-256."""
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise InputError("key-malformed", "the repository is signed with ECDSA P-256 keys", remedy="name such a key")
    return SSlibKey.from_crypto(key)


class SigningKey(TufSigner):
    """One of our signers as tuf calls it."""

    def __init__(self, signer: Signer) -> None:
        self._signer = signer
        self._key = tuf_key(signer.public_key)

    @property
    def public_key(self) -> Key:
        """The public half."""
        return self._key

    def sign(self, payload: bytes) -> Signature:
        """A DER signature in hex."""
        return Signature(self._key.keyid, ecdsa_der(self._signer.sign(payload), _P256_BYTES).hex())

    @classmethod
    def from_priv_key_uri(
        cls, priv_key_uri: str, public_key: Key, secrets_handler: SecretsHandler | None = None
    ) -> TufSigner:
        """Keys are not found by URI here."""
        raise NotImplementedError
