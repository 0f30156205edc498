"""Which calibration a model's test results are judged by, and what the report says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hfscan.calibration import Calibration, NetworkFacts, closest, distance, is_near
from hfscan.model_tests import TriggerInversion
from hfscan.report.text import plural
from hfscan.types import CalibrationFacts, ImageSet, ModelFacts, TestResult
from hfscan.verdict import Conclusion, conclude, without_p_value

ENOUGH_IMAGES = TriggerInversion.images
"""Clean images that a test takes of those that it is given, at most."""

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
        classes: Of the model.
    """

    calibration: Calibration | None = None
    distance: str = ""
    classes: int = 0

    @classmethod
    def of(cls, model: ModelFacts, given: Calibration | None) -> Calibrated:
        """The given calibration, or the closest that comes with the package if it is near."""
        network = NetworkFacts.of(model)
        found = given or closest(network)
        if found is None:
            return cls()
        how_far = distance(network, found)
        near = found if given or is_near(network, found) else None
        return cls(near, how_far, model.num_classes)

    def applied(self, tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
        """The results with calibrated p-values, where there are any."""
        return tuple(tests) if self.calibration is None else self.calibration.applied(tests)

    def conclude(self, tests: Sequence[TestResult]) -> Conclusion:
        """The verdict; of results as the tests returned them, or as `applied` did."""
        return conclude(self.applied(tests), self.calibration)

    def facts(self, tests: Sequence[TestResult] = ()) -> CalibrationFacts | None:
        """What a report says of the calibration.

        Args:
            tests: What was made of the tests, as `applied` returns them.
        """
        used = self.calibration
        if used is None:
            return None
        return CalibrationFacts(
            used.name,
            len(used.networks),
            self.distance,
            used.suspicious_rate,
            used.backdoored_rate,
            used.rates_of(_made(tests)),
            used.fingerprint,
        )

    def differs(self, theirs: CalibrationFacts | None) -> str:
        """Why a report's p-values cannot be compared with those that these are; empty if they can.

        Args:
            theirs: Of the report.
        """
        ours = self.facts()
        if theirs is None:
            if ours is None:
                return ""
            return f"its p-values are from no calibration, an audit here has {described(ours)}"
        if (
            ours is not None
            and (ours.name, ours.networks) == (theirs.name, theirs.networks)
            and theirs.fingerprint in ("", ours.fingerprint)
        ):
            return ""
        return f"its p-values are from a calibration that is not here: {described(theirs)}"

    def notes(self, tests: Sequence[TestResult], clean: ImageSet) -> tuple[str, ...]:
        """Sentences for the reader.

        Args:
            tests: What was made of the tests, as `applied` returns them.
            clean: The images that they were given.
        """
        used = self.calibration
        if used is None:
            too_far = f"The closest calibration is too far away to be used. {self.distance}"
            return (UNCALIBRATED, *([too_far] if self.distance else []), *_uncounted(tests))
        own = [test.name for test in tests if test.p_value is not None and not test.calibrated]
        if own and not _made(tests):
            return (UNCALIBRATED,)
        return (
            f"Calibrated with {len(used.networks)} clean networks ({used.name}): at most "
            f"{100 * used.suspicious_rate:g} % of clean networks are called suspicious and "
            f"{100 * used.backdoored_rate:g} % backdoored, as far as the fitted tail holds.{_rates(used, tests)}",
            self.distance,
            *([f"Not calibrated: {', '.join(own)}, by formulas of their own."] if own else []),
            *_few(clean, self.classes),
        )


def described(facts: CalibrationFacts) -> str:
    """A calibration's name, how many networks it is of, and its fingerprint."""
    digits = f" ({facts.fingerprint})" if facts.fingerprint else ""
    return f"{facts.name} of {plural(facts.networks, 'clean network')}{digits}"


def _made(tests: Sequence[TestResult]) -> list[str]:
    return [test.name for test in tests if test.calibrated and test.p_value is not None]


def _rates(used: Calibration, tests: Sequence[TestResult]) -> str:
    """What these tests together found in other networks; what all of them did where that was not measured."""
    made = _made(tests)
    left_out = used.left_out(made)
    exact = used.rates_of(made)
    rates = [
        f"{attack} {rate.suspicious} of {rate.networks}"
        for attack, rate in (exact or used.rates).items()
    ]
    if not rates or not made:
        return ""
    found = (
        "of networks that had no part in it, so many were called suspicious or backdoored: "
        f"{', '.join(rates)}."
    )
    if not left_out:
        return f" {found[0].upper()}{found[1:]}"
    if exact:
        return f" Without the {left_out[0]} test, which was not made, {found}"
    return (
        f" With all {len(made) + len(left_out)} tests, {found} "
        f"Here {len(made)} of the tests {'was' if len(made) == 1 else 'were'} made, which may see far fewer."
    )


def _uncounted(tests: Sequence[TestResult]) -> list[str]:
    """A sentence about tests that say nothing without a calibration."""
    names = [test.name for test in without_p_value(tests)]
    if not names:
        return []
    return [
        f"Without a calibration these tests do not count: {', '.join(names)}. With few classes or few images not even a "
        "trigger that leads every image to one class would stand out; figures of feature maps can only be compared."
    ]


def _few(clean: ImageSet, classes: int) -> list[str]:
    """A sentence where the calibration's networks were tested with more images, or with more classes."""
    present = len(clean.labels.unique())
    if len(clean) >= ENOUGH_IMAGES and present == classes:
        return []
    return [
        f"The calibration's networks were tested with at least {ENOUGH_IMAGES} images, of all classes: "
        f"with {plural(len(clean), 'image')} of {present} of {classes} classes the p-values are less certain."
    ]
