"""The report on a terminal. The only module of ``hfscan.report`` that imports rich.

Nothing here hands a string to rich that it could read as markup: all text is `rich.text.Text`,
made of `printable` text. Colors are the terminal's own, and each of them repeats what is also
said in words.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from hfscan.report import findings, repair_wording, wording
from hfscan.report.text import (
    bar,
    fold_command,
    number,
    p_value,
    percent,
    plural,
    printable,
    shell_command,
    sparkline,
    tail,
)

if TYPE_CHECKING:
    from rich.console import JustifyMethod

    from hfscan.types import AuditReport, RepairReport, TestResult

_WIDTH = 80
_MANY_LAYERS = 30
_SHOWN_LAYERS = 20
_SHOWN_CLASSES = 10
_SHOWN_CHANNELS = 10
_LAYER_WIDTH = 30
_BAR_WIDTH = 28
_PROSE = 600
_INDENT = (0, 0, 0, 2)

_COLORS = {
    "BACKDOORED": "red",
    "SUSPICIOUS": "yellow",
    "NO_BACKDOOR_FOUND": "green",
    "INCONCLUSIVE": "cyan",
}
_OUTCOME_COLORS = {
    "good": "green",
    "standing out": "yellow",
    "untested": "yellow",
    "backdoored": "red",
    "costly": "red",
}
_ASCII = str.maketrans("█▉▊▋▌▍▎▏▇▆▅▄▃▂▁…", "###===--%*+=-:.~")


def renderable(report: AuditReport, *, verbose: bool = False) -> RenderableType:
    """An audit, ready for ``rich.console.Console.print``.

    Args:
        report: The audit.
        verbose: Show all layers and classes, more channels, and versions of packages.
    """
    sections = [
        _verdict_panel(report),
        _indented(_grid(wording.facts(report, printable, _identifier))),
        *_test_section(report.tests, report),
        *_chart_sections(report, verbose=verbose),
        *_layer_section(report, verbose=verbose),
        *_channel_section(report, _SHOWN_CHANNELS * (3 if verbose else 1)),
        *_line_section("Not tested", _skipped(report)),
        *_line_section("Notes", [_prose(note) for note in (*report.model.notes, *report.notes)]),
        *_line_section("Versions", _versions(report) if verbose else []),
        *_time_section(report),
        *_next_section(report),
    ]
    return _Encodable(_spaced(sections))


def render(report: AuditReport) -> str:
    """The report as text for a terminal. Here it is plain: 80 columns, no colors."""
    return _plain(renderable(report))


def repair_renderable(report: RepairReport) -> RenderableType:
    """A repair, ready for ``rich.console.Console.print``.

    Args:
        report: The repair.
    """
    target = report.audit.target
    sections = [
        _repair_panel(report),
        _indented(_grid(repair_wording.repair_facts(report, printable, _prose))),
        *_section("Accuracy on held-out clean images", _metrics_table(report)),
        *_section("Model-level tests, before and after", _twice_table(report, target)),
        *_line_section(repair_wording.PROOF, repair_wording.proof_sentences(report, printable)),
        *_line_section("Not tested", _skipped_in_repair(report)),
        *_erased_section(report),
        *_time_section(report),
    ]
    return _Encodable(_spaced(sections))


def render_repair(report: RepairReport) -> str:
    """A repair as plain text of 80 columns, without colors."""
    return _plain(repair_renderable(report))


@dataclass(frozen=True)
class _Encodable:
    """Replaces what the terminal's encoding lacks, cell by cell, so that columns stay straight."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for text, style, control in console.render(self.content, options):
            yield Segment(_encodable(text, options.encoding), style, control)


def _encodable(text: str, encoding: str) -> str:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        plain = text.translate(_ASCII)
        return "".join(char if char.isascii() else "?" * cell_len(char) for char in plain)
    return text


@dataclass(frozen=True)
class _Command:
    """A command that can be copied and pasted: indented, unless that breaks it within a word."""

    arguments: tuple[str, ...]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        command, indent = shell_command(self.arguments, width - 4), 4
        if max(map(len, command.splitlines())) > width - indent:
            command, indent = fold_command(command, width), 0
        yield Padding(Text(command, style="bold"), (0, 0, 0, indent))


def _plain(content: RenderableType) -> str:
    console = Console(
        file=io.StringIO(),
        width=_WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,
    )
    with console.capture() as capture:
        console.print(content)
    return "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _verdict_panel(report: AuditReport) -> Panel:
    color = _COLORS[report.verdict.value]
    lines = [
        Text(wording.verdict_sentence(report, printable), style="bold"),
        Text(wording.evidence(report, printable)),
        Text(wording.reason(report, _prose)),
        Text(wording.accepted(report, _prose)),
    ]
    return _panel(wording.verdict_title(report), color, lines)


def _repair_panel(report: RepairReport) -> Panel:
    lines = [
        Text(repair_wording.repair_sentence(report), style="bold"),
        *map(Text, repair_wording.target_sentences(report, printable, _prose)),
        Text(repair_wording.REPAIR_CAVEAT),
    ]
    color = _OUTCOME_COLORS[findings.repair_outcome(report)]
    return _panel(repair_wording.repair_title(report), color, lines)


def _panel(title: str, color: str, lines: Iterable[Text]) -> Panel:
    return Panel(
        Group(*(line for line in lines if line)),
        title=Text(title, style=f"bold {color}"),
        title_align="left",
        border_style=color,
        padding=(0, 1),
    )


def _test_section(tests: Sequence[TestResult], report: AuditReport) -> list[RenderableType]:
    made = [test for test in tests if not test.skipped]
    if not made:
        return []
    columns = ("test", "statistic>", "p-value>", "class that stands out most")
    table = _table(*columns, no_wrap={"test"})
    for test in made:
        table.add_row(
            Text(printable(test.name, 40)),
            Text(number(test.statistic)),
            Text(p_value(test.p_value)),
            _class(report, test.target),
        )
    return _section("Model-level tests", table)


def _chart_sections(report: AuditReport, *, verbose: bool) -> list[RenderableType]:
    """The test that says most, or all of them, class by class."""
    tests = report.tests if verbose else [findings.leading_test(report)]
    sections: list[RenderableType] = []
    for test in tests:
        if test is not None and test.class_statistics:
            ranked = findings.ranked_classes(test)
            shown = ranked if verbose else ranked[:_SHOWN_CLASSES]
            title = f"Classes in the {printable(test.name)} test ({printable(test.unit)})"
            left = plural(len(ranked) - len(shown), "class")
            caption = "" if len(shown) == len(ranked) else f"{left} with smaller figures left out."
            sections += _section(title, _chart(report, shown), caption)
    return sections


def _chart(report: AuditReport, shown: Sequence[tuple[int, float]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(overflow="fold")
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True, width=_BAR_WIDTH)
    top = max(shown[0][1], 0.0)
    for index, value in shown:
        name = _class(report, index)
        style = name.style if index == report.target else "cyan"
        drawn = bar(value / top if top else 0.0, _BAR_WIDTH)
        table.add_row(name, Text(number(value)), Text(drawn, style=style))
    return table


def _layer_section(report: AuditReport, *, verbose: bool) -> list[RenderableType]:
    layers = findings.summarize_layers(report)
    if not layers:
        return []
    many = len(layers) > _MANY_LAYERS and not verbose
    shown = findings.most_interesting(layers, _SHOWN_LAYERS) if many else layers
    table = _table(
        "layer",
        "channels>",
        "flagged>",
        "median>",
        "lowest>",
        "0 ... 100%",
        no_wrap={"layer", "0 ... 100%"},
    )
    for layer in shown:
        table.add_row(*map(Text, _layer_cells(layer)))
    captions = [
        wording.layers_caption(),
        *wording.coverage_sentences(report),
        wording.settings_sentence(report, printable),
    ]
    if many:
        left = plural(len(layers) - len(shown), "less interesting layer")
        captions.insert(0, f"{left} left out (--verbose shows all).")
    return _section("Layers", table, " ".join(captions))


def _layer_cells(layer: findings.LayerSummary) -> list[str]:
    return [
        tail(layer.layer, _LAYER_WIDTH),
        f"{layer.channels:,}",
        f"{layer.flagged:,}",
        percent(layer.median),
        percent(layer.lowest),
        sparkline(layer.histogram),
    ]


def _channel_section(report: AuditReport, limit: int) -> list[RenderableType]:
    channels = findings.suspicious_channels(report, limit)
    if not channels:
        return []
    table = _table("layer", "channel>", "accuracy>", "images went to", no_wrap={"layer"})
    for one in channels:
        table.add_row(
            Text(tail(one.layer, _LAYER_WIDTH)),
            Text(str(one.channel)),
            Text(percent(one.accuracy)),
            Text(", ").join(_move(report, move) for move in one.moves),
        )
    return _section("Channels", table, wording.channels_caption(report, printable))


def _move(report: AuditReport, move: findings.Move) -> Text:
    shares = f" {percent(move.share, 0)} ({percent(move.clean_share, 0)})"
    return Text.assemble(_class(report, move.label), shares)


def _next_section(report: AuditReport) -> list[RenderableType]:
    lines: list[RenderableType] = [Text("Next", style="bold")]
    for step in wording.next_steps(report):
        lines.append(_indented(Text(step.text)))
        if step.command:
            lines.append(_Command(step.command))
    return [Group(*lines)]


def _time_section(report: AuditReport | RepairReport) -> list[RenderableType]:
    timings = wording.timings(report, printable)
    return [Text.assemble(("Time", "bold"), "  ", timings)] if timings else []


def _metrics_table(report: RepairReport) -> Table:
    rows = repair_wording.measured(report)
    triggered = any(row.asr is not None or row.ra is not None for _, row in rows)
    table = _table(
        "network",
        "accuracy>",
        "95 % interval>",
        *(["attack success>", "robust>"] if triggered else []),
    )
    for name, metrics in rows:
        cells = repair_wording.metrics_cells(metrics)
        table.add_row(Text(name), *map(Text, cells if triggered else cells[:2]))
    return table


def _twice_table(report: RepairReport, target: int | None) -> RenderableType:
    of_target = [] if target is None else ["of target>"]
    columns = ("test", "network", "statistic>", "p-value>", "stands out most", *of_target)
    table = _table(*columns, no_wrap={"test", "network"})
    for network, tests in (("before", report.tests_before), ("after", report.tests_after)):
        for test in tests:
            if not test.skipped:
                figure = number(findings.class_statistic(test, target))
                table.add_row(
                    Text(printable(test.name, 24)),
                    Text(network),
                    Text(number(test.statistic)),
                    Text(p_value(test.p_value)),
                    _class(report.audit, test.target),
                    *([Text(figure)] if of_target else []),
                )
    return table if table.row_count else Text("No model-level test was made.")


def _erased_section(report: RepairReport) -> list[RenderableType]:
    erased = findings.erased_of(report)
    shown = sorted(erased, key=lambda row: -row[1])[:_SHOWN_LAYERS]
    shown = erased if len(erased) <= _MANY_LAYERS else [row for row in erased if row in shown]
    table = _table("layer", "erased>", "of channels>", no_wrap={"layer"})
    for layer, count, channels in shown:
        known = percent(None) if channels is None else f"{channels:,}"
        table.add_row(Text(tail(layer, 48)), Text(f"{count:,}"), Text(known))
    caption = repair_wording.erased_sentence(report)
    if len(shown) < len(erased):
        caption += f" {plural(len(erased) - len(shown), 'layer')} with fewer left out."
    return (
        _section("Erased channels", table, caption)
        if erased
        else _section("Erased channels", Text(caption))
    )


def _skipped(report: AuditReport) -> list[str]:
    return [
        *wording.skipped_tests(report.tests, _prose),
        *wording.skip_lines(findings.skipped_layers(report), _prose, printable, shown=6),
    ]


def _skipped_in_repair(report: RepairReport) -> list[str]:
    both = [*report.tests_before, *report.tests_after]
    return list(dict.fromkeys(wording.skipped_tests(both, _prose)))


def _versions(report: AuditReport) -> list[str]:
    packages = (f"{printable(k)} {printable(v)}" for k, v in report.versions.items())
    return [", ".join(packages)] if report.versions else []


def _class(report: AuditReport, index: int | None) -> Text:
    """A class by name; the suspected one in the color of the verdict."""
    if index is None:
        return Text(percent(None))
    style = f"bold {_COLORS[report.verdict.value]}" if index == report.target else ""
    return Text(printable(findings.label(report, index)), style=style)


def _identifier(text: str) -> str:
    return printable(text, 200)


def _prose(text: str) -> str:
    return printable(text, _PROSE)


def _table(*columns: str, no_wrap: Iterable[str] = ()) -> Table:
    """A table with these headings; ``>`` at the end means figures, to be set flush right."""
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )
    for column in columns:
        justify: JustifyMethod = "right" if column.endswith(">") else "left"
        fixed = justify == "right" or column in no_wrap
        table.add_column(Text(column.rstrip(">")), justify=justify, no_wrap=fixed, overflow="fold")
    return table


def _grid(rows: wording.Facts) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for key, value in rows:
        grid.add_row(Text(key), Text(value))
    return grid


def _section(title: str, body: RenderableType, caption: str = "") -> list[RenderableType]:
    lines: list[RenderableType] = [Text(title, style="bold"), _indented(body)]
    if caption:
        lines.append(_indented(Text(caption, style="dim")))
    return [Group(*lines)]


def _line_section(title: str, lines: Sequence[str]) -> list[RenderableType]:
    """A section of plain lines with a hanging indent, or none if there are no lines."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for line in lines:
        grid.add_row(Text("-"), Text(line))
    return _section(title, grid) if lines else []


def _indented(content: RenderableType) -> Padding:
    return Padding(content, _INDENT)


def _spaced(sections: Sequence[RenderableType]) -> Group:
    """The sections with a blank line between them."""
    separated = [part for section in sections for part in (section, Text())]
    return Group(*separated[:-1])
