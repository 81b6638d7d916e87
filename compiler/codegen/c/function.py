"""The head of a function of C: its pointers, and what is known of the memory behind them; and how threads share it."""

from __future__ import annotations

from collections.abc import Sequence

from ..loops.body import Body
from ..loops.place import MemRef
from ..loops.written import pointers
from .dialect import TYPES

SIMD = "#pragma omp simd"


def function(body: Body, *, shared: bool) -> str:
    """A function whose statements a body has. shared: the turns of its outermost loop do not need each other."""
    places, lines = pointers(body), list(body.lines)
    loops = [k for k, line in enumerate(lines) if line.startswith("for (")]
    if shared and len(loops) == 1:
        # Each thread takes a part of the turns, always the same one.
        (k,) = loops
        before = lines[k - 1] if k else ""
        simd, told = before == SIMD, before.startswith("#pragma")
        lines[k - told : k] = [f"#pragma omp for{' simd' * simd} schedule(static)"]
    else:
        lines = ["#pragma omp single", "{", *(f"    {line}" for line in lines), "}"]
    arguments = ", ".join(argument(body, place, places) for place in places)
    return "\n".join([f"static void NAME({arguments}) {{", *(f"    {line}" for line in lines), "}"]) + "\n"


def argument(body: Body, place: MemRef, places: Sequence[MemRef]) -> str:
    """A pointer; to memory that no other one reaches it says so."""
    const = "" if body.used[place] else "const "
    apart = bool(place.memory) and all(_whole(place) != _whole(other) for other in places if other is not place)
    return f"{const}{TYPES[place.dtype]} *{'restrict ' if apart else ''}{place.name}"


def _whole(place: MemRef) -> str:
    """The memory of which a place may be a part."""
    return place.memory.partition("+")[0]
