"""``hfscan repair``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hfscan.cli import options as o

if TYPE_CHECKING:
    from hfscan.cli.state import Inputs
    from hfscan.hub.push import PushPlan
    from hfscan.types import AuditReport, RepairReport

MAX_IMAGES = 5000
"""At most so many clean images are used, or as many as there are classes."""

_TUNING = "Erasing and fine-tuning"
_PUSH = "Push"


def repair(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(help=o.MODEL_HELP + " Without it: the latest audit's.", show_default=False),
    ] = None,
    clean_data: Annotated[
        str | None,
        typer.Option(help=o.DATA_HELP + " Without it: the audit's.", show_default=False),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Go on from this JSON report instead of the latest audit.",
            rich_help_panel=o._MODEL,
        ),
    ] = None,
    split: o.Split = None,
    image_column: o.ImageColumn = None,
    label_column: o.LabelColumn = None,
    label_map: o.LabelMap = None,
    revision: o.Revision = None,
    token: o.Token = None,
    allow_pickle: o.AllowPickle = False,
    method: Annotated[
        o.MethodName,
        typer.Option(
            help="fmt-flow goes on from what the audit found. The others are published defenses with "
            "their papers' settings: fine-tuning, Fine-Pruning, CLP, ANP, Neural Cleanse, NAD, FMT; "
            "fmt-tac is FMT with the channels that inverted triggers move most.",
            rich_help_panel=_TUNING,
        ),
    ] = "fmt-flow",
    erase_rate: Annotated[
        float,
        typer.Option(
            help="Share of each layer's channels to erase if a class is suspected, in [0, 1], rounded: "
            "those that triggers inverted for it move most; 0 erases none. For fmt-flow only.",
            rich_help_panel=_TUNING,
        ),
    ] = 0.015,
    epochs: Annotated[
        int,
        typer.Option(
            min=0,
            help="Epochs of fine-tuning; the other methods' default is 10.",
            rich_help_panel=_TUNING,
        ),
    ] = 5,
    lr: Annotated[
        float,
        typer.Option(
            help="Learning rate, above 0.",
            rich_help_panel=_TUNING,
        ),
    ] = 0.01,
    batch_size: Annotated[
        int,
        typer.Option(
            min=2,
            help="Images per step of fine-tuning; the other methods' default is 256.",
            rich_help_panel=_TUNING,
        ),
    ] = 128,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="Weight decay of SGD.", rich_help_panel=_TUNING)
    ] = 5e-4,
    flip: Annotated[
        bool,
        typer.Option(
            "--flip/--no-flip",
            help="Mirror half of the images while fine-tuning; not for signs or letters.",
            rich_help_panel=_TUNING,
        ),
    ] = True,
    unlearn_norm: Annotated[
        float,
        typer.Option(
            min=0,
            help="L2 norm of the additive trigger; 0 inverts no triggers of any family, which leaves "
            "fine-tuning. For fmt-flow only.",
            rich_help_panel=_TUNING,
        ),
    ] = 0.75,
    clean_rate: Annotated[
        float,
        typer.Option(
            help="Share of the clean images to fine-tune on, in (0, 1); the others measure the result.",
            rich_help_panel=_TUNING,
        ),
    ] = 0.8,
    max_accuracy_drop: Annotated[
        float,
        typer.Option(
            help="Largest loss of accuracy to accept, in [0, 1]; after a larger one nothing is written.",
            rich_help_panel=_TUNING,
        ),
    ] = 0.03,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Write the model whatever the loss and the tests say, and repair even if the audit found nothing.",
            rich_help_panel=_TUNING,
        ),
    ] = False,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=o.MAX_SEED, help="Seed of all random choices.", rich_help_panel=_TUNING
        ),
    ] = 0,
    calibration: o.Calibration = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write; default: ./NAME-repaired.", rich_help_panel=o._REPORT),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace that folder if it exists.", rich_help_panel=o._REPORT
        ),
    ] = False,
    push: Annotated[
        bool,
        typer.Option(
            "--push",
            help="Repair, then publish the repaired model on the Hub.",
            rich_help_panel=_PUSH,
        ),
    ] = False,
    to: Annotated[
        str | None,
        typer.Option(
            help="Repository to publish to, owner/name; default: where the model came from.",
            rich_help_panel=_PUSH,
        ),
    ] = None,
    create_pr: Annotated[
        bool | None,
        typer.Option(
            "--create-pr/--no-create-pr",
            help="Whether to open a pull request; default: yes on an existing repository.",
            show_default=False,
            rich_help_panel=_PUSH,
        ),
    ] = None,
    private: Annotated[
        bool,
        typer.Option(
            "--private/--public", help="Whether a new repository is private.", rich_help_panel=_PUSH
        ),
    ] = True,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="With --push: write the folder, list what would be published, and publish nothing.",
            rich_help_panel=_PUSH,
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask before pushing.", rich_help_panel=_PUSH)
    ] = False,
    commit_message: Annotated[
        str | None, typer.Option(help="Title of the commit.", rich_help_panel=_PUSH)
    ] = None,
    device: o.DeviceOption = "auto",
    threads: o.Threads = None,
    cache_dir: o.CacheDir = None,
    json: o.Json = False,
    output: o.Output = None,
    quiet: o.Quiet = False,
) -> None:
    """Repair the model of an audit: erase channels, unlearn triggers, fine-tune, measure, write, push.

    Without MODEL it goes on from the latest audit; with MODEL and --clean-data it audits first.
    --push repairs again, too, and then publishes.

    [b]Examples[/b]

      hfscan repair

      hfscan repair --push --dry-run

      hfscan repair --push --overwrite

      hfscan repair user/model --clean-data cifar10 --push --to me/model --yes

      hfscan repair --report report.json --out ./repaired --epochs 20

      hfscan repair --method nad --out ./distilled
    """
    from hfscan.calibration import load_calibration
    from hfscan.cli.config import refuse_own_config
    from hfscan.cli.loading import load_inputs, prepare, read_map
    from hfscan.cli.method import aimed, defense_named
    from hfscan.cli.output import bars, parse_outputs, say
    from hfscan.cli.report import deliver
    from hfscan.cli.state import with_clean_data
    from hfscan.errors import UsageError
    from hfscan.hub.push import check_token, find_destination, plan_push
    from hfscan.hub.save import check_target, save, source_card
    from hfscan.pipeline import audit, check_repair_settings
    from hfscan.pipeline import repair as run
    from hfscan.report import REPAIR_FORMATS
    from hfscan.report.console import repair_renderable
    from hfscan.types import AuditSettings, RepairSettings

    settings = RepairSettings(
        erase_rate=erase_rate,
        epochs=epochs,
        lr=lr,
        batch_size=batch_size,
        weight_decay=weight_decay,
        flip=flip,
        unlearn_norm=unlearn_norm,
        clean_rate=clean_rate,
        max_accuracy_drop=max_accuracy_drop,
        seed=seed,
    )
    check_repair_settings(settings)
    files = parse_outputs(output or [], REPAIR_FORMATS)
    defense = defense_named(
        method,
        _tuning_from(context, "COMMANDLINE"),
        _tuning_from(context, "ENVIRONMENT", "DEFAULT_MAP"),
    )
    pushing = {
        "--to": to,
        "--dry-run": dry_run,
        "--create-pr": create_pr is not None,
        "--commit-message": commit_message,
        "--private" if private else "--public": _given(context, "private", "COMMANDLINE"),
    }
    wanted = [option for option, given in pushing.items() if given]
    if wanted and not push:
        raise UsageError(f"{wanted[0]} is for a push", "add --push")
    if push and not (yes or dry_run or sys.stdin.isatty()):
        raise UsageError("a push needs a yes", "pass --yes where nobody can be asked")
    found, remembered = _audited(model, clean_data, report)
    refuse_own_config(context, model or remembered.model)
    remembered = with_clean_data(remembered, clean_data)
    inputs = replace(
        remembered,
        model=model or remembered.model,
        revision=revision or (None if model else remembered.revision),
        split=split or remembered.split,
        image_column=image_column or remembered.image_column,
        label_column=label_column or remembered.label_column,
        label_map=read_map(label_map) or remembered.label_map,
        allow_pickle=allow_pickle or remembered.allow_pickle,
        calibration=str(calibration) if calibration else remembered.calibration,
    )
    known = None if inputs.calibration is None else load_calibration(Path(inputs.calibration))
    if push:
        _check_destination(to, inputs.model)
    if push and not dry_run:
        check_token(token)
    target = out or _default_target(inputs.model)
    check_target(target, overwrite=overwrite)
    if found is not None:
        _stop_if_nothing_to_repair(found, force)
    prepare(threads, quiet)
    source, clean = load_inputs(
        inputs, device, images=MAX_IMAGES, seed=seed, token=token, cache_dir=cache_dir
    )
    source_card(source)  # refused before the long work, if at all
    if push:
        facts = source.facts if found is None else found.model
        find_destination(facts, to=to, create_pr=create_pr, token=token)
    with bars(quiet) as progress:
        if found is None:
            found = audit(
                source,
                clean,
                settings=AuditSettings(seed=seed),
                calibration=known,
                progress=progress,
            )
            _stop_if_nothing_to_repair(found, force)
        repaired, result = run(
            source,
            found,
            clean,
            settings=settings,
            defense=aimed(defense, found.target),
            calibration=known,
            progress=progress,
        )
    result = replace(result, defense=method)
    shown = "json" if json else "console"
    deliver(result, REPAIR_FORMATS, repair_renderable(result), shown, files)
    _check_result(result, force)
    save(repaired, target, result, overwrite=overwrite)
    if not quiet:
        say(f"written to {target}")
    if push:
        plan = plan_push(repaired, result, to=to, create_pr=create_pr, private=private, token=token)
        _publish(plan, dry_run=dry_run, yes=yes, message=commit_message, token=token)


def _tuning_from(context: typer.Context, *places: str) -> dict[str, float]:
    """The options of tuning that are from one of these places, not left at their defaults."""
    from hfscan.cli.method import OF_THE_DEFAULT, OF_TUNING

    return {
        name: context.params[name]
        for name in OF_THE_DEFAULT + OF_TUNING
        if _given(context, name, *places)
    }


def _given(context: typer.Context, name: str, *places: str) -> bool:
    """Whether an option's value is from one of these places."""
    source = context.get_parameter_source(name)
    return source is not None and source.name in places


def _audited(
    model: str | None, clean_data: str | None, report: Path | None
) -> tuple[AuditReport | None, Inputs]:
    """The audit to go on from, if there is one, and what to load."""
    from hfscan.cli.state import Inputs, read_report, recall
    from hfscan.errors import UsageError

    if report is not None:
        return read_report(report)
    if model is None:
        return recall()
    if clean_data is None:
        raise UsageError("MODEL needs --clean-data", "or leave both out to use the latest audit")
    return None, Inputs(model, None, clean_data, None)


def _default_target(model: str) -> Path:
    from hfscan.hub.reference import parse_reference

    reference = parse_reference(model, "model")
    folder = reference.folder
    name = reference.id.rpartition("/")[2] if folder is None else folder.resolve().name
    return Path(f"{name or 'model'}-repaired")


def _check_destination(to: str | None, model: str) -> None:
    """Refuse before the long work what cannot be pushed to."""
    from hfscan.errors import UsageError
    from hfscan.hub.reference import parse_reference

    if to is None and not parse_reference(model, "model").id:
        raise UsageError(f"{model} is no repository to push to", "name one: --to owner/name")
    if to is None:
        return
    try:
        named = parse_reference(to, "model").id
    except UsageError:
        named = ""
    if named != to:
        raise UsageError(f"{to!r} is not a repository to push to", "write it as --to owner/name")


def _stop_if_nothing_to_repair(found: AuditReport, force: bool) -> None:
    from hfscan.cli.output import say
    from hfscan.errors import AuditError
    from hfscan.types import Verdict

    if force or found.verdict in (Verdict.SUSPICIOUS, Verdict.BACKDOORED):
        return
    if found.verdict is Verdict.INCONCLUSIVE:
        raise AuditError(f"the audit was inconclusive: {found.reason}", "there is nothing to go on")
    say("NO_BACKDOOR_FOUND: nothing to repair (--force erases the flagged channels all the same)")
    raise typer.Exit(0)


def _check_result(result: RepairReport, force: bool) -> None:
    """Refuse to write what costs too much accuracy, or is no repair."""
    from hfscan.errors import RepairError
    from hfscan.types import Verdict

    if force:
        return
    bound = result.settings.max_accuracy_drop
    if result.accuracy_drop > bound:
        raise RepairError(
            f"accuracy fell by {result.accuracy_drop:.3f}, more than {bound}: nothing was written",
            "use more clean images or a lower --lr or --erase-rate, or accept the loss with --force",
        )
    if result.verdict_after is Verdict.BACKDOORED:
        raise RepairError(
            "by the same tests the network still behaves like a backdoored one: nothing was written",
            "use more clean images or another --method, or write it all the same with --force",
        )


def _publish(
    plan: PushPlan, *, dry_run: bool, yes: bool, message: str | None, token: str | None
) -> None:
    from hfscan.cli.output import say
    from hfscan.hub.push import MESSAGE, execute

    kind = "private" if plan.private else "public"
    where = (
        f"a new {kind} repository"
        if plan.create
        else "a pull request"
        if plan.create_pr
        else "a commit"
    )
    say(f"push to {plan.to}: {where}, on {plan.parent or 'an empty branch'}")
    for name, content in plan.add.items():
        say(f"  write  {name} ({len(content):,} bytes)")
    for name in plan.delete:
        say(f"  delete {name}")
    if dry_run:
        return
    if not yes and not typer.confirm("Push this?", err=True):
        say("not pushed")
        return
    result = execute(plan, message=message or MESSAGE, token=token)
    say(f"pushed: {result.url}" if result.commit else "nothing differs, nothing was pushed")
