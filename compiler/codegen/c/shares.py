"""Static scheduling, proved: what a frame's text computes for each task is run, for each kind of processor.

Threads share out tasks; a task is a tile of two axes at one value of all others. That stores are apart and complete
over the variables of a result is the evaluator's proof (`loops/prove.py`). Here the numbers are looked at that a frame
writes itself, constants and all: tasks are numbered so that each combination is one, tiles take each value of their
axis once, however many rows and lanes a processor has, and what a tile reads and holds is within its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...loops.index import Expr, Var
from ...loops.intervals import distinct
from . import vectors
from .arithmetic import Scope, macros_of

HEAD = re.compile(r"for \(\w+ (\w+) = (.+); \1 < (.+); \1(?:\+\+| \+= (.+))\) \{$", re.MULTILINE)
MACROS = macros_of(vectors.HEAD)
# A fault: its kind and what it is; None where there is none.
Found = tuple[str, str] | None


@dataclass(frozen=True)
class TilePart:
    """A tile's part of an axis of `size` elements: from `first + low` to before `first + high`, in text."""

    size: int
    first: str
    low: str
    high: str


@dataclass(frozen=True)
class Frame:
    """The text that shares tasks out.

    constants: definitions of numbers of the whole kernel. tasks: how many there are. numbers: what the number of a task
    consists of, each with how many values it takes. setting: definitions of what a task is given. parameters: how large
    it is. calls: its sizes in their order, those whose condition is the first to hold, else the last. cuts: what a task
    takes of each axis that is tiled. rooms: from where to where it reaches in places of some size.
    """

    constants: tuple[str, ...]
    tasks: str
    numbers: tuple[tuple[str, str, str], ...]
    setting: tuple[str, ...]
    parameters: tuple[str, ...]
    calls: tuple[tuple[str, tuple[str, ...]], ...]
    cuts: tuple[TilePart, ...]
    rooms: tuple[tuple[str, str, str], ...]


def cut_of(size: int, first: str, head: str) -> TilePart:
    """The part of an axis over which a loop runs whose head is given; `first` is added to its number."""
    found = HEAD.search(head)
    if found is None or found[4]:
        raise ValueError(f"`{head}` is no loop over a part of an axis")
    return TilePart(size, first, found[2], found[3])


@lru_cache(1 << 12)
def fault_of(frame: Frame) -> Found:
    """What is wrong with the tasks of a frame, on any processor."""
    for machine in vectors.MACHINES:
        if (found := _on(frame, machine)) is not None:
            return found[0], f"{found[1]}, with {machine['LANES']} lanes"
    return None


def _on(frame: Frame, machine: Mapping[str, int]) -> Found:
    own = Scope(dict(machine), MACROS)
    own.names |= {f"LANES_{n}": own.value(f"AT_MOST({n})") for n in (4, 8, 16)}
    for line in frame.constants:
        own.set(line)
    tasks, sizes = int(own.value(frame.tasks)), [int(own.value(size)) for _, _, size in frame.numbers]
    if (found := _numbered(own, frame, tasks, sizes)) is not None:
        return found
    # The two numbers that count tiles of the axes; the others are numbers of single elements, and change nothing here.
    tiles = np.ix_(*(np.arange(n, dtype=np.int64) for n in sizes[:2]))
    own.names |= dict(zip((name for name, _, _ in frame.numbers), tiles, strict=False))
    for line in frame.setting:
        own.set(line)
    shape = np.broadcast_shapes(*(x.shape for x in tiles))
    *asked, (_, otherwise) = frame.calls
    holds = [own.value(condition) for condition, _ in asked]
    for k, name in enumerate(frame.parameters):
        size = own.value(otherwise[k])
        for held, (_, sizes_then) in zip(reversed(holds), reversed(asked), strict=True):
            size = np.where(held, own.value(sizes_then[k]), size)
        own.names[name] = size
    for axis, cut in enumerate(frame.cuts):
        first, low, high = (own.value(text) for text in (cut.first, cut.low, cut.high))
        begin, end = (np.broadcast_to(first + x, shape) for x in (low, high))
        if axis:
            begin, end = begin.T, end.T
        if begin.shape[1] > 1 and ((begin != begin[:, :1]).any() or (end != end[:, :1]).any()):
            return "race", f"tiles of {cut.first} are others along the other axis"
        if (found := partition(begin[:, 0], end[:, 0], cut.size)) is not None:
            return found[0], f"{found[1]}, at {cut.first}"
    for low_text, high_text, size in frame.rooms:
        low, high, room = (own.value(text) for text in (low_text, high_text, size))
        if np.min(low) < 0 or np.max(high - room) > 0:
            told = f"from {low_text} to {high_text}, {np.min(low)} to {np.max(high)} of {np.max(room)}"
            return "bounds", f"a tile reaches {told}"
    return None


def _numbered(own: Scope, frame: Frame, tasks: int, sizes: Sequence[int]) -> Found:
    """Whether each combination of numbers is one task."""
    inner = Scope({**own.names, "task": Expr.of(Var("task", tasks))}, own.macros)
    found = [Expr.of(inner.value(text)) for _, text, _ in frame.numbers]
    for e, (name, _, _), size in zip(found, frame.numbers, sizes, strict=True):
        if e.bounds != (0, size - 1):
            return "complete", f"tasks take {name} from {e.bounds[0]} to {e.bounds[1]}, of {size}"
    if tasks != np.prod(sizes, dtype=np.int64):
        return "complete", f"there are {tasks} tasks for {' * '.join(map(str, sizes))} tiles"
    return None if tasks == 1 or distinct(found, ()) else ("race", "two tasks are one tile")


def blocks_fault(head: str, count: str, size: int) -> Found:
    """What is wrong with the blocks of an axis: of `count` elements from each number on that a loop has."""
    loop = HEAD.search(head)
    if loop is None:
        return "complete", f"`{head}` is no loop over blocks"
    low, high, step = (int(Scope().value(text or "1")) for text in (loop[2], loop[3], loop[4]))
    first = np.arange(low, high, step, dtype=np.int64)
    return partition(first, first + Scope({loop[1]: first}).value(count), size)


def partition(begin: Any, end: Any, size: int) -> Found:
    """What is wrong with parts of an axis, one after the other: each element is in one of them."""
    if (begin[1:] < end[:-1]).any() or (end < begin).any():
        k = int(np.argmax(np.append(begin[1:] < end[:-1], True)))
        return "race", f"parts from {begin[k]} and from {begin[min(k + 1, len(begin) - 1)]} on overlap"
    if begin[0] < 0 or end[-1] > size:
        return "bounds", f"parts reach from {begin[0]} to {end[-1]}, of {size} elements"
    if begin[0] or end[-1] != size or (begin[1:] != end[:-1]).any():
        return "complete", f"parts from {begin[0]} to {end[-1]} leave some of {size} elements out"
    return None
