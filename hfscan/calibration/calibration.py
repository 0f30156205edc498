"""A calibration: what the model-level tests say of clean networks, and how often they see which attack."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hfscan.calibration import null
from hfscan.calibration.combine import Vote, bonferroni, evidence
from hfscan.calibration.records import NetworkFacts
from hfscan.errors import UsageError
from hfscan.types import Rate, TestResult
from hfscan.types.read import typed

SCHEMA = 1
"""Number of the file's layout."""

MAX_BYTES, MAX_NETWORKS, MAX_TESTS, MAX_TEXT = 4_000_000, 500, 64, 2000
"""Of a file, and in it."""

SUSPICIOUS_RATE, BACKDOORED_RATE = 0.02, 0.002
"""Share of clean networks that is called so, at most, as far as the fitted tail holds."""


@dataclass(frozen=True)
class Calibration:
    """Turns statistics into p-values.

    Args:
        name: What it is called.
        description: Of the zoo, for people.
        networks: The clean networks, n of them.
        nulls: Test name -> statistic of each of the n clean networks; None where the test could not be made.
        named: Test name -> the class that it names in each of them.
        suspicious_rate: False-positive rate of SUSPICIOUS or worse, in (0, 1).
        backdoored_rate: False-positive rate of BACKDOORED, in (0, 1).
        rates: Attack -> what became of networks that had no part in the fit; ``"clean"`` for clean ones.
        without: Test name -> the same rates with that test left out, which says what it adds.
        seeds: Of the zoo's training.
    """

    name: str
    description: str
    networks: tuple[NetworkFacts, ...]
    nulls: Mapping[str, tuple[float | None, ...]]
    named: Mapping[str, tuple[int | None, ...]]
    suspicious_rate: float = SUSPICIOUS_RATE
    backdoored_rate: float = BACKDOORED_RATE
    rates: Mapping[str, Rate] = field(default_factory=dict)
    without: Mapping[str, Mapping[str, Rate]] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What the p-values and the verdict follow from, in 12 hexadecimal digits."""
        rates = (self.suspicious_rate, self.backdoored_rate)
        what = json.dumps([rates, dict(self.nulls), dict(self.named)], sort_keys=True)
        return hashlib.sha256(what.encode()).hexdigest()[:12]

    def null(self, test: str) -> tuple[float, ...]:
        """Statistics of clean networks, sorted; empty if there are too few to say anything."""
        made = sorted(each for each in self.nulls.get(test, ()) if each is not None)
        return tuple(made) if len(made) >= null.MIN_NETWORKS else ()

    def p_value(self, test: str, statistic: float) -> float | None:
        """Probability of such a statistic in a clean network; None if the test is not calibrated."""
        clean = self.null(test)
        return null.p_value(clean, statistic) if clean else None

    def thresholds(self, test: str) -> tuple[float, float] | None:
        """From which statistic on a test alone is below the two rates; None if it is not calibrated."""
        clean = self.null(test)
        if not clean:
            return None
        return (
            null.threshold(clean, self.suspicious_rate),
            null.threshold(clean, self.backdoored_rate),
        )

    def combined(self, votes: Mapping[str, Vote]) -> tuple[float, list[str]]:
        """Probability of tests that speak as strongly in a clean network, and the tests that it is decided by.

        Those that enough clean networks have speak together; where there are too few, without the test that was made
        of the fewest. Each other one speaks by itself (Bonferroni).

        Args:
            votes: Test name -> p-value and the class that the test names; at least one.
        """
        together = [name for name in votes if self.null(name)]
        together.sort(key=lambda name: len(self.null(name)), reverse=True)
        while together and len(self._evidence(together)) < null.MIN_NETWORKS:
            together.pop()
        alone = {name: p for name, (p, _) in votes.items() if name not in together}
        parts = []
        if together:
            strength = evidence([votes[name] for name in together])
            parts.append((null.p_value(self._evidence(together), strength), together))
        if alone:
            parts.append((bonferroni(list(alone.values())), [min(alone, key=lambda x: alone[x])]))
        return bonferroni([p for p, _ in parts]), min(parts, key=lambda part: part[0])[1]

    def _evidence(self, names: Sequence[str]) -> list[float]:
        """Of each clean network of which all these tests were made, with the p-values that the others give it."""
        per_network: list[list[Vote]] = [[] for _ in self.networks]
        for name in names:
            which = [i for i, each in enumerate(self.nulls[name]) if each is not None]
            values = [each for each in self.nulls[name] if each is not None]
            for index, p in zip(which, null.leave_one_out(values), strict=True):
                per_network[index].append((p, self.named[name][index] or 0))
        return [evidence(votes) for votes in per_network if len(votes) == len(names)]

    def left_out(self, made: Collection[str]) -> list[str]:
        """The calibrated tests that are not among these names."""
        return [name for name in self.nulls if self.null(name) and name not in made]

    def rates_of(self, made: Collection[str]) -> Mapping[str, Rate]:
        """`rates` where these tests are made; empty where that was not measured.

        Args:
            made: Names of tests.
        """
        left_out = self.left_out(made)
        if len(left_out) > 1:
            return {}
        return self.without.get(left_out[0], {}) if left_out else self.rates

    def applied(self, tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
        """The results with calibrated p-values, where the tests are calibrated."""
        found = []
        for test in tests:
            p = None if test.statistic is None else self.p_value(test.name, test.statistic)
            found.append(test if p is None else replace(test, p_value=p, calibrated=True))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data; `from_dict` reads it back."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: Any) -> Calibration:
        """Read what `to_dict` wrote.

        Raises:
            UsageError: The data is not a calibration of this schema, or its figures make no sense.
        """
        hint = "use a file that hfscan calibrate wrote"
        schema = data.get("schema") if isinstance(data, dict) else None
        if schema != SCHEMA or isinstance(schema, bool):
            raise UsageError(
                f"not an hfscan calibration of schema {SCHEMA} (schema: {schema!r:.40})", hint
            )
        rest = {key: value for key, value in data.items() if key != "schema"}
        try:
            found: Calibration = typed(Calibration, rest)
            found._check()
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as e:
            raise UsageError(f"the calibration is damaged ({type(e).__name__}: {e})", hint) from e
        return found

    def _check(self) -> None:
        """Raise a ValueError for figures that make no sense."""
        n = len(self.networks)
        figures = [each for row in self.nulls.values() for each in row if each is not None]
        fine = {
            "name": 0 < len(self.name) <= 100,
            "description": len(self.description) <= MAX_TEXT,
            "networks": 0 < n <= MAX_NETWORKS,
            "tests": 0 < len(self.nulls) <= MAX_TESTS
            and all(len(key) <= 100 for key in self.nulls),
            "statistics per test": all(len(row) == n for row in self.nulls.values()),
            "classes per test": self.named.keys() == self.nulls.keys()
            and all(len(row) == n for row in self.named.values()),
            "statistics": all(math.isfinite(each) for each in figures),
            "rates": 0 < self.backdoored_rate <= self.suspicious_rate < 1,
            "measured rates": len(self.without) <= MAX_TESTS
            and all(len(key) <= 100 for key in self.without)
            and all(map(_are_rates, (self.rates, *self.without.values()))),
            "network facts": all(map(_makes_sense, self.networks)),
        }
        wrong = [name for name, so in fine.items() if not so]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} make no sense")


def load_calibration(path: Path) -> Calibration:
    """Read a calibration file, which may be anything.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    hint = "give --calibration a file that hfscan calibrate wrote"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path} is too large for a calibration", hint)
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise UsageError(f"cannot read {path}: {type(e).__name__}", hint) from e
    return Calibration.from_dict(data)


def _are_rates(rates: Mapping[str, Rate]) -> bool:
    return (
        len(rates) <= MAX_TESTS
        and all(len(key) <= 100 for key in rates)
        and all(map(_adds_up, rates.values()))
    )


def _adds_up(rate: Rate) -> bool:
    return 0 <= rate.named <= rate.networks and (
        0 <= rate.backdoored <= rate.suspicious <= rate.networks
    )


def _makes_sense(network: NetworkFacts) -> bool:
    return (
        min(network.input_size) > 0 and network.num_classes > 1 and len(network.architecture) <= 200
    )
