"""One line of the table, and where it is built."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset, DatasetDict, Features
from loopback_hub import LoopbackHub
from safetensors.torch import load_file, save_file

from .support import QUICK, Site, Victims, config, write_data

HOSTILE = "\x1b[31mred\x1b]0;title\x07\r\n\u202egpj.\u200b[bold]"
"""A name that would color the terminal, set its title, fake lines and reverse text."""

LONG = "a" * 300
"""Too long for the name of a file."""

Arguments = list[str | Path]


@dataclass(frozen=True)
class Place:
    """Where a case is built: an empty folder with the models and images of `Victims` at hand."""

    folder: Path
    victims: Victims
    site: Site | None = None

    @property
    def hub(self) -> LoopbackHub:
        assert self.site is not None
        return self.site.hub

    def audit(self, *, model: str | Path = "", data: str | Path = "") -> Arguments:
        """An audit of a good model with good images, but for what is given."""
        model, data = model or self.victims.clean, data or self.victims.data
        return ["audit", model, "--clean-data", data, "--json", *QUICK]

    def model(self) -> Path:
        """A good model to spoil."""
        return Path(shutil.copytree(self.victims.clean, self.folder / "net"))

    def configured(self, **changes: Any) -> Arguments:
        """An audit of a model with another ``config.json``."""
        folder = self.model()
        (folder / "config.json").write_text(json.dumps(config() | changes))
        return self.audit(model=folder)

    def preprocessed(self, **changes: Any) -> Arguments:
        """An audit of a model with additions to its ``pretrained_cfg``."""
        return self.configured(pretrained_cfg=config()["pretrained_cfg"] | changes)

    def tensors(self, change: Callable[[dict[str, torch.Tensor]], object]) -> Arguments:
        """An audit of a model with other tensors."""
        folder = self.model()
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")
        return self.audit(model=folder)

    def data(self, data: Dataset | DatasetDict) -> Arguments:
        """An audit with other images."""
        return self.audit(data=write_data(self.folder / "images", data))

    def columns(self, columns: dict[str, list[Any]], features: dict[str, Any]) -> Arguments:
        """An audit with a data set of these columns."""
        return self.data(Dataset.from_dict(columns, features=Features(features)))


@dataclass(frozen=True)
class Case:
    """One kind of input.

    Args:
        id: What is wrong.
        arguments: Build it and return the arguments of hfscan.
        error: What the line of the error must contain; nothing if there must be none.
        hint: What the line of the hint must contain.
        code: The exit code.
        says: What the report on stdout must contain.
        where: Run in this process, with a Hub, or with one that does not answer.
        disk: Largest file that can be written, in bytes.
    """

    id: str
    arguments: Callable[[Place], Arguments]
    error: str = ""
    hint: str = ""
    code: int = 2
    says: str = ""
    where: Literal["here", "hub", "nowhere"] = "here"
    disk: int | None = None
