"""The sentences of an audit's report, the same on a terminal, in Markdown and on a page.

Every function takes the text of models and data through ``quote`` (for names and prose) or
``code`` (for identifiers): the caller's way of making it safe where it is going to be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfscan.report.findings import (
    label,
    leading_test,
    target_phrase,
)
from hfscan.report.text import duration, number, p_equation, percent, plural

if TYPE_CHECKING:
    from hfscan.types import AuditReport, DataFacts, RepairReport, TestResult

Quote = Callable[[str], str]
Facts = list[tuple[str, str]]

# Verdicts are compared by value: hfscan.types loads torch, which a message does not need.


@dataclass(frozen=True)
class Step:
    """Something to do next.

    Args:
        text: What and why.
        command: Program and arguments, not quoted; empty if there is nothing to type.
    """

    text: str
    command: tuple[str, ...] = ()


def verdict_title(report: AuditReport) -> str:
    """The verdict in two or three words."""
    return report.verdict.value.replace("_", " ")


def verdict_sentence(report: AuditReport, quote: Quote) -> str:
    """The verdict in words that promise no more than an audit can know."""
    target = "" if report.target is None else quote(target_phrase(report, report.target))
    match report.verdict.value:
        case "BACKDOORED":
            named = f" (target {target})" if target else ""
            return f"This model behaves like a backdoored network{named}."
        case "SUSPICIOUS":
            named = f" (suspected target {target})" if target else ""
            return f"This model shows signs of a backdoor{named}, short of certainty."
        case "NO_BACKDOOR_FOUND":
            return (
                "No backdoor was found. This is no proof of absence: "
                "no test sees every kind of backdoor."
            )
        case _:
            return "The audit is inconclusive, which is not the same as finding nothing."


def reason(report: AuditReport, quote: Quote) -> str:
    """Why; empty if the report does not say."""
    return f"Reason: {quote(report.reason)}" if report.reason else ""


def accepted(report: AuditReport, quote: Quote) -> str:
    """Until when and why the finding is accepted; empty if it is not."""
    known = report.suppression
    if known is None:
        return ""
    return (
        f"Suppressed: {quote(known.rule)} is accepted for these weights until {quote(known.expires)}. "
        f"{quote(known.reason)}"
    )


def evidence(report: AuditReport, quote: Quote) -> str:
    """Statistic and p-value of the test that says most; empty without any."""
    test = leading_test(report)
    if test is None:
        return ""
    text = (
        f"{quote(test.name)} test: statistic {number(test.statistic)}, {p_equation(test.p_value)}"
    )
    if test.target is None or test.target == report.target:
        return text
    return f"{text}, most outstanding class {quote(label(report, test.target))}"


def facts(report: AuditReport, quote: Quote, code: Quote) -> Facts:
    """What was audited, and with which images: key and value."""
    model = report.model
    size = " x ".join(map(str, model.input_size))
    rows = [
        ("Model", code(model.ref)),
        ("Revision", code(model.revision) if model.revision else "none (not from the Hub)"),
        ("Architecture", f"{code(model.architecture)}, {plural(model.num_classes, 'class')}"),
        ("Weights", code(model.weights_file) if model.weights_file else "a module in memory"),
        ("sha256", code(model.weights_sha256)),
        ("Input", f"{size}, {_preprocessing(report, quote)}"),
    ]
    *data, (key, images) = data_facts(report.data, quote, code)
    return [*rows, *data, (key, f"{images}, clean accuracy {percent(report.clean_accuracy)}")]


def _preprocessing(report: AuditReport, quote: Quote) -> str:
    model = report.model
    parts = [f"{quote(model.interpolation)} resize", f"center crop {model.crop_pct * 100:.4g}%"]
    if model.mean:
        parts.append(f"mean {_numbers(model.mean)}")
    if model.std:
        parts.append(f"std {_numbers(model.std)}")
    return ", ".join(parts)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def data_facts(data: DataFacts, quote: Quote, code: Quote) -> Facts:
    """With which images, and how many."""
    parts = [code(data.name)]
    if data.split:
        parts.append(f"split {quote(data.split)}")
    if data.revision:
        parts.append(f"revision {code(data.revision)}")
    if data.image_column and data.label_column:
        parts.append(f"columns {code(data.image_column)} and {code(data.label_column)}")
    if data.label_map is not None:
        parts.append("labels mapped")
    images = f"{data.images:,} (fingerprint {code(data.fingerprint[:12])})"
    return [("Clean data", ", ".join(parts)), ("Images", images)]


def settings_sentence(report: AuditReport, quote: Quote) -> str:
    """How feature map testing was done."""
    settings = report.settings
    return (
        f"Feature map testing with {plural(settings.images, 'image')} per channel, "
        f"{plural(settings.steps, 'step')} of {settings.step_size:g} within {settings.eps:g}, "
        f"seed {settings.seed}; detector {quote(settings.detector)}; {_precision(report)}."
    )


def coverage_sentences(report: AuditReport) -> list[str]:
    """How many channels were screened and verified, where not all were tested with all images."""
    seen, images = report.coverage, sum(report.clean_predictions)
    if seen.verified == seen.channels:
        return []
    parts = [f"{seen.verified:,} tested with all {images} images"]
    if seen.screened:
        sizes = {int(size) for layer in report.layers for size in layer.tested if 0 < size < images}
        most, fewest = max(sizes, default=0), min(sizes, default=0)
        parts.append(f"{seen.screened:,} screened with {fewest} to {most} of them")
    if seen.untested:
        parts.append(f"{seen.untested:,} not tested")
    lines = [
        f"{report.settings.mode.capitalize()} mode, {plural(seen.channels, 'channel')}: {', '.join(parts)}."
    ]
    if seen.control:
        lines.append(
            f"Of {plural(seen.control, 'channel')} chosen at random and tested in full, "
            f"{seen.control_flagged} are flagged; the screen alone had found "
            f"{seen.control_found} of these."
        )
    return lines


def _precision(report: AuditReport) -> str:
    name = report.settings.precision
    if name in ("auto", "fp32"):
        return "float32"
    return f"{name}, which keeps {percent(report.agreement)} of a sample of float32's predictions"


def layers_caption() -> str:
    """How to read the table of layers."""
    return (
        "Accuracy of each channel's reverse-generated images after the last step. "
        "Flagged is not a verdict: some channels of any model are flagged."
    )


def channels_caption(report: AuditReport, quote: Quote) -> str:
    """How the channels are ranked."""
    if report.target is None:
        ranking = "accuracy, lowest first"
    else:
        ranking = f"the flow of their images into {quote(label(report, report.target))}"
    return (
        f"Ranked by {ranking}. After the last step: accuracy, and the class that gained most images "
        "with its share of them (in brackets: of the clean images)."
    )


def skip_lines(reasons: dict[str, list[str]], quote: Quote, code: Quote, shown: int) -> list[str]:
    """One line per reason with at most ``shown`` of its layers."""
    return [
        f"{quote(reason)}: {', '.join(map(code, layers[:shown]))}"
        + (f" and {len(layers) - shown:,} more" if len(layers) > shown else "")
        for reason, layers in reasons.items()
    ]


def skipped_tests(tests: Sequence[TestResult], quote: Quote) -> list[str]:
    """One line per model-level test that was not made."""
    return [f"{quote(test.name)} test: {quote(test.skipped)}" for test in tests if test.skipped]


def timings(report: AuditReport | RepairReport, quote: Quote) -> str:
    """All stages on one line; empty if nothing was measured."""
    if not report.seconds:
        return ""
    stages = ", ".join(f"{quote(name)} {duration(s)}" for name, s in report.seconds.items())
    return f"{duration(sum(report.seconds.values()))} ({stages})"


def next_steps(report: AuditReport) -> list[Step]:
    """What the reader can do now. The commands are not quoted yet."""
    model = report.model
    if not model.weights_file and report.verdict.value in ("BACKDOORED", "SUSPICIOUS"):
        return [Step("Repair the module from Python: hfscan.repair(model, report, clean).")]
    arguments = _arguments(report)
    match report.verdict.value:
        case "BACKDOORED" | "SUSPICIOUS":
            return _repair_steps(arguments)
        case "NO_BACKDOOR_FOUND":
            return [Step("Nothing to repair. The result holds for exactly these weights (sha256).")]
        case _ if not model.weights_file:
            return [Step("Remove the cause, then audit again.")]
        case _:
            return [Step("Remove the cause, then audit again:", ("hfscan", "audit", *arguments))]


def _arguments(report: AuditReport) -> list[str]:
    """The command line's words for this model and these images."""
    model, data = report.model, report.data
    words = [_pinned(model.ref, model.revision), "--clean-data", _pinned(data.name, data.revision)]
    if data.split not in ("", "test"):
        words += ["--split", data.split]
    if data.image_column is not None:
        words += ["--image-column", data.image_column]
    if data.label_column is not None:
        words += ["--label-column", data.label_column]
    if data.label_map is not None:
        words += ["--label-map", "FILE"]
    if not model.weights_file.endswith(".safetensors"):
        words.append("--allow-pickle")
    return words


def _pinned(name: str, revision: str | None) -> str:
    return f"{name}@{revision}" if revision else name


def _repair_steps(arguments: Sequence[str]) -> list[Step]:
    return [
        Step(
            "Unlearn what leads to the suspected class, and fine-tune; this continues from this audit:",
            ("hfscan", "repair"),
        ),
        Step("Elsewhere, or later; this audits again:", ("hfscan", "repair", *arguments)),
    ]
