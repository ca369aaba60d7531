"""CMW, EAT, EAR and escrows: round trips, and nothing but InputError for mutated input."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from medvouch.crypto import escrow
from medvouch.errors import InputError, Refusal
from medvouch.formats.cmw import Collection, Record
from medvouch.formats.corim import Corim
from medvouch.formats.corim_reference import from_corim, to_corim
from medvouch.formats.ear import Ear, Reason, Tier, TrustVector
from medvouch.formats.eat import Eat, LedgerHead
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.trust import Role, TrustDocument

OWNER = ec.derive_private_key(9, ec.SECP256R1())

texts = st.text(min_size=1, max_size=30)
digests = st.binary(min_size=32, max_size=32)
times = st.integers(0, 2**63 - 1)
counts = st.integers(0, 2**32 - 1)
heads = st.builds(LedgerHead, times, digests, times)

records = st.builds(
    Record, st.sampled_from(["application/eat+cwt", "a/b"]) | st.integers(0, 65535), st.binary(), st.integers(0, 31)
) | st.builds(Record, st.integers(0, 65535), st.binary(), tagged=st.just(True))
labels = st.integers(-(2**63), 2**63) | texts.filter(lambda text: text != "__cmwc_t")
collections = st.recursive(
    st.builds(Collection, st.none() | texts, st.dictionaries(labels, records, min_size=1, max_size=4)),
    lambda inner: st.builds(Collection, st.none(), st.dictionaries(labels, inner | records, min_size=1, max_size=3)),
    max_leaves=4,
)
eats = st.builds(
    Eat,
    nonce=st.binary(min_size=8, max_size=64),
    audience=texts,
    issued_at=times,
    client_key_thumbprint=digests,
    ueid=st.binary(min_size=7, max_size=33),
    oem_id=st.binary(min_size=3, max_size=3) | st.binary(min_size=16, max_size=16) | counts,
    hw_model=st.binary(min_size=1, max_size=32),
    hw_version=texts,
    uptime=times,
    boot_count=counts,
    sw_name=texts,
    sw_version=texts,
    uefi_log_digest=digests,
    oem_boot=st.none() | st.booleans(),
    debug_status=st.none() | st.integers(0, 4),
    ledger_head=st.none() | heads,
    update_state=st.none() | texts,
    support_state=st.none() | texts,
    inventory_digest=st.none() | digests,
)
vectors_of_trust = st.dictionaries(
    st.sampled_from(["instance_identity", "configuration", "file_system", "sourced_data"]),
    st.integers(-128, 127),
    min_size=1,
).map(lambda claims: TrustVector(**claims))
ears = st.builds(
    Ear,
    issued_at=times,
    verifier_developer=texts,
    verifier_build=texts,
    nonce=st.binary(min_size=8, max_size=64),
    status=st.sampled_from(Tier),
    vector=vectors_of_trust,
    policy_id=texts,
    evidence_digest=digests,
    device=texts,
    boot_count=st.none() | counts,
    reasons=st.lists(st.builds(Reason, texts, st.text(max_size=9), st.text(max_size=9)), max_size=3).map(tuple),
    ledger_head=st.none() | heads,
)
roles = st.builds(
    Role, st.lists(st.binary(max_size=9), min_size=1, max_size=3, unique=True).map(tuple), st.just(1), times, texts
)
certificates = st.lists(st.binary(max_size=9), max_size=3).map(tuple)
documents = st.builds(
    TrustDocument,
    version=times,
    expires=times,
    appraiser=texts,
    roles=st.dictionaries(st.sampled_from(["release", "owner", "appraiser"]), roles),
    certificates=st.fixed_dictionaries(dict.fromkeys(["tpm-vendor", "broker-ca", "enrolment-ca"], certificates)),
    references=certificates,
)
FORMATS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Collection, collections),
    (Record, records),
    (Eat, eats),
    (Ear, ears),
    (TrustDocument, documents),
]


@pytest.mark.parametrize(("form", "values"), FORMATS, ids=lambda part: getattr(part, "__name__", ""))
def test_round_trip(form: Any, values: st.SearchStrategy[Any]) -> None:
    @given(values)
    def check(value: Any) -> None:
        assert form.parse(value.encode()) == value

    check()


@pytest.mark.parametrize(("form", "values"), FORMATS, ids=lambda part: getattr(part, "__name__", ""))
def test_mutations_raise_input_errors_only(form: Any, values: st.SearchStrategy[Any]) -> None:
    @given(values, st.data())
    def check(value: Any, data: st.DataObject) -> None:
        mutated = mutate(value.encode(), data)
        with contextlib.suppress(InputError):
            assert form.parse(mutated).encode() == mutated

    check()


events = st.builds(
    ReferenceEvent, texts, st.dictionaries(st.sampled_from(["sha256", "sha384"]), st.binary(max_size=48), min_size=1)
)
references = st.builds(
    ReferenceValues,
    model=texts,
    release=texts,
    security_epoch=counts,
    command_lines=st.lists(texts, max_size=3).map(tuple),
    pcrs=st.lists(
        st.builds(PcrReference, st.integers(0, 23), st.sampled_from(Mode), st.lists(events, max_size=4).map(tuple)),
        max_size=4,
        unique_by=lambda row: row.pcr,
    ).map(lambda rows: tuple(sorted(rows, key=lambda row: row.pcr))),
)


@given(references, st.data())
def test_reference_values_as_corim(values: ReferenceValues, data: st.DataObject) -> None:
    """The maps of a CoRIM may stand in any order, so that mutated bytes may mean the same as others."""
    encoded = to_corim(values).encode()
    assert from_corim(Corim.parse(encoded)) == values
    with contextlib.suppress(InputError):
        mutated = Corim.parse(mutate(encoded, data))
        assert Corim.parse(mutated.encode()) == mutated
        from_corim(mutated)


def mutate(data: bytes, draw: st.DataObject) -> bytes:
    mutated = bytearray(data)
    mutated[draw.draw(st.integers(0, len(mutated) - 1))] ^= draw.draw(st.integers(1, 255))
    return bytes(mutated)


def entropy(seed: int) -> Callable[[int], bytes]:
    return lambda size: seed.to_bytes(size, "big")


@given(st.binary(max_size=200), st.binary(max_size=20), st.integers(1, 2**90), st.data())
def test_escrow(secret: bytes, context: bytes, seed: int, data: st.DataObject) -> None:
    sealed = escrow.seal(secret, OWNER.public_key(), entropy(seed), context=context)
    assert escrow.open_sealed(sealed, OWNER, context=context) == secret
    with pytest.raises((InputError, Refusal)):
        escrow.open_sealed(mutate(sealed, data), OWNER, context=context)
