"""``hfscan audit``."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from hfscan.types import AuditReport

ACCURACY_IMAGES = 1000
"""Clean accuracy is measured on at most so many images, or as many as there are classes."""

ModeName = Literal["exact", "fast"]
GradientName = Literal["start", "every"]
FailOn = Literal["suspicious", "backdoored", "never"]

_FMT = "Feature map testing"


def audit(
    model: Annotated[str, typer.Argument(help=o.MODEL_HELP, show_default=False)],
    clean_data: Annotated[str, typer.Option(help=o.DATA_HELP, show_default=False)],
    split: o.Split = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    label_map: o.LabelMap = None,
    revision: o.Revision = None,
    token: o.Token = None,
    allow_pickle: o.AllowPickle = False,
    images: Annotated[
        int,
        typer.Option(
            min=1,
            help="Clean images that test each channel; the verdict's own tests take theirs.",
            rich_help_panel=_FMT,
        ),
    ] = 32,
    steps: Annotated[
        int, typer.Option(min=1, help="Gradient steps that change an image.", rich_help_panel=_FMT)
    ] = 2,
    step_size: Annotated[
        float, typer.Option(help="Change of a pixel per step, in (0, 1].", rich_help_panel=_FMT)
    ] = 0.02,
    eps: Annotated[
        float, typer.Option(help="Largest change of a pixel, in (0, 1].", rich_help_panel=_FMT)
    ] = 0.06,
    gradient: Annotated[
        GradientName,
        typer.Option(
            help="Which gradient moves the image: that of the start for all steps (as in the authors' release), "
            "or a new one at every step.",
            rich_help_panel=_FMT,
        ),
    ] = "start",
    detector: Annotated[
        o.DetectorName, typer.Option(help="How a layer's outliers are found.", rich_help_panel=_FMT)
    ] = "elliptic",
    tau: Annotated[
        float,
        typer.Option(
            help="Share of a layer's channels to flag, in (0, 0.5).", rich_help_panel=_FMT
        ),
    ] = 0.1,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=o.MAX_SEED, help="Seed of all random choices.", rich_help_panel=_FMT
        ),
    ] = 0,
    tests: o.Tests = None,
    calibration: o.Calibration = None,
    mode: Annotated[
        ModeName | None,
        typer.Option(
            help="Test every channel with every image (exact), or screen the channels first (fast): the verdict "
            "is as good, the flagged channels are others. Default: fast if there is a --budget.",
            show_default=False,
            rich_help_panel=_FMT,
        ),
    ] = None,
    effort: Annotated[
        float,
        typer.Option(
            help="Share of the exact mode's work that the fast mode does, in (0, 1].",
            rich_help_panel=_FMT,
        ),
    ] = 0.15,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Finish within this time: 90s, 2m, 1h30m. What does not fit is left out and reported.",
            rich_help_panel=o._RUN,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from where the same audit was interrupted.",
            rich_help_panel=o._RUN,
        ),
    ] = False,
    backend: Annotated[
        o.BackendName,
        typer.Option(
            help="Where the layers are tested: here, or on the workers of a cluster.",
            rich_help_panel=o._RUN,
        ),
    ] = "local",
    scheduler: o.Scheduler = None,
    device: o.DeviceOption = "auto",
    precision: o.Precision = "auto",
    min_agreement: Annotated[
        float,
        typer.Option(
            help="Share of predictions that half precision must keep, in [0, 1].",
            rich_help_panel=o._RUN,
        ),
    ] = 0.97,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Most images per pass; default: what suits the device.",
            rich_help_panel=o._RUN,
        ),
    ] = None,
    memory: o.Memory = None,
    threads: o.Threads = None,
    cache_dir: o.CacheDir = None,
    fail_on: Annotated[
        FailOn,
        typer.Option(help="Mildest verdict that exits with 1.", rich_help_panel=o._REPORT),
    ] = "suspicious",
    ignore_file: o.IgnoreFile = None,
    baseline: o.Baseline = None,
    report_format: Annotated[
        o.Format,
        typer.Option(
            "--format", "-f", help="Format of what is printed.", rich_help_panel=o._REPORT
        ),
    ] = "console",
    json: o.Json = False,
    output: o.Output = None,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures/--no-pictures",
            help="Whether the report shows pictures of suspicious channels, made from clean images.",
            rich_help_panel=o._REPORT,
        ),
    ] = True,
    quiet: o.Quiet = False,
    verbose: o.Verbose = False,
) -> None:
    """Look for a backdoor in an image classifier.

    Every conv channel is tested with clean images (feature map testing). The
    verdict comes from tests of the whole network (--tests).

    [b]Examples[/b]

      hfscan audit user/model --clean-data cifar10

      hfscan audit ./folder --clean-data ./images --images 16

      hfscan audit user/model@v1 --clean-data user/data -o json=report.json

      hfscan audit user/model --clean-data cifar10 --budget 5m

      hfscan audit user/model --clean-data cifar10 --backend dask --scheduler HOST:8786
    """
    from dataclasses import replace
    from functools import partial

    from hfscan.calibration import load_calibration
    from hfscan.cli.loading import load_inputs, prepare, read_map
    from hfscan.cli.output import bars, parse_outputs, say
    from hfscan.cli.patience import hinting
    from hfscan.cli.policy import read_policy
    from hfscan.cli.quantities import parse_duration, parse_size
    from hfscan.cli.report import deliver
    from hfscan.cli.state import Inputs, absolute, audits_folder, remember
    from hfscan.cluster import CLUSTERS, check_address
    from hfscan.pipeline import audit as run
    from hfscan.pipeline import check_settings
    from hfscan.report import FORMATS
    from hfscan.report.console import renderable
    from hfscan.types import AuditSettings

    settings = AuditSettings(
        images=images,
        steps=steps,
        step_size=step_size,
        eps=eps,
        detector=detector,
        tau=tau,
        seed=seed,
        mode=mode or ("exact" if budget is None else "fast"),
        effort=effort,
        gradient=gradient,
        precision=precision,
        min_agreement=min_agreement,
        tests=o.names(tests),
    )
    check_settings(settings)
    check_address(backend, scheduler)
    began = perf_counter()
    seconds = None if budget is None else parse_duration(budget)
    files = parse_outputs(output or [], FORMATS)
    known = None if calibration is None else load_calibration(calibration)
    policy = read_policy(model, ignore_file, baseline)
    inputs = Inputs(
        model=model,
        revision=revision,
        clean_data=clean_data,
        split=split,
        image_column=image_column,
        label_column=label_column,
        label_map=read_map(label_map),
        allow_pickle=allow_pickle,
        calibration=None if calibration is None else str(calibration.resolve()),
    )
    prepare(threads, quiet)
    loaded, clean = load_inputs(
        inputs,
        device,
        images=max(images, ACCURACY_IMAGES),
        seed=seed,
        token=token,
        cache_dir=cache_dir,
    )
    try:
        with bars(quiet) as progress:
            report = run(
                loaded,
                clean,
                settings=settings,
                calibration=known,
                budget=None if seconds is None else seconds - (perf_counter() - began),
                batch_size=batch_size,
                state=audits_folder(),
                resume=resume,
                memory=None if memory is None else parse_size(memory),
                pictures=pictures,
                spread=None
                if backend == "local"
                else partial(CLUSTERS[backend], address=scheduler),
                progress=progress
                if quiet or settings.mode == "fast"
                else hinting(progress, effort),
            )
    except KeyboardInterrupt:
        if not quiet:
            say("interrupted; the same command with --resume goes on from here")
        raise
    report, counts = policy.judge(report)
    pinned = f"{clean.name}@{clean.revision}" if clean.revision else absolute(clean_data)
    found_at = absolute(model) if loaded.revision is None else loaded.ref
    remember(report, replace(inputs, model=found_at, revision=loaded.revision, clean_data=pinned))
    shown = renderable(report, verbose=verbose)
    deliver(report, FORMATS, shown, "json" if json else report_format, files)
    raise typer.Exit(exit_code(report, fail_on if counts else "never"))


def exit_code(report: AuditReport, fail_on: FailOn) -> int:
    """0 nothing found, 1 at or above ``fail_on``, 3 inconclusive."""
    from hfscan.types import Verdict

    match report.verdict:
        case Verdict.INCONCLUSIVE:
            return 3
        case Verdict.BACKDOORED:
            return int(fail_on != "never")
        case Verdict.SUSPICIOUS:
            return int(fail_on == "suspicious")
        case Verdict.NO_BACKDOOR_FOUND:
            return 0
