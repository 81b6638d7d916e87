"""Split reductions (split-K, `rfactor`): a kernel whose schedule cuts its sums becomes two, of parts and of their sum.

The first computes partial results, and whatever does not wait for the whole; the second, a final reduction, adds them
in a fixed order, and computes the rest. Totals over the rows of several programs are taken in parts in the same way.
Both are kernels like any other: printed, verified, placed in memory, launched where the plan has them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...compiler import expr, ops
from ...compiler.codegen.loops.nests import axes_in_order
from ...compiler.codegen.loops.place import MemRef
from ...compiler.codegen.strides import Ints, strides_of
from ...compiler.graph import Graph, Node, at
from ...compiler.kernel import Blocks, items_of
from ...compiler.loops.contraction import Contraction, contraction, size_of
from ...compiler.loops.domain import Domain, Granularity, domain_of
from ...compiler.loops.steps import LEAST, Steps
from ...compiler.ops.partial import DEVIATIONS, Parts, divides
from ..unit import Unit
from .cost.products import power
from .layout import place_of
from .memory import homes_of

FINISH = "finish"  # the kind of final reductions
TILE = 1024  # elements of a tile of one: few parts of each row, and mostly few rows


@dataclass(frozen=True)
class Cut:
    """How the sums of a body are cut.

    partial: what is computed in parts, by the node that it is a part of. orders: of the axes of partial results. late:
    the outputs that wait for the whole. squares: the squared deviations among them, with the sums of the same rows.
    pitch: see `compiler.plan.Pitches`. split: into how many parts the kernel's own loop is cut.
    """

    partial: Mapping[Node, Node]
    orders: Mapping[Node, Ints]
    late: Sequence[str]
    squares: Mapping[Node, Node] = field(default_factory=dict)
    pitch: tuple[int, int] | None = None
    split: int = 1


@dataclass(frozen=True)
class Placed:
    """A value of the graph that is made, and where it lies."""

    node: Node
    place: MemRef


def splits(unit: Unit) -> Unit:
    """The unit with what is summed in parts as kernels of their own; how partial results lie is added to it."""
    return _Splitting(unit).run()


class _Splitting:
    def __init__(self, unit: Unit) -> None:
        self.unit, self.graph, self.homes = unit, unit.graph, homes_of(unit.graph)
        self.made: dict[Node, Node] = {}
        self.orders: dict[Node, Ints] = {}
        self.pitches: dict[Node, tuple[int, int]] = {}

    def run(self) -> Unit:
        for node in self.graph.order:
            if node.op is ops.kernel:
                self._kernel(node)
            elif node not in self.made:
                self.made[node] = node.with_inputs(self.made[x] for x in node.inputs)
        unit, made = self.unit, self.made
        outputs, updates = ({k: made[v] for k, v in d.items()} for d in (self.graph.outputs, self.graph.updates))
        self.orders |= {made[node]: order for node, order in (unit.orders or {}).items()}
        self.pitches |= {made[node]: pitch for node, pitch in unit.pitches.items()}
        return replace(unit, graph=Graph(outputs, updates), orders=self.orders, pitches=self.pitches)

    def _placed(self, node: Node, now: Node) -> Placed:
        return Placed(now, place_of(node, self.unit.orders or {}, self.homes))

    def _kernel(self, kernel: Node) -> None:
        """Make a kernel, or those that it becomes, with its items."""
        body: Graph = kernel.attrs["body"]
        operands = [self._placed(x, self.made[x]) for x in kernel.inputs]
        items = items_of(self.graph, kernel).values()
        results = [self._placed(item, item) for item in items]
        if len(items) == len(body.outputs):
            found = self._launch(kernel, kernel.attrs["kind"], body, kernel.attrs["schedule"], operands, results)
            self.made.update(zip(items, found, strict=True))
        else:  # nobody reads one of them, and the plan will say so
            self.made[kernel] = kernel.with_inputs(x.node for x in operands)

    def _launch(
        self,
        kernel: Node,
        kind: str,
        body: Graph,
        blocks: Blocks,
        operands: Sequence[Placed],
        results: Sequence[Placed],
    ) -> list[Node]:
        """The results of a body as items of a kernel, or of two. results: the items of the kernel that it was."""
        found = cut(body, blocks, [x.place for x in operands], [x.place for x in results])
        if found is None:
            blocks = replace(blocks, split=1) if blocks.split > 1 and not _divided(body) else blocks
            return self._items(kernel, kind, body, blocks, operands, [x.node for x in results])
        likes = dict(zip(body.outputs, results, strict=True))
        early = [name for name in body.outputs if name not in found.late]
        made_of = {part: body.origins(node) for node, part in found.partial.items()}
        parts = Graph(
            {name: body.outputs[name] for name in early} | {f"part{k}": part for k, part in enumerate(made_of)},
            origins={**body.merged_origins, **{part: of for part, of in made_of.items() if len(of) > 1}},
        )
        also = [x for i, x in enumerate(operands) if f"in{i}" not in body.inputs]  # what has only to be waited for
        own, read = _alone(parts, operands)
        blocks = replace(blocks, split=found.split)
        made = self._items(
            kernel, kind, own, blocks, [*read, *also], [*(likes[name].node for name in early), *found.partial]
        )
        done = dict(zip(early, made, strict=False))
        partial = []
        for node, item in zip(found.partial.values(), made[len(early) :], strict=True):
            self.orders[item] = order = found.orders[node]
            if found.pitch is not None:
                self.pitches[item] = found.pitch
            shape = tuple(map(int, item.shape))
            partial.append(Placed(item, MemRef("", shape, strides_of(shape, order), item.dtype)))
        whole = final(body, found, len(operands))
        last, read = _alone(whole, [*operands, *partial])
        late = [likes[name] for name in found.late]
        blocks = final_blocks(domain_of(last), blocks)
        done |= zip(found.late, self._launch(kernel, FINISH, last, blocks, [*read, *also], late), strict=True)
        return [done[name] for name in body.outputs]

    def _items(
        self,
        kernel: Node,
        kind: str,
        body: Graph,
        blocks: Blocks,
        operands: Sequence[Placed],
        likes: Sequence[Node],
    ) -> list[Node]:
        """A kernel and its items. likes: what has their origins."""
        given: dict[str, Any] = {"kind": kind, "body": body, "schedule": blocks}
        with at(kernel.span, kernel.scope):
            made = ops.kernel(*(x.node for x in operands), **given)
        found = []
        for k, like in enumerate(likes):
            with at(like.span, like.scope):
                found.append(ops.item(made, index=k))
        return found


def _divided(body: Graph) -> bool:
    return any(node.op is ops.partial for node in body.outputs.values())


def _alone(body: Graph, operands: Sequence[Placed]) -> tuple[Graph, list[Placed]]:
    """A body that numbers its results, and of the operands those that it reads; and these."""
    used = [i for i in range(len(operands)) if f"in{i}" in body.inputs]
    renamed: dict[Node, Node] = {}
    for k, i in enumerate(used):
        node = body.inputs[f"in{i}"]
        with at(node.span, node.scope):
            renamed[node] = node if i == k else ops.input_(**{**node.attrs, "name": f"in{k}"})
    made = body.rebuild(renamed)
    outputs = {f"out{k}": node for k, node in enumerate(made.outputs.values())}
    return made.with_roots(outputs, {}), [operands[i] for i in used]


# Where sums are cut.


def cut(body: Graph, blocks: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]) -> Cut | None:
    """How a body's sums are taken in parts; None if they are not. ValueError for what cannot be, and is to be."""
    domain = domain_of(body)
    if _divided(body):
        return None
    if domain.product:
        return _cut_product(body, domain, blocks, operands)
    return _cut_rows(body, domain, blocks, (*operands, *results)) if domain.kind == "reduce" else None


def _cut_product(body: Graph, domain: Domain, blocks: Blocks, operands: Sequence[MemRef]) -> Cut | None:
    """A product's loop over K in parts."""
    root, form = domain.root, contraction(domain.root)
    rows, columns, depth = (max(LEAST, n) for n in (blocks.rows, blocks.columns, blocks.depth))
    steps = Steps.along_memory(form, rows, columns, depth, [place.address for place in operands])
    parts = steps.parts(form, blocks.split)
    if parts is None:
        return None
    part = _partial(root, root.op.name, root.inputs, parts)
    order = (0, *(1 + a for a in _columns_last(form)))
    return Cut({root: part}, {part: order}, [*body.outputs], pitch=_pitch(form, columns), split=parts.count)


def _cut_rows(body: Graph, domain: Domain, blocks: Blocks, places: Sequence[MemRef]) -> Cut | None:
    """The elements of rows in parts; or the rows, for totals, by the programs that have them."""
    order, steps = axes_in_order(domain, places), -(-domain.length // blocks.depth)
    share, split, squares = -(-steps // blocks.split) * blocks.depth, 1, {}
    waits: tuple[Granularity, ...] = ("row", "scalar")
    if blocks.split > 1 and domain.length > share:
        if not domain.splits:
            raise ValueError(f"{domain.root.op.name} cannot be reduced in parts")
        nodes, squares, split = domain.reductions("row"), domain.squares, -(-domain.length // share)
    elif domain.rows > blocks.rows and domain.reductions("scalar"):
        nodes, share, waits = domain.reductions("scalar"), blocks.rows, ("scalar",)
        for node in nodes:
            if not divides(node.op):
                raise ValueError(f"{node.op.name} over all rows is not added up from parts")
    else:
        return None
    late = [name for name, node in body.outputs.items() if domain.granularity[node] in waits]
    partial: dict[Node, Node] = {}
    for node in nodes:
        of = DEVIATIONS if node in squares else node.op.name
        read = squares[node].inputs if node in squares else node.inputs
        partial[node] = _partial(node, of, read, domain.parts_of(node, order, share))
    lies = {
        part: (0, *(1 + a for a in (order if node.inputs[0].shape == domain.space else range(len(node.shape)))))
        for node, part in partial.items()
    }
    return Cut(partial, lies, late, squares, split=split)


def _partial(node: Node, of: str, operands: Sequence[Node], parts: Parts) -> Node:
    with at(node.span, node.scope):
        return ops.partial(*operands, of=of, parts=parts, **node.attrs)


def _pitch(form: Contraction, width: int) -> tuple[int, int] | None:
    """How far the rows of a product's partial results lie apart, where they have room for tiles of `width` columns.

    Sums lie as tiles are written, so that neighbours lie together. A store of f32 under a mask takes more registers
    than there are to a large tile: rows get as many columns as the tiles have, where the columns are axes of the result
    for themselves.
    """
    columns, axes = size_of(form.columns), frozenset(form.columns)
    inner = [not i.vars.isdisjoint(axes) for i in form.result]
    alone = all(i.vars <= axes for i, found in zip(form.result, inner, strict=True) if found)
    sizes = [int(n) for n, found in zip(form.root.shape, inner, strict=True) if found]
    if columns % width == 0 or columns == 1 or not alone or math.prod(sizes) != columns:
        return None
    return columns, math.ceil(columns / width) * width


def _columns_last(form: Contraction) -> list[int]:
    """The axes of the result so that those of the columns are innermost."""
    position = {v: i for i, v in enumerate((*form.batch, *form.rows, *form.columns))}
    last = [max((position.get(v, -1) for v in i.vars), default=-1) for i in form.result]
    return sorted(range(len(last)), key=lambda a: last[a])


# Final reductions.


def final(body: Graph, found: Cut, first: int) -> Graph:
    """The part of a body that needs whole sums, which it adds of partial results: its operands from `first` on."""
    read: dict[Node, Node] = {}
    for k, (node, part) in enumerate(found.partial.items()):
        with at(node.span, node.scope):
            read[node] = ops.input_(name=f"in{first + k}", shape=part.shape, dtype=part.dtype)
    whole = {node: _whole(node, part) for node, part in read.items()}
    for node, total in found.squares.items():
        with at(node.span, node.scope):
            whole[node] = _squares(read[node], read[total], whole[total], found.partial[node].attrs["parts"])
    made = {}
    for node, sums in whole.items():
        with at(node.span, node.scope):
            shaped = ops.reshape(sums, shape=node.shape)
            made[node] = shaped if shaped.dtype == node.dtype else ops.cast(shaped, dtype=node.dtype)
    return body.with_roots({name: body.outputs[name] for name in found.late}, {}).rebuild(made)


def _whole(node: Node, part: Node) -> Node:
    """A reduction of all parts, which axis 0 counts."""
    with at(node.span, node.scope):
        return (ops.max_reduce if node.op is ops.max_reduce else ops.sum_)(part, axes=(0,))


def _squares(own: Node, sums: Node, total: Node, parts: Parts) -> Node:
    """Squared deviations from the mean of all parts, of those from the mean of each, with the sums.

    Chan, Golub and LeVeque (1983).
    """
    last = parts.count - 1
    length = math.prod(size for _, _, size in parts.digits)
    left = length - last * parts.share
    count = ops.iota(shape=sums.shape, axes=(0,), dtype="i32")
    ends = ops.less(expr.constant(last - 1, count), count)

    def each(of_full: float, of_last: float) -> Node:
        full = expr.constant(of_full, sums)
        return expr.where(ends, expr.constant(of_last, sums), full) if left < parts.share else full

    away = sums - ops.broadcast(total, shape=sums.shape) * each(parts.share / length, left / length)
    return ops.sum_(own + away * away * each(1 / parts.share, 1 / left), axes=(0,))


def final_blocks(domain: Domain, blocks: Blocks) -> Blocks:
    """The tile sizes of a final reduction."""
    depth = min(TILE, power(domain.length))
    return replace(blocks, rows=max(1, min(power(domain.rows), TILE // depth)), depth=depth, split=1, warps=4)
