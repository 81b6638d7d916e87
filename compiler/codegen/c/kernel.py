"""A kernel as a function of C: loop nests over the shared evaluator, and the function's head."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Graph
from ...kernel import Blocks
from ...loops.domain import domain_of
from ..loops import nests
from ..loops.body import Body
from ..loops.place import MemRef
from ..loops.written import Written, pointers, written
from .dialect import FAR, TYPES, C


def write_kernel(graph: Graph, kind: str, _: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]) -> Written:
    """The function of a kernel: plain loops, one element at a time."""
    far = any(place.far for place in (*operands, *results))
    body = Body(graph, operands, results, FAR if far else C)
    nests.write(domain_of(graph), body)
    return written(body, kind, text_of(body))


def text_of(body: Body) -> str:
    """A function whose statements a body has. Pointers to memory that no other one reaches say so."""
    places = pointers(body)
    arguments = ", ".join(_argument(body, place, places) for place in places)
    return "\n".join([f"static void NAME({arguments}) {{", *(f"    {line}" for line in body.lines), "}"]) + "\n"


def _argument(body: Body, place: MemRef, places: Sequence[MemRef]) -> str:
    const = "" if body.used[place] else "const "
    apart = bool(place.memory) and all(_whole(place) != _whole(other) for other in places if other is not place)
    return f"{const}{TYPES[place.dtype]} *{'restrict ' if apart else ''}{place.name}"


def _whole(place: MemRef) -> str:
    """The memory of which a place may be a part."""
    return place.memory.partition("+")[0]
