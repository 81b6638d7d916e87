"""Tiled matrix products: dot, and conv with its two gradients as implicit products, all of one contraction.

A program computes a tile of ROWS by COLUMNS of the result (of one batch or group) and walks along the reduced axes in
steps of DEPTH. Both operands, what is computed on them as they are read, and what follows on the tile are written by
the evaluator, the steps are those of `Steps`; here is decided how tiles are numbered, and where each is stored.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ... import ops
from ...graph import Graph
from ...kernel import operand_number
from ...loops.contraction import Axes, contraction, replaced, size_of
from ...loops.domain import followed
from ...loops.steps import LEAST, Steps
from ...loops.view import Expr, Guard, Index, Var, unflat
from ...types import wide
from ..loops.place import LoopVariable, MemRef, Spread, Value
from ..loops.written import Written
from .dialect import TYPES, pointer, stored
from .kernel import Kernel, function

# Programs along the second and third axis of a grid.
MOST = 65535
# Rows of tiles that are computed together, where so many divide them.
GROUPS = (8, 7, 9, 6, 5, 4, 3, 2)
ROW, COLUMN = 0, 1
SPREAD = ("[:, None]", "[None, :]")
LEFT, RIGHT = "left", "right"
BOTH = frozenset((ROW, COLUMN))


def write_product(kernel: Kernel) -> Written:
    """The function of a body with one product."""
    return _ProductKernel(kernel).write()


class _ProductKernel:
    """The kernel while it is written."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.root, self.operands = kernel, kernel.domain.root, kernel.operands
        self.blocks = blocks = kernel.blocks
        self.rows, self.columns, self.depth = (max(LEAST, n) for n in (blocks.rows, blocks.columns, blocks.depth))
        self.body = kernel.body("ROWS", "COLUMNS")
        self.axes = contraction(self.root)
        self.parts = kernel.parts.get(self.root)
        if self.parts is None:
            addresses = [place.address for place in self.operands]
            self.steps = Steps.along_memory(self.axes, self.rows, self.columns, self.depth, addresses)
        else:
            self.steps = Steps.of_parts(self.axes, self.parts, self.depth)
        self.dtype = wide(self.root.dtype)
        self.body.again = self._read_by_taps()

    def _read_by_taps(self) -> frozenset[str]:
        """The operands of the kernel that the taps of a convolution read, its neighbours mostly the same elements."""
        taps = [v for v in (*self.axes.columns, *self.axes.reduced) if v.name.startswith("tap_") and v.size > 1]
        read = Graph({"read": self.root.inputs[0]}).inputs.values() if taps else ()
        return frozenset(self.operands[operand_number(x)].name for x in read)

    # Text.

    def write(self) -> Written:
        body, steps = self.body, self.steps.count
        grid = self._tile()
        total, precision = body.name("total"), f'input_precision="{self.blocks.precision}"'
        if steps == 1:
            left, right = self._factors("")
            body.put(f"{total} = tl.dot({left}, {right}, {precision})")
        else:
            body.put(f"{total} = tl.zeros((ROWS, COLUMNS), {TYPES[self.dtype]})")
            step = body.name("step" if self.steps.separate else "start")
            with body.loop(f"for {step} in range({self._range(steps)}):"):
                left, right = self._factors(step)
                body.put(f"{total} = tl.dot({left}, {right}, {total}, {precision})")
        value = Value(total, self.dtype, BOTH)
        sizes = (("ROWS", self.rows), ("COLUMNS", self.columns), ("DEPTH", self.depth))
        note = "".join(
            f"; {name} counts {', '.join(v.name for v in axes)}"
            for name, axes in (("m", self.axes.rows), ("n", self.axes.columns))
            if len(axes) > 1
        )
        if self.parts is None:
            self._epilogue(value)
        else:
            (place,) = self.kernel.results
            # A store under a mask takes more registers than there are to a large tile.
            room = self.tile[1:] if place.count > math.prod(place.shape) else ()
            self._store(place, (Expr.of(self.part), *self.tiled.result), value, room)
        return function(self.kernel, body, grid=grid, constants=sizes, note=note)

    def _range(self, steps: int) -> str:
        """The steps of a program: all, or those of its part."""
        end, by = (steps, "") if self.steps.separate else (size_of(self.steps.order), ", DEPTH")
        if self.parts is None:
            return f"0, {end}{by}"
        share = self.parts.share
        last = f"part * {share} + {share}"
        return f"part * {share}, {last if share * self.parts.count == end else f'tl.minimum({last}, {end})'}{by}"

    def _tile(self) -> tuple[int, ...]:
        """Write which tile a program computes, and put its numbers in place of the axes of the contraction."""
        body, form = self.body, self.axes
        m, n = Var("m", size_of(form.rows)), Var("n", size_of(form.columns))
        down, across = math.ceil(m.size / self.rows), math.ceil(n.size / self.columns)
        batch = size_of(form.batch)
        split = self.parts.count if self.parts is not None else 1
        grid = [down * across, batch, split]
        tiles, batches = ("0", "1") if batch <= MOST else ("1", "0")
        if batches == "0":
            grid[:2] = batch, down * across
        at = self._tile_numbers(down, across, f"tl.program_id({tiles})")
        self.values: dict[Var, Expr] = {}
        for var, axes, size, spread, start, axis in (
            (m, form.rows, "ROWS", Spread("rows", down, self.rows), at[0], ROW),
            (n, form.columns, "COLUMNS", Spread("columns", across, self.columns), at[1], COLUMN),
        ):
            name = body.name(var.name)
            shown = f"({start} * {size} + tl.arange(0, {size}))" if start else f"tl.arange(0, {size})"
            body.put(f"{name} = {shown}{SPREAD[axis]}")
            body.bind(var, name, axis, f"{name} < {var.size}" if var.size % spread.block else "", spread)
            self.values |= self._number(var, axes)
        if batch > 1:
            b = Var(form.batch[0].name if len(form.batch) == 1 else "batch", batch)
            name = body.name(b.name)
            body.put(f"{name} = {self._wide(f'tl.program_id({batches})')}")
            number = body.bind(b, name, spread=None if len(form.batch) > 1 else Spread("batch", batch, 1))
            digits = unflat(number, [v.size for v in form.batch])
            self.values |= (
                self._scalars(form.batch, digits, programs=True) if len(form.batch) > 1 else {form.batch[0]: number}
            )
        self.part = Var(body.name("part"), split)
        if split > 1:
            body.put(f"{self.part.name} = {self._wide('tl.program_id(2)')}")
            body.bind(self.part, self.part.name, spread=Spread("parts", split, 1))
        self.tile = (m, n)
        self.tiled = form.substitute(self.values)
        self._name_guards(form.guards, self.values)
        while grid[-1] == 1 and len(grid) > 1:
            grid.pop()
        return tuple(grid)

    def _number(self, var: Var, axes: Axes) -> dict[Var, Expr]:
        """Let one variable number several axes: their digits, which are called as the axes in the text."""
        digits = dict(zip(axes, unflat(Expr.of(var), [v.size for v in axes]), strict=True))
        for axis, digit in digits.items():
            if len(digit.terms) == 1 and not isinstance(digit.terms[0][1], Var):
                self.body.hints[digit.terms[0][1]] = axis.name
        return digits

    def _wide(self, number: str) -> str:
        """A number in 64 bits, if some buffer has more elements than 32 bits count."""
        return f"tl.cast({number}, tl.int64)" if self.kernel.far else number

    def _tile_numbers(self, down: int, across: int, program: str) -> tuple[str, str]:
        """The texts of the tile's row and column; "" for 0.

        Programs that run at one time read few rows and columns: they go down a group of rows before the next column.
        """
        if down == 1 or across == 1:
            return (self._wide(program) if down > 1 else "", self._wide(program) if across > 1 else "")
        tile = self.body.name("tile")
        self.body.put(f"{tile} = {self._wide(program)}")
        group = next((g for g in GROUPS if down % g == 0), 1)
        if down == group:
            return f"{tile} % {down}", f"{tile} // {down}"
        if group == 1:
            return f"{tile} // {across}", f"{tile} % {across}"
        return f"({tile} // {group * across} * {group} + {tile} % {group})", f"{tile} // {group} % {across}"

    def _factors(self, step: str) -> tuple[str, str]:
        """Write the tiles of both operands at a step ("": the only one), and return their names."""
        body = self.body
        inner = self.steps.order[-1:] if self.steps.separate else self.steps.order
        name = inner[0].name if len(inner) == 1 else "k"
        size, start = size_of(inner), step
        outer: dict[Var, Expr] = {}
        if self.steps.separate:
            outer, start = self._outer(step)
        k = body.name(name)
        level = body.level if start else 0
        body.put(f"{k} = {self._wide(f'{start} + tl.arange(0, DEPTH)' if start else 'tl.arange(0, DEPTH)')}", level)
        found = []
        for side, axis in ((self.axes.left, COLUMN), (self.axes.right, ROW)):
            var = Var(k if axis == COLUMN else f"{k}_down", size)
            shown = f"{k}{SPREAD[axis]}"
            inside = f"{shown} < {size}" if size % self.depth else ""
            body.bounds[var] = LoopVariable(shown, frozenset((axis,)), inside, level)
            single = {v: Expr.of(0) for v in self.axes.reduced if v.size == 1}
            numbers = {**self.values, **outer, **self._number(var, inner), **single}
            self._name_guards(side.guards, numbers)
            here = replaced(side, numbers)
            value = body.narrow(body.masked(here.node, here.index, 0, (*here.guards, var)), here.node.dtype)
            found.append(self._full(value, "ROWS, DEPTH" if axis else "DEPTH, COLUMNS", LEFT if axis else RIGHT))
        return found[0], found[1]

    def _name_guards(self, guards: Sequence[Guard], numbers: Mapping[Var, Expr]) -> None:
        """Let what is compared with the sides of an image be called after its axis."""
        for guard in (g for g in guards if g.expr.vars):
            axis = min((v.name for v in guard.expr.vars), key=lambda name: (name.startswith("phase"), len(name)))
            self.body.hints[guard.expr.replace(numbers)] = f"at_{axis}"

    def _outer(self, step: str) -> tuple[dict[Var, Expr], str]:
        """Write the numbers of the outer axes at a step; and where the innermost axis starts, "" for 0."""
        body, chunks, taps_first = self.body, self.steps.chunks, self.steps.taps_first
        axes = self.steps.order[:-1]
        turns = size_of(axes)
        number = body.bind(Var(step, turns * chunks), step)
        values = self._scalars(axes, unflat(number % turns if taps_first else number // chunks, [v.size for v in axes]))
        chunk = f"{step} // {turns}" if taps_first else f"{step} % {chunks}"
        return values, f"{chunk} * DEPTH" if chunks > 1 else ""

    def _scalars(self, axes: Axes, digits: Index, *, programs: bool = False) -> dict[Var, Expr]:
        """Write the numbers of axes that are one number at a time, under the names of the axes.

        programs: each combination of them is a program's.
        """
        values: dict[Var, Expr] = {}
        for axis, digit in zip(axes, digits, strict=True):
            if axis.size > 1:
                name = self.body.name(axis.name)
                self.body.put(f"{name} = {self._wide(str(digit))}")
                digit = self.body.bind(
                    Var(name, axis.size), name, spread=Spread(name, axis.size, 1) if programs else None
                )
            values[axis] = digit
        return values

    def _full(self, value: Value, shape: str, hint: str) -> str:
        """The name of a tile with all of its elements, also if they are equal along a side."""
        if value.number is not None:
            value = self.body.typed(value)
        if value.axes != BOTH:
            value = value.but(text=f"tl.broadcast_to({value.text}, ({shape}))", axes=BOTH)
        return self.body.settle(value, hint).text

    # What is done with the sums.

    def _epilogue(self, total: Value) -> None:
        """Write the results: all are computed, then all are stored, since a result may lie where an operand did."""
        body, guards = self.body, self.tiled.guards
        body.preset(self.root, self.tiled.result, total)
        at, indices = followed(self.kernel.graph, self.root, self.tiled.result)
        for node, index in at.items():
            if node.op in (ops.reshape, ops.transpose):
                # Where the tile hangs over, the way back might end at another index: the value is carried along.
                source = node.inputs[0]
                body.preset(node, index, body.settle(body.at(source, at[source], guards)))
        values = []
        for node, index in zip(self.kernel.domain.outputs, indices, strict=True):
            values.append(body.settle(body.narrow(body.at(node, index, guards), node.dtype)))
        for place, index, value in zip(self.kernel.results, indices, values, strict=True):
            self._store(place, index, value)

    def _store(self, place: MemRef, index: Index, value: Value, room: Axes = ()) -> None:
        """Write a tile to a place; also where that has no axis along one of its sides. room: has place for overhang."""
        body = self.body
        body.used[place] = True
        overhang = [v for v in body.overhang(self.tile) if v not in room]
        wide = {v: math.ceil(v.size / self.columns) * self.columns for v in room}
        e = place.address(index)
        body.proof.store(place, index, e, [*overhang, *self.tiled.guards], BOTH, wide)
        address = body.expr(e)
        where = pointer(place, body.short(address))
        if address.axes != BOTH:
            where += " + tl.zeros((ROWS, COLUMNS), tl.int32)"
        mask = body.mask([*overhang, *self.tiled.guards])
        body.put(stored(where, value, mask))
