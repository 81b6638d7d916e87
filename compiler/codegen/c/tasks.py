"""Loop tiling of products over threads: a function that computes one tile, and the kernel, which shares the tiles out.

A task is a tile of rows on a chunk of columns, at one value of all other variables of the result. Tasks follow in a
fixed order, all rows of a chunk in turn so that what the chunk reads stays in the cache; each sum is one thread's, so
the number of threads changes no bit. That each element is one task's is proved of the text (`shares.py`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ...loops.contraction import guards_that_tell
from ...loops.view import Expr, Var
from ...ops.winograd import PANEL
from ..loops.body import Body
from ..loops.place import PRODUCT
from ..loops.written import pointers
from .dialect import type_of
from .function import argument
from .operand import Operand
from .shares import Frame, TilePart, cut_of, fault_of

# Names of a task's own numbers.
COUNTED = ("task", "tile", "tiles", "rest", "chunk", "chunks", "left", "first_row", "total", "r", "j")
# How far the sums of a tile reach in their array.
SUMS = (("0", "rows", "MOST_ROWS"), ("0", "vectors", "2"))


class Tasks:
    """The variables of a product's result as a tile's function sees them.

    tiled: the variables along which there are tiles, each with the name of the number at which a tile begins. inside:
    variables over which a tile loops itself. at: the expression of each of the others there.
    """

    def __init__(self, body: Body, every: Sequence[Var], tiled: Mapping[Var, str], inside: Sequence[Var] = ()) -> None:
        self.body = body
        self.whole = type_of(body, "i32")
        self.every = tuple(every)
        self.tiled = dict(tiled)
        self.at: dict[Var, Expr] = {}
        for var in (v for v in every if v not in inside):
            name = tiled.get(var) or body.name(var.name)
            self.at[var] = body.bind(Var(name, var.size), name) if var.size > 1 else Expr.of(0)
        self.outer = tuple(var for var in self.at if var not in tiled and var.size > 1)
        # Variables whose values tell tasks apart, and what a task takes of those along which there are tiles.
        self.turns = [v for var in self.outer for v in self.at[var].vars]
        self.cuts: list[TilePart] = []

    def element(self, stack: ExitStack, var: Var, first: str, counter: str, head: str) -> Expr:
        """Open a loop over the elements of a tile along a variable; the variable there."""
        body, name = self.body, self.body.name(var.name)
        stack.enter_context(body.loop(head, "}"))
        body.put(f"const {self.whole} {name} = {first} + {counter};")
        body.open = (*body.open, Var(name, var.size))
        self.turns.append(Var(name, var.size))
        self.cuts.append(cut_of(var.size, first, head))
        return body.bind(Var(name, var.size), name)

    def text(
        self,
        parameters: Sequence[str],
        constants: Sequence[str],
        setting: Sequence[str],
        rooms: Sequence[tuple[str, str, str]],
        rows_first: bool = True,
    ) -> str:
        """Both functions. parameters: how many rows and columns a tile has, and further ones, in order.

        constants: what says how many `tiles` and `chunks` there are, with `rows`, `rest` and the like. setting: the
        definitions that set the parameters of a task but the first two. rooms: see `Frame`. rows_first: of a chunk all
        rows are computed in turn, else of a tile's rows all chunks.
        """
        body, places = self.body, pointers(self.body)
        typed, named = [argument(body, place, places) for place in places], [place.name for place in places]
        names = [body.expr(self.at[var]).text for var in self.outer]
        sizes, whole = [var.size for var in self.outer], self.whole
        scalars = [f"{whole} {name}" for name in (*parameters[2:], *names)]
        counts = [f"int {name}" for name in parameters[:2]]
        lines = [f"INLINE void NAME_tile({', '.join([*counts, *scalars, *typed])}) {{"]
        lines += [*(f"    {line}" for line in body.lines), "}", "", f"static void NAME({', '.join(typed)}) {{"]
        lines += [f"    enum {{ {line} }};" for line in constants]
        step = math.prod(sizes)
        count = f"chunks * {step} * tiles"
        turn, inner = ("task", "tiles") if rows_first else ("task / chunks", "chunks * tiles")
        chunk_of = f"task / ({step} * tiles)" if rows_first else "task % chunks"
        numbers = [("tile", f"{turn} % tiles", "tiles"), ("chunk", chunk_of, "chunks")]
        for name, size in zip(names, sizes, strict=True):
            step //= size
            whole_step = f"{step} * {inner}" if step > 1 else inner
            number = f"task / ({whole_step})" if "*" in whole_step else f"task / {whole_step}"
            numbers.append((name, f"{number} % {size}", str(size)))
        (tile, chunk), others = [f"{name} = {text}" for name, text, _ in numbers[:2]], numbers[2:]
        lines += [
            "    #pragma omp for schedule(static)",
            f"    for ({whole} task = 0; task < {count}; task++) {{",
            f"        const {whole} {tile}, {chunk};",
            *(f"        const {whole} {name} = {text};" for name, text, _ in others),
            *(f"        const {whole} {line};" for line in setting),
        ]
        passed = ", ".join([*parameters[2:], *names, *named])
        rows, columns = parameters[:2]
        # Where all tiles are alike these are numbers, and the compiler sees one call.
        inner, whole_chunk = "(rest == rows || tile < tiles - 1)", f"(left == {columns} || chunk < chunks - 1)"
        calls = (
            (f"{inner} && {whole_chunk}", (rows, columns)),
            (inner, (rows, "left")),
            (whole_chunk, ("rest", columns)),
            ("", ("rest", "left")),
        )
        for k, (condition, shape) in enumerate(calls):
            asked = f"{'else ' * (k > 0)}{f'if ({condition}) ' if condition else ''}"
            lines.append(f"        {asked}NAME_tile({', '.join(shape)}, {passed});")
        lines += ["    }", "}"]
        given = tuple(constants), count, tuple(numbers), tuple(setting), (rows, columns), calls
        frame = Frame(*given, tuple(self.cuts), tuple(rooms))
        if (found := fault_of(frame)) is not None:
            body.proof.refuse(*found)
        body.proof.shared(self.turns)
        return "\n".join(lines) + "\n"


def even(size: int, part: str, most: str, count: str, rest: str) -> str:
    """How long the parts of a length are, how many there are, and how long the last one is."""
    whole = f"{part} = EVEN({size}, {most}), {count} = ({size} + {part} - 1) / {part}"
    return f"{whole}, {rest} = {size} - ({count} - 1) * {part}"


def in_panels(columns: int, reach: str, room: int) -> tuple[tuple[str, ...], tuple[tuple[str, str, str], ...]]:
    """The definitions of tasks whose columns are read in panels, the last of which is padded; and where they reach.

    reach: how many a tile reads. room: columns with those that are padded.
    """
    setting = (
        "first_row = tile * rows, first_lane = chunk * width",
        f"columns = {columns} - first_lane < width ? {columns} - first_lane : width",
    )
    within = f"first_lane % {PANEL}"
    panel = (within, f"{within} + {reach}", f"{PANEL}")
    return setting, (*SUMS, panel, ("first_lane", f"first_lane + {reach}", f"{room}"))


def pointer(body: Body, operand: Operand, at: Mapping[Var, Expr], ranges: Mapping[Var, Expr] | None = None) -> str:
    """The pointer to an operand's element. ranges: variables of which the elements behind it are read too."""
    place = operand.place
    index, whole = ([i.replace(values) for i in operand.index] for values in (at, {**at, **(ranges or {})}))
    body.used.setdefault(place, False)
    guards = guards_that_tell(g.replace(at) for g in operand.guards)
    body.proof.load(place, tuple(whole), place.address(tuple(whole)), guards)
    address = place.address(tuple(index))
    return place.name if address.constant == 0 else f"{place.name} + {body.expr(address).within(PRODUCT)}"
