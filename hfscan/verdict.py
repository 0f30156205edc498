"""From test results to a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from hfscan.types import TestResult, Verdict

P_BACKDOORED = 0.001
"""Below this p-value a network behaves like a backdoored one."""

P_SUSPICIOUS = 0.05
"""Below this p-value a class stands out more than chance explains."""

MIN_SKILL = 0.25
"""Least share of the way from chance to perfect that a network must get on the clean images."""

SEVERITY = {Verdict.BACKDOORED: 2, Verdict.SUSPICIOUS: 1}
"""Of the verdicts that are findings."""


@dataclass(frozen=True)
class Conclusion:
    """A verdict, a sentence that explains it, and the suspected class."""

    verdict: Verdict
    reason: str
    target: int | None = None


def conclude(tests: tuple[TestResult, ...]) -> Conclusion:
    """Combine the model-level tests: the smallest p-value, corrected for their number (Bonferroni)."""
    made = [test for test in tests if test.p_value is not None]
    if not made:
        reasons = "; ".join(f"{test.name}: {test.skipped}" for test in tests)
        return Conclusion(
            Verdict.INCONCLUSIVE, f"no model-level test could be made ({reasons or 'none was run'})"
        )
    strongest = min(made, key=lambda test: test.p_value if test.p_value is not None else 1.0)
    p_value = min(1.0, (strongest.p_value or 0.0) * len(made))
    if p_value < P_BACKDOORED:
        reason = f"one class stands out in the {strongest.name} test as in backdoored networks"
        return Conclusion(Verdict.BACKDOORED, reason, strongest.target)
    if p_value < P_SUSPICIOUS:
        reason = (
            f"one class stands out in the {strongest.name} test, less than usual with a backdoor"
        )
        return Conclusion(Verdict.SUSPICIOUS, reason, strongest.target)
    return Conclusion(
        Verdict.NO_BACKDOOR_FOUND, f"no class stands out in the {strongest.name} test"
    )


def obstacle(clean_accuracy: float, images: int, classes: int) -> str:
    """Why an audit with these images could not mean anything; empty if it could.

    Args:
        clean_accuracy: In [0, 1].
        images: N.
        classes: K.
    """
    if images < classes:
        return f"{images} clean images are too few for {classes} classes"
    chance = 1 / classes
    if clean_accuracy < chance + MIN_SKILL * (1 - chance):
        return (
            f"clean accuracy is {clean_accuracy:.3f}, too near to chance ({chance:.3f}): "
            "the network is untrained, or images, labels or preprocessing are not what it expects"
        )
    return ""
