"""Reductions over outer axes: rows that lie side by side are reduced together, a block of running values at a time.

So the sum over images and positions of each channel reads whole runs of channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from ... import ops
from ...graph import Node
from ...loops.domain import Domain
from ...loops.view import Expr, Index, Var
from ...types import least, wide
from ..loops import nests
from ..loops.body import Body
from ..loops.place import Value
from ..loops.reductions import NAMES, Accumulator, accumulate, reduced
from .dialect import type_of

FEWEST = 4  # rows side by side that are worth it
BLOCKS = (16, 64)  # running values of a block: of few rows, and of many


def fits(domain: Domain, body: Body) -> bool:
    """Whether a kernel reduces rows that lie side by side, each by itself."""
    if domain.kind != "reduce" or domain.reductions("scalar") or any(n.op is ops.argmax for n in domain.granularity):
        return False
    order = [a for a in nests.axes_in_order(domain, (*body.operands, *body.results)) if domain.space[a] > 1]
    scalar = any(of == "scalar" for of in domain.granularity.values())
    return bool(order) and order[-1] in domain.kept and domain.space[order[-1]] >= FEWEST and not scalar


def write(domain: Domain, body: Body) -> None:
    """Write the statements of a kernel: a loop over blocks of rows, in it one over what is reduced for each pass."""
    order = nests.axes_in_order(domain, (*body.operands, *body.results))
    axes = nests.axes_of(domain.space)
    lane = next(a for a in reversed(order) if domain.space[a] > 1)
    kept, inner = [a for a in order if a in domain.kept and a != lane], [a for a in order if a in domain.reduced]
    outputs, size = nests.results_of(domain, body), domain.space[lane]
    block = BLOCKS[size >= 2 * BLOCKS[1]]
    whole = type_of(body, "i32")
    with body.loops([axes[a] for a in kept]) as found:
        row = dict(zip(kept, found, strict=True))
        for word in ("first", "rows", "j"):
            body.name(word)
        with body.loop(f"for ({whole} first = 0; first < {size}; first += {block}) {{", "}"):
            body.put(f"const {whole} rows = first + {block} < {size} ? {block} : {size} - first;")
            done: list[Accumulator] = []

            @contextmanager
            def lanes(at: dict[int, Expr]) -> Iterator[Index]:
                """A loop over the rows of the block; the index of an element there."""
                name = body.name(axes[lane].name)
                var, before = Var(name, size), body.open
                with body.loop(f"#pragma omp simd\nfor ({whole} j = 0; j < rows; j++) {{", "}"):
                    body.put(f"const {whole} {name} = first + j;")
                    body.open, body.lane = (*before, var), var
                    index = nests.index_of({**row, **at, lane: body.bind(var, name)})
                    for acc in done:
                        of = reduced(acc.node, nests.element(domain, _first(domain, index), acc.node.inputs[0]))
                        body.preset(acc.node, of, Value(acc.name, acc.dtype, level=body.level))
                    yield index
                body.open, body.lane = before, None

            for now in range(max(domain.passes, 1 + domain.waiting)):
                running = [
                    _running(body, node, block) for node in domain.reductions("row") if domain.phase(node) == now
                ]
                with lanes({a: Expr.of(0) for a in inner}):
                    for acc in running:
                        body.put(body.dialect.update(acc.name, _start(body, acc.node).text))
                with (
                    body.loops([axes[a] for a in inner]) as found,
                    lanes(dict(zip(inner, found, strict=True))) as index,
                ):
                    accumulate(body, running, partial(nests.element, domain, index))
                    body.store_all(
                        (place, nests.element(domain, index, node), node)
                        for node, place in outputs
                        if domain.granularity[node] == "element"
                        and domain.written(node, over=nests.overwrites(place, body.operands)) == now
                    )
                done += running
            with lanes({a: Expr.of(0) for a in inner}) as index:
                body.store_all(
                    (place, domain.row_index(index, node), node)
                    for node, place in outputs
                    if domain.granularity[node] == "row"
                )


def _running(body: Body, node: Node, block: int) -> Accumulator:
    """A running value for each row of a block."""
    name, dtype = body.name(NAMES[node.op.name]), wide(node.dtype)
    body.put(f"{type_of(body, dtype)} {name}[{block}];")
    return Accumulator(node, dtype, f"{name}[j]")


def _start(body: Body, node: Node) -> Value:
    x = node.inputs[0]
    return body.number(least(x.dtype) if node.op is ops.max_reduce else 0, x.dtype)


def _first(domain: Domain, index: Index) -> Index:
    return tuple(Expr.of(0) if a in domain.reduced else e for a, e in enumerate(index))
