"""Tiled matrix products: dot, and conv with its two gradients as implicit products, all of one contraction.

A program computes a tile of ROWS by COLUMNS of the result (of one batch or group) and walks along the reduced axes in
steps of DEPTH. Both operands, what is computed on them as they are read, and what follows on the tile are written by
the evaluator; here is decided how the axes are numbered, so that loads run along memory and little is divided.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ... import ops
from ...graph import Graph, Node
from ...loops.contraction import Axes, Contraction, contraction, replaced, size_of
from ...loops.domain import followed
from ...loops.view import Expr, Guard, Index, Var, pull, unflat
from ...types import SIZES
from ..loops.place import LoopVariable, MemRef, Spread, Value
from ..loops.written import Written
from ..strides import strides_of
from .dialect import TYPES, pointer, stored
from .kernel import Kernel, function

# tl.dot takes no smaller sides.
LEAST = 16
# Programs along the second and third axis of a grid.
MOST = 65535
# Reduced axes are numbered one by one, not as one, where that adds at most so much to the steps.
WASTE = 1.1
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
        self.order = self._order()
        # Parts have as many steps each, so that fewer than were asked for may do.
        steps = self._steps()
        self.split = math.ceil(steps / math.ceil(steps / min(blocks.split, steps)))
        self.dtype = "f64" if self.root.dtype == "f64" else "f32"
        self.body.again = self._read_by_taps()

    def _read_by_taps(self) -> frozenset[str]:
        """The operands of the kernel that the taps of a convolution read, its neighbours mostly the same elements."""
        taps = [v for v in (*self.axes.columns, *self.axes.reduced) if v.name.startswith("tap_") and v.size > 1]
        read = Graph({"read": self.root.inputs[0]}).inputs if taps else {}
        return frozenset(self.operands[int(name[2:])].name for name in read)

    # The order of the reduced axes.

    def _address(self, source: Node, index: Index) -> Expr | None:
        """Where in memory an element of an operand is, behind views and what is computed of one element."""
        while source.op is not ops.input_:
            if source.op.family == "pointwise":
                source = max(source.inputs, key=_weight)
            elif source.op.family == "movement" and len(source.inputs) == 1:
                pulled = pull(source, index)
                source, index = pulled.node, pulled.index
            else:
                return None
        return self.operands[int(source.attrs["name"][2:])].address(index)

    def _order(self) -> Axes:
        """The reduced axes from the outermost to the innermost: so that the larger tile is read along memory."""
        axes = tuple(v for v in self.axes.reduced if v.size > 1)
        tiles = [
            (self._strides(self._address(side.node, side.index)), size, 16 // SIZES[side.node.dtype])
            for side, size in ((self.axes.left, self.rows), (self.axes.right, self.columns))
        ]
        best, most = axes, -1.0
        for strides, _, _ in tiles:
            if strides:
                order = tuple(sorted(axes, key=lambda v: -strides.get(v, 0)))
                gain = sum(size * (1 - 1 / _run(order, of, widest)) for of, size, widest in tiles)
                if gain > most:
                    best, most = order, gain
        return best

    @staticmethod
    def _strides(address: Expr | None) -> dict[Var, int]:
        """How far in memory a step of each variable leads, of those where it is always the same."""
        terms = address.terms if address is not None else ()
        return {term: abs(factor) for factor, term in terms if isinstance(term, Var)}

    # Steps.

    @property
    def inner(self) -> int:
        return self.order[-1].size if self.order else 1

    @property
    def separate(self) -> bool:
        """Whether only the innermost axis runs along the tiles, and the others are one number a step each."""
        if len(self.order) < 2 or self.inner < LEAST:
            return False
        return math.ceil(self.inner / self.depth) * self.depth <= WASTE * self.inner

    def _steps(self) -> int:
        if self.separate:
            return size_of(self.order[:-1]) * math.ceil(self.inner / self.depth)
        return math.ceil(size_of(self.order) / self.depth)

    # Text.

    def write(self) -> Written:
        body, steps = self.body, self._steps()
        grid = self._tile()
        total, precision = body.name("total"), f'input_precision="{self.blocks.precision}"'
        if steps == 1:
            left, right = self._factors("")
            body.put(f"{total} = tl.dot({left}, {right}, {precision})")
        else:
            body.put(f"{total} = tl.zeros((ROWS, COLUMNS), {TYPES[self.dtype]})")
            step = body.name("step" if self.separate else "start")
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
        if self.split == 1:
            self._epilogue(value)
            return function(self.kernel, body, grid=grid, constants=sizes, note=note)
        scratch, room = _partial_sums(self.axes, self.split, self.columns, self.dtype)
        self._store(scratch, (Expr.of(self.part), *self.tiled.result), value, self.tile[1:] if room else ())
        finish = self._finish(scratch)
        return function(self.kernel, body, grid=grid, constants=sizes, note=note, scratch=scratch, finish=finish)

    def _range(self, steps: int) -> str:
        """The steps of a program: all, or those of its part."""
        end, unit, by = (steps, 1, "") if self.separate else (size_of(self.order), self.depth, ", DEPTH")
        if self.split == 1:
            return f"0, {end}{by}"
        share = math.ceil(steps / self.split) * unit
        last = f"part * {share} + {share}"
        return f"part * {share}, {last if share * self.split == end else f'tl.minimum({last}, {end})'}{by}"

    def _tile(self) -> tuple[int, ...]:
        """Write which tile a program computes, and put its numbers in place of the axes of the contraction."""
        body, form = self.body, self.axes
        m, n = Var("m", size_of(form.rows)), Var("n", size_of(form.columns))
        down, across = math.ceil(m.size / self.rows), math.ceil(n.size / self.columns)
        batch = size_of(form.batch)
        grid = [down * across, batch, self.split]
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
        self.part = Var(body.name("part"), self.split)
        if self.split > 1:
            body.put(f"{self.part.name} = {self._wide('tl.program_id(2)')}")
            body.bind(self.part, self.part.name, spread=Spread("parts", self.split, 1))
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
        inner = self.order[-1:] if self.separate else self.order
        name = inner[0].name if len(inner) == 1 else "k"
        size, start = size_of(inner), step
        outer: dict[Var, Expr] = {}
        if self.separate:
            chunks = math.ceil(size / self.depth)
            outer, start = self._outer(step, chunks)
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

    def _outer(self, step: str, chunks: int) -> tuple[dict[Var, Expr], str]:
        """Write the numbers of the outer axes at a step; and where the innermost axis starts, "" for 0.

        All taps of some channels come before the next channels: what one tap read, the next finds in the cache.
        """
        body = self.body
        axes = self.order[:-1]
        turns, taps_first = size_of(axes), all(v.name.startswith("tap_") for v in axes)
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

    def _finish(self, scratch: MemRef) -> Graph:
        """The body of a kernel that adds the partial sums in order and computes the results."""
        partial = ops.input_(name=f"in{len(self.operands)}", shape=scratch.shape, dtype=scratch.dtype)
        total = ops.reshape(ops.sum_(partial, axes=(0,)), shape=self.root.shape)
        if self.root.dtype != scratch.dtype:
            total = ops.cast(total, dtype=self.root.dtype)
        return self.kernel.graph.rebuild({self.root: total})


def _weight(node: Node) -> int:
    """How many elements are stored of what a value is read from, behind views: the most decides how to read."""
    while node.op.family == "movement":
        node = node.inputs[0]
    return 0 if node.op is ops.const else int(node.type.count)


def _run(order: Axes, strides: Mapping[Var, int], widest: int) -> int:
    """How many elements one load may take, where neighbours along the reduced axes are neighbours in memory."""
    run = 1
    for v in reversed(order):
        if strides.get(v) != run:
            break
        run *= v.size
    return math.gcd(run, widest)


def _partial_sums(form: Contraction, split: int, width: int, dtype: str) -> tuple[MemRef, bool]:
    """A place for each part of a result, and whether a tile that hangs over the columns has room there.

    Sums lie as tiles of `width` columns are written, so that neighbours lie together. A store of f32 under a mask takes
    more registers than there are to a large tile: rows get as many columns as the tiles have, where the columns are
    axes of the result for themselves.
    """
    shape = (split, *map(int, form.root.shape))
    strides = strides_of(shape, [0, *(1 + a for a in _columns_last(form))])
    columns, axes = size_of(form.columns), frozenset(form.columns)
    inner = [not i.vars.isdisjoint(axes) for i in (Expr.of(0), *form.result)]
    alone = all(i.vars <= axes for i, found in zip(form.result, inner[1:], strict=True) if found)
    room = columns > 1 and alone and math.prod(n for n, found in zip(shape, inner, strict=True) if found) == columns
    count = math.prod(shape)
    if room:
        padded = math.ceil(columns / width) * width
        strides = tuple(s if found else s // columns * padded for s, found in zip(strides, inner, strict=True))
        count = count // columns * padded
    return MemRef("partial", shape, strides, dtype, count=count, memory="partial"), room


def _columns_last(form: Contraction) -> list[int]:
    """The axes of the result so that those of the columns are innermost."""
    position = {v: i for i, v in enumerate((*form.batch, *form.rows, *form.columns))}
    last = [max((position.get(v, -1) for v in i.vars), default=-1) for i in form.result]
    return sorted(range(len(last)), key=lambda a: last[a])
