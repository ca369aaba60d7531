"""The Tpm port on a real (software) TPM."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, Hash

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import (
    EK_TEMPLATE,
    IAK_TEMPLATE,
    IDEVID_TEMPLATE,
    LAK_TEMPLATE,
    LDEVID_TEMPLATE,
    PARENT_TEMPLATE,
)
from medvouch.crypto.tpm import make_credential, name, pcr_digest, public_key, software_public, verify_attest
from medvouch.errors import StorageFault, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import Attest, CertifyInfo, PcrSelection, QuoteInfo
from medvouch.formats.tpm_public import (
    NvAttribute,
    NvPublic,
    ObjectAttribute,
    Public,
    RsaParameters,
    Symmetric,
)
from medvouch.ports import KeyHandle, Tpm
from medvouch_sim.swtpm import SwTpm, SwTpmTcti
from medvouch_sim.swtpm import command as raw_command
from support.swtpms import powered

ALL = PcrSelection.of({HashAlg.SHA256: range(24), HashAlg.SHA384: range(24)})
ONE = PcrSelection.of({HashAlg.SHA256: [0]})
HANDLE = 0x81010101
INDEX = 0x01800001
RSA_EK = Public(
    HashAlg.SHA256,
    Public.parse(EK_TEMPLATE).attributes,
    Public.parse(EK_TEMPLATE).auth_policy,
    RsaParameters(Symmetric(128), None, 2048, 0),
    (bytes(256),),
).encode()


@pytest.fixture
def chip(tmp_path: Path) -> SwTpm:
    return SwTpm(tmp_path / "tpm")


def loaded_objects(chip: SwTpm) -> int:
    """Transient objects and sessions in the TPM."""
    total = 0
    for first in (0x80000000, 0x02000000, 0x03000000):
        parameters = (1).to_bytes(4, "big") + first.to_bytes(4, "big") + (64).to_bytes(4, "big")
        total += int.from_bytes(chip.raw(raw_command(0x17A, parameters=parameters))[15:19], "big")
    return total


def child(tpm: Tpm, template: bytes) -> KeyHandle:
    parent = tpm.create_primary(PARENT_TEMPLATE)
    try:
        return tpm.load(parent, tpm.create(parent, template))
    finally:
        tpm.flush(parent)


def test_a_quote_verifies_over_the_values_read(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        for pcr in range(8):
            tpm.pcr_extend(pcr, {HashAlg.SHA256: bytes([pcr]) * 32, HashAlg.SHA384: bytes([pcr]) * 48})
        lak = child(tpm, LAK_TEMPLATE)
        verified = verify_attest(tpm.quote(lak, b"nonce", ALL), public_key(Public.parse(tpm.read_public(lak))))
        attested = verified.attest.attested
        assert isinstance(attested, QuoteInfo)
        assert attested.selection == ALL
        assert attested.pcr_digest == pcr_digest(tpm.pcr_read(ALL), ALL, verified.hash)
        assert verified.attest.extra_data == b"nonce"
        assert verified.attest.clock_info.reset_count == tpm.read_clock().reset_count


@pytest.mark.parametrize("subject", [LDEVID_TEMPLATE, LAK_TEMPLATE], ids=["LDevID", "LAK"])
def test_certify(chip: SwTpm, subject: bytes) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        key, lak = child(tpm, subject), child(tpm, LAK_TEMPLATE)
        verified = verify_attest(tpm.certify(key, lak, b"q"), public_key(Public.parse(tpm.read_public(lak))))
        attested = verified.attest.attested
        assert isinstance(attested, CertifyInfo)
        assert attested.name == name(tpm.read_public(key))


@pytest.mark.parametrize("template", [IDEVID_TEMPLATE, IAK_TEMPLATE], ids=["IDevID", "IAK"])
def test_maker_keys_are_certified_and_activated_under_their_policy(chip: SwTpm, template: bytes) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        key, lak = tpm.create_primary(template), child(tpm, LAK_TEMPLATE)
        public = tpm.read_public(key)
        verified = verify_attest(tpm.certify(key, lak, b"q"), public_key(Public.parse(tpm.read_public(lak))))
        attested = verified.attest.attested
        assert isinstance(attested, CertifyInfo)
        assert attested.name == name(public)
        tpm.flush(lak)
        ek = tpm.create_primary(EK_TEMPLATE)
        made = make_credential(Public.parse(tpm.read_public(ek)), name(public), b"secret", os.urandom)
        assert tpm.activate_credential(key, ek, *made) == b"secret"


def test_an_unknown_administrative_policy_is_a_fault(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        lak, ek = child(tpm, LAK_TEMPLATE), tpm.create_primary(EK_TEMPLATE)
        with pytest.raises(TpmFault, match="policy that is not known"):
            tpm.certify(ek, lak, b"q")


@pytest.mark.parametrize("template", [EK_TEMPLATE, RSA_EK], ids=["P-256", "RSA"])
def test_credentials_are_opened_by_their_tpm_alone(chip: SwTpm, tmp_path: Path, template: bytes) -> None:
    secret = os.urandom(32)
    with chip, TssTpm(chip.tcti()) as tpm:
        lak, ek = child(tpm, LAK_TEMPLATE), tpm.create_primary(template)
        made = make_credential(Public.parse(tpm.read_public(ek)), name(tpm.read_public(lak)), secret, os.urandom)
        assert tpm.activate_credential(lak, ek, *made) == secret
        tpm.flush(lak)
        with pytest.raises(TpmFault, match="tpm-refused"):
            tpm.activate_credential(child(tpm, LAK_TEMPLATE), ek, *made)
    with powered(tmp_path / "other") as (_, other), pytest.raises(TpmFault, match="tpm-refused"):
        other.activate_credential(child(other, LAK_TEMPLATE), other.create_primary(template), *made)


def test_signatures_have_a_fixed_width(chip: SwTpm) -> None:
    digest = Hash(SHA256())
    digest.update(b"message")
    with chip, TssTpm(chip.tcti()) as tpm:
        key, message = child(tpm, LDEVID_TEMPLATE), digest.finalize()
        verifier = public_key(Public.parse(tpm.read_public(key)))
        assert isinstance(verifier, ec.EllipticCurvePublicKey)
        for _ in range(300):
            signature = tpm.sign(key, message)
            assert len(signature) == 64
            r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
            verifier.verify(encode_dss_signature(r, s), b"message", ec.ECDSA(SHA256()))


def test_restricted_keys_sign_no_message(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm, pytest.raises(TpmFault, match=r"tpm-refused.*TPM2_Sign"):
        tpm.sign(child(tpm, LAK_TEMPLATE), bytes(32))


def test_persistent_keys(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        assert tpm.persistent(HANDLE) is None
        tpm.evict(HANDLE)
        for template in (PARENT_TEMPLATE, LAK_TEMPLATE):
            primary = tpm.create_primary(template)
            public = tpm.read_public(primary)
            kept = tpm.persist(primary, HANDLE)
            assert tpm.read_public(kept) == public
            found = tpm.persistent(HANDLE)
            assert found is not None
            tpm.flush(found)
            tpm.flush(kept)
            tpm.evict(HANDLE)
            assert tpm.persistent(HANDLE) is None


def test_a_handle_found_twice_is_let_go_of_twice(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        tpm.flush(tpm.persist(tpm.create_primary(PARENT_TEMPLATE), HANDLE))
        first, second = tpm.persistent(HANDLE), tpm.persistent(HANDLE)
        assert first is not None
        assert second is not None
        tpm.flush(first)
        assert Public.parse(tpm.read_public(second)).attributes & ObjectAttribute.DECRYPT


def test_nothing_stays_loaded(chip: SwTpm) -> None:
    with chip:
        with TssTpm(chip.tcti()) as tpm:
            lak, ek = child(tpm, LAK_TEMPLATE), tpm.create_primary(EK_TEMPLATE)
            made = make_credential(Public.parse(tpm.read_public(ek)), name(tpm.read_public(lak)), b"s", os.urandom)
            for _ in range(20):
                tpm.activate_credential(lak, ek, *made)
                with pytest.raises(TpmFault):
                    tpm.activate_credential(ek, lak, *made)
            assert loaded_objects(chip) == 2
        assert loaded_objects(chip) == 0


def test_nv_indexes(chip: SwTpm) -> None:
    attributes = NvAttribute.OWNERREAD | NvAttribute.OWNERWRITE | NvAttribute.NO_DA
    public = NvPublic(INDEX, HashAlg.SHA256, attributes, b"", 20).encode()
    with chip, TssTpm(chip.tcti()) as tpm:
        assert tpm.nv_read_public(INDEX) is None
        tpm.nv_undefine(INDEX)
        tpm.nv_define(public, b"auth")
        assert tpm.nv_read_public(INDEX) == public
        with pytest.raises(TpmFault, match="TPM2_NV_DefineSpace"):
            tpm.nv_define(public, b"auth")
        write = (20).to_bytes(2, "big") + b"x" * 20 + bytes(2)
        assert chip.raw(raw_command(0x137, 0x40000001, INDEX, parameters=write, password=b""))[6:10] == bytes(4)
        assert tpm.nv_read(INDEX) == b"x" * 20
        tpm.nv_undefine(INDEX)
        assert tpm.nv_read_public(INDEX) is None
        with pytest.raises(TpmFault, match="not defined"):
            tpm.nv_read(INDEX)


def test_ownership_is_set_once(chip: SwTpm) -> None:
    with chip:
        with TssTpm(chip.tcti()) as tpm:
            assert not tpm.ownership_taken()
            tpm.set_hierarchy_auths(b"o" * 32, b"l" * 32)
            assert tpm.ownership_taken()
        with TssTpm(chip.tcti()) as tpm:
            tpm.set_hierarchy_auths(b"p" * 32, b"m" * 32)
            with pytest.raises(TpmFault, match="ownership was taken by someone else"):
                tpm.persist(tpm.create_primary(PARENT_TEMPLATE), HANDLE)
        change = raw_command(0x129, 0x40000001, parameters=b"\0\0", password=b"o" * 32)
        assert chip.raw(change)[6:10] == bytes(4), "the first owner auth stands"


def test_random(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm:
        assert len(tpm.random(100)) == 100
        assert tpm.random(32) != tpm.random(32)


def test_structures_with_trailing_bytes_go_nowhere(chip: SwTpm) -> None:
    with chip, TssTpm(chip.tcti()) as tpm, pytest.raises(TpmFault, match="after the end"):
        tpm.create_primary(EK_TEMPLATE + b"\0")


def test_software_keys_have_the_name_a_tpm_gives_them(chip: SwTpm) -> None:
    public = software_public(ec.generate_private_key(ec.SECP256R1()).public_key())
    load = b"\0\0" + len(public).to_bytes(2, "big") + public + (0x40000007).to_bytes(4, "big")
    with chip:
        answer = chip.raw(raw_command(0x167, parameters=load))
        assert answer[6:10] == bytes(4)
        assert answer[16:] == name(public)


@pytest.mark.parametrize("tcti", ["device:/dev/no-such-tpm", "no-such-tcti", "swtpm:path=/no/such/socket"])
def test_a_tpm_that_is_not_there(tcti: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TpmFault, match="tpm-unreachable") as error:
        TssTpm(tcti)
    assert error.value.exit_code == 4
    assert "TCTI in the configuration" in error.value.remedy
    assert capfd.readouterr().err == ""


class RestlessTcti(SwTpmTcti):
    """A TPM whose PCR 10 is extended by somebody else before each of the next `times` reads."""

    def __init__(self, chip: SwTpm, times: int) -> None:
        super().__init__(chip)
        self.chip = chip
        self.times = times

    def do_transmit(self, command: bytes) -> None:
        if command[6:10] == b"\x00\x00\x01\x7e" and self.times:
            self.times -= 1
            digest = (1).to_bytes(4, "big") + b"\x00\x0b" + bytes(32)
            assert self.chip.raw(raw_command(0x182, 10, parameters=digest, password=b""))[6:10] == bytes(4)
        super().do_transmit(command)


def test_pcrs_are_read_at_one_moment(chip: SwTpm) -> None:
    with chip:
        with TssTpm(RestlessTcti(chip, times=3)) as tpm:
            values = tpm.pcr_read(ALL)
            lak = child(tpm, LAK_TEMPLATE)
            attested = Attest.parse(tpm.quote(lak, b"", ALL).attest).attested
            assert isinstance(attested, QuoteInfo)
            assert attested.pcr_digest == pcr_digest(values, ALL)
        with (
            TssTpm(RestlessTcti(chip, times=10**6)) as tpm,
            pytest.raises(TpmFault, match="kept changing"),
        ):
            tpm.pcr_read(ALL)


class WatchingTcti(SwTpmTcti):
    """Notes what happens on the way to the TPM."""

    def __init__(self, chip: SwTpm) -> None:
        super().__init__(chip)
        self.seen: list[str] = []

    def do_transmit(self, command: bytes) -> None:
        super().do_transmit(command)
        self.seen.append("sent")

    def do_receive(self, timeout: int) -> bytes:
        answer = super().do_receive(timeout)
        self.seen.append("answered")
        return answer


def test_work_is_done_while_the_tpm_is_at_its_first_command(chip: SwTpm) -> None:
    tcti = WatchingTcti(chip)
    with chip, TssTpm(tcti) as tpm:
        tcti.seen.clear()
        with tpm.meanwhile(lambda: tcti.seen.append("worked")):
            tpm.pcr_read(ONE)
            tpm.pcr_read(ONE)
        assert tcti.seen == ["sent", "worked", "answered", "sent", "answered"]
        with tpm.meanwhile(lambda: tcti.seen.append("without a command")):
            pass
        assert tcti.seen[5:] == ["without a command"]


def test_work_that_fails_leaves_the_tpm_in_order(chip: SwTpm) -> None:
    def fail() -> None:
        raise StorageFault("eventlog-missing", "it is not there")

    with chip, TssTpm(WatchingTcti(chip)) as tpm:
        with pytest.raises(StorageFault, match="eventlog-missing"), tpm.meanwhile(fail):
            values = tpm.pcr_read(ONE)
        assert values == tpm.pcr_read(ONE)
        with pytest.raises(StorageFault, match="eventlog-missing"), tpm.meanwhile(fail):
            pass


def test_a_tpm_that_answers_with_other_pcrs_than_were_asked_for(chip: SwTpm) -> None:
    """Without an end to it, it would be asked for ever."""
    asked = PcrSelection.of({HashAlg.SHA256: [0, 1]})

    class OtherTcti(SwTpmTcti):
        def do_transmit(self, command: bytes) -> None:
            other = command.replace(asked.encode(), PcrSelection.of({HashAlg.SHA256: [2, 3]}).encode())
            super().do_transmit(other)

    with chip, TssTpm(OtherTcti(chip)) as tpm, pytest.raises(TpmFault, match="not there"):
        tpm.pcr_read(asked)
