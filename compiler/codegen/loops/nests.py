"""Scalar loop nests: a kernel as plain loops over its domain, for a dialect that computes one element at a time.

Which loops there are follows from the domain; what stands in them is the evaluator's. Whatever a kernel is, all results
at an index are computed before one of them is stored, since it may lie where an operand did.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

from ... import ops
from ...graph import Node
from ...loops.contraction import contraction, replaced
from ...loops.domain import Domain, followed, shape
from ...loops.view import Expr, Index, Var, reindex, unflat
from ...types import wide
from ..strides import Ints
from .body import Body
from .place import OTHER, PRODUCT, UNARY, MemRef, Value
from .reductions import accumulate, reduced, started

SMALL = 16  # elements of an axis that is read in few cache lines


def write(domain: Domain, body: Body) -> None:
    """Write the statements of a kernel into its body."""
    if domain.product:
        _product(domain, body)
    elif domain.kind == "reduce":
        _reduce(domain, body)
    elif domain.root.op is ops.scatter_add:
        _scatter(domain, body)
    else:
        _map(domain, body)


def axes_in_order(domain: Domain, places: Sequence[MemRef]) -> Ints:
    """The axes of the space as they lie in memory, the outermost first: in the first place that has them all.

    A choice takes the first of equal elements, which the order of axes numbers.
    """
    plain = tuple(range(len(domain.space)))
    if any(node.op is ops.argmax for node in domain.granularity):
        return plain
    return next((place.order for place in places if place.shape == domain.space and place.strides), plain)


def overwrites(place: MemRef, operands: Sequence[MemRef]) -> bool:
    """Whether a result lies where an operand does."""
    return bool(place.memory) and place.memory in {x.memory for x in operands}


def axes_of(sizes: Sequence[int]) -> list[Var]:
    return [Var(f"i{a}", int(n)) for a, n in enumerate(sizes)]


def _map(domain: Domain, body: Body) -> None:
    sizes, (order, taps) = shape(domain.outputs[0]), loop_order(body)
    axes = axes_of(sizes)
    # Where taps come last, blocks of the two outermost axes stay inside of them: they lie in few lines on both sides.
    block = {a: SMALL if taps and a in order[:2] and sizes[a] % SMALL == 0 else 1 for a in order}
    blocked = any(n > 1 for n in block.values())
    with (
        body.loops([Var(axes[a].name, sizes[a] // block[a]) for a in order], apart=not taps) as outer,
        body.loops([axes[a] for a in taps], unrolled=not blocked) as inner,
        body.loops([Var("j", n) for n in block.values()]) as within,
    ):
        found = [o * n + j for o, n, j in zip(outer, block.values(), within, strict=True)]
        at = dict(zip((*order, *taps), (*found, *inner), strict=True))
        index = tuple(at[a] for a in range(len(axes)))
        body.store_all((place, reindex(index, sizes, node.shape), node) for node, place in results_of(domain, body))


def loop_order(body: Body) -> tuple[Ints, Ints]:
    """The axes of the first result, the outermost loop first: as they lie there, but for a transposition.

    Where an operand of the same shape has small axes innermost that are outermost in the result, as the taps of a
    weight, they come last, apart from the others: what lies in one cache line is then read while that is there.
    """
    order = body.results[0].order
    for place in body.operands:
        if place.shape == body.results[0].shape and place.strides and place.order != order:
            inside = tuple(a for a in order if 1 < place.shape[a] <= SMALL and place.strides[a] < SMALL**2)
            if inside and inside == order[: len(inside)]:
                return order[len(inside) :], inside
    return order, ()


def results_of(domain: Domain, body: Body) -> list[tuple[Node, MemRef]]:
    return list(zip(domain.outputs, body.results, strict=True))


def written_in(domain: Domain, body: Body, now: int) -> list[tuple[Node, MemRef]]:
    """The outputs of all elements that are written in a pass over the rows."""
    return [
        (node, place)
        for node, place in results_of(domain, body)
        if domain.granularity[node] == "element" and domain.written(node, over=overwrites(place, body.operands)) == now
    ]


def _reduce(domain: Domain, body: Body) -> None:
    """A loop over rows, in it one over their elements for each pass; then what needs all rows."""
    order = axes_in_order(domain, (*body.operands, *body.results))
    axes = axes_of(domain.space)
    kept, inner = ([a for a in order if a in of] for of in (domain.kept, domain.reduced))
    outputs = results_of(domain, body)
    totals = started(body, domain.reductions("scalar"), body.variable)
    with body.loops([axes[a] for a in kept]) as found:
        row = dict(zip(kept, found, strict=True))
        first = index_of({**row, **dict.fromkeys(inner, Expr.of(0))})
        for now in range(max(domain.passes, 1 + domain.waiting)):
            running = started(body, [n for n in domain.reductions("row") if domain.phase(n) == now], body.variable)
            with body.loops([axes[a] for a in inner]) as found:
                index = index_of({**row, **dict(zip(inner, found, strict=True))})
                at = partial(element, domain, index)
                accumulate(body, running, at)
                body.store_all((place, at(node), node) for node, place in written_in(domain, body, now))
            for acc in running:
                index = reduced(acc.node, element(domain, first, acc.node.inputs[0]))
                body.preset(acc.node, index, Value(acc.name, acc.dtype, level=body.level))
        accumulate(body, totals, lambda x: domain.row_index(first, x))
        body.store_all(
            (place, domain.row_index(first, node), node) for node, place in outputs if domain.granularity[node] == "row"
        )
    for acc in totals:
        body.preset(acc.node, (Expr.of(0),) * len(acc.node.shape), Value(acc.name, acc.dtype))
    body.store_all(
        (place, (Expr.of(0),) * len(node.shape), node)
        for node, place in outputs
        if domain.granularity[node] == "scalar"
    )


def element(domain: Domain, index: Index, node: Node) -> Index:
    """The element of a node that has as many as the space."""
    return reindex(index, domain.space, node.shape)


def index_of(at: Mapping[int, Expr]) -> Index:
    return tuple(at[a] for a in range(len(at)))


def _product(domain: Domain, body: Body) -> None:
    """A loop over the result, in it one over what is summed."""
    root, product = domain.root, contraction(domain.root)
    outer = [*product.batch, *product.rows, *product.columns]
    with ExitStack() as stack:
        at = dict(zip(outer, stack.enter_context(body.loops(outer)), strict=True))
        tile = product.substitute(at)
        stack.enter_context(body.branch(tile.guards))
        total = body.variable("total", Value("0", wide(root.dtype), number=0))
        with body.loops(product.reduced) as found:
            at |= zip(product.reduced, found, strict=True)
            sides = [replaced(side, at) for side in (product.left, product.right)]
            a, b = (body.floating(body.masked(side.node, side.index, 0, side.guards)) for side in sides)
            body.put(body.dialect.update(total, f"{a.within(PRODUCT)} * {b.within(UNARY)}", "+"))
        finish(domain, body, tile.result, total)


def _scatter(domain: Domain, body: Body) -> None:
    """A loop over the table, in it one over all numbers of rows: those that name the row are added, in their order."""
    root = domain.root
    numbers, source = root.inputs
    with body.loops(axes_of(root.shape)) as index:
        total = body.variable("total", Value("0", wide(root.dtype), number=0))
        with body.loops([Var("k", numbers.type.count)]) as (k,):
            element = unflat(k, numbers.shape)
            own = body.expr(body.row_of(numbers, element, int(root.shape[0]), ()))
            mine = Value(f"{own.within(PRODUCT)} == {body.expr(index[0]).within(PRODUCT)}", "bool", tight=OTHER)
            with body.loop(*body.dialect.branch(mine)):
                value = body.floating(body.at(source, (*element, *index[1:])))
                body.put(body.dialect.update(total, value.text, "+"))
        finish(domain, body, index, total)


def finish(domain: Domain, body: Body, index: Index, total: str, axes: frozenset[int] = frozenset()) -> None:
    """Write what follows on a sum that is there, at its index. axes: dimensions of the block along which it varies."""
    body.preset(domain.root, index, Value(total, wide(domain.root.dtype), axes, body.level))
    _, indices = followed(body.graph, domain.root, index)
    body.store_all(zip(body.results, indices, domain.outputs, strict=True))
