"""Audits networks whose truth is known, and makes a calibration of what the tests say of them.

One part of the networks fits the null distributions and thresholds, the other part measures them and has no other
part in it. What an audit says of a network is kept as a line of a file, so that a long run goes on where it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from hfscan.bench.markdown import markdown_table
from hfscan.bench.tasks import Task
from hfscan.bench.victims import BENIGN, Victim, Victims
from hfscan.bench.zoo import MIN_ASR, Animal
from hfscan.calibration import Calibration, NetworkFacts, Record
from hfscan.calibration.fitting import CLEAN, Evaluation, evaluate, fit, without_each
from hfscan.calibration.records import scores_of
from hfscan.errors import DataError
from hfscan.jsonl import append_line, read_lines
from hfscan.pipeline import audit
from hfscan.types import AuditSettings, ImageSet, Progress, silent
from hfscan.types.read import typed

CLEAN_IMAGES = 1000
"""Clean test images that an audit of the zoo is given, as `hfscan audit` takes them."""


@dataclass(frozen=True)
class Audited:
    """A network of the zoo, and what the tests say of it.

    Args:
        key: Name of the network.
        held_out: Whether it measures; otherwise it fits.
        record: The truth, and what the tests say.
        poison_rate: Share of its training images that carry the trigger; 0 if it is clean.
        accuracy: On clean test images, in [0, 1].
        asr: Attack success rate, in [0, 1]; None if it is clean.
        seconds: Of the model-level tests.
    """

    key: str
    held_out: bool
    record: Record
    poison_rate: float
    accuracy: float
    asr: float | None
    seconds: float

    @property
    def counts(self) -> bool:
        """Whether it is what it is meant to be: a trigger that hardly works is no backdoor to be found."""
        return self.asr is None or self.asr >= MIN_ASR


def missing(
    animals: Iterable[Animal], known: Iterable[Audited], tests: Iterable[str]
) -> list[Animal]:
    """The networks that are still to be audited, in their order.

    Args:
        animals: All networks.
        known: What is known of some of them.
        tests: Names; a network without one of them was audited before it was there, or it could not be made.
    """
    wanted = set(tests)
    done = {one.key for one in known if one.record.scores.keys() >= wanted}
    return [animal for animal in animals if animal.spec.key not in done]


def survey(
    animals: Iterable[Animal],
    task: Task,
    victims: Victims,
    *,
    settings: AuditSettings | None = None,
    progress: Progress = silent,
) -> Iterator[Audited]:
    """Train the networks that are not in the cache, audit all of them.

    Args:
        animals: Which networks.
        task: What they are trained on; clean test images audit them.
        victims: Where they are kept.
        settings: Of the audits; the defaults if None.
        progress: Wraps the loops inside.
    """
    clean = task.test.sample(CLEAN_IMAGES, seed=0)
    for animal in animals:
        victim = victims.get(animal.spec, task, progress=progress)
        yield audited(animal, victim, clean, settings=settings, progress=progress)


def audited(
    animal: Animal,
    victim: Victim,
    clean: ImageSet,
    *,
    settings: AuditSettings | None = None,
    progress: Progress = silent,
) -> Audited:
    """Audit one network as ``hfscan audit`` does."""
    report = audit(victim.model, clean, settings=settings, pictures=False, progress=progress)
    spec = animal.spec
    backdoored = spec.attack != BENIGN
    record = Record(
        network=NetworkFacts.of(report.model, spec.dataset),
        scores=scores_of(report.tests),
        attack=spec.attack if backdoored else "",
        target=spec.target if backdoored else None,
        seed=spec.seed,
    )
    return Audited(
        key=spec.key,
        held_out=animal.held_out,
        record=record,
        poison_rate=spec.poison_rate,
        accuracy=round(victim.accuracy, 4),
        asr=None if victim.asr is None else round(victim.asr, 4),
        seconds=round(sum(test.seconds for test in report.tests), 2),
    )


def read_audited(path: Path) -> list[Audited]:
    """Read what `append_audited` wrote; of several lines for the same network, the last one counts.

    Raises:
        DataError: The file cannot be read, or has other lines.
    """
    found: dict[str, Audited] = {}
    for number, line in read_lines(path, "hfscan calibrate"):
        try:
            one: Audited = typed(Audited, json.loads(line))
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(
                f"line {number} of {path} is not an audited network ({str(error)[:100]})",
                "remove the line",
            ) from error
        found[one.key] = one
    return list(found.values())


def append_audited(path: Path, one: Audited) -> None:
    """Add a line to the file, which is made if it is not there.

    Raises:
        DataError: It cannot be written.
    """
    append_line(path, asdict(one))


def calibrated(
    networks: Sequence[Audited], *, name: str, description: str
) -> tuple[Calibration, Evaluation]:
    """A calibration from one part of the networks, and what it makes of the other part.

    Networks whose backdoor does not work are left out of both.

    Raises:
        UsageError: There are too few clean networks.
    """
    fitting, measuring = (
        [one.record for one in networks if one.counts and one.held_out == held_out]
        for held_out in (False, True)
    )
    made = fit(fitting, name=name, description=description)
    measured = evaluate(made, measuring)
    without = without_each(made, measuring)
    return replace(made, rates=measured.rates, without=without), measured


def described(networks: Sequence[Audited]) -> str:
    """The zoo in a few words, for people."""
    used = [one for one in networks if one.counts]
    measuring = [one for one in used if one.held_out]
    (clean, backdoored), (clean_measuring, backdoored_measuring) = map(_kinds, (used, measuring))
    families = sorted({one.record.network.architecture for one in used})
    datasets = sorted({one.record.network.dataset for one in used})
    left_out = len(networks) - len(used)
    weak = (
        f"; {left_out} more were left out: their trigger works for less than {MIN_ASR:.0%}"
        if left_out
        else ""
    )
    return (
        f"{clean} clean and {backdoored} backdoored networks ({', '.join(families)}) on {', '.join(datasets)}; "
        f"{clean_measuring} and {backdoored_measuring} of them only measure, the others fit{weak}."
    )


def _kinds(networks: Sequence[Audited]) -> tuple[int, int]:
    """How many are clean, and how many are backdoored."""
    clean = sum(one.asr is None for one in networks)
    return clean, len(networks) - clean


def texts(measured: Evaluation) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of an evaluation, as text."""
    header = ["networks", "tested", "suspicious or worse", "backdoored", "right class", "AUROC"]
    lines = []
    for row in measured.rows:
        rate, clean = row.rate, row.attack == CLEAN
        named = "-" if clean else f"{rate.named} of {rate.suspicious}"
        area = "-" if row.auroc is None else f"{row.auroc:.3f}"
        lines.append(
            [row.attack, *map(str, (rate.networks, rate.suspicious, rate.backdoored)), named, area]
        )
    return header, lines


def markdown(measured: Evaluation) -> str:
    """The table of an evaluation, and of each test alone, as Markdown."""
    header, lines = texts(measured)
    alone = [[test, f"{area:.3f}"] for test, area in measured.tests.items()]
    return "\n\n".join(
        [markdown_table(header, lines), markdown_table(["test alone", "AUROC"], alone)]
    )
