"""What the configuration says of proxies and bandwidth, as the fetcher gets it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medvouch.cli.config import UpdateConfig
from medvouch.cli.wiring import _fetcher
from medvouch.errors import ConfigFault

SETTINGS = UpdateConfig(proxy="http://proxy.example:3128/", bandwidth=2048)


def test_without_anything() -> None:
    http = _fetcher(UpdateConfig())._http
    assert (http.proxy, http.bandwidth.bytes_per_s) == (None, 0)


def test_a_proxy_with_a_password(tmp_path: Path) -> None:
    path = tmp_path / "credentials"
    path.write_text("agent:pass:word\n", encoding="utf-8")
    http = _fetcher(replace(SETTINGS, proxy_credentials=str(path)))._http
    assert http.proxy is not None
    assert (http.proxy.host, http.proxy.port, http.proxy.credentials) == ("proxy.example", 3128, "agent:pass:word")
    assert http.proxy.headers == {"Proxy-Authorization": "Basic YWdlbnQ6cGFzczp3b3Jk"}
    assert http.bandwidth.bytes_per_s == 2048


def test_a_proxy_that_asks_for_nothing() -> None:
    http = _fetcher(SETTINGS)._http
    assert http.proxy is not None
    assert http.proxy.headers == {}


@pytest.mark.parametrize("data", [None, b"", b"agent", b"agent:pass\x00word", b"\xff:x", b"agent:" + b"x" * 1024])
def test_credentials_that_are_none(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "credentials"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigFault) as caught:
        _fetcher(replace(SETTINGS, proxy_credentials=str(path)))
    assert caught.value.code == "proxy-credentials"
