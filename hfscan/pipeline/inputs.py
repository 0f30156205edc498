"""What an audit or a repair is given: settings within their ranges, images that fit the model."""

from __future__ import annotations

from collections.abc import Mapping

from hfscan.errors import DataError, UsageError
from hfscan.fmt import (
    PRECISIONS,
)
from hfscan.model_tests import TESTS
from hfscan.types import (
    AuditSettings,
    HubModel,
    ImageSet,
    RepairSettings,
)


def check_settings(settings: AuditSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    ranges = {
        "images": settings.images >= 1,
        "steps": settings.steps >= 1,
        "step_size": 0 < settings.step_size <= 1,
        "eps": 0 < settings.eps <= 1,
        "mode": settings.mode in ("exact", "fast"),
        "effort": 0 < settings.effort <= 1,
        "gradient": settings.gradient in ("start", "every"),
        "precision": settings.precision == "auto" or settings.precision in PRECISIONS,
        "min_agreement": 0 <= settings.min_agreement <= 1,
        "tau": 0 < settings.tau < 0.5,
        "tests": set(settings.tests) <= set(TESTS),
    }
    _check(ranges, settings, "audit")


def check_repair_settings(settings: RepairSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    ranges = {
        "erase_rate": 0 <= settings.erase_rate <= 1,
        "epochs": settings.epochs >= 0,
        "lr": settings.lr > 0,
        "batch_size": settings.batch_size >= 2,
        "unlearn_norm": settings.unlearn_norm >= 0,
        "clean_rate": 0 < settings.clean_rate < 1,
        "max_accuracy_drop": 0 <= settings.max_accuracy_drop <= 1,
    }
    _check(ranges, settings, "repair")


def _check(
    ranges: Mapping[str, bool], settings: AuditSettings | RepairSettings, command: str
) -> None:
    for name, fine in ranges.items():
        if not fine:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} cannot be {getattr(settings, name)}", f"see hfscan {command} --help"
            )


def fitted(model: HubModel, clean: ImageSet) -> ImageSet:
    """Check that images fit a model, and resize them to its input size if they must be.

    Raises:
        DataError: There are no images, only one class, labels out of range, or class names that are
            in another order than the model's.
    """
    if not len(clean):
        raise DataError(f"{clean.name} has no images", "an audit needs images of every class")
    present = clean.labels.unique()
    if len(present) < 2:
        raise DataError(
            f"all images of {clean.name} have the same label ({int(present[0])})",
            "an audit needs images of every class",
        )
    highest = int(present[-1])
    if highest >= model.num_classes:
        raise DataError(
            f"label {highest} of {clean.name} is out of range: the model has {model.num_classes} classes",
            "use the data set that the model was trained for, or map the labels with --label-map",
        )
    _check_names(model, clean)
    return clean.resized(model.input_size[1:])


def _check_names(model: HubModel, clean: ImageSet) -> None:
    def key(name: str) -> str:
        return "".join(character for character in name.casefold() if character.isalnum())

    theirs: dict[str, list[int]] = {}  # ImageNet has names that are there twice
    for index, name in enumerate(model.label_names):
        theirs.setdefault(key(name), []).append(index)
    for index, name in enumerate(clean.classes):
        expected = theirs.get(key(name), [index])
        if index not in expected:
            raise DataError(
                f"class {name!r} is label {index} in {clean.name}, but {expected[0]} in the model",
                "map the data set's labels to the model's with --label-map FILE",
            )
