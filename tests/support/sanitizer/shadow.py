"""What the programs of one launch have done to some bytes that it writes, and which of that contradicts itself.

The interpreter runs programs one after the other, a GPU runs them at once, and the threads of one program as well.
Programs are therefore counted in *turns*: each begins one, and a barrier begins another one of the same program. What
two turns of different programs do to a byte has no order; nor has what two threads do to it in one turn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Index = Array | slice
SEVERAL = -1  # lanes
SHAPE = 21  # bits of a lane's number in its block; Triton's blocks have at most 2^20 lanes


@dataclass(frozen=True)
class Now:
    """Whose turn it is: its number, that of the first turn of the same program, and how many stores there were."""

    turn: int
    first: int
    stores: int = 0


@dataclass(frozen=True)
class Conflict:
    """Two accesses without an order. where: of those looked at; turns: in which the other one was, for each of them.

    Of `shared`, a store over what the same lane has loaded, turns are how many stores there were before the load, and
    block is how many lanes the load had.
    """

    kind: str
    what: str
    where: Array
    turns: Array
    block: int = 0


class Lanes:
    """Numbers for the lanes of blocks of all shapes that a launch uses."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[int, ...], int] = {}

    def numbers(self, shape: tuple[int, ...], lanes: Array) -> Array:
        """Of lanes that are counted row by row in a block."""
        of = self._shapes.setdefault(shape, len(self._shapes))
        if of >> (31 - SHAPE):
            raise ValueError("a kernel has too many shapes of blocks to be looked at")
        return ((of << SHAPE) + lanes).astype(np.int32)

    def size(self, number: int) -> int:
        """How many lanes the block of a lane has."""
        return math.prod([*self._shapes][number >> SHAPE])

    def same(self, loaded: Array, stored: Array) -> Array:
        """Whether lanes are equal, or the one that loads is what the other one is in a block with fewer rows.

        A block with one row in the place of many is held by the threads of all of these rows.
        """
        found: Array = loaded == stored
        other = np.flatnonzero(~found & (loaded != SEVERAL))
        shapes = [*self._shapes]
        for of in map(int, np.unique(loaded[other] >> SHAPE)):
            mine = other[(loaded[other] >> SHAPE) == of]
            block = shapes[int(stored[mine[0]]) >> SHAPE]
            few = (1,) * (len(block) - len(shapes[of])) + shapes[of]
            if len(few) == len(block) and all(a in (1, b) for a, b in zip(few, block, strict=True)):
                index = np.unravel_index(stored[mine] & ((1 << SHAPE) - 1), block)
                fewer = tuple(np.where(n == 1, 0, i) for n, i in zip(few, index, strict=True))
                found[mine] = np.ravel_multi_index(fewer, few) == loaded[mine] & ((1 << SHAPE) - 1)
        return found


class Shadow:
    """A piece of memory, from byte `low` to `high`, in units of so many bytes: who wrote and who read each."""

    def __init__(self, memory: str, low: int, high: int, unit: int, lanes: Lanes) -> None:
        self.memory, self.low, self.high, self.unit = memory, low, high, unit
        self._lanes = lanes
        self.size = -(-(high - low) // unit)
        self.wrote = self._numbers()
        self._single = self._numbers()
        self._atomic = np.zeros(self.size, np.bool_)
        # Of the readers: the first turn and the last; of those in the last the lane, and how many stores there were
        # before. Most is written only.
        self._reads: tuple[Array, Array, Array, Array] | None = None

    def _numbers(self) -> Array:
        return np.zeros(self.size, np.int32)

    def places(self, offsets: Array, item: int) -> tuple[Array, Array | None]:
        """The units that elements at these bytes of the memory cover, and of which element each is; None: one each.

        What lies beside the piece is left out.
        """
        if item == self.unit and offsets.min() >= self.low and offsets.max() < self.high:
            return (offsets - self.low) // self.unit, None
        each = np.arange(0, item, self.unit)
        units = (offsets[:, None] + each - self.low) // self.unit
        here = (units >= 0) & (units < self.size)
        return units[here], np.broadcast_to(np.arange(offsets.size)[:, None], units.shape)[here]

    def read(self, units: Array, lanes: Array, now: Now, *, atomic: bool = False) -> Iterator[Conflict]:
        """Note a load."""
        at, distinct = compact(units)
        wrote = self.wrote[at]
        if wrote.any():
            free = self._atomic[at] if atomic else np.False_
            yield Conflict("race", "reads", (wrote != 0) & (wrote < now.first) & ~free, wrote)
            yield Conflict("order", "reads", (wrote == now.turn) & ~free, wrote)
        if self._reads is None:
            self._reads = self._numbers(), self._numbers(), self._numbers(), self._numbers()
        if atomic:
            return
        first, last, lane, stores = self._reads
        begun, again = first[at], last[at] == now.turn
        first[at] = np.where(begun == 0, now.turn, begun)
        stores[at] = np.where(again, stores[at], now.stores)
        others = again & (lane[at] != lanes)
        if not distinct:
            others |= self.repeated(units)[1]
        lane[at] = lanes
        lane[units[others]] = SEVERAL
        last[at] = now.turn

    def write(self, units: Array, lanes: Array, now: Now, *, atomic: bool = False) -> Iterator[Conflict]:
        """Note a store."""
        at, _ = compact(units)
        wrote = self.wrote[at]
        free = self._atomic[at] if atomic else np.False_
        if wrote.any():
            yield Conflict("race", "writes", (wrote != 0) & (wrote < now.first) & ~free, wrote)
            yield Conflict("order", "twice", (wrote == now.turn) & ~free, wrote)
        if self._reads is not None:
            first, last, lane, stores = (numbers[at] for numbers in self._reads)
            yield Conflict("race", "replaces", (first != 0) & (first < now.first), first)
            before = last == now.turn
            if before.any():
                own = self._lanes.same(lane, lanes)
                yield Conflict("order", "replaces", before & ~own, last)
                own &= before
                if own.any():
                    yield Conflict("order", "shared", own, stores, self._lanes.size(int(lane[own][0])))
        # Of atomic operations the first is kept, since a store of another program is in no order with any of them.
        self.wrote[at] = np.where(free & (wrote != 0), wrote, now.turn) if atomic else now.turn
        self._atomic[at] = atomic

    def repeated(self, units: Array) -> tuple[Array, Array]:
        """For each of these units the last place in the list where it stands, and whether that is another place."""
        numbers = np.arange(units.size, dtype=np.int32)
        self._single[units] = numbers
        last = self._single[units]
        return last, last != numbers


def compact(units: Array) -> tuple[Index, bool]:
    """These numbers as an index, a slice where they follow each other; and whether they are known to differ."""
    if units.size == 1:
        return slice(int(units[0]), int(units[0]) + 1), True
    if not units.size or not bool((units[1:] > units[:-1]).all()):
        return units, False
    if int(units[-1]) - int(units[0]) == units.size - 1:
        return slice(int(units[0]), int(units[-1]) + 1), True
    return units, True
