"""The catalogue of attacks: hostile input as files, and the code that a verifier must refuse each with.

`write` puts them into a folder, `judge` runs our verifier over what is in one and knows nothing else. The format is
told in `README.md` there, for verifiers that are not ours.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from medvouch.attestation.appraisal import Anchors, BootClock, Expectation, appraise
from medvouch.attestation.evidence import QuoteRecord, UnverifiedEvidence
from medvouch.attestation.policy import RELEASE_POLICY
from medvouch.attestation.quotes import verify_quote
from medvouch.attestation.reference import verify_references
from medvouch.attestation.results import verify_result
from medvouch.crypto import cose
from medvouch.crypto.certificates import TLS_CLIENT
from medvouch.crypto.keys import load_spki
from medvouch.crypto.x509 import verify_chain
from medvouch.errors import MedvouchError
from medvouch.formats import cbor, der, eventlog, ima, systemd, tpm_public, uefi
from medvouch.formats import cose as cose_format
from medvouch.formats import tpm as tpm_format
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.cmw import Collection
from medvouch.formats.cose import Sign1
from support.catalogue_attack import Attack
from support.catalogue_enrolment import enrolment_attacks, judge_enrolment, judge_proof
from support.catalogue_evidence import evidence_attacks
from support.catalogue_others import other_attacks

README = """\
# Attacks on verifiers of TPM attestation

`index.json` lists them; each is a folder with `attack.json`: `kind` of input, `code` that it is refused with, `what`
it is, `record` of where the public has seen it, `given` what a verifier is told beforehand, and `files` beside it. All
keys are made for this catalogue. Certificates and public keys are DER, times seconds since 1970, bytes in JSON hex.

| kind | files | a verifier must refuse |
|---|---|---|
| `evidence` | `evidence.cbor`, `root.der`, `release.der`, `reference.cose` | it (RFC 9999) as an answer to `given` |
| `quote` | `public.der`, `attest.bin`, `signature.bin`, `pcrs.json` | the quote for `given.nonce` |
| `chain` | `leaf.der`, `issuer-*.der`, `root.der`, `list-*.der` | it at `given.at` for `given.profile` |
| `message` | `message.cose`, `public.der` | the COSE_Sign1, content type `given.content_type` |
| `result` | `result.cwt`, `appraiser.der` | the attestation result as one on `given` |
| `structure` | `input.bin` | it as `given.format`, in bounded memory and time |
| `enrolment` | `request.cose`, `vendor.der`, `maker.der`, `manifest.cose`, `manifest-key.der` | it at `given.at` |
| `proof` | those, `challenge.cose`, `proof.cose`, `floor.der` | the proof, at `given.answered_at` |

A proof answers the challenge of an authority that drew `given.nonce` and sealed `given.secret` in it, and that took the
request before. Where a structure has `given.times`, the last `given.unit` bytes of its file stand that often.

Evidence that can be read is there in parts as well, for verifiers of quotes and logs alone: `attest.bin` (TPMS_ATTEST),
`signature.bin` (TPMT_SIGNATURE), `lak.der`, `pcrs.json`, `uefi.bin` (TCG2 event log).

The codes are ours and are told in docs/reference/refusals.md; that of a `structure` is the format and one of truncated,
trailing, limit and malformed. Three folders are honest, and refused by nobody:
their code is empty.
"""


def write(folder: Path) -> list[Attack]:
    """Write the catalogue anew; what stands in `folder` is replaced."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    written = [*evidence_attacks(), *other_attacks(), *enrolment_attacks()]
    for attack in written:
        place = folder / attack.id
        place.mkdir()
        for name, data in attack.files.items():
            (place / name).write_bytes(data)
        document = {name: getattr(attack, name) for name in ("id", "kind", "code", "what", "record", "given")}
        _dump(place / "attack.json", {**document, "files": sorted(attack.files)})
    index = [{name: getattr(attack, name) for name in ("id", "kind", "code", "what", "record")} for attack in written]
    _dump(folder / "index.json", index)
    (folder / "README.md").write_text(README)
    return written


def _dump(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


# --- judging ---------------------------------------------------------------------------------------------------------

PARSERS: Mapping[str, Callable[[bytes], object]] = {
    "cbor": cbor.decode,
    "cmw": Collection.parse,
    "cose-sign1": Sign1.parse,
    "cose-sign": cose_format.Sign.parse,
    "der": der.sort_sets,
    "eventlog": eventlog.parse,
    "ima": ima.parse_binary,
    "quote-record": QuoteRecord.parse,
    "signature-lists": uefi.parse_signature_lists,
    "systemd": systemd.parse,
    "tpms-attest": tpm_format.Attest.parse,
    "tpmt-public": tpm_public.Public.parse,
    "tpmt-signature": tpm_format.Signature.parse,
    "uefi-variable": uefi.Variable.parse,
}


def judge_evidence(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    references = verify_references([files["reference.cose"]], [load_spki(files["release.der"])])
    expected = Expectation(
        appraiser=given["appraiser"],
        device=given["device"],
        nonce=bytes.fromhex(given["nonce"]),
        attestation_key=load_spki(bytes.fromhex(given["enrolled_key"])),
        client_key_thumbprint=bytes.fromhex(given["client_key_thumbprint"]),
        last_clock=BootClock(*given["last_clock"]),
        floor=given["floor"],
    )
    parsed = UnverifiedEvidence.parse(files["evidence.cbor"])
    appraise(parsed, expected, Anchors([files["root.der"]], references), RELEASE_POLICY, given["at"])


def judge_quote(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    named = json.loads(files["pcrs.json"])
    values = {
        bank: {int(pcr): bytes.fromhex(value) for pcr, value in named[bank.label].items()}
        for bank in HashAlg
        if bank.label in named
    }
    nonce = bytes.fromhex(given["nonce"])
    verify_quote(load_spki(files["public.der"]), files["attest.bin"], files["signature.bin"], values, nonce)


def judge_chain(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    issuers = [data for name, data in files.items() if name.startswith("issuer-")]
    lists = [data for name, data in files.items() if name.startswith("list-")]
    verify_chain(files["leaf.der"], issuers, [files["root.der"]], given["at"], profile=TLS_CLIENT, revocations=lists)


def judge_message(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    cose.verify1(files["message.cose"], load_spki(files["public.der"]), content_type=given["content_type"])


def judge_result(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    verify_result(
        files["result.cwt"],
        [load_spki(files["appraiser.der"])],
        device=given["device"],
        nonce=bytes.fromhex(given["nonce"]),
        evidence_digest=bytes.fromhex(given["evidence_sha256"]),
    )


def judge_structure(files: Mapping[str, bytes], given: Mapping[str, Any]) -> None:
    data, unit = files["input.bin"], given.get("unit", 0)
    PARSERS[given["format"]](data + data[len(data) - unit :] * (given.get("times", 1) - 1))


JUDGES = {
    "evidence": judge_evidence,
    "quote": judge_quote,
    "chain": judge_chain,
    "message": judge_message,
    "result": judge_result,
    "structure": judge_structure,
    "enrolment": judge_enrolment,
    "proof": judge_proof,
}


def judge(folder: Path) -> str:
    """The code that our verifier refuses this attack with, from its files alone; empty where it does not."""
    document = json.loads((folder / "attack.json").read_bytes())
    files = {name: (folder / name).read_bytes() for name in document["files"]}
    try:
        JUDGES[document["kind"]](files, document["given"])
    except MedvouchError as error:
        return error.code
    return ""
