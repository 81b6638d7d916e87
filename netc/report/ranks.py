"""Profile of data parallel steps: what the sums of gradients take, what of that runs beside the backward pass, and the
rate of each rank.

A step is timed on all ranks at once, with its sums and without them; the sums are timed alone, too. Exposed is by how
much a step with them is longer than one without; the rest of the sums is hidden. Inputs are made up, the rate is 0.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.distributed.group import Group
from ..runtime.distributed.step import GradientSum
from .profiling import made_up_feeds
from .tables import Table, size

if TYPE_CHECKING:
    from ..driver import Compilation

LEAST, MOST = 9, 400  # steps


@dataclass(frozen=True)
class RankTiming:
    """Milliseconds of a step on one rank, the median each. machine: its name in the network."""

    rank: int
    machine: str
    step: float
    gradients: float
    update: float
    sums: float
    exposed: float

    @property
    def hidden(self) -> float:
        """The part of the sums that the backward pass covers."""
        return 1 - min(1.0, self.exposed / self.sums) if self.sums > 0 else 0.0


@dataclass(frozen=True)
class RankProfile:
    """The ranks of a run. batch: the records of one rank, where the net has such an axis."""

    net: str
    target: str
    batch: int | None
    gradient_bytes: int
    buckets: int
    ranks: tuple[RankTiming, ...]

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc profile --json` under torchrun."""
        rows = [{**asdict(one), "hidden": one.hidden, "rate": self._rate(one)} for one in self.ranks]
        about = {"net": self.net, "target": self.target, "batch": self.batch}
        return {**about, "gradient_bytes": self.gradient_bytes, "buckets": self.buckets, "ranks": rows}

    def _rate(self, one: RankTiming) -> float | None:
        return 1e3 * self.batch / one.step if self.batch is not None else None

    def table(self) -> Table:
        """A row for each rank."""
        rows = [
            [
                str(one.rank),
                one.machine,
                *(f"{ms:.3f}" for ms in (one.step, one.gradients, one.update, one.sums, one.exposed)),
                f"{100 * one.hidden:.0f} %",
                f"{rate:,.0f}" if (rate := self._rate(one)) is not None else "",
            ]
            for one in self.ranks
        ]
        head = ["rank", "machine", ">step ms", ">gradients", ">update", ">sums", ">exposed", ">hidden", ">records/s"]
        batch = f", batch {self.batch} each" if self.batch is not None else ""
        return Table(f"{self.net}: {len(rows)} ranks{batch}, {self.target}", head, rows)

    def text(self) -> str:
        """All ranks together, in a line."""
        whole = f"{sum(self._rate(one) or 0 for one in self.ranks):,.0f} records/s in all; " if self.batch else ""
        return f"{whole}{size(self.gradient_bytes)} of gradients in {self.buckets} buckets"


def profiled_ranks(made: Compilation, group: Group, seconds: float) -> RankProfile:
    """Time the step of a program that is made for the ranks of a group; for about so many seconds."""
    own, update = made.executables(made.new_state())
    feeds, later = made_up_feeds(own.program.inputs), made_up_feeds(update.program.inputs)
    sums = GradientSum(group, own)

    def gradients() -> None:
        own.run(feeds)
        sums.finish()

    def turns(call: Callable[[], object], share: float) -> float:
        """Milliseconds of a call: all ranks make it as often."""
        start = time.perf_counter()
        call()
        once = float(group.sums(np.array([time.perf_counter() - start]))[0]) / group.ranks
        found = []
        for _ in range(int(min(MOST, max(LEAST, share * seconds / max(once, 1e-6))))):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
        return 1e3 * float(np.median(found))

    gradients()
    update.run(later)
    with_sums = turns(gradients, 0.4)
    sums.leave_out()
    without = turns(gradients, 0.4)
    alone = turns(sums.alone, 0.1)
    after = turns(lambda: update.run(later), 0.1)
    exposed = max(0.0, with_sums - without)
    mine = RankTiming(group.rank, platform.node(), with_sums + after, without, after, alone, exposed)
    ranks = tuple(RankTiming(**group.told(asdict(mine), rank)) for rank in range(group.ranks))
    batch = int(made.net.dims["N"]) if "N" in made.net.dims else None
    return RankProfile(made.net.name, made.request.target, batch, sums.bytes, len(sums.buckets), ranks)
