"""Reductions over outer axes: rows that lie side by side are reduced together, a block of running values at a time.

So the sum over images and positions of each channel reads whole runs of channels.
"""

from __future__ import annotations

from functools import partial

from ... import ops
from ...loops.domain import Domain
from ...loops.view import Expr
from ..loops import nests
from ..loops.body import Body
from ..loops.place import Value
from ..loops.reductions import Accumulator, accumulate, reduced
from .lanes import Lanes

FEWEST = 4  # rows side by side that are worth it
MOST = 64  # running values of a block
VECTOR = 16  # a block is a multiple of so many


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
    with body.loops([axes[a] for a in kept]) as found:
        row = dict(zip(kept, found, strict=True))
        lanes = Lanes(body, axes[lane].name, size, min(-(-size // (2 * VECTOR)) * VECTOR, MOST))
        row[lane] = Expr.of(lanes.var)
        first = nests.index_of({**row, **dict.fromkeys(inner, Expr.of(0))})
        done: list[Accumulator] = []

        def known() -> None:
            for acc in done:
                of = reduced(acc.node, nests.element(domain, first, acc.node.inputs[0]))
                body.preset(acc.node, of, Value(acc.name, acc.dtype, level=body.level))

        with lanes.blocks():
            for now in range(max(domain.passes, 1 + domain.waiting)):
                running = lanes.running(node for node in domain.reductions("row") if domain.phase(node) == now)
                written = nests.written_in(domain, body, now)
                with body.loops([axes[a] for a in inner]) as found:
                    index = nests.index_of({**row, **dict(zip(inner, found, strict=True))})
                    at = partial(nests.element, domain, index)
                    read = [*(acc.node.inputs[0] for acc in running), *(node for node, _ in written)]
                    with lanes.windows([(node, at(node)) for node in read]) as told, lanes.each():
                        known()
                        told()
                        accumulate(body, running, at)
                        body.store_all((place, at(node), node) for node, place in written)
                done += running
            with lanes.each():
                known()
                body.store_all(
                    (place, domain.row_index(first, node), node)
                    for node, place in outputs
                    if domain.granularity[node] == "row"
                )
