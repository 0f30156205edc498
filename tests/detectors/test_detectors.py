from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor

from hfscan.detectors import DETECTORS, Detector
from hfscan.errors import AuditError
from hfscan.pipeline import low_outliers
from hfscan.types import FloatArray, IntArray

LOW = [3, 17]


def profiles(channels: int = 40, steps: int = 3) -> FloatArray:
    """Accuracy near 0.9 on the grid of 1/64, two channels far below."""
    rng = np.random.default_rng(0)
    accuracy = rng.integers(54, 61, (channels, steps)) / 64
    accuracy[LOW] = np.linspace(0.5, 0.1, steps)
    return accuracy.astype(np.float32)


@pytest.fixture(params=DETECTORS)
def detector(request: pytest.FixtureRequest) -> Detector:
    return DETECTORS[request.param](0.1, 0)


@pytest.mark.parametrize(("channels", "steps"), [(40, 3), (64, 1), (18, 2), (512, 5)])
def test_one_label_per_channel(detector: Detector, channels: int, steps: int) -> None:
    labels = detector.fit_predict(profiles(channels, steps))
    assert labels.shape == (channels,)
    assert set(labels.tolist()) == {-1, 1}


@pytest.mark.parametrize("steps", [1, 3])
def test_channels_far_below_are_flagged(detector: Detector, steps: int) -> None:
    flagged = low_outliers(detector, profiles(steps=steps))
    assert flagged[LOW].all()
    assert flagged.sum() <= 4


@pytest.mark.parametrize("name", DETECTORS)
def test_same_seed_same_labels(name: str) -> None:
    labels = [DETECTORS[name](0.1, 7).fit_predict(profiles()).tolist() for _ in range(2)]
    assert labels[0] == labels[1]


def test_neither_input_nor_global_random_state_changes(detector: Detector) -> None:
    X = profiles()
    state = np.random.get_state()[1].tolist()
    detector.fit_predict(X)
    np.testing.assert_array_equal(X, profiles())
    assert np.random.get_state()[1].tolist() == state


@pytest.mark.parametrize("shape", [(40, 3), (40, 1), (2, 3), (1, 3), (1, 1)])
def test_equal_profiles_have_no_outlier(detector: Detector, shape: tuple[int, int]) -> None:
    labels = detector.fit_predict(np.full(shape, 0.75, np.float32))
    assert labels.tolist() == [1] * shape[0]


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_few_channels(detector: Detector, channels: int) -> None:
    X = np.linspace(0.2, 0.9, channels * 2, dtype=np.float32).reshape(channels, 2)
    assert detector.fit_predict(X).shape == (channels,)


def test_collinear_steps(detector: Detector) -> None:
    X = np.repeat(profiles(steps=1), 3, axis=1)
    assert low_outliers(detector, X)[LOW].all()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("channels", [16, 64])
def test_almost_all_profiles_equal(detector: Detector, channels: int, steps: int) -> None:
    X = np.ones((channels, steps), np.float32)
    X[5] = 63 / 64
    assert low_outliers(detector, X).nonzero()[0].tolist() == [5]


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("low", range(1, 8))
def test_two_groups_of_profiles(detector: Detector, low: int, steps: int) -> None:
    X = np.full((8, steps), 0.75, np.float32)
    X[:low] = 0.5
    assert low_outliers(detector, X)[low:].sum() == 0


def test_tau_is_the_share_of_elliptic() -> None:
    shares = [
        (DETECTORS["elliptic"](tau, 0).fit_predict(profiles(200)) == -1).mean()
        for tau in (0.1, 0.3)
    ]
    assert shares == pytest.approx([0.1, 0.3], abs=0.01)


# --- detectors of the caller's own


@pytest.mark.parametrize(
    "estimator", [IsolationForest(random_state=0), LocalOutlierFactor(n_neighbors=10)]
)
def test_estimators_of_scikit_learn(estimator: Detector) -> None:
    flagged = low_outliers(estimator, profiles())
    assert flagged.dtype == np.bool_
    assert flagged.shape == (40,)
    assert flagged[LOW].all()


class Fixed:
    def __init__(self, labels: object) -> None:
        self.labels = labels

    def fit_predict(self, X: FloatArray) -> IntArray:
        return np.asarray(self.labels)


def test_outliers_of_high_accuracy_are_dropped() -> None:
    X = np.array([[0.1], [0.8], [0.8], [0.8], [1.0]], np.float32)
    assert low_outliers(Fixed([-1, 1, -1, 1, -1]), X).tolist() == [True, *[False] * 4]


@pytest.mark.parametrize("labels", [np.ones(80), np.ones((40, 1)), [], 1])
def test_labels_of_another_shape(labels: object) -> None:
    with pytest.raises(AuditError, match="for 40 channels"):
        low_outliers(Fixed(labels), profiles())
