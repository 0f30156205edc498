from __future__ import annotations

import pytest

from hfscan.cli.quantities import parse_duration, parse_size
from hfscan.errors import UsageError


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4e9), ("512mb", 512e6), ("1.5 GiB", 1.5 * 2**30), ("100kB", 1e5)],
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("2m", 120), ("1h", 3600), ("1h30m", 5400), ("45", 45), ("1.5m", 90)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "4", "GB", "-1GB", "0GB", "4 bananas", "1e400GB", "4GB4GB"])
def test_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="--memory cannot be"):
        parse_size(text)


@pytest.mark.parametrize("text", ["", "m", "-1m", "0s", "2 days", "1m;rm", "nan", "2m 3x"])
def test_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="--budget cannot be"):
        parse_duration(text)
    with pytest.raises(UsageError, match="--timeout cannot be"):
        parse_duration(text, "--timeout")
