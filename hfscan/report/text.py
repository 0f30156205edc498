"""Text that is safe to show, and numbers as people read them.

Names of models, layers and classes are whatever an uploader made of them: `printable` takes the
teeth out of them for a terminal, `markdown` for a job summary or a model card.
"""

from __future__ import annotations

import math
import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence

NOT_KNOWN = "n/a"

# Printable for Python, yet nothing to see: fillers, the blank Braille cell, variation selectors.
_INVISIBLE = frozenset(
    map(
        chr,
        [
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180F, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x180E),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ],
    )
)
_MAX_MARKS = 2  # Thai needs two combining marks on a letter; a pile of them covers other lines

# An underscore between letters is no emphasis; escaping it would only make the source ugly.
_MARKDOWN = re.compile(r"[&<>`*\[\]#|~$\\]|(?<![^\W_])_|_(?![^\W_])")
_LIST_MARKER = re.compile(r"^(\d*)([-+.)])(?=[\s-]|$)")
# GitHub and the Hub link these after entities are decoded: only a character in between helps.
_AUTOLINK = re.compile(r"@|&#35;|:(?=//)|(?<=www)(?=\.)", re.IGNORECASE)
_ZERO_WIDTH_SPACE = "&#8203;"
_PLAIN = re.compile(r"[\w./@+=…-][\w./@+=…:, -]*", re.ASCII)


def printable(text: str, limit: int = 80) -> str:
    r"""Make text of unknown origin safe for a terminal: one line, nothing invisible.

    Control characters, terminal escapes, line breaks, bidirectional overrides, zero-width
    characters, odd spaces and unpaired surrogates become visible escapes such as ``\x1b``.

    Args:
        text: Anything.
        limit: Longest result in characters, at least 1; what is longer ends in an ellipsis.
    """
    pieces = list(_pieces(text[: limit + 1]))
    length = sum(map(len, pieces))
    if length <= limit:
        return "".join(pieces)
    while length > limit - 1:
        length -= len(pieces.pop())
    return "".join(pieces) + "…"


def _pieces(text: str) -> Iterator[str]:
    marks = 0
    for char in text:
        marks = marks + 1 if unicodedata.combining(char) else 0
        visible = char.isprintable() and char not in _INVISIBLE and marks <= _MAX_MARKS
        yield char if visible else char.encode("unicode_escape").decode("ascii")


def tail(text: str, limit: int) -> str:
    """Like `printable`, but keeps the end of what is too long: there module names differ.

    Args:
        text: Anything.
        limit: Longest result in characters, at least 2.
    """
    shown = "".join(_pieces(text[-limit - 1 :]))
    return shown if len(shown) <= limit else "…" + shown[1 - limit :]


def markdown(text: str, limit: int = 80) -> str:
    """Make text of unknown origin plain text in Markdown, also in a table cell.

    No markup, HTML, link, image, mention, issue reference or bare URL survives.

    Args:
        text: Anything; made `printable` first.
        limit: As in `printable`.
    """
    escaped = _MARKDOWN.sub(_entity, printable(text, limit).strip())
    escaped = _AUTOLINK.sub(lambda match: match[0] + _ZERO_WIDTH_SPACE, escaped)
    return _LIST_MARKER.sub(lambda match: f"{match[1]}&#{ord(match[2])};", escaped)


def _entity(match: re.Match[str]) -> str:
    return f"&#{ord(match[0])};"


def code_span(text: str, limit: int = 80) -> str:
    """Text in Markdown's backticks; what could break out of them is only escaped.

    Args:
        text: Anything; made `printable` first.
        limit: As in `printable`.
    """
    shown = printable(text, limit)
    return f"`{shown}`" if _PLAIN.fullmatch(shown) else markdown(text, limit)


def code_block(text: str, language: str = "") -> str:
    """A fenced block of Markdown around lines that are printable already."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def shell_command(arguments: Sequence[str], width: int = 1000) -> str:
    r"""A command as it can be pasted into a shell.

    Args:
        arguments: Program and arguments, not quoted.
        width: A longer line is continued after a backslash; an option stays with its value.
    """
    lines: list[str] = []
    for word in _option_and_value([shlex.quote(printable(word, 500)) for word in arguments]):
        if lines and len(lines[-1]) + len(word) + 3 <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(f"  {word}" if lines else word)
    return " \\\n".join(lines)


def fold_command(command: str, width: int) -> str:
    r"""Break words that are too long, as a shell accepts it: ``\`` at the end, no indentation.

    Args:
        command: As `shell_command` wrote it.
        width: At least 2. Lines with quotes are left alone: there a break would change them.
    """
    return "\n".join(
        line if "'" in line else re.sub(rf"(.{{{width - 1}}})(?=..)", r"\1\\\n", line)
        for line in command.splitlines()
    )


def _option_and_value(words: Sequence[str]) -> Iterator[str]:
    option = ""
    for word in words:
        if word.startswith("--"):
            if option:
                yield option
            option = word
        else:
            yield f"{option} {word}" if option else word
            option = ""
    if option:
        yield option


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction as ``93.2%``; None and what is not finite as ``n/a``."""
    if fraction is None or not math.isfinite(fraction):
        return NOT_KNOWN
    return f"{round(fraction, digits + 2) + 0.0:.{digits}%}"


def points(difference: float) -> str:
    """The distance of two fractions in percentage points, without a sign: ``0.8 points``."""
    return f"{abs(difference) * 100:.1f} points"


def number(value: float | None) -> str:
    """A statistic with two decimals; None and what is not finite as ``n/a``."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    return f"{round(value, 2) + 0.0:,.2f}" if abs(value) < 1e6 else f"{value:.3g}"


def p_value(value: float | None) -> str:
    """The right-hand side of a p-value: ``< 0.0001``, ``0.0312``, ``0.413``."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    if value < 1e-4:
        return "< 0.0001"
    return f"{value:.4f}" if value < 0.1 else f"{value:.3f}"


def p_equation(value: float | None) -> str:
    """A p-value for a sentence: ``p < 0.0001`` or ``p = 0.0312``."""
    side = p_value(value)
    return f"p {side}" if side.startswith("<") else f"p = {side}"


def duration(seconds: float) -> str:
    """Seconds as ``0.4 s``, ``52 s``, ``3 min 12 s`` or ``2 h 5 min``; what is not finite as ``n/a``."""
    if not math.isfinite(seconds):
        return NOT_KNOWN
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def plural(count: int, noun: str) -> str:
    """``1 image``, ``1,200 images``, ``10 classes``."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}" + ("" if count == 1 else ending)


def bar(share: float, width: int) -> str:
    """A horizontal bar of at most ``width`` characters; ``share`` outside [0, 1] is cut off."""
    if not math.isfinite(share) or share <= 0:
        return ""
    eighths = max(1, round(min(share, 1.0) * width * 8))
    whole, rest = divmod(eighths, 8)
    return "█" * whole + " ▏▎▍▌▋▊▉"[rest].strip()


def sparkline(counts: Sequence[int]) -> str:
    """One character per count, as high as its share of the largest; a space for none."""
    top = max(counts, default=0)
    return "".join(" " if count == 0 else "▁▂▃▄▅▆▇█"[(count * 8 - 1) // top] for count in counts)
