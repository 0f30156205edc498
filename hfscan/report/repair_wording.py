"""The sentences of a repair's report, the same on a terminal, in Markdown and on a page.

``quote`` and ``code`` are those of `hfscan.report.wording`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from hfscan.report.findings import drop_allowed, erased_of, repair_outcome
from hfscan.report.text import p_equation, percent, plural, points
from hfscan.report.wording import Facts, Quote, data_facts

if TYPE_CHECKING:
    from hfscan.types import Metrics, Relearning, RepairReport

REPAIR_CAVEAT = (
    "A repair is measured on clean images and by the same tests as the audit. "
    "It is no proof that nothing is left of a backdoor."
)

PROOF = "Is the old backdoor gone?"
"""Heading of `proof_sentences`."""


def repair_title(report: RepairReport) -> str:
    """The outcome in a few words."""
    match repair_outcome(report):
        case "good":
            return "REPAIRED"
        case "standing out":
            return "REPAIRED, BUT A CLASS STILL STANDS OUT"
        case "untested":
            return "REPAIRED, BUT NOT TESTED"
        case "backdoored":
            return "NOT REPAIRED: STILL BEHAVES LIKE A BACKDOORED NETWORK"
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


def target_sentences(report: RepairReport, quote: Quote, prose: Quote) -> list[str]:
    """Per test that was made twice: its p-value before and after; and whether that means anything."""
    after = {test.name: test for test in report.tests_after if not test.skipped}
    lines = [
        f"{quote(test.name)} test: {p_equation(test.p_value)} before, "
        f"{p_equation(after[test.name].p_value)} after."
        for test in report.tests_before
        if not test.skipped and test.name in after
    ]
    return [*lines, *([f"No verdict: {prose(report.unclear)}."] if report.unclear else [])]


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
    return rows + data_facts(report.data, quote, code)
