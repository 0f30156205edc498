from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
import torch

import hfscan
from hfscan.bench.attacks import ATTACKS, SSBA
from hfscan.bench.tasks import Task, TaskSettings
from hfscan.bench.victims import BENIGN, RECORD, Victims, VictimSpec
from hfscan.errors import DataError
from hfscan.metrics import accuracy
from hfscan.weights import read_weights, write_tensors

SPEC = VictimSpec("tiny", "badnets", 2, width=4)


def test_a_victim_is_trained_once(victims: Victims, task: Task) -> None:
    steps: list[str] = []

    def progress(sequence: Any, description: str, total: float) -> Any:
        steps.append(description)
        return sequence

    first = victims.get(SPEC, task, progress=progress)
    second = victims.get(SPEC, task, progress=progress)
    assert steps == ["training"]
    assert first.accuracy == second.accuracy == accuracy(second.model.net, task.test)
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(first.model.net(images), second.model.net(images))
    assert first.asr is not None
    assert 0 <= first.asr <= 1


def test_the_folder_is_a_model_of_the_hub(victims: Victims, task: Task) -> None:
    victim = victims.get(SPEC, task)
    assert victim.folder == victims.folder / "victims" / SPEC.key
    names = {path.name for path in victim.folder.iterdir()}
    assert names == {"README.md", "config.json", "model.safetensors", RECORD}
    model = hfscan.load(str(victim.folder))
    assert model.architecture == "preactresnet18"
    assert model.label_names == task.train.classes
    card = (victim.folder / "README.md").read_text()
    assert "**Backdoored on purpose**" in card
    assert f"| attack success rate | {victim.asr:.4f} |" in card
    assert not list(victims.folder.glob("victims/.*"))


@pytest.mark.parametrize("width", [SPEC.width, 32])
def test_the_card_says_whether_gradients_were_clipped(
    width: int, victims: Victims, task: Task
) -> None:
    victim = victims.get(dataclasses.replace(SPEC, width=width), task)
    assert ("gradients clipped to 1, " in (victim.folder / "README.md").read_text()) == (
        width == 32
    )


@pytest.mark.parametrize("attack", [*ATTACKS, BENIGN])
def test_every_attack(attack: str, victims: Victims, task: Task) -> None:
    spec = dataclasses.replace(SPEC, attack=attack)
    victim = victims.get(spec if attack != BENIGN else spec.benign, task)
    assert (victim.asr is None) == (victim.attack is None) == (attack == BENIGN)
    card = (victim.folder / "README.md").read_text()
    assert ("- backdoor" in card) == (attack != BENIGN)
    assert ("PSNR" in card) == isinstance(victim.attack, SSBA)


def test_triggers_for_two_classes_are_found_on_the_same_benign_network(
    victims: Victims, task: Task
) -> None:
    targets = (1, 2)
    specs = [dataclasses.replace(SPEC, attack="lowfreq", target=target) for target in targets]
    assert [victims.get(spec, task).spec.target for spec in specs] == [1, 2]
    assert len(list(victims.folder.glob("victims/*none*"))) == 1


def test_a_fitted_trigger_is_kept(victims: Victims, task: Task) -> None:
    spec = dataclasses.replace(SPEC, attack="lowfreq")
    images = torch.rand(2, 3, 8, 8)
    one = victims.attack(spec, task)
    (file,) = (victims.folder / "attacks").iterdir()
    stamp = file.stat().st_mtime_ns
    rarer = dataclasses.replace(spec, poison_rate=0.01)
    other = victims.attack(rarer, task)
    assert one is not None
    assert other is not None
    assert torch.equal(one.trigger(images), other.trigger(images))
    assert file.stat().st_mtime_ns == stamp
    assert (victims.folder / "victims" / spec.benign.key / RECORD).is_file()


def test_a_trigger_that_was_found_otherwise_is_not_taken(victims: Victims, task: Task) -> None:
    spec = dataclasses.replace(SPEC, attack="lowfreq")
    attack = victims.attacks["lowfreq"]
    victims.attack(spec, task)
    weaker = dataclasses.replace(attack, norm=0.5)  # type: ignore[call-arg, type-var]
    found = dataclasses.replace(victims, attacks={"lowfreq": weaker}).attack(spec, task)
    assert len(list((victims.folder / "attacks").iterdir())) == 2
    assert found is not None
    gray = torch.full((1, 3, 8, 8), 0.5)
    assert float((found.trigger(gray) - gray).norm()) < 0.6


def test_a_trigger_that_was_found_again_is_noticed(victims: Victims, task: Task) -> None:
    spec = dataclasses.replace(SPEC, attack="lowfreq")
    victims.get(spec, task)
    (file,) = (victims.folder / "attacks").iterdir()
    write_tensors(file, {name: 2 * each for name, each in read_weights(file).items()})
    with pytest.raises(DataError, match="was made with another trigger"):
        victims.get(spec, task)


def test_keys_tell_victims_apart() -> None:
    changes = {
        "dataset": "x",
        "attack": "wanet",
        "epochs": 3,
        "architecture": "preactresnet34",
        "width": 8,
        "poison_rate": 0.01,
        "target": 1,
        "seed": 1,
    }
    keys = {dataclasses.replace(SPEC, **{name: value}).key for name, value in changes.items()}  # type: ignore[arg-type]
    assert len(keys | {SPEC.key, SPEC.benign.key}) == len(changes) + 2


def test_other_images_are_noticed(victims: Victims, task: Task) -> None:
    victims.get(SPEC, task)
    fewer = dataclasses.replace(task, train=task.train.subset(torch.arange(300)))
    with pytest.raises(DataError, match="was made with another train"):
        victims.get(SPEC, fewer)
    unflipped = dataclasses.replace(task, settings=TaskSettings(flip=False))
    with pytest.raises(DataError, match="was made with another recipe"):
        victims.get(SPEC, unflipped)


def test_gradients_of_wide_networks_are_clipped(task: Task) -> None:
    narrow = task.recipe("preactresnet18", width=16, epochs=1, seed=0)
    wide = task.recipe("preactresnet18", width=64, epochs=1, seed=0)
    assert wide == dataclasses.replace(narrow, max_norm=1.0) != narrow


def test_a_setting_that_came_later_is_no_difference(victims: Victims, task: Task) -> None:
    folder = victims.get(SPEC, task).folder
    record = json.loads((folder / RECORD).read_text())
    del record["recipe"]["momentum"]
    (folder / RECORD).write_text(json.dumps(record))
    victims.get(SPEC, task)


def test_a_record_that_lacks_what_is_compared(victims: Victims, task: Task) -> None:
    folder = victims.get(SPEC, task).folder
    record = json.loads((folder / RECORD).read_text())
    del record["recipe"]
    (folder / RECORD).write_text(json.dumps(record))
    with pytest.raises(DataError, match="does not say its recipe: another version made it"):
        victims.get(SPEC, task)


def test_a_damaged_victim(victims: Victims, task: Task) -> None:
    folder = victims.get(SPEC, task).folder
    (folder / RECORD).write_text("{")
    with pytest.raises(DataError, match="damaged") as error:
        victims.get(SPEC, task)
    assert error.value.hint == "delete the folder"


def test_an_interrupted_training_goes_on(victims: Victims, task: Task) -> None:
    def progress(sequence: Any, description: str, total: float) -> Any:
        for step in sequence:
            if step == 5:  # in the second epoch of four steps
                raise KeyboardInterrupt
            yield step

    with pytest.raises(KeyboardInterrupt):
        victims.get(SPEC, task, progress=progress)
    (checkpoint,) = (victims.folder / "victims").iterdir()
    assert checkpoint.name.startswith(f".{SPEC.key}.")
    steps: list[float] = []

    def counting(sequence: Any, description: str, total: float) -> Any:
        steps.append(total)
        return sequence

    victim = victims.get(SPEC, task, progress=counting)
    assert steps == [4]
    assert [path.name for path in (victims.folder / "victims").iterdir()] == [SPEC.key]
    other = Victims(victims.folder.parent / "other").get(SPEC, task)
    assert other.model.weights_sha256 == victim.model.weights_sha256
