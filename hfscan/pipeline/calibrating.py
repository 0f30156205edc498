"""Which calibration a model's test results are judged by, and what the report says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hfscan.calibration import Calibration, NetworkFacts, closest, distance, is_near
from hfscan.types import CalibrationFacts, ModelFacts, TestResult
from hfscan.verdict import Conclusion, conclude

UNCALIBRATED = (
    "Uncalibrated: the p-values are from formulas of the tests, not from networks known to be clean; "
    "how often clean networks are called suspicious is not known."
)


@dataclass(frozen=True)
class Calibrated:
    """A model and the calibration for it.

    Args:
        calibration: None if there is none, or none that is near the model.
        distance: A sentence about how far the model is from the closest one; empty if there is none.
    """

    calibration: Calibration | None = None
    distance: str = ""

    @classmethod
    def of(cls, model: ModelFacts, given: Calibration | None) -> Calibrated:
        """The given calibration, or the closest that comes with the package if it is near."""
        network = NetworkFacts.of(model)
        found = given or closest(network)
        if found is None:
            return cls()
        how_far = distance(network, found)
        return cls(found if given or is_near(network, found) else None, how_far)

    def applied(self, tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
        """The results with calibrated p-values, where there are any."""
        return tuple(tests) if self.calibration is None else self.calibration.applied(tests)

    def conclude(self, tests: Sequence[TestResult]) -> Conclusion:
        """The verdict; of results as the tests returned them, or as `applied` did."""
        return conclude(self.applied(tests), self.calibration)

    @property
    def facts(self) -> CalibrationFacts | None:
        """What a report says of the calibration."""
        used = self.calibration
        if used is None:
            return None
        return CalibrationFacts(
            used.name,
            len(used.networks),
            self.distance,
            used.suspicious_rate,
            used.backdoored_rate,
            used.rates,
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences for the reader."""
        used = self.calibration
        if used is None:
            too_far = f"The closest calibration is too far away to be used. {self.distance}"
            return (UNCALIBRATED, too_far) if self.distance else (UNCALIBRATED,)
        rates = [
            f"{attack} {rate.suspicious} of {rate.networks}" for attack, rate in used.rates.items()
        ]
        called = (
            f" Of networks that had no part in it, so many were called suspicious or backdoored: {', '.join(rates)}."
            if rates
            else ""
        )
        return (
            f"Calibrated with {len(used.networks)} clean networks ({used.name}): at most "
            f"{100 * used.suspicious_rate:g} % of clean networks are called suspicious and "
            f"{100 * used.backdoored_rate:g} % backdoored, as far as the fitted tail holds.{called}",
            self.distance,
        )
