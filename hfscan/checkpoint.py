"""Training that survives a killed process: the state after an epoch, as safetensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hfscan.weights import read_weights, write_tensors


@dataclass(frozen=True)
class Checkpoint:
    """A file that training goes on from, and writes anew after every epoch.

    The result is bit for bit that of a training that was not interrupted, except where a network draws
    random numbers on a GPU (dropout).

    Args:
        path: The file; it need not exist.
    """

    path: Path

    def save(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
        losses: list[float],
    ) -> None:
        """Keep the state after an epoch.

        Args:
            net: The network.
            optimizer: SGD with momentum and one group of parameters.
            scheduler: Of the optimizer.
            generator: Of order and augmentation.
            losses: Of the epochs so far.
        """
        tensors = {f"net.{name}": tensor for name, tensor in net.state_dict().items()}
        for name, parameter in net.named_parameters():
            momentum = optimizer.state[parameter].get("momentum_buffer")
            if momentum is not None:
                tensors[f"momentum.{name}"] = momentum
        tensors["random.order"] = generator.get_state()
        tensors["random.global"] = torch.get_rng_state()
        tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
        tensors["steps"] = torch.tensor(scheduler.last_epoch)
        tensors["lr"] = torch.tensor(optimizer.param_groups[0]["lr"], dtype=torch.float64)
        write_tensors(self.path, tensors)

    def restore(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        generator: torch.Generator,
    ) -> list[float]:
        """Bring everything to the state that `save` kept, if there is one.

        Returns:
            The losses of the epochs that are done; empty if there is no file.

        Raises:
            ModelError: The file is damaged.
        """
        if not self.path.is_file():
            return []
        tensors = read_weights(self.path)
        net.load_state_dict(_with_prefix(tensors, "net."))
        for name, momentum in _with_prefix(tensors, "momentum.").items():
            parameter = net.get_parameter(name)
            optimizer.state[parameter]["momentum_buffer"] = momentum.to(parameter)
        generator.set_state(tensors["random.order"])
        torch.set_rng_state(tensors["random.global"])
        scheduler.last_epoch = int(tensors["steps"])
        optimizer.param_groups[0]["lr"] = float(tensors["lr"])
        return [float(loss) for loss in tensors["losses"]]

    def remove(self) -> None:
        """Delete the file, if it is there."""
        self.path.unlink(missing_ok=True)


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
