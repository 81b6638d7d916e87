"""Iteration domains: the loop nest that a kernel's body is, and how often the nest computes each of its values.

A kernel has one anchor: a product, reductions over the same axes of one space, reductions over the same windows, a sum
into rows, or none (a map). All else in a body (pointwise work, movement, gathers, `unwindow`) can be computed at any
index, wherever it is read. So can a reduction, at the price of a loop at each reader: that readers are where it is
computed once is the fuser's to see to (`passes/fusion/nests.py`), and only a matter of speed.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal
from weakref import WeakKeyDictionary

from .. import ops
from ..graph import Graph, Node
from ..kernel import HEAVY, TRANSFORMS, Kind, read_in_windows, window_axes
from ..ops.partial import Parts, undivided
from ..types import wide
from .deviations import deviations
from .intervals import digit
from .view import Expr, Index, Var, flat, projection, push, reindex

Granularity = Literal["element", "row", "scalar"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Domain:
    """The loop nest of a kernel.

    space: the shape that is iterated; of a reduction the shape that is reduced, of a product that of its result, of
    windows one element a window. reduced: the axes of `space` that reductions sum over. root: the product, else the
    first reduction, else the first output. granularity: of the anchors and the outputs: whether they are computed once
    for each element of the space, for each row of it (the reduced axes are gone or 1), or once, after all rows were
    reduced. Other values are computed wherever they are read. need: how many passes over a row must be done before a
    value can be computed.
    """

    kind: Kind
    space: Shape
    reduced: Shape
    root: Node
    outputs: tuple[Node, ...]
    granularity: Mapping[Node, Granularity]
    need: Mapping[Node, int]

    @property
    def product(self) -> bool:
        """Whether its anchor is a product."""
        return self.kind in ("dot", "conv")

    @property
    def length(self) -> int:
        """Elements of a row."""
        return math.prod(self.space[a] for a in self.reduced)

    @property
    def kept(self) -> Shape:
        """The axes that number the rows."""
        return tuple(a for a in range(len(self.space)) if a not in self.reduced)

    @property
    def rows(self) -> int:
        return math.prod(self.space[a] for a in self.kept)

    def row_index(self, index: Index, node: Node) -> Index:
        """The index, in a node with one element a row, of the row in which an element of the space is."""
        return reindex(tuple(index[a] for a in self.kept), [self.space[a] for a in self.kept], node.shape)

    def parts_of(self, node: Node, order: Shape, share: int) -> Parts:
        """A reduction in parts, of `share` elements of each row or, of a total, of so many rows.

        order: in which the axes of the space are counted, the outermost first.
        """
        of_rows = self.granularity[node] == "scalar"
        counted, axes = (self.kept, self.kept) if of_rows else (self.reduced, range(len(self.space)))
        mine = node.inputs[0].shape
        element = tuple(Expr.of(Var(str(a), n)) for a, n in enumerate(mine))
        at = dict(zip(axes, reindex(element, mine, [self.space[a] for a in axes]), strict=True))
        own = [a for a in order if a in counted]
        number = flat(tuple(at[a] for a in own), [self.space[a] for a in own])
        digits = []
        for _, term in number.terms:
            var, low, high = digit(term)
            assert var is not None
            digits.append((int(var.name), low, -(-high // low)))
        return Parts(-(-math.prod(self.space[a] for a in own) // share), share, 0, tuple(digits))

    def reductions(self, granularity: Granularity) -> list[Node]:
        """The reductions with a result for each row ("row"), and those of all rows ("scalar")."""
        found = self.granularity.items() if self.kind == "reduce" else ()
        return [n for n, of in found if of == granularity and n.op.family == "reduce"]

    def phase(self, node: Node) -> int:
        """In which pass over its row a reduction is computed."""
        return self.need[node] - 1

    @cached_property
    def passes(self) -> int:
        """How many passes over a row its reductions take."""
        return max((self.need[n] for n in self.reductions("row")), default=1)

    @property
    def waiting(self) -> int:
        """How many passes are done before the last of the outputs of all elements can be written."""
        return max((self.need[n] for n in self.outputs if self.granularity[n] == "element"), default=0)

    def written(self, output: Node, *, over: bool) -> int:
        """In which pass an output of all elements is written. over: an operand, so that nobody may read that later."""
        return max(self.passes - 1, self.waiting) if over else self.need[output]

    @cached_property
    def squares(self) -> dict[Node, Node]:
        """Sums of squared deviations that one pass can find beside the sum of the same row, with that sum."""
        found = deviations(self.reductions("row"))
        return {n: of.total for n, of in found.items() if self.phase(n) == 1}

    @cached_property
    def beside(self) -> Domain:
        """The same nest where squared deviations are found in the pass of their sum."""
        return replace(self, need=_need(self.need, {n for n in self.reductions("row") if n not in self.squares}))

    @property
    def splits(self) -> bool:
        """Whether rows can be reduced in parts: in one pass and one type, with no choice, and no element waits."""
        found = self.reductions("row")
        plain = all(n.op in (ops.sum_, ops.max_reduce) for n in found) and len({wide(n.dtype) for n in found}) == 1
        return plain and self.beside.passes == 1 and not self.waiting


def _need(order: Iterable[Node], reductions: Collection[Node]) -> dict[Node, int]:
    """How many passes must be done before each node, where each of these reductions ends one."""
    need: dict[Node, int] = {}
    for node in order:
        need[node] = max((need[x] for x in node.inputs), default=0) + (node in reductions)
    return need


_KNOWN: WeakKeyDictionary[Graph, Domain] = WeakKeyDictionary()


def domain_of(body: Graph) -> Domain:
    """The domain of a kernel's body; ValueError, with the reason, for a body that is no single kernel.

    What is summed in parts is in it as a whole.
    """
    found = _KNOWN.get(body)
    if found is None:
        found = _KNOWN[body] = _domain(undivided(body)[0])
    return found


def is_anchor(node: Node) -> bool:
    """Whether computing a node takes a loop of its own: it cannot be computed at any index, wherever it is read."""
    return node.op.name in HEAVY | TRANSFORMS or node.op.family == "reduce" or node.op is ops.scatter_add


def by_rows(node: Node) -> bool:
    """Whether a node sums rows: its operand may be computed by the program that sums."""
    return node.op.family == "reduce" and not window_axes(node)


def by_structure(anchors: Iterable[Node]) -> tuple[list[Node], list[Node], list[Node]]:
    """Products and sums into rows, reductions of windows, and reductions of rows."""
    found: tuple[list[Node], list[Node], list[Node]] = [], [], []
    for node in anchors:
        found[0 if node.op.family != "reduce" else 1 if window_axes(node) else 2].append(node)
    return found


def followed(body: Graph, root: Node, index: Index) -> tuple[dict[Node, Index], list[Index]]:
    """Where the element of `root` at `index` is in each node that only computes on it or moves it; and which element of
    each output goes with it: one that does not depend on it has as many, and takes that of the same number."""
    at = {root: index}
    for node in body.order:
        source = next((x for x in node.inputs if x in at), None)
        keeps = node.op in (ops.reshape, ops.transpose) or node.op.family == "pointwise"
        if source is not None and node not in at and keeps:
            at[node] = push(node, at[source])
    return at, [at[x] if x in at else reindex(index, root.shape, x.shape) for x in body.outputs.values()]


def _domain(body: Graph) -> Domain:
    kind, space, reduced, root = _anchored(body)
    count, rows = math.prod(space), math.prod(n for a, n in enumerate(space) if a not in reduced)
    row = projection(space, reduced)
    found: dict[Node, Granularity] = {}
    for node in filter(is_anchor, body.order):
        x = node.inputs[0]
        if kind != "reduce" and node.type.count == count:
            found[node] = "element"
        elif kind == "reduce" and x.type.count == count and projection(shape(x), node.attrs["axes"]) == row:
            found[node] = "row"
        elif kind == "reduce" and x.type.count == rows and node.type.count == 1:
            found[node] = "scalar"
        else:
            raise ValueError("reductions over other axes, or of other windows, do not share a loop")
    need = _need(body.order, {n for n, of in found.items() if kind == "reduce" and of == "row"})
    outputs = tuple(body.outputs.values())
    for node in outputs:
        size = node.type.count
        if node in found:
            continue
        if size == count:
            found[node] = "element"
        elif kind == "reduce" and size in (rows, 1):
            found[node] = "row" if size == rows else "scalar"
        else:
            raise ValueError(f"an output has {size} elements, the space has {count}")
    return Domain(kind, space, reduced, root, outputs, found, need)


def _anchored(body: Graph) -> tuple[Kind, Shape, Shape, Node]:
    """The kind, space, reduced axes and root of a body, from its anchors."""
    products, windows, reductions = by_structure(filter(is_anchor, body.order))
    if len(products) > 1:
        raise ValueError("there are two products or sums into rows")
    if sum(map(bool, (products, windows, reductions))) > 1:
        raise ValueError("products, windows and reductions do not share their loops")
    if any(window(n) != window(windows[0]) for n in windows):
        raise ValueError("the windows differ")
    if reductions:
        root = max(reductions, key=lambda n: n.inputs[0].type.count)
        return "reduce", shape(root.inputs[0]), tuple(int(a) for a in root.attrs["axes"]), root
    if windows:
        return "window", shape(windows[0])[: len(windows[0].shape) - window_axes(windows[0])], (), windows[0]
    root = products[0] if products else next(iter(body.outputs.values()))
    if products:
        kind: Kind = "scatter" if root.op is ops.scatter_add else "dot" if root.op is ops.dot else "conv"
        return kind, shape(root), (), root
    inside = read_in_windows(body.order)
    computed = [n for n in body.order if n not in inside]
    if any(n.op is ops.gather for n in computed):
        kind = "scatter"
    elif any(n.op is ops.unwindow for n in computed):
        kind = "window"
    else:
        kind = "map" if any(n.op.family == "pointwise" or n.op is ops.random for n in computed) else "copy"
    return kind, shape(root), (), root


def window(node: Node) -> Shape:
    """The sizes of a reduction's windows."""
    return tuple(int(node.inputs[0].shape[a]) for a in node.attrs["axes"])


def shape(node: Node) -> Shape:
    """A node's shape as plain numbers."""
    return tuple(map(int, node.shape))
