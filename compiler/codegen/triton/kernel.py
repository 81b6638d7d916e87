"""A kernel as the text of a Triton function, and what is to be known to launch it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...graph import Graph
from ...kernel import Blocks
from ...program import Argument
from ...types import Literal
from ..loops.body import Body
from ..loops.place import Place


@dataclass(frozen=True)
class Written:
    """A function: its text with NAME for its name, the functions that it calls, and how it is launched.

    places: what its pointers point to, in order. literals: the arrays behind those places that are constants. scratch:
    memory for partial sums; finish: the body that adds them and computes the other results, which reads that memory as
    its last operand.
    """

    kind: str
    text: str
    helpers: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]
    arguments: tuple[Argument, ...]
    constants: tuple[tuple[str, int], ...]
    grid: tuple[int, ...]
    warps: int
    stages: int
    literals: tuple[tuple[str, Literal], ...] = ()
    scratch: Place | None = None
    finish: Graph | None = None

    @property
    def key(self) -> str:
        """Names the function by what it does."""
        told = (self.text, self.helpers, self.arguments, self.constants, self.warps, self.stages)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def function(
    body: Body,
    kind: str,
    blocks: Blocks,
    *,
    grid: Sequence[int],
    constants: Sequence[tuple[str, int]],
    note: str = "",
    scratch: Place | None = None,
    finish: Graph | None = None,
) -> Written:
    """The function whose statements a body has written.

    constants: the sizes of blocks, those that the text does not name are left out. note: ends the docstring.
    """
    literals = {place: literal for literal, place in body.constants.items()}
    order = [*body.operands, *literals, *body.results, *((scratch,) if scratch else ())]
    places = list(dict.fromkeys(place for place in order if place in body.used))
    text = "\n".join(f"    {line}" for line in body.scopes[0].lines)
    kept = tuple((name, size) for name, size in constants if name in text)
    names = dict.fromkeys(n.op.name for n in body.graph.order if n.op.family in ("pointwise", "reduce", "index"))
    names |= dict.fromkeys(n.op.name for n in body.graph.order if n.op.name in ("random", "unwindow"))
    names |= dict.fromkeys(n.op.name for n in body.graph.order if n.op.family == "contract")
    title = f"{kind}: {', '.join(names)}" if names else kind
    header = ", ".join([*(place.name for place in places), *(f"{name}: tl.constexpr" for name, _ in kept)])
    lines = ["@triton.jit", f"def NAME({header}):", f'    """{title}{note}."""', text]
    return Written(
        kind,
        "\n".join(lines) + "\n",
        tuple(sorted(body.helpers.items())),
        tuple(places),
        tuple(Argument(p.name, p.dtype, p.aligned, body.used[p]) for p in places),
        kept,
        tuple(grid),
        blocks.warps,
        blocks.stages,
        tuple((place.name, literals[place]) for place in places if place in literals),
        scratch,
        finish,
    )


def renamed(places: Sequence[Place], prefix: str) -> tuple[Place, ...]:
    """Places under the names of a kernel's pointers: in0, in1, …"""
    return tuple(replace(place, name=f"{prefix}{i}") for i, place in enumerate(places))
