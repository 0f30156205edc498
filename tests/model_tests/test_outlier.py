from __future__ import annotations

import numpy as np
import pytest

from hfscan.model_tests.outlier import blind


@pytest.mark.parametrize(
    ("classes", "images", "usual", "expected"),
    [
        (4, 63, 1.5, True),
        (6, 32, 1.5, True),
        (7, 63, 1.5, False),
        (10, 63, 1.5, False),
        (10, 7, 1.5, True),
        (1000, 7, 1.5, False),
        (4, 48, 0.4, False),
        (4, 4, 0.4, True),
    ],
)
def test_where_a_perfect_trigger_would_not_be_suspicious(
    classes: int, images: int, usual: float, expected: bool
) -> None:
    assert blind(np.full(classes, images), usual) is expected


def test_six_classes_of_an_inversion() -> None:
    assert blind(np.array([52, 52, 40, 27, 27, 27]), 1.5)
