"""What a step of the GPU benchmark takes, and what it could take at best: turns, medians, rooflines, ceilings."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

BURST = 0.03  # seconds of a turn
LEAST, MOST = 3, 400  # calls of a turn

Step = Callable[[int], float]  # runs so many calls, gives the milliseconds of one


def turns(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each peer in each round; who begins goes round, so that all meet the same clocks and heat."""
    counts = {name: max(LEAST, min(MOST, int(1e3 * BURST / max(step(LEAST), 1e-3)))) for name, step in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    names = [*steps]
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(steps[name](counts[name]))
    return found


def summary(found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians, and how many times netc is as fast as each peer: the median of the rounds' ratios with quartiles."""
    result: dict[str, Any] = {"rounds": len(found["netc"])}
    for name, times in found.items():
        result[f"{name}_ms"] = round(statistics.median(times), 5)
        result[f"{name}_least_ms"] = round(min(times), 5)
        if name != "netc":
            ratios = sorted(a / b for a, b in zip(times, found["netc"], strict=True))
            result[f"{name}_over_netc"] = round(statistics.median(ratios), 4)
            quartiles = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            result[f"{name}_over_netc_quartiles"] = [round(r, 4) for r in quartiles]
    return result


def roofline(launches: Sequence[Any], least: int, ceilings: Mapping[str, float], precision: str) -> dict[str, float]:
    """Milliseconds below which nothing goes: of the whole program, and of its kernels one by one.

    The program's: its operations at the measured rate of a large product, or the bytes of inputs, state and outputs,
    each once. The kernels': the same of each launch with the bytes that it reads and writes, in sum.
    """
    rate, bandwidth = ceilings[f"{precision}_flops"], ceilings["bytes"]
    flops = sum(launch.flops for launch in launches)
    kernels = sum(max(launch.flops / rate, launch.bytes / bandwidth) for launch in launches)
    return {"roofline_ms": 1e3 * max(flops / rate, least / bandwidth), "kernel_roofline_ms": 1e3 * kernels}


def ceilings() -> dict[str, float]:
    """What the GPU reaches through PyTorch: bytes a second of a large copy, operations a second of large products."""
    import torch

    def seconds(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(3):
            work()
        for _ in range(10):
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            work()
            last.record()
            last.synchronize()
            times.append(1e-3 * first.elapsed_time(last))
        return statistics.median(times)

    found = {}
    a = torch.randn(1 << 29, device="cuda")
    b = torch.empty_like(a)
    found["bytes"] = 2 * a.nbytes / seconds(partial(b.copy_, a))
    del a, b
    for name, dtype, tf32, n in (
        ("bf16", torch.bfloat16, False, 8192),
        ("tf32", torch.float32, True, 8192),
        ("f32", torch.float32, False, 4096),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, y = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        found[f"{name}_flops"] = 2 * n**3 / seconds(partial(torch.matmul, x, y))
    return found
