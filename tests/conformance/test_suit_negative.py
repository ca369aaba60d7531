"""Our own SUIT vectors: each is wrong in one thing, and refused for just that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medvouch.adapters.components import DeviceComponents
from medvouch.adapters.slots import FileSlots
from medvouch.crypto.keys import load_private_pem, spki
from medvouch.errors import MedvouchError
from medvouch.formats.suit_manifest import ComponentId
from medvouch.update import refusals
from medvouch.update.execution import Execution, Procedure
from medvouch.update.processor import DeviceClass
from medvouch.update.verification import RoleKeys, VerifiedEnvelope, verify_envelope
from support.executing import Shelf

FOLDER = Path(__file__).resolve().parents[2] / "firmware_fixtures" / "suit"
INDEX = json.loads((FOLDER / "index.json").read_text())
SETTING, VECTORS = INDEX["setting"], INDEX["vectors"]
DEVICE = DeviceClass(*(bytes.fromhex(SETTING[name]) for name in ("vendor_id", "class_id", "device_id")))


def role(name: str, components: dict[str, list[str]]) -> RoleKeys:
    keys = {
        each: load_private_pem((FOLDER.parent / "keys" / f"test-{each}.pem").read_bytes()).public_key()
        for each in SETTING[name]["keys"]
    }
    allowed = {spki(keys[each]): [(part.encode(),) for part in names] for each, names in components.items()}
    return RoleKeys(list(keys.values()), SETTING[name]["threshold"], allowed)


def run(folder: Path, vector: dict[str, Any]) -> None:
    slots = FileSlots.create(folder / "slots", [b"the system that runs"], 1 << 16)
    (folder / "files").mkdir()
    shelf = Shelf({uri: (FOLDER / name).read_bytes() for uri, name in vector["served"].items()})
    files = [tuple(bytes.fromhex(part) for part in each) for each in SETTING["files"]]
    versions = {(b"slot",): tuple(SETTING["version"])}
    components = DeviceComponents(slots, shelf, folder / "files", files, [SETTING["allowed"]], versions)

    def verify(data: bytes, prefix: ComponentId) -> VerifiedEnvelope:
        release = role("release", vector.get("components", {}))
        return verify_envelope(data, release, role("quality", {}), prefix=prefix)

    envelope = verify((FOLDER / vector["file"]).read_bytes(), ())
    Execution(envelope, DEVICE, components, verify).run(Procedure[vector["procedure"].upper()])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["file"])
def test_vector(tmp_path: Path, vector: dict[str, Any]) -> None:
    if vector["expected"] is None:
        run(tmp_path, vector)
        return
    with pytest.raises(MedvouchError) as caught:
        run(tmp_path, vector)
    assert caught.value.code == vector["expected"]


def test_every_file_is_in_the_index() -> None:
    named = [vector["file"] for vector in VECTORS]
    assert len(set(named)) == len(named)
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.suit"))
    served = {name for vector in VECTORS for name in vector["served"].values()}
    assert served == {path.name for path in FOLDER.glob("image*") if path.suffix != ".suit"}


def test_each_good_one_is_good_for_something_and_each_bad_one_is_another() -> None:
    contents = [((FOLDER / vector["file"]).read_bytes(), str(vector["served"])) for vector in VECTORS]
    alone = [each for vector, each in zip(VECTORS, contents, strict=True) if "components" not in vector]
    assert len(set(alone)) == len(alone)


def test_refusals_of_manifests_have_a_vector() -> None:
    """Those that a single envelope can be refused with, whatever parts a device has."""
    expected = {vector["expected"] for vector in VECTORS}
    kinds = {code for code in refusals.TABLE if code.startswith(("manifest-", "component-", "dependency-", "payload-"))}
    assert kinds - expected == {"manifest-roles-overlap", "manifest-parts-clash"}
