from __future__ import annotations

import numpy as np
import pytest

from hfscan.model_tests import FeatureMaps
from hfscan.reasons import CHANNELS_SCREENED, LAYER_OUT_OF_TIME
from hfscan.types import IntArray, LayerAudit

CLASSES, IMAGES = 5, 20
CLEAN = (4, 4, 4, 4, 4)


def layer(predictions: IntArray) -> LayerAudit:
    channels = len(predictions)
    return LayerAudit(
        "conv",
        channels,
        np.zeros((channels, 1), np.float32),
        predictions[:, None],
        np.zeros(channels, np.bool_),
        predictions.sum(1),
    )


def unmoved(channels: int = 10) -> IntArray:
    return np.tile(np.array(CLEAN, np.int64), (channels, 1))


def test_the_class_that_draws_images_stands_out() -> None:
    predictions = unmoved()
    predictions[3] = [0, 0, IMAGES, 0, 0]
    result = FeatureMaps().judge([layer(predictions), LayerAudit("x", 3, skipped="odd")], CLEAN)
    assert result.target == 2
    assert result.class_statistics == (0, 0, 1, 0, 0)
    assert result.statistic is not None
    assert result.statistic > 4
    quiet = FeatureMaps().judge([layer(unmoved())], CLEAN)
    assert quiet.statistic == 0
    assert result.p_value is quiet.p_value is None  # only a calibration knows


def test_one_channel_of_many_counts_as_its_share() -> None:
    predictions = unmoved(40)
    predictions[3] = [0, 0, IMAGES, 0, 0]
    result = FeatureMaps(top=0.1).judge([layer(predictions)], CLEAN)
    assert result.class_statistics[2] == pytest.approx(0.25)  # one of the four that send most


def test_channels_that_were_screened_with_a_few_images_say_nothing() -> None:
    predictions = unmoved(2)
    predictions[0] = [0, 0, 2, 0, 0]
    result = FeatureMaps(top=1.0).judge([layer(unmoved()), layer(predictions)], CLEAN)
    assert result.skipped == CHANNELS_SCREENED
    assert result.statistic is None


def test_layers_that_time_left_out_are_missing() -> None:
    late = LayerAudit("late", 3, skipped=LAYER_OUT_OF_TIME)
    assert FeatureMaps().judge([layer(unmoved()), late], CLEAN).skipped == CHANNELS_SCREENED


def test_nothing_was_tested() -> None:
    result = FeatureMaps().judge([LayerAudit("x", 3, skipped="odd")], CLEAN)
    assert result.skipped == "no channel was tested"
    assert "3 classes are too few" in FeatureMaps().judge([layer(unmoved())], (1, 1, 1)).skipped
