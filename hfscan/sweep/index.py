"""A sweep as one HTML page that links each model's report; it needs no network and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from hfscan.report.text import printable
from hfscan.sweep.record import Record
from hfscan.sweep.summary import REASON, cells, grouped, headline, said

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 75rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8886; }
td { overflow-wrap: anywhere; } td.n, th.n { text-align: right; white-space: nowrap; }
""".strip()

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

COLUMNS = (
    ("Model", ""),
    ("Class", ""),
    ("p", "n"),
    ("Clean accuracy", "n"),
    ("Time", "n"),
    ("Reason", ""),
    ("Reports", ""),
)


def render(records: Sequence[Record], total: int) -> str:
    """The page.

    Args:
        records: Of the models that are done; their reports lie beside the page.
        total: How many there are.
    """
    sections = "\n".join(
        f"<h2>{escape(group.title)} ({len(group.records)})</h2>\n{_table(group.records)}"
        for group in grouped(records)
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>hfscan sweep</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n"
        f"<h1>hfscan sweep</h1>\n<p>{_text(headline(records, total))}.</p>\n{sections}\n"
        "</body>\n</html>\n"
    )


def _table(records: Sequence[Record]) -> str:
    head = "".join(f'<th scope="col"{_class(kind)}>{name}</th>' for name, kind in COLUMNS)
    rows = "\n".join(_row(record) for record in records)
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>'


def _row(record: Record) -> str:
    target, p, accuracy, time = (_text(cell) for cell in cells(record))
    links = " ".join(
        f'<a href="{escape(quote(file.rpartition("/")[2]))}">{_text(name)}</a>'
        for name, file in record.reports.items()
    )
    values = (_text(record.model), target, p, accuracy, time, _text(said(record)), links)
    return "".join(
        f"<td{_class(kind)}>{value}</td>" for value, (_, kind) in zip(values, COLUMNS, strict=True)
    ).join(("<tr>", "</tr>"))


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _text(text: str) -> str:
    return escape(printable(text, REASON))
