"""Backdoored networks to try defenses on: trained once, then taken from a cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from hfscan.bench.attacks import ATTACKS, SSBA, Attack, FittedAttack
from hfscan.bench.poison import attacked, poison
from hfscan.bench.results import agree, settings_of
from hfscan.bench.tasks import Task
from hfscan.bench.victim_card import card
from hfscan.checkpoint import Checkpoint
from hfscan.errors import DataError, HfscanError
from hfscan.hub.load import load
from hfscan.hub.save import config_of, save
from hfscan.hub.untrained import untrained
from hfscan.metrics import accuracy, asr
from hfscan.train import fit
from hfscan.types import HubModel, ImageSet, Progress, silent
from hfscan.weights import read_weights, tensors_sha256, write_tensors

RECORD = "victim.json"
BENIGN = "none"
"""The attack of a victim that has none."""


@dataclass(frozen=True)
class VictimSpec:
    """Everything that decides a victim, apart from the images.

    Args:
        dataset: Name of the task.
        attack: Key in `ATTACKS`, or ``"none"`` for a benign network.
        epochs: Of training.
        architecture: timm's name.
        width: Channels of the first stage of the architectures of `hfscan.models`; 0 for others.
        poison_rate: Share of the training images that carry the trigger.
        target: The class that the trigger leads to.
        seed: Of weights, poisoning, order and augmentation.
    """

    dataset: str
    attack: str
    epochs: int
    architecture: str = "preactresnet18"
    width: int = 16
    poison_rate: float = 0.1
    target: int = 0
    seed: int = 0

    @property
    def key(self) -> str:
        """Name of the victim's folder."""
        rate = "" if self.attack == BENIGN else f"-p{self.poison_rate:g}-t{self.target}"
        width = f"-w{self.width}" if self.width else ""
        head = f"{self.dataset}-{self.attack}-{self.architecture}"
        return f"{head}{width}{rate}-e{self.epochs}-s{self.seed}"

    @property
    def benign(self) -> VictimSpec:
        """The same without an attack, and so without a target class."""
        return dataclasses.replace(self, attack=BENIGN, poison_rate=0.0, target=0)


@dataclass(frozen=True, eq=False)
class Victim:
    """A trained victim.

    Args:
        spec: What decided it.
        model: The network.
        attack: With its trigger found; None for a benign network.
        accuracy: On the clean test images, in [0, 1].
        asr: Attack success rate on them, in [0, 1]; None for a benign network.
        seconds: Of training, since it was last interrupted; None if nobody measured them.
        folder: Where it is kept.
    """

    spec: VictimSpec
    model: HubModel
    attack: Attack | None
    accuracy: float
    asr: float | None
    seconds: float | None
    folder: Path


def cache_folder() -> Path:
    """Where victims are kept unless the caller says otherwise."""
    return platformdirs.user_cache_path("hfscan", appauthor=False)


def unfitted() -> dict[str, Attack]:
    """All attacks with the defaults of their papers."""
    return {name: make() for name, make in ATTACKS.items()}


@dataclass(frozen=True)
class Victims:
    """Victims that are trained when they are first asked for, and kept.

    Args:
        folder: Where they and the fitted triggers are kept.
        attacks: Name -> attack, before its trigger is found.
    """

    folder: Path = field(default_factory=cache_folder)
    attacks: Mapping[str, Attack] = field(default_factory=unfitted)

    def get(self, spec: VictimSpec, task: Task, *, progress: Progress = silent) -> Victim:
        """A victim from the cache, or train it and keep it there.

        Args:
            spec: Which one.
            task: The images that it was or will be trained on.
            progress: Wraps the loop over training steps.

        Raises:
            DataError: The cached victim was made from other images or with other settings.
        """
        folder = self.folder / "victims" / spec.key
        attack = self.attack(spec, task, progress=progress)
        facts = _facts(spec, task, attack)
        if not (folder / RECORD).is_file():
            _train(spec, task, attack, folder, facts, progress)
        return _read(spec, attack, folder, facts)

    def attack(self, spec: VictimSpec, task: Task, *, progress: Progress = silent) -> Attack | None:
        """A victim's attack; if its trigger must be found first, from the cache or found and kept."""
        if spec.attack == BENIGN:
            return None
        attack = self.attacks[spec.attack]
        if not isinstance(attack, FittedAttack):
            return attack
        path = self.folder / "attacks" / f"{_fit_key(spec, attack, task)}.safetensors"
        if path.is_file():
            return attack.with_tensors(read_weights(path))
        clean = None
        if attack.needs_clean_net:
            clean = self.get(spec.benign, task, progress=progress).model.net
        fitted = attack.fit(task.train, clean_net=clean, target=spec.target, progress=progress)
        write_tensors(path, fitted.tensors())
        return fitted


def _fit_key(spec: VictimSpec, attack: FittedAttack, task: Task) -> str:
    """File name of a trigger: what it was found on and how decide it, the poison rate does not."""
    found_on = f"{spec.benign.key}-t{spec.target}" if attack.needs_clean_net else spec.dataset
    how = json.dumps([settings_of(attack), task.train.facts.fingerprint], sort_keys=True)
    return f"{spec.attack}-{found_on}-{hashlib.sha256(how.encode()).hexdigest()[:12]}"


def _facts(spec: VictimSpec, task: Task, attack: Attack | None) -> dict[str, Any]:
    """What a cached victim must have been made from."""
    recipe = task.recipe(spec.architecture, width=spec.width, epochs=spec.epochs, seed=spec.seed)
    return {
        "spec": asdict(spec),
        "attack_settings": settings_of(attack) if attack is not None else {},
        **(
            {"trigger": tensors_sha256(attack.tensors())}
            if isinstance(attack, FittedAttack)
            else {}
        ),
        "recipe": asdict(recipe),
        "train": task.train.facts.fingerprint,
        "test": task.test.facts.fingerprint,
    }


def _train(
    spec: VictimSpec,
    task: Task,
    attack: Attack | None,
    folder: Path,
    facts: dict[str, Any],
    progress: Progress,
) -> None:
    started = time.monotonic()
    images = task.train
    if attack is not None:
        images = poison(images, attack, target=spec.target, rate=spec.poison_rate, seed=spec.seed)
    model = fresh(spec, task)
    recipe = task.recipe(spec.architecture, width=spec.width, epochs=spec.epochs, seed=spec.seed)
    digest = hashlib.sha256(_json(facts)).hexdigest()[:12]  # other settings, another checkpoint
    checkpoint = Checkpoint(folder.with_name(f".{folder.name}.{digest}.checkpoint.safetensors"))
    losses = fit(model.net, images, recipe, checkpoint=checkpoint, progress=progress)
    seconds = time.monotonic() - started
    keep(spec, task, attack, model, folder, facts | {"seconds": seconds, "losses": losses})
    checkpoint.remove()


def fresh(spec: VictimSpec, task: Task) -> HubModel:
    """The victim's network before training."""
    mean, std = _moments(task.train)
    return untrained(
        spec.architecture,
        input_size=(3, *task.train.size),
        num_classes=len(task.train.classes) or int(task.train.labels.max()) + 1,
        mean=mean,
        std=std,
        label_names=task.train.classes,
        model_args=_model_args(spec),
        seed=spec.seed,
    )


def keep(
    spec: VictimSpec,
    task: Task,
    attack: Attack | None,
    model: HubModel,
    folder: Path,
    record: dict[str, Any],
) -> None:
    """Measure a trained network and write it with its card, all files or none."""
    record = record | {"accuracy": accuracy(model.net, task.test), "asr": None}
    if attack is not None:
        triggered = attacked(task.test, attack, target=spec.target)
        record["asr"] = asr(model.net, triggered, spec.target)
    if isinstance(attack, SSBA):
        record["psnr"], record["bit_accuracy"] = attack.quality(task.test)
    files = {
        "config.json": _json(config_of(model, _model_args(spec))),
        "README.md": card(record, task).encode(),
        RECORD: _json(record),
    }
    save(model, folder, overwrite=True, more=files)


def _read(spec: VictimSpec, attack: Attack | None, folder: Path, facts: dict[str, Any]) -> Victim:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if missing := facts.keys() - record.keys():
            raise DataError(
                f"the victim in {folder} does not say its {min(missing).replace('_', ' ')}: another version made it",
                "delete the folder to train it again, or choose another cache",
            )
        for name, wanted in facts.items():
            if not agree(record[name], json.loads(json.dumps(wanted))):
                raise DataError(
                    f"the victim in {folder} was made with another {name.replace('_', ' ')}",
                    "delete the folder to train it again, or choose another cache",
                )
        return Victim(
            spec,
            load(str(folder.resolve())),
            attack,
            record["accuracy"],
            record["asr"],
            record["seconds"],
            folder,
        )
    except HfscanError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            f"the victim in {folder} is damaged ({type(error).__name__})", "delete the folder"
        ) from error


def _moments(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of images in [0, 1]."""
    pixels = images.images[:: max(1, len(images) // 5000)].float() / 255
    mean, std = pixels.mean((0, 2, 3)), pixels.std((0, 2, 3))
    return tuple(round(float(m), 4) for m in mean), tuple(round(float(s), 4) for s in std)


def _model_args(spec: VictimSpec) -> dict[str, int]:
    return {"width": spec.width} if spec.width else {}


def _json(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=2) + "\n").encode()
