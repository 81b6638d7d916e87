"""Register tiling of products: some rows by one or two vectors of columns are summed in registers.

One factor is read as vectors along an axis on which it lies side by side, the other one number at a time. A task is a
tile's rows on one chunk of columns; tasks follow in a fixed order and each sum is one thread's, so the number of
threads changes no bit. What follows on the sums is the evaluator's, as in any nest. How wide a vector is and how many
rows a tile has are constants of the text's head, so that the same text serves every processor.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ... import ops
from ...loops.contraction import Contraction, contraction, guards_that_tell
from ...loops.domain import Domain
from ...loops.view import Expr, Guard, Pulled, Var, flat
from ...ops.winograd import PANEL
from ..loops import nests
from ..loops.body import Body
from ..loops.place import PRODUCT
from .function import SIMD
from .lanes import between
from .operand import Operand, affine, limits, operand_of
from .tasks import COUNTED, SUMS, Tasks, even, in_panels, pointer

MOST = 14  # rows of a tile at most, on any processor
MOST_TAPS = 64  # whose sums a tile holds in the cache
NEAR = 1 << 18  # bytes of the second cache, of which half is another factor's
# Rows of a panel, and rows that lie on pages of their own, that are fetched before they are read.
AHEAD, AHEAD_IN_PAGES = 64, 16
PAGE = 1024  # elements of a page: rows that lie on different ones
HELD = 1 << 16  # elements of a factor that a task may copy for itself
# Of the best tile's worth, from which on another may be faster all the same; and how many are worth measuring.
WORTH_TRYING, MOST_TRIED = 0.4, 4
WORDS = (
    *(
        *COUNTED,
        "rows",
        "vectors",
        "columns",
        "first_lane",
        "skipped",
        "apart",
        "sums",
        "copy",
        "first",
        "most",
        "width",
    ),
)


@dataclass(frozen=True)
class Copied:
    """A part of a factor that a tile copies for itself, with zeros where it has no elements.

    source: the factor. index: of an element of the copy in it, over `axes` and the variables outside of the tile.
    address: where in the copy an element of the tile's first row lies. step: from there to the next row's.
    """

    source: Pulled
    axes: tuple[Var, ...]
    index: tuple[Expr, ...]
    guards: tuple[Guard, ...]
    address: Expr
    step: int

    @property
    def count(self) -> int:
        return math.prod(var.size for var in self.axes)


@dataclass(frozen=True)
class RegisterTile:
    """How a product is tiled. vectors: the factor that is read as vectors along `lane`; numbers: the other one.

    row: the variable that numbers a tile's rows. outer: the other variables of the result. in_panels: vectors lie in
    panels of columns, of which the last one is padded. scattered: sums of a vector are not stored side by side.
    """

    product: Contraction
    vectors: Operand
    numbers: Operand | Copied
    lane: Var
    row: Var
    outer: tuple[Var, ...]
    reduced: tuple[Var, ...]
    in_panels: bool = False
    scattered: bool = False

    @property
    def every(self) -> tuple[Var, ...]:
        """The variables of the result."""
        return (*self.product.batch, *self.product.rows, *self.product.columns)

    @property
    def axes(self) -> str:
        """What names it among the tiles of a product (`Blocks.axes`)."""
        return f"{self.lane.name}/{self.row.name}"

    @property
    def inside(self) -> tuple[Var, ...]:
        """The taps of a weight's gradient: a tile holds the sums of all of them."""
        taps = tuple(v for v in self.outer if v not in self.product.batch)
        whole = self.product.root.op is ops.conv_weight_grad and not isinstance(self.numbers, Copied)
        return taps if whole and taps and math.prod(v.size for v in taps) <= MOST_TAPS else ()

    @property
    def near(self) -> bool:
        """Whether all vectors stay in the cache while the other factor's rows pass, each of which is read once then."""
        alike = not any(var in e.vars for var in self.outer for e in self.vectors.index)
        return alike and 4 * self.lane.size * math.prod(var.size for var in self.reduced) <= NEAR

    @property
    def width(self) -> int:
        """Elements of a vector at most: narrow where there are few columns."""
        return 16 if self.lane.size >= 16 else 8 if self.lane.size >= 8 else 4

    @property
    def worth(self) -> float:
        """How much of what a processor can do a tile does, about: by lanes, by rows, and less where it copies."""
        columns, rows = self.lane.size, self.row.size
        lanes = columns / (-(-columns // self.width) * self.width) * self.width / 16
        single = 1.0 if columns > self.width else 0.7
        tiles = -(-rows // MOST)
        copied = isinstance(self.numbers, Copied)
        near = isinstance(self.numbers, Copied) or abs(self.numbers.stride(self.row)) < PAGE or self._run >= 16
        # Of short sums the stores take as long as the products.
        terms = math.prod(var.size for var in self.reduced)
        stored = terms / (terms + 16) if self.scattered else 1.0
        return lanes * single * stored * min(1.0, rows / tiles / 8) * (0.6 if copied else 1.0 if near else 0.5)

    @property
    def _run(self) -> int:
        """How many numbers of a row lie side by side."""
        assert isinstance(self.numbers, Operand)
        return max((var.size for var in self.reduced if self.numbers.stride(var) == 1), default=1)

    @property
    def guards(self) -> tuple[Guard, ...]:
        own = self.numbers.guards if isinstance(self.numbers, Operand) else ()
        return (*self.vectors.guards, *own)


def tile_of(domain: Domain, body: Body, axes: str = "") -> RegisterTile | None:
    """How a product can be tiled, None if it cannot. axes: along which, if it can be; else the rule chooses them."""
    there = list(_candidates(domain, body))
    chosen = next((tile for tile in there if tile.axes == axes), None)
    return chosen or max(there, key=lambda tile: tile.worth, default=None)


def axes_of(domain: Domain, body: Body) -> tuple[str, ...]:
    """The axes along which a product may be tiled, the rule's first, and others that might be as fast."""
    there = sorted(_candidates(domain, body), key=lambda tile: -tile.worth)
    return tuple(tile.axes for tile in there if tile.worth >= WORTH_TRYING * there[0].worth)[:MOST_TRIED]


def _candidates(domain: Domain, body: Body) -> Iterator[RegisterTile]:
    """The ways in which a product can be tiled: either factor as vectors, with several axes for the rows."""
    if domain.root.dtype != "f32":
        return
    product = contraction(domain.root)
    for wide, narrow, columns, rows in (
        (product.right, product.left, product.columns, product.rows),
        (product.left, product.right, product.rows, product.columns),
    ):
        vectors = operand_of(body, wide)
        lane = next((v for v in columns if vectors and vectors.stride(v) == 1 and not vectors.guarded(v)), None)
        panels = next((v for v in columns if vectors and _lie_in_panels(vectors, v)), None)
        if vectors is None or (lane := lane or panels) is None or lane.size < 4:
            continue
        for row in _rows(rows):
            inner = {*product.reduced, row} | ({lane} - {panels})
            numbers = _numbers(body, narrow, product.reduced, row)
            if numbers is None or not affine(vectors.address, inner) or not limits(vectors.guards, product.reduced):
                continue
            if any(row in guard.expr.vars for guard in vectors.guards):
                continue
            every = (*product.batch, *rows, *columns)
            outer = tuple(v for v in every if v not in (lane, row) and v.size > 1)
            reduced = sorted(product.reduced, key=lambda v: -abs(vectors.stride(v)))
            apart = _apart_where_stored(body, product, lane)
            yield RegisterTile(product, vectors, numbers, lane, row, outer, tuple(reduced), lane is panels, apart)


def _apart_where_stored(body: Body, product: Contraction, lane: Var) -> bool:
    """Whether neighbours along a variable do not lie side by side in the result, as far as its shape tells."""
    place = body.results[0]
    if place.shape != tuple(map(int, product.root.shape)):
        return False
    return (1, lane) not in place.address(product.result).terms


def _lie_in_panels(vectors: Operand, columns: Var) -> bool:
    """Whether a factor is a copy in panels of its columns (`passes/lowering/pack_weights.py`)."""
    index, shape = vectors.index, vectors.place.shape
    return len(index) > 2 and shape[-1] == PANEL and (index[0], index[-1]) == _in_panel(Expr.of(columns))


def _in_panel(column: Expr) -> tuple[Expr, Expr]:
    return column // PANEL, column % PANEL


def _rows(variables: Sequence[Var]) -> list[Var]:
    """The variables that could number a tile's rows."""
    return [*(v for v in reversed(variables) if v.size > 1), Var("single", 1)]


def _numbers(body: Body, side: Pulled, reduced: Sequence[Var], row: Var) -> Operand | Copied | None:
    """The factor that is read one number at a time: where it lies, or a copy of the part that a tile reads."""
    direct = operand_of(body, side)
    inner = {*reduced, row}
    if direct and affine(direct.address, inner) and limits(direct.guards, reduced) and not direct.guarded(row):
        return direct
    # An element is left out where it is none of the factor's.
    if not all((g.expr, g.low, g.high, g.step) in _ends(side) for g in side.guards):
        return None
    if not all(affine(e, inner) for e in side.index):
        return None
    found: dict[int, tuple[Var, Expr]] = {}
    address, stride, step = Expr.of(0), 1, 0
    order = direct.place.order if direct and len(direct.place.shape) == len(side.index) else range(len(side.index))
    for a in reversed(order):
        inside, outside = side.index[a].parts(inner)
        by_row, along = inside.parts((row,))
        factor = by_row.terms[0][0] if by_row.terms else 0
        if factor < 0:
            return None
        low, high = along.bounds
        var = Var(f"q{a}", high - low + 1 + factor * (min(MOST, row.size) - 1))
        found[a] = (var, outside + by_row + low + Expr.of(var))
        address += (along - low) * stride
        step += factor * stride
        stride *= var.size
    if stride > HELD:
        return None
    axes, index = [found[a][0] for a in order], [found[a][1] for a in range(len(side.index))]
    guards = [Guard(e, 0, n) for e, n in zip(index, side.node.shape, strict=True)]
    return Copied(side, tuple(axes), tuple(index), tuple(guards), address, step)


def _ends(side: Pulled) -> set[tuple[Expr, int, int, int]]:
    return {(e, 0, int(n), 1) for e, n in zip(side.index, side.node.shape, strict=True)}


def write(domain: Domain, body: Body, tile: RegisterTile) -> str:
    """The text of the two functions of a tiled product: one for a tile, and the kernel, which shares the tiles out."""
    row, lane, width = tile.row, tile.lane, tile.width
    lanes = f"LANES_{width}"
    body.reserve(*WORDS)
    tasks = Tasks(body, tile.every, {row: "first_row", lane: "first_lane"}, tile.inside)
    at = dict(tasks.at)
    body.put(f"enum {{ {_apart(lane.size, lanes)} }};")
    body.put(f"vec_{width} sums[MOST_ROWS][2];")
    total = "total"
    if tile.inside:
        _sum_in_turns(body, tile, at)
    else:
        body.put(f"clear_{width}(rows, vectors, sums);")
        _sum(body, tile, tile.reduced, at)
        body.put(f"float total[MOST_ROWS][2 * LANES_{width}];")
        body.put(f"spread_{width}(rows, vectors, apart, sums, total);")
    with ExitStack() as stack:
        at |= zip(tile.inside, stack.enter_context(body.loops(tile.inside)), strict=True)
        if tile.inside:
            total = f"total[{body.expr(flat(tuple(at[v] for v in tile.inside), [v.size for v in tile.inside])).text}]"
        at[row] = tasks.element(stack, row, "first_row", "r", "for (int r = 0; r < rows; r++) {")
        # A number where vectors divide the columns.
        reach = f"(vectors - 1) * apart + {lanes}"
        end = f"({lane.size} % {lanes} ? columns : {reach})" if tile.in_panels else reach
        head = f"{SIMD}\nfor (int j = {'0' if tile.in_panels else 'skipped'}; j < {end}; j++) {{"
        at[lane] = tasks.element(stack, lane, "first_lane", "j", head)
        result = tile.product.substitute(at)
        stack.enter_context(body.branch(result.guards))
        body.open = tuple(v for var in tile.every for v in at[var].vars)
        nests.finish(domain, body, result.result, f"{total}[r][j]")
    columns = lane.size
    constants = (
        even(row.size, "rows", "MOST_ROWS", "tiles", "rest"),
        f"{_apart(columns, lanes)}, vectors = {columns} > {lanes} ? 2 : 1, width = (vectors - 1) * apart + {lanes}",
        f"chunks = ({columns} + width - 1) / width, left = ({columns} - (chunks - 1) * width + {lanes} - 1) / {lanes}",
    )
    if tile.in_panels:
        panels = in_panels(columns, reach, -(-columns // PANEL) * PANEL)
        given = ("rows", "vectors", "first_row", "first_lane", "columns")
        return tasks.text(given, constants, *panels, rows_first=not tile.near)
    # The last vector begins early enough to end with the last column; what it computes again is not stored again.
    setting = (
        "first = chunk * width",
        f"most = {columns} - ((chunk < chunks - 1 ? vectors : left) - 1) * apart - {lanes}",
        "first_row = tile * rows, first_lane = first < most ? first : most",
        "skipped = first - first_lane",
    )
    rooms = [*SUMS, ("0", reach, f"2 * {lanes}"), ("first_lane", f"first_lane + {reach}", f"{columns}")]
    if isinstance(tile.numbers, Copied):
        low, high = tile.numbers.address.bounds
        rooms.append((f"{low}", f"{high} + (rows - 1) * {tile.numbers.step} + 1", f"{tile.numbers.count}"))
    given = ("rows", "vectors", "first_row", "first_lane", "skipped")
    return tasks.text(given, constants, setting, rooms, rows_first=not tile.near)


def _apart(columns: int, lanes: str) -> str:
    """How far a tile's second vector lies from its first: it ends with the last column, where that is nearer."""
    return f"apart = {columns} > {lanes} && {columns} < 2 * {lanes} ? {columns} - {lanes} : {lanes}"


def _sum(body: Body, tile: RegisterTile, reduced: Sequence[Var], at: dict[Var, Expr]) -> None:
    """Loops that add all products of a tile to its sums."""
    numbers = tile.numbers
    if isinstance(numbers, Copied):
        _copy(body, numbers, at)
    with between(body, reduced, tile.guards, at) as inside:
        w = pointer(body, tile.vectors, inside)
        if isinstance(numbers, Copied):
            x, step = f"copy + {body.expr(numbers.address.replace(inside)).within(PRODUCT)}", numbers.step
        else:
            x, step = pointer(body, numbers, inside), numbers.stride(tile.row)
        last = next((v for v in reversed(reduced) if v.size > 1), None)
        pitch = tile.vectors.stride(last) if last is not None else 0
        ahead = AHEAD if tile.in_panels else AHEAD_IN_PAGES if pitch >= PAGE else 0
        for part in range(0, PANEL, 16) if ahead else ():
            body.put(f"__builtin_prefetch({w} + {ahead * pitch + part});")
        body.put(f"multiply_{tile.width}(rows, vectors, apart, sums, {x}, {step}, {w});")


def _sum_in_turns(body: Body, tile: RegisterTile, at: dict[Var, Expr]) -> None:
    """The sums of all taps, one image after the other: what a tap reads of it, the others find in the cache."""
    first, *rest = tile.reduced
    count, width = math.prod(var.size for var in tile.inside), tile.width
    body.put(f"float total[{count}][MOST_ROWS][2 * LANES_{width}] = {{0}};")
    with body.loops([first]) as (image,), body.loops(tile.inside) as taps:
        inside = {**at, first: image, **dict(zip(tile.inside, taps, strict=True))}
        tap = body.expr(flat(taps, [var.size for var in tile.inside])).text
        body.put(f"gather_{width}(rows, vectors, apart, sums, total[{tap}]);")
        _sum(body, tile, rest, inside)
        body.put(f"spread_{width}(rows, vectors, apart, sums, total[{tap}]);")


def _copy(body: Body, copied: Copied, at: dict[Var, Expr]) -> None:
    """Statements that copy what a tile reads of a factor."""
    guards = guards_that_tell(g.replace(at) for g in copied.guards)
    bounded = limits(guards, copied.axes)
    body.put(f"float copy[{copied.count}]{' = {0}' if bounded and guards else ''};")
    with ExitStack() as stack:
        if bounded:
            values = stack.enter_context(between(body, copied.axes, guards, at, apart=True))
        else:
            found = stack.enter_context(body.loops(copied.axes, apart=True))
            values = {**at, **dict(zip(copied.axes, found, strict=True))}
        index = tuple(e.replace(values) for e in copied.index)
        guards = guards_that_tell(g.replace(values) for g in copied.guards)
        value = body.floating(body.masked(copied.source.node, index, 0, guards))
        place = body.expr(flat(tuple(values[axis] for axis in copied.axes), [axis.size for axis in copied.axes]))
        body.put(f"copy[{place.text}] = {value.text};")
