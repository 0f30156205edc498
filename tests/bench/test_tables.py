from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.plot import scatter
from hfscan.bench.table import COST, Table, comma_separated, markdown, texts
from hfscan.bench.tables import tables
from hfscan.errors import DataError, UsageError
from hfscan.types import Metrics, Trial

from .conftest import trial


def full(defense: str, after: tuple[float, float, float], **key: object) -> list[Trial]:
    return [trial(attack, defense, after=after, **key) for attack in ATTACKS]


def row(table: Table, label: str, source: str = "here") -> tuple[tuple[float | None, ...], ...]:
    (found,) = [one.cells for one in table.rows if (one.label, one.source) == (label, source)]
    return found


def test_effectiveness() -> None:
    trials = full("fmt", (0.90, 0.1, 0.8)) + full("ft", (0.92, 0.9, 0.1))
    (table,) = tables(trials, "1")
    assert table.columns == (*ATTACKS, "mean")
    assert [(one.label, one.source) for one in table.rows] == [
        (label, source) for label in ("none", "ft", "fmt") for source in ("here", "paper")
    ]
    assert row(table, "none")[0] == (0.92, 1.0, 0.0, None)
    assert row(table, "fmt")[0] == pytest.approx((0.90, 0.1, 0.8, (0.9 - 0.02 + 1) / 2))
    assert row(table, "fmt")[-1] == pytest.approx((0.90, 0.1, 0.8, 0.94))
    accuracy, asr, ra, der = row(table, "fmt", "paper")[-1]
    assert (accuracy, asr, ra) == (0.9213, 0.0286, 0.874)
    assert der == pytest.approx((0.9884 - 0.0286 - (0.9265 - 0.9213) + 1) / 2)


def test_the_papers_mean_is_of_the_attacks_that_are_shown() -> None:
    (table,) = tables([trial("badnets"), trial("wanet")], "1")
    assert row(table, "fmt", "paper")[-1][:2] == pytest.approx(((0.9167 + 0.9342) / 2, 0.01525))


def test_seeds_are_averaged() -> None:
    trials = [trial(after=(0.9, asr, 0.8), seed=seed) for seed, asr in enumerate((0.0, 0.1, 0.2))]
    (table,) = tables(trials, "1")
    assert row(table, "fmt")[0][:2] == pytest.approx((0.9, 0.1))
    assert "seed 0, 1, 2" in table.title


def test_each_seed_and_how_far_they_lie_apart() -> None:
    trials = [
        trial(attack, after=(0.9, asr, 0.8), seed=seed)
        for attack in ("badnets", "wanet")
        for seed, asr in enumerate((0.3, 0.1, 0.2))
    ]
    (table,) = tables([*trials[:-1], trial("badnets", "ft")], "seeds")
    assert [(one.label, one.source) for one in table.rows] == [
        ("fmt", source) for source in ("seed 0", "seed 1", "seed 2", "range")
    ]
    assert [line[0] for line in texts(table)[1]] == ["fmt", "", "", ""]
    assert row(table, "fmt", "seed 0")[0][:2] == pytest.approx((0.9, 0.3))
    assert row(table, "fmt", "seed 2")[1:] == ((), ())
    assert [cell[1] for cell in row(table, "fmt", "range")] == pytest.approx([0.2, 0.2, 0.2])
    assert "not in all cells" in table.title  # seed 2 is missing of WaNet
    with pytest.raises(DataError, match="no trial belongs in table seeds"):
        tables([trial(), trial("wanet", "ft")], "seeds")


def test_the_range_of_the_mean_is_that_of_the_seeds_and_the_title_of_what_is_shown() -> None:
    asrs = {"badnets": (0.3, 0.1), "wanet": (0.1, 0.3)}
    trials = [
        trial(attack, after=(0.9, asr, 0.8), seed=seed)
        for attack in asrs
        for seed, asr in enumerate(asrs[attack])
    ]
    (table,) = tables([*trials, trial("badnets", "ft")], "seeds")
    ranges = [cell[1] for cell in row(table, "fmt", "range")]
    assert ranges == pytest.approx([0.2, 0.2, 0.0])
    assert "seed 0, 1)" in table.title


def test_seeds_of_other_victims_are_named() -> None:
    (table,) = tables([trial(), trial(victim_seed=3)], "seeds")
    assert [one.source for one in table.rows] == ["seed 0", "seed 0 of victim 3", "range"]


def test_a_missing_cell_leaves_the_mean_open() -> None:
    (table,) = tables([*full("ft", (0.9, 0.5, 0.4)), trial("badnets", "fmt")], "1")
    assert row(table, "fmt")[1] == row(table, "fmt")[-1] == ()
    assert row(table, "ft")[-1] != ()
    lines = texts(table)[1]
    assert [line for line in lines if line[0] == "fmt"][0][3] == "-"  # noqa: RUF015


def test_failed_trials_and_other_rates_are_left_out() -> None:
    failed = Trial(trial("wanet").cell, error="RuntimeError: no")
    trials = [trial(), failed, trial(poison_rate=0.01), trial(clean_rate=0.2)]
    (table,) = tables(trials, "1")
    assert table.columns == ("badnets", "mean")
    (other,) = tables(trials, "1", poison_rate=0.01)
    assert other.columns == ("badnets", "mean")
    with pytest.raises(DataError, match="no trial belongs in table 1"):
        tables([failed], "1")
    with pytest.raises(UsageError, match="no table '5'"):
        tables(trials, "5")


def test_one_table_for_each_data_set_network_and_target() -> None:
    others = [{"dataset": "gtsrb"}, {"width": 64}, {"architecture": "resnet18"}, {"target": 3}]
    trials = [trial(), *(trial(**other) for other in others)]
    titles = [table.title for table in tables(trials, "1")]
    assert len(titles) == len(set(titles)) == 5


def test_victims_that_were_trained_differently_have_no_mean() -> None:
    assert tables([trial("badnets", epochs=9), trial("wanet", epochs=12)], "1")
    with pytest.raises(DataError, match="badnets were trained for 9 and 12 epochs"):
        tables([trial(epochs=9), trial(defense="ft", epochs=12)], "1")


def test_victims_that_were_measured_with_other_images_have_no_mean() -> None:
    other = replace(trial(seed=1), before=Metrics(0.9, 1.0, 0.0, 3000))
    with pytest.raises(DataError, match="measured with 100 and 3000 images"):
        tables([trial(), other], "1")
    with pytest.raises(DataError, match="measured with 100 and 3000 images"):
        scatter([trial(), other])


def test_a_victim_that_was_trained_again_is_another_one() -> None:
    again = replace(trial(defense="ft"), before=Metrics(0.82, 0.9, 0.1, 100))
    (table,) = tables([trial(), again], "1")
    assert row(table, "none")[0] == pytest.approx((0.87, 0.95, 0.05, None))


def test_victims_of_several_seeds_are_averaged() -> None:
    other = trial("badnets", "ft", victim_seed=1)
    other = replace(other, before=Metrics(0.82, 0.9, 0.1, 100))
    (table,) = tables([trial("badnets", "ft"), other], "1")
    assert row(table, "none")[0] == pytest.approx((0.87, 0.95, 0.05, None))
    assert "victim seed 0, 1" in table.title


def test_seeds_that_some_cells_lack_are_said() -> None:
    (table,) = tables([trial(), trial(seed=1), trial("wanet")], "1")
    assert "seed 0, 1 (not in all cells)" in table.title


def test_the_papers_figures_are_of_the_same_rates() -> None:
    (usual,) = tables([trial()], "1")
    assert "poison rate 10 %, clean rate 10 %" in usual.title
    (table,) = tables([trial(poison_rate=0.01)], "1", poison_rate=0.01)
    assert [one.source for one in table.rows] == ["here", "here"]  # the paper has no such row
    (rates,) = tables([trial(clean_rate=0.01)], "3", clean_rate=0.01)
    assert [one.source for one in rates.rows] == ["here"]


def test_coverage() -> None:
    trials = full("fmt", (0.9, 0.1, 0.8)) + full("ft", (0.9, 0.1, 0.8))
    trials = [replace(t, erased=0) if t.cell.defense == "ft" else t for t in trials]
    (table,) = tables(trials, "2")
    assert [(one.label, one.source) for one in table.rows] == [("fmt", "here"), ("fmt", "paper")]
    assert row(table, "fmt")[0] == (0.5, 0.75)
    assert row(table, "fmt", "paper")[0] == (0.8333, None)


@pytest.mark.parametrize(("number", "name"), [("3", "poison_rate"), ("4", "clean_rate")])
def test_sensitivity(number: str, name: str) -> None:
    trials = [
        t for rate in (0.05, 0.1, 0.07) for t in full("fmt", (0.9, rate, 0.8), **{name: rate})
    ]
    (table,) = tables([*trials, *full("ft", (0.9, 0.9, 0.1))], number)
    (same,) = tables(
        [*trials, trial(dataset="gtsrb")], number
    )  # of one rate there is nothing to see
    assert same == table
    labels = [one.label for one in table.rows]
    assert labels == ["5 %", "5 %", "7 %", "10 %", "10 %"]  # the paper has no 7 %
    assert row(table, "7 %")[0][1] == 0.07
    assert row(table, "10 %", "paper")[0][:3] == (0.9167, 0.0167, 0.9171)
    with pytest.raises(DataError):
        tables(trials, number, defense="ft")


def test_cost() -> None:
    (table,) = tables(full("fmt", (0.9, 0.1, 0.8)), "cost")
    assert table.metrics == COST
    assert row(table, "fmt") == ((12.5, 10.0),) * 6


def test_markdown() -> None:
    (table,) = tables([trial()], "1")
    text = markdown(table)
    assert "| fmt | here | 90.00 / 10.00 / 80.00 / 94.00 | 90.00" in text
    assert "|  | paper | 91.67 / 1.67 / 91.71 / 97.63 |" in text
    assert len({line.count("|") for line in text.splitlines() if line.startswith("|")}) == 1


def test_csv() -> None:
    made = tables([trial(), trial(dataset="gtsrb")], "1")
    rows = list(csv.reader(io.StringIO(comma_separated(made))))
    assert len({len(row) for row in rows}) == 1
    (ours,) = [row for row in rows if row[1:3] == ["fmt", "here"] and "cifar10" in row[0]]
    assert dict(zip(rows[0], ours, strict=True))["badnets ASR"] == "0.1"
