"""Kernel schedules for GPUs: tile sizes, warps and stages, measured ones where a table has them, else a cost model's.

A kernel is known to tables by a hash of what it computes. Products and reductions have cost models (`cost/`); any other
kernel takes tiles of its flat space.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection
from dataclasses import replace

from ...compiler import ops
from ...compiler.codegen.names import origins
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, items_of, window_axes, with_schedules
from ...compiler.loops.domain import Domain, domain_of
from ...compiler.plan import Orders
from ...compiler.text import print_graph
from ...grammar.source import UserError
from .cost.products import Precision, candidates, power, product_of
from .cost.reductions import LARGE, fastest, rows_of, warps_of
from .machines import Device
from .machines import device as figures
from .measured import SHOWN, Measured, listed
from .memory import homes_of, prepared
from .neighbours import near

# Elements of a tile of a map, and of one that reads windows or draws random numbers; assumed.
MAP = 1024
WINDOW = 512


def scheduled(graph: Graph, orders: Orders, arch: str, precision: Precision, measured: Measured) -> Graph:
    """The kernels with their schedules. orders: of the axes of stored values, which are part of what is computed."""
    once = prepared(graph, homes_of(graph))
    missing: list[Node] = []

    def chosen(kernel: Node) -> Blocks:
        body: Graph = kernel.attrs["body"]
        model = blocks_of(body, arch, precision)
        if kernel in once:  # of a step only there is something to measure
            return model
        key = _key(graph, kernel, orders, model.precision)
        found = measured.find(key, arch)
        if found is None:
            if measured.frozen and near(model, body, figures(arch)):
                missing.append(kernel)
            return replace(model, key=key)
        # Whether sums may be taken in parts is a matter of what is computed.
        domain = domain_of(body)
        split = found.split if domain.product or domain.splits else 1
        return replace(found, split=split, precision=model.precision, key=key)

    made = with_schedules(graph, chosen)
    if missing:
        raise UserError(_missed(missing, measured, arch))
    return made


def _missed(missing: Collection[Node], measured: Measured, arch: str) -> str:
    names = [f"{node.attrs['kind']} of {layers_of(node) or 'no layer'}" for node in missing]
    on = f"{arch} ({measured.device})" if measured.device else arch
    return (
        f"--frozen: no schedule for {on} of {listed(names)}: "
        "measure them with `netc tune` on such a GPU and give its file by --schedules, or leave out --frozen"
    )


def layers_of(kernel: Node) -> str:
    """The layers that a kernel computes, the first ones of many."""
    names, _ = origins(kernel.attrs["body"])
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")


def _key(graph: Graph, kernel: Node, orders: Orders, precision: str) -> str:
    """A hash of what a kernel computes: its body with all types, how operands and results lie, how it rounds."""
    parts = [kernel.attrs["kind"], precision, print_graph(kernel.attrs["body"], comments=False)]
    parts += [_lies(x, orders) for x in kernel.inputs]
    parts += [f"{k} {orders.get(item)}" for k, item in items_of(graph, kernel).items()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _lies(node: Node, orders: Orders) -> str:
    """How an operand lies in memory, behind views."""
    views = []
    while node not in orders and len(node.inputs) == 1:
        views.append(f"{node.op.name} {dict(node.attrs)}")
        node = node.inputs[0]
    return " of ".join([*views, f"{node.result} {orders.get(node)}" if node.op is not ops.kernel else "kernel"])


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
