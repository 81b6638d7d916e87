"""Paired benchmarks of fusion: the same program fused and unfused, run in turns on the same inputs, and compared.

Turns alternate, so that a machine that grows slower or faster does so for both. Times are medians; `spread` is half of
the range between the quartiles. Kernels are timed one by one in runs of their own, because asking for the time
costs some. On a GPU a turn is as many steps as take some milliseconds, timed by its own clock, with feeds and outputs
staying there. What takes longer than all the time there is (Triton's interpreter) is run once or twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..compiler.codegen.target import TARGETS
from .tables import Table, operations, size

if TYPE_CHECKING:
    from ..compiler.program import Launch, Program, ValueRange
    from ..compiler.types import TensorType
    from ..driver import Compilation
    from ..fitting import Fit
    from ..runtime.executable import Executable

Array = npt.NDArray[Any]
WARM_UP = 3
LEAST, MOST = 9, 400  # turns
TURN = 5e-3  # seconds of a turn on a GPU
KERNEL_RUNS = 7


@dataclass(frozen=True)
class ProgramTiming:
    """One of the two programs. ms and spread are of one call; bytes and flops what its kernels say they move and do."""

    ms: float
    spread: float
    kernels: int
    bytes: int
    flops: int
    peak_bytes: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "ms": self.ms,
            "spread": self.spread,
            "kernels": self.kernels,
            "bytes": self.bytes,
            "flops": self.flops,
            "peak_bytes": self.peak_bytes,
        }


@dataclass(frozen=True)
class KernelRow:
    """One launch of the fused program: time, traffic, operations, and the layers and `.net` lines it came from."""

    name: str
    ms: float
    bytes: int
    flops: int
    layers: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass(frozen=True)
class LayerCost:
    """One layer in both programs; a fused kernel's time is shared out in proportion to its layers' unfused times."""

    name: str
    ms: float
    unfused_ms: float


@dataclass(frozen=True)
class Report:
    """A profile: ratio is unfused time over fused, the median over the turns; ratio_range holds the quartiles of it.

    fit: what is recomputed to keep to the memory that was asked for.
    """

    net: str
    target: str
    device: str
    mode: str
    batch: int | None
    threads: int
    fused: ProgramTiming
    unfused: ProgramTiming
    ratio: float
    ratio_range: tuple[float, float]
    kernels: tuple[KernelRow, ...]
    layers: tuple[LayerCost, ...]
    fit: Fit | None = None

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc profile --json`."""
        return {
            "net": self.net,
            "target": self.target,
            "device": self.device,
            "mode": self.mode,
            "batch": self.batch,
            "threads": self.threads,
            "fused": self.fused.as_dict(),
            "unfused": self.unfused.as_dict(),
            "ratio": self.ratio,
            "max_memory": self.fit.as_dict() if self.fit is not None else None,
            "kernels": [
                {
                    "name": k.name,
                    "ms": k.ms,
                    "bytes": k.bytes,
                    "flops": k.flops,
                    "layers": list(k.layers),
                    "lines": list(k.lines),
                }
                for k in self.kernels
            ],
            "layers": [{"name": row.name, "ms": row.ms, "unfused_ms": row.unfused_ms} for row in self.layers],
        }

    def totals(self) -> Table:
        """Fused against unfused."""
        rows = [
            [
                name,
                f"{m.ms:.3f} ± {m.spread:.3f}",
                f"{m.kernels}",
                size(m.bytes),
                operations(m.flops),
                size(m.peak_bytes),
            ]
            for name, m in (("fused", self.fused), ("unfused", self.unfused))
        ]
        batch = f", batch {self.batch}" if self.batch is not None else ""
        threads = f", {self.threads} threads" if TARGETS[self.target].threads else ""
        title = f"{self.net}: {self.mode}{batch}, {self.target} on {self.device}{threads}"
        return Table(title, ["", ">ms a call", ">kernels", ">memory traffic", ">operations", ">working memory"], rows)

    def verdict(self) -> str:
        """The ratio with its spread, in a sentence."""
        low, high = self.ratio_range
        words = f"fused takes {1 / self.ratio:.2f} of the time" if self.ratio > 0 else ""
        return f"unfused / fused = {self.ratio:.2f} (half of the turns between {low:.2f} and {high:.2f}); {words}"

    def kernel_table(self, most: int | None = None) -> Table:
        """The kernels of the fused program, the slowest first."""
        ranked = sorted(self.kernels, key=lambda k: -k.ms)
        rows = [
            [
                k.name,
                f"{k.ms:.3f}",
                size(k.bytes),
                operations(k.flops),
                f"{k.flops / k.ms / 1e6:.1f}" if k.ms > 0 and k.flops else "",
                _few(k.layers),
                _few(k.lines),
            ]
            for k in ranked[:most]
        ]
        title = f"the {len(rows)} slowest of {len(ranked)} kernels" if len(rows) < len(ranked) else "kernels"
        return Table(title, ["kernel", ">ms", ">traffic", ">operations", ">GFLOP/s", "layers", "lines"], rows)

    def layer_table(self) -> Table:
        """Layers, fused and unfused, the slowest first."""
        rows = [
            [row.name or "(no layer)", f"{row.ms:.3f}", f"{row.unfused_ms:.3f}"]
            for row in sorted(self.layers, key=lambda row: -row.ms)
        ]
        return Table("layers, forward and backward together", ["layer", ">fused ms", ">unfused ms"], rows)

    def __str__(self) -> str:
        return f"{self.totals()}\n{self.verdict()}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"{self.totals().html()}<p>{self.verdict()}</p>{self.kernel_table(20).html()}{self.layer_table().html()}"


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" +{len(names) - most}" if len(names) > most else "")


def made_up_feeds(
    inputs: Mapping[str, TensorType], seed: int = 0, ranges: Sequence[ValueRange] = ()
) -> dict[str, Array]:
    """Inputs for timing: floats are normal, whole numbers and what is read as one (`ranges`) 0, a class that every net
    has; the rate is 0, so that the parameters of a training step stay where they are.
    """
    numbered = {one.input for one in ranges}
    generator = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for name, type_ in inputs.items():
        shape = tuple(map(int, type_.shape))
        if type_.is_float and not name.startswith(".") and name not in numbered:
            feeds[name] = generator.standard_normal(shape, np.float32).astype(type_.numpy_dtype)
        else:
            feeds[name] = np.zeros(shape, type_.numpy_dtype)
    return feeds


def profiled(made: Compilation, seconds: float) -> Report:
    """A program fused and unfused, each on a state of its own, compared."""
    made.net.require_outputs()
    fused, plain, device = made.executables(made.new_state())[0], made.unfused(), made.request.device
    unfused = plain.executables(plain.new_state())[0]
    found = compare(fused, unfused, net=made.net.name, device=device, threads=made.threads, seconds=seconds)
    return replace(found, fit=made.fit)


def compare(
    fused: Executable, unfused: Executable, *, net: str, device: str, threads: int, seconds: float = 4.0
) -> Report:
    """Run both in turns for about so many seconds, and time the kernels of each."""
    program, plain = fused.program, unfused.program
    feeds = made_up_feeds(program.inputs, ranges=program.ranges)
    start = time.perf_counter()
    fused.run(feeds)
    unfused.run(feeds)
    slow = time.perf_counter() - start > seconds
    for _ in range(0 if slow else WARM_UP - 1):
        fused.run(feeds)
        unfused.run(feeds)
    turns = _turns(fused, unfused, feeds, seconds, least=1 if slow else LEAST)
    a, b = turns[:, 0], turns[:, 1]
    ratios = b / a
    fused_ms = _kernel_times(fused, feeds, 1 if slow else KERNEL_RUNS)
    unfused_ms = _kernel_times(unfused, feeds, 1 if slow else KERNEL_RUNS)
    kernels = tuple(
        KernelRow(launch.function, ms, launch.bytes, launch.flops, launch.layers, launch.places)
        for launch, ms in fused_ms
    )
    low, high = np.quantile(ratios, [0.25, 0.75])
    return Report(
        net=net,
        target=program.target,
        device=device,
        mode=program.mode,
        batch=int(program.dims["N"]) if "N" in program.dims else None,
        threads=threads,
        fused=_measured(program, a),
        unfused=_measured(plain, b),
        ratio=float(np.median(ratios)),
        ratio_range=(float(low), float(high)),
        kernels=kernels,
        layers=_by_layer(fused_ms, unfused_ms),
    )


def _turns(fused: Executable, unfused: Executable, feeds: Mapping[str, Array], seconds: float, least: int) -> Array:
    """Milliseconds of each turn, (turns, 2); who begins alternates."""
    repeats = {id(which): _repeats(which, feeds) for which in (fused, unfused)}
    found: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(found) < least or (time.perf_counter() < end and len(found) < MOST):
        times = {}
        for which in (fused, unfused) if len(found) % 2 == 0 else (unfused, fused):
            times[id(which)] = 1e3 * which.seconds(feeds, repeats[id(which)])
        found.append((times[id(fused)], times[id(unfused)]))
    return np.array(found)


def _repeats(executable: Executable, feeds: Mapping[str, Array]) -> int:
    """How many steps make a turn."""
    if executable.device != "cuda":
        return 1
    return max(1, min(1000, round(TURN / max(1e-6, executable.seconds(feeds, 3)))))


def _kernel_times(executable: Executable, feeds: Mapping[str, Array], runs: int) -> list[tuple[Launch, float]]:
    """Each launch of a step with the median of its milliseconds."""
    found = [executable.timed(feeds) for _ in range(runs)]
    launches = [launch for launch, _ in found[0]]
    times = np.median([[seconds for _, seconds in run] for run in found], axis=0) * 1e3
    return [(launch, float(ms)) for launch, ms in zip(launches, times, strict=True)]


def _measured(program: Program, ms: Array) -> ProgramTiming:
    steps = [launch for launch in program.launches if launch.phase == "step"]
    low, high = np.quantile(ms, [0.25, 0.75])
    return ProgramTiming(
        ms=float(np.median(ms)),
        spread=float(high - low) / 2,
        kernels=len(steps),
        bytes=sum(launch.bytes for launch in steps),
        flops=sum(launch.flops for launch in steps),
        peak_bytes=program.arena_bytes,
    )


def _by_layer(fused: Sequence[tuple[Launch, float]], unfused: Sequence[tuple[Launch, float]]) -> tuple[LayerCost, ...]:
    apart: dict[str, float] = {}
    for launch, ms in unfused:
        for layer in launch.layers or ("",):
            apart[layer] = apart.get(layer, 0.0) + ms / len(launch.layers or ("",))
    joined: dict[str, float] = {}
    for launch, ms in fused:
        layers = launch.layers or ("",)
        weights = [apart.get(layer, 0.0) for layer in layers]
        total = sum(weights)
        for layer, weight in zip(layers, weights, strict=True):
            share = weight / total if total else 1 / len(layers)
            joined[layer] = joined.get(layer, 0.0) + ms * share
    return tuple(
        LayerCost(name, joined.get(name, 0.0), apart.get(name, 0.0)) for name in dict.fromkeys([*apart, *joined])
    )
