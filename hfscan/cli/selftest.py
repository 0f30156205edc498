"""``hfscan selftest``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from rich.table import Table

    from hfscan.selftest import Control
    from hfscan.types import HubModel, Verdict

IMAGES = 2500
"""At most so many clean images are used, or twice as many as there are classes: half of them audit."""

EXIT_FAILED = 1
EXIT_NOTHING = 3

_PLANT = "Planting"


def selftest(
    model: Annotated[str, typer.Argument(help=o.MODEL_HELP, show_default=False)],
    clean_data: Annotated[str, typer.Option(help=o.DATA_HELP, show_default=False)],
    split: o.Split = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    label_map: o.LabelMap = None,
    revision: o.Revision = None,
    token: o.Token = None,
    allow_pickle: o.AllowPickle = False,
    attacks: Annotated[
        str,
        typer.Option(
            metavar="NAMES",
            help="Attacks whose triggers are planted, separated by commas: badnets, blended.",
            rich_help_panel=_PLANT,
        ),
    ] = "badnets,blended",
    targets: Annotated[
        int,
        typer.Option(
            min=1, help="Copies per attack, each with another target class.", rich_help_panel=_PLANT
        ),
    ] = 2,
    poison_rate: Annotated[
        float,
        typer.Option(
            help="Share of the images that carry the trigger, in (0, 1).", rich_help_panel=_PLANT
        ),
    ] = 0.2,
    epochs: Annotated[
        int, typer.Option(min=1, help="Epochs of fine-tuning.", rich_help_panel=_PLANT)
    ] = 30,
    lr: Annotated[
        float, typer.Option(help="Learning rate, above 0.", rich_help_panel=_PLANT)
    ] = 0.01,
    flip: Annotated[
        bool,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the images while fine-tuning; not for signs or letters.",
            rich_help_panel=_PLANT,
        ),
    ] = True,
    seed: Annotated[
        int, typer.Option(min=0, max=o.MAX_SEED, help="Seed of all random choices.")
    ] = 0,
    tests: o.Tests = None,
    calibration: o.Calibration = None,
    device: o.DeviceOption = "auto",
    memory: o.Memory = None,
    threads: o.Threads = None,
    cache_dir: o.CacheDir = None,
    json: o.Json = False,
    quiet: o.Quiet = False,
) -> None:
    """Plant known triggers in copies of a model, and see whether an audit finds them.

    So "nothing found" becomes "would have found". Half of the clean images
    plants a trigger by fine-tuning, the other half audits the copy, in fast
    mode. In one more copy, fine-tuned without a trigger, nothing must be
    found. The model itself is left as it was; the copies are thrown away.
    Exit codes: 0 every planted trigger was caught, 1 one was missed, or the
    copy without one was not cleared, 2 it failed, 3 none could be planted.

    [b]Examples[/b]

      hfscan selftest user/model --clean-data cifar10

      hfscan selftest ./folder --clean-data ./images --attacks badnets --targets 5
    """
    from dataclasses import asdict
    from json import dumps

    from rich.console import Console

    from hfscan.calibration import load_calibration
    from hfscan.cli.loading import load_inputs, prepare, read_map
    from hfscan.cli.output import bars, print_data
    from hfscan.cli.quantities import parse_size
    from hfscan.cli.state import Inputs
    from hfscan.pipeline import check_settings
    from hfscan.selftest import PlantSettings, check_plant
    from hfscan.selftest import selftest as run
    from hfscan.types import AuditSettings

    plant = PlantSettings(
        attacks=o.names(attacks),
        targets=targets,
        poison_rate=poison_rate,
        epochs=epochs,
        lr=lr,
        flip=flip,
        seed=seed,
    )
    settings = AuditSettings(mode="fast", seed=seed, tests=o.names(tests))
    check_plant(plant)
    check_settings(settings)
    known = None if calibration is None else load_calibration(calibration)
    inputs = Inputs(
        model=model,
        revision=revision,
        clean_data=clean_data,
        split=split,
        image_column=image_column,
        label_column=label_column,
        label_map=read_map(label_map),
        allow_pickle=allow_pickle,
    )
    prepare(threads, quiet)
    loaded, clean = load_inputs(
        inputs,
        device,
        images=IMAGES,
        per_class=2,
        seed=seed,
        token=token,
        cache_dir=cache_dir,
    )
    with bars(quiet) as progress:
        found = run(
            loaded,
            clean,
            plant=plant,
            settings=settings,
            calibration=known,
            memory=None if memory is None else parse_size(memory),
            progress=progress.passing,
        )
        copies = len(plant.attacks) * min(targets, loaded.num_classes)
        *controls, without = progress(found, "fine-tuned copies", copies + 1)
    caught, planted = sum(c.caught for c in controls), sum(c.planted for c in controls)
    if json:
        rows = [
            {**asdict(c), "planted": c.planted, "caught": c.caught, "named": c.named}
            for c in (*controls, without)
        ]
        data = {
            "model": model,
            "planted": planted,
            "caught": caught,
            "suspected_without_trigger": without.accused,
            "copies": rows,
        }
        print_data(dumps(data, indent=2))
    else:
        Console().print(_table((*controls, without), loaded))
        Console().print(_sentence(caught, planted, len(controls), without.verdict), highlight=False)
    raise typer.Exit(_code(caught, planted, without.verdict))


def _code(caught: int, planted: int, without: Verdict) -> int:
    from hfscan.types import Verdict

    if not planted:
        return EXIT_NOTHING
    passed = caught == planted and without is Verdict.NO_BACKDOOR_FOUND
    return 0 if passed else EXIT_FAILED


def _sentence(caught: int, planted: int, copies: int, without: Verdict) -> str:
    from hfscan.types import Verdict

    weak = copies - planted
    left = (
        f" In {weak} of {copies} copies the trigger hardly works; they do not count."
        if weak
        else ""
    )
    if not planted:
        return (
            "No trigger could be planted with these images: nothing is known of what an audit finds."
            " More images, --epochs or a higher --poison-rate may help."
        )
    other = {
        Verdict.NO_BACKDOOR_FOUND: "The copy without a trigger is not suspected.",
        Verdict.INCONCLUSIVE: "Of the copy without a trigger the audit can say nothing.",
    }.get(
        without,
        "The copy without a trigger is suspected, too: what was caught means nothing here.",
    )
    return f"Of {planted} planted backdoors, the audit would have caught {caught}.{left} {other}"


def _table(controls: Sequence[Control], model: HubModel) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from hfscan.bench.victims import BENIGN
    from hfscan.report.text import p_value, percent, printable

    def name(label: int | None) -> Text:
        if label is None:
            return Text("-")
        names = model.label_names
        return Text(printable(names[label], 24) if names else str(label))

    def verdict(one: Control) -> Text:
        if not one.planted and one.attack != BENIGN:
            return Text("(not planted)", style="yellow")
        wanted = one.planted == one.accused
        said = one.verdict.value.replace("_", " ")
        return Text(said, style="green" if wanted else "yellow")

    table = Table(box=box.SIMPLE_HEAD, title="Planted backdoors", title_justify="left")
    for title in ("attack", "class", "accuracy", "success", "verdict", "suspected", "p-value"):
        figure = title in ("accuracy", "success", "p-value")
        table.add_column(title, justify="right" if figure else "left", overflow="fold")
    for one in controls:
        table.add_row(
            Text(one.attack),
            name(one.target),
            Text(percent(one.accuracy)),
            Text("-" if one.asr is None else percent(one.asr)),
            verdict(one),
            name(one.suspected),
            Text(p_value(one.p_value)),
        )
    return table
