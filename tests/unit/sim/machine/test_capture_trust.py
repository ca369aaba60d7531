"""The trust document beside captures: its reference values are signed anew, with as much of IMA's list as was seen."""

from __future__ import annotations

from pathlib import Path

from medvouch.attestation.reference import verify_references
from medvouch.crypto.keys import load_spki
from medvouch.formats import ima
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.hashing import digest
from medvouch.formats.reference import Mode, PcrReference, ReferenceEvent, ReferenceValues
from medvouch.formats.trust import TrustDocument
from medvouch_sim.machine.capture import TRUST, write_trust
from medvouch_sim.prediction import sign_reference
from medvouch_sim.site import Site, release_signers

SHA256 = HashAlg.SHA256


def _event(data: bytes) -> ReferenceEvent:
    return ReferenceEvent("a file", {SHA256.label: digest(SHA256, data)})


def test_programs_that_did_not_run_are_left_out_and_all_else_stays(tmp_path: Path) -> None:
    ran = ima.make(0, 10, "ima-sig", (b"sha256:\0" + bytes(32), b"/usr/bin/ran\0", b""))
    never = _event(b"never ran")
    files = PcrReference(10, Mode.ALLOWED, (_event(ran.hashed), never))
    boot = PcrReference(4, Mode.EXACT, (never,))
    values = ReferenceValues("model", "1.0.0", 1, ("quiet",), (boot, files))
    site = Site(tmp_path / "site", [sign_reference(values, *release_signers())])
    (tmp_path / "captures" / "one").mkdir(parents=True)
    (tmp_path / "captures" / "one" / "ima.log").write_bytes(ima.encode((ran,)))
    write_trust(tmp_path / "captures", site, site.references)
    trust = TrustDocument.parse((tmp_path / "captures" / TRUST).read_bytes())
    role = trust.roles["release"]
    (reference,) = verify_references(trust.references, [load_spki(key) for key in role.keys], role.threshold)
    assert reference.values.pcrs == (boot, PcrReference(10, Mode.ALLOWED, (_event(ran.hashed),)))
    assert trust.certificates == site.trust.certificates
