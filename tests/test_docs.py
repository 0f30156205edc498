"""What the README says is what the program says."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import hfscan
from hfscan.bench.defenses import DEFENSES
from hfscan.calibration.calibration import BACKDOORED_RATE, SUSPICIOUS_RATE
from hfscan.cli import app, options
from hfscan.cli.audit import ACCURACY_IMAGES, audit
from hfscan.cli.repair import MAX_IMAGES, repair
from hfscan.cli.selftest import IMAGES as SELFTEST_IMAGES
from hfscan.detectors import DETECTORS
from hfscan.inversion import Blend, Patch
from hfscan.model_tests import TESTS
from hfscan.report import FORMATS
from hfscan.report.rules import RULES
from hfscan.types import AuditSettings, RepairSettings
from hfscan.unlearn import Unlearning
from hfscan.verdict import P_BACKDOORED, P_SUSPICIOUS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_help_blocks_are_the_programs() -> None:
    blocks = re.findall(r"```text\n\$ hfscan (.*?)\n(.*?)```", README, re.DOTALL)
    assert blocks
    for arguments, shown in blocks:
        environment = {**os.environ, "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
        run = subprocess.run(
            [sys.executable, "-m", "hfscan", *arguments.split()],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        lines = [line.rstrip() for line in run.stdout.strip().splitlines()]
        said = "\n".join(lines).replace("python -m hfscan", "hfscan")
        assert said.strip() == shown.strip()


def test_readme_names_every_registry_entry() -> None:
    for name in DETECTORS:
        assert f"`{name}`" in README or f"`--detector {name}`" in README
    for name in DEFENSES:
        assert f"`{name}`" in README


def test_readme_names_every_format_and_rule() -> None:
    for name in FORMATS:
        assert f"`-f {name}`" in README
    for rule in RULES.values():
        assert f"`{rule.id}` {rule.name.replace('-', ' ')}" in README


def test_choices_of_the_command_line_are_the_registries() -> None:
    assert set(get_args(options.DetectorName)) == set(DETECTORS)
    assert set(get_args(options.Format)) == set(FORMATS)
    assert set(get_args(options.MethodName)) == set(DEFENSES)


def test_the_help_names_every_model_level_test() -> None:
    (_, option) = get_args(options.Tests)
    assert all(name in option.help for name in TESTS)


def test_defaults_of_the_command_line_are_the_settings() -> None:
    for command, settings in ((audit, AuditSettings()), (repair, RepairSettings())):
        options = inspect.signature(command).parameters
        for name, default in dataclasses.asdict(settings).items():
            if name not in ("momentum", "mode", "tests"):  # no option; depends on --budget; all
                assert options[name].default == default, name


def test_readme_states_the_defaults() -> None:
    text = " ".join(README.split())
    assert f"The default is {RepairSettings().erase_rate:g}." in text
    assert f"L2 norm {RepairSettings().unlearn_norm:g}" in text
    assert f"a patch of {100 * Patch().area:g} % of the pixels" in text
    assert f"blended in at {100 * Blend().ratio:g} %" in text
    assert f"({RepairSettings().epochs} epochs, SGD, cosine)" in text
    assert f"within {100 * AuditSettings().eps:g} % of the pixel range" in text
    assert Unlearning.share == 0.25
    assert "a quarter of each batch carries an inverted trigger" in text
    for verdict, calibrated, otherwise in (
        ("BACKDOORED", BACKDOORED_RATE, P_BACKDOORED),
        ("SUSPICIOUS", SUSPICIOUS_RATE, P_SUSPICIOUS),
    ):
        assert (
            f"**{verdict}** (p < {calibrated:g} with a calibration, {otherwise:g} without)" in text
        )


def test_readme_states_how_many_images_each_command_takes() -> None:
    text = " ".join(README.split())
    assert (
        f"An audit takes up to {ACCURACY_IMAGES:,} of them, a selftest {SELFTEST_IMAGES:,} and a "
        f"repair {MAX_IMAGES:,}," in text
    )
    assert f"model=model, images={ACCURACY_IMAGES})" in text
    assert f"model=model, images={MAX_IMAGES})" in text
    assert f"fine-tunes on {100 * RepairSettings().clean_rate:g} % of its images" in text
    assert f"falls by more than {100 * RepairSettings().max_accuracy_drop:g} points" in text


def test_readme_has_every_command() -> None:
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        assert f"| `hfscan {name}" in README, name


def test_readme_installs_nothing_by_its_name_alone() -> None:
    assert "install hfscan" not in README
    assert "'hfscan[" not in README


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_into_the_repository_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), link


def test_public_names_are_documented() -> None:
    for name in hfscan.__all__:
        if not name.startswith("__"):
            assert getattr(hfscan, name).__doc__, name


def test_ci_runs_the_commands_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    first, second = re.search(r"## Quick start\n\n```\n(.*)\n(.*)\n```", README).groups()
    assert first.partition(" && ")[2] in script
    for command in second.split(" && "):
        assert command in script
