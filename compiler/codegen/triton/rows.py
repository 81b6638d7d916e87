"""Loops of a row reduction: the rows of a program, and its pass over their elements."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...graph import Node
from ...loops.view import Expr, Index, Var, reindex, unflat
from ..loops.nests import axes_in_order
from ..loops.place import Spread
from .kernel import Kernel, overhang


class Rows:
    """Rows of a space and the elements of each; a program takes `blocks.rows` of them.

    flat: one row at a time, so that a block has one dimension. split: into how many parts of `share` elements the rows
    are cut. one_pass: whether a block holds whole rows.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.domain, self.blocks = kernel, kernel.domain, kernel.blocks
        self.rows, self.length = self.domain.rows, self.domain.length
        blocks = self.blocks
        steps = -(-self.length // blocks.depth)
        self.share = max(1, -(-steps // blocks.split)) * blocks.depth
        self.split = max(1, -(-self.length // self.share))
        self.one_pass = self.split == 1 and blocks.depth >= self.length
        self.flat = blocks.rows == 1 or self.rows == 1
        self.body = kernel.body(*("DEPTH",) if self.flat else ("ROWS", "DEPTH"))
        for name in ("row", "k", "k_inside", "part", "start"):
            self.body.name(name)
        self.programs = -(-self.rows // blocks.rows)
        self.row = Var("row", self.rows)
        self.k = Var("k", self.length)

    def bind_rows(self) -> None:
        body, size = self.body, self.blocks.rows
        if self.flat and self.rows > 1:
            body.put(f"row = {self.kernel.program}")
            body.bind(self.row, "row", spread=Spread("rows", self.programs, 1))
        elif not self.flat:
            body.put(f"row = {self.kernel.program} * ROWS + tl.arange(0, ROWS)[:, None]")
            inside = overhang(body, "row", "row_inside", self.rows, size)
            body.bind(self.row, "row", 0, inside, Spread("rows", self.programs, size))

    @contextmanager
    def elements(self) -> Iterator[None]:
        """All elements of the rows: at once where they fit, else in a loop."""
        body, depth = self.body, self.blocks.depth
        steps = "tl.arange(0, DEPTH)" if self.flat else "tl.arange(0, DEPTH)[None, :]"
        if self.length <= 1:
            yield
        elif self.one_pass:
            if self.k not in body.bounds:
                body.put(f"k = {steps}")
                self._bind_k(depth != self.length, depth)
            yield
        else:
            first, end, block = "0", str(self.length), -(-self.length // depth) * depth
            if self.split > 1:
                first, end, block = "part", f"part + {self.share}", self.share
            with body.loop(f"for start in range({first}, {end}, DEPTH):"):
                body.put(f"k = start + {steps}")
                self._bind_k(self.length % depth != 0 or self.split * self.share != self.length, block)
                yield

    def _bind_k(self, overhangs: bool, block: int) -> None:
        """block: how many values of k a program goes through, those beyond the end of the row included."""
        inside = "k_inside" if overhangs else ""
        if inside:
            self.body.put(f"{inside} = k < {self.length}")
        self.body.bind(self.k, "k", 0 if self.flat else 1, inside, Spread("parts", self.split, block))

    def index(self) -> Index:
        """The element of the space at which a program is; rows and elements are counted as they lie in memory."""
        order = axes_in_order(self.domain, (*self.kernel.operands, *self.kernel.results))
        found: dict[int, Expr] = {}
        for var, axes in ((self.row, self.domain.kept), (self.k, self.domain.reduced)):
            own = [a for a in order if a in axes]
            found |= zip(own, unflat(Expr.of(var), [self.domain.space[a] for a in own]), strict=True)
        return tuple(found[a] for a in range(len(self.domain.space)))

    def row_index(self, node: Node) -> Index:
        """The index of a row's value in a node that has one element for each row."""
        return self.domain.row_index(self.index(), node)

    def at(self, node: Node) -> Index:
        """The index of the program's element in a node that has as many as the space."""
        return reindex(self.index(), self.domain.space, node.shape)

    def beyond(self) -> tuple[Var, ...]:
        """The condition that an element is not beyond the end of its row."""
        return self.body.overhang([self.k]) if self.k in self.body.bounds else ()
