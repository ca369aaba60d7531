"""COSE signatures made and checked (RFC 9052, RFC 9053, RFC 9864): the payload is believed only after its signature."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519

from medvouch.crypto import refusals
from medvouch.crypto.keys import EdwardsPublicKey, PublicKey, Signer, coordinate_size, ecdsa_der, spki
from medvouch.errors import InputError, Refusal, RefusalKind
from medvouch.formats import cbor
from medvouch.formats.cose import ALG, CONTENT_TYPE, CRIT, Header, Sign, Sign1, SignatureBlock

_ECDSA: Mapping[int, tuple[str | None, ec.ECDSA]] = {
    -7: (None, ec.ECDSA(hashes.SHA256())),
    -35: (None, ec.ECDSA(hashes.SHA384())),
    -36: (None, ec.ECDSA(hashes.SHA512())),
    -9: ("secp256r1", ec.ECDSA(hashes.SHA256())),
    -51: ("secp384r1", ec.ECDSA(hashes.SHA384())),
}
"""ES256, ES384, ES512 on any curve (RFC 9053, 2.1), and the fully specified ESP256 and ESP384 (RFC 9864, 2.1)."""

_EDDSA = -8
"""EdDSA on either curve (RFC 9053, 2.2)."""
_ED25519 = -19
"""The fully specified Ed25519 (RFC 9864, 2.2)."""


@dataclass(frozen=True)
class VerifiedSign1:
    """A payload whose signature holds; the unprotected headers are as anyone may have left them."""

    payload: bytes
    protected: Header
    unprotected: Header


@dataclass(frozen=True)
class VerifiedSign:
    """A payload that enough of the wanted keys signed; `signers` are those that did, in the order of the wanted."""

    payload: bytes
    protected: Header
    unprotected: Header
    signers: tuple[PublicKey, ...]


@dataclass(frozen=True)
class Claim:
    """A signature that nobody has checked yet, and the bytes that it would have to be over.

    `algorithm` is None where nobody here can check it: there is none that we know, or a header that we must know.
    """

    signature: bytes
    covered: bytes
    algorithm: int | None
    kid: bytes | None

    def fits(self, key: PublicKey) -> bool:
        """Whether the key could have made it, by algorithm and length alone."""
        if self.algorithm is None:
            return False
        try:
            _check_algorithm(self.algorithm, key)
        except Refusal:
            return False
        return not isinstance(key, ec.EllipticCurvePublicKey) or len(self.signature) == 2 * coordinate_size(key.curve)

    def check(self, key: PublicKey) -> None:
        """Refusal `cose-*` where the key, which fits, did not make it."""
        assert self.algorithm is not None
        _verify(self.algorithm, key, self.signature, self.covered)


def claims(message: Sign1 | Sign, payload: bytes) -> Iterator[Claim]:
    """The signatures of a message over a payload, in their order."""
    if isinstance(message, Sign1):
        yield _claim(message, message, message.to_be_signed(payload))
        return
    for block in message.signatures:
        yield _claim(message, block, message.to_be_signed(block, payload))


def _claim(message: Sign1 | Sign, block: Sign1 | SignatureBlock, covered: bytes) -> Claim:
    try:
        _refuse_critical(message)
        _refuse_critical(block)
        return Claim(block.signature, covered, _algorithm(block, None), block.kid)
    except Refusal:
        return Claim(block.signature, covered, None, block.kid)


def work(key: PublicKey) -> int:
    """What checking one of its signatures takes, in checks on P-256 (0.1 ms): libraries are tuned for small curves."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return 1 if key.curve.name == "secp256r1" else 5
    return 1 if isinstance(key, ed25519.Ed25519PublicKey) else 5


def sign1(
    payload: bytes,
    signer: Signer,
    *,
    content_type: str | int | None = None,
    protected: Header | None = None,
    unprotected: Header | None = None,
    external_aad: bytes = b"",
    detached: bool = False,
) -> bytes:
    """A tagged COSE_Sign1 over `payload`; algorithm and content type stand in the protected header.

    `detached`: the payload is signed and not put into the message.
    """
    typed: Header = {} if content_type is None else {CONTENT_TYPE: content_type}
    header = cbor.encode({**(protected or {}), **typed, ALG: signer.alg})
    unsigned = Sign1(header, unprotected or {}, None if detached else payload, b"")
    signature = signer.sign(unsigned.to_be_signed(payload, external_aad))
    return replace(unsigned, signature=signature).encode()


def sign(
    payload: bytes,
    signers: Sequence[Signer],
    *,
    content_type: str | int | None = None,
    protected: Header | None = None,
    external_aad: bytes = b"",
    detached: bool = False,
) -> bytes:
    """A tagged COSE_Sign over `payload` by each of `signers`.

    The content type stands in the protected header of the message, each algorithm in that of its signature. `detached`:
    the payload is signed and not put into the message.
    """
    if not signers:
        raise ValueError("a message that nobody signs")
    typed: Header = {} if content_type is None else {CONTENT_TYPE: content_type}
    header = {**(protected or {}), **typed}
    unsigned = Sign(cbor.encode(header) if header else b"", {}, None if detached else payload, ())
    blocks = []
    for signer in signers:
        block = SignatureBlock(cbor.encode({ALG: signer.alg}), {}, b"")
        signature = signer.sign(unsigned.to_be_signed(block, payload, external_aad))
        blocks.append(replace(block, signature=signature))
    return replace(unsigned, signatures=tuple(blocks)).encode()


def verify1(
    data: bytes,
    key: PublicKey,
    *,
    content_type: str | int | None = None,
    external_aad: bytes = b"",
    tagged: bool = True,
    algorithm: int | None = None,
    detached: bytes | None = None,
) -> VerifiedSign1:
    """Check a COSE_Sign1 under `key`; its payload is inside, unless `detached` says what it is.

    `algorithm` is one that both sides agreed on beforehand: it stands in where the protected header names none, and
    contradicts one that names another (RFC 9052, 3.1).

    Raises InputError where it is malformed; Refusal `cose-signature-invalid`, `cose-algorithm`, `cose-critical-header`,
    `cose-payload-detached`, `cose-payload-attached`, `cose-content-type`.
    """
    message = Sign1.parse(data, tagged=tagged)
    payload = _attached(message.payload) if detached is None else _detached(message.payload, detached)
    _refuse_critical(message)
    chosen = _algorithm(message, algorithm)
    _verify(chosen, key, message.signature, message.to_be_signed(payload, external_aad))
    _check_content_type(message.protected, content_type)
    return VerifiedSign1(payload, message.protected, message.unprotected)


def verify1_by_any(data: bytes, keys: Iterable[PublicKey], *, content_type: str | int, otherwise: RefusalKind) -> bytes:
    """The payload of a COSE_Sign1 by any one of a role's keys.

    Raises InputError where it is malformed, and `otherwise` where no key signed it, with the last key's reason.
    """
    reason = "no key is trusted with this"
    for key in keys:
        try:
            return verify1(data, key, content_type=content_type).payload
        except Refusal as cause:
            reason = f"{cause.code}: {cause.detail}"
    raise Refusal(otherwise, reason)


def verify(
    data: bytes,
    keys: Sequence[PublicKey],
    *,
    threshold: int = 1,
    content_type: str | int | None = None,
    external_aad: bytes = b"",
    tagged: bool = True,
    algorithm: int | None = None,
    detached: bytes | None = None,
) -> VerifiedSign:
    """Check that `threshold` different ones of `keys` signed a COSE_Sign; its payload as in `verify1`.

    Signatures of others, or of kinds that we do not know, neither help nor harm. Raises as `verify1`, and Refusal
    `cose-too-few-signatures`.
    """
    if threshold < 1:
        raise ValueError("a threshold of no signatures checks nothing")
    message = Sign.parse(data, tagged=tagged)
    payload = _attached(message.payload) if detached is None else _detached(message.payload, detached)
    _refuse_critical(message)
    signers = tuple(_signers(message, payload, {spki(key): key for key in keys}.values(), external_aad, algorithm))
    if len(signers) < threshold:
        detail = f"{len(signers)} of {len(keys)} keys signed, {threshold} must"
        raise Refusal(refusals.COSE_TOO_FEW_SIGNATURES, detail)
    _check_content_type(message.protected, content_type)
    return VerifiedSign(payload, message.protected, message.unprotected, signers)


def _signers(
    message: Sign, payload: bytes, keys: Iterable[PublicKey], external_aad: bytes, algorithm: int | None
) -> Iterator[PublicKey]:
    for key in keys:
        for block in message.signatures:
            try:
                _refuse_critical(block)
                chosen = _algorithm(block, algorithm)
                _verify(chosen, key, block.signature, message.to_be_signed(block, payload, external_aad))
            except Refusal:
                continue
            yield key
            break


def _attached(payload: bytes | None) -> bytes:
    if payload is None:
        raise Refusal(refusals.COSE_PAYLOAD_DETACHED, "there is no payload inside")
    return payload


def _detached(inside: bytes | None, outside: bytes) -> bytes:
    if inside is not None:
        raise Refusal(refusals.COSE_PAYLOAD_ATTACHED, f"a payload of {len(inside)} bytes stands inside")
    return outside


def _algorithm(message: Sign1 | SignatureBlock, agreed: int | None) -> int:
    named = message.protected.get(ALG, agreed)
    if isinstance(named, bool) or not isinstance(named, int):
        raise Refusal(refusals.COSE_ALGORITHM, "the protected header names no algorithm that we know")
    if agreed not in (None, named):
        raise Refusal(refusals.COSE_ALGORITHM, f"algorithm {named} where {agreed} was agreed on")
    return named


def _verify(algorithm: int, key: PublicKey, signature: bytes, to_be_signed: bytes) -> None:
    _check_algorithm(algorithm, key)
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            _, scheme = _ECDSA[algorithm]
            key.verify(ecdsa_der(signature, coordinate_size(key.curve)), to_be_signed, scheme)
        else:
            assert isinstance(key, EdwardsPublicKey)
            key.verify(signature, to_be_signed)
    except (InvalidSignature, InputError) as error:
        raise Refusal(refusals.COSE_SIGNATURE_INVALID, f"under algorithm {algorithm}") from error


def _check_algorithm(algorithm: int, key: PublicKey) -> None:
    match key:
        case ec.EllipticCurvePublicKey() if algorithm in _ECDSA:
            if _ECDSA[algorithm][0] not in (None, key.curve.name):
                raise Refusal(refusals.COSE_ALGORITHM, f"algorithm {algorithm} is not for {key.curve.name}")
        case ed25519.Ed25519PublicKey() if algorithm in (_EDDSA, _ED25519):
            pass
        case ed448.Ed448PublicKey() if algorithm == _EDDSA:
            pass
        case _:
            raise Refusal(refusals.COSE_ALGORITHM, f"algorithm {algorithm} does not fit the key")


def _refuse_critical(message: Sign1 | Sign | SignatureBlock) -> None:
    """We know no header that need be declared critical: those that everybody must know need not (RFC 9052, 3.1)."""
    for bucket in (message.protected, message.unprotected):
        if CRIT in bucket:
            raise Refusal(refusals.COSE_CRITICAL_HEADER, f"critical headers {bucket[CRIT]!r}")


def _check_content_type(protected: Header, content_type: str | int | None) -> None:
    if content_type is not None and protected.get(CONTENT_TYPE) != content_type:
        detail = f"{protected.get(CONTENT_TYPE)!r} where {content_type!r} is wanted"
        raise Refusal(refusals.COSE_CONTENT_TYPE, detail)
