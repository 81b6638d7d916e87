"""Numbers of GPU kernels: how much one program computes. Products and reductions have cost models (`tiles`, `rows`)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, window_axes, with_schedules
from ...compiler.loops.deviations import deviations
from ...compiler.loops.domain import Form, form_of, is_structure
from .cost.products import Precision, candidates, power, product_of
from .cost.reductions import LARGE, fastest, rows_of, warps_of
from .machines import Device
from .machines import device as figures

# Elements of a block of a map, and of one that reads windows or draws random numbers.
MAP = 1024
WINDOW = 512


def blocked(graph: Graph, device: str, precision: Precision) -> Graph:
    """The kernels with the blocks of the cost model."""

    def scheduled(kernel: Node) -> Blocks:
        body: Graph = kernel.attrs["body"]
        return blocks_of(body, form_of(body), device, precision)

    return with_schedules(graph, scheduled)


def blocks_of(body: Graph, form: Form, name: str, precision: Precision) -> Blocks:
    """The blocks of a kernel on a device."""
    on = figures(name)
    if form.kind in ("dot", "conv"):
        return candidates(product_of(form, precision, body), on)[0][1]
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
    return Blocks(columns=columns, warps=warps_of(columns, on))


def _reduction(body: Graph, form: Form, on: Device) -> Blocks:
    """Rows by a part of each row; long rows in parts, each summed by a program, where programs are too few."""
    spread = any(n.op in (ops.unwindow, ops.random) for n in body.order)
    count = math.prod(form.space)
    large = [x for x in body.inputs.values() if x.type.count >= count]
    large += [x for x in body.outputs.values() if form.levels[x] == "full"]
    # Of an array that is larger than the space a part is read.
    moved = sum(count * int(x.type.nbytes) // max(1, int(x.type.count)) for x in large)
    ways = _ways(body, form)
    sums = max(Counter(ways[n] for n in ways if _sums(n, form)).values(), default=1)
    of = rows_of(form.space, form.reduced, moved, sums=sums, spread=spread)
    return fastest(of, on, parts=_splits(body, form, ways))[1]


def _sums(node: Node, form: Form) -> bool:
    """Whether a node is a reduction of rows."""
    return is_structure(node) and form.levels.get(node) == "row"


def _ways(body: Graph, form: Form) -> dict[Node, int]:
    """How often a program must have gone through its rows before it can compute each node."""
    ways: dict[Node, int] = {}
    beside = deviations(body.order)
    for node in body.order:
        ways[node] = max((ways[x] + _sums(x, form) for x in node.inputs), default=0)
        if node in beside:
            ways[node] -= 1
    return ways


def _splits(body: Graph, form: Form, ways: Mapping[Node, int]) -> bool:
    """Whether parts of a row can be summed apart: nothing in the space waits for a row's sum."""
    if any(_sums(n, form) and (ways[n] or n.op not in (ops.sum_, ops.max_reduce)) for n in ways):
        return False
    return not any(ways[node] and form.levels[node] == "full" for node in body.outputs.values())
