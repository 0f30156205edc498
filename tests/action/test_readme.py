"""What the README and the page about automation say of the action is what action.yml says."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from hfscan.cli.action.finding import TO_REPAIR, VERDICTS
from hfscan.cli.action.inputs import REPAIRS, Inputs
from hfscan.types import Verdict

from .runner import ACTION, ROOT
from .test_lint import PIN, check, tool

DEFINITION = yaml.safe_load(ACTION.read_text())
SECTION = re.search(r"## GitHub Action\n(.*?)\n## ", (ROOT / "README.md").read_text(), re.DOTALL)[1]
TABLES = (ROOT / "examples" / "automation.md").read_text().partition("## The GitHub Action\n")[2]
WORKFLOW = re.search(r"```yaml\n(.*?)```", SECTION, re.DOTALL)[1]


def table(heading: str) -> list[list[str]]:
    """The cells of a table, without its heading."""
    lines = TABLES.partition(f"| {heading} |")[2].splitlines()[2:]
    rows = lines[: lines.index("")]
    return [[cell.strip() for cell in row.strip("|").split(" |")] for row in rows]


def test_the_table_of_inputs() -> None:
    expected = []
    for name, one in DEFINITION["inputs"].items():
        default = f"`{one['default']}`" if one.get("default") else ""
        expected.append(
            [f"`{name}`", "required" if one.get("required") else default, one["description"]]
        )
    assert table("input") == expected


def test_the_table_of_outputs() -> None:
    outputs = DEFINITION["outputs"].items()
    assert table("output") == [[f"`{name}`", one["description"]] for name, one in outputs]


def test_the_workflow_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "audit.yml"
    path.write_text(WORKFLOW)
    check(tool("check-jsonschema"), "--builtin-schema", "vendor.github-workflows", path)
    (step,) = (
        step
        for step in yaml.safe_load(WORKFLOW)["jobs"]["audit"]["steps"]
        if step["uses"].startswith("OWNER/")
    )
    assert set(step["with"]) <= set(DEFINITION["inputs"])
    pins = set(PIN.findall(WORKFLOW))
    assert pins
    assert pins <= set(PIN.findall((ROOT / "examples/workflows/sync-model.yml").read_text()))


def test_every_input_reaches_the_program() -> None:
    """Those of `Inputs` by their names; the others by what they are for."""
    (step,) = (step for step in DEFINITION["runs"]["steps"] if step.get("id") == "run")
    passed = {name for name in step["env"] if name.startswith("INPUT_")}
    assert passed == {f"INPUT_{name.upper()}" for name in Inputs.__dataclass_fields__}
    text = ACTION.read_text()
    for name in DEFINITION["inputs"]:
        assert f"inputs.{name}" in text, name


def test_what_the_descriptions_list_is_what_there_is() -> None:
    inputs, outputs = DEFINITION["inputs"], DEFINITION["outputs"]
    assert inputs["repair"]["description"].endswith(f"one of {', '.join(REPAIRS)}")
    assert set(VERDICTS) == {verdict.value for verdict in Verdict}
    assert set(TO_REPAIR) < set(VERDICTS)
    assert all(verdict in outputs["verdict"]["description"] for verdict in VERDICTS)
