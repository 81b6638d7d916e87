"""What kernel a body is on a GPU: the space that its programs share, and how often each of its values is computed.

A kernel has one structure: a product, reductions over the same axes of one space, reductions over the same windows, a
sum into rows, or none (a map). All else in a body (pointwise work, movement, gathers, `unwindow`) can be computed at
any index, wherever it is read. A body is a kernel when each part of its structure is read element by element in the
space, or row by row; what a product, a window or a scatter takes in may hold no structure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .. import ops
from ..graph import Graph, Node
from ..kernel import HEAVY, Kind, read_in_windows, window_axes
from .digits import Digits, composed, is_order, projection, same, through

Level = Literal["full", "row", "total"]


@dataclass(frozen=True)
class Form:
    """The kernel that a body is.

    space: the shape that is iterated; of a reduction the shape that is reduced, of a product that of its result, of
    windows one element a window. reduced: the axes of `space` that reductions sum over. root: the product, else the
    first reduction, else the first output. levels: the values computed once for each element of the space ("full"),
    for each row ("row": the reduced axes are gone or 1), or once ("total": one element, after all rows were reduced).
    Values without a level are computed wherever they are read.
    """

    kind: Kind
    space: tuple[int, ...]
    reduced: tuple[int, ...]
    root: Node
    levels: Mapping[Node, Level]


def is_structure(node: Node) -> bool:
    """Whether computing a node takes a loop of its own: it cannot be computed at any index, wherever it is read."""
    return node.op.name in HEAVY or node.op.family == "reduce" or node.op is ops.scatter_add


def form_of(body: Graph) -> Form:
    """The form of a kernel's body; ValueError, with the reason, for a body that is no single kernel."""
    return _Levels(body).form()


class _Levels:
    """The levels of a body's values, from its outputs to its operands."""

    def __init__(self, body: Graph) -> None:
        self.body = body
        self.inside = read_in_windows(body.order)
        self.structure = [n for n in body.order if is_structure(n)]
        self.levels: dict[Node, Level] = {}
        self.walked: set[tuple[Node, str]] = set()
        self.rows: Digits | None = None  # from an element to its row
        self.totals: set[Node] = set()
        self._choose()

    def _choose(self) -> None:
        """The kind, root and space, from the structure."""
        products = [n for n in self.structure if n.op.name in HEAVY]
        scatters = [n for n in self.structure if n.op is ops.scatter_add]
        windows = [n for n in self.structure if window_axes(n)]
        reductions = [n for n in self.structure if n.op.family == "reduce" and not window_axes(n)]
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
        self.count = count(self.space)

    def _loose(self) -> tuple[Kind, Node]:
        """The kind and root of a body without structure."""
        roots = [*self.body.outputs.values()]
        computed = [n for n in self.body.order if n not in self.inside]
        if any(n.op is ops.gather for n in computed):
            return "scatter", roots[0]
        if any(n.op is ops.unwindow for n in computed):
            return "window", roots[0]
        if any(n.op.family == "pointwise" or n.op is ops.random for n in computed):
            return "map", roots[0]
        return "copy", roots[0]

    def form(self) -> Form:
        for node in self.structure:
            self._structure(node)
        for node in self.body.outputs.values():
            if node not in self.levels:
                self._visit(node, self._level(node))
        for node in self.structure:
            if node not in self.levels:
                raise ValueError(f"{node.op.name} is not read element by element")
        return Form(self.kind, self.space, self.reduced, self.root, self.levels)

    def _level(self, node: Node) -> Level:
        """The level of an output without structure of its own."""
        size = node.type.count
        if size == self.count:
            return "full"
        if self.rows is not None and size == count(self.space, self.reduced):
            return "row"
        if size == 1 and self.kind == "reduce":
            return "total"
        raise ValueError(f"an output has {size} elements, the space has {self.count}")

    def _structure(self, node: Node) -> None:
        """Level of a reduction, product or scatter, and of what it takes in."""
        if self.kind != "reduce":
            if node.type.count != self.count:
                raise ValueError("the windows differ in number")
            self.levels[node] = "full"
            for x in node.inputs:
                self._no_structure(x)
            return
        assert self.rows is not None
        x = node.inputs[0]
        if x.type.count == self.count and projection(shape(x), node.attrs["axes"]) == self.rows:
            self.levels[node] = "row"
            self._visit(x, "full")
        elif x.type.count == count(self.space, self.reduced) and node.type.count == 1:
            self.levels[node] = "total"
            self.totals.add(node)
            self._visit(x, "row")
        else:
            raise ValueError("reductions over other axes do not share a loop")

    def _no_structure(self, top: Node) -> None:
        stack, seen = [top], {top}
        while stack:
            node = stack.pop()
            if is_structure(node):
                raise ValueError(f"{node.op.name} is not read element by element, or row by row, where it is computed")
            for x in node.inputs:
                if x not in seen:
                    seen.add(x)
                    stack.append(x)

    def _visit(self, top: Node, level: Level) -> None:
        """The level of a node and of what it reads, down to structure and operands."""
        stack: list[tuple[Node, Level]] = [(top, level)]
        while stack:
            node, level = stack.pop()
            if (node, level) in self.walked:
                continue
            self.walked.add((node, level))
            if is_structure(node):
                if self.levels.get(node, level) != level and node.type.count > 1:
                    raise ValueError(f"{node.op.name} has the level {self.levels[node]}, it is read as {level}")
                continue
            if node.op.family == "movement":
                # An output or the operand of a reduction: what it reads is at its own number.
                self.levels.setdefault(node, level)
                self._read(node, level, same(node.type.count), stack)
                continue
            if computed(node):
                self.levels.setdefault(node, level)
            for x in node.inputs:
                if node.op.family == "pointwise":
                    self._read(x, level, same(node.type.count), stack)
                else:
                    self._no_structure(x)

    def _read(self, x: Node, level: Level, digits: Digits | None, stack: list[tuple[Node, Level]]) -> None:
        """Follow views from a value at a level down to what computes them."""
        while x.op.family == "movement":
            if digits is not None:
                step = through(x) if len(x.inputs) == 1 else None
                digits = None if step is None else composed(digits, step)
            if len(x.inputs) > 1:
                for operand in x.inputs:
                    self._no_structure(operand)
                return
            x = x.inputs[0]
        found = None if digits is None else self._through(x, level, digits)
        if found is None:
            self._no_structure(x)
        else:
            stack.append((x, found))

    def _through(self, x: Node, level: Level, digits: Digits) -> Level | None:
        """The level at which a value is read, or None: anywhere."""
        if x in self.totals:
            # Complete only after the last row.
            return "total" if level == "total" else None
        if level == "full" and self.rows is not None and digits == self.rows and self.levels.get(x) != "full":
            return "row"
        ordered = is_order(digits, x.type.count)
        if ordered and (digits == same(x.type.count) or self.rows is None):
            return level
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


def count(space: tuple[int, ...], without: tuple[int, ...] = ()) -> int:
    """Elements of a shape, some of its axes left out."""
    found = 1
    for axis, n in enumerate(space):
        found *= 1 if axis in without else n
    return found
