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
# Where the parts of a block begin, in order and the first one at 0, and the launch since which each is needed.
Begins = tuple[tuple[int, int], ...]
# Of a value whose innermost rows lie further apart than they are long: the elements of a row, and from one to the next.
Pitches = Mapping[Node, tuple[int, int]]


@dataclass(frozen=True)
class Plan:
    """kernels: in launch order; prepare: those of them that only state decides. orders: axes where they are not free.

    lives: the numbers of the first and the last launch during which a value in the arena is needed. begins: of a flat
    concat the elements from which on its parts lie, in order, each with the launch that writes the part. parts: what
    lies in a flat state, as (state, first byte, bytes) -> name; for the names in a generated module.
    """

    kernels: tuple[Node, ...]
    prepare: frozenset[Node]
    homes: dict[Node, Home]
    orders: Orders
    lives: dict[Node, tuple[int, int]]
    threads: int
    inner: bool
    begins: Mapping[Node, Begins] = field(default_factory=dict)
    pitches: Pitches = field(default_factory=dict)
    parts: Mapping[tuple[str, int, int], str] = field(default_factory=dict)


ALIGN = 64


def aligned(size: int, unit: int = ALIGN) -> int:
    """The next multiple of 64 bytes, a cache line, or of another unit."""
    return -(-size // unit) * unit


def parts_of(begins: Begins, size: int) -> list[tuple[int, int, int]]:
    """The parts of a block of some size: from where to where each lies, and the launch since which it is needed."""
    stops = (*(start for start, _ in begins[1:]), size)
    return [(start, stop, since) for (start, since), stop in zip(begins, stops, strict=True)]


def pack(
    blocks: Sequence[tuple[int, int, int]],
    *,
    begins: Mapping[int, Begins] | None = None,
    small: int = 0,
    unit: int = ALIGN,
) -> tuple[list[int], int]:
    """Offsets for blocks (bytes, first, last), so that those whose lives meet lie apart; the bytes of all.

    The largest first, each as low as it fits. A life includes both its ends. begins: of some blocks, by number, the
    bytes at which their parts begin: until a part's own launch its memory is another's. Blocks below `small` bytes
    begin at a multiple of `unit` bytes, others at one of 64.
    """
    offsets = [0] * len(blocks)
    placed: list[tuple[int, int, int, int]] = []  # the bytes and the launches of each part
    end = 0
    for i in sorted(range(len(blocks)), key=lambda i: (-blocks[i][0], blocks[i][1:], i)):
        size, first, last = blocks[i]
        own = parts_of((begins or {}).get(i, ((0, first),)), size)
        parts = [(low, high, max(since, first)) for low, high, since in own if low < high]
        # Where the block cannot begin: from one number on to before another.
        busy = sorted(
            (start - high + 1, stop - low)
            for low, high, since in parts
            for start, stop, begun, done in placed
            if begun <= last and since <= done
        )
        at = 0
        for low, high in busy:
            if at < low:
                break
            at = max(at, aligned(high, unit if size < small else ALIGN))
        offsets[i] = at
        placed += [(at + low, at + high, since, last) for low, high, since in parts]
        end = max(end, at + size) if size else end
    return offsets, end
