from __future__ import annotations

import time

import pytest

from medvouch.adapters import system


def test_the_clock_is_the_systems() -> None:
    clock = system.SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now().ms <= before + 10_000
    assert clock.uptime_s() > 0


def test_a_clock_before_the_build_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_synchronised", lambda: True)
    assert system.SystemClock().now().ok
    monkeypatch.setattr(system, "BUILT_MS", 1 << 60)
    assert not system.SystemClock().now().ok


def test_an_unsynchronised_clock_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "_synchronised", lambda: False)
    assert not system.SystemClock().now().ok


def test_the_kernel_is_asked() -> None:
    assert system._synchronised() in {True, False}


def test_entropy() -> None:
    entropy = system.SystemEntropy()
    assert len(entropy.bytes(33)) == 33
    assert entropy.bytes(32) != entropy.bytes(32)
