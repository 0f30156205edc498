from __future__ import annotations

import pytest

from hfscan.clock import Clock, TimeUpError
from hfscan.types import silent


def test_without_a_budget() -> None:
    clock = Clock(None)
    assert clock.left() == float("inf")
    assert clock.share(0.5).left() == float("inf")
    assert list(clock.limiting(silent)(range(3), "work", 3)) == [0, 1, 2]


def test_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("hfscan.clock.time.perf_counter", lambda: now[0])
    clock = Clock(10)
    half = clock.share(0.5)
    work = iter(half.limiting(silent)(range(10), "work", 10))
    for item in range(3):
        assert next(work) == item
        now[0] += 2
    with pytest.raises(TimeUpError):
        next(work)
    assert clock.left() == 4
    assert half.left() == -1
    assert half.share(0.5).left() == 0
