"""Cost model of reductions on a GPU (bandwidth, latency, programs in flight), and the tiles that it prefers.

A program takes some rows and goes through them, a block at a time, waiting for memory at each turn. Where that leaves
units idle, rows are cut in parts, each summed by a program, and added by a launch after it. What needs a row's sum for
each of its elements then has to be a kernel of its own: `waiting` says whether that is faster.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from ....compiler.kernel import Blocks
from ..machines import Device
from .products import OVERLAP, power

# Elements of a block for each sum that it keeps; at most so many where each element asks several windows: their loads
# are all in flight, in registers.
AREA = 4096
SPREAD = 1024
# Elements of a block for the interpreter.
LARGE = 1 << 15
# Elements side by side of a row that lies in one piece; rows side by side, where neighbours lie in different rows.
DEPTH = 1024
WIDTHS = (64, 32, 16)
# Programs for each unit that keep it busy while others wait for memory.
BUSY = 4
# Seconds that a turn waits for its operands, and how many times its share of the bandwidth a unit alone reaches.
WAIT = 0.6e-6
ALONE = 3
# Elements that a warp loads at once, where they lie side by side.
RUN = 32
# Parts of a row: more would take longer to add than they save.
MOST_PARTS = 512


@dataclass(frozen=True)
class RowReduction:
    """A reduction of rows.

    near: whether neighbours in memory lie in different rows. moved: bytes that one way through them reads and writes.
    sums: that one way through them finds. spread: whether an element asks several windows, or draws random numbers.
    """

    rows: int
    length: int
    near: bool
    moved: int
    sums: int = 1
    spread: bool = False

    @property
    def size(self) -> float:
        """Bytes moved for an element."""
        return self.moved / max(1, self.rows * self.length)


@dataclass(frozen=True)
class Waiting:
    """The seconds that a sum of rows takes, with one thing that waits for it at each element.

    whole: in one kernel, of `programs`. parts: in two, the rows of the first cut in parts.
    """

    whole: float
    parts: float
    programs: int


def rows_of(
    space: Sequence[int], reduced: Sequence[int], moved: int, *, sums: int = 1, spread: bool = False
) -> RowReduction:
    """The rows of a space. Channels lie innermost; of spaces without them the last axis does."""
    length = math.prod(space[a] for a in reduced)
    rank = len(space)
    near = (rank - 1 if rank < 3 else 1) not in reduced
    return RowReduction(math.prod(space) // max(1, length), length, near, moved, sums, spread)


@cache
def fastest(of: RowReduction, on: Device, *, parts: bool) -> tuple[float, Blocks]:
    """The blocks that should take the fewest seconds, and these. parts: whether rows may be cut."""
    best: tuple[float, Blocks] | None = None
    for width, depth in _areas(of, on):
        steps = -(-of.length // depth)
        splits = [1]
        if parts and not on.large:
            splits += [1 << i for i in range(1, MOST_PARTS.bit_length()) if 2 << i <= steps]
        for split in splits:
            seconds = _seconds(of, on, width, depth, split)
            if best is None or seconds < best[0]:
                best = seconds, Blocks(rows=width, depth=depth, split=split, warps=warps_of(width * depth, on))
    assert best is not None
    return best


@cache
def waiting(of: RowReduction, on: Device) -> Waiting | None:
    """Whether what waits for a sum is better a kernel of its own, since the rows are few and long: then the times."""
    (whole, alone), (parts, cut) = fastest(of, on, parts=False), fastest(of, on, parts=True)
    if cut.split == 1 or alone.depth >= of.length:
        return None
    found = Waiting(2 * whole - on.launch, parts + on.launch + of.moved / on.bandwidth, -(-of.rows // alone.rows))
    return found if found.parts < found.whole else None


def warps_of(elements: int, on: Device) -> int:
    """Warps for a block of which a thread computes at least four elements, where there are as many."""
    return max(1, min(4, power(elements // (4 * on.width))))


def _areas(of: RowReduction, on: Device) -> Iterator[tuple[int, int]]:
    """Rows and elements of each that a block may take."""
    area = LARGE if on.large else min(SPREAD if of.spread else AREA, AREA // power(of.sums))
    if of.near:
        most = power(of.rows) if on.large else min(power(of.rows), WIDTHS[0])
        for width in dict.fromkeys([min(most, area), *(w for w in WIDTHS if w < most and not on.large)]):
            yield width, min(power(of.length), max(1, area // width))
        return
    depth = min(power(of.length), area if on.large else DEPTH)
    width = min(power(of.rows), max(1, area // depth))
    if on.large:
        yield width, depth
    elif of.rows * of.length <= AREA and power(of.rows) * depth <= 2 * AREA:
        # Where one program computes all, totals need no finishing.
        yield power(of.rows), depth
    else:
        while width:
            yield width, depth
            width //= 2


def _seconds(of: RowReduction, on: Device, width: int, depth: int, split: int) -> float:
    """The time of one way through the rows, and of the launch that adds their parts."""
    programs = -(-of.rows // width) * split
    steps = math.ceil(-(-of.length // depth) / split)
    turn = WAIT + width * depth * of.size * on.units / (ALONE * on.bandwidth)
    waves = -(-programs // (BUSY * on.units))
    stream = of.moved / on.bandwidth * (max(1, RUN // width) if of.near and of.rows > width else 1)
    bounds = (waves * steps * turn, stream)
    added = on.launch + WAIT + 2 * split * of.rows * of.sums * 4 / on.cache if split > 1 else 0.0
    return on.launch + max(bounds) + OVERLAP * sum(bounds) + added
