"""The loop over K of a tiled product: in which order the reduced axes are numbered, in which steps, in which parts.

All reduced axes are one number, K, of which a step takes `depth`; or, where the innermost is long enough, only that
runs along the tiles, and the others are one number a step each, which saves divisions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .. import ops
from ..graph import Node
from ..kernel import operand_number
from ..ops.partial import Parts
from ..types import SIZES
from .contraction import Axes, Contraction, size_of
from .view import Expr, Index, Var, pull

# Matrix units take no smaller sides of a tile.
LEAST = 16
# Reduced axes are numbered one by one, not as one, where that adds at most so much to the steps.
WASTE = 1.1
WIDEST = 16  # bytes that one load takes

# Where in memory an element is, of each operand of a kernel.
Addresses = Sequence[Callable[[Index], Expr]]


@dataclass(frozen=True)
class Steps:
    """The steps of a product's loop. order: the reduced axes from the outermost to the innermost. depth: of a step."""

    order: Axes
    depth: int

    @staticmethod
    def along_memory(form: Contraction, rows: int, columns: int, depth: int, operands: Addresses) -> Steps:
        """The steps in whose order the larger of the tiles (of rows, and of columns) is read along memory."""
        axes = tuple(v for v in form.reduced if v.size > 1)
        tiles = [
            (_strides(_address(side.node, side.index, operands)), size, WIDEST // SIZES[side.node.dtype])
            for side, size in ((form.left, rows), (form.right, columns))
        ]
        best, most = axes, -1.0
        for strides, _, _ in tiles:
            if strides:
                order = tuple(sorted(axes, key=lambda v: -strides.get(v, 0)))
                gain = sum(size * (1 - 1 / _run(order, of, widest)) for of, size, widest in tiles)
                if gain > most:
                    best, most = order, gain
        return Steps(best, depth)

    @staticmethod
    def of_parts(form: Contraction, parts: Parts, depth: int) -> Steps:
        """The steps of a product whose parts are known."""
        of = {axis: (v, low) for v, axis, low in _digits(form)}
        found = [(of[axis][0], low == of[axis][1]) for axis, low, _ in parts.digits]
        return Steps(tuple(v for v, _ in sorted(found, key=lambda pair: not pair[1])), depth)

    @property
    def inner(self) -> int:
        return self.order[-1].size if self.order else 1

    @property
    def separate(self) -> bool:
        """Whether only the innermost axis runs along the tiles."""
        if len(self.order) < 2 or self.inner < LEAST:
            return False
        return self.chunks * self.depth <= WASTE * self.inner

    @property
    def chunks(self) -> int:
        """The steps along the innermost axis."""
        return math.ceil(self.inner / self.depth)

    @property
    def count(self) -> int:
        if self.separate:
            return size_of(self.order[:-1]) * self.chunks
        return math.ceil(size_of(self.order) / self.depth)

    @property
    def taps_first(self) -> bool:
        """Whether all taps of some channels come before the next: what one tap read, the next finds in the cache."""
        return all(v.name.startswith("tap_") for v in self.order[:-1])

    def parts(self, form: Contraction, wanted: int) -> Parts | None:
        """K in at most so many parts, which have as many steps each, so that fewer may do; None for a single one."""
        share = math.ceil(self.count / min(wanted, self.count))
        count = math.ceil(self.count / share)
        if count == 1:
            return None
        of = {v: (axis, low, v.size) for v, axis, low in _digits(form)}
        digits = [of[v] for v in self.order]
        if self.separate:
            axis, low, _ = digits.pop()
            digits.insert(0 if self.taps_first else len(digits), (axis, low * self.depth, self.chunks))
        return Parts(count, share if self.separate else share * self.depth, 1, tuple(digits))


def _digits(form: Contraction) -> list[tuple[Var, int, int]]:
    """Each reduced axis as a digit of an axis of the second operand, each of whose elements has one place in K."""
    side = form.left if form.root.op is ops.conv_weight_grad else form.right
    found = []
    for v in (v for v in form.reduced if v.size > 1):
        axis, factor = next((a, f) for a, i in enumerate(side.index) for f, term in i.terms if term == v)
        found.append((v, axis, factor))
    return found


def _address(source: Node, index: Index, operands: Addresses) -> Expr | None:
    """Where in memory an element of an operand is, behind views and what is computed of one element."""
    while source.op is not ops.input_:
        if source.op.family == "pointwise":
            source = max(source.inputs, key=_weight)
        elif source.op.family == "movement" and len(source.inputs) == 1:
            pulled = pull(source, index)
            source, index = pulled.node, pulled.index
        else:
            return None
    return operands[operand_number(source)](index)


def _weight(node: Node) -> int:
    """How many elements are stored of what a value is read from, behind views: the most decides how to read."""
    while node.op.family == "movement":
        node = node.inputs[0]
    return 0 if node.op is ops.const else int(node.type.count)


def _strides(address: Expr | None) -> dict[Var, int]:
    """How far in memory a step of each variable leads, of those where it is always the same."""
    terms = address.terms if address is not None else ()
    return {term: abs(factor) for factor, term in terms if isinstance(term, Var)}


def _run(order: Axes, strides: Mapping[Var, int], widest: int) -> int:
    """How many elements one load may take, where neighbours along the reduced axes are neighbours in memory."""
    run = 1
    for v in reversed(order):
        if strides.get(v) != run:
            break
        run *= v.size
    return math.gcd(run, widest)
