"""Algorithm selection for products on a CPU: one that was measured, else one by rule.

A convolution and its gradients are summed directly, in register tiles along some of their axes, or computed in tiles of
Winograd's filtering; a matrix product is summed directly, or over a copy of its weights in panels. A file knows them by
a key that depends on the node alone, so the same net with the same file is the same program on every machine.
`netc tune --target c` measures (`netc/api/algorithms.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from ...compiler import ops
from ...compiler.graph import Graph, Node
from ...compiler.kernel import Blocks, with_schedules
from ...compiler.ops import Op
from ...compiler.ops.winograd import PANEL
from ...grammar.source import UserError
from ..prepared import Prepared
from ..unit import Choices
from . import winograd
from .measured import Measured, listed

DIRECT = "direct"
ALONG = f"{DIRECT} "  # before the axes of tiles
PANELS = "panels"
CONVOLUTIONS = (ops.conv, ops.conv_data_grad, ops.conv_weight_grad)
PRODUCTS = (*CONVOLUTIONS, ops.dot)
# From so many rows on weights in panels are faster than dot products with them as they lie: of weights that are copied
# once in all, and once a step. Measured on a Zen 5 with AVX-512, for 500 to 4,096 columns.
ROWS, ROWS_THAT_LEARN = 4, 48


def others(node: Node) -> tuple[str, ...]:
    """By what a node can be computed but by direct sums."""
    return (PANELS,) if _in_panels(node) else tuple(f"winograd{tile}" for tile in winograd.tiles(node))


def _in_panels(node: Node) -> bool:
    """Whether a node is a matrix product with weights of which vectors would be read."""
    if node.op is not ops.dot or node.dtype != "f32" or len(node.shape) != 2:
        return False
    # Of one row each weight is read once, wherever it lies.
    return node.shape[0] > 1 and node.shape[1] >= PANEL and Prepared()(node.inputs[1])


def by_rule(node: Node, *, learns: bool) -> str:
    """What is taken without a measurement. learns: weights change from step to step."""
    if _in_panels(node):
        lies = turned(node.inputs[1])
        # As they lie in the gradient by the data, vectors are read of them anyway.
        return PANELS if lies and node.shape[0] >= (ROWS_THAT_LEARN if learns else ROWS) else DIRECT
    tile = winograd.choice(node, learns=learns)
    return f"winograd{tile}" if tile else DIRECT


def sites(graph: Graph) -> Iterator[Node]:
    """The nodes of a graph that are measured: of narrow factors direct sums are all there is."""
    return (node for node in graph.order if node.op in PRODUCTS and {x.dtype for x in (*node.inputs, node)} == {"f32"})


def key_of(node: Node, *, learns: bool) -> str:
    """A hash of what decides how long a node takes: the op, its attributes, and the types of what it reads.

    Of a matrix product also how its factors lie.
    """
    types = [(x.dtype, tuple(map(int, x.shape))) for x in (*node.inputs, node)]
    # A size may be a Dim, which knows its name: nets that call it otherwise compute the same.
    attrs = sorted((key, tuple(map(int, v)) if isinstance(v, tuple) else int(v)) for key, v in node.attrs.items())
    lies = [tuple(map(turned, node.inputs))] if node.op is ops.dot else []
    told = (node.op.name, attrs, types, learns, *lies)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def turned(x: Node) -> tuple[tuple[int, ...], ...]:
    """The transpositions through which a matrix is read, the last one first."""
    found = []
    while x.op is ops.transpose:
        found.append(tuple(x.attrs["perm"]))
        x = x.inputs[0]
    return tuple(found)


def space_of(node: Node) -> tuple[int, ...]:
    """What a node works on, for readers: the shapes of what it reads."""
    return tuple(int(n) for x in node.inputs for n in x.shape)


def selected(graph: Graph, choices: Choices) -> Graph:
    """The graph with the filterings that were chosen; itself where all sums are direct.

    UserError where schedules are frozen and a node is in no file.
    """
    chosen = _chosen(graph, choices, CONVOLUTIONS)
    found = {node: int(name.removeprefix("winograd")) for node, name in chosen.items() if not name.startswith(DIRECT)}
    return winograd.transformed(graph, lambda node: found.get(node, 0))


def panels(graph: Graph, choices: Choices) -> Callable[[Node], bool]:
    """Which matrix products take their weights in panels. UserError as in `selected`."""
    chosen = _chosen(graph, choices, (ops.dot,))
    return lambda node: chosen.get(node) == PANELS


def _chosen(graph: Graph, choices: Choices, products: Iterable[Op]) -> dict[Node, str]:
    """The algorithm of each of these products: as was measured, where it has that one, else by rule."""
    learns, measured = bool(graph.updates), choices.measured or Measured()
    chosen, missing = dict[Node, str](), list[Node]()
    for node in (node for node in sites(graph) if node.op in products):
        key = key_of(node, learns=learns)
        found = measured.algorithm(key) or ""
        # What a tuner tries is one of those that the node has in its net.
        if key not in measured.trial and found.split(" ")[0] != DIRECT and found not in others(node):
            if measured.frozen:
                missing.append(node)
            found = by_rule(node, learns=learns)
        chosen[node] = found
    if missing:
        raise UserError(_missed(missing, measured))
    return chosen


def with_axes(graph: Graph, choices: Choices) -> Graph:
    """A graph of kernels in which products that are summed directly have tiles along the axes that were measured."""
    learns, measured = bool(graph.updates), choices.measured or Measured()
    found = {
        kernel: Blocks(axes=said.removeprefix(ALONG))
        for kernel in graph.order
        if kernel.op is ops.kernel
        for node in sites(kernel.attrs["body"])
        if (said := measured.algorithm(key_of(node, learns=learns)) or "").startswith(ALONG)
    }
    return with_schedules(graph, lambda kernel: found.get(kernel, kernel.attrs["schedule"])) if found else graph


def _missed(missing: list[Node], measured: Measured) -> str:
    layers = [f"{node.op.name} of {node.scope or 'no layer'}" for node in missing]
    return (
        f"--frozen: no algorithm was measured for {listed(layers)}, with {measured.threads} threads: "
        "measure with `netc tune --target c` and give its file by --schedules, or leave out --frozen"
    )
