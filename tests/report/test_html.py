from __future__ import annotations

import base64
import hashlib
import itertools
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hfscan.report import charts, html
from hfscan.report.html import render, render_repair
from hfscan.types import Suppression, Verdict

from .sample import (
    CLASSES,
    HOSTILE,
    audit_report,
    check_golden,
    hostile_report,
    many_layers,
    repair_report,
    with_pictures,
)

VOID = {"meta", "link", "img", "path", "rect", "circle"}


class Page(HTMLParser):
    """What is on a page; fails where elements are not nested properly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    def values(self, attribute: str) -> list[str]:
        return [attrs[attribute] or "" for _, attrs in self.elements if attribute in attrs]


def hostile_repair() -> str:
    report = repair_report(names=HOSTILE)
    audit = with_pictures(hostile_report(Verdict.BACKDOORED))
    evil = audit.reason
    return render_repair(replace(report, audit=audit, method=evil, parameters={evil: evil}))


PAGES = {
    **{verdict.value: render(audit_report(verdict=verdict)) for verdict in Verdict},
    **{
        f"hostile {verdict.value}": render(with_pictures(hostile_report(verdict)))
        for verdict in Verdict
    },
    "pictures": render(with_pictures(audit_report())),
    "many layers": render(many_layers(100)),
    "bare": render(audit_report(verdict=Verdict.INCONCLUSIVE, names=(), layer_names=())),
    "repair": render_repair(repair_report()),
    "hostile repair": hostile_repair(),
}
EVERY_PAGE = pytest.mark.parametrize("name", PAGES)


def test_golden() -> None:
    check_golden("audit.html", without_style(PAGES["pictures"]))
    check_golden("repair.html", without_style(PAGES["repair"]))


def without_style(text: str) -> str:
    text = re.sub(r"<style>.*?</style>\n", "", text, flags=re.DOTALL)
    return re.sub(r"sha256-[^']*", "sha256-...", text)


@EVERY_PAGE
def test_nothing_can_run_or_load(name: str) -> None:
    page = Page(PAGES[name])
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "iframe", "object", "embed", "form", "base", "video", "audio"}
    assert not [key for _, attrs in page.elements for key in attrs if key.startswith("on")]
    assert page.values("style") == []
    addresses = page.values("href") + page.values("src") + page.values("xlink:href")
    assert all(re.match(r"#[a-z-]+$|data:,$|data:image/png;base64,", each) for each in addresses)
    assert "url(" not in PAGES[name]
    assert "@import" not in PAGES[name]


@EVERY_PAGE
def test_the_policy_lets_exactly_this_style_through(name: str) -> None:
    policy = Page(PAGES[name]).all("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    (style,) = re.findall(r"<style>(.*?)</style>", PAGES[name], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy["content"] == (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


@EVERY_PAGE
def test_ids_and_links(name: str) -> None:
    page = Page(PAGES[name])
    ids = page.values("id")
    assert Counter(ids).most_common(1)[0][1] == 1
    targets = [href[1:] for href in page.values("href") if href.startswith("#")]
    assert set(targets + page.values("aria-labelledby")) <= set(ids)
    sections = {attrs["id"] for attrs in page.all("section") if "id" in attrs}
    assert sections == set(targets) - {"content"}


@EVERY_PAGE
def test_headings_pictures_and_tables_speak(name: str) -> None:
    page = Page(PAGES[name])
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(attrs["alt"] for attrs in page.all("img"))
    assert all(attrs.get("aria-hidden") == "true" for attrs in page.all("svg"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") for attrs in page.all("th"))
    assert [tag for tag, _ in page.elements if tag in ("header", "nav", "main", "footer")] == [
        *("header", "nav", "main", "footer")
    ]


def test_the_words_are_the_console_reports() -> None:
    for verdict, words in {
        Verdict.BACKDOORED: "behaves like a backdoored network (target class airplane)",
        Verdict.SUSPICIOUS: "shows signs of a backdoor (suspected target class airplane)",
        Verdict.NO_BACKDOOR_FOUND: "no proof of absence",
        Verdict.INCONCLUSIVE: "not the same as finding nothing",
    }.items():
        text = Page(PAGES[verdict.value]).text
        assert words in text
        assert verdict.value.replace("_", " ") in text


def test_a_report_says_what_is_in_it() -> None:
    text = Page(PAGES["pictures"]).text
    for word in (
        *("small-radius test: fewer than 10 images", "Conv1d is not covered: stem.conv1d"),
        *("The clean images are few: 512.", "hfscan repair", "torch 2.15.0", "min_agreement"),
        *("Clean deer", "Reversed seen as airplane", "Difference 4 times amplified"),
        "Inverted trigger patch leads 98% of the images to airplane",
    ):
        assert word in text
    alts = [attrs["alt"] for attrs in Page(PAGES["pictures"]).all("img")]
    assert alts[2] == "Reversed: seen as airplane"


def test_hostile_text_is_shown_as_text() -> None:
    text = Page(PAGES["hostile SUSPICIOUS"]).text
    assert "a|b`c`<script>alert(1)</script>" in text
    assert "\\x1b[2J" in text
    assert "\\u202eevil" in text


def test_sections_without_content_are_left_out() -> None:
    ids = {*Page(PAGES["bare"]).values("id")}
    assert not {"channels", "layers", "triggers"} & ids
    assert {"next", "facts", "skipped"} <= ids


def test_an_accepted_finding_is_said_and_the_verdict_stays() -> None:
    accepted = Suppression("HFS001", "known <b>", "2030-01-01")
    page = Page(render(replace(audit_report(), suppression=accepted)))
    assert "HFS001 is accepted for these weights until 2030-01-01. known <b>" in page.text
    assert "behaves like a backdoored network" in page.text


def test_many_classes_are_folded() -> None:
    names = tuple(f"species {index}" for index in range(100))
    report = audit_report(names=names)
    test = replace(report.tests[0], class_statistics=tuple(map(float, range(100))))
    (chart,) = charts.class_charts(replace(report, tests=(test,)))
    assert chart.shown[0].name == "species 99"
    assert (len(chart.shown), len(chart.others)) == (20, 80)
    assert chart.shown[0].share == 1.0


def test_many_layers_are_folded() -> None:
    found = charts.heat_map(many_layers(100))
    assert (len(found.shown), len(found.others)) == (40, 60)
    assert "60 less interesting layers" in Page(PAGES["many layers"]).text


@pytest.mark.parametrize(
    ("accuracy", "levels"),
    [
        ([1.0, 0.0, 0.5], (9, 5, 0)),
        ([np.nan, 1.0], (0,)),
        ([], ()),
        (list(np.linspace(0, 1, 1000)), None),
    ],
)
def test_heat(accuracy: list[float], levels: tuple[int, ...] | None) -> None:
    found = charts._levels(np.array(accuracy, np.float32))
    if levels is None:
        assert len(found) == 24
        assert list(found) == sorted(found, reverse=True)
    else:
        assert found == levels


def test_bars_stay_within_the_chart() -> None:
    assert [charts.coordinate(x) for x in (-1, 0, 0.333333, 2, float("nan"))] == [
        *("0", "0", "33.33", "100", "0")
    ]


def test_the_repair_page() -> None:
    text = Page(PAGES["repair"]).text
    assert "REPAIRED" in text
    assert "93.1% before, 92.3% after" in text
    assert "before the repair" in text
    assert "channels in 2 layers erased" in text
    assert CLASSES[0] in text


def test_each_test_has_a_chart_under_its_name() -> None:
    report = audit_report()
    other = replace(report.tests[0], name="vulnerability", p_value=0.5)
    page = render(replace(report, tests=(report.tests[0], other)))
    assert "<summary>vulnerability test</summary>" in page


def test_a_repair_that_erased_nothing_does_not_say_so() -> None:
    page = render_repair(replace(repair_report(), erased={}))
    assert '<th scope="row">fine-tuned</th>' in page
    assert "erased and fine-tuned" not in page


def test_before_and_after_have_one_scale() -> None:
    ((before, after),) = charts.repair_charts(repair_report())
    assert before.shown[0].share == 1.0
    assert after.shown[0].share == pytest.approx(14.84 / 208.13)


def test_templates_are_part_of_the_package() -> None:
    folder = Path(html.__file__).parent / "templates"
    assert {path.name for path in folder.iterdir()} == {
        *("audit.html", "base.html", "parts.html", "repair.html", "style.css")
    }


def test_what_is_not_finite_is_drawn_as_nothing() -> None:
    report = audit_report()
    test = replace(report.tests[0], class_statistics=(float("nan"), float("inf"), *[1.0] * 8))
    chart = charts.class_charts(replace(report, tests=(test,)))[0]
    assert {row.share for row in chart.shown} <= {0.0, 1.0}
