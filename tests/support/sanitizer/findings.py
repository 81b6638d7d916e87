"""Faults of memory accesses: as the process counts them, and as people read them, with kernels, layers and elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netc.compiler.program import Program

from .spans import Elements, spans_of

Number = Sequence[int]  # of a program of a grid


@dataclass
class SeenFault:
    """A fault as it was seen first, and how many elements show it.

    call, argument: of the phase's launches; argument -1: no buffer is meant. place: elements behind the buffer's
    start. other: the program on the other side of a race. same: the values on both sides are equal. line: of the text.
    """

    kind: str
    what: str
    phase: str
    call: int
    argument: int
    place: int
    program: Number
    other: Number | None = None
    same: bool = False
    line: str = ""
    count: int = 0


@dataclass(frozen=True)
class AccessFault:
    """A kernel that accesses memory in a way that a GPU does not forgive.

    kind: race, order, lanes or bounds, see `sanitizer`. function, layers, places: of the kernel. buffer: which is
    meant. told: what happens, in words. count: of elements. line: of the kernel's text.
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


def faults_of(program: Program, rows: Iterable[Mapping[str, Any]]) -> list[AccessFault]:
    """What was found, in words."""
    return [_fault(program, SeenFault(**row)) for row in rows]


def _fault(program: Program, found: SeenFault) -> AccessFault:
    launch = [launch for launch in program.launches if launch.phase == found.phase][found.call]
    spans = spans_of(program, found.phase)[found.call]
    span = spans[found.argument] if found.argument >= 0 else None
    told = _told(spans, found, span, len(launch.grid))
    buffer = "" if span is None else span.buffer
    return AccessFault(found.kind, launch.function, launch.layers, launch.places, buffer, told, found.count, found.line)


def _told(spans: Sequence[Elements], found: SeenFault, span: Elements | None, axes: int) -> str:
    """What happens."""

    def number(program: Number | None) -> str:
        first = list(program or ())[: max(axes, 1)]
        return str(first[0]) if len(first) == 1 else f"({', '.join(map(str, first))})"

    mine, other = number(found.program), number(found.other)
    if span is None:
        return f"program {mine} {found.what} at an address that is far from all of its buffers"
    what = span.element(found.place)
    if found.kind == "bounds":
        return _beside(found, span, mine)
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
    there = {s.root for s in spans if s.meets(span)} - {span.root}
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
