"""What shows that a repair worked, beyond the tests: inverted triggers before and after, and re-activation."""

from __future__ import annotations

from dataclasses import dataclass

FASTER = 0.15
"""A lead in mean success over the controls that counts."""


@dataclass(frozen=True)
class TriggerOutcome:
    """What a trigger, inverted for the suspected class on the network as it was, does to held-out images.

    Args:
        family: Its kind.
        size: How large it is, in ``unit``.
        unit: What the size counts.
        before: Share of the images of other classes that it leads to the class, in [0, 1].
        after: The same of the repaired network.
    """

    family: str
    size: float
    unit: str
    before: float
    after: float


@dataclass(frozen=True)
class Relearning:
    """How fast the repaired network learns that a trigger means a class.

    Args:
        target: The class.
        success: Share of the held-out images of other classes that the trigger leads to it, in [0, 1], after
            each number of steps in `Reactivation.steps`.
    """

    target: int
    success: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean success over the steps, in [0, 1]."""
        return sum(self.success) / max(1, len(self.success))


@dataclass(frozen=True)
class Reactivation:
    """Whether a few steps of fine-tuning bring a backdoor back.

    In a clean network one trigger is as good as another for any class: the suspected class is compared with
    classes that nobody suspects, which are taught with the same trigger.

    Args:
        family: Kind of the trigger.
        steps: After how many steps it is measured.
        suspected: Of the suspected class.
        controls: Of other classes.
    """

    family: str
    steps: tuple[int, ...]
    suspected: Relearning
    controls: tuple[Relearning, ...]

    @property
    def faster(self) -> bool:
        """Whether the suspected class is learned faster than all controls, by more than `FASTER`."""
        return self.suspected.mean > FASTER + max(control.mean for control in self.controls)


@dataclass(frozen=True)
class Proof:
    """What shows that a repair worked.

    Args:
        images: How many held-out images of other classes the triggers were tried on.
        triggers: One per family.
        reactivation: None if there are too few images.
    """

    images: int
    triggers: tuple[TriggerOutcome, ...]
    reactivation: Reactivation | None = None
