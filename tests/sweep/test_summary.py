from __future__ import annotations

from html.parser import HTMLParser

from hfscan.sweep import index, summary
from hfscan.sweep.record import Record

EVIL = "<script>alert(1)</script>|\x1b[31m\n# `x` @me [a](http://evil)"
RECORDS = [
    Record("org/fine", "audited", verdict="NO_BACKDOOR_FOUND", p_value=0.5, clean_accuracy=0.9),
    Record("org/odd", "failed", reason=EVIL, hint="try again"),
    Record(
        "org/bad", "audited", counts=True, verdict="BACKDOORED", target=EVIL, p_value=1e-9,
        reports={"json": "sweep-reports/a b.json"},
    ),
    Record("org/other", "unsupported", reason="a pickle"),
]  # fmt: skip


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]


def test_the_worst_comes_first() -> None:
    text = summary.render(RECORDS, 6)
    assert (
        "6 models: 1 backdoored, 1 failed, 1 not supported, 1 no backdoor found, 2 not audited yet."
        in text
    )
    models = ("org/bad", "org/odd", "org/other", "org/fine")
    assert sorted(models, key=text.index) == list(models)


def test_markdown_is_escaped() -> None:
    text = summary.render(RECORDS, 4)
    assert "<script>" not in text
    assert "\x1b" not in text
    assert "](http" not in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.count("|") for row in rows] == [7] * 4


def test_html_is_escaped_and_links_the_reports() -> None:
    page = index.render(RECORDS, 4)
    tags = Tags(page)
    assert {"script", "img", "iframe"} & set(tags.tags) == set()
    assert tags.links == ["a%20b.json"]
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert "default-src &#x27;none&#x27;" in page


def test_nothing() -> None:
    assert "0 models: none audited." in summary.render([], 0)
    assert "<table>" not in index.render([], 0)
