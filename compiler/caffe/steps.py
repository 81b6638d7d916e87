"""Static single assignment of a body: its calls as steps, what they read and bind, and windows of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ...grammar import tree

Value = tuple[str, int]  # a name, and how often it was bound before
Body = tuple[tree.AnyStatement, ...]


@dataclass(frozen=True)
class Step:
    """A statement of one call: what it reads and binds, its numbers, and what two of one kind agree in.

    label: its name. whole: that is no part of a name, whatever stands around it. given: it is what the call puts into
    the names of a block.
    """

    callee: str
    reads: tuple[Value, ...]
    binds: tuple[Value, ...]
    numbers: Mapping[str, tree.Expr]
    kind: tuple[object, ...]
    label: str | None
    whole: bool
    given: bool
    statement: tree.Bind
    call: tree.Call


Bodies = Mapping[str, Sequence[Step | tree.AnyStatement]]


@dataclass(frozen=True)
class Window:
    """Where one begins, and the values that enter it; cut: they are one value, some calls before."""

    body: str
    start: int
    entering: tuple[Value, ...]
    cut: bool


def nodes(item: tree.Node) -> Iterator[tree.Node]:
    yield item
    for one in tree.children(item):
        yield from nodes(one)


def bound(item: tree.AnyStatement) -> set[str]:
    """The names that a statement binds, at any depth."""
    return {one.name for part in nodes(item) if isinstance(part, tree.Bind) for one in part.targets}


def is_number(value: tree.Expr, settings: set[str]) -> bool:
    """Whether a value is a number, or made of some and of a block's settings."""
    return all(
        isinstance(part, tree.Number | tree.Unary | tree.Binary)
        or (isinstance(part, tree.Name) and part.name in settings)
        for part in nodes(value)
    )


def is_fixed(value: tree.Expr) -> bool:
    """Whether a value is the same in every use of the block that it stands in."""
    return not any(isinstance(part, tree.Name) for part in nodes(value))


def last_reads(body: Sequence[Step | tree.AnyStatement]) -> dict[Value, int]:
    """Where each value is read last; in what is no step, all that its names can mean."""
    counts: Counter[str] = Counter()
    found: dict[Value, int] = {}
    for number, item in enumerate(body):
        if isinstance(item, Step):
            found |= dict.fromkeys(item.reads, number)
            names = {one for one, _ in item.binds}
        else:
            for part in nodes(item):
                if isinstance(part, tree.Name):
                    found[part.name, counts[part.name]] = number
            names = bound(item)
        for one in names:
            counts[one] += 1
    return found


def roots_of(body: Sequence[Step | tree.AnyStatement]) -> dict[Value, Value]:
    """For values that one call alone reads, and that come out of a chain of such calls, what goes into the chain."""
    times = Counter(value for step in body if isinstance(step, Step) for value in step.reads)
    found: dict[Value, Value] = {}
    for step in body:
        if isinstance(step, Step) and len(step.reads) == 1:
            root = found.get(step.reads[0], step.reads[0])
            found |= {value: root for value in step.binds if times[value] == 1}
    return found


def is_chain(steps: Sequence[Step]) -> bool:
    """Whether each call reads only what the one before gives."""
    return all(step.reads == before.binds for before, step in pairwise(steps))


def part_of(bodies: Bodies, window: Window, width: int) -> tuple[Step, ...]:
    part = bodies[window.body][window.start : window.start + width]
    return tuple(step for step in part if isinstance(step, Step))


def apart_of(windows: list[Window], width: int) -> list[Window]:
    """Windows of which none covers another, the first first."""
    found: list[Window] = []
    for one in windows:
        if not found or found[-1].body != one.body or one.start >= found[-1].start + width:
            found.append(one)
    return found
