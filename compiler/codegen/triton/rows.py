"""Where a program of a reduction is: its rows, and the elements of them that it goes through."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ... import ops
from ...graph import Graph, Node
from ...kernel import Blocks
from ...loops.domain import Form
from ...loops.view import Expr, Index, Var, reindex
from ..loops.body import Body
from ..loops.place import Place
from .dialect import TRITON
from .map import in_order


class Rows:
    """Rows of a space and the elements of each; a program takes `blocks.rows` of them.

    flat: one row at a time, so that a block has one dimension. split: into how many parts of `share` elements the rows
    are cut. one_pass: whether a block holds whole rows.
    """

    def __init__(
        self,
        graph: Graph,
        form: Form,
        blocks: Blocks,
        operands: Sequence[Place],
        results: Sequence[Place],
        *,
        split: int,
    ) -> None:
        self.graph, self.form, self.blocks = graph, form, blocks
        self.operands, self.results = operands, results
        self.kept = [a for a in range(len(form.space)) if a not in form.reduced]
        self.length = math.prod(form.space[a] for a in form.reduced)
        self.rows = math.prod(form.space[a] for a in self.kept)
        steps = -(-self.length // blocks.depth)
        self.share = max(1, -(-steps // split)) * blocks.depth
        self.split = max(1, -(-self.length // self.share))
        self.one_pass = self.split == 1 and blocks.depth >= self.length
        self.flat = blocks.rows == 1 or self.rows == 1
        self.body = Body(graph, operands, results, TRITON, ("DEPTH",) if self.flat else ("ROWS", "DEPTH"))
        for name in ("row", "k", "k_inside", "part", "start"):
            self.body.name(name)
        self.programs = -(-self.rows // blocks.rows)
        self.row = Var("row", self.rows)
        self.k = Var("k", self.length)

    def bind_rows(self) -> None:
        body, size = self.body, self.blocks.rows
        far = any(place.far for place in (*self.operands, *self.results))
        program = "tl.program_id(0).to(tl.int64)" if far else "tl.program_id(0)"
        if self.rows == 1:
            return
        if self.flat:
            body.put(f"row = {program}")
            body.bind(self.row, "row")
            return
        body.put(f"row = {program} * ROWS + tl.arange(0, ROWS)[:, None]")
        inside = ""
        if self.rows % size:
            inside = body.name("row_inside")
            body.put(f"{inside} = row < {self.rows}")
        body.bind(self.row, "row", 0, inside)

    @contextmanager
    def elements(self) -> Iterator[None]:
        """All elements of the rows: at once where they fit, else in a loop."""
        body, depth = self.body, self.blocks.depth
        steps = "tl.arange(0, DEPTH)" if self.flat else "tl.arange(0, DEPTH)[None, :]"
        axis = 0 if self.flat else 1
        if self.length <= 1:
            yield
        elif self.one_pass:
            if self.k not in body.bounds:
                body.put(f"k = {steps}")
                self._bind_k(axis, depth != self.length, str(self.length))
            yield
        else:
            first, end = ("0", str(self.length))
            if self.split > 1:
                first, end = "part", f"part + {self.share}"
            with body.loop(f"for start in range({first}, {end}, DEPTH):"):
                body.put(f"k = start + {steps}")
                self._bind_k(axis, self.length % depth != 0 or self.split * self.share != self.length, str(self.length))
                yield

    def _bind_k(self, axis: int, overhangs: bool, end: str) -> None:
        inside = ""
        if overhangs:
            inside = "k_inside"
            self.body.put(f"{inside} = k < {end}")
        self.body.bind(self.k, "k", axis, inside)

    def index(self) -> Index:
        """The element of the space at which a program is; rows and elements are counted as they lie in memory."""
        order = self._order()
        found: dict[int, Expr] = {}
        for var, axes in ((self.row, self.kept), (self.k, self.form.reduced)):
            own = [a for a in order if a in axes]
            shape = [self.form.space[a] for a in own]
            digits = in_order(Expr.of(var), shape, range(len(own)))
            found |= dict(zip(own, digits, strict=True))
        return tuple(found[a] for a in range(len(self.form.space)))

    def _order(self) -> tuple[int, ...]:
        """The order of axes of what the kernel reads and writes of the space's shape."""
        plain = tuple(range(len(self.form.space)))
        if any(n.op is ops.argmax for n in self.graph.order):
            return plain
        places = [p for p in (*self.operands, *self.results) if p.shape == self.form.space and p.strides]
        return places[0].order if places else plain

    def row_index(self, node: Node) -> Index:
        """The index of a row's value in a node that has one element for each row."""
        index = tuple(self.index()[a] for a in self.kept)
        return reindex(index, [self.form.space[a] for a in self.kept], tuple(map(int, node.shape)))

    def at(self, node: Node) -> Index:
        """The index of the program's element in a node that has as many as the space."""
        return reindex(self.index(), self.form.space, tuple(map(int, node.shape)))

    def beyond(self) -> tuple[Var, ...]:
        """The condition that an element is not beyond the end of its row."""
        return self.body.overhang([self.k]) if self.k in self.body.bounds else ()
