"""The paper's figures were typed once; these are checks against its own sums."""

from __future__ import annotations

from statistics import mean

import pytest

from hfscan.bench.attacks import ATTACKS
from hfscan.bench.paper import MEAN, NONE, Place, paper_figures

DATASETS = ("cifar10", "cifar100", "gtsrb")
DEFENSES = ("ft", "fp", "clp", "anp", "nc", "nad", "fmt")


def test_every_table_is_complete() -> None:
    paper = paper_figures()
    counts = [sum(place.table == number for place in paper) for number in (1, 2, 3, 4)]
    assert counts == [3 * 8 * 6, 3 * 3 * 5, 5 * 5, 5 * 5]
    for place, figures in paper.items():
        if place.table == 2:
            assert figures.coverage is not None
        else:
            assert figures.metrics is not None
            assert (figures.ra is None) == (place.defense == NONE)
        values = (figures.accuracy, figures.asr, figures.ra, figures.coverage)
        assert all(value is None or 0 <= value <= 1 for value in values)


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("defense", [NONE, *DEFENSES])
@pytest.mark.parametrize("metric", ["accuracy", "asr", "ra"])
def test_the_means_of_table_1_are_the_means_of_its_rows(
    dataset: str, defense: str, metric: str
) -> None:
    paper = paper_figures()
    row = [getattr(paper[Place(1, dataset, attack, defense)], metric) for attack in ATTACKS]
    average = getattr(paper[Place(1, dataset, MEAN, defense)], metric)
    if (dataset, defense, metric) == ("cifar10", "fmt", "ra"):
        assert (average, round(mean(row), 4)) == (0.874, 0.8748)  # the paper's own slip
    elif average is not None:
        assert average == pytest.approx(mean(row), abs=1.01e-4)


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_usual_rates_are_the_same_in_all_tables(attack: str) -> None:
    paper = paper_figures()
    first = paper[Place(1, "cifar10", attack, "fmt")]
    assert paper[Place(3, "cifar10", attack, "fmt")] == first
    assert paper[Place(4, "cifar10", attack, "fmt")] == first


def test_figures_that_the_text_quotes() -> None:
    paper = paper_figures()
    blended = paper[Place(1, "cifar10", "blended", "ft")]
    assert (blended.asr, blended.ra) == (0.9563, 0.0416)  # section IV-B
    assert paper[Place(1, "cifar10", MEAN, "fmt")].asr == 0.0286  # abstract
    assert paper[Place(2, "cifar10", "badnets", "fmt")].coverage == 0.8333
    assert paper[Place(2, "gtsrb", "badnets", "fp")].coverage == 0.2157  # section IV-D
    assert paper[Place(4, "cifar10", "wanet", "fmt", clean_rate=0.05)].asr == 0.0154
    assert paper[Place(3, "cifar10", "badnets", "fmt", poison_rate=0.001)].asr == 0.0171
