"""How fast feature map testing is, against the published procedure and against the machine's bound.

    python tests/benchmarks/speed.py --width 64

Per layer a few channels are timed with each engine, in turns, in one process, on the same network, images,
noise, steps and threads; the time of the whole layer is extrapolated from one channel and from several
(what the channels of a layer share is counted once). The bound is exact mode's work in forward passes over
the best forward rate of the network in the fastest precision, measured in the same run.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import torch
from naive_fmt import naive_profile
from rich import print as show
from rich.table import Table

from hfscan.channels import ConvLayer
from hfscan.fmt import profile
from hfscan.fmt.engine import Engine, Responses, make_engine
from hfscan.models.preactresnet import preactresnet18
from hfscan.types import AuditSettings, ImageSet

PEER = "published procedure"
"""Its channels share the passes over a layer's clean and noisy images; the row below it does not."""

Timer = Callable[[ConvLayer, int], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--channels", type=int, default=4, help="timed per layer")
    parser.add_argument("--effort", type=float, default=0.15, help="of the fast mode")
    parser.add_argument("--fast", action="store_true", help="time the whole fast mode, too")
    options = parser.parse_args()
    torch.manual_seed(0)
    net = preactresnet18(width=options.width).eval()
    images = torch.randint(0, 256, (options.images, 3, 32, 32), dtype=torch.uint8)
    clean = ImageSet("noise", images, torch.arange(options.images) % 10)
    settings = AuditSettings(images=options.images, steps=options.steps)
    engines = {
        name: make_engine(net, clean, replace(settings, precision=name))  # type: ignore[arg-type]
        for name in ("fp32", "bf16")
    }
    plain = engines["fp32"]
    timers: dict[str, Timer] = {
        PEER: lambda a, b: _naive(net, plain, a, b, shared=True),
        "the same, nothing shared": lambda a, b: _naive(net, plain, a, b, shared=False),
    }
    for name, engine in engines.items():
        timers[f"exact, {name}"] = lambda a, b, engine=engine: _timed(engine, a, b)  # type: ignore[misc]
    seconds = _whole(plain.layers, timers, options.channels)
    if options.fast:
        fast = replace(settings, mode="fast", effort=options.effort, precision="bf16")
        began = time.perf_counter()
        list(profile(net, clean, fast))
        seconds["fast, bf16, measured whole"] = time.perf_counter() - began
    rates = {name: _forward_rate(engine) for name, engine in engines.items()}
    work = sum(layer.channels * options.images * plain.cost(layer) for layer in plain.layers)
    bound = work / max(rates.values())
    _report(seconds, bound, rates, work)


def _whole(layers: list[ConvLayer], timers: dict[str, Timer], channels: int) -> dict[str, float]:
    """Seconds for all channels of all layers, extrapolated."""
    total = dict.fromkeys(timers, 0.0)
    for layer in layers:
        for name, timer in timers.items():
            one, several = timer(layer, 1), timer(layer, channels)
            each = max(0.0, several - one) / (channels - 1)
            total[name] += one + (layer.channels - 1) * each
    return total


def _naive(
    net: torch.nn.Module, engine: Engine, layer: ConvLayer, channels: int, *, shared: bool
) -> float:
    began = time.perf_counter()
    pixels, noise = engine.pixels.contiguous(), engine.noise.contiguous()
    layers = [layer.name]
    for _ in naive_profile(net, pixels, noise, engine.settings, layers, channels, shared=shared):
        pass
    return time.perf_counter() - began


def _timed(engine: Engine, layer: ConvLayer, channels: int) -> float:
    began = time.perf_counter()
    responses = Responses.empty(layer.channels, len(engine.pixels), engine.settings.steps)
    for _ in engine.test(layer, responses, range(channels), range(len(engine.pixels))):
        pass
    return time.perf_counter() - began


def _forward_rate(engine: Engine) -> float:
    """Images per second of the best of some batch sizes."""
    best = 0.0
    for batch in (32, 64, 128):
        images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
        for _ in range(4):
            began = time.perf_counter()
            with torch.inference_mode():
                engine.net(images)
            best = max(best, batch / (time.perf_counter() - began))
    return best


def _report(seconds: dict[str, float], bound: float, rates: dict[str, float], work: float) -> None:
    naive = seconds[PEER]
    table = Table("engine", "seconds", "x published", "share of the bound")
    for name, value in seconds.items():
        share = "" if name.startswith("fast") else f"{bound / value:.0%}"
        table.add_row(name, f"{value:,.0f}", f"{naive / value:.1f}", share)
    show(table)
    show(
        f"{work:,.0f} forward passes' worth of work; forward rates "
        + ", ".join(f"{name} {rate:,.0f}/s" for name, rate in rates.items())
        + f"; {torch.get_num_threads()} threads; bound {bound:,.0f} s; peak memory "
        + f"{psutil.Process().memory_info().rss / 1e9:.2f} GB (resident at the end)"
    )


if __name__ == "__main__":
    main()
