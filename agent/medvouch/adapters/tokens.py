"""Signers whose key never leaves a token: smart cards and HSMs, spoken to over PKCS#11 and named by URI (RFC 7512).

    pkcs11:token=release;object=signer-1?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=/run/pin

The object is a pair of ECDSA keys of one label, on P-256 or P-384. The PIN comes out of a file, never out of the URI,
which ends up in histories and lists of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from pkcs11.exceptions import NoSuchKey, NoSuchToken, PinIncorrect, PinLenRange, PKCS11Error
from pkcs11.util.ec import encode_ec_public_key

from medvouch.adapters.files import read_bounded
from medvouch.crypto.keys import ES256, ES384, PublicKey, coordinate_size, ecdsa_der, load_spki
from medvouch.errors import ConfigFault, InputError

SCHEME = "pkcs11:"
MAX_URI = 1024
MAX_PIN_BYTES = 256
_PATH, _QUERY = {"token", "object"}, {"module-path", "pin-source"}
_ALGORITHMS: Mapping[str, tuple[int, str, hashes.HashAlgorithm]] = {
    "secp256r1": (ES256, "sha256", hashes.SHA256()),
    "secp384r1": (ES384, "sha384", hashes.SHA384()),
}
"""COSE algorithm and hash, by the curve."""


@dataclass(frozen=True)
class TokenUri:
    """Where a key is."""

    token: str
    object: str
    module: Path
    pin_source: Path

    @classmethod
    def parse(cls, text: str) -> TokenUri:
        """Of just these four attributes, each once. InputError `pkcs11-malformed`, `pkcs11-limit`."""
        if len(text) > MAX_URI:
            raise InputError("pkcs11-limit", f"{len(text)} characters where at most {MAX_URI} are allowed")
        path, _, query = text.removeprefix(SCHEME).partition("?")
        if not text.startswith(SCHEME):
            raise _malformed(f"it begins with {SCHEME}")
        named, asked = _attributes(path, ";", _PATH), _attributes(query, "&", _QUERY)
        pin_source = Path(asked["pin-source"].removeprefix("file:"))
        return cls(named["token"], named["object"], Path(asked["module-path"]), pin_source)


def _attributes(text: str, separator: str, wanted: set[str]) -> dict[str, str]:
    pairs = [each.partition("=") for each in text.split(separator)]
    found = {name: unquote(value) for name, _, value in pairs}
    if set(found) != wanted or len(pairs) != len(wanted) or not all(found.values()):
        raise _malformed(f"{' and '.join(sorted(wanted))} stand in it once, and nothing else")
    return found


def _malformed(what: str) -> InputError:
    remedy = "name a key like pkcs11:token=T;object=O?module-path=FILE&pin-source=FILE"
    return InputError("pkcs11-malformed", f"no URI of a key: {what}", remedy=remedy)


class TokenSigner:
    """A Signer in a token; as good as its session. `private` is a key of python-pkcs11, whose types know no `sign`."""

    def __init__(self, private: Any, public: PublicKey) -> None:
        if not isinstance(public, ec.EllipticCurvePublicKey) or public.curve.name not in _ALGORITHMS:
            raise _unusable("it is no ECDSA key on P-256 or P-384")
        self.alg, self._hash, self._checked = _ALGORITHMS[public.curve.name]
        self._private = private
        self._key = public

    @property
    def public_key(self) -> PublicKey:
        """The public half, as the token has it."""
        return self._key

    def sign(self, message: bytes) -> bytes:
        """R || s of this message. ConfigFault `key-unusable` where the token's public key does not verify it."""
        digest = hashlib.new(self._hash, message).digest()
        try:
            raw = bytes(self._private.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
            der = ecdsa_der(raw, coordinate_size(self._key.curve))
            self._key.verify(der, message, ec.ECDSA(self._checked))
        except PKCS11Error as error:
            raise _unusable(f"the token does not sign: {_words(error)}") from error
        except (InputError, InvalidSignature) as error:
            raise _unusable("the token's public key is not that of the private one") from error
        return raw


class OpenTokens(ExitStack):
    """Sessions with tokens, one with each however many of its keys sign, until it is left: PKCS#11 has one login."""

    def __init__(self) -> None:
        super().__init__()
        self._sessions: dict[tuple[Path, str], Any] = {}

    def signer(self, uri: TokenUri) -> TokenSigner:
        """One of its keys. Raises ConfigFault `key-unusable`, StorageFault where there is no PIN."""
        try:
            session = self._session(uri)
            private = session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=uri.object)
            public = session.get_key(pkcs11.ObjectClass.PUBLIC_KEY, label=uri.object)
            return TokenSigner(private, _public(public))
        except (PinIncorrect, PinLenRange) as error:
            raise _unusable("the PIN is wrong") from error
        except NoSuchToken as error:
            raise _unusable(f"there is no token {uri.token!r}") from error
        except NoSuchKey as error:
            raise _unusable(f"the token has no pair of keys {uri.object!r}") from error
        except PKCS11Error as error:
            raise _unusable(f"{uri.module}: {_words(error)}") from error

    def _session(self, uri: TokenUri) -> Any:
        at = uri.module, uri.token
        if at not in self._sessions:
            pin = read_bounded(uri.pin_source, MAX_PIN_BYTES).decode("utf-8", "replace").strip()
            token = _library(uri.module).get_token(token_label=uri.token)
            self._sessions[at] = self.enter_context(token.open(user_pin=pin))
        return self._sessions[at]


@contextmanager
def token_signer(uri: TokenUri) -> Iterator[TokenSigner]:
    """A signer while its session lasts. Raises as `OpenTokens.signer` does."""
    with OpenTokens() as tokens:
        yield tokens.signer(uri)


def _library(module: Path) -> Any:
    try:
        return pkcs11.lib(str(module))
    except (PKCS11Error, RuntimeError) as error:
        raise _unusable(f"{module}: {_words(error)}") from error


def _public(key: Any) -> PublicKey:
    if key.key_type != pkcs11.KeyType.EC:
        raise _unusable("it is no ECDSA key on P-256 or P-384")
    try:
        return load_spki(encode_ec_public_key(key))
    except InputError as error:
        raise _unusable(error.detail) from error


def _words(error: Exception) -> str:
    return f"{type(error).__name__} {error}".strip()


def _unusable(detail: str) -> ConfigFault:
    remedy = "check token, object, module and PIN of the URI, with the tool of the token's maker"
    return ConfigFault("key-unusable", detail, remedy=remedy)
