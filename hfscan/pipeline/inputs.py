"""What an audit or a repair is given: settings within their ranges, images that fit the model."""

from __future__ import annotations

from collections.abc import Mapping

from hfscan.errors import DataError, UsageError
from hfscan.fmt import PRECISIONS
from hfscan.labels import folded
from hfscan.model_tests import TESTS
from hfscan.types import AuditSettings, HubModel, ImageSet, RepairSettings

AT_LEAST_1 = "at least 1"
SHARE = "from 0 to 1"
SHARE_ABOVE_0 = "above 0 and at most 1"


def check_settings(settings: AuditSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    unknown = [name for name in settings.tests if name not in TESTS]
    if unknown:
        raise UsageError(f"there is no test {unknown[0]!r:.40}", f"choose from {', '.join(TESTS)}")
    precisions = ("auto", *PRECISIONS)
    ranges = {
        "images": (settings.images >= 1, AT_LEAST_1),
        "steps": (settings.steps >= 1, AT_LEAST_1),
        "step_size": (0 < settings.step_size <= 1, SHARE_ABOVE_0),
        "eps": (0 < settings.eps <= 1, SHARE_ABOVE_0),
        "mode": (settings.mode in ("exact", "fast"), "exact or fast"),
        "effort": (0 < settings.effort <= 1, SHARE_ABOVE_0),
        "gradient": (settings.gradient in ("start", "every"), "start or every"),
        "precision": (settings.precision in precisions, f"one of {', '.join(precisions)}"),
        "min_agreement": (0 <= settings.min_agreement <= 1, SHARE),
        "tau": (0 < settings.tau < 0.5, "above 0 and below 0.5"),
    }
    _check(ranges, settings)


def check_repair_settings(settings: RepairSettings) -> None:
    """Raise a UsageError for a setting out of its range."""
    ranges = {
        "erase_rate": (0 <= settings.erase_rate <= 1, SHARE),
        "epochs": (settings.epochs >= 0, "0 or more"),
        "lr": (settings.lr > 0, "above 0"),
        "batch_size": (settings.batch_size >= 2, "at least 2"),
        "unlearn_norm": (settings.unlearn_norm >= 0, "0 or more"),
        "clean_rate": (0 < settings.clean_rate < 1, "above 0 and below 1"),
        "max_accuracy_drop": (0 <= settings.max_accuracy_drop <= 1, SHARE),
    }
    _check(ranges, settings)


def _check(
    ranges: Mapping[str, tuple[bool, str]], settings: AuditSettings | RepairSettings
) -> None:
    for name, (fine, allowed) in ranges.items():
        if not fine:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} cannot be {getattr(settings, name)}", f"it must be {allowed}"
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
    theirs: dict[str, list[int]] = {}  # ImageNet has names that are there twice
    for index, name in enumerate(model.label_names):
        theirs.setdefault(folded(name), []).append(index)
    for index, name in enumerate(clean.classes):
        expected = theirs.get(folded(name), [index])
        if index not in expected:
            raise DataError(
                f"class {name!r} is label {index} in {clean.name}, but {expected[0]} in the model",
                "map the data set's labels to the model's with --label-map FILE",
            )
