"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

Device = Literal["auto", "cpu", "cuda", "mps"]
Format = Literal["console", "json", "markdown", "sarif", "html"]
PrecisionName = Literal["auto", "fp32", "bf16", "fp16"]
DetectorName = Literal["elliptic", "kmeans"]
MethodName = Literal["fmt-flow", "ft", "fp", "clp", "anp", "nc", "nad", "fmt", "fmt-tac"]

MAX_SEED = 2**32 - 1
"""Of NumPy and scikit-learn."""

MODEL_HELP = (
    "[b]owner/name[/b] on the Hub ([b]owner/name@revision[/b] pins it), or a folder written as one: "
    "[b]./folder[/b], an absolute path, [b]local-dir:folder[/b]."
)
DATA_HELP = (
    "Clean labelled images: a dataset on the Hub ([b]cifar10[/b], [b]owner/name[/b]), or a folder "
    "written as one ([b]./folder[/b]): dataset files, or one subfolder of images per class."
)

_MODEL = "Model"
_DATA = "Clean images"
_RUN = "Run"
_REPORT = "Report"
_VERDICT = "Verdict"

Split = Annotated[
    str | None,
    typer.Option(
        help="Split of the clean data; default: test, else validation, else the only one.",
        rich_help_panel=_DATA,
    ),
]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column of the images, if not obvious.", rich_help_panel=_DATA)
]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of the labels, if not obvious.", rich_help_panel=_DATA)
]
LabelMap = Annotated[
    Path | None,
    typer.Option(
        help='JSON file {"class of the data": label of the model}; other classes are left out.',
        exists=True,
        dir_okay=False,
        rich_help_panel=_DATA,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(help="Branch, tag or commit of the model.", rich_help_panel=_MODEL),
]


def _token(value: str | None) -> str | None:
    """A token without the line end of the file that it came from."""
    token = (value or "").strip()
    if not token.isascii() or not token.isprintable():
        raise typer.BadParameter("it has characters that no token has; copy it again")
    return token or None


Token = Annotated[
    str | None,
    typer.Option(
        callback=_token,
        help="Token of the Hub; default: hf auth login or HF_TOKEN.",
        rich_help_panel=_MODEL,
    ),
]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Read weights from a pickle where there is no safetensors file (tensors only, no code).",
        rich_help_panel=_MODEL,
    ),
]
CacheDir = Annotated[
    Path | None,
    typer.Option(help="Where downloads are kept; default: the Hub's cache.", rich_help_panel=_RUN),
]
DeviceOption = Annotated[
    Device, typer.Option("--device", help="Device to compute on.", rich_help_panel=_RUN)
]
Precision = Annotated[
    PrecisionName,
    typer.Option(
        help="For the channel tests. auto: half precision where it is fast and keeps at least --min-agreement "
        "of the predictions.",
        rich_help_panel=_RUN,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory to aim at beside the model, as 4GB or 512MB; default: 1GB, less on small machines.",
        rich_help_panel=_RUN,
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; default: all cores.", rich_help_panel=_RUN)
]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FORMAT=FILE",
        help="Write the report to a file as well; may be repeated.",
        rich_help_panel=_REPORT,
    ),
]
IgnoreFile = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="File of accepted findings; default: the nearest .hfscan-ignore.toml, here or above.",
        rich_help_panel=_REPORT,
    ),
]
Baseline = Annotated[
    Path | None,
    typer.Option(
        exists=True,
        dir_okay=False,
        help="JSON report of an earlier audit: exit with 1 only for what is new since.",
        rich_help_panel=_REPORT,
    ),
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress bars.", rich_help_panel=_REPORT)
]
Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show every layer.", rich_help_panel=_REPORT)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object.", rich_help_panel=_REPORT)
]
Tests = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Tests of the whole network, separated by commas: maximum-margin, vulnerability, patch-inversion, "
        "warp-inversion, blend-inversion, additive-inversion, smooth-inversion, feature-maps; default: all.",
        show_default=False,
        rich_help_panel=_VERDICT,
    ),
]
Calibration = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A file that hfscan calibrate wrote; default: the closest calibration that comes with hfscan.",
        rich_help_panel=_VERDICT,
    ),
]
BackendName = Literal["local", "dask", "ray"]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of the cluster's scheduler, as tcp://host:8786.",
        rich_help_panel=_RUN,
    ),
]


def name_of(argument: str) -> str:
    """The option that an argument names, without its value, which may be a secret."""
    return argument.partition("=")[0]


def names(listed: str | None) -> tuple[str, ...]:
    """What is listed with commas in between; nothing for all."""
    return tuple(name.strip() for name in (listed or "").split(",") if name.strip())
