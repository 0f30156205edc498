"""The feature-map test: does perturbing channels send images of many classes into one class?

What feature map testing (FMT, section III-D) has seen already is looked at class by class: where the
reverse-generated images of each channel went. The paper looks at how much accuracy is lost only, not at where to.

A clean network has classes that draw perturbed images too: in a CIFAR-10 network that was known to be clean, half of
the images of the channels that send most went to one class. So the test has no formula of its own for a p-value.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import nn

from hfscan.fmt.profile import profile
from hfscan.metrics import predict
from hfscan.model_tests.outlier import stands_out, too_few
from hfscan.reasons import CHANNELS_SCREENED, LAYER_OUT_OF_TIME
from hfscan.types import (
    AuditSettings,
    FloatArray,
    ImageSet,
    LayerAudit,
    Progress,
    TestResult,
    silent,
)

NAME = "feature-maps"
UNIT = "share of reverse-generated images that flow into the class"


@dataclass(frozen=True)
class FeatureMaps:
    """For each class, the flow of reverse-generated images into it, mean over the channels that send most.

    Args:
        top: Share of each layer's channels that counts: those that send most images into the class, in (0, 1].
        images: Clean images to test channels with, where no audit has done so.
        usual_spread: Usual standard deviation of the flow among clean classes.
        batch_size: Images per pass.
    """

    top: float = 0.1
    images: int = 16
    usual_spread: float = 0.25
    batch_size: int = 256

    name: ClassVar[str] = NAME

    def run(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> TestResult:
        """Test a network's channels with a few images, then `judge` them; see `hfscan.model_tests.ModelTest`."""
        began = time.perf_counter()
        sample = clean.sample(self.images, seed=seed)
        predictions = predict(net, sample, batch_size=self.batch_size)
        settings = AuditSettings(images=self.images, precision="fp32", seed=seed)
        found = profile(net, sample, settings, batch_size=self.batch_size, progress=progress)
        layers = [
            LayerAudit(
                one.layer.name,
                one.layer.channels,
                one.accuracy,
                one.predictions,
                np.zeros(len(one.accuracy), np.bool_),
                one.tested,
                one.skipped,
            )
            for one in found
        ]
        counts = np.bincount(predictions, minlength=_classes(layers)).tolist()
        return replace(self.judge(layers, counts), seconds=time.perf_counter() - began)

    def judge(self, layers: Sequence[LayerAudit], clean_predictions: Sequence[int]) -> TestResult:
        """Test a network by what feature map testing has seen of it; only a calibration gives a p-value.

        It cannot be made of channels that were screened with a few images: where one or two of them end up is no share.
        Nor can it where time ended before all layers were tested: calibrations are of all layers.

        Args:
            layers: From an audit, or from `hfscan.fmt.profile`.
            clean_predictions: Predicted classes of the same images as they were, counts ``(K,)``.
        """
        tested = [layer for layer in layers if not layer.skipped and layer.tested.any()]
        images = sum(clean_predictions)
        if reason := too_few(len(clean_predictions)) or _obstacle(layers, tested, images):
            return TestResult(NAME, None, None, None, (), UNIT, reason)
        clean = np.array(clean_predictions) / images
        flows = np.mean([self._flow(layer, clean) for layer in tested], axis=0)
        statistic, _, target = stands_out(flows, 0.0, usual=self.usual_spread)
        figures = tuple(round(float(flow), 4) for flow in flows)
        return TestResult(NAME, statistic, None, target, figures, UNIT)

    def _flow(self, layer: LayerAudit, clean: npt.NDArray[np.float64]) -> FloatArray:
        """Into each class, from the channels of a layer that send most, ``(K,)``."""
        shares = layer.predictions[:, -1] / layer.tested[:, None]
        flow = np.sort((shares - clean) / np.maximum(1 - clean, 1e-9), axis=0)
        count = max(1, round(self.top * len(flow)))
        return np.asarray(flow[-count:].mean(0), np.float32)


def _obstacle(layers: Sequence[LayerAudit], tested: Sequence[LayerAudit], images: int) -> str:
    if not tested:
        return "no channel was tested"
    late = any(layer.skipped == LAYER_OUT_OF_TIME for layer in layers)
    if late or any((layer.tested < images).any() for layer in tested):
        return CHANNELS_SCREENED
    return ""


def _classes(layers: Sequence[LayerAudit]) -> int:
    return max((layer.predictions.shape[2] for layer in layers if not layer.skipped), default=0)
