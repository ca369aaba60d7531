"""The simulator's TPM: power, resets, state, and that nothing of it is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from medvouch.adapters.tss import TssTpm
from medvouch.attestation.provisioning import EK_CERTIFICATE_INDEX, EK_TEMPLATE
from medvouch.errors import MissingPart, TpmFault
from medvouch.formats.algorithms import HashAlg
from medvouch.formats.tpm import PcrSelection
from medvouch_sim.swtpm import BANKS, SwTpm, command
from support.swtpms import powered

ALL = PcrSelection.of({bank: range(24) for bank in BANKS})
GET_RANDOM = command(0x17B, parameters=b"\x00\x08")
CLEAR, RH_PLATFORM, RH_OWNER, CHANGE_AUTH = 0x126, 0x4000000C, 0x40000001, 0x129


def test_banks_and_pcrs_after_power_on(tmp_path: Path) -> None:
    with powered(tmp_path / "tpm") as (_, tpm):
        values = tpm.pcr_read(ALL)
        assert set(values) == set(BANKS)
        for bank in BANKS:
            assert values[bank] == {pcr: (b"\xff" if 17 <= pcr <= 22 else b"\0") * bank.size for pcr in range(24)}
        with pytest.raises(TpmFault, match="bank sha512"):
            tpm.pcr_read(PcrSelection.of({HashAlg.SHA512: [0]}))


def test_reset_count_is_true_over_ten_power_cycles(tmp_path: Path) -> None:
    chip = SwTpm(tmp_path / "tpm")
    seen = []
    with chip:
        for cycle in range(10):
            with TssTpm(chip.tcti()) as tpm:
                clock = tpm.read_clock()
                assert tpm.pcr_read(ALL)[HashAlg.SHA256][3] == bytes(32)
                tpm.pcr_extend(3, {bank: bytes(bank.size) for bank in BANKS})
            seen.append((clock.reset_count, clock.restart_count))
            chip.power_cycle(orderly=cycle % 2 == 0)
    first = seen[0][0]
    assert seen == [(first + cycle, 0) for cycle in range(10)]


def test_safe_tells_a_power_cut(tmp_path: Path) -> None:
    def safe() -> bool:
        with TssTpm(chip.tcti()) as tpm:
            return tpm.read_clock().safe

    with SwTpm(tmp_path / "tpm") as chip:
        chip.power_cycle()
        assert safe()
        chip.power_cycle(orderly=False)
        assert not safe()


def test_the_platform_auth_is_set_as_firmware_does(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as chip:
        first = chip.platform_auth
        refused = chip.raw(command(CLEAR, RH_PLATFORM, password=b""))
        assert int.from_bytes(refused[6:10], "big") == 0x9A2  # TPM_RC_BAD_AUTH for session 1
        assert chip.raw(command(CLEAR, RH_PLATFORM, password=first))[6:10] == bytes(4)
        chip.power_cycle()
        assert chip.platform_auth not in (b"", first)


def test_a_copied_state_is_the_same_tpm(tmp_path: Path) -> None:
    def endorsement_key(state: Path) -> bytes:
        with powered(state) as (_, tpm):
            return tpm.read_public(tpm.create_primary(EK_TEMPLATE))

    original = endorsement_key(tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert endorsement_key(tmp_path / "b") == original
    assert endorsement_key(tmp_path / "c") != original


def test_vendor_nv_survives_clear_and_belongs_to_the_platform(tmp_path: Path) -> None:
    certificate = os.urandom(1500)
    with powered(tmp_path / "tpm") as (chip, tpm):
        chip.define_platform_nv(EK_CERTIFICATE_INDEX, certificate)
        assert tpm.nv_read(EK_CERTIFICATE_INDEX) == certificate
        assert chip.raw(command(CLEAR, RH_PLATFORM, password=chip.platform_auth))[6:10] == bytes(4)
        assert tpm.nv_read(EK_CERTIFICATE_INDEX) == certificate
        with pytest.raises(TpmFault, match="tpm-refused"):
            chip.define_platform_nv(EK_CERTIFICATE_INDEX, certificate)


def test_commands_from_several_threads_are_one_exchange_each(tmp_path: Path) -> None:
    answers: list[bytes] = []
    with SwTpm(tmp_path / "tpm") as chip:
        threads = [
            threading.Thread(target=lambda: answers.extend(chip.raw(GET_RANDOM) for _ in range(100))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(answers)) == 400
    assert {len(answer) for answer in answers} == {20}


def test_without_power_it_does_not_answer(tmp_path: Path) -> None:
    chip = SwTpm(tmp_path / "tpm")
    with pytest.raises(TpmFault, match="tpm-unreachable") as error:
        chip.raw(GET_RANDOM)
    assert error.value.exit_code == 4
    chip.start()
    assert chip.running
    chip.kill()
    chip.kill()
    chip.stop()
    assert not chip.running


def test_swtpm_that_dies_is_unreachable(tmp_path: Path) -> None:
    with SwTpm(tmp_path / "tpm") as chip:
        tpm = TssTpm(chip.tcti())
        assert chip._process is not None
        chip._process.kill()
        chip._process.wait()
        with pytest.raises(TpmFault, match="tpm-unreachable"):
            tpm.random(8)
        tpm.close()
        chip.kill()
        chip.start()
        with TssTpm(chip.tcti()) as again:
            assert len(again.random(8)) == 8


def test_swtpm_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    state = tmp_path / "tpm"
    state.mkdir()
    (state / "tpm2-00.permall").write_bytes(b"no TPM state")
    chip = SwTpm(state)
    with pytest.raises(TpmFault):
        chip.start()
    assert not chip.running


def test_swtpm_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="swtpm-missing") as error:
        SwTpm(tmp_path / "tpm").start()
    assert error.value.exit_code == 7


def test_setpriv_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "swtpm").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPart, match="setpriv-missing"):
        SwTpm(tmp_path / "tpm").start()


@pytest.mark.parametrize("last_words", [b"", GET_RANDOM], ids=["idle", "in the middle of a command"])
def test_it_ends_with_a_parent_that_is_killed(tmp_path: Path, last_words: bytes) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys, time
        from pathlib import Path
        from medvouch_sim.swtpm import SwTpm
        chip = SwTpm(Path(sys.argv[1]))
        chip.start()
        os.kill(chip._process.pid, signal.SIGSTOP)  # so that it hears command and end of the line at once
        chip._socket.sendall(bytes.fromhex(sys.argv[2]))
        print(chip._process.pid, flush=True)
        time.sleep(60)
        """
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = [sys.executable, "-c", program, str(tmp_path / "tpm"), last_words.hex()]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        child = Path("/proc") / str(pid) / "stat"
        assert child.exists()
        parent.send_signal(signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)
    deadline = time.monotonic() + 10
    while child.exists() and " Z " not in child.read_text():
        assert time.monotonic() < deadline, "swtpm outlived its parent"
        time.sleep(0.02)
