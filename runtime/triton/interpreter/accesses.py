"""Faults of memory accesses: as the worker counts them, and as people read them, with kernels, layers and elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....compiler.program import Launch
from ..run.launch import Layout
from .spans import Elements

Program = Sequence[int]
Stored = tuple[str, int, int]  # phase, call, argument


@dataclass
class SeenFault:
    """A fault as it was seen first, and how many elements show it.

    call, argument: of the phase's launches; argument -1: no buffer is meant, or, of an output, its number. place:
    elements behind the buffer's start. other: the program on the other side of a race. by: who stored what is found
    instead. same: the values on both sides are equal. line: of the kernel's text.
    """

    kind: str
    what: str
    phase: str
    call: int
    argument: int
    place: int
    program: Program
    other: Program | None = None
    by: Stored | None = None
    same: bool = False
    line: str = ""
    count: int = 0


@dataclass(frozen=True)
class AccessFault:
    """A kernel that accesses memory in a way that a GPU does not forgive.

    kind: race, order, lanes, bounds or contents, see `watch`. function, layers, places: of the kernel; empty for an
    output that nobody writes. buffer: which is meant. told: what happens, in words. count: of elements. line: of the
    kernel's text.
    """

    kind: str
    function: str
    layers: tuple[str, ...]
    places: tuple[str, ...]
    buffer: str
    told: str
    count: int
    line: str

    def __str__(self) -> str:
        of = f" of {', '.join(self.layers)}" if self.layers else ""
        where = f" ({', '.join(self.places)})" if self.places else ""
        kernel = f"the kernel `{self.function}`{of}{where}: " if self.function else ""
        more = f", {self.count:,} elements in all" if self.count > 1 else ""
        return f"{kernel}{self.told}{more}{f', in `{self.line}`' if self.line else ''}"


def faults_of(layout: Layout, rows: Iterable[Mapping[str, Any]]) -> list[AccessFault]:
    """What the worker found, in words."""
    return [_fault(layout, SeenFault(**row)) for row in rows]


def _fault(layout: Layout, found: SeenFault) -> AccessFault:
    if found.what == "output":
        output = layout.returned()[found.argument]
        told = f"nobody writes {output.element(found.place)}, which is an output"
        return AccessFault(found.kind, "", (), (), output.buffer, told, found.count, "")
    launch = _launch(layout, found.phase, found.call)
    span = _span(layout, found.phase, found.call, found.argument) if found.argument >= 0 else None
    told = _told(layout, found, span, len(launch.grid))
    buffer = "" if span is None else span.buffer
    return AccessFault(found.kind, launch.function, launch.layers, launch.places, buffer, told, found.count, found.line)


def _launch(layout: Layout, phase: str, call: int) -> Launch:
    return [launch for launch in layout.program.launches if launch.phase == phase][call]


def _span(layout: Layout, phase: str, call: int, argument: int) -> Elements:
    return layout.spans(phase)[call][argument]


def _told(layout: Layout, found: SeenFault, span: Elements | None, axes: int) -> str:
    """What happens."""

    def number(program: Program | None) -> str:
        first = list(program or ())[: max(axes, 1)]
        return str(first[0]) if len(first) == 1 else f"({', '.join(map(str, first))})"

    mine, other = number(found.program), number(found.other)
    if span is None:
        return f"program {mine} {found.what} at an address that is far from all of its buffers"
    what = span.element(found.place)
    if found.kind == "bounds":
        return _beside(found, span, mine)
    if found.kind == "contents":
        if found.by is None:
            return f"program {mine} reads {what}, which nobody has written in this step"
        writer = _launch(layout, *found.by[:2]).function
        theirs = _span(layout, *found.by).buffer
        if found.what == "prepared":
            return f"{what} is prepared once and read in each step, but `{writer}` writes {theirs} over it"
        return f"program {mine} reads {what}, over which `{writer}` has written {theirs}"
    same = ", the same value" if found.same else ""
    sentences = {
        ("race", "reads"): f"program {mine} reads {what}, which program {other} writes",
        ("race", "writes"): f"programs {other} and {mine} both write {what}{same}",
        ("race", "replaces"): f"program {mine} writes {what}, which program {other} reads",
        ("order", "reads"): f"program {mine} writes {what} and reads it again, without a barrier between",
        ("order", "twice"): f"program {mine} writes {what} twice, without a barrier between",
        (
            "order",
            "replaces",
        ): f"program {mine} reads {what} and writes it from another lane, without a barrier between",
        (
            "order",
            "shared",
        ): f"all threads of program {mine} read {what} and put it into a larger block, and some write "
        "over it, without a barrier between",
        ("lanes", ""): f"two lanes of one store of program {mine} write {what} with different values",
    }
    there = {s.root for s in layout.spans(found.phase)[found.call] if s.meets(span)} - {span.root}
    also = f", and {', '.join(sorted(there))} lies there too" if there else ""
    return sentences[found.kind, found.what] + also


def _beside(found: SeenFault, span: Elements, mine: str) -> str:
    """An access that is not within its buffer, or none that may be."""
    if found.what == "only read":
        return f"program {mine} writes {span.element(found.place)} through a pointer that is only read"
    if found.place < 0:
        where = f"{-found.place:,} elements before the beginning of {span.buffer}"
    elif found.place >= span.reach:
        where = f"element {found.place:,} of {span.buffer}, which ends after {span.reach:,}"
    else:
        where = f"between the elements of {span.buffer}, {found.place:,} after its first"
    return f"program {mine} {found.what} {where}"
