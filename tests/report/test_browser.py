"""The HTML report in a real browser: Debian's chromium-headless-shell, chromium or Google Chrome."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hfscan.report.html import render, render_repair
from hfscan.types import Suppression, Verdict

from .sample import audit_report, hostile_report, repair_report, with_pictures

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
PROGRAM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium here"),
]

ACCEPTED = Suppression("HFS001", "known", "2030-01-01")
PAGES = {
    "audit": render(with_pictures(audit_report())),
    "accepted": render(replace(with_pictures(audit_report()), suppression=ACCEPTED)),
    **{verdict.value: render(hostile_report(verdict)) for verdict in Verdict},
    "repair": render_repair(repair_report()),
}
SIZES = [(width, scheme) for width in (390, 800, 1400) for scheme in ("light", "dark")]

CONTRASTS = """() => {
  const channel = c => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const numbers = css => css.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const color = numbers(getComputedStyle(e).backgroundColor);
      if (color.length == 3 || color[3] == 1) return color;
    }
    return [255, 255, 255];
  };
  const spoken = e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim());
  return [...document.querySelectorAll("body *")].filter(spoken).map(e => {
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), e.tagName + "." + e.className];
  });
}"""


@dataclass
class Visit:
    """A page, and everything that it did on its own."""

    page: Page
    requests: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    contexts = []

    def visit(name: str, *, width: int = 800, scheme: str = "light", **options: Any) -> Visit:
        file = tmp_path / "report.html"
        file.write_text(PAGES[name], encoding="utf-8")
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, **options
        )
        contexts.append(context)
        seen = Visit(context.new_page())
        seen.page.on("request", lambda request: seen.requests.append(request.url))
        seen.page.on("requestfailed", lambda request: seen.refused.append(request.url))
        seen.page.on("console", lambda message: seen.said.append(message.text))
        seen.page.on("dialog", lambda dialog: seen.said.append(dialog.message))
        seen.page.on("pageerror", lambda error: seen.said.append(str(error)))
        seen.page.goto(file.as_uri())
        return seen

    yield visit
    for context in contexts:
        context.close()


def left_the_page(seen: Visit) -> list[str]:
    """Requests for anything but the file itself and what is in it; and complaints."""
    own = seen.page.url.partition("#")[0]
    outside = [url for url in seen.requests if url != own and not url.startswith("data:")]
    return outside + seen.said


@pytest.mark.parametrize("name", PAGES)
def test_clicking_through_it(visit: Any, name: str) -> None:
    seen = visit(name)
    page = seen.page
    for link in page.locator("nav a").all():
        link.click()
        target = page.locator(link.get_attribute("href") or "")
        assert target.locator("h2").first.is_visible()
    for summary in page.locator("summary").all():
        if not summary.evaluate("e => e.parentElement.open"):
            summary.click()
        assert summary.locator("xpath=../*[2]").is_visible()
    assert all(page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)"))
    assert page.evaluate("document.scripts.length") == 0
    assert left_the_page(seen) == []


@pytest.mark.parametrize(("width", "scheme"), SIZES)
def test_it_fits_and_can_be_read(visit: Any, width: int, scheme: str) -> None:
    for name in ("audit", "SUSPICIOUS", "NO_BACKDOOR_FOUND", "INCONCLUSIVE"):
        seen = visit(name, width=width, scheme=scheme)
        for summary in seen.page.locator("summary").all():
            summary.click()
        assert seen.page.evaluate("document.documentElement.scrollWidth") == width
        contrasts = seen.page.evaluate(CONTRASTS)
        assert len(contrasts) > 50
        assert [one for one in contrasts if one[0] < 4.5] == []


def test_the_color_schemes_differ(visit: Any) -> None:
    color = "getComputedStyle(document.body).backgroundColor"
    light, dark = (
        visit("audit", scheme=scheme).page.evaluate(color) for scheme in ("light", "dark")
    )
    assert light != dark


def test_the_keyboard_is_enough(visit: Any) -> None:
    page = visit("audit").page
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "content"
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.tagName") == "SUMMARY":
            break
    assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.parentElement.open")


def test_on_paper_everything_is_open(visit: Any) -> None:
    page = visit("audit").page
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    for content in page.locator("details > :not(summary)").all():
        assert content.bounding_box()["height"] > 0


def test_for_screen_readers(visit: Any) -> None:
    tree = visit("audit").page.locator("body").aria_snapshot()
    for words in (
        *('heading "BACKDOORED" [level=2]', "navigation", "main", "contentinfo"),
        *('table "What the maximum-margin test measured', 'img "Reversed: seen as airplane"'),
        'link "Skip to the report"',
    ):
        assert words in tree


def test_a_script_would_not_run(visit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should the escaping ever fail, the policy still holds."""
    evil = "<script>document.title = 'owned'</script><img src=https://evil.example/x.png alt=x>"
    monkeypatch.setitem(PAGES, "evil", PAGES["audit"].replace("</main>", f"{evil}</main>"))
    seen = visit("evil")
    assert "owned" not in seen.page.title()
    assert any("Content Security Policy" in line for line in seen.said)
    assert seen.refused == ["https://evil.example/x.png"]
