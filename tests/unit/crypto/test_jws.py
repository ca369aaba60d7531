"""JWS: what is signed comes back; everything else is refused before it is read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import jws, refusals
from medvouch.crypto.jws import parse_object, sign_compact, verify_compact
from medvouch.crypto.keys import PublicKey, SoftwareSigner
from medvouch.errors import InputError, Refusal
from support.authorities import key
from support.refusing import assert_input_refused, assert_refused

SIGNER = SoftwareSigner(key("signer"))
LARGE = SoftwareSigner(ec.derive_private_key(7, ec.SECP384R1()))
STRANGER = key("stranger").public_key()
PAYLOAD = {"iat": 1, "text": "ü", "nested": {"list": [1, None, True]}}
TOKEN = sign_compact(PAYLOAD, SIGNER, typ="eat+jwt")


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(header: Any, payload: Any = PAYLOAD, signer: SoftwareSigner = SIGNER) -> str:
    text = f"{part(header)}.{part(payload)}"
    return f"{text}.{part(signer.sign(text.encode()))}"


def verified(token: str, *keys: PublicKey) -> dict[str, Any]:
    return verify_compact(token, keys or (STRANGER, SIGNER.public_key), typ="eat+jwt")


@pytest.mark.parametrize("signer", [SIGNER, LARGE])
def test_there_and_back(signer: SoftwareSigner) -> None:
    token = sign_compact(PAYLOAD, signer, typ="eat+jwt")
    assert verified(token, STRANGER, signer.public_key) == PAYLOAD
    assert all(character.isalnum() or character in "-_." for character in token)


def test_an_example_of_the_standard() -> None:
    """RFC 7515, A.3: ES256; its header has no type, which is a matter of ours."""
    token = (
        "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0"
        "cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    )
    numbers = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
    x, y = (int.from_bytes(base64.urlsafe_b64decode(text + "="), "big") for text in numbers)
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    error = assert_refused(refusals.JWS_HEADER, verified, token, public)
    assert error.detail.startswith('{"alg": "ES256"} where ES256')
    altered = token.replace("eyJpc3Mi", "eyJpc3Ni")
    assert_refused(refusals.JWS_SIGNATURE_INVALID, verified, altered, public)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "typ": "eat+jwt"},
        {"alg": "ES384", "typ": "eat+jwt"},
        {"alg": "HS256", "typ": "eat+jwt"},
        {"typ": "eat+jwt"},
        {"alg": "ES256"},
        {"alg": "ES256", "typ": "JWT"},
        {"alg": "ES256", "typ": "eat+jwt", "crit": ["b64"], "b64": False},
        {"alg": "ES256", "typ": "eat+jwt", "kid": "1"},
    ],
)
def test_a_header_says_what_it_must_and_no_more(header: dict[str, Any]) -> None:
    assert_refused(refusals.JWS_HEADER, verified, signed(header))


def test_only_trusted_keys_count() -> None:
    edwards = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
    other_curve = ec.derive_private_key(7, ec.SECP521R1()).public_key()
    for keys in ((STRANGER,), (edwards,), (other_curve,), (LARGE.public_key,)):
        assert_refused(refusals.JWS_SIGNATURE_INVALID, verify_compact, TOKEN, keys, typ="eat+jwt")
    assert_refused(refusals.JWS_SIGNATURE_INVALID, verify_compact, TOKEN, (), typ="eat+jwt")
    head, payload, _ = TOKEN.split(".")
    for signature in ("", part(b"short"), part(bytes(64)), part(bytes(65))):
        assert_refused(refusals.JWS_SIGNATURE_INVALID, verified, f"{head}.{payload}.{signature}")


@pytest.mark.parametrize(
    "token",
    ["", "a", "..", "a.b", f"{TOKEN}.x", f"{TOKEN}=", f" {TOKEN}", f"{TOKEN}\n", TOKEN.replace("e", "é", 1), "a+/.b.c"],
)
def test_what_is_no_token(token: str) -> None:
    assert_input_refused("jws-malformed", verified, token)


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="ascii"))
def test_another_character_is_refused(at: int, character: str) -> None:
    """Base64 has spare bits at the end of a part: they must be zero, so that a token has one form."""
    token = TOKEN[:at] + character + TOKEN[at + 1 :]
    if token != TOKEN:
        with pytest.raises((InputError, Refusal)):
            verified(token)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"1",
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": 1.5}',
        b'{"a": NaN}',
        b"\xff",
        b"{} {}",
        b'{"a": ' * 5000,
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_object(data: bytes) -> None:
    assert_input_refused("jws-malformed", parse_object, data)
    assert_input_refused("jws-malformed", verified, signed({"alg": "ES256", "typ": "eat+jwt"}, data))


def test_a_token_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jws, "MAX_JWS_CHARS", len(TOKEN))
    assert verified(TOKEN) == PAYLOAD
    monkeypatch.setattr(jws, "MAX_JWS_CHARS", len(TOKEN) - 1)
    assert_input_refused("jws-limit", verified, TOKEN)
