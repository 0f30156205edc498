from __future__ import annotations

import math
import shlex
import unicodedata

import pytest
from markdown_it import MarkdownIt

from hfscan.report.text import (
    bar,
    code_block,
    code_span,
    duration,
    fold_command,
    markdown,
    number,
    p_equation,
    p_value,
    percent,
    plural,
    points,
    printable,
    shell_command,
    sparkline,
    tail,
)

from .sample import HOSTILE

RENDERER = MarkdownIt("gfm-like", {"html": True, "linkify": False})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("großer Bär, 熊, ทื่, Việt", "großer Bär, 熊, ทื่, Việt"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m\x07\x7f", "\\x9b31m\\x07\\x7f"),
        ("a\nb\r\tc\u2028\u2029\x85", "a\\nb\\r\\tc\\u2028\\u2029\\x85"),
        ("\u202eevil\u2066\u2069", "\\u202eevil\\u2066\\u2069"),
        ("\u200b\u200d\ufeff\u00ad", "\\u200b\\u200d\\ufeff\\xad"),
        ("\ud800", "\\ud800"),
        ("\u3164\u2800\ufe0f\U000e0041", "\\u3164\\u2800\\ufe0f\\U000e0041"),
        ("a\u00a0b\u3000c", "a\\xa0b\\u3000c"),
        ("z" + "\u0335" * 4, "z\u0335\u0335\\u0335\\u0335"),
    ],
)
def test_printable_shows_what_could_hide(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_printable_shortens_but_keeps_escapes_whole() -> None:
    assert printable("x" * 80) == "x" * 80
    assert printable("x" * 81) == "x" * 79 + "…"
    assert printable("ab\x1b\x1b", limit=7) == "ab\\x1b…"
    assert printable("\x1b", limit=1) == "…"


@pytest.mark.parametrize("limit", [1, 2, 7, 80])
def test_printable_is_never_longer_than_its_limit(limit: int) -> None:
    for text in ["\U000e0041" * 100, "x" * 10**6, "\ud800\x1b" * 50]:
        assert len(printable(text, limit)) <= limit


def test_every_code_point_is_visible_or_escaped() -> None:
    for code in [*range(0x3000), *range(0xD7F0, 0xE010), *range(0xFE00, 0xFFFF)]:
        for char in printable(chr(code), 20):
            category = unicodedata.category(char)
            assert char == " " or category[0] not in "CZ", hex(code)


def test_tail_keeps_the_end() -> None:
    assert tail("layer4.1.conv2", 14) == "layer4.1.conv2"
    assert tail("features.layer4.1.conv2", 15) == "…layer4.1.conv2"
    assert len(tail("\x1b" * 50, 20)) == 20


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("escape", [markdown, code_span])
def test_markdown_shows_the_text_and_nothing_else(escape: object, text: str) -> None:
    assert callable(escape)
    for template in ("{}", "- {}", "**x {} y**", "a {} b"):
        tokens = RENDERER.parse(template.format(escape(text)))
        kinds = {child.type for token in tokens for child in token.children or []}
        assert kinds <= {"text", "text_special", "strong_open", "strong_close", "code_inline"}
        inline = next(token for token in tokens if token.type == "inline")
        content = "".join(child.content for child in inline.children or [])
        assert printable(text).strip() in content.replace("\u200b", "")


def test_markdown_breaks_what_github_links_after_decoding() -> None:
    assert markdown("@team #12 https://x.example www.x.example") == (
        "@&#8203;team &#35;&#8203;12 https:&#8203;//x.example www&#8203;.x.example"
    )


def test_markdown_leaves_ordinary_names_alone() -> None:
    for name in ("traffic_light", "great white shark (man-eater), shark", "n01440764", "C++"):
        assert markdown(name) == name


def test_code_span_is_for_plain_identifiers_only() -> None:
    assert code_span("timm/resnet18.a1_in1k@0123") == "`timm/resnet18.a1_in1k@0123`"
    assert "`" not in code_span("a`b") + code_span("a|b") + code_span(" ")


def test_code_block_outlasts_backticks() -> None:
    assert code_block("echo ```` x", "sh") == "`````sh\necho ```` x\n`````"


WORDS = [
    *("hfscan", "repair", "o/my model'$(id)@" + "0" * 40, "--clean-data", "./a b"),
    *("--flag", "--split", "x", "--last"),
]


@pytest.mark.parametrize("width", [20, 76, 1000])
def test_commands_survive_a_shell(width: int) -> None:
    command = shell_command(WORDS, width)
    assert shlex.split(command.replace("\\\n", "")) == WORDS
    assert shell_command(WORDS).count("\n") == 0


def test_commands_keep_options_with_their_values() -> None:
    assert shell_command(["run", "model", "--data", "x"], 12) == "run model \\\n  --data x"


def test_commands_show_control_characters() -> None:
    assert "\x1b" not in shell_command(["a\x1b[2J"])


@pytest.mark.parametrize("length", [39, 40, 41, 77, 78, 79, 80, 81, 119, 160])
def test_folded_commands_fit_and_survive_a_shell(length: int) -> None:
    words = ["hfscan", "repair", "m" * length, "--clean-data", "d" * length]
    folded = fold_command(shell_command(words, 40), 40)
    assert max(map(len, folded.splitlines())) <= 40
    assert shlex.split(folded.replace("\\\n", "")) == words


def test_numbers() -> None:
    assert [percent(x) for x in (0.9316, 0, 1, None, math.nan)] == (
        ["93.2%", "0.0%", "100.0%", "n/a", "n/a"]
    )
    assert percent(-0.0001) == "0.0%"
    assert percent(0.105, 0) == "10%"
    assert points(-0.0081) == "0.8 points"
    assert [number(x) for x in (208.126, -0.001, 1234.5, 1e300, None, math.inf)] == (
        ["208.13", "0.00", "1,234.50", "1e+300", "n/a", "n/a"]
    )
    assert [p_value(x) for x in (0, 0.0001, 0.03124, 0.41274, 1, None)] == (
        ["< 0.0001", "0.0001", "0.0312", "0.413", "1.000", "n/a"]
    )
    assert (p_equation(1e-9), p_equation(0.5)) == ("p < 0.0001", "p = 0.500")
    assert [duration(x) for x in (0, 9.94, 51.6, 192)] == ["0.0 s", "9.9 s", "52 s", "3 min 12 s"]
    assert [duration(x) for x in (3599, 3600, 7530)] == ["59 min 59 s", "1 h 0 min", "2 h 5 min"]
    assert (plural(1, "class"), plural(1200, "class"), plural(0, "image")) == (
        ("1 class", "1,200 classes", "0 images")
    )


def test_bars() -> None:
    assert [bar(x, 4) for x in (1, 0.5, 0.53, 1e-9, 0, -1, 9, math.nan)] == (
        ["████", "██", "██▏", "▏", "", "", "████", ""]
    )
    assert sparkline([0, 1, 4, 8]) == " ▁▄█"
    assert sparkline([1, 1000]) == "▁█"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""
