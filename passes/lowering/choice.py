"""Which blocks a kernel gets: measured ones where a table has them, else those of the cost model.

Here kernels get the hash by which tables know them, and here stand the blocks near given ones that a tuner tries.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, with_schedules
from ...compiler.loops.contraction import contraction, size_of
from ...compiler.loops.domain import domain_of
from ...compiler.plan import Orders
from ...compiler.text import print_graph
from ...grammar.source import UserError
from .cost.products import Tile, power, product_of
from .machines import Device, device
from .measured import TuningTable
from .memory import homes_of, prepared

SHOWN = 4  # kernels that a message names
TILE = (16, 256)  # sides of a product's tile
DEPTH = (16, 128)
STAGES = (2, 5)
PARTS = 64
COLUMNS = (64, 4096)  # of a map
AREA = (64, 16384)  # of a reduction's block
EACH = 32  # elements of a map or reduction for a thread
WARPS = (1, 8)


@dataclass(frozen=True)
class Measured:
    """The table that is asked before the cost model. frozen: UserError for kernels that it lacks.

    trial: blocks by a kernel's hash, before the table: what a tuner tries. device: the GPU's name, where it is known.
    """

    table: TuningTable = field(default_factory=TuningTable)
    frozen: bool = False
    device: str = ""
    trial: Mapping[str, Blocks] = field(default_factory=dict)


def scheduled(graph: Graph, orders: Orders, measured: Measured, arch: str) -> Graph:
    """The kernels with their hashes, and with measured blocks where there are any. orders: of the axes of values."""
    keys = kernel_keys(graph, orders)
    missing: list[Node] = []

    def chosen(kernel: Node) -> Blocks:
        if kernel not in keys:
            blocks: Blocks = kernel.attrs["schedule"]
            return blocks
        return _blocks(kernel, keys[kernel], measured, arch, missing)

    made = with_schedules(graph, chosen)
    if missing:
        raise UserError(_missed(missing, measured, arch))
    return made


def _blocks(node: Node, key: str, measured: Measured, arch: str, missing: list[Node]) -> Blocks:
    chosen: Blocks = node.attrs["schedule"]
    found = measured.trial.get(key)
    if found is None:
        entry = measured.table.find(key, arch, measured.device)
        found = entry.blocks if entry is not None else None
    if found is None:
        if measured.frozen and near(chosen, node.attrs["body"], device(arch)):
            missing.append(node)
        return replace(chosen, key=key)
    domain = domain_of(node.attrs["body"])
    split = found.split if chosen.split > 1 or domain.product else 1
    return replace(found, split=split, precision=chosen.precision, key=key)


def _missed(missing: Collection[Node], measured: Measured, arch: str) -> str:
    names = [f"{node.attrs['kind']} of {layers_of(node) or 'no layer'}" for node in missing]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    on = f"{arch} ({measured.device})" if measured.device else arch
    return (
        f"--frozen: no schedule for {on} of {', '.join(names[:SHOWN])}{more}: "
        "measure them with `netc tune` on such a GPU and give its file by --schedules, or leave out --frozen"
    )


def layers_of(kernel: Node) -> str:
    """The layers that a kernel computes, the first ones of many."""
    body: Graph = kernel.attrs["body"]
    computed = [n for n in body.order if n.op.family != "source"]
    names = dict.fromkeys(o.scope for n in computed for o in body.origins(n) if o.scope)
    return ", ".join([*names][:SHOWN]) + (" …" if len(names) > SHOWN else "")


def kernel_keys(graph: Graph, orders: Orders) -> dict[Node, str]:
    """A hash of what each kernel of a step computes: its body with all types, how operands and results lie, how it
    rounds. What is computed only when the state was set has none.
    """
    once = prepared(graph, homes_of(graph))
    found = {}
    for kernel in graph.order:
        if kernel.op is not ops.kernel or kernel in once:
            continue
        told = [kernel.attrs["kind"], kernel.attrs["schedule"].precision]
        told += [print_graph(kernel.attrs["body"], comments=False)]
        told += [_lies(x, orders) for x in kernel.inputs]
        items = sorted(graph.users[kernel], key=lambda item: int(item.attrs["index"]))
        told += [f"{item.attrs['index']} {orders.get(item)}" for item in items]
        found[kernel] = hashlib.sha256("\0".join(told).encode()).hexdigest()[:16]
    return found


def _lies(node: Node, orders: Orders) -> str:
    """How an operand lies in memory, behind views."""
    told = []
    while node not in orders and len(node.inputs) == 1:
        told.append(f"{node.op.name} {dict(node.attrs)}")
        node = node.inputs[0]
    return " of ".join([*told, f"{node.result} {orders.get(node)}" if node.op is not ops.kernel else "kernel"])


def near(blocks: Blocks, body: Graph, on: Device) -> tuple[Blocks, ...]:
    """Blocks a step away from given ones that the device can hold, in an order that is always the same."""
    domain = domain_of(body)
    if on.large or math.prod(domain.space) == 0:
        return ()
    if domain.product:
        steps, fits = _of_product(blocks), _Product(body, on).fits
    elif domain.kind == "reduce":
        steps, fits = _of_reduction(blocks), _Reduction(body, on).fits
    else:
        steps, fits = _of_map(blocks), _Map(body, on).fits
    return tuple(dict.fromkeys(b for b in steps if b != blocks and fits(b)))


def _of_product(b: Blocks) -> Iterator[Blocks]:
    for name in ("rows", "columns", "depth", "warps", "split"):
        yield from _both_ways(b, name)
    yield replace(b, stages=b.stages + 1)
    yield replace(b, stages=b.stages - 1)
    yield replace(b, rows=b.rows * 2, columns=b.columns // 2)
    yield replace(b, rows=b.rows // 2, columns=b.columns * 2)
    yield replace(b, rows=b.rows * 2, warps=b.warps * 2)
    yield replace(b, columns=b.columns * 2, warps=b.warps * 2)
    yield replace(b, depth=b.depth * 2, stages=b.stages - 1)


def _of_reduction(b: Blocks) -> Iterator[Blocks]:
    for name in ("rows", "depth", "warps", *(("split",) if b.split > 1 else ())):
        yield from _both_ways(b, name)
    yield replace(b, rows=b.rows * 2, depth=b.depth // 2)
    yield replace(b, rows=b.rows // 2, depth=b.depth * 2)
    yield replace(b, depth=b.depth * 2, warps=b.warps * 2)


def _of_map(b: Blocks) -> Iterator[Blocks]:
    for name in ("columns", "warps"):
        yield from _both_ways(b, name)
    yield replace(b, columns=b.columns * 2, warps=b.warps * 2)
    yield replace(b, columns=b.columns // 2, warps=b.warps // 2)


def _both_ways(b: Blocks, name: str) -> Iterator[Blocks]:
    value: int = getattr(b, name)
    yield replace(b, **{name: value * 2})  # type: ignore[arg-type]
    yield replace(b, **{name: value // 2})  # type: ignore[arg-type]


def _within(value: int, bounds: tuple[int, int], length: int | None = None) -> bool:
    """Whether a number is within bounds, and no more than twice what is there."""
    low, high = bounds
    return low <= value <= high and (length is None or value == low or value < 2 * power(length))


class _Product:
    """What tiles of a product fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        axes = contraction(domain_of(body).root)
        self.rows, self.columns, self.depth = (size_of(a) for a in (axes.rows, axes.columns, axes.reduced))
        self.body, self.on = body, on

    def fits(self, b: Blocks) -> bool:
        if not (_within(b.rows, TILE, self.rows) and _within(b.columns, TILE, self.columns)):
            return False
        if not (_within(b.depth, DEPTH, self.depth) and _within(b.warps, WARPS) and _within(b.stages, STAGES)):
            return False
        if b.split < 1 or b.split > min(PARTS, max(1, -(-self.depth // b.depth) // 2)):
            return False
        tile = Tile(b.rows, b.columns, b.depth, b.stages, b.warps)
        return tile.fits(product_of(self.body, b.precision), self.on)


class _Reduction:
    """What blocks of rows by a part of each row fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        self.domain, self.on = domain_of(body), on

    def fits(self, b: Blocks) -> bool:
        area, threads = b.rows * b.depth, b.warps * self.on.width
        rows, length = self.domain.rows, self.domain.length
        if not (_within(b.rows, (1, 1024), rows) and _within(b.depth, (1, 8192), length)):
            return False
        if b.split < 1 or b.split > max(1, -(-length // b.depth)):
            return False
        return _within(area, AREA) and _within(b.warps, WARPS) and area <= EACH * threads


class _Map:
    """What blocks of a flat space fit."""

    def __init__(self, body: Graph, on: Device) -> None:
        self.count = math.prod(domain_of(body).space)
        self.on = on

    def fits(self, b: Blocks) -> bool:
        if self.count <= COLUMNS[0] or b.columns < 1:
            return False
        return (
            _within(b.columns, COLUMNS, self.count)
            and _within(b.warps, WARPS)
            and b.columns <= EACH * b.warps * self.on.width
            and b.columns >= b.warps * self.on.width
        )
