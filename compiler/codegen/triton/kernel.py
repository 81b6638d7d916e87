"""A kernel as the text of a Triton function: head, docstring, and the statements that a body has written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...graph import Graph
from ...kernel import Blocks
from ..loops.body import Body
from ..loops.place import Place
from ..loops.written import Written, pointers, written


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
    body.proof.grid(grid)
    text = "\n".join(f"    {line}" for line in body.scopes[0].lines)
    kept = tuple((name, size) for name, size in constants if name in text)
    names = dict.fromkeys(n.op.name for n in body.graph.order if n.op.family in ("pointwise", "reduce", "index"))
    names |= dict.fromkeys(n.op.name for n in body.graph.order if n.op.name in ("random", "unwindow"))
    names |= dict.fromkeys(n.op.name for n in body.graph.order if n.op.family == "contract")
    title = f"{kind}: {', '.join(names)}" if names else kind
    header = ", ".join([*(p.name for p in pointers(body, scratch)), *(f"{name}: tl.constexpr" for name, _ in kept)])
    lines = ["@triton.jit", f"def NAME({header}):", f'    """{title}{note}."""', text]
    return replace(
        written(body, kind, "\n".join(lines) + "\n", scratch),
        constants=kept,
        grid=tuple(grid),
        warps=blocks.warps,
        stages=blocks.stages,
        finish=finish,
    )
