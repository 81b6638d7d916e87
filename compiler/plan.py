"""Where the values of a graph of kernels lie in memory, and in which order its kernels run: what a target is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Plan:
    """kernels: in launch order; prepare: those of them that only state decides. orders: axes where they are not free.

    lives: the numbers of the first and the last launch during which a value in the arena is needed.
    """

    kernels: tuple[Node, ...]
    prepare: frozenset[Node]
    homes: dict[Node, Home]
    orders: dict[Node, tuple[int, ...]]
    lives: dict[Node, tuple[int, int]]
    threads: int
    inner: bool


ALIGN = 64


def aligned(size: int) -> int:
    """The next multiple of 64 bytes, a cache line."""
    return -(-size // ALIGN) * ALIGN


def pack(blocks: Sequence[tuple[int, int, int]]) -> tuple[list[int], int]:
    """Offsets for blocks (bytes, first, last), so that those whose lives meet lie apart; the bytes of all.

    The largest first, each as low as it fits. A life includes both its ends.
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
            at = max(at, aligned(high))
        offsets[i] = at
        if size:
            placed.append(i)
            end = max(end, at + size)
    return offsets, aligned(end)
