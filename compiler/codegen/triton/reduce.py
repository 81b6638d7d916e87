"""Row reductions, once or several times over the same axes: softmax, normalization, losses.

One program takes some rows, and passes over their elements once for each phase: a phase has the reductions that need
only results of earlier ones. Where a whole row fits a block every element is read once. What is summed in parts (rows
that are cut, and totals of several programs) is stored part by part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from ... import ops
from ...graph import Node
from ...loops.view import Expr, Index, Var, flat, reindex, unflat
from ...types import FLOATS, least, wide
from ..loops.nests import axes_in_order, index_of, overwrites
from ..loops.place import Spread, Value
from ..loops.reductions import Accumulator, neutral, position, reduced, started, update
from ..loops.written import Written
from .kernel import Kernel, function, overhang
from .squares import Squares

# Its number, the index at which it is computed, and its value.
Output = tuple[int, Index, Value]


def write_reduce(kernel: Kernel) -> Written:
    """The function of a body of reductions; see `Domain` for rows and scalars."""
    return _ReduceKernel(kernel).write()


class _ReduceKernel:
    """The kernel while it is written: rows of a space, of which a program takes `blocks.rows`, and their elements.

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
        self.depth = "tl.arange(0, DEPTH)" if self.flat else "tl.arange(0, DEPTH)[None, :]"
        self.body = kernel.body(*("DEPTH",) if self.flat else ("ROWS", "DEPTH"))
        self.body.reserve("row", "k", "k_inside", "part", "start")
        self.programs = -(-self.rows // blocks.rows)
        self.order = axes_in_order(self.domain, (*kernel.operands, *kernel.results))
        self.row = Var("row", self.rows)
        self.k = Var("k", self.length)
        if self.parts is not None:
            self.domain = self.domain.beside
        self.reductions, self.totals = self.domain.reductions("row"), self.domain.reductions("scalar")
        self.outputs, self.results = self.domain.outputs, kernel.results
        # Squares that are found beside their total, where rows are cut in parts.
        self.squares = kernel.domain.squares if self.parts is not None else {}
        self.fenced = False  # whether all threads wait for each other before what is one for a row is stored

    def write(self) -> Written:
        self.bind_rows()
        for phase in range(self.domain.passes):
            self._reduce(phase)
        if self.one_pass or self.domain.passes in map(self._when, self._of("element")):
            with self.elements():
                self._store_elements(self.domain.passes)
        # Totals read rows, and a row or a total may be written over what it was.
        rows = self._values(self._of("row"), self.row_index)
        for node in self.totals:
            self.body.preset(node, zero(node), self._total(node))
        self._store(self._values(self._of("scalar"), zero))
        self._store(rows)
        constants = [("ROWS", self.blocks.rows), ("DEPTH", self.blocks.depth)]
        grid = (self.programs,) if self.parts is None else (self.programs, self.parts.count)
        return function(self.kernel, self.body, grid=grid, constants=constants)

    # Rows, and a pass over their elements.

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
        if self.length <= 1:
            yield
        elif self.one_pass:
            if self.k not in body.bounds:
                body.put(f"k = {self.depth}")
                self._bind_k(depth != self.length, depth)
            yield
        else:
            first, end, block = "0", str(self.length), -(-self.length // depth) * depth
            if self.parts is not None:
                first, end, block = "part", f"part + {self.parts.share}", self.parts.share
            with body.loop(f"for start in range({first}, {end}, DEPTH):"):
                body.put(f"k = start + {self.depth}")
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
        return index_of(found)

    def row_index(self, node: Node) -> Index:
        """The index of a row's value in a node that has one element for each row."""
        return self.domain.row_index(self.index(), node)

    def at(self, node: Node) -> Index:
        """The index of the program's element in a node that has as many as the space."""
        return reindex(self.index(), self.domain.space, node.shape)

    def beyond(self) -> tuple[Var, ...]:
        """The condition that an element is not beyond the end of its row."""
        return self.body.overhang([self.k]) if self.k in self.body.bounds else ()

    # Reductions.

    def _reduce(self, phase: int) -> None:
        """One pass over the elements: the reductions of a phase, and the outputs that can be written in it."""
        own = [n for n in self.reductions if self.domain.phase(n) == phase]
        if self.one_pass:
            with self.elements():
                for node in sorted(own, key=lambda n: n.op is not ops.max_reduce):
                    self._at_once(node)
            return
        everything = frozenset(range(len(self.body.sizes)))
        squares = Squares.start(self.body, wide(own[0].dtype)) if any(n in self.squares for n in own) else None
        variable = partial(self.body.variable, axes=everything)
        running = started(self.body, own, variable, dict.fromkeys(self.squares, "squares"))
        of = {acc.node: acc for acc in running}
        with self.elements():
            values: dict[tuple[Node, float], Value] = {}
            if squares is not None:
                squares.step()
            for acc in sorted(running, key=lambda acc: acc.node.op is not ops.argmax):
                if squares is not None and acc.node in self.squares:
                    total = self.squares[acc.node]
                    inside = self.body.bounds[self.k].inside
                    squares.update(acc, of[total], values[total.inputs[0], 0], inside)
                    continue
                x = acc.node.inputs[0]
                key = (x, neutral(acc.node))
                if key not in values:
                    value = self.body.floating(self._masked(acc.node))
                    values[key] = value if acc.node.op is ops.sum_ else self.body.settle(self.body.typed(value))
                update(self.body, acc, values[key], position(acc.node, self.at(acc.node.inputs[0])))
            self._store_elements(phase)
        for acc in running:
            if squares is not None and acc.node in self.squares:
                self._squares(squares, acc, of[self.squares[acc.node]])
            else:
                self._done(acc)

    def _squares(self, squares: Squares, acc: Accumulator, total: Accumulator) -> None:
        """The squared deviations of a part from its own mean."""
        assert self.parts is not None
        share, depth = self.parts.share, self.blocks.depth
        left, lanes = str(share), str(share // depth)
        if self.parts.count * share != self.length:
            left = f"tl.minimum(part + {share}, {self.length}) - part"
            lanes = f"({left} + DEPTH - 1 - {self.depth}) // DEPTH"
        whole = self.body.at(total.node, self._result_index(total.node))
        text = squares.of_lanes(acc, total, whole, left, lanes)
        self._enter(acc.node, Value(self._across("sum", text), acc.dtype))

    def _masked(self, node: Node) -> Value:
        """What a reduction takes in, neutral beyond the end of a row."""
        x = node.inputs[0]
        return self.body.masked(x, self.at(x), neutral(node), self.beyond())

    def _result_index(self, node: Node) -> Index:
        if not self.length:
            return self.row_index(node)
        return reduced(node, self.at(node.inputs[0]))

    def _whole(self, value: Value) -> str:
        """A value in the shape of the block."""
        if value.axes == frozenset(range(len(self.body.sizes))):
            return value.text
        return f"tl.broadcast_to({self.body.typed(value).text}, [{', '.join(self.body.sizes)}])"

    def _across(self, name: str, text: str) -> str:
        return f"tl.{name}({text}, 0)" if self.flat else f"tl.{name}({text}, 1, keep_dims=True)"

    def _at_once(self, node: Node) -> None:
        """A reduction of elements that are all there."""
        body = self.body
        value = body.floating(self._masked(node)) if self.length else self.body.number(neutral(node), node.dtype)
        if self.length <= 1:
            result = body.floating(value)
            if node.op is ops.argmax:
                result = Value("0", "i32", number=0)
        elif node.op is ops.sum_:
            result = Value(self._across("sum", self._whole(value)), wide(node.dtype))
        else:
            low = body.number(least(node.inputs[0].dtype), node.inputs[0].dtype).text
            x = body.settle(value.but(text=self._whole(value)))
            if node.op is ops.argmax and value.dtype in FLOATS:
                # What is not a number is never chosen.
                x = body.settle(x.but(text=f"tl.where({x.text} == {x.text}, {x.text}, {low})"), "known")
            best = self._across("max", x.text)
            if value.dtype in FLOATS and node.op is ops.max_reduce:
                best = f"tl.maximum({best}, {low})"
            result = Value(best, wide(node.dtype))
            if node.op is ops.argmax:
                best = body.settle(result.but(level=body.level), "best").text
                number = body.expr(position(node, self.at(node.inputs[0])))
                result = Value(self._first(x.text, best, number.text), "i32")
        self._enter(node, result)

    def _first(self, values: str, best: str, numbers: str) -> str:
        """The least number of those whose value is the best."""
        return self._across("min", f"tl.where({values} == {best}, {numbers}, {2**31 - 1})")

    def _done(self, acc: Accumulator) -> None:
        """The result of a reduction from what each lane of the block has found."""
        body, node = self.body, acc.node
        if node.op is ops.argmax:
            best = body.settle(Value(self._across("max", acc.best), acc.dtype), "best").text
            text = self._first(acc.best, best, acc.name)
        else:
            text = self._across("max" if node.op is ops.max_reduce else "sum", acc.name)
        self._enter(node, Value(text, acc.dtype))

    def _enter(self, node: Node, result: Value) -> None:
        axes = frozenset[int]() if self.flat else frozenset({0})
        hint = {"sum": "total", "max_reduce": "most", "argmax": "first"}[node.op.name]
        result = self.body.settle(result.but(axes=axes, level=self.body.level, hint=hint))
        self.body.preset(node, self._result_index(node), result)

    # Results.

    def _of(self, granularity: str) -> list[int]:
        """The numbers of the outputs of a granularity."""
        return [k for k, node in enumerate(self.outputs) if self.domain.granularity[node] == granularity]

    def _when(self, k: int) -> int:
        """In which pass an output of all elements is written; at once where there is only one."""
        if self.one_pass:
            return self.domain.passes
        return self.domain.written(self.outputs[k], over=overwrites(self.results[k], self.kernel.operands))

    def _store_elements(self, phase: int) -> None:
        """Write the outputs of all elements that are known in a phase."""
        found = [(self.results[k], self.outputs[k]) for k in self._of("element") if self._when(k) == phase]
        if self.length:
            self.body.store_all([(place, self.at(node), node) for place, node in found], self.beyond())

    def _values(self, numbers: Sequence[int], index: Callable[[Node], Index]) -> list[Output]:
        """Outputs, by their numbers, that are one element a row, or one in all."""
        return [(k, at, self.body.at(self.outputs[k], at)) for k in numbers for at in (index(self.outputs[k]),)]

    def _store(self, outputs: Sequence[Output]) -> None:
        """Write them.

        All threads read a number that is one for a row, and only some write a new one over it. Others may still need
        the old one, for outputs that are more than one for a row, and must have read it by then.
        """
        read = {place.memory for place, stored in self.body.used.items() if not stored and place.memory}
        over = any(self.results[k].memory in read for k, _, _ in outputs)
        if over and len(outputs) < len(self.outputs) and not self.fenced:
            self.body.put("tl.debug_barrier()")
            self.body.proof.barrier()
            self.fenced = True
        for k, index, value in outputs:
            node, dtype = self.outputs[k], self.outputs[k].dtype
            if node in self.kernel.parts:
                index, dtype = (self._part(node), *index), wide(dtype)
            self.body.store(self.results[k], index, self.body.narrow(value, dtype))

    def _part(self, node: Node) -> Expr:
        """The number of the part of a sum that this program has."""
        own, part = self.kernel.parts[node], self.part
        share = self.blocks.rows if self.parts is None else self.parts.share
        if own != self.domain.parts_of(node, self.order, share):
            raise AssertionError(f"the parts of {node} are others than those that programs compute: {own}")
        if self.parts is None:
            part = Var("program", self.programs)
            self.body.bounds.pop(part, None)
            self.body.bind(part, "tl.program_id(0)", spread=Spread("rows", self.programs, 1))
        return Expr.of(part)

    def _total(self, node: Node) -> Value:
        """A reduction over the rows of this program."""
        body, x = self.body, node.inputs[0]
        conditions = [self.row] if self.row in body.bounds else []
        value = body.floating(body.masked(x, self.row_index(x), neutral(node), conditions))
        if self.rows == 1 or self.flat:
            return body.settle(body.typed(value), "total") if node.op is not ops.argmax else Value("0", "i32", number=0)
        name = "sum" if node.op is ops.sum_ else "max"
        whole = value.text if value.axes else f"tl.broadcast_to({body.typed(value).text}, [ROWS, 1])"
        if node.op is ops.argmax:
            best = body.settle(Value(f"tl.max({whole})", value.dtype), "best").text
            e = body.expr(flat(tuple(self.row_index(x)), tuple(map(int, x.shape)))).text
            whole, name = f"tl.where({whole} == {best}, {e}, {2**31 - 1})", "min"
        return body.settle(Value(f"tl.{name}({whole})", wide(node.dtype), level=body.level), "total")


def zero(node: Node) -> Index:
    """The index of a node's only element."""
    return (Expr.of(0),) * len(node.shape)
