"""Iteration domains: the loop nest that a kernel's body is, and how often the nest computes each of its values.

A kernel has one anchor: a product, reductions over the same axes of one space, reductions over the same windows, a sum
into rows, or none (a map). All else in a body (pointwise work, movement, gathers, `unwindow`) can be computed at any
index, wherever it is read. A body is a kernel when each part of its anchor is read element by element in the space, or
row by row; what a product, a window or a scatter takes in may hold no anchor.
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
from ..kernel import HEAVY, Kind, read_in_windows, window_axes
from ..types import wide
from .deviations import deviations
from .digits import Digits, composed, is_order, projection, same, through
from .view import Index, push, reindex

Granularity = Literal["element", "row", "scalar"]


@dataclass(frozen=True)
class Domain:
    """The loop nest of a kernel.

    space: the shape that is iterated; of a reduction the shape that is reduced, of a product that of its result, of
    windows one element a window. reduced: the axes of `space` that reductions sum over. root: the product, else the
    first reduction, else the first output. granularity: of the values that are computed once for each element of the
    space, for each row of it (the reduced axes are gone or 1), or once, after all rows were reduced. Other values are
    computed wherever they are read. need: how many passes over a row must be done before a value can be computed.
    """

    kind: Kind
    space: tuple[int, ...]
    reduced: tuple[int, ...]
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
    def kept(self) -> tuple[int, ...]:
        """The axes that number the rows."""
        return tuple(a for a in range(len(self.space)) if a not in self.reduced)

    @property
    def rows(self) -> int:
        return math.prod(self.space[a] for a in self.kept)

    def row_index(self, index: Index, node: Node) -> Index:
        """The index, in a node with one element a row, of the row in which an element of the space is."""
        return reindex(tuple(index[a] for a in self.kept), [self.space[a] for a in self.kept], node.shape)

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
    """The domain of a kernel's body; ValueError, with the reason, for a body that is no single kernel."""
    found = _KNOWN.get(body)
    if found is None:
        found = _KNOWN[body] = _Walk(body).domain()
    return found


def is_anchor(node: Node) -> bool:
    """Whether computing a node takes a loop of its own: it cannot be computed at any index, wherever it is read."""
    return node.op.name in HEAVY or node.op.family == "reduce" or node.op is ops.scatter_add


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


class _Walk:
    """From a body's outputs to its operands."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.inside = read_in_windows(body.order)
        self.anchors = [n for n in body.order if is_anchor(n)]
        self.granularity: dict[Node, Granularity] = {}
        self.walked: set[tuple[Node, str]] = set()
        self.passed: set[tuple[Node, str, Digits]] = set()
        self.rows: Digits | None = None  # from an element to its row
        self.scalars: set[Node] = set()
        self._choose()

    def _choose(self) -> None:
        """The kind, root and space, from the anchors."""
        products = [n for n in self.anchors if n.op.name in HEAVY]
        scatters = [n for n in self.anchors if n.op is ops.scatter_add]
        windows = [n for n in self.anchors if window_axes(n)]
        reductions = [n for n in self.anchors if n.op.family == "reduce" and not window_axes(n)]
        if len(products) + len(scatters) > 1:
            raise ValueError("there are two products or sums into rows")
        if sum(map(bool, (products or scatters, windows, reductions))) > 1:
            raise ValueError("products, windows and reductions do not share their loops")
        self.kind, self.root = self._loose()
        self.space = shape(self.root)
        self.reduced: tuple[int, ...] = ()
        if products:
            self.root = products[0]
            self.kind, self.space = "dot" if self.root.op is ops.dot else "conv", shape(self.root)
        elif scatters:
            self.kind, self.root, self.space = "scatter", scatters[0], shape(scatters[0])
        elif windows:
            self.kind, self.root = "window", windows[0]
            self.space = shape(self.root)[: len(self.root.shape) - window_axes(self.root)]
            for node in windows:
                if window(node) != window(self.root):
                    raise ValueError("the windows differ")
        elif reductions:
            self.kind = "reduce"
            self.root = max(reductions, key=lambda n: n.inputs[0].type.count)
            self.space = shape(self.root.inputs[0])
            self.reduced = tuple(int(a) for a in self.root.attrs["axes"])
            self.rows = projection(self.space, self.reduced)
        self.count = math.prod(self.space)
        self.lines = math.prod(n for a, n in enumerate(self.space) if a not in self.reduced)

    def _loose(self) -> tuple[Kind, Node]:
        """The kind and root of a body without anchors."""
        roots = [*self.body.outputs.values()]
        computed = [n for n in self.body.order if n not in self.inside]
        if any(n.op is ops.gather for n in computed):
            return "scatter", roots[0]
        if any(n.op is ops.unwindow for n in computed):
            return "window", roots[0]
        if any(n.op.family == "pointwise" or n.op is ops.random for n in computed):
            return "map", roots[0]
        return "copy", roots[0]

    def domain(self) -> Domain:
        for node in self.anchors:
            self._anchor(node)
        for node in self.body.outputs.values():
            if node not in self.granularity:
                self._visit(node, self._of(node))
        for node in self.anchors:
            if node not in self.granularity:
                raise ValueError(f"{node.op.name} is not read element by element")
        rows = {n for n in self.anchors if self.kind == "reduce" and self.granularity[n] == "row"}
        outputs, need = tuple(self.body.outputs.values()), _need(self.body.order, rows)
        return Domain(self.kind, self.space, self.reduced, self.root, outputs, self.granularity, need)

    def _of(self, node: Node) -> Granularity:
        """The granularity of an output without an anchor of its own."""
        size = node.type.count
        if size == self.count:
            return "element"
        if self.rows is not None and size == self.lines:
            return "row"
        if size == 1 and self.kind == "reduce":
            return "scalar"
        raise ValueError(f"an output has {size} elements, the space has {self.count}")

    def _anchor(self, node: Node) -> None:
        """The granularity of a reduction, product or scatter, and of what it takes in."""
        if self.kind != "reduce":
            if node.type.count != self.count:
                raise ValueError("the windows differ in number")
            self.granularity[node] = "element"
            for x in node.inputs:
                self._no_anchor(x)
            return
        assert self.rows is not None
        x = node.inputs[0]
        if x.type.count == self.count and projection(shape(x), node.attrs["axes"]) == self.rows:
            self.granularity[node] = "row"
            self._visit(x, "element")
        elif x.type.count == self.lines and node.type.count == 1:
            self.granularity[node] = "scalar"
            self.scalars.add(node)
            self._visit(x, "row")
        else:
            raise ValueError("reductions over other axes do not share a loop")

    def _no_anchor(self, top: Node) -> None:
        stack, seen = [top], {top}
        while stack:
            node = stack.pop()
            if is_anchor(node):
                raise ValueError(f"{node.op.name} is not read element by element, or row by row, where it is computed")
            for x in node.inputs:
                if x not in seen:
                    seen.add(x)
                    stack.append(x)

    def _visit(self, top: Node, of: Granularity) -> None:
        """The granularity of a node and of what it reads, down to anchors and operands."""
        stack: list[tuple[Node, Granularity]] = [(top, of)]
        while stack:
            node, of = stack.pop()
            if (node, of) in self.walked:
                continue
            self.walked.add((node, of))
            if is_anchor(node):
                if self.granularity.get(node, of) != of and node.type.count > 1:
                    found = self.granularity[node]
                    raise ValueError(f"{node.op.name} is computed for each {found}, and read for each {of}")
                continue
            if node.op.family == "movement":
                # An output or the operand of a reduction: what it reads is at its own number.
                self.granularity.setdefault(node, of)
                self._read(node, of, same(node.type.count), stack)
                continue
            if computed(node):
                self.granularity.setdefault(node, of)
            for x in node.inputs:
                if node.op.family == "pointwise":
                    self._read(x, of, same(node.type.count), stack)
                else:
                    self._no_anchor(x)

    def _read(self, x: Node, of: Granularity, digits: Digits | None, stack: list[tuple[Node, Granularity]]) -> None:
        """Follow views from a value of a granularity down to what computes them."""
        while x.op.family == "movement":
            if digits is not None:
                step = through(x) if len(x.inputs) == 1 else None
                digits = None if step is None else composed(digits, step)
            if len(x.inputs) > 1:
                for operand in x.inputs:
                    self._no_anchor(operand)
                return
            x = x.inputs[0]
        found = None if digits is None else self._through(x, of, digits)
        if found is not None:
            stack.append((x, found))
        elif digits is not None and x.op.family == "pointwise":
            # Computed where it is read: what it reads is read so too.
            if (x, of, digits) not in self.passed:
                self.passed.add((x, of, digits))
                for operand in x.inputs:
                    self._read(operand, of, digits, stack)
        else:
            self._no_anchor(x)

    def _through(self, x: Node, of: Granularity, digits: Digits) -> Granularity | None:
        """For each of what a value is computed that a reader takes so, or None: anywhere."""
        if x in self.scalars:
            # Complete only after the last row.
            return "scalar" if of == "scalar" else None
        if of == "element" and self.rows is not None and digits == self.rows and self.granularity.get(x) != "element":
            return "row"
        ordered = is_order(digits, x.type.count)
        if ordered and (digits == same(x.type.count) or self.rows is None):
            return of
        return None


def computed(node: Node) -> bool:
    """Whether a node is work: no operand, constant or movement."""
    return node.op.family not in ("movement", "source", "group") or node.op is ops.random


def window(node: Node) -> tuple[int, ...]:
    """The sizes of a reduction's windows."""
    return tuple(int(node.inputs[0].shape[a]) for a in node.attrs["axes"])


def shape(node: Node) -> tuple[int, ...]:
    """A node's shape as plain numbers."""
    return tuple(map(int, node.shape))
