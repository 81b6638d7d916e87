"""Pooling and normalization within channels, and their gradients: windows over axes outside of the innermost one.

Each element along that axis has a running value in the cache; loops over the positions of the window, which begin and
end where there are elements, add to a block of them at a time.
"""

from __future__ import annotations

from contextlib import ExitStack

from ...kernel import window_axes
from ...loops.domain import Domain
from ...loops.view import Expr
from ..loops import nests
from ..loops.body import Body
from .lanes import Lanes

FEWEST = 4  # elements side by side that are worth it
BLOCK = 256  # running values of a block at most


def fits(domain: Domain, body: Body) -> bool:
    """Whether a kernel reads windows, and the elements that it writes lie side by side as those that it reads."""
    if domain.kind != "window" or not any(window_axes(node) for node in body.graph.order):
        return False
    return _lane(domain, body) is not None


def write(domain: Domain, body: Body) -> None:
    """Write the statements of a kernel."""
    lane, outputs = _lane(domain, body), nests.results_of(domain, body)
    assert lane is not None
    order = [a for a in _order(domain, body) if a != lane]
    axes = nests.axes_of(domain.space)
    with ExitStack() as stack:
        at = dict(zip(order, stack.enter_context(body.loops([axes[a] for a in order])), strict=True))
        lanes = Lanes(body, axes[lane].name, domain.space[lane], BLOCK)
        index = nests.index_of({**at, lane: Expr.of(lanes.var)})
        stack.enter_context(lanes.blocks())
        wanted = [(node, nests.element(domain, index, node)) for node, _ in outputs]
        told = stack.enter_context(lanes.windows(wanted))
        stack.enter_context(lanes.each())
        told()
        body.store_all((place, at, node) for (node, at), (_, place) in zip(wanted, outputs, strict=True))


def _order(domain: Domain, body: Body) -> tuple[int, ...]:
    """The axes as they lie in the first array that has as many, or more of size 1; else as they are numbered."""
    rank = len(domain.space)
    for place in (*body.operands, *body.results):
        if len(place.shape) >= rank and place.strides and all(n == 1 for n in place.shape[rank:]):
            return tuple(a for a in place.order if a < rank)
    return tuple(range(rank))


def _lane(domain: Domain, body: Body) -> int | None:
    order = [a for a in _order(domain, body) if domain.space[a] > 1]
    return order[-1] if order and domain.space[order[-1]] >= FEWEST else None
