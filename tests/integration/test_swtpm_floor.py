"""The floor's counter in a real (software) TPM, which itself refuses every rise that is not approved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tpm2_pytss import ESYS_TR, TPM2B_PUBLIC, TPMT_PUBLIC, TPMT_SIGNATURE, TSS2_Exception
from tpm2_pytss.constants import TPM2_SE

from medvouch.adapters.tss import TssTpm
from medvouch.adapters.tss_stack import unmarshal
from medvouch.attestation.provisioning import FLOOR_COUNTER, nv_layout
from medvouch.crypto.floor import CC_NV_INCREMENT, approve, epoch
from medvouch.crypto.keys import SoftwareSigner
from medvouch.crypto.tpm import nv_name, software_public
from medvouch.errors import TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.floor import FloorApproval
from medvouch.formats.tpm import Signature, SignatureAlg, sized
from medvouch.formats.tpm_public import NvAttribute
from medvouch_sim.swtpm import SwTpm, command
from support.authorities import key
from support.swtpms import powered

UEID, ANOTHER = b"\x01" + b"u" * 32, b"\x01" + b"v" * 32
AUTHORITY, STRANGER = (SoftwareSigner(key(label)) for label in ("floor", "stranger"))
INDEX = nv_layout(AUTHORITY.public_key, UEID)["floor"]
NAME = nv_name(replace(INDEX, attributes=INDEX.attributes | NvAttribute.WRITTEN).encode())
AUTH = b"a" * 32
POLICY, AUTH_UNAVAILABLE, NV_AUTHORIZATION, UNINITIALIZED = 0x126, 0x12F, 0x149, 0x14A
SIGNATURE, POLICY_FAIL = 0x2DB, 0x99D
"""TPM_RC of Part 2, 6.6.3: the last two name the parameter and the session at fault."""


@dataclass(frozen=True)
class Floor:
    """The counter of a device, defined and never written."""

    chip: SwTpm
    tpm: TssTpm

    def rise(self, approval: FloorApproval, authority: SoftwareSigner = AUTHORITY, *, reference: bytes = UEID) -> None:
        public = software_public(authority.public_key)
        self.tpm.nv_increment_approved(FLOOR_COUNTER, AUTH, approval, public, reference)

    def value(self) -> int:
        return int.from_bytes(self.tpm.nv_read(FLOOR_COUNTER, AUTH), "big")

    def first(self) -> int:
        """Rise for the first time; where the counter begins."""
        self.rise(approve(AUTHORITY, b"", None, UEID))
        return self.value()

    def refuses(
        self, code: int, approval: FloorApproval, authority: SoftwareSigner = AUTHORITY, reference: bytes = UEID
    ) -> None:
        """It is the TPM that does, with this response code."""
        with pytest.raises(TpmFault) as fault:
            self.rise(approval, authority, reference=reference)
        assert (fault.value.code, fault.value.place) == ("tpm-refused", "TPM2_NV_Increment by approval")
        assert fault.value.detail.endswith(f"(0x{code:x})")
        assert fault.value.remedy

    @contextmanager
    def handle(self) -> Iterator[Any]:
        """The index as the stack has it, with its auth."""
        with self.tpm._nv(FLOOR_COUNTER, AUTH) as handle:
            yield handle

    def increment(self, **by: Any) -> None:
        """TPM2_NV_Increment, authorised in some other way."""
        with self.handle() as handle:
            self.tpm._esapi.nv_increment(handle, **by)


@pytest.fixture
def floor(tmp_path: Path) -> Iterator[Floor]:
    with powered(tmp_path / "tpm") as (chip, tpm):
        tpm.nv_define(INDEX.encode(), AUTH)
        yield Floor(chip, tpm)


def test_approved_step_by_step(floor: Floor) -> None:
    base = floor.first()
    for step in range(3):
        floor.rise(approve(AUTHORITY, NAME, base + step, UEID))
        assert floor.value() == base + step + 1
        assert epoch(5, base, floor.value()) == 5 + step + 1
    public = floor.tpm.nv_read_public(FLOOR_COUNTER)
    assert public is not None
    assert nv_name(public) == NAME


def test_without_an_approval(floor: Floor) -> None:
    """With the auth of the index alone, written or not."""

    def unapproved() -> None:
        with pytest.raises(TpmFault) as fault:
            floor.tpm.nv_increment(FLOOR_COUNTER, AUTH)
        assert (fault.value.code, fault.value.place) == ("tpm-refused", "TPM2_NV_Increment")
        assert fault.value.detail.endswith(f"(0x{AUTH_UNAVAILABLE:x})")

    unapproved()
    base = floor.first()
    unapproved()
    assert floor.value() == base


def test_with_the_owners_auth(floor: Floor) -> None:
    base = floor.first()
    floor.tpm.set_hierarchy_auths(b"o" * 32, b"l" * 32)
    floor.tpm._esapi.tr_set_auth(ESYS_TR.OWNER, b"o" * 32)
    with pytest.raises(TSS2_Exception) as refused:
        floor.increment(auth_handle=ESYS_TR.OWNER)
    assert refused.value.rc == NV_AUTHORIZATION
    assert floor.value() == base


def test_with_a_bare_signature_of_the_authority(floor: Floor) -> None:
    """PolicySigned: one that holds for ever, if the index took it."""
    base, esapi = floor.first(), floor.tpm._esapi
    signature = AUTHORITY.sign(bytes(4))  # no nonce, no expiration, no cpHash, no policyRef (Part 3, 23.3)
    signed = Signature(SignatureAlg.ECDSA, HashAlg.SHA256, (signature[:32], signature[32:])).encode()
    public = TPM2B_PUBLIC(publicArea=unmarshal(TPMT_PUBLIC, software_public(AUTHORITY.public_key)))
    key = esapi.load_external(public, hierarchy=ESYS_TR.OWNER)
    with floor.tpm._session(TPM2_SE.POLICY) as session:
        rest = {"nonce_tpm": b"", "cp_hash_a": b"", "policy_ref": b"", "expiration": 0}
        esapi.policy_signed(key, session, auth=unmarshal(TPMT_SIGNATURE, signed), **rest)
        with pytest.raises(TSS2_Exception) as refused:
            floor.increment(session1=session)
    esapi.flush_context(key)
    assert refused.value.rc == POLICY_FAIL
    assert floor.value() == base


def test_an_approval_works_once(floor: Floor) -> None:
    first = approve(AUTHORITY, b"", None, UEID)
    floor.rise(first)
    base = floor.value()
    floor.refuses(POLICY_FAIL, first)
    second = approve(AUTHORITY, NAME, base, UEID)
    floor.rise(second)
    floor.refuses(POLICY, second)
    assert floor.value() == base + 1


def test_another_value_than_the_counters(floor: Floor) -> None:
    floor.refuses(UNINITIALIZED, approve(AUTHORITY, NAME, 0, UEID))
    base = floor.first()
    for other in (base - 1, base + 1, 2**63 - 1):
        floor.refuses(POLICY, approve(AUTHORITY, NAME, other, UEID))
    genuine = approve(AUTHORITY, NAME, base + 1, UEID)
    floor.refuses(SIGNATURE, replace(genuine, counter=base))
    assert floor.value() == base


def test_another_authority(floor: Floor) -> None:
    def refuses_the_stranger(counter: int | None) -> None:
        forged = approve(STRANGER, NAME, counter, UEID)
        floor.refuses(SIGNATURE, forged)
        floor.refuses(POLICY_FAIL, forged, STRANGER)

    refuses_the_stranger(None)
    base = floor.first()
    refuses_the_stranger(base)
    assert floor.value() == base


def test_another_device(floor: Floor) -> None:
    base = floor.first()
    approval = approve(AUTHORITY, NAME, base, ANOTHER)
    floor.refuses(SIGNATURE, approval)
    floor.refuses(POLICY_FAIL, approval, reference=ANOTHER)
    floor.refuses(POLICY_FAIL, approve(AUTHORITY, NAME, base, b""), reference=b"")
    assert floor.value() == base


def test_another_tpm_whose_counter_stands_at_the_same(floor: Floor, tmp_path: Path) -> None:
    """The index is defined alike in both, but for the device that its policy names."""
    base = floor.first()
    with powered(tmp_path / "another") as (chip, tpm):
        index = nv_layout(AUTHORITY.public_key, ANOTHER)["floor"]
        tpm.nv_define(index.encode(), AUTH)
        another = Floor(chip, tpm)
        another.rise(approve(AUTHORITY, b"", None, ANOTHER), reference=ANOTHER)
        assert another.value() == base
        approval = approve(AUTHORITY, NAME, base, UEID)
        another.refuses(SIGNATURE, approval)
        another.refuses(SIGNATURE, approval, reference=ANOTHER)
        assert another.value() == base
    floor.rise(approval)


def test_another_index_of_the_same_device(floor: Floor) -> None:
    base = floor.first()
    other = nv_name(replace(INDEX, index=FLOOR_COUNTER + 1, attributes=INDEX.attributes | NvAttribute.WRITTEN).encode())
    floor.refuses(SIGNATURE, approve(AUTHORITY, other, base, UEID))
    assert floor.value() == base


def test_a_policy_that_nobody_approved(floor: Floor) -> None:
    """NV_Increment in a session that says what an approval would, without the approval."""
    base = floor.first()
    nonce = sized(bytes(16))
    start = (0x40000007).to_bytes(4, "big") * 2 + nonce + sized(b"") + b"\x01" + b"\x00\x10" + b"\x00\x0b"
    answer = floor.chip.raw(command(0x176, parameters=start))
    assert answer[6:10] == bytes(4)
    session = int.from_bytes(answer[10:14], "big")
    only = command(0x16C, session, parameters=CC_NV_INCREMENT.to_bytes(4, "big"))
    assert floor.chip.raw(only)[6:10] == bytes(4)
    area = session.to_bytes(4, "big") + sized(b"") + b"\x01" + sized(b"")
    handles = FLOOR_COUNTER.to_bytes(4, "big") * 2
    body = handles + len(area).to_bytes(4, "big") + area
    increment = b"\x80\x02" + (10 + len(body)).to_bytes(4, "big") + CC_NV_INCREMENT.to_bytes(4, "big") + body
    assert floor.chip.raw(increment)[6:10] == (0x99D).to_bytes(4, "big"), "TPM_RC_POLICY_FAIL"
    assert floor.value() == base


def test_power_cuts_change_nothing(floor: Floor) -> None:
    base = floor.first()
    floor.rise(approve(AUTHORITY, NAME, base, UEID))
    floor.chip.power_cycle(orderly=False)
    with TssTpm(floor.chip.tcti()) as tpm:
        again = Floor(floor.chip, tpm)
        assert again.value() == base + 1
        again.refuses(POLICY, approve(AUTHORITY, NAME, base, UEID))


def test_nothing_stays_loaded(floor: Floor) -> None:
    base = floor.first()
    for _ in range(20):
        floor.refuses(SIGNATURE, approve(STRANGER, NAME, base, UEID))
        floor.refuses(POLICY, approve(AUTHORITY, NAME, base + 1, UEID))
