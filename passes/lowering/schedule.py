"""Numbers of GPU kernels: how much one program computes. Products and reductions have cost models (`tiles`, `rows`)."""

from __future__ import annotations

import math
from collections import Counter

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, window_axes, with_schedules
from ...compiler.loops.domain import Domain, domain_of
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
        return blocks_of(kernel.attrs["body"], device, precision)

    return with_schedules(graph, scheduled)


def blocks_of(body: Graph, name: str, precision: Precision) -> Blocks:
    """The blocks of a kernel on a device."""
    on, domain = figures(name), domain_of(body)
    if domain.product:
        return candidates(product_of(body, precision), on)[0][1]
    if domain.kind == "reduce":
        return _reduction(body, domain, on)
    return _map(body, domain, on)


def _map(body: Graph, domain: Domain, on: Device) -> Blocks:
    """A map, windows, or a copy: a block of the flat space."""
    count = math.prod(domain.space)
    slow = any(n.op in (ops.random, ops.unwindow, ops.gather) or window_axes(n) for n in body.order)
    most = LARGE if on.large else WINDOW if slow else MAP
    columns = min(most, power(count))
    while columns > 128 and not on.large and count < columns * on.units:
        columns //= 2
    return Blocks(columns=columns, warps=warps_of(columns, on))


def _reduction(body: Graph, domain: Domain, on: Device) -> Blocks:
    """Rows by a part of each row; long rows in parts, each summed by a program, where programs are too few."""
    spread = any(n.op in (ops.unwindow, ops.random) for n in body.order)
    count = math.prod(domain.space)
    large = [x for x in body.inputs.values() if x.type.count >= count]
    large += [x for x in domain.outputs if domain.granularity[x] == "element"]
    # Of an array that is larger than the space a part is read.
    moved = sum(count * int(x.type.nbytes) // max(1, int(x.type.count)) for x in large)
    sums = max(Counter(map(domain.beside.phase, domain.reductions("row"))).values(), default=1)
    of = rows_of(domain.space, domain.reduced, moved, sums=sums, spread=spread)
    return fastest(of, on, parts=domain.splits)[1]
