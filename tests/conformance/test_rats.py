"""CMW, EAT and EAR against the working groups' examples."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from medvouch.errors import InputError
from medvouch.formats import cbor
from medvouch.formats.cmw import Collection, Indicator, Record
from medvouch.formats.corim import Comid, Corim, Version
from medvouch.formats.cose import Sign1
from medvouch.formats.ear import Ear, Tier, TrustVector
from medvouch.formats.eat import Eat
from support.diagnostic import read_diagnostic

CMW = Path("rats/ietf-rats-msg-wrap/cddl")
CORIM = Path("rats/ietf-rats-corim/cddl/examples")
EAR = Path("rats/ietf-rats-ear/cddl/examples")
EAT = Path("rats/ietf-rats-eat/cddl")


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("cmw-example-1", Record(64999, bytes.fromhex("2347da55"))),
        ("cmw-example-2", Record("application/vnd.example.rats-conceptual-msg", bytes.fromhex("2347da55"))),
        (
            "cmw-example-3",
            Record(
                "application/rim+cose",
                bytes.fromhex("d28440a044d901f5a040"),
                Indicator.REFERENCE_VALUES | Indicator.ENDORSEMENTS,
            ),
        ),
        ("cmw-example-tag-1", Record(64999, bytes.fromhex("2347da55"), tagged=True)),
        ("cmw-example-tag-2", Record(64998, cbor.encode({10: bytes.fromhex("a7c76d8424a96fb4")}), tagged=True)),
    ],
)
def test_cmw_record(vectors: Path, name: str, record: Record) -> None:
    data = cbor.encode(read_diagnostic(vectors / CMW / f"{name}.diag"))
    assert Record.parse(data) == record
    assert record.encode() == data


@pytest.mark.parametrize("number", [1, 2])
def test_cmw_collection(vectors: Path, number: int) -> None:
    data = cbor.encode(read_diagnostic(vectors / CMW / f"collection-example-{number}.diag"))
    collection = Collection.parse(data)
    assert collection.type == "tag:example.com,2024:composite-attester"
    assert collection.records[0] == Record(64999, bytes.fromhex("2347da55"), Indicator.EVIDENCE)
    assert collection.records[1] == Record(64999, bytes.fromhex("2347da55"), tagged=True)
    assert collection.encode() == data


OURS = Eat(
    nonce=bytes(8),
    audience="appraiser",
    issued_at=0,
    client_key_thumbprint=bytes(32),
    ueid=bytes(33),
    oem_id=0,
    hw_model=b"model",
    hw_version="1",
    uptime=0,
    boot_count=0,
    sw_name="name",
    sw_version="1",
    uefi_log_digest=bytes(32),
)


@pytest.mark.parametrize("name", ["minimal", "simple", "valid_hw_block", "valid_iot", "valid_submods", "valid_tee"])
def test_eat_claims_have_the_forms_of_rfc_9711(vectors: Path, name: str) -> None:
    """The examples are of no profile, so alone they are refused; their claims fit into ours, one by one.

    Left out are the claims and the version schemes (CoSWID's numbers) that the profile has no use for.
    """
    example: dict[Any, Any] = read_diagnostic(vectors / EAT / "Example-Payloads" / f"{name}.diag")
    with pytest.raises(InputError, match="eat-malformed"):
        Eat.parse(cbor.encode(example))
    claims = {label: value for label, value in example.items() if label not in (1, 266, 272, 273)}
    claims |= {label: claims[label][:1] for label in (260, 271) if label in claims}
    parsed = Eat.parse(cbor.encode(cbor.decode(OURS.encode()) | claims))
    assert {label: cbor.decode(parsed.encode())[label] for label in claims} == claims


def test_eat_token_holds_its_payload(vectors: Path) -> None:
    """A CWT tag (61) around a COSE_Sign1; our evidence carries the COSE_Sign1 alone, as its media type says."""
    token = read_diagnostic(vectors / EAT / "Example-Tokens" / "valid_cwt.diag")
    with pytest.raises(InputError, match="not tagged 18"):
        Sign1.parse(cbor.encode(token))
    payload = Sign1.parse(cbor.encode(token.value)).payload
    assert payload is not None
    example = read_diagnostic(vectors / EAT / "Example-Payloads" / "valid_hw_block.diag")
    assert cbor.decode(payload, deterministic=False).keys() == example.keys()


def test_ear_example_with_what_we_require(vectors: Path) -> None:
    example = read_diagnostic(vectors / EAR / "ear-cbor-1.diag")
    with pytest.raises(InputError, match="ear-malformed"):
        Ear.parse(cbor.encode(example))
    del example[1002]
    example[10] = bytes(8)
    example[266]["PSA"][-75010] = bytes(32)
    data = cbor.encode(example)
    ear = Ear.parse(data)
    assert ear.encode() == data
    assert ear == Ear(
        issued_at=1666529184,
        verifier_developer="https://veraison-project.org",
        verifier_build="vts 0.0.1",
        nonce=bytes(8),
        status=Tier.CONTRAINDICATED,
        vector=TrustVector(instance_identity=2, executables=96, hardware=2),
        policy_id="https://veraison.example/policy/1/60a0068d",
        evidence_digest=bytes(32),
        device="PSA",
    )


def test_ear_json_has_the_draft_s_names(vectors: Path) -> None:
    example = read_diagnostic(vectors / EAR / "ear-json-1.diag")
    ear = Ear(
        issued_at=example["iat"],
        verifier_developer=example["ear_verifier_id"]["developer"],
        verifier_build=example["ear_verifier_id"]["build"],
        nonce=bytes(8),
        status=Tier.CONTRAINDICATED,
        vector=TrustVector(instance_identity=2, executables=96, hardware=2),
        policy_id=example["submods"]["PSA"]["ear_appraisal_policy_ids"][0],
        evidence_digest=bytes(32),
        device="PSA",
    )
    twin = ear.to_json()
    appraisal = twin["submods"]["PSA"]
    del example["ear_raw_evidence"], twin["eat_nonce"], appraisal["medvouch_evidence_digest"]
    assert twin == example
    assert dataclasses.replace(ear, status=Tier.NONE).to_json()["submods"]["PSA"]["ear_status"] == "none"


@pytest.mark.parametrize("name", ["corim-1"])
def test_corim(vectors: Path, name: str) -> None:
    data = cbor.encode(read_diagnostic(vectors / CORIM / f"{name}.diag"))
    parsed = Corim.parse(data)
    assert parsed.encode() == data
    ((triple,),) = (tag.triples for tag in parsed.tags)
    assert (triple.kind.vendor, triple.kind.model, triple.kind.layer) == ("ACME Inc.", "ACME RoadRunner", 1)
    (measurement,) = triple.measurements
    assert measurement.values.version == Version("1.0.0", 16384)
    assert set(measurement.values.digests or {}) == {"sha256"}


@pytest.mark.parametrize("name", ["comid-1"])
def test_comid(vectors: Path, name: str) -> None:
    data = cbor.encode(read_diagnostic(vectors / CORIM / f"{name}.diag"))
    assert Comid.parse(data).encode() == data


@pytest.mark.parametrize(
    "name", ["comid-2", "comid-2b", "comid-cend", "comid-flags", "comid-raw-value", "comid-integrity-registers"]
)
def test_a_comid_with_what_we_do_not_read_is_refused(vectors: Path, name: str) -> None:
    with pytest.raises(InputError, match="corim-malformed"):
        Comid.parse(cbor.encode(read_diagnostic(vectors / CORIM / f"{name}.diag")))
