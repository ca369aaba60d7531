from __future__ import annotations

from pathlib import Path

import pytest

from medvouch.adapters import metadata
from medvouch.adapters.metadata import FileMetadataStore
from medvouch.errors import StorageFault


@pytest.fixture
def store(tmp_path: Path) -> FileMetadataStore:
    return FileMetadataStore(tmp_path / "store")


def test_written_read_replaced_and_removed(store: FileMetadataStore, tmp_path: Path) -> None:
    assert store.read("root.json") is None
    store.write("root.json", b"one")
    store.write("root.json", b"two")
    store.write("targets/a/%2Eb-~1", b"three")
    assert FileMetadataStore(tmp_path / "store").read("root.json") == b"two"
    assert (tmp_path / "store" / "targets" / "a" / "%2Eb-~1").read_bytes() == b"three"
    store.remove("root.json")
    store.remove("root.json")
    assert store.read("root.json") is None


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../x", "/etc/passwd", "a//b", ".hidden", "a\0", "ä", "a b"])
def test_names_that_lead_elsewhere(store: FileMetadataStore, name: str) -> None:
    for call in (store.read, store.remove, lambda name: store.write(name, b"")):
        with pytest.raises(StorageFault, match="file-name"):
            call(name)


def test_a_store_that_cannot_be_used(store: FileMetadataStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store").write_bytes(b"a file in the way")
    with pytest.raises(StorageFault, match="file-unreadable"):
        store.read("x")
    with pytest.raises(StorageFault, match="file-not-written"):
        store.write("x", b"")
    with pytest.raises(StorageFault, match="file-not-written"):
        store.remove("x")
    (tmp_path / "store").unlink()
    monkeypatch.setattr(metadata, "MAX_FILE_BYTES", 3)
    store.write("x", bytes(4))
    with pytest.raises(StorageFault, match="file-too-large"):
        store.read("x")
