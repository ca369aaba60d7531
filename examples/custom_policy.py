"""A policy of one's own, as data: what a hospital wants beyond a signed release, and what a device says to it."""

from medvouch.attestation.appraisal import Expectation
from medvouch.attestation.explanation import explain
from medvouch.attestation.policy import parse_policy

WARDS = """
id = "hospital:wards:1"
include = ["release"]                 # Secure Boot on, and the events of a signed release: nothing can relax that

[reference]
required = true
floor = {floor}                       # releases below this security epoch are known to be vulnerable

[ima]
exclude = ["/tmp/", "/run/"]
required = true
allow = [{files}]

[freshness]
nonce = true
"""


def judge(evidence, nonce, device, anchors, now, *, floor, files):
    """Why a device is trusted on our wards, or is not: one line for each PCR that is not as it should be."""
    allowed = ", ".join(f'"{digest.hex()}"' for digest in files)
    policy = parse_policy(WARDS.format(floor=floor, files=allowed))
    why = explain(evidence, Expectation("my-appraiser", device=device, nonce=nonce), anchors, policy, now)
    wrong = [f"{row.bank}:{row.pcr} {row.event}: {row.action}" for row in why.pcrs if row.code]
    where = f" ({why.place})" if why.place else ""
    return ["trusted"] if why.affirming else [f"{why.code}{where}: {why.action}", *wrong]
