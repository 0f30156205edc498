"""What decides a repair, and what it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from torch import nn

from hfscan.errors import AuditError
from hfscan.types.audit import AuditReport, TestResult
from hfscan.types.basic import SCHEMA, Channels, Progress, Verdict, silent
from hfscan.types.images import DataFacts, ImageSet
from hfscan.types.proof import Proof
from hfscan.types.read import index_in, typed


@dataclass(frozen=True, eq=False)
class Repaired:
    """What a defense makes of a network.

    Args:
        net: The repaired copy, in eval mode.
        erased: The channels that it erased; empty for a defense that erases none.
        how: One sentence for the report.
        unlearned: Largest share of images that an inverted trigger led to the suspected class before;
            None where none was inverted.
        triggers: Families of the inverted triggers that were unlearned.
    """

    net: nn.Module
    erased: Channels = field(default_factory=dict)
    how: str = ""
    unlearned: float | None = None
    triggers: tuple[str, ...] = ()


class Defense(Protocol):
    """A way to repair a network with clean images; its hyper-parameters are fields of a dataclass."""

    def repair(
        self, net: nn.Module, clean: ImageSet, *, seed: int, progress: Progress = silent
    ) -> Repaired:
        """Repair a copy of a network.

        Args:
            net: float32 ``(B, 3, H, W)`` in [0, 1] -> logits ``(B, K)``; it is left as it was.
            clean: Clean images of the network's size and classes, all of them to tune with.
            seed: Of everything random.
            progress: Shaped like ``rich.progress.track``.
        """


@dataclass(frozen=True)
class Metrics:
    """Fractions in [0, 1]; None where there is no trigger to measure with, as in every real audit.

    Args:
        accuracy: Share of clean images classified as labelled.
        asr: Attack success rate.
        ra: Robust accuracy: triggered images classified as their original label.
        images: How many images ``accuracy`` was measured on.
        interval: 95 % confidence interval of ``accuracy``; None if unknown.
    """

    accuracy: float
    asr: float | None = None
    ra: float | None = None
    images: int = 0
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class RepairSettings:
    """Everything that decides a repair's result, apart from model, report and images.

    Args:
        erase_rate: Share of each layer's channels to erase when a target class is suspected, rounded; 0 erases none.
        epochs: Of fine-tuning.
        lr: Peak learning rate.
        batch_size: Images per step of fine-tuning.
        momentum: Of SGD.
        weight_decay: Of SGD.
        flip: Mirror half of the images while fine-tuning: not where that changes their class.
        unlearn_norm: L2 norm of the additive pattern among the inverted triggers that are unlearned while
            fine-tuning, for images in [0, 1]; 0 inverts none and only fine-tunes.
        clean_rate: Share of the clean images to tune on, in (0, 1); the rest measures.
        max_accuracy_drop: A larger loss of accuracy is a failed repair.
        seed: Of the split, the order of images and the augmentation.
    """

    erase_rate: float = 0.015
    epochs: int = 5
    lr: float = 0.01
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 5e-4
    flip: bool = True
    unlearn_norm: float = 0.75
    clean_rate: float = 0.8
    max_accuracy_drop: float = 0.03
    seed: int = 0


@dataclass(frozen=True, eq=False)
class RepairReport:
    """The result of a repair; the metrics are measured on the held-out clean images.

    Args:
        audit: The audit that the repair went on from.
        data: The clean images, of which ``settings.clean_rate`` tuned the network.
        settings: What decided the result.
        erased: The channels that were erased.
        method: How it was repaired, one sentence: how these channels were chosen, by the default.
        before: The network as it was.
        erased_only: After erasing, before fine-tuning.
        after: The repaired network.
        tests_before: Model-level tests of the network as it was.
        tests_after: Of the repaired network.
        verdict_after: What the tests conclude about the repaired network.
        unclear: Why that is INCONCLUSIVE; empty if it is not.
        unlearned: Largest share of images that an inverted trigger leads to the suspected class, before
            the repair; None without a suspected class.
        triggers: Families of the inverted triggers that were unlearned.
        weights_sha256: Of the repaired tensors.
        defense: Name of the method.
        parameters: Hyper-parameters of a method that has its own; None for the default, whose are in
            ``settings``.
        proof: Whether the old backdoor is gone; None without a suspected class or enough images.
        seconds: Stage -> duration.
    """

    audit: AuditReport
    data: DataFacts
    settings: RepairSettings
    erased: Channels
    method: str
    before: Metrics
    erased_only: Metrics
    after: Metrics
    tests_before: tuple[TestResult, ...]
    tests_after: tuple[TestResult, ...]
    verdict_after: Verdict
    weights_sha256: str
    unclear: str = ""
    unlearned: float | None = None
    triggers: tuple[str, ...] = ()
    defense: str = "FlowRepair"
    parameters: Mapping[str, Any] | None = None
    proof: Proof | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def accuracy_drop(self) -> float:
        """Accuracy before minus accuracy after; negative if the network got better."""
        return self.before.accuracy - self.after.accuracy

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data, the audit included."""
        return {
            "schema": SCHEMA,
            "data": asdict(self.data),
            "settings": self._settings(),
            "defense": self.defense,
            "parameters": None if self.parameters is None else dict(self.parameters),
            "method": self.method,
            "erased": {layer: list(channels) for layer, channels in self.erased.items()},
            "before": asdict(self.before),
            "erased_only": asdict(self.erased_only),
            "after": asdict(self.after),
            "tests_before": [asdict(test) for test in self.tests_before],
            "tests_after": [asdict(test) for test in self.tests_after],
            "verdict_after": self.verdict_after.value,
            "unclear": self.unclear,
            "unlearned": self.unlearned,
            "triggers": list(self.triggers),
            "weights_sha256": self.weights_sha256,
            "proof": None if self.proof is None else asdict(self.proof),
            "seconds": dict(self.seconds),
            "audit": self.audit.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RepairReport:
        """Read what `to_dict` wrote.

        Raises:
            AuditError: The data is not a report of this schema.
        """
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise AuditError(
                f"not an hfscan repair report of schema {SCHEMA} (schema: {schema!r:.40})",
                "run hfscan repair again",
            )
        try:
            return cls._read(data)
        except (KeyError, TypeError, ValueError, IndexError, OverflowError) as e:
            raise AuditError(
                f"the repair report is damaged ({type(e).__name__}: {e})", "run hfscan repair again"
            ) from e

    @classmethod
    def _read(cls, data: Mapping[str, Any]) -> RepairReport:
        audit = AuditReport.from_dict(data["audit"])
        erased = typed(dict[str, tuple[int, ...]], data["erased"])
        tests = {name: typed(tuple[TestResult, ...], data[name]) for name in _TESTS}
        for test in (*tests["tests_before"], *tests["tests_after"]):
            index_in(test.target or 0, audit.model.num_classes)
            index_in(max(0, len(test.class_statistics) - 1), audit.model.num_classes)
        if data["parameters"] is not None and not isinstance(data["parameters"], dict):
            raise TypeError("parameters has the wrong type")
        return cls(
            audit=audit,
            data=typed(DataFacts, data["data"]),
            settings=typed(RepairSettings, data["settings"]),
            erased={layer: list(channels) for layer, channels in erased.items()},
            method=typed(str, data["method"]),
            **{name: typed(Metrics, data[name]) for name in _METRICS},
            **tests,
            verdict_after=Verdict(data["verdict_after"]),
            weights_sha256=typed(str, data["weights_sha256"]),
            unclear=typed(str, data.get("unclear", "")),
            unlearned=typed(float | None, data["unlearned"]),
            triggers=typed(tuple[str, ...], data["triggers"]),
            defense=typed(str, data["defense"]),
            parameters=data["parameters"],
            proof=_read_proof(data["proof"], audit.model.num_classes),
            seconds=typed(dict[str, float], data["seconds"]),
        )

    def _settings(self) -> dict[str, Any]:
        """What decided the result: of the settings, a method of its own uses the shared ones."""
        settings = asdict(self.settings)
        if self.parameters is None:
            return settings
        return {name: settings[name] for name in _SHARED}


_TESTS = ("tests_before", "tests_after")
_METRICS = ("before", "erased_only", "after")
_SHARED = ("clean_rate", "max_accuracy_drop", "seed")


def _read_proof(data: Any, classes: int) -> Proof | None:
    found: Proof | None = typed(Proof | None, data)
    if found is not None and found.reactivation is not None:
        again = found.reactivation
        for learned in (again.suspected, *again.controls):
            index_in(learned.target, classes)
            if len(learned.success) != len(again.steps):
                raise ValueError("success has the wrong length")
        if not again.controls:
            raise ValueError("there are no controls")
    return found
