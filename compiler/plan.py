"""Where the values of a graph of kernels lie in memory, and in which order its kernels run: what a target is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .graph import Node


@dataclass(frozen=True)
class Home:
    """The memory of a value.

    space: arena; state: the buffer `name`; part: a part of the concat `parent` from element `start` of its axis on.
    """

    space: Literal["arena", "state", "part"]
    name: str = ""
    parent: Node | None = None
    start: int = 0


# Of each value the order of its axes in memory, outermost first.
Orders = Mapping[Node, tuple[int, ...]]
# Of a value whose innermost rows lie further apart than they are long: the elements of a row, and from one to the next.
Pitches = Mapping[Node, tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """kernels: in launch order; prepare: those of them that only state decides. orders: axes where they are not free.

    lives: the numbers of the first and the last launch during which a value in the arena is needed. parts: what lies in
    a flat state, as (state, first byte, bytes) -> name; for the names in a generated module.
    """

    kernels: tuple[Node, ...]
    prepare: frozenset[Node]
    homes: dict[Node, Home]
    orders: Orders
    lives: dict[Node, tuple[int, int]]
    threads: int
    inner: bool
    pitches: Pitches = field(default_factory=dict)
    parts: Mapping[tuple[str, int, int], str] = field(default_factory=dict)


ALIGN = 64


def aligned(size: int, unit: int = ALIGN) -> int:
    """The next multiple of 64 bytes, a cache line, or of another unit."""
    return -(-size // unit) * unit


def pack(blocks: Sequence[tuple[int, int, int]], *, small: int = 0, unit: int = ALIGN) -> tuple[list[int], int]:
    """Offsets for blocks (bytes, first, last), so that those whose lives meet lie apart; the bytes of all.

    The largest first, each as low as it fits. A life includes both its ends. Blocks below `small` bytes begin at a
    multiple of `unit` bytes, others at one of 64.
    """
    offsets = [0] * len(blocks)
    placed: list[int] = []
    end = 0
    for i in sorted(range(len(blocks)), key=lambda i: (-blocks[i][0], blocks[i][1:], i)):
        size, first, last = blocks[i]
        busy = sorted(
            (offsets[o], offsets[o] + blocks[o][0]) for o in placed if blocks[o][1] <= last and first <= blocks[o][2]
        )
        at = 0
        for low, high in busy:
            if at + size <= low:
                break
            at = max(at, aligned(high, unit if size < small else ALIGN))
        offsets[i] = at
        if size:
            placed.append(i)
            end = max(end, at + size)
    return offsets, end
