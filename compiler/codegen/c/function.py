"""The head of a function of C: its pointers, and what is known of the memory behind them; and how threads share it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..loops.body import Body
from ..loops.place import MemRef
from ..loops.written import pointers
from .dialect import TYPES

SIMD = "#pragma omp simd"
CONSTRUCT = re.compile(r"^ *#pragma omp (?:for|single)\b(.*)$", re.MULTILINE)


def function(body: Body, *, shared: bool) -> str:
    """A function whose statements a body has. shared: the turns of its outermost loop do not need each other, which is
    proved."""
    places, lines = pointers(body), list(body.lines)
    loops = [k for k, line in enumerate(lines) if line.startswith("for (")]
    if shared and len(loops) == 1:
        # Each thread takes a part of the turns, always the same one.
        (k,) = loops
        if len(body.outermost) != 1:
            body.proof.refuse("race", "threads share out a loop of which is not known what it iterates")
        body.proof.shared(body.outermost, _beside(lines, k))
        before = lines[k - 1] if k else ""
        simd, told = before == SIMD, before.startswith("#pragma")
        lines[k - told : k] = [f"#pragma omp for{' simd' * simd} schedule(static)"]
    else:
        lines = ["#pragma omp single", "{", *(f"    {line}" for line in lines), "}"]
    arguments = ", ".join(argument(body, place, places) for place in places)
    return "\n".join([f"static void NAME({arguments}) {{", *(f"    {line}" for line in lines), "}"]) + "\n"


def _beside(lines: Sequence[str], k: int) -> list[str]:
    """What all threads do beside the loop of which line `k` is the head, but for what they compute for themselves."""
    behind = lines.index("}", k) + 1
    return [line for line in (*lines[:k], *lines[behind:]) if not line.startswith(("const ", "#pragma "))]


def waits(body: Body, text: str) -> bool:
    """Whether all threads have done their part of a kernel before one of them goes on.

    So they do at the end of what shares a kernel out, if that does not say otherwise; there is one such construct, and
    nothing stands beside it.
    """
    found = CONSTRUCT.findall(text)
    if len(found) != 1:
        body.proof.refuse("race", f"threads share it out by {len(found)} constructs, not by one")
    return "nowait" not in found[0]


def argument(body: Body, place: MemRef, places: Sequence[MemRef]) -> str:
    """A pointer; to memory that no other one reaches it says so."""
    const = "" if body.used[place] else "const "
    apart = bool(place.memory) and all(_whole(place) != _whole(other) for other in places if other is not place)
    return f"{const}{TYPES[place.dtype]} *{'restrict ' if apart else ''}{place.name}"


def _whole(place: MemRef) -> str:
    """The memory of which a place may be a part."""
    return place.memory.partition("+")[0]
