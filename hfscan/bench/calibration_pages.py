"""A calibration as pages for people: both parts of the zoo, thresholds, ROC curves, every network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hfscan.bench.calibrating import Audited, markdown
from hfscan.bench.figure import new_figure, write_figure
from hfscan.bench.markdown import markdown_table
from hfscan.bench.zoo import MIN_ASR
from hfscan.calibration import Calibration, Record
from hfscan.calibration.fitting import (
    CLEAN,
    TOGETHER,
    Evaluation,
    evaluate,
    judged,
    left_out_in_turn,
)
from hfscan.calibration.null import MIN_NETWORKS
from hfscan.errors import DataError
from hfscan.types import Rate

PAGE, FIGURE = "tables.md", "roc.svg"


def write_pages(
    networks: Sequence[Audited], made: Calibration, measured: Evaluation, folder: Path
) -> list[Path]:
    """Write the tables and the ROC curves of the part that measures.

    Args:
        networks: All of the zoo.
        made: The calibration from one part of them.
        measured: What it makes of the other part.
        folder: Where to.

    Returns:
        The files.

    Raises:
        UsageError: matplotlib is not installed.
        DataError: A file cannot be written.
    """
    figure = _draw(measured, folder / FIGURE)
    page = folder / PAGE
    try:
        page.write_text("\n\n".join(_page(networks, made, measured)) + "\n", encoding="utf-8")
    except OSError as error:
        raise DataError(
            f"{page} cannot be written ({error.strerror or error})", "choose another folder"
        ) from error
    return [page, figure]


def _page(networks: Sequence[Audited], made: Calibration, measured: Evaluation) -> Iterator[str]:
    yield f"# Calibration {made.name}"
    yield made.description
    yield "## The part that measures"
    yield "These networks had no part in the fit."
    yield markdown(measured)
    yield f"![ROC curves]({FIGURE})"
    yield "With one test left out:"
    yield markdown_table(
        ["left out", "clean: suspicious or worse", "attacked: the same", "backdoored"],
        [_left_out(test, rates) for test, rates in {"none": made.rates, **made.without}.items()],
    )
    yield "## The part that fits"
    yield (
        "Its clean networks are the null distributions themselves, so their line says little; its "
        "backdoored networks had no part in the fit."
    )
    fitting = [one.record for one in networks if one.counts and not one.held_out]
    yield markdown(evaluate(made, fitting))
    yield from _in_turn([record for record in fitting if not record.backdoored], made)
    yield "## Thresholds"
    yield (
        "From which statistic on a test alone, if it were the only one, is rarer among clean networks than "
        f"{made.suspicious_rate:g} and {made.backdoored_rate:g}."
    )
    found = {test: made.thresholds(test) for test in made.nulls}
    lines = [[test, *(f"{each:.2f}" for each in pair)] for test, pair in found.items() if pair]
    yield markdown_table(["test", f"{made.suspicious_rate:g}", f"{made.backdoored_rate:g}"], lines)
    yield "## Every network"
    yield (
        "Statistic of each test, larger is more suspicious; an asterisk where the test names the class of the "
        f"attack. A network with an attack success rate (ASR) below {MIN_ASR:.0%} has no part in the tables above."
    )
    header = ["network", "part", "accuracy", "ASR", "class", *made.nulls, "p-value", "named"]
    yield markdown_table(header, [_line(one, made) for one in networks])


def _in_turn(clean: Sequence[Record], made: Calibration) -> Iterator[str]:
    """How often clean networks are accused that have no part in the fit, from few networks."""
    if len(clean) <= MIN_NETWORKS:
        return
    found = [outcome.p_value for outcome in left_out_in_turn(clean)]
    suspicious = sum(p < made.suspicious_rate for p in found)
    backdoored = sum(p < made.backdoored_rate for p in found)
    yield (
        f"Each clean network judged by what the other {len(clean) - 1} give: {suspicious} of {len(found)} "
        f"suspicious or worse, {backdoored} backdoored; the smallest p-value is {min(found):.2g}."
    )


def _left_out(test: str, rates: Mapping[str, Rate]) -> list[str]:
    clean, attacked = (
        [rate for attack, rate in rates.items() if (attack == CLEAN) == is_clean]
        for is_clean in (True, False)
    )
    return [
        test,
        f"{sum(r.suspicious for r in clean)} of {sum(r.networks for r in clean)}",
        f"{sum(r.suspicious for r in attacked)} of {sum(r.networks for r in attacked)}",
        str(sum(r.backdoored for r in attacked)),
    ]


def _line(one: Audited, made: Calibration) -> list[str]:
    record = one.record
    outcome = judged(made, record)
    statistics = []
    for test in made.nulls:
        score = record.scores.get(test)
        star = "*" if score and record.backdoored and score.target == record.target else ""
        statistics.append(f"{score.statistic:.2f}{star}" if score else "-")
    part = "measures" if one.held_out else "fits"
    return [
        one.key,
        part if one.counts else "left out",
        f"{one.accuracy:.3f}",
        "-" if one.asr is None else f"{one.asr:.3f}",
        "-" if record.target is None else str(record.target),
        *statistics,
        "-" if outcome is None else f"{outcome.p_value:.2g}",
        "-" if outcome is None else str(outcome.target),
    ]


def _draw(measured: Evaluation, path: Path) -> Path:
    figure, (panel,) = new_figure(1, height=4.2)
    for name, points in measured.roc.items():
        if points:
            together = name == TOGETHER
            false, true = zip(*points, strict=True)
            panel.plot(false, true, label=name, linewidth=2.5 if together else 1.0)
    panel.set_xlabel("false-positive rate")
    panel.set_ylabel("true-positive rate")
    panel.set_title("Networks that had no part in the fit")
    panel.legend(fontsize="small", loc="lower right")
    return write_figure(figure, path)
