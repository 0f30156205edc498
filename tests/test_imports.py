"""Who may import whom, and what only one place may do."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hfscan
from hfscan import errors

PACKAGE = Path(hfscan.__file__).parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}

FENCES = {
    "typer": ("cli/",),
    "rich": ("cli/", "report/console.py"),
    "huggingface_hub": ("hub/", "card.py"),
    "datasets": ("data.py",),
    "sklearn": ("detectors/", "bench/", "calibration/fitting.py"),
    "timm": ("hub/", "models/"),
    "matplotlib": ("bench/figure.py", "bench/plot.py"),
    "jinja2": ("report/html.py",),
    "click": (),
}
"""Library -> the files that may import it."""

RANKS = (
    {"errors"},
    {"types", "jsonl", "reasons"},
    {
        "models",
        "channels",
        "detectors",
        "calibration",
        "verdict",
        "comparison",
        "report",
        "clock",
        "png",
        "half",
        "cluster",
        "cosines",
        "onednn",
        "decoding",
        "labels",
    },
    {"weights", "inversion", "unlearn", "fmt", "model_tests", "metrics", "card", "policy"},
    {"checkpoint", "hub"},
    {"train", "activated"},
    {"audit_state"},
    {"data", "pipeline"},
    {"bench", "registries", "doctor", "sweep", "verify", "selftest"},
    {"cli"},
)
"""From the bottom up: nothing imports from a higher rank."""


def imported(tree: ast.Module) -> Iterator[str]:
    """Full names of the imported modules, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide who imports whom"
            yield node.module or ""


def rank(name: str) -> int:
    """Of a module of ours, by its first part."""
    (found,) = (index for index, names in enumerate(RANKS) if name in names)
    return found


@pytest.mark.parametrize("library", FENCES)
def test_fences(library: str) -> None:
    users = [
        name
        for name, tree in TREES.items()
        if library in {module.partition(".")[0] for module in imported(tree)}
    ]
    assert [name for name in users if not name.startswith(FENCES[library] or ("-",))] == []


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("__")])
def test_nothing_imports_upward(name: str) -> None:
    own = rank(name.partition("/")[0].removesuffix(".py"))
    ours = [module for module in imported(TREES[name]) if module.startswith("hfscan.")]
    assert [module for module in ours if rank(module.split(".")[1]) > own] == []


def names_used(tree: ast.AST) -> set[str]:
    """Names, and attributes with a dot in front."""
    nodes = list(ast.walk(tree))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return names | {f".{node.attr}" for node in nodes if isinstance(node, ast.Attribute)}


@pytest.mark.parametrize(
    ("names", "allowed"),
    [
        ({"print", "input", ".getenv", ".exit"}, ("cli/",)),
        ({".environ"}, ("cli/", "sweep/process.py")),  # a child process is given one
        ({".register_forward_hook"}, ("channels.py",)),
        ({".register_forward_pre_hook"}, ("channels.py", "onednn.py")),
        ({".register_full_backward_hook", ".register_hook"}, ()),
        ({".set_default_device", ".set_default_dtype", ".cuda"}, ("cli/",)),
    ],
    ids=lambda value: ",".join(sorted(value)),
)
def test_what_only_one_place_does(names: set[str], allowed: tuple[str, ...]) -> None:
    users = [name for name, tree in TREES.items() if names & names_used(tree)]
    assert [name for name in users if not name.startswith(allowed or ("-",))] == []


def test_only_the_command_line_catches_our_errors() -> None:
    catchers = [
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        and node.type is not None
        and "HfscanError" in names_used(node.type)
        and not (len(node.body) == 1 and isinstance(node.body[0], ast.Raise))
    ]
    assert catchers == ["cli/__init__.py"]


def test_every_error_of_ours_has_a_hint() -> None:
    names = {name for name in vars(errors) if name.endswith("Error")}
    without = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in names
        and len(node.args) < 2
    ]
    assert without == []


def test_help_is_quick() -> None:
    """It imports none of the heavy libraries; -X importtime lists what it does import."""
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "hfscan", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    modules = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines()
    }
    assert "typer" in modules
    heavy = {"torch", "timm", "datasets", "sklearn", "scipy", "huggingface_hub", "pyarrow"}
    assert modules & heavy == set()


def test_public_names() -> None:
    assert sorted(hfscan.__all__) == hfscan.__all__
    for name in hfscan.__all__:
        assert getattr(hfscan, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hfscan.nothing
