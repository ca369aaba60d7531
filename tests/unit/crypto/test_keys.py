"""Keys and the forms they are written in."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519

from medvouch.crypto import keys
from medvouch.errors import InputError
from medvouch.formats import cbor

P256 = ec.derive_private_key(7, ec.SECP256R1())
RSA = rsa.generate_private_key(65537, 2048).public_key()
PUBLIC: list[keys.PublicKey] = [
    P256.public_key(),
    ec.derive_private_key(7, ec.SECP384R1()).public_key(),
    ec.derive_private_key(7, ec.SECP521R1()).public_key(),
    ed25519.Ed25519PrivateKey.generate().public_key(),
    ed448.Ed448PrivateKey.generate().public_key(),
    RSA,
]


def der(key: object) -> bytes:
    return key.public_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pem(key: object, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(  # type: ignore[attr-defined, no-any-return]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


@pytest.mark.parametrize("key", PUBLIC, ids=lambda key: type(key).__name__)
def test_round_trips(key: keys.PublicKey) -> None:
    assert keys.load_spki(keys.spki(key)) == key
    members = cbor.decode(cbor.encode(keys.cose_key(key)))
    assert keys.from_cose_key(members) == key


def test_thumbprint_of_rfc_9679() -> None:
    """RFC 9679, section 6."""
    x = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
    y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
    key = keys.from_cose_key({1: 2, -1: 1, -2: x, -3: y})
    expected = "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec"
    assert keys.key_thumbprint(key).hex() == expected


@pytest.mark.parametrize(
    ("curve", "alg", "algorithm"), [(ec.SECP256R1(), -7, hashes.SHA256()), (ec.SECP384R1(), -35, hashes.SHA384())]
)
def test_software_signer(curve: ec.EllipticCurve, alg: int, algorithm: hashes.HashAlgorithm) -> None:
    signer = keys.SoftwareSigner(ec.generate_private_key(curve))
    size = keys.coordinate_size(curve)
    signature = signer.sign(b"message")
    assert (signer.alg, len(signature)) == (alg, 2 * size)
    assert isinstance(signer.public_key, ec.EllipticCurvePublicKey)
    signer.public_key.verify(keys.ecdsa_der(signature, size), b"message", ec.ECDSA(algorithm))


def test_no_signer_on_other_curves() -> None:
    with pytest.raises(InputError, match="secp521r1"):
        keys.SoftwareSigner(ec.derive_private_key(7, ec.SECP521R1()))


def test_short_r_and_s_are_left_padded() -> None:
    raw = bytes(31) + b"\x05" + bytes(30) + b"\x01\x02"
    assert keys.ecdsa_raw(keys.ecdsa_der(raw, 32), 32) == raw


@pytest.mark.parametrize("size", [0, 63, 65, 96])
def test_signatures_of_another_width_are_refused(size: int) -> None:
    with pytest.raises(InputError) as caught:
        keys.ecdsa_der(bytes(size), 32)
    assert caught.value.code == "signature-malformed"


PKCS1 = RSA.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
WEAK_RSA = base64.b64decode(
    "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDdlatRjRjogo3WojgGHFHYLugdUWAY9iR3fy4arWNA1KoS8kVw33cJibXr8bvwUAUparCwlvdb"
    "H6dvEOfou0/gCFQsHUfQrSDv+MuSUMAe8jzKE4qW+jK+xQU9a03GUnKHkkle+Q0pX/g6jXZ7r1/xAK5Do2kQ+X5xK9cipRgEKwIDAQAB"
)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0\x00",
        der(P256.public_key()) + b"\x00",
        PKCS1,
        WEAK_RSA,
        der(ec.derive_private_key(7, ec.SECP256K1()).public_key()),
        der(x25519.X25519PrivateKey.generate().public_key()),
        P256.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint),
    ],
    ids=["empty", "sequence", "trailing", "pkcs1", "weak-rsa", "koblitz", "x25519", "point"],
)
def test_no_public_keys_that_we_use(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        keys.load_spki(data)
    assert caught.value.code == "key-malformed"


def test_a_key_has_one_form() -> None:
    """A compressed point is the same key in other bytes: lists of keys would hold it twice."""
    whole = der(P256.public_key())
    compressed = P256.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint)
    data = b"\x30\x39" + whole[2:23] + b"\x03\x22\x00" + compressed
    assert serialization.load_der_public_key(data) == P256.public_key()
    with pytest.raises(InputError, match="one form"):
        keys.load_spki(data)


def test_private_pem() -> None:
    assert keys.load_private_pem(pem(P256)).private_numbers() == P256.private_numbers()


@pytest.mark.parametrize(
    "data",
    [
        b"no key",
        pem(P256, serialization.BestAvailableEncryption(b"pass phrase")),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(dsa.generate_private_key(2048)),
        b"-----BEGIN PRIVATE KEY-----\nMA4CAQAwBQYDK2VuBAIEAA==\n-----END PRIVATE KEY-----\n",
    ],
    ids=["text", "encrypted", "ed25519", "dsa", "x25519 of no bytes"],
)
def test_no_private_keys_that_we_sign_with(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        keys.load_private_pem(data)
    assert caught.value.code == "key-malformed"


EC2 = keys.cose_key(P256.public_key())


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        {},
        {1: 2},
        {1: 4, -1: b"symmetric"},
        {1: [], -1: 1},
        {**EC2, -1: 8},
        {**EC2, -1: "P-256"},
        {**EC2, -3: True},
        {**EC2, -3: bytes(32)},
        {**EC2, -2: b"\x00" + EC2[-2]},
        {**EC2, -4: b"private"},
        {**EC2, 2: b"kid"},
        {1: 1, -1: 6, -2: bytes(31)},
        {1: 1, -1: 4, -2: bytes(32)},
        {1: 3, -1: b"\x05", -2: b"\x03"},
        {**keys.cose_key(RSA), -2: b"\x00\x01\x00\x01"},
        {True: 2, -1: 1},
    ],
)
def test_no_cose_keys_that_we_use(members: object) -> None:
    with pytest.raises(InputError) as caught:
        keys.from_cose_key(members)
    assert caught.value.code == "key-malformed"


def test_no_cose_key_on_unknown_curves() -> None:
    with pytest.raises(InputError, match="secp256k1"):
        keys.cose_key(ec.derive_private_key(7, ec.SECP256K1()).public_key())
