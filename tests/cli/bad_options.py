"""Options that make no sense, and places that cannot be written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hfscan.types import SCHEMA

from .bad_case import HOSTILE, LONG, Arguments, Case, Place
from .support import GENTLE


def with_options(*options: str) -> Callable[[Place], Arguments]:
    return lambda place: [*place.audit(), *options]


def below_a_file(*options: str | Path) -> Callable[[Place], Arguments]:
    """A repair with a path below a regular file."""

    def build(place: Place) -> Arguments:
        (place.folder / "file").touch()
        return ["repair", "--report", place.victims.report, *options]

    return build


def repair(*options: str) -> Callable[[Place], Arguments]:
    return lambda place: ["repair", "--report", place.victims.report, *GENTLE, *options]


def file_as_report(text: str) -> Callable[[Place], Arguments]:
    def build(place: Place) -> Arguments:
        (place.folder / "report.json").write_text(text)
        return ["repair", "--report", place.folder / "report.json"]

    return build


OPTIONS = [
    Case("no command", lambda p: ["scan"], "No such command 'scan'", "--help", code=4),
    Case("no model", lambda p: ["audit"], "Missing argument", "audit --help", code=4),
    Case("no images given", lambda p: ["audit", "./x"], "'--clean-data'", "audit --help", code=4),
    Case("unknown option", with_options("--imagse", "3"), "No such option: --imagse", code=4),
    Case("hostile option", with_options(f"--{HOSTILE}"), "No such option", code=4),
    Case("unknown home", lambda p: p.audit(model="~nobody.here/x"), "in the home of", code=4),
    Case("hostile model", lambda p: p.audit(model=HOSTILE), "is not a model", code=4),
    Case("long model", lambda p: p.audit(model=LONG), "is not a model", "./name", code=4),
    Case("no number", with_options("--steps", "two"), "'--steps'", code=4),
    Case("no image", with_options("--images", "0"), "'--images'", code=4),
    Case(
        "unknown detector",
        with_options("--detector", "eye"),
        "'--detector': 'eye' is not one of",
        code=4,
    ),
    Case("unknown format", with_options("--format", "pdf"), "'--format'", code=4),
    Case("eps out of range", with_options("--eps", "2"), "--eps cannot be 2", "at most 1", code=4),
    Case("no budget", with_options("--budget", "soon"), "--budget cannot be 'soon'", "2m", code=4),
    Case("no cluster", with_options("--scheduler", "x:1"), "other machines", "--backend", code=4),
    Case("no scheduler", with_options("--backend", "dask"), "needs a scheduler", "tcp", code=4),
    Case(
        "a budget on a cluster",
        with_options("--backend", "ray", "--budget", "1m"),
        "kept on one machine",
        "leave out",
        code=4,
    ),
    Case("no size", with_options("--memory", "much"), "--memory cannot be 'much'", "4GB", code=4),
    Case("no effort", with_options("--effort", "0"), "--effort cannot be 0", "above 0", code=4),
    Case(
        "tau out of range", with_options("--tau", "0.5"), "--tau cannot be 0.5", "below 0.5", code=4
    ),
    Case("unknown test", with_options("--tests", "eye"), "no test 'eye'", "patch-inv", code=4),
    Case("no calibration", with_options("--calibration", "/dev/null"), "cannot read", code=4),
    Case("seed out of range", with_options("--seed", str(2**32)), "'--seed'", "--help", code=4),
    Case("NaN as option", with_options("--step-size", "nan"), "--step-size cannot be", code=4),
    Case("no label map", with_options("--label-map", "nowhere"), "'--label-map'", code=4),
    Case(
        "two revisions",
        lambda p: [*p.audit(model="org/net@v1"), "--revision", "v2"],
        "two revisions: v1 in org/net@v1 and --revision v2",
        code=4,
    ),
    Case(
        "revision of a folder",
        lambda p: [*p.audit(model="./net"), "--revision", "v2"],
        "./net is a folder, it has no revision v2",
        code=4,
    ),
    Case(
        "hostile revision",
        lambda p: p.audit(model=f"org/net@{HOSTILE}"),
        "is not a revision",
        "a branch, a tag or a commit sha",
        code=4,
    ),
    Case(
        "-o of an unknown format",
        with_options("-o", "pdf=report.pdf"),
        "--output 'pdf=report.pdf' is not FORMAT=FILE",
        "formats: console, json, markdown",
        code=4,
    ),
    Case(
        "-o in no folder",
        with_options("-o", "json=nowhere/report.json"),
        "nowhere/report.json cannot be written",
        code=4,
    ),
    Case(
        "-o twice to the same file",
        with_options("-o", "json=report", "-o", "markdown=./report"),
        "--output ./report is there twice",
        "choose another FILE",
        code=4,
    ),
    Case(
        "a dataset as model",
        lambda p: p.audit(model="hf://datasets/org/net"),
        "hf://datasets/org/net is not a model",
        code=4,
    ),
    Case(
        "a model as dataset",
        lambda p: p.audit(data="hf-hub:org/net"),
        "hf-hub:org/net is not a dataset",
        code=4,
    ),
    Case(
        "-o on a full disk",
        with_options("-o", "json=/dev/full"),
        "/dev/full cannot be written (No space left on device)",
        says="NO_BACKDOOR_FOUND",
    ),
    Case(
        "-o on a disk that fills up",
        with_options("-o", "json=report.json"),
        "report.json cannot be written (File too large)",
        says="NO_BACKDOOR_FOUND",
        disk=1000,
    ),
    Case(
        "--out below a file",
        below_a_file("--out", "file/net"),
        "nothing can be written to",
        "choose another --out",
    ),
    Case(
        "--out is a file",
        below_a_file("--out", "file"),
        "file is not a folder",
        "choose another --out",
    ),
    Case(
        "--out on a disk that fills up",
        repair("--out", "net"),
        "net cannot be written (File too large)",
        "choose another --out",
        says="REPAIRED",
        disk=100_000,
    ),
    Case("--out is everything", repair("--out", "/"), "/ is a mount point", "--out /repaired"),
    Case(
        "--out is the working directory",
        repair("--out", ".", "--overwrite"),
        ". is the working directory, which a new folder cannot take the place of",
        "name a folder in it: --out repaired",
    ),
    Case(
        "--overwrite of more than a model",
        repair("--out", "..", "--overwrite"),
        ".. has folders in it, which --overwrite would delete",
        "choose another --out",
    ),
    Case(
        "--create-pr without --push",
        repair("--create-pr"),
        "--create-pr is for a",
        "--push",
        code=4,
    ),
    Case("no report", repair("--report", "nowhere"), "'--report'", "repair --help", code=4),
    Case("report of nothing", file_as_report("[]"), "report.json is not an hfscan report", "json="),
    Case("report of another schema", file_as_report('{"schema": 1}'), "of schema", "again"),
    Case("damaged report", file_as_report(f'{{"schema": {SCHEMA}}}'), "report is damaged", "again"),
    Case("malformed report", file_as_report("{"), "report.json is not a JSON report"),
    Case("repair without images", lambda p: ["repair", "./x"], "MODEL needs --clean-data", code=4),
    Case("rate out of range", repair("--clean-rate", "1"), "--clean-rate cannot be 1.0", code=4),
    Case("--to without --push", repair("--to", "me/x"), "--to is for a push", "--push", code=4),
    Case("--public alone", repair("--public"), "--public is for a push", "--push", code=4),
    Case(
        "title without --push",
        repair("--commit-message", "x"),
        "--commit-message is for a push",
        "--push",
        code=4,
    ),
    Case("push unasked", repair("--push", "--to", "me/x"), "a push needs a yes", "--yes", code=4),
    Case(
        "push to nowhere",
        repair("--push", "--yes"),
        "is no repository to push to",
        "--to owner/name",
        code=4,
    ),
    Case(
        "push to a folder",
        repair("--push", "--yes", "--to", "./x"),
        "'./x' is not a repository to push to",
        "--to owner/name",
        code=4,
    ),
    Case(
        "push to a name without an owner",
        repair("--push", "--yes", "--to", "foo"),
        "'foo' is not a repository to push to",
        "--to owner/name",
        code=4,
    ),
]
