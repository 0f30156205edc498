"""The sentences of a report, the same on a terminal and in Markdown.

Every function takes the text of models and data through ``quote`` (for names and prose) or
``code`` (for identifiers): the caller's way of making it safe where it is going to be shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfscan.report.findings import (
    drop_allowed,
    erased_of,
    label,
    leading_test,
    repair_outcome,
    target_phrase,
)
from hfscan.report.text import duration, number, p_equation, percent, plural, points

if TYPE_CHECKING:
    from hfscan.types import AuditReport, DataFacts, Metrics, Relearning, RepairReport, TestResult

Quote = Callable[[str], str]
Facts = list[tuple[str, str]]

# Verdicts are compared by value: hfscan.types loads torch, which a message does not need.

REPAIR_CAVEAT = (
    "A repair is measured on clean images and by the same tests as the audit. "
    "It is no proof that nothing is left of a backdoor."
)


PROOF = "Is the old backdoor gone?"
"""Heading of `proof_sentences`."""


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
    *data, (key, images) = _data_facts(report.data, quote, code)
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


def _data_facts(data: DataFacts, quote: Quote, code: Quote) -> Facts:
    parts = [code(data.name)]
    if data.split:
        parts.append(f"split {quote(data.split)}")
    if data.revision:
        parts.append(f"revision {code(data.revision)}")
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


def repair_title(report: RepairReport) -> str:
    """The outcome in a few words."""
    match repair_outcome(report):
        case "good":
            return "REPAIRED"
        case "standing out":
            return "REPAIRED, BUT A CLASS STILL STANDS OUT"
        case "untested":
            return "REPAIRED, BUT NOT TESTED"
        case "costly":
            return "REPAIR COSTS TOO MUCH ACCURACY"


def repair_sentence(report: RepairReport) -> str:
    """Accuracy before and after, and whether the difference is allowed."""
    drop, most = report.accuracy_drop, report.settings.max_accuracy_drop
    change = f"{points(drop)} {'lost' if drop >= 0 else 'gained'}"
    within = "within" if drop_allowed(report) else "beyond"
    return (
        f"Accuracy on {plural(report.before.images, 'held-out clean image')}: "
        f"{percent(report.before.accuracy)} before, {percent(report.after.accuracy)} after "
        f"({change}; {within} the bound of {points(most)})."
    )


def target_sentences(report: RepairReport, quote: Quote) -> list[str]:
    """Per test that was made twice: its p-value before and after."""
    after = {test.name: test for test in report.tests_after if not test.skipped}
    return [
        f"{quote(test.name)} test: {p_equation(test.p_value)} before, "
        f"{p_equation(after[test.name].p_value)} after."
        for test in report.tests_before
        if not test.skipped and test.name in after
    ]


def proof_sentences(report: RepairReport, quote: Quote) -> list[str]:
    """What shows that the old backdoor is gone, or is not."""
    proof = report.proof
    if proof is None:
        return []
    lines = [
        f"{quote(one.family)} trigger, inverted for the suspected class before: led "
        f"{percent(one.before, 0)} of {plural(proof.images, 'held-out image')} of other classes to it, "
        f"leads {percent(one.after, 0)} now."
        for one in proof.triggers
    ]
    again = proof.reactivation
    if again is None:
        return lines
    others = " and ".join(_shares(control) for control in again.controls)
    outcome = (
        "faster than other classes, so the backdoor may be hidden, not gone"
        if again.faster
        else "not faster than other classes"
    )
    return [
        *lines,
        f"Re-activation: after {', '.join(map(str, again.steps))} steps of fine-tuning that teach it "
        f"again, the {quote(again.family)} trigger leads {_shares(again.suspected)} of the images to the "
        f"suspected class; to other classes, taught in the same way, {others}: {outcome}.",
    ]


def _shares(learned: Relearning) -> str:
    return f"{', '.join(f'{100 * share:.0f}' for share in learned.success)} %"


def confidence(metrics: Metrics) -> str:
    """The confidence interval of the accuracy."""
    if metrics.interval is None:
        return percent(None)
    low, high = metrics.interval
    return f"{100 * low:.1f} to {percent(high)}"


def metrics_cells(metrics: Metrics) -> list[str]:
    """A row of a table: accuracy, its confidence interval, attack success, robust accuracy."""
    shares = [percent(metrics.accuracy), percent(metrics.asr), percent(metrics.ra)]
    return [shares[0], confidence(metrics), *shares[1:]]


def measured(report: RepairReport) -> list[tuple[str, Metrics]]:
    """Which networks were measured, and what came out."""
    if report.parameters is not None:
        after = "repaired"
    else:
        after = "erased and fine-tuned" if report.erased else "fine-tuned"
    erased = [("channels erased", report.erased_only)] if report.erased else []
    return [("before", report.before), *erased, (after, report.after)]


def erased_sentence(report: RepairReport) -> str:
    """How many channels were erased."""
    erased = erased_of(report)
    if not erased:
        return "No channel was erased."
    total = plural(sum(count for _, count, _ in erased), "channel")
    return f"{total} in {plural(len(erased), 'layer')} erased."


def _unlearning(report: RepairReport, quote: Quote) -> str:
    if report.unlearned is None:
        return "none"
    kinds = ", ".join(map(quote, report.triggers))
    return (
        f"inverted triggers ({kinds}), which led up to {percent(report.unlearned, 0)} of the images "
        "to the suspected class before"
    )


def _tuning_facts(report: RepairReport, quote: Quote) -> Facts:
    settings = report.settings
    share = f"{percent(settings.clean_rate, 0)} of the images"
    if report.parameters is not None:
        parameters = ", ".join(f"{name} {value}" for name, value in _flat(report.parameters))
        return [
            ("Parameters", quote(parameters) or "none"),
            ("Used", f"{share}, seed {settings.seed}"),
        ]
    epochs = plural(settings.epochs, "epoch")
    tuned = f"{epochs} on {share}, lr {settings.lr:g}, seed {settings.seed}"
    return [("Fine-tuning", tuned), ("Unlearning", _unlearning(report, quote))]


def _flat(parameters: Mapping[str, object]) -> list[tuple[str, str]]:
    """Hyper-parameters, those of what is nested in them too; a seed in there is another one's."""
    rows: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            rows += [(f"{name}.{inside}", text) for inside, text in _flat(value)]
        elif name != "seed":
            rows.append((name, f"{value:g}" if isinstance(value, float) else str(value)))
    return rows


def repair_facts(report: RepairReport, quote: Quote, code: Quote) -> Facts:
    """What was repaired, how, and with which images: key and value."""
    model = report.audit.model
    rows = [
        ("Model", code(model.ref)),
        ("Revision", code(model.revision) if model.revision else "none (not from the Hub)"),
        ("Method", quote(report.method)),
        *_tuning_facts(report, quote),
        ("Old sha256", code(model.weights_sha256)),
        ("New sha256", code(report.weights_sha256)),
    ]
    return rows + _data_facts(report.data, quote, code)
