"""Where the values of a graph of kernels lie in memory, and in which order its kernels run: what a target is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .graph import Node


@dataclass(frozen=True)
class Home:
    """The memory of a value.

    space: arena and prepared (offset in bytes), state (offset in elements of the buffer `name`), input, or part: a part
    of the concat `parent` from element `start` of its axis on.
    """

    space: Literal["arena", "prepared", "state", "input", "part"]
    offset: int = 0
    name: str = ""
    parent: Node | None = None
    start: int = 0


@dataclass(frozen=True)
class Plan:
    """kernels: in launch order; prepare: those of them that only state decides. orders: axes where they are not free."""

    kernels: tuple[Node, ...]
    prepare: frozenset[Node]
    homes: dict[Node, Home]
    orders: dict[Node, tuple[int, ...]]
    arena_bytes: int
    prepared_bytes: int
    threads: int
    inner: bool
