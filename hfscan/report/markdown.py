"""The report as GitHub-flavored Markdown, for job summaries and model cards.

All text of models and data goes through `markdown` or `code_span`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hfscan.report import findings, repair_wording, wording
from hfscan.report.text import (
    bar,
    code_block,
    code_span,
    markdown,
    number,
    p_value,
    percent,
    plural,
    shell_command,
    sparkline,
)

if TYPE_CHECKING:
    from hfscan.types import AuditReport, RepairReport, TestResult

_SHOWN_CLASSES = 10
_SHOWN_CHANNELS = 10
_BAR_WIDTH = 20
_PROSE = 600
_NAME = 200

_SIGNS = {
    "BACKDOORED": "🔴",
    "SUSPICIOUS": "🟠",
    "NO_BACKDOOR_FOUND": "🟢",
    "INCONCLUSIVE": "⚪",
}

Row = Sequence[str]


def render(report: AuditReport) -> str:
    """The report as Markdown, for job summaries and comments. It starts with a heading of level 2.

    Args:
        report: The audit.
    """
    return _join(
        [
            f"## hfscan audit: {wording.verdict_title(report)}",
            f"{_SIGNS[report.verdict.value]} **{wording.verdict_sentence(report, markdown)}**",
            wording.evidence(report, markdown),
            wording.reason(report, _prose),
            wording.accepted(report, _prose),
            _facts(wording.facts(report, markdown, _code)),
            *_tests(report),
            *_classes(report),
            *_layers(report),
            *_channels(report),
            *_bullets("Not tested", _skipped(report)),
            *_bullets("Notes", map(_prose, (*report.model.notes, *report.notes))),
            *_next(report),
            _small_print(report),
            marker(report),
        ]
    )


def marker(report: AuditReport) -> str:
    """A comment that nobody sees, the same for every audit of a model: a bot finds its own comment by it.

    Args:
        report: The audit.
    """
    digest = hashlib.sha256(report.model.ref.encode("utf-8", "replace")).hexdigest()
    return f"<!-- hfscan-audit {digest[:16]} -->"


def render_repair(report: RepairReport) -> str:
    """Write a repair as Markdown for a section of a model card: headings of level 3, none above.

    Args:
        report: The repair.
    """
    return _join(
        [
            f"**{repair_wording.repair_title(report).capitalize()}. {repair_wording.repair_sentence(report)}**",
            "\n".join(
                f"- {line}" for line in repair_wording.target_sentences(report, markdown, _prose)
            ),
            repair_wording.REPAIR_CAVEAT,
            _facts(repair_wording.repair_facts(report, _prose, _code)),
            "### Accuracy on held-out clean images",
            _metrics(report),
            *_tests_twice(report),
            *_bullets(repair_wording.PROOF, repair_wording.proof_sentences(report, markdown)),
            *_bullets("Not tested", _skipped_in_repair(report)),
            *_erased(report),
            _time(wording.timings(report, markdown)),
        ]
    )


def _join(blocks: Iterable[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _code(text: str) -> str:
    return code_span(text, _NAME)


def _prose(text: str) -> str:
    return markdown(text, _PROSE)


def _facts(rows: wording.Facts) -> str:
    return _table(["", ""], rows)


def _tests(report: AuditReport) -> list[str]:
    made = [test for test in report.tests if not test.skipped]
    rows = [_test_cells(report, test) for test in made]
    columns = ["Test", "Statistic>", "p-value>", "Class that stands out most"]
    return ["### Model-level tests", _table(columns, rows)] if rows else []


def _test_cells(report: AuditReport, test: TestResult) -> list[str]:
    figures = [number(test.statistic), p_value(test.p_value)]
    return [markdown(test.name), *figures, _class(report, test.target)]


def _classes(report: AuditReport) -> list[str]:
    test = findings.leading_test(report)
    if test is None or not test.class_statistics:
        return []
    ranked = findings.ranked_classes(test)
    shown, top = ranked[:_SHOWN_CLASSES], max(ranked[0][1], 0.0)
    rows = [
        [_class(report, index), number(value), bar(value / top if top else 0.0, _BAR_WIDTH)]
        for index, value in shown
    ]
    left = len(ranked) - len(shown)
    return [
        f"### Classes in the {markdown(test.name)} test",
        _table(["Class", f"{markdown(test.unit).capitalize()}>", ""], rows),
        f"{plural(left, 'class')} with smaller figures left out." if left else "",
    ]


def _layers(report: AuditReport) -> list[str]:
    layers = findings.summarize_layers(report)
    columns = ["Layer", "Channels>", "Flagged>", "Median>", "Lowest>", "0 ... 100%"]
    return [
        "### Layers",
        wording.settings_sentence(report, markdown),
        " ".join(wording.coverage_sentences(report)),
        wording.layers_caption(),
        _details(f"{plural(len(layers), 'layer')}", _table(columns, map(_layer_cells, layers))),
    ] * bool(layers)


def _layer_cells(layer: findings.LayerSummary) -> Row:
    return [
        _code(layer.layer),
        f"{layer.channels:,}",
        f"{layer.flagged:,}",
        percent(layer.median),
        percent(layer.lowest),
        f"`{sparkline(layer.histogram)}`",
    ]


def _channels(report: AuditReport) -> list[str]:
    channels = findings.suspicious_channels(report, _SHOWN_CHANNELS)
    columns = ["Layer", "Channel>", "Accuracy>", "Images went to"]
    rows = [_channel_cells(report, one) for one in channels]
    caption = wording.channels_caption(report, markdown)
    return ["### Channels", caption, _table(columns, rows)] if rows else []


def _channel_cells(report: AuditReport, one: findings.SuspiciousChannel) -> Row:
    return [
        _code(one.layer),
        str(one.channel),
        percent(one.accuracy),
        ", ".join(_move(report, move) for move in one.moves),
    ]


def _move(report: AuditReport, move: findings.Move) -> str:
    shares = f"{percent(move.share, 0)} ({percent(move.clean_share, 0)})"
    return f"{_class(report, move.label)} {shares}"


def _skipped(report: AuditReport) -> list[str]:
    return [
        *wording.skipped_tests(report.tests, _prose),
        *wording.skip_lines(findings.skipped_layers(report), _prose, _code, shown=20),
    ]


def _next(report: AuditReport) -> list[str]:
    blocks = ["### Next"]
    for step in wording.next_steps(report):
        blocks.append(step.text)
        if step.command:
            blocks.append(code_block(shell_command(step.command), "sh"))
    return blocks


def _small_print(report: AuditReport) -> str:
    versions = ", ".join(f"{markdown(name)} {markdown(v)}" for name, v in report.versions.items())
    time = _time(wording.timings(report, markdown))
    return " ".join(part for part in (time, f"Versions: {versions}." if versions else "") if part)


def _time(timings: str) -> str:
    return f"Time: {timings}." if timings else ""


def _metrics(report: RepairReport) -> str:
    measured = repair_wording.measured(report)
    rows = [[network, *repair_wording.metrics_cells(metrics)] for network, metrics in measured]
    columns = ["Network", "Accuracy>", "95 % interval>", "Attack success>", "Robust accuracy>"]
    triggered = any(one.asr is not None or one.ra is not None for _, one in measured)
    return _table(columns, rows) if triggered else _table(columns[:3], [row[:3] for row in rows])


def _tests_twice(report: RepairReport) -> list[str]:
    target = report.audit.target
    rows = [
        [*_twice_cells(report, test, network), number(findings.class_statistic(test, target))]
        for network, tests in (("before", report.tests_before), ("after", report.tests_after))
        for test in tests
        if not test.skipped
    ]
    columns = ["Test", "Network", "Statistic>", "p-value>", "Class that stands out most"]
    if target is None:
        table = _table(columns, [row[:-1] for row in rows])
    else:
        table = _table([*columns, f"{_class(report.audit, target)}>"], rows)
    return ["### Model-level tests, before and after", table] if rows else []


def _twice_cells(report: RepairReport, test: TestResult, network: str) -> list[str]:
    name, *figures = _test_cells(report.audit, test)
    return [name, network, *figures]


def _skipped_in_repair(report: RepairReport) -> list[str]:
    both = [*report.tests_before, *report.tests_after]
    return list(dict.fromkeys(wording.skipped_tests(both, _prose)))


def _erased(report: RepairReport) -> list[str]:
    rows = [
        [_code(layer), f"{count:,}", percent(None) if channels is None else f"{channels:,}"]
        for layer, count, channels in findings.erased_of(report)
    ]
    table = _table(["Layer", "Erased>", "Of channels>"], rows)
    return [
        "### Erased channels",
        repair_wording.erased_sentence(report),
        _details(plural(len(rows), "layer"), table) if rows else "",
    ]


def _class(report: AuditReport, index: int | None) -> str:
    if index is None:
        return percent(None)
    name = markdown(findings.label(report, index))
    return f"**{name}**" if index == report.target else name


def _table(columns: Row, rows: Iterable[Row]) -> str:
    """A table with these headings; ``>`` at the end means figures, to be set flush right."""
    lines = [
        [column.removesuffix(">") for column in columns],
        ["---:" if column.endswith(">") else "---" for column in columns],
        *rows,
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>"


def _bullets(title: str, lines: Iterable[str]) -> list[str]:
    items = "\n".join(f"- {line}" for line in lines)
    return [f"### {title}", items] if items else []
