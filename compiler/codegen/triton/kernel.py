"""A kernel to be written in Triton: what its template is given, and the text of its function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...graph import Graph, Node
from ...kernel import Blocks
from ...loops.domain import Domain, domain_of
from ...ops.partial import Parts
from ..loops.body import Body
from ..loops.place import MemRef
from ..loops.written import Written, pointers, written
from .dialect import TRITON


@dataclass(frozen=True)
class Kernel:
    """A body with its schedule, and where its operands and its results are.

    kind: how it is called. parts: of what is summed in parts; the results of these have an axis for them in front.
    """

    graph: Graph
    kind: str
    blocks: Blocks
    operands: Sequence[MemRef]
    results: Sequence[MemRef]
    parts: Mapping[Node, Parts] = field(default_factory=dict)

    @property
    def domain(self) -> Domain:
        return domain_of(self.graph)

    @property
    def far(self) -> bool:
        """Whether numbers of elements do not fit 32 bits."""
        return any(place.far for place in (*self.operands, *self.results))

    @property
    def program(self) -> str:
        """The number of the program, along the first axis of the grid."""
        return "tl.program_id(0).to(tl.int64)" if self.far else "tl.program_id(0)"

    def body(self, *sizes: str) -> Body:
        """Its statements, over a block of these dimensions."""
        return Body(self.graph, self.operands, self.results, TRITON, sizes)


def overhang(body: Body, name: str, inside: str, size: int, block: int) -> str:
    """The name of whether a number is below its end; nothing where blocks end there."""
    if size % block == 0:
        return ""
    inside = body.name(inside)
    body.put(f"{inside} = {name} < {size}")
    return inside


def function(
    kernel: Kernel,
    body: Body,
    *,
    grid: Sequence[int],
    constants: Sequence[tuple[str, int]],
    note: str = "",
) -> Written:
    """The function whose statements a body has written.

    constants: the sizes of blocks, those that the text does not name are left out. note: ends the docstring.
    """
    body.proof.grid(grid)
    text = "\n".join(f"    {line}" for line in body.lines)
    kept = tuple((name, size) for name, size in constants if name in text)
    order = kernel.graph.order
    names = dict.fromkeys(n.op.name for n in order if n.op.family in ("pointwise", "reduce", "index"))
    names |= dict.fromkeys(n.op.name for n in order if n.op.name in ("random", "unwindow"))
    names |= dict.fromkeys(n.op.name for n in order if n.op.family == "contract")
    title = f"{kernel.kind}: {', '.join(names)}" if names else kernel.kind
    header = ", ".join([*(p.name for p in pointers(body)), *(f"{name}: tl.constexpr" for name, _ in kept)])
    lines = ["@triton.jit", f"def NAME({header}):", f'    """{title}{note}."""', text]
    return replace(
        written(body, kernel.kind, "\n".join(lines) + "\n"),
        constants=kept,
        grid=tuple(grid),
        warps=kernel.blocks.warps,
        stages=kernel.blocks.stages,
    )
