"""A site's trust document and a configuration that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from medvouch_sim.site import Site
from support.cli import Caller


@pytest.fixture
def medvouch(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", ())


@pytest.fixture
def config(tmp_path: Path, site: Site) -> Path:
    """A complete configuration; nothing that it names is running."""
    bootstrap = site.credential(site.bootstrap_ca, "unit-1", tmp_path / "bootstrap")
    path = tmp_path / "medvouch.toml"
    path.write_text(
        f"""\
state_dir = "{tmp_path / "state"}"
run_dir = "{tmp_path / "run"}"
trust = "{site.trust_path}"

[device]
model = "MV-100"
serial = "SN-1"

[tpm]
tcti = "device:/nowhere/tpmrm0"

[broker]
host = "127.0.0.1"

[enrolment]
host = "127.0.0.1"
port = 8884
certificate = "{bootstrap.certificate}"
key = "{bootstrap.key}"
"""
    )
    return path
