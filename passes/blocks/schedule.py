"""Numbers of GPU kernels: how much one program computes. Products have a cost model of their own (`tiles`)."""

from __future__ import annotations

import math

from ...compiler import ops
from ...compiler.form import Form, is_structure
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, window_axes
from .devices import Device, device
from .tiles import Precision, candidates, power, product_of

# Elements of a block of a map, of one that reads windows or draws random numbers, and of a reduction.
MAP = 1024
WINDOW = 512
REDUCE = 4096
# The same where each element asks several windows: their loads are all in flight at once, in registers.
SPREAD = 1024
# Elements of a block for the interpreter.
LARGE = 1 << 15
# Programs for each unit that keep it busy while others wait for memory.
BUSY = 4
# Seconds that a step of a reduction waits for its operands.
WAIT = 0.6e-6


def blocks_of(body: Graph, form: Form, name: str, precision: Precision) -> Blocks:
    """The blocks of a kernel on a device."""
    on = device(name)
    if form.kind in ("dot", "conv"):
        return candidates(product_of(form, precision), on)[0][1]
    if form.kind == "reduce":
        return _reduction(body, form, on)
    return _map(body, form, on)


def _map(body: Graph, form: Form, on: Device) -> Blocks:
    """A map, windows, or a copy: a block of the flat space."""
    count = math.prod(form.space)
    slow = any(n.op in (ops.random, ops.unwindow, ops.gather) or window_axes(n) for n in body.order)
    most = LARGE if on.large else WINDOW if slow else MAP
    columns = min(most, power(count))
    while columns > 128 and not on.large and count < columns * on.units:
        columns //= 2
    return Blocks(columns=columns, warps=_warps(columns, on))


def _warps(elements: int, on: Device) -> int:
    """Warps for a block of which a thread computes at least four elements, where there are as many."""
    return max(1, min(4, power(elements // (4 * on.width))))


def _reduction(body: Graph, form: Form, on: Device) -> Blocks:
    """Rows by a part of each row; long rows in parts, each summed by a program, where programs are too few."""
    length = math.prod(form.space[a] for a in form.reduced)
    rows = math.prod(form.space) // max(1, length)
    spread = any(n.op in (ops.unwindow, ops.random) for n in body.order)
    area = LARGE if on.large else SPREAD if spread else REDUCE
    if _rows_are_near(form):
        width = min(power(rows), 64 if not on.large else area)
        depth = min(power(length), max(1, area // width))
        while width > 16 and not on.large and -(-rows // width) * -(-length // depth) < on.units:
            width //= 2
    else:
        depth = min(power(length), area if on.large else 1024)
        width = min(power(rows), max(1, area // depth))
        while width > 1 and -(-rows // width) < on.units and not on.large:
            width //= 2
        if rows * length <= REDUCE and power(rows) * depth <= 2 * REDUCE:
            # Where one program computes all, totals need no finishing.
            width = power(rows)
    programs, steps = -(-rows // width), -(-length // depth)
    parts = [1]
    if not on.large and _splits(body, form):
        parts += [1 << i for i in range(1, 10) if 2 << i <= steps]

    def seconds(split: int) -> float:
        waves = -(-programs * split // (BUSY * on.units))
        added = on.launch + 2 * split * rows * 4 / on.cache + WAIT * math.ceil(split / 32) if split > 1 else 0.0
        return math.ceil(steps / split) * waves * WAIT + added

    split = min(parts, key=seconds)
    return Blocks(rows=width, depth=depth, split=split, warps=_warps(width * depth, on))


def _rows_are_near(form: Form) -> bool:
    """Whether neighbours in memory lie in different rows: channels are innermost, or the last axis stays."""
    rank = len(form.space)
    return (rank - 1 if rank < 3 else 1) not in form.reduced


def _splits(body: Graph, form: Form) -> bool:
    """Whether parts of a row can be summed apart: nothing in the space waits for a row's sum."""
    reductions = [n for n in body.order if is_structure(n) and form.levels.get(n) == "row"]
    if any(n.op not in (ops.sum_, ops.max_reduce) for n in reductions):
        return False
    sums = set(reductions)
    after: set[Node] = set()
    for node in body.order:
        if any(x in sums or x in after for x in node.inputs):
            after.add(node)
    return not any(node in after and (node in sums or form.levels.get(node) == "full") for node in body.order)
