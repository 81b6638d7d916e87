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

    flat: one row at a time, so that a block has one dimension. parts: into which the rows are cut, if they are.
    one_pass: whether a block holds whole rows.
    """

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.domain, self.blocks = kernel, kernel.domain, kernel.blocks
        self.rows, self.length = self.domain.rows, self.domain.length
        blocks = self.blocks
        self.parts = next((kernel.parts[n] for n in self.domain.reductions("row") if n in kernel.parts), None)
        self.part = Var("program", self.parts.count if self.parts is not None else 1)
        self.one_pass = self.parts is None and blocks.depth >= self.length
        self.flat = blocks.rows == 1 or self.rows == 1
        self.body = kernel.body(*("DEPTH",) if self.flat else ("ROWS", "DEPTH"))
        for name in ("row", "k", "k_inside", "part", "start"):
            self.body.name(name)
        self.programs = -(-self.rows // blocks.rows)
        self.order = axes_in_order(self.domain, (*kernel.operands, *kernel.results))
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
        if self.parts is not None:
            body.put(f"part = tl.program_id(1) * {self.parts.share}")
            body.bind(self.part, "tl.program_id(1)", spread=Spread("parts", self.parts.count, 1))

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
            if self.parts is not None:
                first, end, block = "part", f"part + {self.parts.share}", self.parts.share
            with body.loop(f"for start in range({first}, {end}, DEPTH):"):
                body.put(f"k = start + {steps}")
                self._bind_k(self.part.size * block != self.length, block)
                yield

    def _bind_k(self, overhangs: bool, block: int) -> None:
        """block: how many values of k a program goes through, those beyond the end of the row included."""
        inside = "k_inside" if overhangs else ""
        if inside:
            self.body.put(f"{inside} = k < {self.length}")
        self.body.bind(self.k, "k", 0 if self.flat else 1, inside, Spread("parts", self.part.size, block))

    def index(self) -> Index:
        """The element of the space at which a program is; rows and elements are counted as they lie in memory."""
        found: dict[int, Expr] = {}
        for var, axes in ((self.row, self.domain.kept), (self.k, self.domain.reduced)):
            own = [a for a in self.order if a in axes]
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
