from __future__ import annotations

from collections.abc import Iterator

import pytest

from hfscan.cli.patience import hinting
from hfscan.fmt.profile import TESTING
from hfscan.types import silent


def waited(step: float, total: int, description: str = TESTING, effort: float = 0.15) -> None:
    """A loop whose items take ``step`` seconds by its clock."""
    clock: Iterator[float] = (step * item for item in range(total + 1))
    loop = hinting(silent, effort, now=lambda: next(clock))(range(total), description, total)
    assert list(loop) == list(range(total))


def test_a_long_wait_has_a_shorter_alternative(capsys: pytest.CaptureFixture[str]) -> None:
    waited(8.0, 1000)  # looks after 24 s, when 2 are done
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "takes about 3 h 19 min more; --mode fast takes about 29 min 56 s" in said[0]


@pytest.mark.parametrize(
    ("step", "description"),
    [(0.6, TESTING), (8.0, "maximum margins"), (0.0, TESTING)],
    ids=["short", "something else", "no time at all"],
)
def test_otherwise_nothing_is_said(
    step: float, description: str, capsys: pytest.CaptureFixture[str]
) -> None:
    waited(step, 1000, description)
    assert not capsys.readouterr().err
