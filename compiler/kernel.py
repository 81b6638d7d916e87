"""How a kernel runs: the schedule that its node carries, and which nodes of a graph are only ever read in part.

On the CPU a kernel iterates over tiles of one axis (mostly the batch), and `Schedule` says, for each node of the body,
which axis of its result that is. On a GPU it is a grid of programs, and `Blocks` says what one of them computes. `fuse`
writes these, the targets read them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from . import ops
from .graph import Graph, Node, at, reached

Kind = Literal["map", "reduce", "window", "dot", "conv", "scatter", "copy"]
HEAVY = frozenset({"conv", "conv_data_grad", "conv_weight_grad", "dot", "winograd_product"})
# Ops that read all of a tile or of a kernel for each element: kernels of their own.
TRANSFORMS = frozenset({"winograd_data", "winograd_weights"})
# The axis of a node that sums over the tiles: its result is complete after the last of them.
TOTAL = -1


@dataclass(frozen=True)
class Schedule:
    """How a kernel runs on the CPU.

    axes: for each node of the body, in the body's order, the axis of its result that is cut into tiles; None where the
    result is whole in every tile; TOTAL where it is summed over all tiles. length: of the tiled axis (0: no tiles).
    tile: elements of it a tile. split: whether threads share the tiles.
    """

    axes: tuple[int | None, ...] = ()
    length: int = 0
    tile: int = 0
    split: bool = False


@dataclass(frozen=True)
class Blocks:
    """How a kernel of loop nests runs, on a GPU: what one program computes. rows, columns, depth, warps: powers of two.

    rows, columns: elements of the kernel's space a program writes: for a map, `columns` elements of the flat space; for
    a reduction, `rows` rows; for a product, rows by columns of its result. depth: elements of the reduced axes (of K)
    that one iteration of its loop takes. split: into how many parts the reduced axes (K) are cut, each summed by
    programs of its own, and added in a fixed order by a final reduction. warps, stages: as Triton's. precision: of a
    product of f32: "ieee" or "tf32". key: names what the kernel computes, whatever its blocks; schedule files go by it.
    axes: of a product on a CPU, the axes of vectors and of rows of its tiles, as `feature/column`; empty: by rule.
    """

    rows: int = 1
    columns: int = 1
    depth: int = 1
    split: int = 1
    warps: int = 4
    stages: int = 2
    precision: Literal["ieee", "tf32"] = "ieee"
    key: str = field(default="", compare=False, repr=False)
    axes: str = field(default="", repr=False)


def window_axes(root: Node) -> int:
    """How many last axes of its operand a node takes as positions in a window: 0 if it does not read windows.

    An `unwindow` does, and a reduction over all axes that a `window` among its operands appended.
    """
    if root.op is ops.unwindow:
        return len(root.attrs["axes"])
    if root.op.family != "reduce":
        return 0
    axes, rank = root.attrs["axes"], len(root.inputs[0].shape)
    if not axes or axes != tuple(range(rank - len(axes), rank)):
        return 0

    def below(node: Node) -> Iterable[Node]:
        computed = node.op.family == "pointwise" or node.op is ops.broadcast
        return (x for x in node.inputs if computed and len(x.shape) == rank)

    read = (x for x in reached(root.inputs[:1], below) if x.op is ops.window and len(x.attrs["axes"]) == len(axes))
    return len(axes) if any(read) else 0


def in_windows(root: Node) -> set[Node]:
    """The nodes below `root` that are computed for one position of the window at a time, and so never as a whole."""
    count = window_axes(root)
    found: set[Node] = set()
    if not count:
        return found
    rank = len(root.inputs[0].shape)
    stack = [root.inputs[0]]
    while stack:
        node = stack.pop()
        if node in found or len(node.shape) != rank or math.prod(node.shape[rank - count :]) == 1:
            continue
        if node.op.family == "pointwise" or node.op in (ops.window, ops.broadcast, ops.iota, ops.const):
            found.add(node)
        if node.op.family == "pointwise" or node.op is ops.broadcast:
            stack.extend(node.inputs)
    return found


def read_in_windows(nodes: Iterable[Node]) -> set[Node]:
    """All nodes that some reader computes position by position."""
    found: set[Node] = set()
    for node in nodes:
        found |= in_windows(node)
    return found


def widens(node: Node) -> bool:
    """Whether a node only reads values of 16 bits as f32: each reader does that for itself, so none is stored."""
    return node.op is ops.cast and node.dtype == "f32" and node.inputs[0].dtype in ("bf16", "f16")


def narrow(node: Node) -> bool:
    """Whether a node's numbers fit a byte though its type is wider: the choice within a small window."""
    if node.op is not ops.argmax or not window_axes(node):
        return False
    x = node.inputs[0]
    return bool(math.prod(x.shape[a] for a in node.attrs["axes"]) <= 256)


def operand_number(x: Node) -> int:
    """Which operand of its kernel an input of a body is."""
    return int(x.attrs["name"].removeprefix("in"))


def bodies(graph: Graph) -> dict[Node, Graph]:
    """The kernels of a graph, each with its body."""
    return {node: node.attrs["body"] for node in graph.order if node.op is ops.kernel}


def items_of(graph: Graph, kernel: Node) -> dict[int, Node]:
    """The items of a kernel that are there, by the numbers of the results."""
    return dict(sorted((int(item.attrs["index"]), item) for item in graph.users[kernel]))


def made_in(item: Node) -> Node:
    """The node of a kernel's body that an item of the kernel is."""
    body: Graph = item.inputs[0].attrs["body"]
    index: int = item.attrs["index"]
    return list(body.outputs.values())[index]


def kind_of(body: Graph) -> Kind:
    """The kind of a kernel, told by the heaviest op in it."""
    names = {n.op.name for n in body.order}
    if names & (TRANSFORMS | HEAVY - {"dot"}):
        return "conv"
    if "dot" in names:
        return "dot"
    if names & {"scatter_add", "gather"}:
        return "scatter"
    if "unwindow" in names or any(window_axes(n) for n in body.order):
        return "window"
    if any(n.op.family == "reduce" for n in body.order):
        return "reduce"
    if any(n.op.family == "pointwise" or n.op.name == "random" for n in body.order):
        return "map"
    return "copy"


def with_schedules(graph: Graph, schedule_of: Callable[[Node], object]) -> Graph:
    """A graph of kernels with other schedules."""

    def make(node: Node, inputs: tuple[Node, ...]) -> Node:
        if node.op is not ops.kernel:
            return node.with_inputs(inputs)
        with at(node.span, node.scope):
            return ops.kernel(*inputs, **{**node.attrs, "schedule": schedule_of(node)})

    return graph.mapped(make)
