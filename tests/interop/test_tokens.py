"""Our EAT and EAR under python-cwt and PyJWT, which pin other versions of what we use, so in an environment apart.

python-cwt verifies both through its CWT API: a `CWT` of one's own whose `cose.verify_kid` is off. What stands in the
way of the ready-made `cwt.decode` is that and nothing else: its `CWT` is made with `verify_kid=True`, so that it
refuses every token without a key id (`kid should be specified`), before it looks for a key. RFC 8392 asks for none
(7.2), kid is one of the headers that may be there (RFC 9052, 3.1), and RFC 9711 leaves open how a verifier finds the
key. Ours is told before: the LDevID's public area stands beside the EAT and TPM2_Certify says whose it is; an
appraiser is a role of the trust document. So the wire stays as it is. The tag of CWT (61) is optional (RFC 8392, 6); we
leave it out, and python-cwt takes a token with it as well.
"""

from __future__ import annotations

import base64
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from medvouch.attestation.evidence import UnverifiedEvidence, evidence_digest
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.results import Occasion, contraindicate, sign_result, sign_result_jwt
from medvouch.crypto.keys import SoftwareSigner
from medvouch.errors import InputError
from medvouch.formats.cose import Sign1
from medvouch.formats.eat import Eat
from support.authorities import NOW, key
from support.environments import environment
from support.evidence import DEVICE, LDEVID, NONCE, claims_of, evidence

_CWT = """
import json, sys
import cwt
request = json.load(sys.stdin)
key = cwt.COSEKey.from_pem(request["key"], alg="ES256", kid="holder")
context = cwt.CWT.new()
context.cose.verify_kid = False
try:
    claims = {call}(bytes.fromhex(request["token"]), key)
except (cwt.CWTError, ValueError) as error:
    print(json.dumps({{"refused": f"{{type(error).__name__}}: {{error}}"}}))
else:
    print(json.dumps({{"claims": {{str(k): v.hex() if isinstance(v, bytes) else str(v) for k, v in claims.items()}}}}))
"""
CWT, READY_MADE = _CWT.format(call="context.decode"), _CWT.format(call="cwt.decode")
JWT = """
import json, sys
import jwt
request = json.load(sys.stdin)
try:
    claims = jwt.decode(request["token"], request["key"], algorithms=["ES256"], options={"verify_iat": False})
    print(json.dumps({"claims": claims, "header": jwt.get_unverified_header(request["token"])}))
except jwt.InvalidTokenError as error:
    print(json.dumps({"refused": type(error).__name__}))
"""
EVIDENCE = evidence()
APPRAISER = key("appraiser")
EAR = contraindicate(
    Occasion(DEVICE, NONCE, evidence_digest(EVIDENCE), NOW, "medvouch", "0.1", RELEASE_POLICY.id),
    InputError("event-unexpected", "another kernel", place="PCR 4"),
)


@pytest.fixture(scope="module")
def cwt() -> Path:
    """Python with python-cwt, and PyJWT beside it."""
    return environment("cwt", "cwt>=3", "pyjwt>=2.8")


def ask(python: Path, program: str, token: str, holder: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    pem = holder.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    request = json.dumps({"token": token, "key": pem})
    ran = subprocess.run([python, "-c", program], input=request, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    answer: dict[str, Any] = json.loads(ran.stdout)
    return answer


def test_python_cwt_verifies_our_eat(cwt: Path) -> None:
    parsed = UnverifiedEvidence.parse(EVIDENCE)
    claims = ask(cwt, CWT, parsed.eat.hex(), LDEVID)["claims"]
    ours: Eat = claims_of(parsed.uefi)
    assert claims["10"] == NONCE.hex()
    assert claims["3"] == ours.audience
    assert claims["256"] == ours.ueid.hex()
    assert claims["-75001"] == ours.uefi_log_digest.hex()
    assert ask(cwt, CWT, parsed.eat.hex(), key("stranger"))["refused"].startswith("VerifyError")


def test_python_cwt_verifies_our_ear(cwt: Path) -> None:
    token = sign_result(EAR, SoftwareSigner(APPRAISER))
    claims = ask(cwt, CWT, token.hex(), APPRAISER)["claims"]
    assert claims["6"] == str(NOW)
    assert claims["10"] == NONCE.hex()
    assert "event-unexpected" in claims["266"]
    assert ask(cwt, CWT, token[:-1].hex() + "00", APPRAISER)["refused"].startswith("VerifyError")


def test_python_cwt_takes_them_with_the_tag_of_cwt(cwt: Path) -> None:
    token = sign_result(EAR, SoftwareSigner(APPRAISER))
    tagged = bytes.fromhex("d83d") + token
    assert ask(cwt, CWT, tagged.hex(), APPRAISER) == ask(cwt, CWT, token.hex(), APPRAISER)


def test_what_stands_in_the_way_of_the_ready_made_decode(cwt: Path) -> None:
    """It asks for a key id, and for nothing else that our tokens lack: with one, in no signature, it verifies."""
    signer = SoftwareSigner(APPRAISER)
    token = sign_result(EAR, signer)
    assert ask(cwt, READY_MADE, token.hex(), APPRAISER)["refused"] == "ValueError: kid should be specified."
    signed = Sign1.parse(token)
    named = replace(signed, unprotected={4: b"holder"})
    refused = ask(cwt, READY_MADE, named.encode().hex(), APPRAISER)
    assert refused == ask(cwt, CWT, token.hex(), APPRAISER)


def test_pyjwt_verifies_our_ear(cwt: Path) -> None:
    token = sign_result_jwt(EAR, SoftwareSigner(APPRAISER))
    answer = ask(cwt, JWT, token, APPRAISER)
    assert answer["claims"] == EAR.to_json()
    assert answer["header"] == {"alg": "ES256", "typ": "eat+jwt"}
    assert "refused" in ask(cwt, JWT, token, key("stranger"))
    head, _, signature = token.split(".")
    altered = base64.urlsafe_b64encode(b"{}").rstrip(b"=").decode()
    assert "refused" in ask(cwt, JWT, f"{head}.{altered}.{signature}", APPRAISER)
