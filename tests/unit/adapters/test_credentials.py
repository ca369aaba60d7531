from __future__ import annotations

import stat
from pathlib import Path

import pytest

from medvouch.adapters.credentials import FileCredentials
from medvouch.errors import StorageFault


def test_the_key_is_made_once_and_kept_to_oneself(tmp_path: Path) -> None:
    credentials = FileCredentials(tmp_path)
    assert credentials.client_key() == FileCredentials(tmp_path).client_key()
    assert stat.S_IMODE(credentials.key_path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_damaged_key_is_a_fault_of_storage(tmp_path: Path, content: bytes) -> None:
    credentials = FileCredentials(tmp_path)
    credentials.key_path.write_bytes(content)
    with pytest.raises(StorageFault, match="credential-corrupt") as caught:
        credentials.client_key()
    assert "enrol the device again" in caught.value.remedy
