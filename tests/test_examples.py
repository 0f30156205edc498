"""The examples run as their first lines say, on small inputs."""

from __future__ import annotations

import ast
import html
import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from cli.support import (
    QUICK_TESTS,
    color_data,
    color_net,
    dataset,
    png,
    write_data,
    write_model,
)
from conftest import EXAMPLES
from datasets import DatasetDict

import hfscan

SMALL = ["audit_model.py", "audit_your_own_module.py", "repair_model.py", "custom_detector.py"]


def run(name: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


@pytest.fixture(autouse=True)
def _quick_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the model-level tests find is of no interest here."""
    monkeypatch.setattr("hfscan.pipeline.testing.TESTS", QUICK_TESTS)


@pytest.mark.parametrize("name", SMALL)
def test_examples_are_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= 60


@pytest.mark.parametrize(
    "script",
    [*EXAMPLES.glob("*.py"), *(EXAMPLES.parent / "tests" / "benchmarks").glob("*.py")],
    ids=lambda script: script.stem,
)
def test_what_a_script_imports_is_there(script: Path) -> None:
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hfscan"):
            module = importlib.import_module(node.module or "")
            assert [each.name for each in node.names if not hasattr(module, each.name)] == []


def test_train_victims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [png(image) for image in torch.randint(256, (60, 3, 32, 32), dtype=torch.uint8)]
    labels, names = [index % 10 for index in range(60)], [f"class {index}" for index in range(10)]
    images = dataset(cells, labels, names)
    data = write_data(tmp_path / "data", DatasetDict(train=images, test=images))
    arguments = ["--data", str(data), "--out", str(tmp_path), "--epochs", "1"]
    run("train_victims.py", [*arguments, "--only", "badnets"], monkeypatch)
    card = (tmp_path / "badnets-cifar10" / "README.md").read_text()
    assert "| target | 0 (class 0) |" in card
    assert "| attack success rate | " in card
    assert hfscan.load(str(tmp_path / "badnets-cifar10")).num_classes == 10


def test_audit_your_own_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("audit_your_own_module.py", [str(EXAMPLES / "cifar10-clean")], monkeypatch)
    output = capsys.readouterr().out
    assert "clean accuracy 0." in output
    assert "{'body.0': 16, 'body.2': 32}" in output


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[str, str]:
    """A planted model and images of its classes, as folders."""
    model = write_model(tmp_path / "planted", color_net(planted=True))
    return str(model), str(write_data(tmp_path / "clean", color_data()))


def test_the_picture_of_an_audit_quotes_the_calibration_that_ships() -> None:
    lines = re.findall(r">([^<]*)</text>", (EXAMPLES / "audit.svg").read_text())
    shown = " ".join(html.unescape(" ".join(lines)).split())
    rates = hfscan.load_calibration(EXAMPLES.parent / "hfscan/calibration/cifar10.json").rates
    for name, rate in rates.items():
        assert f"{name} {rate.suspicious} of {rate.networks}" in shown


def test_audit_model(
    inputs: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("audit_model.py", [*inputs], monkeypatch)
    assert "suspected target class: " in capsys.readouterr().out


def test_the_python_code_of_the_readme(
    inputs: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (EXAMPLES.parent / "README.md").read_text()
    (code,) = (part.partition("```")[0] for part in readme.split("```python\n")[2:3])
    for example, small in zip(("badnets-cifar10", "cifar10-clean"), inputs, strict=True):
        assert f'"./examples/{example}"' in code
        code = code.replace(f"./examples/{example}", small)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "BACKDOORED" in capsys.readouterr().out
    assert (tmp_path / "repaired" / "model.safetensors").is_file()


def test_repair_model(
    inputs: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run("repair_model.py", [*inputs, str(tmp_path / "repaired")], monkeypatch)
    assert "accuracy 1.000 -> " in capsys.readouterr().out
    assert (tmp_path / "repaired" / "model.safetensors").is_file()


def test_timm_loads_the_example_as_the_readme_says() -> None:
    """In a program of its own: only the snippet's imports count."""
    readme = (EXAMPLES.parent / "README.md").read_text()
    code = readme.split("```python\n")[1].partition("```")[0]
    assert "./badnets-cifar10-repaired" in code
    example = EXAMPLES / "badnets-cifar10"
    code = code.replace("./badnets-cifar10-repaired", str(example))
    check = (
        "import sys, torch; from safetensors.torch import load_file; wanted = load_file(sys.argv[1])\n"
        "assert all(torch.equal(wanted[name], value) for name, value in net.state_dict().items())\n"
    )
    subprocess.run(
        [sys.executable, "-c", code + check, str(example / "model.safetensors")], check=True
    )


def test_custom_detector(
    inputs: tuple[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run("custom_detector.py", [*inputs, "4"], monkeypatch)
    output = capsys.readouterr().out
    assert "LowestTenth: " in output
    assert "LocalOutlierFactor: " in output


def test_adding_an_attack_or_defense(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (EXAMPLES / "adding-an-attack-or-defense.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(
        re.fullmatch(r"accuracy .* -> .*, success rate .* -> .*, \d+ channels erased", line)
        for line in lines
    ), lines
