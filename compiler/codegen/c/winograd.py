"""Winograd's minimal filtering: kernels that transform tiles of the data and weights, and one that multiplies them.

A transform M x M^T is a function of C, written from the matrix that the primitive has (`compiler/ops/winograd.py`), on
vectors of channels. The products of all t^2 elements of some tiles are summed in registers, as those of any product,
and transformed back before whatever is fused follows on them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ... import ops
from ...loops.contraction import guards_that_tell
from ...loops.domain import Domain
from ...loops.view import Expr, Guard, Index, Var
from ...ops.winograd import DATA, PANEL, RESULT, WEIGHTS, Matrix
from ..loops import nests
from ..loops.body import Body
from .function import SIMD, function
from .lanes import Lanes, between
from .tasks import COUNTED, Tasks, even, in_panels

BLOCK = 64  # channels that are transformed in turn: a multiple of the widest vectors
WORDS = ("rows", "vectors", "first_lane", "columns", "sums", "made", "width", "v", "line", "end", "channel", "next")
LANES = "LANES_16"
LINE = 16  # numbers of a cache line
Patch = Callable[[Expr, Index], tuple[Index, tuple[Guard, ...]]]


def write(domain: Domain, body: Body) -> str | None:
    """The text of a kernel whose root is one of Winograd's primitives; None for others."""
    root = domain.root
    if root.op is ops.winograd_data:
        return _data(domain, body)
    if root.op is ops.winograd_weights:
        return _weights(domain, body)
    return _product(domain, body) if root.op is ops.winograd_product else None


def _data(domain: Domain, body: Body) -> str:
    root = domain.root
    x, attrs = root.inputs[0], root.attrs
    side = attrs["tile"] + attrs["kernel"] - 1
    counts = [
        -(-(n + 2 * p - attrs["kernel"] + 1) // attrs["tile"]) for n, p in zip(x.shape[2:], attrs["pad"], strict=True)
    ]
    image, row, column = (
        Var(name, int(n)) for name, n in zip(("image", "row", "column"), (x.shape[0], *counts), strict=True)
    )
    with body.loops([image, row, column]) as (n, i, j):

        def patch(channel: Expr, at: Index) -> tuple[Index, tuple[Guard, ...]]:
            found = [e * attrs["tile"] + step - p for e, step, p in zip((i, j), at, attrs["pad"], strict=True)]
            guards = guards_that_tell(Guard(e, 0, int(size)) for e, size in zip(found, x.shape[2:], strict=True))
            return (n, channel, *found), guards

        _transform(domain, body, DATA[side], side, patch, ((n * counts[0] + i) * counts[1] + j,))
    return function(body, shared=True)


def _weights(domain: Domain, body: Body) -> str:
    root = domain.root
    weight, turned = root.inputs[0], root.attrs["turned"]
    own = int(weight.shape[0]) // root.attrs["groups"]  # of a group
    kernel, outputs = int(weight.shape[2]), int(weight.shape[1]) if turned else own
    _, panels, inputs, width = (int(n) for n in root.shape)
    several = panels // root.attrs["groups"]
    with body.loops([Var("panel", panels), Var("channel", inputs)]) as (panel, other):

        def patch(lane: Expr, at: Index) -> tuple[Index, tuple[Guard, ...]]:
            taps = tuple(e * -1 + (kernel - 1) for e in at) if turned else at
            group, output = panel // several, panel % several * width + lane
            index = (group * own + other, output) if turned else (group * own + output, other)
            return (*index, *taps), guards_that_tell([Guard(output, 0, outputs)])

        _transform(domain, body, WEIGHTS[root.attrs["tile"], kernel], kernel, patch, (panel, other))
    return function(body, shared=True)


def _transform(domain: Domain, body: Body, matrix: Matrix, side: int, patch: Patch, within: Index) -> None:
    """A block of channels at a time: what is transformed is copied side by side, then each vector of it is.

    patch: the element of the operand, and where there is one, of a channel and two steps. within: the index of the
    result between its first axis, which numbers the elements of a tile, and the last, the channels.
    """
    root = domain.root
    size, out, name = int(root.shape[-1]), len(matrix), _helper(body, matrix, side)
    lanes = Lanes(body, "lane", size, BLOCK)
    with lanes.blocks():
        steps = (Var("step_row", side), Var("step_column", side))
        guards = patch(Expr.of(lanes.var), tuple(Expr.of(step) for step in steps))[1]
        own = () if any(lanes.var in g.expr.vars for g in guards) else guards
        body.put(f"float made[{out * out}][{BLOCK}], patch[{side * side}][{BLOCK}]{' = {0}' if own else ''};")
        with between(body, steps, own, {}) as found:
            at = tuple(found[step] for step in steps)
            cell = body.expr(at[0] * side + at[1]).text
            with lanes.each() as lane:
                index, guards = patch(lane, at)
                value = body.floating(body.masked(root.inputs[0], index, 0, guards))
                body.put(f"patch[{cell}][j] = {value.text};")
        with body.loop(f"for (int v = 0; v < {lanes.count}; v += {LANES}) {{", "}"):
            body.put(f"{name}(&patch[0][v], {BLOCK}, &made[0][v], {BLOCK});")
        with body.loops([Var("element", out * out)]) as (element,), lanes.each() as lane:
            nests.finish(domain, body, (element, *within, lane), f"made[{body.expr(element).text}][j]")


def _product(domain: Domain, body: Body) -> str:
    root, (data, weights) = domain.root, body.operands[:2]
    attrs, (cells, count, _) = root.attrs, (int(n) for n in root.inputs[0].shape)
    _, panels, channels, _ = (int(n) for n in root.inputs[1].shape)
    size, tile, groups = attrs["size"], attrs["tile"], attrs["groups"]
    features, panels = int(root.shape[1]) // groups, panels // groups
    side = tile + attrs["kernel"] - 1
    body.reserve(*COUNTED, *WORDS)
    name = _helper(body, RESULT[tile, attrs["kernel"]], side)
    group, row, lane = Var("group", groups), Var("place", count), Var("feature", features)
    inside = (Var("inner_row", tile), Var("inner_column", tile))
    tasks = Tasks(body, (group, row, lane, *inside), {row: "first_row", lane: "first_lane"}, inside)
    body.put(f"float total[{cells}][MOST_ROWS][2 * {LANES}];")
    with body.loops([Var("element", cells)]) as (element,):
        body.put("vec_16 sums[MOST_ROWS][2];")
        body.put("clear_16(rows, vectors, sums);")
        # The tiles' rows of the next element lie far away: they are fetched meanwhile, a line of each in turn.
        at_row = body.bind(row, "first_row")
        own = tasks.at[group]
        start = data.address((element, at_row, own * channels))
        body.put(f"const float *next = {data.name} + {body.expr(start).text} + {data.strides[0]};")
        with ExitStack() as stack:
            head = f"for ({tasks.whole} line = 0; line < {channels}; line += {LINE}) {{"
            stack.enter_context(body.loop(head, "}"))
            body.put(f"const {tasks.whole} end = line + {LINE} < {channels} ? line + {LINE} : {channels};")
            body.put(f"for (int r = 0; r < rows; r++) __builtin_prefetch(next + r * {data.strides[1]} + line);")
            head = f"for ({tasks.whole} channel = line; channel < end; channel++) {{"
            stack.enter_context(body.loop(head, "}"))
            channel = body.bind(Var("channel", channels), "channel")
            column = body.bind(Var("first_lane", panels * PANEL), "first_lane")
            v = (element, at_row, own * channels + channel)
            u = (element, own * panels + column // PANEL, channel, column % PANEL)
            for place, index in ((data, v), (weights, u)):
                body.used.setdefault(place, False)
                body.proof.load(place, index, place.address(index), ())
            x, w = (f"{p.name} + {body.expr(p.address(i)).text}" for p, i in ((data, v), (weights, u)))
            body.put(f"multiply_16(rows, vectors, {LANES}, sums, {x}, {data.strides[1]}, {w});")
        body.put(f"spread_16(rows, vectors, {LANES}, sums, total[{body.expr(element).text}]);")
    counts = [-(-n // tile) for n in size]
    at = dict(tasks.at)
    with ExitStack() as stack:
        at[row] = tasks.element(stack, row, "first_row", "r", "for (int r = 0; r < rows; r++) {")
        body.put(f"float made[{tile * tile}][2 * {LANES}];")
        body.put("for (int v = 0; v < vectors; v++)")
        body.put(f"    {name}(&total[0][r][v * {LANES}], MOST_ROWS * 2 * {LANES}, &made[0][v * {LANES}], 2 * {LANES});")
        at |= zip(inside, stack.enter_context(body.loops(inside)), strict=True)
        steps = [at[v] for v in inside]
        across = [at[row] // counts[1] % counts[0], at[row] % counts[1]]
        where = [e * tile + step for e, step in zip(across, steps, strict=True)]
        guards = guards_that_tell(Guard(e, 0, int(n)) for e, n in zip(where, size, strict=True))
        cell = body.expr(steps[0] * tile + steps[1]).text
        stack.enter_context(body.branch(guards))
        # A number where vectors divide the channels.
        end = f"{features} % {LANES} ? columns : vectors * {LANES}"
        at[lane] = tasks.element(stack, lane, "first_lane", "j", f"{SIMD}\nfor (int j = 0; j < ({end}); j++) {{")
        image = at[row] // (counts[0] * counts[1])
        nests.finish(domain, body, (image, own * features + at[lane], *where), f"made[{cell}][j]")
    constants = (
        even(count, "rows", "MOST_ROWS", "tiles", "rest"),
        f"vectors = {features} < 2 * {LANES} ? 1 : 2, width = vectors * {LANES}",
        f"chunks = ({features} + width - 1) / width, "
        f"left = ({features} - (chunks - 1) * width + {LANES} - 1) / {LANES}",
    )
    setting, rooms = in_panels(features, f"vectors * {LANES}", panels * PANEL)
    return tasks.text(("rows", "vectors", "first_row", "first_lane", "columns"), constants, setting, rooms)


def _helper(body: Body, matrix: Matrix, side: int) -> str:
    """The name of the function that transforms a tile by a matrix; the function is written once for a program."""
    rows = len(matrix)
    name = f"transform_{side}_to_{rows}"
    if any(any(x not in (0, 1, -1) and abs(x) < 1 for x in line) for line in matrix):
        name += "_weights"
    lines = [
        f"/* {rows} x {rows} vectors, `apart` each, of {side} x {side}, `step` each: M x M^T. */",
        # Not inlined: it is large, and what calls it is written for each shape.
        "__attribute__((noinline))",
        f"static void {name}(const float *from, int64_t step, float *to, int64_t apart) {{",
        f"    vec_16 half[{rows}][{side}];",
        f'    _Pragma("GCC unroll {side}")',
        f"    for (int j = 0; j < {side}; j++) {{",
        *(f"        const vec_16 d{i} = *(const vec_16 *)(from + ({i * side} + j) * step);" for i in range(side)),
        *(f"        half[{i}][j] = {_sum(line, [f'd{k}' for k in range(side)])};" for i, line in enumerate(matrix)),
        "    }",
        f'    _Pragma("GCC unroll {rows}")',
        f"    for (int i = 0; i < {rows}; i++) {{",
        "        const vec_16 *row = half[i];",
        *(
            f"        *(vec_16 *)(to + (i * {rows} + {j}) * apart) = {_sum(line, [f'row[{k}]' for k in range(side)])};"
            for j, line in enumerate(matrix)
        ),
        "    }",
        "}",
    ]
    body.helpers[name] = "\n".join(lines)
    return name


def _sum(factors: Sequence[float], names: Sequence[str]) -> str:
    """A linear combination."""
    parts = [
        (factor < 0, name if abs(factor) == 1 else f"{float(abs(factor))!r}f * {name}")
        for factor, name in zip(factors, names, strict=True)
        if factor
    ]
    (negative, first), *rest = parts
    return ("-" if negative else "") + first + "".join(f" {'-' if minus else '+'} {text}" for minus, text in rest)
