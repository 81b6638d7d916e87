"""A scaling model: how long a step of data parallel training takes on so many devices, from one device and a link.

A device computes the gradients of its own batch; pieces of them (buckets) are summed over all devices one after the
other, each as soon as it is complete; the update follows the last. What of the sums lasts beyond the backward pass is
the price. Where devices have no processor to spare for the sums, each also takes some of the computation's time, its
overhead (the o of LogP; Culler et al., 1993). The sum of n bytes on p devices over links of latency a and b bytes a
second takes

    ring    2 (p - 1) a + 2 (p - 1)/p n/b     each sends p-th parts to its neighbour; Patarasuk and Yuan, 2009
    tree    2 ceil(log2 p) a + 2 n/b          up and down two binary trees, in pieces; Sanders et al., 2009
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..grammar.source import UserError
from ..runtime.atomic import replace_file
from ..runtime.distributed.step import BUCKET, F32, GRADIENTS, buckets
from .profiling import made_up_feeds
from .tables import Table, size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ..driver import Compilation

RUNS = 7


@dataclass(frozen=True)
class Link:
    """What devices send each other: bandwidth in bytes a second each way, latency in seconds a message.

    overhead: seconds by which a sum makes the computation beside it longer. work: the same, for each of its bytes.
    """

    bandwidth: float
    latency: float
    overhead: float = 0.0
    work: float = 0.0

    def held(self, count: float) -> float:
        """Seconds that a sum of so many bytes takes from the computation beside it."""
        return self.overhead + self.work * count


def ring(count: float, devices: int, link: Link) -> float:
    """Seconds of a sum of so many bytes around a ring."""
    return 2 * (devices - 1) * link.latency + 2 * (devices - 1) / devices * count / link.bandwidth


def tree(count: float, devices: int, link: Link) -> float:
    """Seconds of a sum of so many bytes up and down a tree."""
    depth = math.ceil(math.log2(devices))
    return 2 * depth * link.latency + (2 * count / link.bandwidth if devices > 1 else 0.0)


WAYS: dict[str, Callable[[float, int, Link], float]] = {"ring": ring, "tree": tree}


@dataclass(frozen=True)
class StepCost:
    """A step on one device. gradients, update: seconds. buckets: of each the second when it is complete, and its bytes.

    In the order in which they are complete. told: bytes of losses and metrics, whose sum is waited for behind them.
    """

    gradients: float
    update: float
    buckets: tuple[tuple[float, int], ...]
    told: int = 0

    @property
    def bytes(self) -> int:
        """Those of all gradients."""
        return sum(count for _, count in self.buckets)

    def scaled(self, seconds: float) -> StepCost:
        """The same on a device on which the step takes so long."""
        k = seconds / (self.gradients + self.update)
        pieces = tuple((at * k, count) for at, count in self.buckets)
        return StepCost(self.gradients * k, self.update * k, pieces, self.told)


@dataclass(frozen=True)
class PredictedStep:
    """A step on several devices: seconds of all of it, of the sums, and of what of the sums nothing hides."""

    devices: int
    way: str
    seconds: float
    sums: float
    exposed: float
    efficiency: float

    def as_dict(self) -> dict[str, Any]:
        return {
            "devices": self.devices,
            "way": self.way,
            "ms": 1e3 * self.seconds,
            "sums_ms": 1e3 * self.sums,
            "exposed_ms": 1e3 * self.exposed,
            "efficiency": self.efficiency,
        }


def predicted(cost: StepCost, devices: int, link: Link, way: str = "ring") -> PredictedStep:
    """A step on so many devices, each with the batch of one. Efficiency is the share of a device's rate alone."""
    pieces = [(ready, count, WAYS[way](count, devices, link)) for ready, count in cost.buckets]
    if cost.told:  # so few bytes go the quicker way
        pieces.append((cost.gradients, cost.told, min(lasts(cost.told, devices, link) for lasts in WAYS.values())))
    free, total, held = 0.0, 0.0, 0.0
    for ready, count, lasts in pieces:
        free, total = max(free, ready + held) + lasts, total + lasts
        held += link.held(count) if devices > 1 else 0.0
    exposed = max(0.0, free - cost.gradients - held)
    alone = cost.gradients + cost.update
    return PredictedStep(devices, way, alone + held + exposed, total, exposed, alone / (alone + held + exposed))


def cost_of(made: Compilation, size: int = BUCKET, *, run: bool = True) -> StepCost:
    """A step of a program that makes gradients for an update, and that update, timed launch by launch on this machine.

    size: bytes of a bucket, at most. run: without, each launch counts as its operations and its bytes, for a device
    of 1 GFLOP a second, and 0.1 GB a second: only their ratios mean something.
    """
    programs = made.programs
    if len(programs) < 2:
        raise UserError(f"`{made.net.name}` learns nothing, so there are no gradients to be summed")
    steps = [[one for one in program.launches if one.phase == "step"] for program in programs]
    if run:
        times = []
        for executable in made.executables(made.new_state()):
            feeds = made_up_feeds(executable.program.inputs)
            runs = [[seconds for _, seconds in executable.timed(feeds)] for _ in range(RUNS + 1)][1:]
            times.append(np.median(runs, axis=0))
    else:
        times = [np.array([one.flops / 1e9 + one.bytes / 1e8 for one in launches]) for launches in steps]
    ends = np.cumsum(times[0])
    length = math.prod(map(int, programs[0].state[GRADIENTS].shape)) if GRADIENTS in programs[0].state else 0
    pieces = buckets(programs[0].commits, length, size)
    whole = [float(ends[-1])] * len(ends) if not programs[0].commits else [float(end) for end in ends]
    ready = tuple((whole[one.launch], (one.stop - one.start) * F32) for one in pieces)
    values = sum(type_.count for type_ in programs[0].returned.values()) * np.dtype(np.float64).itemsize
    return StepCost(float(ends[-1]), float(times[1].sum()), ready, int(values) if ready else 0)


@dataclass(frozen=True)
class ScalingReport:
    """What is predicted for a net, with what it is predicted from."""

    net: str
    batch: int | None
    cost: StepCost
    link: Link
    predictions: tuple[PredictedStep, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc scale --json`."""
        return {
            "net": self.net,
            "batch": self.batch,
            "step_ms": 1e3 * (self.cost.gradients + self.cost.update),
            "gradient_bytes": self.cost.bytes,
            "buckets": len(self.cost.buckets),
            "bandwidth": self.link.bandwidth,
            "latency": self.link.latency,
            "overhead": self.link.overhead,
            "predictions": [one.as_dict() for one in self.predictions],
        }

    def table(self) -> Table:
        """A row for each number of devices: a ring and a tree beside each other."""
        rows = []
        for devices in dict.fromkeys(one.devices for one in self.predictions):
            both = {one.way: one for one in self.predictions if one.devices == devices}
            batch = f"{self.batch * devices:,}" if self.batch is not None else ""
            cells = [f"{1e3 * one.seconds:.3f}" for one in both.values()]
            cells += [f"{one.efficiency:.1%}".replace("%", " %") for one in both.values()]
            best = min(both.values(), key=lambda one: one.seconds)
            hidden = f"{1 - best.exposed / best.sums:.0%}".replace("%", " %") if best.sums > 0 else ""
            rows.append([f"{devices:,}", batch, *cells, hidden, f"{devices * best.efficiency:,.1f}"])
        head = [
            "devices",
            ">batch",
            ">ring ms",
            ">tree ms",
            ">ring efficiency",
            ">tree efficiency",
            ">hidden",
            ">times as quick",
        ]
        return Table(f"{self.net} on several devices, each with the batch of one", head, rows)

    def text(self) -> str:
        """What it was predicted from, in a line."""
        step, link = 1e3 * (self.cost.gradients + self.cost.update), self.link
        batch = f" of {self.batch}" if self.batch is not None else ""
        held = f", {1e6 * link.overhead:g} us of the computation a sum" if link.overhead else ""
        return (
            f"from a step{batch} of {step:.3f} ms on one device, {size(self.cost.bytes)} of gradients in "
            f"{len(self.cost.buckets)} buckets, {size(link.bandwidth)} a second, {1e6 * link.latency:g} us a message"
            f"{held}"
        )

    def figure(self) -> Figure:
        """Efficiency over the number of devices, a line for a ring and one for a tree."""
        from matplotlib.figure import Figure

        made = Figure(figsize=(7.0, 3.6), layout="constrained")
        axis = made.subplots()
        for way in WAYS:
            those = [one for one in self.predictions if one.way == way]
            axis.plot([one.devices for one in those], [one.efficiency for one in those], marker="o", label=way)
        axis.set_xscale("log", base=2)
        ticks = list(dict.fromkeys(one.devices for one in self.predictions))
        axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_ylim(0, 1.05)
        axis.set_xlabel("devices")
        axis.set_ylabel("efficiency")
        axis.set_title(self.net)
        axis.grid(alpha=0.3)
        axis.legend()
        return made

    def write(self, path: Path) -> None:
        """Write that picture, whole or not at all: SVG or PNG, as the name ends."""
        made, form = self.figure(), path.suffix.lower()[1:]
        more: dict[str, Any] = {"metadata": {"Date": None}} if form == "svg" else {"dpi": 110}
        replace_file(path, lambda part: made.savefig(part, format=form, **more))


def scaled(cost: StepCost, net: str, batch: int | None, link: Link, devices: Sequence[int]) -> ScalingReport:
    """What a step takes on each of these numbers of devices, by a ring and by a tree."""
    found = tuple(predicted(cost, count, link, way) for count in devices for way in WAYS)
    return ScalingReport(net, batch, cost, link, found)
