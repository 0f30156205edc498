from __future__ import annotations

import io
import shlex
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from hfscan.report.console import render, render_repair, renderable, repair_renderable
from hfscan.types import Verdict

from .sample import (
    CLASSES,
    HOSTILE,
    audit_report,
    check_golden,
    hostile_report,
    many_layers,
    repair_report,
)

LONG_NAMES = tuple(f"great white shark, man-eater, Carcharodon {name}" for name in CLASSES)
WIDE_NAMES = tuple("飛行機自動車" * 9 + name for name in CLASSES)
COLORS = {"red", "green", "yellow", "cyan", "default"}


def shown(content: RenderableType, width: int = 80, encoding: str = "utf-8", **kwargs: bool) -> str:
    stream = io.BytesIO()
    file = io.TextIOWrapper(stream, encoding=encoding, newline="\n")
    Console(file=file, width=width, legacy_windows=False, **kwargs).print(content)  # type: ignore[arg-type]
    file.flush()
    return stream.getvalue().decode(encoding)


def test_golden() -> None:
    check_golden("audit.txt", render(audit_report()))
    check_golden("repair.txt", render_repair(repair_report()))
    check_golden("inconclusive.txt", render(audit_report(verdict=Verdict.INCONCLUSIVE)))


@pytest.mark.parametrize(
    "report",
    [
        *(audit_report(verdict=verdict) for verdict in Verdict),
        *(audit_report(names=names) for names in (LONG_NAMES, WIDE_NAMES)),
        *(hostile_report(verdict) for verdict in Verdict),
        many_layers(70),
        replace(audit_report(), model=replace(audit_report().model, ref="o/" + "m" * 90)),
    ],
)
@pytest.mark.parametrize("verbose", [False, True])
def test_lines_fit(report: object, verbose: bool) -> None:
    for width in (80, 60):
        text = shown(renderable(report, verbose=verbose), width)  # type: ignore[arg-type]
        assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize("names", [CLASSES, LONG_NAMES, WIDE_NAMES, HOSTILE])
def test_lines_of_a_repair_fit(names: tuple[str, ...]) -> None:
    text = render_repair(repair_report(names=names))
    assert max(map(cell_len, text.splitlines())) <= 80


def test_class_names_are_not_cut_or_broken_within_words() -> None:
    text = render(audit_report(names=LONG_NAMES))
    assert "…" not in text
    words = set(text.split())
    assert {"great", "shark,", "man-eater,", "Carcharodon"} <= words
    for name in CLASSES:
        assert name in words


def test_verdicts_are_said_in_words() -> None:
    texts = {
        verdict: " ".join(render(audit_report(verdict=verdict)).split()) for verdict in Verdict
    }
    backdoored = texts[Verdict.BACKDOORED]
    assert "behaves like a backdoored network (target class airplane)" in backdoored
    assert "maximum-margin test: statistic 23.41, p < 0.0001" in backdoored
    assert "suspected target class airplane" in texts[Verdict.SUSPICIOUS]
    assert "no proof of absence" in texts[Verdict.NO_BACKDOOR_FOUND]
    assert "too near to chance" in texts[Verdict.INCONCLUSIVE]
    for verdict, text in texts.items():
        assert verdict.value.replace("_", " ") in text


def test_a_class_without_a_name_has_a_number() -> None:
    report = audit_report()
    report = replace(report, model=replace(report.model, label_names=()))
    report = replace(report, data=replace(report.data, classes=()))
    assert "(target class 0)" in render(report)


def test_few_layers_are_shown_of_many() -> None:
    report = many_layers(70)
    text, everything = render(report), shown(renderable(report, verbose=True))
    assert "50 less interesting layers left out" in text
    assert text.count(".conv2") < 40
    assert "left out" not in everything
    assert everything.count(".conv2") >= 70


def test_few_classes_are_shown_of_many() -> None:
    report = audit_report(names=tuple(f"species{index}" for index in range(100)))
    test = replace(report.tests[0], class_statistics=tuple(range(100)))
    report = replace(report, tests=(test,))
    text, everything = render(report), shown(renderable(report, verbose=True))
    assert "90 classes with smaller figures left out." in text
    assert "species89" not in text
    assert "species89" in everything


def test_markup_is_text() -> None:
    text = shown(renderable(hostile_report(Verdict.BACKDOORED)), force_terminal=True)
    assert "[red]x[/red]" in text


def test_only_colors_of_the_terminal_that_are_legible() -> None:
    console = Console(width=80, color_system="truecolor", force_terminal=True)
    for verdict in Verdict:
        for segment in console.render(renderable(audit_report(verdict=verdict))):
            if segment.style is not None:
                assert segment.style.bgcolor is None
                assert segment.style.color is None or segment.style.color.name in COLORS


def test_no_escape_codes_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in shown(renderable(audit_report()), force_terminal=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    assert render(audit_report()) == render(audit_report())
    assert "\x1b" not in render(audit_report())


def test_no_color_keeps_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(renderable(audit_report()), force_terminal=True)
    assert "\x1b[31m" not in text
    assert "\x1b[36m" not in text
    assert "BACKDOORED" in text


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_other_encodings(encoding: str) -> None:
    for content in (
        renderable(many_layers(40)),
        renderable(audit_report(names=WIDE_NAMES)),
        repair_renderable(repair_report()),
    ):
        text = shown(content, encoding=encoding, force_terminal=False)
        assert "BACKDOORED" in text or "REPAIRED" in text
        assert max(map(len, text.splitlines())) <= 80
    assert "#####" in shown(renderable(audit_report()), encoding=encoding)


@pytest.mark.parametrize("ref", ["o/m", "./my models/a", "o/" + "m" * 50, "o/" + "m" * 200])
def test_the_next_command_can_be_pasted(ref: str) -> None:
    report = audit_report()
    report = replace(report, model=replace(report.model, ref=ref))
    pasted = render(report).rpartition("audits again:\n")[2].replace("\\\n", "")
    revision, data = report.model.revision, f"uoft-cs/cifar10@{report.data.revision}"
    expected = ["hfscan", "repair", f"{ref}@{revision}", "--clean-data", data]
    expected += ["--image-column", "img", "--label-column", "label"]
    assert shlex.split(pasted) == expected


def test_the_next_command_says_what_is_not_the_default() -> None:
    report = audit_report()
    model = replace(report.model, weights_file="pytorch_model.bin", revision=None)
    data = replace(
        report.data,
        split="validation",
        revision=None,
        image_column="my images; id",
        label_column="$(id)",
        label_map={"cat": 0},
    )
    text = render(replace(report, model=model, data=data))
    pasted = text.rpartition("audits again:\n")[2].replace("\\\n", "")
    assert shlex.split(pasted)[3:] == [
        *("--clean-data", "uoft-cs/cifar10"),
        *("--split", "validation"),
        *("--image-column", "my images; id"),
        *("--label-column", "$(id)"),
        *("--label-map", "FILE"),
        "--allow-pickle",
    ]


def test_the_next_command_without_a_data_set() -> None:
    report = audit_report()
    data = replace(report.data, image_column=None, label_column=None)
    assert "column" not in render(replace(report, data=data))


def test_a_module_in_memory_is_repaired_from_python() -> None:
    report = audit_report()
    text = render(replace(report, model=replace(report.model, weights_file="", revision=None)))
    assert "hfscan.repair(model, report, clean)" in text
    assert "--clean-data" not in text


def test_a_repair_shows_before_and_after() -> None:
    text = " ".join(render_repair(repair_report()).split())
    for part in ("93.1%", "80.4%", "92.3%", "p < 0.0001 before, p = 0.413 after", "6 channels"):
        assert part in text
    assert "REPAIRED" in text


def test_a_bad_repair_is_not_called_repaired() -> None:
    assert "REPAIR COSTS TOO MUCH ACCURACY" in render_repair(repair_report(drop=0.2))
    assert "NOT REPAIRED" in render_repair(repair_report(found=True))
    assert "A CLASS STILL STANDS OUT" in render_repair(
        replace(repair_report(), verdict_after=Verdict.SUSPICIOUS)
    )
    assert "NOT TESTED" in render_repair(
        replace(repair_report(), verdict_after=Verdict.INCONCLUSIVE)
    )


def test_many_erased_layers_are_cut() -> None:
    report = repair_report()
    erased = {f"layer{index}": list(range(index + 1)) for index in range(50)}
    text = render_repair(replace(report, erased=erased))
    assert "1,275 channels in 50 layers erased. 30 layers with fewer left out." in text
    assert "layer49" in text
    assert "layer3 " not in text
