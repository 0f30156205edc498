"""The report as one HTML file: no script, no request, dark and light, for screens, printers and screen readers.

The only module that imports jinja2. Templates escape everything; text of models and data goes through
`printable` besides, and pictures were checked when the report was read.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfscan.report import charts, findings, repair_wording, wording
from hfscan.report.text import number, p_value, percent, plural, printable, shell_command

if TYPE_CHECKING:
    from jinja2 import Environment

    from hfscan.types import AuditReport, Metrics, RepairReport, TestResult

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = 200
_PROSE = 600
_SHOWN_CHANNELS = 10

_TONES = {
    "BACKDOORED": "backdoored",
    "SUSPICIOUS": "suspicious",
    "NO_BACKDOOR_FOUND": "nothing",
    "INCONCLUSIVE": "inconclusive",
}

View = dict[str, Any]


def render(report: AuditReport) -> str:
    """The report as one HTML page, with charts and pictures.

    Args:
        report: The audit.
    """
    return _page("audit.html", _audit(report))


def render_repair(report: RepairReport) -> str:
    """Write a repair as a page: before and after, and the pictures of its audit.

    Args:
        report: The repair.
    """
    return _page("repair.html", _repair(report))


def _page(name: str, view: View) -> str:
    style = (_TEMPLATES / "style.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    shared: View = {"style": style, "style_hash": f"sha256-{digest}"}
    page = _environment().get_template(name).render(shared | view)
    return "".join(f"{line}\n" for line in page.splitlines() if line.strip())


def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {"quote": printable, "identifier": _identifier, "prose": _prose}
    made.filters |= {**filters, "command": shell_command, "coordinate": charts.coordinate}
    made.globals |= {**filters, "wording": wording, "repair_wording": repair_wording}
    return made


def _identifier(text: str) -> str:
    return printable(text, _NAME)


def _prose(text: str) -> str:
    return printable(text, _PROSE)


def _audit(report: AuditReport) -> View:
    view = {
        "report": report,
        "report_of": report,
        "title": f"{wording.verdict_title(report)}: {_identifier(report.model.ref)} - hfscan",
        "tone": _TONES[report.verdict.value],
        "figures": _figures(report),
        "charts": charts.class_charts(report),
        "tests": [_test(report, test) for test in report.tests if not test.skipped],
        "triggers": charts.trigger_pictures(report),
        "cards": charts.channel_cards(report),
        "channels": _channels(report),
        "eps": percent(report.settings.eps, 0),
        "layers": charts.heat_map(report),
        "skipped": _skipped(report),
        "settings": [
            wording.settings_sentence(report, printable),
            *wording.coverage_sentences(report),
        ],
        "all_settings": _rows(
            asdict(report.settings) | {"tests": ", ".join(report.settings.tests) or "all"}
        ),
        "versions": _rows(report.versions),
        "version": printable(report.versions.get("hfscan", "")),
        "timings": wording.timings(report, printable),
        "notes": [_prose(note) for note in (*report.model.notes, *report.notes)],
    }
    return view | {"contents": _contents(view)}


def _contents(view: View) -> list[tuple[str, str]]:
    """Links to the sections that are there, in their order."""
    sections = [
        ("classes", "Class by class", view["charts"]),
        ("tests", "Model-level tests", view["tests"]),
        ("triggers", "Inverted triggers", view["triggers"]),
        ("channels", "Suspicious channels", view["cards"] or view["channels"]),
        ("layers", "Layers", view["layers"].shown),
        ("skipped", "Not tested", view["skipped"]),
        ("next", "Next steps", True),
        ("facts", "What and how", True),
    ]
    return [(key, name) for key, name, there in sections if there]


def _rows(values: Any) -> wording.Facts:
    return [(printable(str(key)), printable(str(value))) for key, value in values.items()]


def _figure(name: str, value: str, more: str = "") -> dict[str, str]:
    return {"name": name, "value": value, "more": more}


def _figures(report: AuditReport) -> list[dict[str, str]]:
    """The few numbers that people look for first."""
    found = [
        _figure(
            "Clean accuracy",
            percent(report.clean_accuracy),
            f"of {plural(report.data.images, 'image')}",
        )
    ]
    if report.target is not None:
        found.append(_figure("Suspected target", printable(findings.label(report, report.target))))
    test = findings.leading_test(report)
    if test is not None:
        found.append(_figure("p-value", p_value(test.p_value), printable(f"{test.name} test")))
    seen = report.coverage
    if seen.channels:
        flagged = sum(map(len, report.flagged.values()))
        more = f"{flagged:,} flagged, which is no verdict"
        found.append(_figure("Channels tested", f"{seen.verified + seen.screened:,}", more))
    return found


def _test(report: AuditReport, test: TestResult) -> View:
    target = percent(None)
    if test.target is not None:
        target = printable(findings.label(report, test.target))
    return {
        "name": printable(test.name),
        "statistic": number(test.statistic),
        "p_value": p_value(test.p_value),
        "target": target,
        "hit": test.target is not None and test.target == report.target,
    }


def _channels(report: AuditReport) -> list[View]:
    return [
        {
            "layer": _identifier(one.layer),
            "channel": one.channel,
            "accuracy": percent(one.accuracy),
            "moves": charts.moves(report, one),
        }
        for one in findings.suspicious_channels(report, _SHOWN_CHANNELS)
    ]


def _skipped(report: AuditReport) -> list[str]:
    return [
        *wording.skipped_tests(report.tests, _prose),
        *wording.skip_lines(findings.skipped_layers(report), _prose, _identifier, shown=20),
    ]


def _repair(report: RepairReport) -> View:
    audit = report.audit
    both = [*report.tests_before, *report.tests_after]
    erased = findings.erased_of(report)
    view = {
        "report": report,
        "report_of": audit,
        "title": f"{repair_wording.repair_title(report)}: {_identifier(audit.model.ref)} - hfscan",
        "tone": findings.repair_outcome(report).replace(" ", "-"),
        "measured": [(name, _metrics(one)) for name, one in repair_wording.measured(report)],
        "triggered": any(one.asr is not None for _, one in repair_wording.measured(report)),
        "tests": _twice(report),
        "target": None if audit.target is None else printable(findings.label(audit, audit.target)),
        "proof": repair_wording.proof_sentences(report, printable),
        "charts": charts.repair_charts(report),
        "triggers": charts.trigger_pictures(audit),
        "cards": charts.channel_cards(audit),
        "eps": percent(audit.settings.eps, 0),
        "erased": [
            (_identifier(layer), f"{count:,}", percent(None) if of is None else f"{of:,}")
            for layer, count, of in erased
        ],
        "skipped": list(dict.fromkeys(wording.skipped_tests(both, _prose))),
        "timings": wording.timings(report, printable),
        "version": printable(audit.versions.get("hfscan", "")),
    }
    return view | {"contents": _repair_contents(view)}


def _repair_contents(view: View) -> list[tuple[str, str]]:
    sections = [
        ("accuracy", "Accuracy", True),
        ("tests", "Tests, before and after", view["tests"]),
        ("proof", repair_wording.PROOF, view["proof"]),
        ("classes", "Class by class", view["charts"]),
        ("triggers", "Inverted triggers", view["triggers"]),
        ("channels", "Channels before", view["cards"]),
        ("erased", "Erased channels", True),
        ("skipped", "Not tested", view["skipped"]),
        ("facts", "What and how", True),
    ]
    return [(key, name) for key, name, there in sections if there]


def _metrics(one: Metrics) -> View:
    return {
        "accuracy": percent(one.accuracy),
        "interval": repair_wording.confidence(one),
        "share": one.accuracy,
        "asr": percent(one.asr),
        "ra": percent(one.ra),
    }


def _twice(report: RepairReport) -> list[View]:
    audit = report.audit
    return [
        _test(audit, test)
        | {
            "network": network,
            "of_target": number(findings.class_statistic(test, audit.target)),
        }
        for network, tests in (("before", report.tests_before), ("after", report.tests_after))
        for test in tests
        if not test.skipped
    ]
